"""Which queries the report shows, and what lies nearest to them before and after training.

Pure functions of arrays. Shapes: N items, D width, Q queries, G searched, T tuples, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from graft.data.tuples import Tuples
from graft.report.facts_embedding import Change, ClassFound, Neighbour

MOST_QUERIES = 2_000
"""Of more, so many are looked at to choose from, evenly drawn."""

N_QUERIES = 8
MOST_MOVED = 3 / 8
"""Share of the queries that may be there because they gained most, and likewise lost most."""

N_NEAREST = 5
BLOCK = 512


@dataclass(frozen=True, eq=False)
class Search:
    """Say what is searched among what, and how well each query is served.

    Args:
        queries: (Q,) items.
        searched: (G,) items.
        labels: (N,) class numbers of labelled items, else None.
        pairs: two items → whether they belong together, None where a score says it; and the score.
    """

    queries: np.ndarray
    searched: np.ndarray
    labels: np.ndarray | None = None
    pairs: dict[tuple[int, int], tuple[bool | None, float | None]] = field(default_factory=dict)

    def neighbour(self, query: int, item: int, cosine: float) -> Neighbour:
        """Return an item that lies near a query, with what is known of the two."""
        if self.labels is not None:
            belongs = bool(self.labels[query] == self.labels[item] >= 0)
            return Neighbour(item, cosine, belongs)
        nothing = None if self.has_scores else False
        belongs_, score = self.pairs.get((query, item), (nothing, None))
        return Neighbour(item, cosine, belongs_, score)

    @property
    def has_scores(self) -> bool:
        """Whether a pair that the data do not hold may belong together or not."""
        return any(score is not None for _, score in self.pairs.values())


def search_of(truth: np.ndarray | Tuples) -> Search:
    """Return what is searched among what: labelled items among all, anchors among the others."""
    if isinstance(truth, np.ndarray):
        every = np.arange(len(truth))
        return Search(_some(every), every, labels=truth)
    members, scores = truth.members, truth.scores
    pairs: dict[tuple[int, int], tuple[bool | None, float | None]] = {}
    for t, (one, *others) in enumerate(members.tolist()):
        for role, other in enumerate(others):
            belongs: bool | None = role == 0
            score = None if scores is None else float(scores[t])
            if score is not None:
                belongs = score > 0 if truth.is_binary else None
                pairs[other, one] = (belongs, score)
            if not pairs.get((one, other), (False,))[0]:  # a positive of one row stays one
                pairs[one, other] = (belongs, score)
    searched = np.unique(members if scores is not None else members[:, 1:])
    return Search(_some(np.unique(members[:, 0])), searched, pairs=pairs)


def searches_of_both(truth: Tuples) -> tuple[Search, Search]:
    """Return what is searched where pictures have captions: among these, and the other way."""
    return search_of(truth), search_of(Tuples(truth.members[:, ::-1]))


def _some(queries: np.ndarray) -> np.ndarray:
    drawn = np.linspace(0, len(queries) - 1, min(len(queries), MOST_QUERIES))
    return queries[np.unique(drawn.astype(np.int64))]


def quality(truth: np.ndarray | Tuples, unit: np.ndarray, search: Search) -> np.ndarray:
    """Return how well each query (Q,) is served, higher is better.

    That is the gain of what belongs among its nearest, those that are shown, each divided by the
    logarithm of its rank (as NDCG discounts it); of scored pairs how far the rank of the cosine is
    from that of the score, negative, in shares of all pairs.
    """
    if isinstance(truth, Tuples) and truth.scores is not None and not truth.is_binary:
        members = truth.members
        cosines = np.einsum("td,td->t", unit[members[:, 0]], unit[members[:, 1]])
        apart = -np.abs(_ranks(cosines) - _ranks(truth.scores)) / len(members)
        anchors, number = np.unique(members[:, 0], return_inverse=True)
        mean = np.bincount(number, apart) / np.bincount(number)
        return mean[np.searchsorted(anchors, search.queries)]
    found = []
    for query in search.queries.tolist():
        near = nearest_to(unit, query, search)
        found.append(sum(bool(n.belongs) / np.log2(rank + 2) for rank, n in enumerate(near)))
    return np.asarray(found, np.float64)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks (T,) from 0, equal values their mean rank."""
    _, number, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[number]


def chosen_queries(
    change: np.ndarray, groups: Sequence[str], n_queries: int = N_QUERIES
) -> list[tuple[int, Change]]:
    """Return the numbers of the queries that are shown, and why each is.

    First those that gained most, then those that lost most, the rest drawn evenly; where there
    are classes each comes from another one as long as there are others.

    Args:
        change: (Q,) of their quality.
        groups: (Q,) class of each, or all empty.
        n_queries: how many at most.
    """
    gained = [i for i in np.argsort(-change, kind="stable").tolist() if change[i] > 0]
    lost = [i for i in np.argsort(change, kind="stable").tolist() if change[i] < 0]
    n = len(change)
    evenly = np.unique(np.linspace(0, n - 1, min(n, 8 * n_queries)).astype(int))
    # strides let neighbouring rows, often of one class, come late
    even = [i for start in range(n_queries) for i in evenly[start::n_queries].tolist()]
    n_moved = round(MOST_MOVED * n_queries)
    found: list[tuple[int, Change]] = []
    kinds: list[tuple[Change, list[int], int]] = [
        ("better", gained, n_moved),
        ("worse", lost, n_moved),
        ("drawn", even, n_queries),
    ]
    for kind, candidates, most in kinds:
        taken = {i for i, _ in found}
        seen = {groups[i] for i in taken if groups[i]}
        fresh, again = [], []
        for i in candidates:
            if i in taken:
                continue
            (again if groups[i] in seen else fresh).append(i)
            if groups[i]:
                seen.add(groups[i])
        room = min(most, n_queries - len(found))
        found += [(i, kind) for i in (*fresh, *again)[:room]]
    return found


def nearest_to(unit: np.ndarray, query: int, search: Search) -> tuple[Neighbour, ...]:
    """Return what lies nearest to an item, itself left out; equal cosines in the items' order."""
    cosines = unit[search.searched] @ unit[query]
    cosines[search.searched == query] = -np.inf
    order = np.argsort(-cosines, kind="stable")[:N_NEAREST]
    return tuple(
        search.neighbour(query, int(search.searched[i]), round(float(cosines[i]), 4))
        for i in order.tolist()
        if np.isfinite(cosines[i])
    )


def classes_found(
    sets: Sequence[np.ndarray], labels: np.ndarray, names: Sequence[str]
) -> tuple[ClassFound, ...]:
    """Return how each class lies, before and after.

    Args:
        sets: each (N, D) of length one.
        labels: (N,) class numbers.
        names: (N,) names of the classes.
    """
    present, number = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return ()
    name_of = dict(zip(number.tolist(), names, strict=True))
    nearest = [number[_nearest(unit)] for unit in sets]
    within, between = zip(*(_spread(unit, number) for unit in sets), strict=True)
    found = []
    for c in range(len(present)):
        mine = number == c
        n = int(mine.sum())
        strangers = nearest[-1][mine & (nearest[-1] != c)]
        other = name_of[int(np.bincount(strangers).argmax())] if len(strangers) else ""
        shares = tuple(float((s[mine] == c).mean()) if n > 1 else float("nan") for s in nearest)
        found.append(
            ClassFound(
                name_of[c],
                n,
                shares,
                tuple(float(w[c]) for w in within),
                tuple(float(b[c]) for b in between),
                other,
            )
        )
    return tuple(found)


def _nearest(unit: np.ndarray) -> np.ndarray:
    """Return for each item (N,) the nearest other one."""
    found = []
    for start in range(0, len(unit), BLOCK):
        cosines = unit[start : start + BLOCK] @ unit.T
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = -np.inf
        found.append(cosines.argmax(1))
    return np.concatenate(found)


def _spread(unit: np.ndarray, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return of each class (C,) the mean cosine with its mean, and that mean's with the nearest."""
    counts = np.bincount(number)
    means = np.zeros((len(counts), unit.shape[1]))
    np.add.at(means, number, unit)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    within = np.bincount(number, np.einsum("nd,nd->n", unit, means[number])) / counts
    cosines = means @ means.T
    np.fill_diagonal(cosines, -np.inf)
    return within, cosines.max(1)
