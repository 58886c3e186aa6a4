"""Repeating a run from its own folder, and holding what comes out against it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from graft.api.training import RECIPE, Run, load, train
from graft.backbones.backbone import Backbone
from graft.data.faults import LONGEST_LINE, shorten_path
from graft.engine.settings import Listener
from graft.errors import ModelError, NotRepeated
from graft.records import RunRecord


@dataclass(frozen=True)
class Rerun:
    """A run and its repetition, whose weights are the same byte for byte."""

    first: Run
    again: Run


def rerun(
    run: str | Path,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    backbone: Backbone | None = None,
    listener: Listener | None = None,
) -> Rerun:
    """Repeat a finished run by its own recipe, and verify that it gives the same weights.

    The same weights are promised on one kind of machine, with the same versions and as many
    threads (the recipe holds their number).

    Args:
        run: folder of a finished run.
        data: where its data lie now; the recipe's path, seen from here or from the folders above
            the run, unless given.
        out: folder of the repetition; a new one under `runs/` unless given.
        backbone: where the run's network was declared in Python: the same, declared again.

    Raises:
        ModelError: the folder is no finished run.
        NotRepeated: the weights differ; the message says what else does.
    """
    first = load(run, backbone=backbone)
    recipe = first.folder / RECIPE
    if not recipe.is_file():
        raise ModelError(f"{run}: no {RECIPE}; point at the folder of a run")
    again = train(data, model=backbone, out=out, recipe=recipe, listener=listener)
    if again.record.weights_sha256 != first.record.weights_sha256:
        odd = differences(first.record, again.record)
        why = f"mend what differs: {'; '.join(odd)}" if odd else ""
        why = why or "data, versions and threads are the same, so report this"
        text = f": repeated in {shorten_path(str(again.folder), 40)}, other weights came out; "
        text += why[: LONGEST_LINE - len(text) - 40]
        raise NotRepeated(shorten_path(str(run), LONGEST_LINE - len(text)) + text)
    return Rerun(first, again)


def differences(first: RunRecord, again: RunRecord) -> tuple[str, ...]:
    """Return what weights depend on and is not the same in two runs: data and environment."""
    found = ["data"] if first.data_hash != again.data_hash else []
    for name in sorted((first.environment.keys() | again.environment.keys()) - {"git"}):
        was, now = (record.environment.get(name, "none") for record in (first, again))
        if was != now:
            found.append(f"{name} {was}, now {now}")
    return tuple(found)
