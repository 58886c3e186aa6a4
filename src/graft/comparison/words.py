"""Texts as bags of words, without a vocabulary: what no pretraining is needed for.

Each word falls into one of D bins by a hash, with the sign of another bit of it, so that words that
share a bin cancel out on average. Counts are damped, weighed by how rare the word is, and every row
has length one.

Source: Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning", section 2, for
the signed hash; Sparck Jones 1972 for the weight.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

WIDTH = 1024
WORD = re.compile(r"\w+")


def hashed_words(texts: Sequence[str], width: int = WIDTH) -> np.ndarray:
    """Return texts as vectors (N, `width`) float32, of length one or, without a word, zero."""
    counts = [Counter(WORD.findall(text.casefold())) for text in texts]
    n_with = Counter(word for row in counts for word in row)
    place = {word: zlib.crc32(word.encode()) for word in n_with}
    vectors = np.zeros((len(texts), width), np.float32)
    for vector, row in zip(vectors, counts, strict=True):
        for word, n in row.items():
            sign = 1 if place[word] >> 31 else -1
            rarity = 1 + math.log((1 + len(texts)) / (1 + n_with[word]))
            vector[place[word] % width] += sign * (1 + math.log(n)) * rarity
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
