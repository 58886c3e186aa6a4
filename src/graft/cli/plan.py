"""`graft plan`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from graft.cli.options import RecipeOptions


def plan(
    data: str | None = None,
    /,
    *,
    recipe: Path | None = None,
    options: RecipeOptions | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Show what `graft train` would do, without training.

    One table per phase: which parameters train at which rate, and where the network is cut, below
    which features are computed once and stored; and what it would take in time, memory and disk.

    Parameters
    ----------
    data
        A table with a text and a label column, or a folder of class folders of images; may be
        left out where `--recipe` names it.
    recipe
        YAML file of options; flags win over it.
    as_json
        Print the plan as JSON.
    """
    from graft import api
    from graft.cli.quiet import hush_libraries
    from graft.cli.show import console, plain_table
    from graft.errors import InputError
    from graft.report.words import human_seconds, readable_cut, readable_rule
    from graft.wording import human_bytes

    if data is None and recipe is None:
        raise InputError("no data; name a file or folder, or pass --recipe with a file that does")
    hush_libraries()
    planned = api.plan(data, recipe=recipe, **(options or RecipeOptions()).given())
    if as_json:
        print(json.dumps(dataclasses.asdict(planned)))
        return
    console.print(planned.how_read, markup=False)
    console.print(
        f"{planned.n_train} train, {planned.n_validation} validation, {planned.n_test} test rows "
        f"({planned.how_split}){_outputs(planned.problem, len(planned.classes))}",
        markup=False,
    )
    if planned.n_target:
        console.print(
            f"each step also takes as many of {planned.n_target:,} rows of another domain, without "
            f"labels ({planned.adapt})",
            soft_wrap=True,
        )
    for finding in planned.findings:
        console.print(f"{finding.severity}: {finding}", markup=False)
    for note in planned.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    console.print(f"{planned.model} with {planned.n_blocks} blocks · method {planned.method}")
    for transform in planned.transforms:
        console.print(f"  {transform}", markup=False, soft_wrap=True)
    for phase in planned.phases:
        stored = "stored" if phase.cached else phase.reason
        cut = readable_cut(phase.cut)
        console.print(f"\n[bold]{phase.name}[/bold]  {phase.by} · {cut} · {stored}")
        table = plain_table(
            "  parameters", "rate", "tensors", "numbers", right=("rate", "tensors", "numbers")
        )
        for index, group in enumerate(phase.groups):
            rule = readable_rule(group.rule, planned.n_blocks)
            if rule == "everything" and index:
                rule = "everything else"
            rate = "frozen" if group.lr is None else f"{group.lr:.2g}"
            if phase.by == "convex" and group.lr is not None:
                rate = "solved"
            table.add_row(f"  {rule}", rate, str(group.n_tensors), f"{group.n_parameters:,}")
        console.print(table)
        steps = f"{phase.n_steps:,} steps · " if phase.n_steps else ""
        stores = f" · {human_bytes(phase.store_bytes)} on disk" if phase.store_bytes else ""
        console.print(
            f"  {steps}about {human_seconds(phase.seconds)} · "
            f"{human_bytes(phase.memory_bytes)} of memory{stores}",
            style="dim",
        )
    console.print(
        f"\nabout {human_seconds(planned.seconds)} in all, on this machine as busy as it is now; "
        f"{human_bytes(planned.memory_bytes)} of memory beside Python's own, "
        f"{human_bytes(planned.store_bytes)} of feature stores",
        soft_wrap=True,
    )


def _outputs(problem: str, n: int) -> str:
    """Return how many classes, labels or numbers a head answers with; nothing for vectors."""
    from graft.wording import counted

    if problem == "single_label_classification":
        return f"; {counted(n, 'class', 'classes')}"
    if problem == "multi_label_classification":
        return f"; {counted(n, 'label')}"
    return f"; {counted(n, 'number')} to predict" if problem == "regression" else ""
