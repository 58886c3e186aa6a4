"""Open a network with what surgery put into it.

A model whose adapters cannot be folded into its weights is saved as two: the network in `base/`, in
its own library's form, and beside it what was put in.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from graft.backbones import open_backbone, read_about, read_our_head
from graft.backbones.backbone import Backbone
from graft.surgery.describing import restore
from graft.weights.manifest import check_manifest
from graft.weights.reading import read_tensors

BASE = "base"
INSERTED = "inserted.safetensors"


def open_whole(name: str | Path, *, random: bool = False) -> Backbone:
    """Open a network as `open_backbone` does, adapters of a saved model included.

    Args:
        name: as `open_backbone` takes it.
        random: keep the architecture but not the weights, nor what was put in.

    Raises:
        ModelError: it cannot be opened, or its parts do not fit each other.
    """
    folder = beside(name)
    if folder is None:
        return open_backbone(name, random=random)
    check_manifest(folder)
    about = read_about(folder)
    backbone = open_backbone(folder / BASE, random=random)
    backbone.origin = dataclasses.replace(
        backbone.origin, name=str(about.get("backbone", backbone.origin.name))
    )
    if not random:
        path = folder / INSERTED
        restore(backbone.net, about["inserted"], read_tensors(path), str(path))
        read_our_head(backbone, folder)
    return backbone


def beside(name: str | Path) -> Path | None:
    """Return the folder of a model of ours whose adapters lie beside its network, or None."""
    folder = Path(name).expanduser()
    try:
        if (folder / "record.json").is_file() and (folder / "model").is_dir():
            folder = folder / "model"
        is_two = (folder / BASE).is_dir() and (folder / INSERTED).is_file()
        return folder if is_two and (folder / "graft.json").is_file() else None
    except OSError:  # too long for a path: a name at best
        return None
