"""Streams whose pictures vary: numbers name views, the plain ones stay, and files are kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from graft.backbones.image_processor import ImageProcessor
from graft.backbones.own import Arrays, PicturesOrArrays
from graft.data.augment import Augment, read_augment
from graft.data.images import decode
from graft.tasks.augmented import SPARE, AugmentedStream, pictures_of, reduced
from graft.tasks.distilled import SAID, say
from graft.tasks.streams import TableStream

PICTURES = ImageProcessor((8, 8), 10, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
N = 5


@pytest.fixture
def files(tmp_path):
    random = np.random.default_rng(0)
    paths = []
    for i in range(N):
        pixels = random.integers(0, 256, (12 + i, 20, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(pixels).save(paths[-1])
    return [str(path) for path in paths]


def streams(files, augment: Augment, **options):
    decoded: list[str] = []

    def load(path):
        decoded.append(path)
        return decode(path)

    plain = TableStream(
        files, PICTURES, targets={"label": np.arange(N)}, key="k", load=load, **options
    )
    return AugmentedStream(plain, augment), decoded


def pixels(stream, *numbers: int) -> torch.Tensor:
    return stream.batch(np.asarray(numbers)).inputs["x"]


def test_view_0_is_the_plain_picture(files):
    stream, _ = streams(files, read_augment("strong"))
    rows = np.array([3, 1])
    assert torch.equal(pixels(stream, 3, 1), stream.plain.batch(rows).inputs["x"])
    assert stream.plain.key in stream.key and stream.key != stream.plain.key


def test_numbers_name_views_and_keep_their_targets(files):
    stream, _ = streams(files, read_augment("light", views=3))
    assert (len(stream), stream.n_numbers) == (N, 4 * N)
    rows = np.array([4, 0])
    assert stream.numbers(rows, 0, 0).tolist() == [4 + N, N]
    assert stream.numbers(rows, 0, 4).tolist() == [4 + 2 * N, 2 * N]
    batch = stream.batch(np.array([4 + N, 2 * N, 1]))
    assert batch.targets["label"].tolist() == [4, 0, 1]
    assert batch.rows.tolist() == [4 + N, 2 * N, 1]
    assert streams(files, read_augment("light"))[0].n_numbers is None


@pytest.mark.parametrize("names", ["crop", "flip,colour", "strong"])
def test_a_view_is_the_same_alone_in_company_and_anew(names, files):
    stream, _ = streams(files, read_augment(names))
    together = pixels(stream, *range(3 * N))
    again, _ = streams(files, read_augment(names), budget_bytes=0)
    for number in (N + 2, 2 * N, 2 * N + 4):
        assert torch.equal(pixels(again, number)[0], together[number])
        assert not torch.equal(together[number], together[number % N])
    other, _ = streams(files, read_augment(names, seed=1))
    assert not torch.equal(pixels(other, *range(N, 3 * N)), together[N:])


@pytest.mark.parametrize("names", ["crop", "flip"])
def test_files_are_decoded_once_within_the_budget(names, files):
    stream, decoded = streams(files, read_augment(names))
    for view in (1, 2, 3):
        pixels(stream, *range(view * N, view * N + N))
    if names == "crop":
        assert decoded == files
    stream, decoded = streams(files, read_augment(names), budget_bytes=0)
    for view in (1, 2):
        pixels(stream, *range(view * N, view * N + N))
    assert decoded == files * 2


def test_inputs_that_nobody_reads_are_not_made(files):
    stream, decoded = streams(files, read_augment("light"))
    batch = stream.batch(np.array([N, 0]), without=frozenset({"x"}))
    assert batch.inputs == {} and decoded == [] and batch.n == 2


@pytest.mark.parametrize("names", ["light", "flip"])
def test_what_is_made_ahead_is_the_same(names, files):
    numbers = np.array([N + 1, 2, 3 * N, N + 1])
    expected = pixels(streams(files, read_augment(names))[0], *numbers)
    stream, _ = streams(files, read_augment(names))
    with ThreadPoolExecutor(3) as pool:
        stream.expect(numbers, pool.submit)
        assert torch.equal(pixels(stream, *numbers), expected)
        assert not stream._pending and not stream.plain._pending
        stream.expect(numbers, pool.submit)
        stream.forget()
        assert torch.equal(pixels(stream, *numbers), expected)


def test_many_pixels_are_reduced_and_few_are_not():
    least = SPARE * max(PICTURES.size)
    small = np.zeros((least, 3 * least, 3), np.uint8)
    assert reduced(small, least).shape == small.shape
    assert reduced(np.zeros((5 * least, 4 * least + 3, 3), np.uint8), least).shape[1] >= least
    assert reduced(np.zeros((4 * least, 4 * least, 1), np.uint8), least).shape == (least, least, 1)
    many = np.zeros((4 * least, 4 * least, 5), np.uint8)
    assert reduced(many, least).shape == many.shape


def test_only_pictures_can_vary():
    assert pictures_of(PICTURES) is PICTURES
    assert pictures_of(PicturesOrArrays(PICTURES, Arrays("x"))) is PICTURES
    assert pictures_of(Arrays("x")) is None


def test_what_a_teacher_says_of_a_picture_holds_for_its_views(files):
    stream, _ = streams(files, read_augment("light", views=3))
    said = np.arange(2.0 * N).reshape(N, 2)
    say(stream.plain, said)
    batch = stream.batch(np.array([4 + N, 2 * N, 1]))
    assert batch.targets[SAID].tolist() == said[[4, 0, 1]].tolist()
