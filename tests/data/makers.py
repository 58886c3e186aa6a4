"""Tables made by code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from graft.data.table import Roles, Table
from graft.data.targets import TargetKind


def text_table(
    texts: Sequence[str | None],
    labels: Sequence[object] | None = None,
    *,
    group: Sequence[object] | None = None,
    split: Sequence[str] | None = None,
    target: TargetKind = "single",
) -> Table:
    """Return a table as if read from `d.csv`."""
    import pyarrow as pa

    given = {"text": texts, "label": labels, "group": group, "split": split}
    columns = {name: list(values) for name, values in given.items() if values is not None}
    n = len(texts)
    roles = Roles(
        inputs=("text",),
        label=None if labels is None else "label",
        group=None if group is None else "group",
        split=None if split is None else "split",
        target=target,
    )
    return Table(
        data=pa.table(columns),
        roles=roles,
        name_of_source="d.csv",
        sources=("d.csv",),
        source_of=np.zeros(n, dtype=np.int64),
        row_of=np.arange(1, n + 1),
    )


def class_table(counts: dict[str, int], **columns: Sequence) -> Table:
    """Return a table with so many rows of each class, in a mixed order."""
    labels = [label for label, count in counts.items() for _ in range(count)]
    order = np.random.default_rng(0).permutation(len(labels))
    return text_table([f"text {i}" for i in order], [labels[i] for i in order], **columns)


def picture(path: Path, size: tuple[int, int] = (16, 12), color: object = "teal", **save) -> Path:
    """Write an image of one colour."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path, **save)
    return path
