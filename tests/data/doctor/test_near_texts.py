"""The search for similar texts against the obvious comparison of all pairs."""

from __future__ import annotations

import time

import numpy as np
import pytest

from graft.data.doctor.near_texts import N_BITS, bitmaps, grams_of, most_similar, ranked

LETTERS = [*"abcdef "]


def grams(text: str) -> set[str]:
    return {text[i : i + 5] for i in range(max(len(text) - 4, 1))}


def obvious(known: list[str], queries: list[str], least: float) -> list[tuple[int, float]]:
    found = []
    for query in queries:
        shared = [len(grams(query) & grams(k)) / len(grams(query) | grams(k)) for k in known]
        best = max(range(len(known)), key=lambda i: (shared[i], -i))
        near = shared[best] >= least - 1e-12
        found.append((best, shared[best]) if near else (-1, 0.0))
    return found


def varied(n: int, length: int, seed: int) -> list[str]:
    """Return texts of which many are others with a few letters changed."""
    random = np.random.default_rng(seed)
    texts: list[str] = []
    for i in range(n):
        if i % 3 == 0 or i < 3:
            texts.append("".join(random.choice(LETTERS, int(random.integers(0, length)))))
            continue
        letters = [*texts[int(random.integers(0, i))], *"ab"]
        for _ in range(int(random.integers(0, 4))):
            letters[int(random.integers(0, len(letters)))] = str(random.choice(LETTERS))
        texts.append("".join(letters))
    return texts


@pytest.mark.parametrize("least", [0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("length", [8, 60, 2_000])
def test_it_equals_the_comparison_of_all_pairs(least: float, length: int):
    n = 40 if length > 100 else 150
    texts = varied(n, length, length)
    known, queries = texts[: n * 2 // 3], texts[n * 2 // 3 :]
    best, shared = most_similar(known, queries, least)
    expected = obvious(known, queries, least)
    assert best.tolist() == [i for i, _ in expected]
    assert np.allclose(shared, [s for _, s in expected])
    assert (best >= 0).any() or least == 1.0


def test_blocks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch):
    texts = varied(120, 40, 5)
    whole = most_similar(texts[:80], texts[80:], 0.4)
    monkeypatch.setattr("graft.data.doctor.near_texts.N_PAIRS_AT_ONCE", 7)
    parts = most_similar(texts[:80], texts[80:], 0.4)
    assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_bitmaps_differ_in_no_more_bits_than_the_sets_in_members():
    texts = varied(30, 300, 1)
    sets, maps = ranked(texts), bitmaps(ranked(texts))
    assert maps.shape == (30, N_BITS // 64)
    members = [set(sets.members[a:b]) for a, b in zip(sets.starts, sets.starts[1:], strict=False)]
    for i in range(30):
        for j in range(30):
            n_bits = int(np.bitwise_count(maps[i] ^ maps[j]).sum())
            assert n_bits <= len(members[i] ^ members[j])
    assert max(np.bitwise_count(maps[0] ^ m).sum() for m in maps) > 20


def test_any_characters_and_no_text_at_all():
    assert most_similar([], ["a text"], 0.5)[0].tolist() == [-1]
    assert most_similar(["a text"], [], 0.5)[0].tolist() == []
    odd = ["", "ab", "\U0001f600\U0001f601 smile", "\ud800 half"]
    assert most_similar(odd, odd, 1.0)[0].tolist() == [0, 1, 2, 3]
    assert len(grams_of("abcdefg")) == 3


@pytest.mark.slow
def test_ten_thousand_rows_take_seconds():
    random = np.random.default_rng(0)
    words = np.array(["".join(random.choice(LETTERS[:6], 6)) for _ in range(3_000)])
    weights = 1 / np.arange(1, 3_001)
    texts = [" ".join(random.choice(words, 14, p=weights / weights.sum())) for _ in range(10_000)]
    texts[9_000:] = [f"{text}s" for text in texts[:1_000]]
    began = time.process_time()
    best, _ = most_similar(texts[:8_000], texts[8_000:], 0.8)
    assert time.process_time() - began < 30
    assert best[1_000:].tolist() == list(range(1_000))
