"""The artifact: a model folder that its source library opens, and graft too.

Beside what the source library needs lie `graft.json` (classes and head, for us),
`head.safetensors` (the head alone, in every form that a head can have), and `manifest.json`, which
knows every other file by its SHA-256 and is checked before any of them is opened. A network of the
user's own has no library that opens it: its weights lie in `model.safetensors`, and whoever loads
them brings the network.

What surgery put in is folded into the weights where that can be done. Else the network lies in
`base/` and what was put in beside it: no library would run it, and one that opened the network
alone would give other answers.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors.torch import save_file
from torch import Tensor, nn

from graft.artifact_towers import write_heads, write_towers
from graft.backbones import FORMAT, read_about, read_head, shown
from graft.backbones.backbone import Backbone
from graft.backbones.pair import BackbonePair, open_pair
from graft.errors import ModelError
from graft.killpoints import fail_at
from graft.model import Model, Towers
from graft.storage import storing, whole_folder
from graft.surgery.describing import describe, inserted_tensors, restore
from graft.surgery.inserting import inserted, is_mergeable, merge, remove
from graft.surgery.opening import BASE, INSERTED, open_whole
from graft.tasks import find_task
from graft.tasks.labelled import Labelled
from graft.tasks.match import Match
from graft.weights.manifest import check_manifest, write_manifest
from graft.weights.reading import read_tensors, refuse_not_finite

M = TypeVar("M", Model, Towers)


def save_artifact(
    folder: Path, model: Model | Towers, task: Labelled, pair: BackbonePair | None = None
) -> str:
    """Write a model; returns the name of what opens it without graft.

    The folder is there whole or not at all. A model that lies there already is replaced whole: a
    file left from another form would change how the folder opens.

    Args:
        pair: of two towers, where they came from.

    Raises:
        StorageError: it cannot be written.
    """
    size_bytes = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    mend = "free some space, then pass --resume"
    with (
        storing("the model", folder, mend, needed_bytes=size_bytes),
        whole_folder(folder) as written,
    ):
        if isinstance(model, Towers):
            assert pair is not None
            return _write_pair(written, _merged(model), task, pair)
        return _write(written, model, task)


def _write_pair(folder: Path, model: Towers, task: Labelled, pair: BackbonePair) -> str:
    opens_with = write_towers(folder, model, pair.save)
    write_heads(folder / "head.safetensors", model)
    fail_at("in_artifact")
    about = {
        **about_task(task, opens_with),
        "backbone": pair.origin.name,
        "source": pair.origin.source,
        "family": pair.origin.family,
        "modality": pair.modality,
    }
    _write_about(folder, about)
    return opens_with


def _write(folder: Path, model: Model, task: Labelled) -> str:
    origin = model.backbone.origin
    if is_mergeable(model):
        model = _merged(model)
    put_in = describe(model.backbone.net)
    if put_in:
        tensors = inserted_tensors(model.backbone.net)
        save_tensors(folder / INSERTED, tensors, {"format": "pt"})
        model = copy.deepcopy(model)
        remove(model.backbone.net)
    home = folder / BASE if put_in else folder
    if origin.save is not None:
        home.mkdir(exist_ok=True)
        opens_with = origin.save(
            home, model.backbone, model.head, task.classes, problem=task.problem
        )
    else:
        opens_with = "graft, given the network"
        _save(folder / "model.safetensors", model.backbone.net, {"format": "pt"})
    metadata = {"classes": json.dumps(list(task.classes))}
    _save(folder / "head.safetensors", model.head, metadata)
    fail_at("in_artifact")
    if put_in and origin.save is not None:
        opens_with = "graft"
    about = {
        **about_task(task, opens_with),
        "backbone": origin.name,
        "source": origin.source,
        "family": origin.family,
        "modality": model.backbone.modality,
        **({"inserted": put_in} if put_in else {}),
    }
    _write_about(folder, about)
    return opens_with


def _merged(model: M) -> M:
    """Return a model with what was put in folded into its weights; the same where nothing was."""
    if not any(inserted(model)):
        return model
    whole = copy.deepcopy(model)
    merge(whole)
    return whole


def about_task(task: Labelled, opens_with: str) -> dict[str, Any]:
    """Return what a model's or an adapter's folder says of its task."""
    return {
        "format": FORMAT,
        "task": task.name,
        "problem": task.problem,
        "classes": list(task.classes),
        "head": task.head,
        "opens_with": opens_with,
    }


def _write_about(folder: Path, about: Mapping[str, Any]) -> None:
    """Write what graft knows of the model, and then what every file must be."""
    (folder / "graft.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    seal(folder, like=folder / "graft.json")


def seal(folder: Path, *, like: Path) -> None:
    """Give all files of a folder the mode of one of them, and write down what each must be.

    The library writes tensors for the owner's eyes alone.
    """
    for path in folder.rglob("*.safetensors"):
        shutil.copymode(like, path)
    write_manifest(folder)


def load_towers(folder: Path) -> tuple[Towers, Match]:
    """Open a model folder of two towers that `save_artifact` wrote.

    Raises:
        ModelError: it is not one, or a file does not fit.
    """
    pair = open_pair(folder)
    model, _ = Match().build(pair)
    return model.eval(), Match()


def load_artifact(folder: Path, *, backbone: Backbone | None = None) -> tuple[Model, Labelled]:
    """Open a model folder that `save_artifact` wrote.

    Args:
        folder: the model's folder.
        backbone: the network that the folder's weights are put into, changed in place; needed for
            a network of the user's own, and only for that.

    Raises:
        ModelError: it is not one, or its head or weights do not fit.
    """
    if not (folder / "graft.json").is_file():
        raise ModelError(f"{folder}: no graft.json; point at a run of ours or its model/ folder")
    about = read_about(folder)
    if about.get("modality") == BackbonePair.modality:
        raise ModelError(
            f"{shown(folder)}: two towers know no classes; name some with --zero-shot, "
            "or take vectors with graft embed"
        )
    head = read_head(folder)  # before anything else: other classes are named as such
    if about["source"] == "own":
        if backbone is None:
            raise ModelError(
                f"{folder}: holds a network of your own ({about.get('family')}); pass backbone=, "
                "declared as it was for training"
            )
        check_manifest(folder)
        weights = folder / "model.safetensors"
        _fill(backbone.net, read_tensors(weights), weights)
        if "inserted" in about:
            path = folder / INSERTED
            restore(backbone.net, about["inserted"], read_tensors(path), str(path))
    elif backbone is not None:
        raise ModelError(f"{folder}: opens by itself; leave out backbone=")
    else:
        backbone = open_whole(folder)
    task = read_task(about)
    model, _ = task.build(backbone)
    _fill(model.head, head, folder / "head.safetensors")
    return model.eval(), task


def _save(path: Path, module: nn.Module, metadata: dict[str, str]) -> None:
    save_tensors(path, module.state_dict(), metadata)


def read_task(about: Mapping[str, Any]) -> Labelled:
    """Return the task that a folder of ours was saved for."""
    kind = find_task(about.get("task", "classify"))
    return kind(tuple(about["classes"]), head=about["head"], keep_head=False)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors as safetensors; cloned, since such as share memory cannot be written."""
    whole = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    save_file(whole, path, metadata=metadata)


def _fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load tensors into a module whose names and shapes they must match exactly."""
    expected = {name: tuple(t.shape) for name, t in module.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in tensors.items()}
    if expected != found:
        odd = next(iter(sorted(expected.items() ^ found.items())))
        raise ModelError(f"{path}: tensor {odd[0]} does not fit; restore the file")
    module.load_state_dict(dict(tensors))
    refuse_not_finite(module, path)
