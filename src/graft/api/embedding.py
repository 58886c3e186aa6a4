"""Features of a backbone for data that a user names, row for row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from graft.api.predicting import places, refuse_many_skipped, refuse_other_modality, table_of
from graft.artifact import load_artifact
from graft.backbones import open_backbone
from graft.backbones.backbone import Backbone
from graft.data.check import usable
from graft.data.faults import Finding, refuse
from graft.data.table import Origin, Table
from graft.engine.predict import feature_rows
from graft.tasks.labelled import table_stream


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Hold the pooled features of N rows.

    Args:
        features: (N, D) float32, NaN in a row that could not be used.
        origins: file and row of each.
        findings: why rows could not be used, and what else was noticed.
        from_files: whether the origins are files, and not lines or a text from the user.
    """

    features: np.ndarray
    origins: tuple[Origin, ...]
    findings: tuple[Finding, ...]
    from_files: bool

    def refuse_if_many_skipped(self) -> None:
        """Raise where more than 1 % of the rows could not be used.

        Raises:
            SkippedTooMany: as said.
        """
        refuse_many_skipped(int(np.isnan(self.features).any(1).sum()), len(self.features))


def embed(
    model: str | Path | Backbone, data: str | list[str], *, input: str | None = None
) -> Embeddings:
    """Return the pooled features of data: what the model's head reads.

    Args:
        model: a run, or any name that `open_backbone` takes, or a backbone declared in Python.
        data: as `predict_data` takes it: a path, one text, or lines.
        input: name of the input column, where `data` is a table.

    Raises:
        InputError: nothing is at the path, it holds another modality than the model takes, or no
            row of it can be used.
    """
    backbone = model if isinstance(model, Backbone) else open_features(model)
    table, from_files = table_of(data, backbone.modality, input)
    return embed_table(backbone, table, from_files=from_files)


def embed_table(backbone: Backbone, table: Table, *, from_files: bool = True) -> Embeddings:
    """Return the pooled features of a table's rows; labels do not matter.

    Raises:
        InputError: the table holds another modality than the model takes, or no row can be used.
    """
    backbone.eval()
    refuse_other_modality(backbone, table, backbone.origin.name)
    table = replace(table, roles=replace(table.roles, label=None))
    kept, findings = usable(table)
    refuse(findings)
    found = feature_rows(backbone, table_stream(kept, backbone, {})["train"])
    features = np.full((len(table), backbone.width), np.nan, np.float32)
    number_of = {place: i for i, place in enumerate(places(table))}
    features[[number_of[place] for place in places(kept)]] = found
    return Embeddings(
        features,
        tuple(table.origin(i) for i in range(len(table))),
        (*table.findings, *findings),
        from_files,
    )


def open_features(name: str | Path) -> Backbone:
    """Open the backbone of a run, of its model, or of any name that `open_backbone` takes."""
    folder = Path(name)
    inner = folder / "model" if (folder / "model" / "graft.json").is_file() else folder
    if (inner / "graft.json").is_file():
        return load_artifact(inner)[0].backbone
    return open_backbone(name)
