"""Streams: every value encoded once within the budget, lengths known, images decoded once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from graft.backbones.image_processor import ImageProcessor
from graft.backbones.own import Arrays
from graft.backbones.text_processor import TextProcessor
from graft.data.images import decode
from graft.tasks.streams import TableStream
from tests.backbones.texts import tokenizer
from tests.data.makers import picture

TEXTS = ["w1", "w2 w3 w4", "w5 w6"]
PICTURES = ImageProcessor((8, 8), 8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class Counting:
    """Count how often each value is encoded."""

    def __init__(self, inner):
        self.inner, self.seen = inner, []

    def encode(self, values):
        self.seen += [str(v) if isinstance(v, str | int) else "array" for v in values]
        return self.inner.encode(values)

    def __getattr__(self, name):
        return getattr(self.inner, name)


def text_stream(**options):
    processor = Counting(TextProcessor(tokenizer(), 48))
    targets = {"label": np.arange(3)}
    stream = TableStream(TEXTS, processor, targets=targets, key="k", has_lengths=True, **options)
    return stream, processor


def test_texts_are_encoded_once_and_their_lengths_known():
    stream, processor = text_stream()
    assert len(stream) == 3
    assert stream.lengths.tolist() == [3, 5, 4]
    for _ in range(2):
        batch = stream.batch(np.array([2, 0]))
    assert processor.seen == TEXTS
    assert batch.length == 4
    assert batch.inputs["input_ids"].shape == (2, 4)
    assert batch.targets["label"].tolist() == [2, 0]
    assert stream.batch(np.array([0]), length=8).length == 8
    assert stream.bucket(5) == 6


def test_what_does_not_fit_the_budget_is_encoded_anew_and_alike():
    whole, _ = text_stream()
    stream, processor = text_stream(budget_bytes=3 * 4)
    assert stream.lengths.tolist() == [3, 5, 4]
    rows = np.array([1, 0, 2])
    found, expected = stream.batch(rows), whole.batch(rows)
    assert torch.equal(found.inputs["input_ids"], expected.inputs["input_ids"])
    assert processor.seen.count("w1") == 1
    assert processor.seen.count("w2 w3 w4") == 2
    kept = sum(a.nbytes for row in stream._kept.values() for a in row.values())
    assert kept <= 12


def test_a_row_asked_for_twice_is_encoded_once():
    processor = Counting(Arrays("x"))
    stream = TableStream([1, 2], processor, targets={}, key="k", budget_bytes=0)
    batch = stream.batch(np.array([1, 1, 0]))
    assert batch.inputs["x"].tolist() == [2, 2, 1]
    assert processor.seen == ["2", "1"]


def test_key_follows_values_and_processor():
    one, _ = text_stream()
    assert one.key.endswith("/k")
    other = TableStream(TEXTS, TextProcessor(tokenizer(), 32), targets={}, key="k")
    assert other.key != one.key


@pytest.fixture
def files(tmp_path):
    return [str(picture(tmp_path / f"{i}.png", color=(50 * i, 0, 0))) for i in range(4)]


def image_stream(files, **options):
    decoded = []

    def load(path):
        decoded.append(path)
        return decode(path)

    stream = TableStream(
        files, PICTURES, targets={"label": np.arange(4)}, key="k", load=load, **options
    )
    return stream, decoded


def test_images_are_decoded_once_and_only_when_needed(files):
    stream, decoded = image_stream(files)
    assert stream.lengths is None
    assert decoded == []
    rows = np.array([2, 0])
    without = stream.batch(rows, without=frozenset({"pixel_values"}))
    assert decoded == []
    assert without.inputs == {}
    assert without.targets["label"].tolist() == [2, 0]
    assert without.n == 2
    first, again = stream.batch(rows), stream.batch(rows)
    assert decoded == [files[2], files[0]]
    [name] = first.inputs
    assert torch.equal(first.inputs[name], again.inputs[name])
    assert first.length == 0


def test_images_beyond_the_budget_are_decoded_again(files):
    whole, _ = image_stream(files)
    stream, decoded = image_stream(files, budget_bytes=2 * 3 * 8 * 8)
    for _ in range(2):
        batch = stream.batch(np.arange(4))
    assert [decoded.count(f) for f in files] == [1, 1, 2, 2]
    expected = whole.batch(np.arange(4))
    assert all(torch.equal(batch.inputs[k], expected.inputs[k]) for k in expected.inputs)
