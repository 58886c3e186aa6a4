"""The held-out rows on which a threshold is calibrated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from graft.api.embedding import Embedder
from graft.data.readers import read
from graft.data.table import Table
from graft.errors import InputError
from graft.prepare import prepare
from graft.recipe import read_recipe
from graft.retrieval.segments import prepared
from graft.retrieval.threshold import Threshold, calibrate


def calibrated(
    run: str | Path,
    embedder: Embedder,
    far: float,
    data: str | None,
    *,
    input: str | None = None,
    label: str | None = None,
    metric: str = "cosine",
) -> Threshold:
    """Return the threshold at which at most a share of the impostors is accepted.

    Args:
        run: whose validation rows are taken where `data` is None; its test rows are left alone.
        embedder: that makes the vectors.
        far: the share.
        data: labelled rows that the model was not trained on.
        input: name of their input column.
        label: name of their label column.
        metric: by which vectors are compared.

    Raises:
        InputError: the run has no validation rows, the rows have no single labels, or there are
            too few pairs.
    """
    if data is None:
        table, source = _validation_rows(Path(run)), "validation rows of the run"
    else:
        table, source = read(data, input=input, label=label), data
    labels = table.labels()
    if labels is None or table.target_kind != "single":
        raise InputError(f"{source[-80:]}: no column of single labels; name one with --label")
    found = embedder.embed(table)
    usable = [i for i in range(len(table)) if labels[i] and np.isfinite(found.features[i]).all()]
    vectors = prepared(found.features[usable], metric)
    return calibrate(vectors, np.array([labels[i] for i in usable]), far, source=source)


def _validation_rows(run: Path) -> Table:
    """Return the validation rows of a run.

    Raises:
        InputError: it has none, or its recipe or data are not there.
    """
    path = run / "recipe.yaml"
    if not path.is_file():
        raise InputError(f"{run}: no recipe.yaml, so no held-out rows are known; pass --calibrate")
    found = prepare(read_recipe({}, path))
    rows = found.splits.validation
    if not len(rows):
        raise InputError(f"{run}: the run kept no validation rows; pass --calibrate")
    return replace(found.table.take(rows), findings=())
