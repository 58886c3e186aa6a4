"""Laws of the engine under a teacher: resume, stores and solved heads with two streams."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from graft.backbones.own import backbone
from graft.engine.fingerprint import fingerprint
from graft.engine.run import run
from graft.engine.settings import Settings
from graft.methods.body import last, unfreeze
from graft.methods.heads import probe
from graft.solvers import fit_logistic
from graft.tasks.classify import Classify
from graft.tasks.distilled import SAID, UNLABELLED, Distilled
from tests.engine.streams import ArrayStream
from tests.faults.killer import forked
from tests.faults.recipes import N_BLOCKS, WIDTH, Net, rows

BY = {"lr": 1e-2, "head_lr": 1e-2, "epochs": 2, "batch_size": 8}
LOGITS, FEATURES = ("logits", 3), ("features", 5)


def taught(stream: ArrayStream, width: int, seed: int) -> ArrayStream:
    said = torch.randn(len(stream), width, generator=torch.Generator().manual_seed(seed))
    return ArrayStream(stream.inputs, {**stream.targets, SAID: said}, stream.key)


def streams(width: int):
    rest = taught(rows(2, 30, "single"), width, 2)
    rest.targets = {SAID: rest.targets[SAID]}
    return {
        "train": {"train": taught(rows(0, 24, "single"), width, 0), UNLABELLED: rest},
        "validation": {"train": taught(rows(1, 8, "single"), width, 1)},
    }


def job(folder: Path | None, kind, width, plan, *, cached=True, temperature=2.0):
    task = Distilled(Classify(tuple("abc")), kind, 0.5, temperature, width)
    torch.manual_seed(0)
    model, state = task.build(backbone(Net(), blocks="layers.*", width=WIDTH))
    settings = Settings(
        checkpoints=folder and folder / "checkpoints",
        checkpoint_every=3,
        cache=folder / "cache" if folder is not None and cached else None,
    )
    records = run(
        plan,
        model,
        task,
        streams(width),
        state=state,
        settings=settings,
        resume=folder is not None,
    )
    digest = fingerprint([*model.state_dict().items(), *(state or model).state_dict().items()])
    if folder is not None:
        (folder / "sha256").write_text(digest, encoding="utf-8")
    return model, records, digest


@functools.cache
def never_killed(kind: str, width: int) -> str:
    return job(None, kind, width, unfreeze(N_BLOCKS, **BY))[2]


@pytest.mark.parametrize(("kind", "width"), [LOGITS, FEATURES])
def test_killed_and_resumed_ends_in_the_same_bytes_projection_included(tmp_path, kind, width):
    plan = unfreeze(N_BLOCKS, **BY)
    for nth in (4, 5):
        assert forked(lambda: job(tmp_path, kind, width, plan), f"mid_epoch:{nth}")
    assert job(tmp_path, kind, width, plan)[2] == never_killed(kind, width)


@pytest.mark.parametrize(("kind", "width"), [LOGITS, FEATURES])
def test_cached_equals_uncached(tmp_path, kind, width):
    plan = last(N_BLOCKS, n=1, **BY)
    _, [record], with_store = job(tmp_path, kind, width, plan)
    assert record.cache.used
    assert job(None, kind, width, plan)[2] == with_store


@pytest.mark.parametrize(("kind", "width"), [LOGITS, FEATURES])
def test_each_kind_moves_what_it_should(kind, width):
    model, _, _ = job(None, kind, width, unfreeze(N_BLOCKS, **BY))
    torch.manual_seed(0)
    task = Distilled(Classify(tuple("abc")), kind, 0.5, 2.0, width)
    before, _ = task.build(backbone(Net(), blocks="layers.*", width=WIDTH))
    moved = zip(model.parameters(), before.parameters(), strict=True)
    assert all(not torch.equal(a, b) for a, b in moved)


def test_a_probe_solves_labels_and_both_streams_answers_at_once():
    model, [record], _ = job(None, "logits", 3, probe(l2=0.1), temperature=1.0)
    assert record.convex is not None and record.convex.converged
    of = streams(3)["train"]
    with torch.no_grad():
        x = [model.eval().backbone(s.inputs).pooled.numpy() for s in of.values()]
    answers = [torch.softmax(s.targets[SAID], 1).numpy() for s in of.values()]
    labels = np.eye(3, dtype=np.float32)[of["train"].targets["label"].numpy()]
    expected = fit_logistic(
        np.concatenate(x),
        np.concatenate([0.5 * labels + 0.5 * answers[0], answers[1]]),
        l2=0.1,
        n_classes=3,
    )
    np.testing.assert_allclose(model.head.out.weight.detach(), expected.weight, atol=1e-5)


def test_a_probe_at_another_temperature_is_trained_by_gradient():
    _, [record], _ = job(None, "logits", 3, probe(), temperature=2.0)
    assert record.convex is None and record.epochs
