"""The search for like pictures: exact in its distance, blind to compression, not to content."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from graft.data.doctor.near_pictures import (
    near_hashes,
    nearest_pictures,
    perceptual_hashes,
    thumbnail,
)
from tests.faults.corpus import scene


def thumbnails(*images: Image.Image) -> np.ndarray:
    return np.stack([thumbnail(image) for image in images])


@pytest.mark.parametrize("most", [0, 3, 6, 9])
def test_it_equals_the_comparison_of_all_pairs(most: int):
    random = np.random.default_rng(most)
    known = random.integers(1, 2**63, 300).astype(np.uint64)
    queries = known[random.integers(0, 300, 100)].copy()
    for i in range(100):
        for bit in random.integers(0, 63, int(random.integers(0, 12))).tolist():
            queries[i] ^= np.uint64(1 << bit)
    known[7] = queries[3] = 0
    found = {q: rows.tolist() for q, rows in near_hashes(known, queries, most)}
    expected = {}
    for q, query in enumerate(queries.tolist()):
        rows = [i for i, k in enumerate(known.tolist()) if (k ^ query).bit_count() <= most and k]
        if rows and query:
            expected[q] = rows
    assert found == expected
    assert expected


def recoded(image: Image.Image, **options) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return Image.open(file)


CHANGES = {
    "quality 30": lambda image: recoded(image, quality=30),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "brighter": lambda image: image.point(lambda v: min(int(v * 0.8 + 25), 255)),
    "grey": lambda image: image.convert("L"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_copies_are_found(change: str):
    known = [scene(i, (128, 96)) for i in range(40)]
    copies = thumbnails(*(CHANGES[change](image) for image in known))
    best, alike = nearest_pictures(thumbnails(*known), copies)
    assert best.tolist() == list(range(40))
    assert alike.min() >= 0.98


def test_other_pictures_are_not():
    known = thumbnails(*(scene(i) for i in range(300)))
    others = thumbnails(*(scene(i) for i in range(300, 600)))
    mirrored = thumbnails(*(scene(i).transpose(Image.Transpose.ROTATE_180) for i in range(300)))
    for queries in (others, mirrored):
        assert nearest_pictures(known, queries)[0].tolist() == [-1] * 300


def test_hashes_alone_do_not_make_pictures_near():
    known = thumbnails(*(scene(i) for i in range(40)))
    others = thumbnails(*(scene(i) for i in range(40, 80)))
    assert nearest_pictures(known, others, most=63)[0].tolist() == [-1] * 40
    assert nearest_pictures(known, known, most=63)[0].tolist() == list(range(40))


def test_pictures_of_one_colour_are_like_none():
    blank = thumbnails(Image.new("RGB", (30, 30), "white"), Image.new("RGB", (30, 30), "white"))
    assert perceptual_hashes(blank).tolist() == [0, 0]
    assert nearest_pictures(blank, blank)[0].tolist() == [-1, -1]


def test_the_nearest_of_several_wins():
    first, second = scene(1), scene(1).point(lambda v: v * 0.5)
    noisy = Image.blend(first, scene(2), 0.12)
    known = thumbnails(noisy, second)
    best, alike = nearest_pictures(known, thumbnails(first))
    assert best.tolist() == [1]
    assert alike[0] > 0.999


@pytest.mark.slow
def test_handwritten_digits_are_not_taken_for_copies(shared):
    data = np.load(shared / "data" / "digits_mnist" / "data.npz")
    known, queries = (
        np.stack([thumbnail(Image.fromarray(x)) for x in data[name][:1_000]])
        for name in ("train_images", "test_images")
    )
    assert (nearest_pictures(known, queries)[0] >= 0).mean() < 0.02
