"""Write an adapter and its backbone as one model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from graft.adapters import Adapters, is_adapter, read_adapter
from graft.artifact import save_artifact
from graft.backbones.backbone import Backbone
from graft.errors import InputError, ModelError
from graft.surgery.inserting import inserted, is_mergeable


@dataclass(frozen=True)
class Exported:
    """Say what was written.

    Args:
        folder: of the model.
        opens_with: what opens it without graft.
        n_merged: modules that were folded into the weights.
    """

    folder: Path
    opens_with: str
    n_merged: int


def export(
    source: str | Path,
    out: str | Path,
    *,
    merge: bool = False,
    backbone: str | Path | Backbone | None = None,
) -> Exported:
    """Write an adapter and its backbone as one model folder.

    Args:
        source: a run, or its `adapter/` folder.
        out: folder to write; it must not exist.
        merge: fold what was put in into the weights, or refuse; else what cannot be folded is
            written beside the network.
        backbone: where the adapter's backbone lies now, if not where its folder says.

    Raises:
        InputError: there is something at `out`.
        ModelError: there is no adapter, it does not fit the backbone, or it cannot be merged.
        StorageError: the folder cannot be written.
    """
    folder, out = Path(source), Path(out)
    if not is_adapter(folder) and is_adapter(folder / "adapter"):
        folder = folder / "adapter"
    if not folder.exists():
        raise ModelError(f"{folder}: no such folder; point at a run or its adapter/ folder")
    if not is_adapter(folder) and (folder / "record.json").is_file():
        raise ModelError(
            f"{folder}: the run keeps no adapter by itself; use or copy its model/, which is whole"
        )
    if out.exists():
        raise InputError(f"{out}: is there already; choose another --out")
    named = read_adapter(folder).about["backbone"]
    adapted = Adapters(named if backbone is None else backbone)
    adapted.load("only", folder)
    model, task = adapted.use("only")
    put_in = [child for _, child in inserted(model)]
    if merge and not is_mergeable(model):
        raise ModelError(
            f"{folder}: holds `{put_in[0].surgery.name}` adapters, which are not linear and cannot "
            "be merged; leave out --merge to write them beside their network"
        )
    opens_with = save_artifact(out, model, task)
    return Exported(out, opens_with, len(put_in) if is_mergeable(model) else 0)
