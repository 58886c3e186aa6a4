"""Find, for each text, the most similar of many others, without comparing all pairs.

Two texts are as similar as the sets of their character 5-grams: shared over all (Jaccard). The
search is exact. Every set is sorted from its rarest member on; two sets of similarity t or more
must then share a member among the first |x| - ceil(t·|x|) + 1 of each, so only these few, rare
members are looked up. Of pairs that share one, most are told apart by bitmaps: each member flips
one of 1,024 bits, so bitmaps differ in no more bits than the sets in members. The rest is counted.

Source: Chaudhuri, Ganti, Kaushik 2006, "A Primitive Operator for Similarity Joins", prefix
filtering; the bound as in Bayardo, Ma, Srikant 2007, "Scaling Up All Pairs Similarity Search";
bitmaps as in Sandes, Teodoro, Melo 2017, "Bitmap Filter".

Shapes: N known texts, M queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

N_CHARACTERS = 5
LONGEST_TEXT = 10_000
"""Characters of a text that are looked at; longer ones are compared by their beginnings."""

N_PAIRS_AT_ONCE = 500_000
N_BITS = 1024
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, eq=False)
class Sets:
    """Hold N sets of whole numbers: `members[starts[i]:starts[i + 1]]`, ascending, is set i."""

    members: np.ndarray
    starts: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Return how many members each set has, (N,)."""
        return np.diff(self.starts)

    def owners(self) -> np.ndarray:
        """Return the number of the set of each member."""
        return np.repeat(np.arange(len(self.starts) - 1), self.sizes)


def most_similar(
    known: Sequence[str], queries: Sequence[str], least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the most similar known text of each query, where one is similar enough.

    Args:
        known: N texts, normalised as the caller wishes; one under five characters is one member.
        queries: M texts.
        least: smallest Jaccard similarity of their 5-grams, above 0.

    Returns:
        (M,) int64 number of the known text, the first of equals, or -1; (M,) similarity, or 0.
    """
    sets = ranked([*known, *queries])
    n_known, sizes, maps = len(known), sets.sizes, bitmaps(sets)
    best = np.full(len(queries), -1, np.int64)
    similarity = np.zeros(len(queries))
    for some in candidates(sets, n_known, least):
        pairs = some[may_be_similar(maps, sizes, some, least)]
        shared = n_shared(sets, pairs)
        found = shared / (sizes[pairs[:, 0]] + sizes[pairs[:, 1]] - shared)
        for k in np.flatnonzero(found >= least - 1e-12):
            i, j = int(pairs[k, 0]), int(pairs[k, 1]) - n_known
            if found[k] > similarity[j] or (found[k] == similarity[j] and i < best[j]):
                best[j], similarity[j] = i, found[k]
    return best, similarity


def ranked(texts: Sequence[str]) -> Sets:
    """Return the sets of 5-grams, each named by its rank: the rarest of all texts has rank 0."""
    grams = [np.unique(grams_of(text)) for text in texts]
    starts = np.cumsum([0, *map(len, grams)])
    flat = np.concatenate(grams) if grams else np.zeros(0, np.uint64)
    _, named, counts = np.unique(flat, return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    sets = Sets(rank[named], starts)
    order = np.lexsort((sets.members, sets.owners()))
    return Sets(sets.members[order], starts)


def grams_of(text: str) -> np.ndarray:
    """Return the character 5-grams of a text as hashes of 64 bits."""
    codes = np.frombuffer(text[:LONGEST_TEXT].encode("utf-32-le", "surrogatepass"), np.uint32)
    codes = codes.astype(np.uint64) + np.uint64(1)
    n = max(len(codes) - N_CHARACTERS + 1, 1)
    hashes = np.zeros(n, np.uint64)
    for k in range(min(N_CHARACTERS, len(codes))):
        hashes = (hashes ^ codes[k : k + n]) * MULTIPLIER
        hashes ^= hashes >> np.uint64(29)
    return hashes


def bitmaps(sets: Sets) -> np.ndarray:
    """Return (N, 16) uint64: bit `member % 1024` is set where an odd number of members flips it."""
    keys = sets.owners() * N_BITS + sets.members % N_BITS
    flipped, counts = np.unique(keys, return_counts=True)
    bits = np.zeros((len(sets.starts) - 1) * N_BITS, np.uint8)
    bits[flipped[counts % 2 == 1]] = 1
    return np.packbits(bits).view(np.uint64).reshape(-1, N_BITS // 64)


def may_be_similar(
    maps: np.ndarray, sizes: np.ndarray, pairs: np.ndarray, least: float
) -> np.ndarray:
    """Return (P,) whether a pair's bitmaps leave it possible that it is similar enough.

    A pair of similarity t shares t / (1 + t) of its members, so (1 - t) / (1 + t) of them differ.
    """
    n_apart = np.zeros(len(pairs), np.int64)
    for word in maps.T:
        n_apart += np.bitwise_count(word[pairs[:, 0]] ^ word[pairs[:, 1]])
    return n_apart <= (1 - least) / (1 + least) * sizes[pairs].sum(1) + 1e-9


def candidates(sets: Sets, n_known: int, least: float) -> Iterator[np.ndarray]:
    """Yield pairs (P, 2) of a known set and a query that share a rare member, each pair once."""
    sizes = sets.sizes
    n_first = sizes - np.ceil(least * sizes - 1e-9).astype(np.int64) + 1
    position = np.arange(len(sets.members)) - np.repeat(sets.starts[:-1], sizes)
    owners = sets.owners()
    is_first = position < np.repeat(n_first, sizes)
    is_known = owners < n_known
    known_members, known_owners = sets.members[is_first & is_known], owners[is_first & is_known]
    order = np.argsort(known_members, kind="stable")
    known_members, known_owners = known_members[order], known_owners[order]
    asked, askers = sets.members[is_first & ~is_known], owners[is_first & ~is_known]
    low = np.searchsorted(known_members, asked, "left")
    counts = np.searchsorted(known_members, asked, "right") - low
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(asked):
        # whole queries at a time, so that a pair is met in one block alone
        done = ends[begin - 1] if begin else 0
        stop = max(int(np.searchsorted(ends, done + N_PAIRS_AT_ONCE, "right")), begin + 1)
        stop = int(np.searchsorted(askers, askers[stop - 1], "right"))
        block = slice(begin, stop)
        n = counts[block]
        offsets = np.arange(int(n.sum())) - np.repeat(np.cumsum(n) - n, n)
        found = known_owners[np.repeat(low[block], n) + offsets]
        keys = np.unique(np.repeat(askers[block], n) * n_known + found)
        pairs = np.stack([keys % n_known, keys // n_known], 1)
        a, b = sizes[pairs[:, 0]], sizes[pairs[:, 1]]
        yield pairs[np.minimum(a, b) >= least * np.maximum(a, b) - 1e-9]
        begin = stop


def n_shared(sets: Sets, pairs: np.ndarray) -> np.ndarray:
    """Return how many members the two sets of each pair (P, 2) share."""
    sizes = sets.sizes
    shared = np.zeros(len(pairs), np.int64)
    weights = np.cumsum(sizes[pairs].sum(1)) if len(pairs) else np.zeros(0, np.int64)
    begin = 0
    while begin < len(pairs):
        done = weights[begin - 1] if begin else 0
        stop = max(int(np.searchsorted(weights, done + 4 * N_PAIRS_AT_ONCE, "right")), begin + 1)
        some = pairs[begin:stop]
        both = some.ravel()
        n = sizes[both]
        offsets = np.arange(int(n.sum())) - np.repeat(np.cumsum(n) - n, n)
        members = sets.members[np.repeat(sets.starts[both], n) + offsets]
        numbers = np.repeat(np.arange(len(some)), n.reshape(-1, 2).sum(1))
        order = np.lexsort((members, numbers))
        members, numbers = members[order], numbers[order]
        twice = (members[1:] == members[:-1]) & (numbers[1:] == numbers[:-1])
        shared[begin:stop] = np.bincount(numbers[1:][twice], minlength=len(some))
        begin = stop
    return shared
