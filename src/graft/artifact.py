"""The artifact: a model folder that its source library opens, and graft too.

Beside what the source library needs lie `graft.json` (classes and head, for us) and
`head.safetensors` (the head alone, in every form that a head can have).
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn

from graft.backbones import open_backbone
from graft.errors import ModelError
from graft.model import Model
from graft.tasks.classify import Classify

FORMAT = 1


def save_artifact(folder: Path, model: Model, task: Classify) -> str:
    """Write a model; returns the name of what opens it without graft."""
    folder.mkdir(parents=True, exist_ok=True)
    origin = model.backbone.origin
    opens_with = "graft"
    if origin.save is not None:
        opens_with = origin.save(folder, model.backbone, model.head, task.classes)
    _save_head(folder / "head.safetensors", model.head)
    about = {
        "format": FORMAT,
        "task": "classify",
        "classes": list(task.classes),
        "head": task.head,
        "backbone": origin.name,
        "source": origin.source,
        "family": origin.family,
        "modality": model.backbone.modality,
        "opens_with": opens_with,
    }
    (folder / "graft.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return opens_with


def load_artifact(folder: Path) -> tuple[Model, Classify]:
    """Open a model folder that `save_artifact` wrote.

    Raises:
        ModelError: it is not one, or its head does not fit.
    """
    path = folder / "graft.json"
    if not path.is_file():
        raise ModelError(f"{folder}: no graft.json; point at a run of ours or its model/ folder")
    about = json.loads(path.read_text(encoding="utf-8"))
    if about.get("format") != FORMAT:
        raise ModelError(f"{path}: format {about.get('format')} is not {FORMAT}; update graft")
    backbone = open_backbone(folder)
    task = Classify(tuple(about["classes"]), head=about["head"], keep_head=False)
    model, _ = task.build(backbone)
    tensors = load_file(folder / "head.safetensors")
    expected = {name: tuple(t.shape) for name, t in model.head.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in tensors.items()}
    if expected != found:
        odd = next(iter(sorted(expected.items() ^ found.items())))
        raise ModelError(
            f"{folder}/head.safetensors: tensor {odd[0]} does not fit; restore the file"
        )
    model.head.load_state_dict(tensors)
    return model.eval(), task


def _save_head(path: Path, head: nn.Module) -> None:
    save_file({k: v.detach().cpu().contiguous() for k, v in head.state_dict().items()}, path)
