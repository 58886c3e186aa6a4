"""The artifact of two towers: a folder that their library opens, or one for each.

    CLIP's family      config.json, model.safetensors      AutoModel
    any two towers     image/   as its own library has it  (timm, transformers, …)
                       text/    with projection and norm   SentenceTransformer

In both, `head.safetensors` holds the projections and the temperature.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from graft.backbones.pair import SIDES
from graft.errors import ModelError
from graft.model import Towers


def write_towers(folder: Path, model: Towers, save: Any | None) -> str:
    """Write the towers; returns the name of what opens them without graft.

    Args:
        save: writes both as their library does, where one library holds both.

    Raises:
        ModelError: a tower is a network of the user's own, which no library opens.
    """
    if save is not None:
        return save(folder, model)
    opened = []
    for side in SIDES:
        tower, head = getattr(model, side), getattr(model, f"{side}_head")
        if tower.origin.save is None:
            raise ModelError(
                f"{tower.origin.name}: a network of your own cannot be written as a tower; open it "
                "from a library's folder"
            )
        (folder / side).mkdir(parents=True)
        opened.append(
            f"{side}/ {tower.origin.save(folder / side, tower, head, (), problem='embedding')}"
        )
    return ", ".join(opened)


def tensors_of_heads(model: Towers) -> dict[str, Tensor]:
    """Return projections and temperature as they lie in `head.safetensors`."""
    inside = ("image.", "text.")
    return {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in model.state_dict().items()
        if not name.startswith(inside)
    }


def write_heads(path: Path, model: Towers) -> None:
    """Write `head.safetensors`."""
    save_file(tensors_of_heads(model), path, metadata={"classes": "[]"})
