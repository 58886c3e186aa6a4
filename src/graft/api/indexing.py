"""Making and changing an index: vectors of a run's model, row for row, to be searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from graft.api.both_towers import side_of_column, table_of_both
from graft.api.calibrating import calibrated
from graft.api.embedding import Embedder, open_embedder
from graft.api.index_both import rows_of_both
from graft.api.index_rows import Rows, rows_of
from graft.api.predicting import refuse_many_skipped
from graft.backbones.backbone import Backbone
from graft.data.captions import IMAGE_TEXT
from graft.data.faults import Finding, shorten_path
from graft.errors import InputError
from graft.retrieval import writing
from graft.retrieval.manifest import GraphFile, Manifest, between
from graft.retrieval.refusals import About, refuse_other_model
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
        n_of_side: how many of them are pictures and texts, where the model has two towers.
        n_added: rows that were added now.
        n_deleted: rows that were deleted now.
        graphs: the approximate ones, with the share of the true ten nearest that they find.
        thresholds: which scores are near enough, where that was calibrated. Of two towers by the
            pairs that are compared: `image-text`, `text-text`, `image-image`; else of `rows`.
        findings: rows that could not be used, and what else was noticed.
        n_skipped: rows that could not be used.
        notes: what else is worth knowing, a sentence each.
    """

    folder: Path
    generation: int
    n_rows: int
    width: int
    n_of_side: Mapping[str, int] = field(default_factory=dict)
    n_added: int = 0
    n_deleted: int = 0
    graphs: tuple[GraphFile, ...] = ()
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    n_skipped: int = 0
    notes: tuple[str, ...] = ()

    @property
    def threshold(self) -> Threshold | None:
        """Return which scores are near enough: of two towers those of pictures with texts."""
        sides = ("image", "text") if self.n_of_side else ("", "")
        return self.thresholds.get(between(*sides))

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
        far: calibrate a threshold that at most this share of unlike pairs reaches.
        calibrate: labelled data or pairs for that; the run's own validation rows unless given.
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
        if not delete:
            return _indexed(place, writing.rebuild(place, kind=kind, n_threads=n_threads))
        with open_index(place) as opened:
            n_before = opened.n_rows
        made = _indexed(place, writing.delete(place, delete))
        return replace(made, n_deleted=n_before - made.n_rows)
    known = current(place)
    before = None if rebuild and data is not None else known
    if before is not None and data is not None and not add:
        writing.refuse_existing(place)
    embedder = open_embedder(run, backbone=backbone)
    about = about_of(embedder, metric or (known.metric if known else "cosine"))
    if before is not None:
        refuse_other_model(before, about)
    limits = None
    if far is not None:  # first, for if it fails then nothing shall have changed
        named = {"input": input, "label": label, "metric": about.metric}
        limits = calibrated(run, embedder, far, calibrate, **named)
    rows = manifest = None
    if data is not None:
        rows = _rows(embedder, data, id_column=id, input=input)
        if add:
            manifest = writing.add(place, rows.batch, about)
        else:
            manifest = writing.build(
                *(place, rows.batch, about),
                kind=kind,
                n_threads=n_threads,
                replacing=rebuild,
                server=server,
            )
    elif rebuild:
        manifest = writing.rebuild(place, kind=kind, n_threads=n_threads)
    if limits is not None:
        manifest = writing.set_thresholds(place, limits.thresholds)
    assert manifest is not None
    made = _indexed(place, manifest)
    if limits is not None:
        made = replace(made, notes=(*made.notes, *limits.notes))
    elif known is not None and known.thresholds and not manifest.thresholds:
        gone = "the threshold belonged to the old index and is gone; pass --far to find it again"
        made = replace(made, notes=(*made.notes, gone))
    if rows is None:
        return made
    return replace(
        made,
        n_added=len(rows.batch.rows),
        n_skipped=rows.n_skipped,
        findings=rows.findings,
        notes=(*made.notes, *rows.notes),
    )


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
        raise InputError("--calibrate needs --far, the share of unlike pairs that may be accepted")
    if data is None and not (delete or rebuild or far is not None):
        raise InputError("nothing to do; name data to index, or pass --delete, --rebuild or --far")


def _rows(
    embedder: Embedder, data: str | Sequence[str], *, id_column: str | None, input: str | None
) -> Rows:
    """Return what of some data can be indexed, with the vectors that a model makes of it."""
    if len(embedder.sides) == 1:
        table, from_files = embedder.read(data, input)
        return rows_of(embedder, table, from_files=from_files, id_column=id_column)
    table, from_files = table_of_both(data, input)
    if table.roles.modality == IMAGE_TEXT:
        only = side_of_column(table, input)
        return rows_of_both(embedder, table, id_column=id_column, only=only)
    side = table.roles.modality
    return rows_of(embedder, table, from_files=from_files, id_column=id_column, side=side)


def _indexed(folder: Path, manifest: Manifest) -> Indexed:
    notes = []
    with open_index(folder) as opened:
        n_rows = opened.n_rows
        n_of_side = {side: opened.n_of(side) for side in filter(None, manifest.sides)}
    if stale_share(manifest) > writing.STALE_SHARE:
        share = f"{stale_share(manifest):.0%}"
        notes.append(
            f"{share} of the rows are not in the graph and searched exactly; pass --rebuild"
        )
    n_most = max(n_of_side.values(), default=n_rows)
    if not manifest.graphs and n_most >= writing.GRAPH_FROM_ROWS and not manifest.server:
        notes.append(
            "searched exactly; with `pip install 'graft[search]'`, --rebuild makes a graph"
        )
    return Indexed(
        folder,
        manifest.generation,
        n_rows,
        manifest.width,
        n_of_side,
        graphs=manifest.graphs,
        thresholds=manifest.thresholds,
        notes=tuple(notes),
    )
