"""Making and changing an index: vectors of a run's model, row for row, to be searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from graft.api.calibrating import calibrated
from graft.api.embedding import Embedder, Embeddings, open_embedder
from graft.api.predicting import refuse_many_skipped
from graft.backbones.backbone import Backbone
from graft.data.doctor.groups import ID_NAMES, repeated_ids
from graft.data.faults import Finding, data_error, refuse, shorten_path
from graft.data.roles import no_column, plain
from graft.data.table import Table, is_embedded
from graft.errors import InputError
from graft.retrieval import writing
from graft.retrieval.manifest import Manifest
from graft.retrieval.refusals import About, refuse_other_model
from graft.retrieval.rows import Row
from graft.retrieval.segments import Batch
from graft.retrieval.threshold import Threshold
from graft.retrieval.writing import Kind, current, open_index, stale_share
from graft.run_folder import INDEX


@dataclass(frozen=True)
class Indexed:
    """Say what an index holds after it was made or changed.

    Args:
        folder: of the index.
        generation: counts the changes, from 1.
        n_rows: rows that can be found.
        width: D of their vectors.
        n_added: rows that were added now.
        n_deleted: rows that were deleted now.
        recall: share of the true ten nearest that the approximate graph finds, None without one.
        threshold: which scores are near enough, None where that was not calibrated.
        findings: rows that could not be used, and what else was noticed.
        n_skipped: rows that could not be used.
        notes: what else is worth knowing, a sentence each.
    """

    folder: Path
    generation: int
    n_rows: int
    width: int
    n_added: int = 0
    n_deleted: int = 0
    recall: float | None = None
    threshold: Threshold | None = None
    findings: tuple[Finding, ...] = ()
    n_skipped: int = 0
    notes: tuple[str, ...] = ()

    def refuse_if_many_skipped(self) -> None:
        """Raise where more than 1 % of the rows could not be used.

        Raises:
            SkippedTooMany: as said.
        """
        refuse_many_skipped(self.n_skipped, self.n_added + self.n_skipped)


def index(
    run: str | Path,
    data: str | Sequence[str] | None = None,
    *,
    add: bool = False,
    delete: Sequence[str] = (),
    rebuild: bool = False,
    folder: str | Path | None = None,
    id: str | None = None,
    input: str | None = None,
    kind: Kind = "auto",
    metric: str | None = None,
    server: str | None = None,
    far: float | None = None,
    calibrate: str | None = None,
    label: str | None = None,
    backbone: Backbone | None = None,
    n_threads: int = 1,
) -> Indexed:
    """Make an index of data, or change the one that is there.

    Without `add`, `delete` and `rebuild` a new index is made. Whoever searches meanwhile sees the
    old index or the new one, never something between.

    Args:
        run: a finished run, its model, or any model that `graft.embed` takes.
        data: what is searched later: a path, or lines, as `graft.embed` takes it.
        add: add the data to the index; vectors that are there are not computed again.
        delete: ids of rows to delete.
        rebuild: with data, replace what the index holds; without, free the space of deleted rows
            and build the approximate graph anew.
        folder: of the index; `index` in the run's folder unless given, and needed for a model that
            is not a run's.
        id: column of the ids; one named `id` unless given, or else file and row.
        input: name of the input column, where it is not found by name.
        kind: `exact`, `hnsw`, or `auto` for a graph from 200,000 rows on where faiss is installed.
        metric: `cosine` or `dot`; that of the index, or else `cosine`, unless given.
        server: keep the vectors in Qdrant: a folder, an address, or `:memory:`.
        far: calibrate a threshold that at most this share of impostors reaches.
        calibrate: labelled data for that; the run's own validation rows unless given.
        label: name of their label column.
        backbone: where the run's network was declared in Python: the same, declared again.
        n_threads: that build a graph.

    Raises:
        InputError: data, options or ids do not go together, an index is or is not there, or another
            model made it.
        DataError: an id names two rows, or a vector is not finite.
        StorageError: the index cannot be written, or another process writes into it.
    """
    place = index_folder(run, folder)
    _check(data, add=add, delete=delete, rebuild=rebuild, far=far, calibrate=calibrate)
    if data is None and far is None:
        if delete:
            manifest = writing.delete(place, delete)
        else:
            manifest = writing.rebuild(place, kind=kind, n_threads=n_threads)
        return replace(_indexed(place, manifest), n_deleted=len(delete))
    before = None if rebuild and data is not None else current(place)
    if before is not None and data is not None and not add:
        writing.refuse_existing(place)
    embedder = open_embedder(run, backbone=backbone)
    about = about_of(embedder, metric or (before.metric if before else "cosine"))
    if before is not None:
        refuse_other_model(before, about)
    threshold = None
    if far is not None:  # first, for if it fails then nothing shall have changed
        named = {"input": input, "label": label, "metric": about.metric}
        threshold = calibrated(run, embedder, far, calibrate, **named)
    found = rows = manifest = None
    if data is not None:
        found, rows = _embedded(embedder, data, id_column=id, input=input)
        if add:
            manifest = writing.add(place, rows, about)
        else:
            manifest = writing.build(
                *(place, rows, about),
                kind=kind,
                n_threads=n_threads,
                replacing=rebuild,
                server=server,
            )
    elif rebuild:
        manifest = writing.rebuild(place, kind=kind, n_threads=n_threads)
    if threshold is not None:
        manifest = writing.set_threshold(place, threshold)
    assert manifest is not None
    made = _indexed(place, manifest)
    if found is None or rows is None:
        return made
    n_added = len(rows.rows)
    n_skipped = len(found.features) - n_added
    return replace(made, n_added=n_added, n_skipped=n_skipped, findings=found.findings)


def index_folder(run: str | Path, folder: str | Path | None) -> Path:
    """Return the folder of an index: as asked, or the run's own.

    Raises:
        InputError: none is asked, and the model is not that of a run.
    """
    if folder is not None:
        return Path(folder)
    run = Path(run)
    for place in (run, run.parent):
        if (place / "model" / "graft.json").is_file() and run in (place, place / "model"):
            return place / INDEX
    raise InputError(
        f"{shorten_path(str(run), 80)}: is no run, which would hold the index; pass --index"
    )


def about_of(embedder: Embedder, metric: str) -> About:
    """Return what makes the vectors of an index: weights and processor, and how they compare."""
    return About(embedder.identity(), embedder.name, metric)


def _check(
    data: object, *, add: bool, delete: Sequence[str], rebuild: bool, far: object, calibrate: object
) -> None:
    if add and rebuild:
        raise InputError("--add and --rebuild do not go together; choose one")
    if add and data is None:
        raise InputError("--add needs data; name it after the run")
    if delete and data is not None:
        raise InputError("--delete takes ids and no data; do one after the other")
    if delete and (rebuild or far is not None):
        raise InputError("--delete goes with no other change; do one after the other")
    if calibrate is not None and far is None:
        raise InputError("--calibrate needs --far, the share of impostors that may be accepted")
    if data is None and not (delete or rebuild or far is not None):
        raise InputError("nothing to do; name data to index, or pass --delete, --rebuild or --far")


def _embedded(
    embedder: Embedder, data: str | Sequence[str], *, id_column: str | None, input: str | None
) -> tuple[Embeddings, Batch]:
    """Return what a model makes of data, and of that what can be indexed."""
    table, from_files = embedder.read(data, input)
    ids = _ids(table, id_column)  # before anything is computed
    found = embedder.embed(table, from_files=from_files)
    return found, _batch(table, found, ids)


def _batch(table: Table, found: Embeddings, ids: Sequence[str]) -> Batch:
    """Return the rows that can be used, with ids, cells and vectors."""
    kept = np.flatnonzero(~np.isnan(found.features).all(1))
    inputs = [str(value) for value in table.inputs()]
    shown = [n for n in table.columns if not is_embedded(table.data.column(n).type)]
    columns = {name: table.column(name) for name in shown}
    rows = [
        Row(
            ids[i],
            found.origins[i].path,
            found.origins[i].row,
            inputs[i],
            {name: values[i] for name, values in columns.items()},
        )
        for i in kept.tolist()
    ]
    return Batch(found.features[kept], rows)


def _ids(table: Table, column: str | None) -> list[str]:
    """Return what names each row: its id, or else its place.

    Raises:
        DataError: there is no such column, an id is missing, or one names two rows.
    """
    origins = [table.origin(i) for i in range(len(table))]
    if column is None:
        column = _id_column(table)
    elif column not in table.columns:
        raise no_column(column, list(table.columns), flag="id", path=table.name_of_source)
    if column is None:
        return [o.path if o.row is None else f"{o.path}:{o.row}" for o in origins]
    ids = ["" if value is None else str(value).strip() for value in table.column(column)]
    if "" in ids:
        place = origins[ids.index("")]
        message = "holds no id; fill it, or name another column with --id"
        raise data_error(message, path=place.path, row=place.row, column=column)
    return ids


def _id_column(table: Table) -> str | None:
    """Return the column that is named like one of ids and names every row differently.

    Raises:
        DataError: such a column names some rows alike.
    """
    named = [n for n in table.columns if plain(n) in ID_NAMES]
    # where most ids come back, the column names something else than rows
    again = [replace(finding, severity="error") for finding in repeated_ids(table)]
    refuse(finding for finding in again if finding.column in named)
    whole = (n for n in named if len(set(map(str, table.column(n)))) == len(table))
    return next(whole, None)


def _indexed(folder: Path, manifest: Manifest) -> Indexed:
    notes = []
    with open_index(folder) as opened:
        n_rows = opened.n_rows
    if stale_share(manifest) > writing.STALE_SHARE:
        share = f"{stale_share(manifest):.0%}"
        notes.append(
            f"{share} of the rows are not in the graph and searched exactly; pass --rebuild"
        )
    if manifest.graph is None and n_rows >= writing.GRAPH_FROM_ROWS and not manifest.server:
        notes.append(
            "searched exactly; with `pip install 'graft[search]'`, --rebuild makes a graph"
        )
    return Indexed(
        folder,
        manifest.generation,
        n_rows,
        manifest.width,
        recall=manifest.graph.recall if manifest.graph else None,
        threshold=manifest.threshold,
        notes=tuple(notes),
    )
