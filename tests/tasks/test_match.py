"""Two towers measured as they train: what a validation split is worth both ways."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from graft.data.tuples import Tuples
from graft.metrics.matching import matching_scorer
from graft.tasks import match
from graft.tasks.match import MEASURED, Match


def scene(n_images=60, n_captions=3):
    random = np.random.default_rng(0)
    image_of = np.arange(n_images).repeat(n_captions)
    members = np.stack([image_of, n_images + np.arange(len(image_of))], axis=1)
    images = random.normal(size=(n_images, 5))
    texts = images[image_of] + random.normal(size=(len(image_of), 5))
    outputs = {"image": {"embedding": images}, "text": {"embedding": texts}}
    return Tuples(members), outputs, {"image": SimpleNamespace(pairs=Tuples(members))}


def test_it_is_recall_at_ten_both_ways():
    truth, outputs, streams = scene()
    vectors = np.concatenate([part["embedding"] for part in outputs.values()])
    expected = matching_scorer(truth, vectors).scores()
    assert Match().measure(outputs, streams) == {name: expected[name] for name in MEASURED}
    assert Match.headline == MEASURED[0]


def test_of_many_pairs_those_of_some_pictures_are_taken(monkeypatch):
    truth, outputs, streams = scene()
    monkeypatch.setattr(match, "MOST_MEASURED", 90)
    kept = np.linspace(0, 59, 30).astype(int)
    pairs = truth.members[np.isin(truth.members[:, 0], kept)]
    images = outputs["image"]["embedding"][kept]
    texts = outputs["text"]["embedding"][pairs[:, 1] - 60]
    fewer = Tuples(np.stack([np.arange(30).repeat(3), 30 + np.arange(90)], axis=1))
    expected = matching_scorer(fewer, np.concatenate([images, texts])).scores()
    found = Match().measure(outputs, streams)
    assert found == pytest.approx({name: expected[name] for name in MEASURED})
