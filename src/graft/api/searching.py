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
from graft.backbones.pair import SIDES, Side
from graft.data.faults import Finding
from graft.data.table import Origin
from graft.errors import InputError, UnknownName
from graft.retrieval.refusals import refuse_other_model
from graft.retrieval.searchable import Hit, Searchable
from graft.retrieval.threshold import Threshold
from graft.retrieval.writing import open_index
from graft.wording import counted

SHOWN_SIDES = {"image": "picture", "text": "text"}


@dataclass(frozen=True)
class Answer:
    """Hold what was found for one query.

    Args:
        query: the text, or the path of the picture.
        origin: where the query came from.
        hits: best first; empty where the query could not be used, or no row meets the conditions.
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
        threshold: which scores are near enough, None where that was not calibrated for such
            queries.
        notes: what is worth knowing, a sentence each.
        findings: why queries could not be used, and what else was noticed.
        from_files: whether the queries stand in files.
        side: whether pictures (`image`) or texts were found, where the model has two towers.
        n_skipped: queries that could not be used.
    """

    answers: tuple[Answer, ...]
    threshold: Threshold | None
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]
    from_files: bool
    side: str = ""
    n_skipped: int = 0

    def refuse_if_many_skipped(self) -> None:
        """Raise where more than 1 % of the queries could not be used.

        Raises:
            SkippedTooMany: as said.
        """
        refuse_many_skipped(self.n_skipped, len(self.answers))


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
        side: Side | None = None,
        input: str | None = None,
    ) -> Answers:
        """Return the rows nearest to each query; see `search`."""
        table, from_files = self.embedder.read(queries, input)
        asked = table.roles.modality if len(self.embedder.sides) > 1 else ""
        wanted = self._side(side, asked)
        found = self.embedder.embed(table, from_files=from_files)
        usable = np.flatnonzero(~np.isnan(found.features).all(1))
        hits = self.index.hits(
            found.features[usable], k, where=where, exact=exact, side=wanted, asked=asked
        )
        of_row = {int(i): tuple(some) for i, some in zip(usable, hits, strict=True)}
        inputs = table.inputs()
        answers = tuple(
            Answer(str(inputs[i]), found.origins[i], of_row.get(i, ())) for i in range(len(table))
        )
        notes, n = [], self.index.n_of(wanted)
        if k > n:
            rows = counted(n, SHOWN_SIDES.get(wanted, "row"))
            notes.append(f"the index holds {rows}, so {n:,} and not {k:,} are found")
        if where and hits and not any(hits):
            notes.append("no row meets the conditions")
        manifest = self.index.manifest
        limit = manifest.threshold_of(wanted, asked)
        if limit is None and manifest.thresholds:
            one, other = (f"{SHOWN_SIDES[s]}s" for s in (wanted, asked))
            notes.append(f"no threshold is known for {one} found by {other}: the nearest are shown")
        n_skipped = len(table) - len(usable)
        return Answers(answers, limit, tuple(notes), found.findings, from_files, wanted, n_skipped)

    def _side(self, side: Side | None, asked: str) -> str:
        """Return whose rows are searched: as wanted, or else those that the queries are not.

        Raises:
            InputError: the index has no sides, or no rows of the side that is wanted.
        """
        if not asked:
            if side is not None:
                raise InputError("--side is for models of pictures and texts; leave it out")
            return ""
        there = [s for s in SIDES if self.index.n_of(s)]
        if not there:
            return asked  # the search itself says that nothing is there
        if side is None:
            across = [s for s in there if s != asked]
            return across[0] if across else asked
        if side not in SIDES:
            raise UnknownName("side", side, SIDES)
        if side not in there:
            raise InputError(
                f"the index holds no {SHOWN_SIDES[side]}s; add some with `graft index RUN DATA "
                f"--add`, or pass --side {there[0]}"
            )
        return side


def search(
    run: str | Path,
    queries: str | Sequence[str],
    *,
    k: int = 10,
    where: Sequence[str] = (),
    exact: bool = False,
    side: Side | None = None,
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
        side: find pictures (`image`) or texts (`text`), where the model has two towers. Unless
            given, a text finds pictures and a picture finds texts, if the index holds them.
        folder: of the index; `index` in the run's folder unless given.
        input: name of the input column, where `queries` is a table.
        backbone: where the run's network was declared in Python: the same, declared again.

    Raises:
        InputError: there is no index, it is empty, it lacks the side, or a condition cannot be
            read.
        ModelError: another model made the index.
    """
    with Searcher(run, folder=folder, backbone=backbone) as searcher:
        return searcher.search(queries, k=k, where=where, exact=exact, side=side, input=input)
