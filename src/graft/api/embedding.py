"""Features of a backbone for data that a user names, row for row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from torch import nn

from graft.api.predicting import places, refuse_many_skipped, refuse_other_modality, table_of
from graft.api.run_limits import RunLimits, limits_of
from graft.artifact import load_artifact
from graft.backbones import open_backbone
from graft.backbones.backbone import Backbone
from graft.data.check import usable
from graft.data.faults import Finding, refuse
from graft.data.table import Origin, Table
from graft.engine.predict import feature_rows, predict_rows
from graft.model import Model
from graft.tasks.labelled import Labelled, table_stream


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


@dataclass(frozen=True, eq=False)
class Embedder:
    """Turn rows into vectors: a backbone's pooled features, or an embedding model's output.

    Args:
        backbone: in eval mode.
        whole: the model and its task, where its output is an embedding.
        limits: those of the run that it comes from.
    """

    backbone: Backbone
    whole: tuple[Model, Labelled] | None = None
    limits: RunLimits = field(default_factory=RunLimits)

    @property
    def network(self) -> nn.Module:
        """Return all that a vector depends on beside the processor."""
        return self.backbone if self.whole is None else self.whole[0]

    def read(self, data: str | Sequence[str], input: str | None) -> tuple[Table, bool]:
        """Return the rows that a user names, and whether they were read from files."""
        follow_links = self.limits.follow_links
        return table_of(data, self.backbone.modality, input, follow_links=follow_links)

    def embed(self, table: Table, *, from_files: bool = True) -> Embeddings:
        """Return the vectors of a table's rows; labels do not matter.

        Raises:
            InputError: the table holds another modality than the model takes, or no row can be
                used.
        """
        refuse_other_modality(self.backbone, table, self.backbone.origin.name)
        table = replace(table, roles=replace(table.roles, label=None))
        limits = self.limits
        kept, findings = usable(
            table, max_pixels=limits.max_pixels, follow_links=limits.follow_links
        )
        refuse(findings)
        found = self._vectors(kept)
        vectors = np.full((len(table), found.shape[1]), np.nan, np.float32)
        number_of = {place: i for i, place in enumerate(places(table))}
        vectors[[number_of[place] for place in places(kept)]] = found
        return Embeddings(
            vectors,
            tuple(table.origin(i) for i in range(len(table))),
            (*table.findings, *findings),
            from_files,
        )

    def _vectors(self, table: Table) -> np.ndarray:
        stream = table_stream(table, self.backbone, {})["train"]
        if self.whole is None:
            return feature_rows(self.backbone, stream)
        model, task = self.whole
        return predict_rows(model, task, stream)[task.output]


def open_embedder(model: str | Path | Backbone, *, backbone: Backbone | None = None) -> Embedder:
    """Open what makes vectors.

    Args:
        model: a run, or any name that `open_backbone` takes, or a backbone declared in Python.
        backbone: where a run's network was declared in Python: the same, declared again.
    """
    if isinstance(model, Backbone):
        return Embedder(model.eval())
    folder, limits = Path(model), limits_of(model)
    inner = folder / "model" if (folder / "model" / "graft.json").is_file() else folder
    if (inner / "graft.json").is_file():
        whole, task = load_artifact(inner, backbone=backbone)
        return Embedder(whole.backbone, (whole, task) if task.name == "embed" else None, limits)
    if backbone is not None:
        return Embedder(backbone.eval(), limits=limits)
    return Embedder(open_backbone(model).eval(), limits=limits)


def embed(
    model: str | Path | Backbone, data: str | list[str], *, input: str | None = None
) -> Embeddings:
    """Return the pooled features of data: what the model's head reads.

    Of an embedding model its embeddings, of length one.

    Args:
        model: a run, or any name that `open_backbone` takes, or a backbone declared in Python.
        data: as `predict_data` takes it: a path, one text, or lines.
        input: name of the input column, where `data` is a table.

    Raises:
        InputError: nothing is at the path, it holds another modality than the model takes, or no
            row of it can be used.
    """
    embedder = open_embedder(model)
    table, from_files = embedder.read(data, input)
    return embedder.embed(table, from_files=from_files)
