"""`graft rerun`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def rerun(
    run: Path,
    /,
    *,
    data: str | None = None,
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Repeat a run from its own folder and verify that the same weights come out.

    Ends with 0 if they are the same byte for byte, and with 1 if not; then it says what else
    differs: data, versions, threads.

    Parameters
    ----------
    run
        Folder of a finished run.
    data
        Where its data lie now; the path in its recipe, seen from here, unless given.
    out
        Folder of the repetition; a new one under runs/ unless given.
    as_json
        Print what was compared as JSON.
    """
    from graft.api.rerunning import rerun as repeat
    from graft.cli.progress import ProgressBars
    from graft.cli.quiet import hush_libraries
    from graft.cli.show import console
    from graft.cli.stopped import told_when_stopped
    from graft.engine.processes import is_main
    from graft.engine.stopping import stoppable

    hush_libraries()
    is_shown = is_main() and not as_json
    with told_when_stopped(is_main()), stoppable(), ProgressBars(enabled=is_shown) as bars:
        found = repeat(run, data=data, out=out, listener=bars.listener())
    if not is_main():
        return
    sha256 = found.first.record.weights_sha256
    if as_json:
        folders = {"run": str(found.first.folder), "again": str(found.again.folder)}
        print(json.dumps({**folders, "is_same": True, "weights_sha256": sha256}))
        return
    console.print(
        f"the same weights, byte for byte: {sha256[:16]}…\nrun     {found.first.folder}\n"
        f"again   {found.again.folder}",
        markup=False,
        soft_wrap=True,
    )
