"""Features of a backbone for data that a user names, row for row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from graft.api.both_towers import open_both, table_of_side
from graft.api.predicting import places, refuse_many_skipped, refuse_other_modality, table_of
from graft.artifact import load_artifact
from graft.backbones import open_backbone
from graft.backbones.backbone import Backbone
from graft.backbones.pair import folder_of_both
from graft.data.check import usable
from graft.data.faults import Finding, refuse
from graft.data.table import Origin
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


def embed(
    model: str | Path | Backbone, data: str | list[str], *, input: str | None = None
) -> Embeddings:
    """Return the pooled features of data: what the model's head reads.

    Of an embedding model its embeddings, of length one; of two towers those of pictures or of
    texts, whichever the data holds.

    Args:
        model: a run, or any name that `open_backbone` takes, or a backbone declared in Python.
        data: as `predict_data` takes it: a path, one text, or lines.
        input: name of the input column, where `data` is a table.

    Raises:
        InputError: nothing is at the path, it holds another modality than the model takes, or no
            row of it can be used.
    """
    backbone: Backbone
    whole: Any
    if not isinstance(model, Backbone) and folder_of_both(model) is not None:
        both: Any = open_both(model)
        table, from_files = table_of_side(data, input)
        backbone, whole = getattr(both[0], table.roles.modality), both
    else:
        backbone, whole = (model, None) if isinstance(model, Backbone) else _open(model)
        table, from_files = table_of(data, backbone.modality, input)
    backbone.eval()
    refuse_other_modality(backbone, table, backbone.origin.name)
    table = replace(table, roles=replace(table.roles, label=None))
    kept, findings = usable(table)
    refuse(findings)
    stream = table_stream(kept, backbone, {})["train"]
    if whole is None:
        found = feature_rows(backbone, stream)
    else:
        net, task = whole
        found = predict_rows(net, task, stream)[task.output]
    features = np.full((len(table), found.shape[1]), np.nan, np.float32)
    number_of = {place: i for i, place in enumerate(places(table))}
    features[[number_of[place] for place in places(kept)]] = found
    return Embeddings(
        features,
        tuple(table.origin(i) for i in range(len(table))),
        (*table.findings, *findings),
        from_files,
    )


def _open(name: str | Path) -> tuple[Backbone, tuple[Model, Labelled] | None]:
    """Return the backbone, and the whole model where its output is an embedding."""
    folder = Path(name)
    inner = folder / "model" if (folder / "model" / "graft.json").is_file() else folder
    if (inner / "graft.json").is_file():
        model, task = load_artifact(inner)
        return model.backbone, (model, task) if task.name == "embed" else None
    return open_backbone(name), None
