"""What the report shows of an embedding: neighbours, cosines of pairs, classes, two maps.

    held-out items, their vectors before and after ─picture_embeddings→ Facts

Of two towers the items are the pictures and then their captions, in one space.

Shapes: N held-out items, K of them in the map, E and D width after and before, T tuples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from graft.api.cosines import counted, ends_of, operating
from graft.api.mapping import MOST_COLOURS, with_spreads
from graft.api.near_mapping import near_map, rows_of_near_map
from graft.api.nearest import (
    N_QUERIES,
    Search,
    chosen_queries,
    classes_found,
    nearest_to,
    quality,
    search_of,
    searches_of_both,
)
from graft.api.showing import Judged, feature_map, place_of, small_picture, text_of
from graft.data.captions import IMAGE_TEXT, sides
from graft.data.table import Table
from graft.data.tuples import Tuples, relevant, unfolded
from graft.metrics.sampled_pairs import cosines_of, sample_pairs
from graft.metrics.verification import sampled
from graft.neighbours import normalised
from graft.report.facts import ClassCount, Facts, FeatureMap, Link
from graft.report.facts_embedding import CosineCounts, EmbeddingFacts, Item, Query
from graft.tasks.labelled import Labelled

MOST_LINKS = 12
MOST_POINTS = 2_000
SIDE = 96
"""Pixels of a neighbour's picture."""

N_EACH_WAY = 6
"""Queries from pictures to captions, and as many back."""

SIDES = ("pictures", "captions")
ON_THESE_PAIRS = "the highest balanced accuracy on these same pairs"


@dataclass(frozen=True, eq=False)
class Shown:
    """Hold the held-out items as people see them.

    Args:
        tables: whose rows, one table after the other, are the items.
        labels: (N,) class of each, empty where there is none.
    """

    tables: Sequence[Table]
    labels: Sequence[str]

    def item(self, i: int) -> Item:
        """Return one of them."""
        row = i
        for table in self.tables:
            if row < len(table):
                break
            row -= len(table)
        value = table.inputs()[row]
        is_picture = table.roles.modality == "image"
        return Item(
            place_of(table, row),
            self.labels[i],
            "" if is_picture else text_of(value),
            small_picture(value, SIDE) if is_picture else "",
        )


def picture_embeddings(
    task: Labelled, table: Table, judged: Judged, counts: tuple[ClassCount, ...]
) -> Facts:
    """Return what the page shows of an embedding beside the record."""
    del task
    truth = judged.targets
    shown = _shown(table, judged)
    # cosines do not see the length of a vector, so the map must not either
    before = None if judged.before is None else normalised(judged.before)
    alike = replace(judged, after=normalised(judged.after), before=before)
    facts = embedding_facts(judged, shown)
    if facts.kind == "match":
        groups = [SIDES[i >= len(shown.tables[0])] for i in judged.drawn.tolist()]
    else:
        groups = _coloured(facts, shown.labels, judged.drawn)
    near, why = near_map(before, alike.after, groups, len(judged.outputs))
    return Facts(
        table.roles.modality,
        counts,
        map=_with_pairs(
            feature_map(alike, groups, wrong=np.zeros(len(groups), bool)), truth, judged.drawn
        ),
        embedding=facts,
        near_map=_with_pairs(near, truth, judged.drawn[rows_of_near_map(len(judged.drawn))]),
        near_map_note=why,
    )


def _shown(table: Table, judged: Judged) -> Shown:
    truth, rows = judged.targets, table.take(judged.rows)
    if not isinstance(truth, Tuples):
        return Shown([rows], [label or "" for label in rows.labels() or [""] * len(rows)])
    if table.roles.modality == IMAGE_TEXT:
        tables = list(sides(rows)[:2])
    else:
        tables = [unfolded(rows if truth.grades is None else relevant(rows))[0]]
    return Shown(tables, [""] * sum(map(len, tables)))


def _coloured(facts: EmbeddingFacts, labels: Sequence[str], drawn: np.ndarray) -> list[str]:
    """Return the class of each item in the map; empty where it is none that has a colour.

    Those have one whose items most often find another class first, then the most frequent.
    """
    lost = {c.name: (1 - c.nearest[-1]) * c.n_items for c in facts.classes if c.n_items > 1}
    counts = Counter(label for label in labels if label)
    order = sorted(counts, key=lambda name: (-lost.get(name, 0.0), -counts[name], name))
    chosen = set(order[:MOST_COLOURS])
    return [labels[i] if labels[i] in chosen else "" for i in drawn.tolist()]


def _with_pairs(
    found: FeatureMap | None, truth: np.ndarray | Tuples, drawn: np.ndarray
) -> FeatureMap | None:
    """Add the spread of classes to a map, or lines between a few pairs."""
    if found is None:
        return None
    if not isinstance(truth, Tuples):
        before = None if found.before is None else with_spreads(found.before, found.groups)
        return replace(found, after=with_spreads(found.after, found.groups), before=before)
    if len(found.groups) < len(drawn):  # some are not finite, and numbers would not fit
        return found
    place = {item: i for i, item in enumerate(drawn.tolist())}
    links = [
        Link(place[one], place[other], belongs)
        for one, other, belongs in _telling_pairs(truth)
        if one in place and other in place and one != other
    ]
    return replace(found, links=tuple(links))


def _telling_pairs(truth: Tuples) -> list[tuple[int, int, bool]]:
    """Return a few pairs that belong together and, where the data have some, that do not."""
    members, half = truth.members, MOST_LINKS // 2
    if truth.scores is not None:
        order = np.argsort(truth.scores, kind="stable")
        high, low = members[order[::-1][:half]], members[order[: min(half, len(order) // 2)]]
        pairs = [(high, True), (low, False)]
    else:
        n = MOST_LINKS if members.shape[1] == 2 else half
        drawn = np.unique(np.linspace(0, len(members) - 1, min(n, len(members))).astype(int))
        pairs = [(members[drawn][:, [0, r]], r == 1) for r in range(1, members.shape[1])]
    return [(a, b, belongs) for some, belongs in pairs for a, b in some[:, :2].tolist()]


def embedding_facts(judged: Judged, shown: Shown) -> EmbeddingFacts:
    """Return neighbours, cosines and classes of the held-out items."""
    truth = judged.targets
    kind = _kind(truth, len(shown.tables))
    bare = EmbeddingFacts(kind, len(judged.outputs))
    sets = [judged.outputs if judged.untrained is None else judged.untrained, judged.outputs]
    units = [normalised(np.asarray(vectors, np.float32)) for vectors in sets]
    if not all(np.isfinite(unit).all() for unit in units):
        return bare
    both_ways = searches_of_both(truth) if kind == "match" else (search_of(truth),)
    found = _with_queries(bare, truth, units, shown, both_ways)
    if kind == "labels":
        named = np.asarray([bool(label) for label in shown.labels])
        own = [label for label in shown.labels if label]
        classes = classes_found([unit[named] for unit in units], truth[named], own)
        found = replace(found, classes=classes)
    if kind == "scores":
        return _with_scatter(found, truth, units)
    before, after = _histograms(truth, units)
    known = "" if after is None else ON_THESE_PAIRS
    return replace(found, before=before, after=after, threshold_from=known)


def _kind(truth: np.ndarray | Tuples, n_tables: int) -> str:
    if not isinstance(truth, Tuples):
        return "labels"
    if n_tables > 1:
        return "match"
    if truth.scores is None:
        return "pairs" if truth.members.shape[1] == 2 else "triplets"
    return "binary" if truth.is_binary else "scores"


def _with_queries(
    facts: EmbeddingFacts,
    truth: np.ndarray | Tuples,
    units: Sequence[np.ndarray],
    shown: Shown,
    searches: Sequence[Search],
) -> EmbeddingFacts:
    number: dict[int, int] = {}

    def placed(i: int) -> int:
        return number.setdefault(i, len(number))

    queries = []
    for search in searches:
        before, after = (quality(truth, unit, search) for unit in units)
        groups = [shown.labels[i] for i in search.queries.tolist()]
        n_queries = N_QUERIES if len(searches) == 1 else N_EACH_WAY
        for i, why in chosen_queries(after - before, groups, n_queries):
            item = int(search.queries[i])
            own = placed(item)
            sides_ = [
                tuple(replace(n, item=placed(n.item)) for n in nearest_to(unit, item, search))
                for unit in units
            ]
            queries.append(Query(own, why, *sides_))
    items = tuple(shown.item(i) for i in number)
    return replace(facts, items=items, queries=tuple(queries))


def _histograms(
    truth: np.ndarray | Tuples, units: Sequence[np.ndarray]
) -> tuple[CosineCounts | None, CosineCounts | None]:
    """Return the cosines of the pairs that the metrics of verification are of."""
    sample = sample_pairs(truth)
    if sample is None or not sample.n_alike or not sample.n_unlike:
        return None, None
    sets = [sampled(sample, unit) for unit in units]
    cosines = [[np.clip(p.scores[p.genuine == kind], -1, 1) for kind in (1, 0)] for p in sets]
    ends = ends_of(*cosines[0], *cosines[1])
    before, after = (
        replace(counted(alike, unlike, ends), curve=operating(pairs))
        for (alike, unlike), pairs in zip(cosines, sets, strict=True)
    )
    return before, after


def _with_scatter(
    facts: EmbeddingFacts, truth: Tuples, units: Sequence[np.ndarray]
) -> EmbeddingFacts:
    n = len(truth.members)
    drawn = np.unique(np.linspace(0, n - 1, min(n, MOST_POINTS)).astype(int))
    assert truth.scores is not None
    before, after = (
        tuple(np.round(cosines_of(unit, truth.members[drawn]), 4).tolist()) for unit in units
    )
    scores = tuple(truth.scores[drawn].tolist())
    return replace(facts, scores=scores, cosines_before=before, cosines_after=after)
