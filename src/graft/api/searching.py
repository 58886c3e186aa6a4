"""Searching an index with texts, pictures or files of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graft.api.embedding import open_embedder
from graft.api.indexing import about_of, index_folder
from graft.api.predicting import refuse_many_skipped
from graft.backbones.backbone import Backbone
from graft.data.faults import Finding
from graft.data.table import Origin
from graft.retrieval.index import Hit, Searchable
from graft.retrieval.refusals import refuse_other_model
from graft.retrieval.threshold import Threshold
from graft.retrieval.writing import open_index
from graft.wording import counted


@dataclass(frozen=True)
class Answer:
    """Hold what was found for one query.

    Args:
        query: the text, or the path of the picture.
        origin: where the query came from.
        hits: best first; empty where the query could not be used.
    """

    query: str
    origin: Origin
    hits: tuple[Hit, ...]

    @property
    def is_unknown(self) -> bool:
        """Tell whether nothing is near enough."""
        return not any(hit.is_known for hit in self.hits)


@dataclass(frozen=True)
class Answers:
    """Hold what was found for Q queries.

    Args:
        answers: one for each query, in their order.
        threshold: which scores are near enough, None where that was not calibrated.
        notes: what is worth knowing, a sentence each.
        findings: why queries could not be used, and what else was noticed.
        from_files: whether the queries stand in files.
    """

    answers: tuple[Answer, ...]
    threshold: Threshold | None
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]
    from_files: bool

    def refuse_if_many_skipped(self) -> None:
        """Raise where more than 1 % of the queries could not be used.

        Raises:
            SkippedTooMany: as said.
        """
        refuse_many_skipped(sum(not a.hits for a in self.answers), len(self.answers))


class Searcher:
    """Keep a model and one generation of its index open, for many searches.

    Args:
        run: as `search` takes it.
        folder: of the index; the run's own unless given.
        backbone: where the run's network was declared in Python: the same, declared again.

    Raises:
        InputError: there is no index.
        ModelError: another model made it.

    >>> with Searcher("runs/tickets") as searcher:          # doctest: +SKIP
    ...     searcher.search("where is my parcel?", k=5)
    """

    def __init__(
        self,
        run: str | Path,
        *,
        folder: str | Path | None = None,
        backbone: Backbone | None = None,
    ) -> None:
        self.index: Searchable = open_index(index_folder(run, folder))
        try:
            self.embedder = open_embedder(run, backbone=backbone)
            manifest = self.index.manifest
            refuse_other_model(manifest, about_of(self.embedder, manifest.metric))
        except BaseException:
            self.index.close()
            raise

    def __enter__(self) -> Searcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the index."""
        self.index.close()

    def search(
        self,
        queries: str | Sequence[str],
        *,
        k: int = 10,
        where: Sequence[str] = (),
        exact: bool = False,
        input: str | None = None,
    ) -> Answers:
        """Return the rows nearest to each query; see `search`."""
        table, from_files = self.embedder.read(queries, input)
        found = self.embedder.embed(table, from_files=from_files)
        usable = np.flatnonzero(~np.isnan(found.features).all(1))
        hits = self.index.hits(found.features[usable], k, where=where, exact=exact)
        of_row = {int(i): tuple(some) for i, some in zip(usable, hits, strict=True)}
        inputs = table.inputs()
        answers = tuple(
            Answer(str(inputs[i]), found.origins[i], of_row.get(i, ())) for i in range(len(table))
        )
        n = self.index.n_rows
        notes = (
            ()
            if k <= n
            else (f"the index holds {counted(n, 'row')}, so {n:,} and not {k:,} are found",)
        )
        return Answers(answers, self.index.manifest.threshold, notes, found.findings, from_files)


def search(
    run: str | Path,
    queries: str | Sequence[str],
    *,
    k: int = 10,
    where: Sequence[str] = (),
    exact: bool = False,
    folder: str | Path | None = None,
    input: str | None = None,
    backbone: Backbone | None = None,
) -> Answers:
    """Return the rows of an index that are nearest to each query.

    Args:
        run: whose model made the index.
        queries: a text, an image's path, a file or folder of queries, or a list of either.
        k: how many rows are found for each; all where the index holds fewer.
        where: conditions such as `label=animal` or `price<=9.5`; all must hold.
        exact: leave the approximate graph aside.
        folder: of the index; `index` in the run's folder unless given.
        input: name of the input column, where `queries` is a table.
        backbone: where the run's network was declared in Python: the same, declared again.

    Raises:
        InputError: there is no index, it is empty, or a condition cannot be read.
        ModelError: another model made the index.
    """
    with Searcher(run, folder=folder, backbone=backbone) as searcher:
        return searcher.search(queries, k=k, where=where, exact=exact, input=input)
