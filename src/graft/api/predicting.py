"""Predicting with the model of a run.

`predict` takes values that lie in memory. `predict_data` takes what a user names on a command
line, and keeps with every prediction the file and row that it belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from graft.adapters import open_model
from graft.api.run_limits import limits_of
from graft.backbones.backbone import Backbone
from graft.data.check import usable
from graft.data.doctor.rows import LARGEST_SKIPPED_SHARE
from graft.data.faults import Finding, refuse, shorten, shorten_path
from graft.data.files import kind_of
from graft.data.images import ENDINGS
from graft.data.readers import HUB, read
from graft.data.readers.endings import ending_of
from graft.data.table import Origin, Table
from graft.engine.predict import answers, answers_to
from graft.errors import InputError, ModelError, SkippedTooMany
from graft.model import Model
from graft.records import Prediction
from graft.run_folder import is_unfinished, no_folder
from graft.tasks.labelled import Labelled


@dataclass(frozen=True)
class Predictions:
    """Predictions for data that a user named, row for row.

    Args:
        classes: names of the model's outputs.
        origins: file and row of each of the N rows.
        rows: N predictions, None where a row could not be used.
        findings: why rows could not be used, and what else was noticed.
        from_files: whether the origins are files, and not lines or a text from the user.
    """

    classes: tuple[str, ...]
    origins: tuple[Origin, ...]
    rows: tuple[Prediction | None, ...]
    findings: tuple[Finding, ...]
    from_files: bool

    def refuse_if_many_skipped(self) -> None:
        """Raise where more than 1 % of the rows could not be used.

        Raises:
            SkippedTooMany: as said.
        """
        refuse_many_skipped(self.rows.count(None), len(self.rows))


def predict(
    folder: str | Path, values: Sequence[Any] | str, *, backbone: Backbone | None = None
) -> list[Prediction | None]:
    """Predict with the model of a run.

    Args:
        folder: of the run, or of its model.
        values: texts, or paths of images; one alone stands for a list of it.
        backbone: the network, where it is the user's own, declared as it was for training.

    Returns:
        A prediction for each value, None for a text that is empty.

    Raises:
        InputError: a value is no text, or no path of a picture that can be read.
        ModelError: the model makes vectors, or cannot be opened.
    """
    model, task = _answering(folder, backbone)
    return answers_to(model, task, values, max_pixels=limits_of(folder).max_pixels)


def predict_data(
    folder: str | Path,
    data: str | Sequence[str],
    *,
    input: str | None = None,
    backbone: Backbone | None = None,
) -> Predictions:
    """Predict for a file, a folder, an image, one text, or a list of lines.

    Rows that cannot be used (empty texts, broken images) are kept without a prediction.

    Args:
        folder: of the run, or of its model.
        data: a path; or, for a model of texts, one text; or lines, each a text or an image's path.
        input: name of the input column, where `data` is a table.
        backbone: as for `predict`.

    Raises:
        InputError: nothing is at the path, it holds another modality than the model takes, or no
            row of it can be used.
    """
    model, task = _answering(folder, backbone)
    limits = limits_of(folder)
    table, from_files = table_of(
        data, model.backbone.modality, input, follow_links=limits.follow_links
    )
    refuse_other_modality(model.backbone, table, folder)
    # labels do not matter here, so a row without one is as good as any
    table = replace(table, roles=replace(table.roles, label=None))
    kept, findings = usable(table, max_pixels=limits.max_pixels, follow_links=limits.follow_links)
    refuse(findings)
    found = dict(zip(places(kept), answers(model, task, kept), strict=True))
    return Predictions(
        task.classes,
        tuple(table.origin(i) for i in range(len(table))),
        tuple(found.get(place) for place in places(table)),
        (*table.findings, *findings),
        from_files,
    )


def _answering(folder: str | Path, backbone: Backbone | None) -> tuple[Model, Labelled]:
    """Open a model that answers.

    Raises:
        ModelError: it makes vectors, or cannot be opened.
    """
    model, task = open_model(model_folder(folder), backbone=backbone)
    if task.name == "embed":
        raise ModelError(
            f"{shorten_path(str(folder), 60)}: makes vectors and no answers; take them with graft "
            "embed, or find what is near with graft index and graft search"
        )
    return model, task


def refuse_many_skipped(n_skipped: int, n_rows: int) -> None:
    """Raise where more than 1 % of the rows could not be used.

    Raises:
        SkippedTooMany: as said.
    """
    if n_skipped > LARGEST_SKIPPED_SHARE * n_rows:
        raise SkippedTooMany(
            f"{n_skipped:,} of {n_rows:,} rows have no answer, more than 1 %, because they could "
            "not be used; mend what the notes name"
        )


def refuse_other_modality(backbone: Backbone, table: Table, folder: str | Path) -> None:
    """Raise where a table holds another modality than a model's backbone takes.

    Raises:
        InputError: as said.
    """
    takes, holds = backbone.modality, table.roles.modality
    if takes != holds:
        data = shorten_path(table.name_of_source, 50)
        raise InputError(
            f"{data}: holds {holds}, and the model of {shorten_path(str(folder), 50)} takes "
            f"{takes}; give it {takes} data or name another column with --input"
        )


def table_of(
    data: str | Sequence[str], modality: str, column: str | None, *, follow_links: bool = False
) -> tuple[Table, bool]:
    """Return the table that is meant, and whether it was read from files."""
    assert modality in ("text", "image")
    if isinstance(data, str) and not data.strip():
        raise InputError("nothing is asked; give a text, a file or a folder")
    if not isinstance(data, str):
        return Table.of_values(data, modality, "standard input"), False
    if modality == "text" and not looks_like_a_path(data) and not _exists(data):
        return Table.of_values([data], "text", shorten(data, 40)), False
    if Path(data).suffix.lower() in ENDINGS and _exists(data):
        table = Table.of_values([data], "image", data)
        return replace(table, row_of=np.zeros(1, np.int64)), True
    return read(data, input=column, follow_links=follow_links), True


def looks_like_a_path(text: str) -> bool:
    """Tell whether a word is meant as a path, though nothing need be there.

    It is where it has the ending of a file that is read, or a separator and no white space.

    >>> looks_like_a_path("tickets.csv"), looks_like_a_path("my order 12/34 is late")
    (True, False)
    """
    if ending_of(text, archives=True) is not None or text.startswith(HUB):
        return True
    if Path(text).suffix.lower() in ENDINGS:
        return True
    return ("/" in text or "\\" in text) and not any(c.isspace() for c in text)


def _exists(place: str) -> bool:
    try:
        return kind_of(place) is not None
    except (OSError, ValueError):  # longer than a path may be
        return False


def places(table: Table) -> list[tuple[int, int]]:
    """Return what tells each row of a table from all others: its file and row."""
    return list(zip(table.source_of.tolist(), table.row_of.tolist(), strict=True))


def model_folder(folder: str | Path) -> Path:
    """Return the folder of a run's model, or of a model, that is given.

    Raises:
        ModelError: there is no such folder, or the run is not finished.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise no_folder(folder)
    if (folder / "model").is_dir():
        return folder / "model"
    if is_unfinished(folder):
        raise ModelError(f"{folder}: the run is not finished; pass --resume to graft train")
    return folder
