"""Find, for each picture, the nearest of many others, without comparing all pairs.

A picture is known by a grey thumbnail of 16 × 16. Its perceptual hash keeps the signs of the 63
lowest frequencies against their median, so scaling, recompression and a change of brightness
leave it nearly alone. Hashes within 6 bits are candidates; near are those whose thumbnails also
correlate, for pictures of little detail, such as digits, have hashes like many others'.

Source: Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions", the
DCT-based hash; here of 16 × 16 numbers and without the constant term, which is brightness.

Shapes: N known pictures, M queries.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

SIDE = 16
N_FREQUENCIES = 8
N_BITS = 64
FLATTEST = 2.0
"""Standard deviation in grey levels below which a picture shows nothing to compare."""

MOST_BITS_APART = 6
LEAST_CORRELATED = 0.98
BLOCK = 4096


def thumbnail(image: Image.Image) -> np.ndarray:
    """Return the (16, 16) uint8 grey thumbnail of an upright picture of 8 bits."""
    from PIL.Image import Resampling

    return np.array(image.convert("L").resize((SIDE, SIDE), Resampling.BOX))


def perceptual_hashes(thumbnails: np.ndarray) -> np.ndarray:
    """Return the hash (N,) uint64 of each thumbnail (N, 16, 16); 0 where it is of one colour."""
    k, x = np.arange(N_FREQUENCIES)[:, None], np.arange(SIDE)[None]
    waves = np.cos(math.pi * k * (2 * x + 1) / (2 * SIDE))
    places = np.uint64(1) << np.arange(N_FREQUENCIES**2 - 1, dtype=np.uint64)
    hashes = np.zeros(len(thumbnails), np.uint64)
    for start in range(0, len(thumbnails), BLOCK):
        pixels = thumbnails[start : start + BLOCK].astype(np.float64)
        found = (waves @ pixels @ waves.T).reshape(len(pixels), -1)[:, 1:]
        bits = found > np.median(found, axis=1, keepdims=True)
        shows = pixels.std((1, 2)) >= FLATTEST
        hashes[start : start + BLOCK] = (bits * places).sum(1) * shows
    return hashes


def nearest_pictures(
    known: np.ndarray, queries: np.ndarray, most: int = MOST_BITS_APART
) -> tuple[np.ndarray, np.ndarray]:
    """Return the most alike known picture of each query, where one is near.

    Args:
        known: (N, 16, 16) uint8 thumbnails.
        queries: (M, 16, 16) uint8.
        most: largest number of bits in which their hashes differ.

    Returns:
        (M,) int64 number of the known picture, the first of equals, or -1; (M,) correlation, or 0.
    """
    best = np.full(len(queries), -1, np.int64)
    alike = np.zeros(len(queries))
    base, asked = standardised(known), standardised(queries)
    for q, rows in near_hashes(perceptual_hashes(known), perceptual_hashes(queries), most):
        found = base[rows] @ asked[q]
        nearest = int(found.argmax())
        if found[nearest] >= LEAST_CORRELATED:
            best[q], alike[q] = rows[nearest], min(float(found[nearest]), 1.0)
    return best, alike


def standardised(thumbnails: np.ndarray) -> np.ndarray:
    """Return thumbnails as vectors (N, 256) of mean 0 and length 1."""
    vectors = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    vectors -= vectors.mean(1, keepdims=True)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def near_hashes(
    known: np.ndarray, queries: np.ndarray, most: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the queries that have known hashes within a Hamming distance, and all of these.

    Two numbers of 64 bits that differ in at most `most` of them are equal in one of `most` + 1
    bands of bits, so only those that share a band are compared; none is missed.

    Args:
        known: (N,) uint64; 0 stands for no hash.
        queries: (M,) uint64, likewise.

    Yields:
        Number of the query, and those of the known hashes, ascending.
    """
    bands = []
    edges = np.linspace(0, N_BITS, most + 2).astype(int).tolist()
    for low, high in itertools.pairwise(edges):
        mask = np.uint64(((1 << high) - 1) ^ ((1 << low) - 1))
        order = np.argsort(known & mask, kind="stable")
        ordered = (known & mask)[order]
        starts = np.searchsorted(ordered, queries & mask, "left")
        stops = np.searchsorted(ordered, queries & mask, "right")
        bands.append((order, starts, stops))
    for q in np.flatnonzero(queries).tolist():
        some = np.concatenate([order[starts[q] : stops[q]] for order, starts, stops in bands])
        apart = np.bitwise_count(known[some] ^ queries[q])
        found = np.unique(some[(apart <= most) & (known[some] != 0)])
        if len(found):
            yield q, found
