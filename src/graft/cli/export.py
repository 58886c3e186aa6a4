"""`graft export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def export(
    source: Path,
    /,
    *,
    out: Path,
    merge: bool = False,
    model: str | None = None,
    quiet: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Write an adapter and its backbone as one model.

    A run that trained a few percent of a network keeps them in `adapter/`. Examples:

        graft export runs/tickets-lora-1 --merge --out tickets-model

        graft export tickets/adapter --model ~/models/minilm --out tickets-model

    Parameters
    ----------
    source
        A run, or an adapter's folder.
    out
        Folder to write.
    merge
        Fold the adapter into the weights (lora, residual), so that the backbone's own library opens
        the folder; adapters that are not linear are refused.
    model
        Where the adapter's backbone lies now, if not where it was.
    quiet
        Print nothing.
    as_json
        Print what was written as JSON.
    """
    from graft.api.exporting import export as export_model
    from graft.cli.quiet import hush_libraries
    from graft.cli.show import console
    from graft.serial import to_json

    hush_libraries()
    found = export_model(source, out, merge=merge, backbone=model)
    if as_json:
        print(to_json(found))
    elif not quiet:
        merged = f", {found.n_merged} modules merged" if found.n_merged else ""
        console.print(
            f"model   {found.folder}  (opens with {found.opens_with}{merged})", markup=False
        )
