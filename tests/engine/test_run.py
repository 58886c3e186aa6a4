"""What a run must do besides its laws: odd plans, odd streams, steps that are not finite."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from graft.batch import Batch
from graft.engine.run import run
from graft.engine.settings import Settings
from graft.errors import Diverged
from graft.heads import Linear
from graft.methods.heads import probe
from graft.methods.plan import Gradient, Phase, Plan, Rule
from graft.methods.select import blocks, everything, head, named, neck
from graft.model import Model
from graft.tasks.classify import Classify
from graft.tasks.task import Loss, Progress
from tests.engine.enemies import ENEMIES, Projection, Towers, dense, detector, from_zoo, noise
from tests.engine.specimens import model_of
from tests.engine.streams import ArrayStream, SpecimenStream, same_bytes
from tests.faults.killer import forked
from tests.zoo import WARNINGS, ZOO

pytestmark = [pytest.mark.filterwarnings(w) for w in WARNINGS]

TASK = Classify(tuple("abc"))
BY = Gradient(epochs=2, batch_size=5, schedule="constant", warmup=0.0)
ALL = Phase("all", (Rule(everything(), 1e-2),), BY)
STILL = Phase("still", (Rule(head(), 1e-30), Rule(everything(), None)), BY)
HEAD = Phase("head", (Rule(head(), 1e-2), Rule(everything(), None)), BY)
TOP = Phase(
    "top", (*(Rule(s, 1e-2) for s in (head(), neck(), blocks(-1))), Rule(everything(), None)), BY
)


def go(phases, model, streams, *, task=TASK, validation=None, state=None, resume=False, **settings):
    splits = {"train": streams}
    if validation is not None:
        splits["validation"] = validation
    return run(
        Plan(tuple(phases)),
        model,
        task,
        splits,
        state=state,
        settings=Settings(**settings),
        resume=resume,
    )


def differing(a: nn.Module, b: nn.Module) -> list[str]:
    return same_bytes(a.state_dict(), b.state_dict())


@pytest.mark.parametrize("name", ["t5-encoder", "wavlm", "swin", "deberta", "t5"])
def test_what_trained_before_it_froze_is_not_remembered(name, tmp_path):
    """Position biases that all rows share follow from weights that the first phase moves."""
    streams = {"train": SpecimenStream(ZOO[name], 10)}
    at_once = model_of(ZOO[name])
    one_by_one, cached = copy.deepcopy(at_once), copy.deepcopy(at_once)
    go([ALL, TOP], at_once, streams)
    go([ALL], one_by_one, streams)
    go([STILL, TOP], one_by_one, streams)
    assert not differing(at_once, one_by_one)
    go([ALL, TOP], cached, streams, cache=tmp_path)
    assert not differing(at_once, cached)


@pytest.mark.parametrize("name", ["wavlm", "t5", "whisper"])
def test_random_numbers_drawn_in_eval_mode_do_not_change_a_resumed_run(name, tmp_path):
    streams = {"train": SpecimenStream(ZOO[name], 12)}
    whole = model_of(ZOO[name])
    start, resumed = copy.deepcopy(whole), copy.deepcopy(whole)
    go([HEAD, TOP], whole, streams)
    kept = {"checkpoints": tmp_path, "checkpoint_every": 1}
    assert forked(lambda: go([HEAD, TOP], start, streams, **kept), "mid_epoch:6")
    go([HEAD, TOP], resumed, streams, resume=True, **kept)
    assert not differing(whole, resumed)


@pytest.mark.parametrize("name", ["marian", "ctc"])
def test_two_phases_may_read_one_store(name, tmp_path):
    models = []
    for cache in (None, tmp_path):
        scene = ENEMIES[name]()
        records = go([HEAD, HEAD], scene.model, scene.streams, task=scene.task, cache=cache)
        models.append(scene.model)
    # some processors' convolutions round by a row's place among others: then to rounding
    ours, theirs = (dict(model.named_parameters()) for model in models)
    for key, value in ours.items():
        torch.testing.assert_close(value, theirs[key], atol=5e-3, rtol=1e-3, msg=key)
    assert [r.cache.n_computed for r in records] == [12, 0]
    assert len(list(tmp_path.iterdir())) == 1


def test_nothing_is_stored_for_a_phase_whose_weights_will_have_moved(tmp_path):
    low = Phase("low", (Rule(head(), 1e-2), Rule(blocks(0, 2), 1e-2), Rule(everything(), None)), BY)
    torch.manual_seed(0)
    model = Model(dense(n_blocks=4), Linear(8, 3))
    streams = {"train": ArrayStream({"x": noise(12, 8)}, {"label": torch.arange(12) % 3})}
    copied = copy.deepcopy(model)
    records = go([HEAD, low, HEAD], model, streams, cache=tmp_path)
    go([HEAD, low, HEAD], copied, streams)
    assert not differing(model, copied)
    assert [r.cache.n_computed for r in records] == [12, 0, 12]
    assert len(list(tmp_path.iterdir())) == 2


def test_validation_moves_nothing_of_the_tasks_state():
    scene = ENEMIES["domains"]()
    validation = {k: SpecimenStream(ZOO["bert"], 6, first=20) for k in scene.streams}
    assert scene.state is not None
    rules = (Rule(head(), 1e-2), Rule(named("state.*"), 1e-2), Rule(everything(), None))
    phase = Phase("head", rules, BY)
    go(
        [phase],
        scene.model,
        scene.streams,
        task=scene.task,
        state=scene.state,
        validation=validation,
    )
    assert int(scene.state[1].num_batches_tracked) == 2 * 3
    assert scene.state.training


def poisoned(n_bad: int) -> dict[str, ArrayStream]:
    stream = detector().streams["train"]
    stream.inputs["x"][:n_bad] = torch.nan
    return {"train": stream}


def test_a_step_that_is_not_finite_leaves_no_trace():
    scene = detector()
    before = copy.deepcopy(scene.model.state_dict())
    go([ALL], scene.model, poisoned(1), task=scene.task)
    after = scene.model.state_dict()
    assert all(t.isfinite().all() for t in after.values())
    assert all(not torch.equal(before[k], after[k]) for k in before if "weight" in k)
    # of three steps in each of two epochs one was refused
    assert int(after["backbone.net.stages.0.1.num_batches_tracked"]) == 4


def test_three_such_steps_end_the_run():
    scene = detector()
    with pytest.raises(
        Diverged,
        match=r"at step 2: .* rate 0.01, rows \d+, \d+; lower",
    ):
        go([ALL], scene.model, poisoned(12), task=scene.task)


@pytest.mark.parametrize("order", [("bf16", "fp32"), ("fp32", "bf16")])
def test_precisions_follow_each_other_in_one_process(order, tmp_path):
    """A store of bfloat16 features is read as numbers, by the solver too."""
    streams = {"train": SpecimenStream(ZOO["bert"], 30)}
    for precision in order:
        cached, uncached = model_of(ZOO["bert"]), model_of(ZOO["bert"])
        [record] = run(
            probe(),
            cached,
            TASK,
            {"train": streams},
            settings=Settings(precision=precision, cache=tmp_path),
        )
        assert record.cache.used
        run(probe(), uncached, TASK, {"train": streams}, settings=Settings(precision=precision))
        assert not differing(cached, uncached)


def test_rows_of_one_length_do_not_bind_the_validation_rows(tmp_path):
    models = []
    for cache in (None, tmp_path):
        train = SpecimenStream(ZOO["bert"], 32)
        longest = np.flatnonzero(train.lengths == 12)
        train.rows = [train.rows[i] for i in longest]
        train.lengths, train.key = train.lengths[longest], "longest"
        model = model_of(ZOO["bert"])
        streams, validation = {"train": train}, {"train": SpecimenStream(ZOO["bert"], 6, first=40)}
        records = go([HEAD, TOP], model, streams, validation=validation, cache=cache)
        assert all(np.isfinite(e.validation_loss) for r in records for e in r.epochs)
        models.append(model)
    assert not differing(*models)


class Each:
    """A task of two streams that share no network: texts for one tower, images for the other."""

    def encode(self, model: nn.Module, batch: Batch, progress: Progress) -> Any:
        if "x" in batch.inputs:
            return model.image_head(model.image(batch.inputs))
        return model.text_head(model.text(batch.inputs))

    def loss(self, encoded: Any, batches: Any, state: Any, progress: Progress) -> Loss:
        total = sum(e.square().sum() for e in encoded.values())
        return Loss(total, torch.tensor(float(len(encoded["train"]))))


def test_a_stream_may_pass_by_all_that_is_frozen(tmp_path):
    rules = (Rule(named("text.*"), None), Rule(everything(), 1e-2))
    models = []
    for cache in (None, tmp_path):
        model = Towers(from_zoo("bert"), from_zoo("plain-cnn"))
        streams = {
            "train": SpecimenStream(ZOO["bert"], 12),
            "images": ArrayStream({"x": noise(9, 3, 32, 32)}, {}),
        }
        [record] = go([Phase("images", rules, BY)], model, streams, task=Each(), cache=cache)
        assert record.cache.used == (cache is not None), record.cache.reason
        models.append(model)
    assert not differing(*models)


class Noisy(Classify):
    """A task that draws random numbers while it encodes."""

    def encode(self, model: nn.Module, batch: Batch, progress: Progress) -> Any:
        logits = super().encode(model, batch, progress)
        return logits + 0.1 * torch.randn_like(logits)


def test_a_task_may_draw_random_numbers(tmp_path):
    models = []
    for cache in (None, tmp_path):
        model = model_of(ZOO["bert"])
        streams = {"train": SpecimenStream(ZOO["bert"], 12)}
        records = go([HEAD, TOP], model, streams, task=Noisy(tuple("abc")), cache=cache)
        assert [r.cache.used for r in records] == [cache is not None] * 2, records[0].cache.reason
        models.append(model)
    assert not differing(*models)


class Lengths:
    """A joint task that encodes numbers beside features, as a task with masks does."""

    is_joint = True

    def encode(self, model: nn.Module, batch: Batch, progress: Progress) -> Any:
        features = model(batch.inputs)
        return {"features": features, "mask": torch.ones(len(features), dtype=torch.bool)}

    def loss(self, encoded: Any, batches: Any, state: Any, progress: Progress) -> Loss:
        features = encoded["train"]["features"][encoded["train"]["mask"]]
        return Loss((features @ features.T).square().sum(), torch.tensor(float(len(features))))


def test_gradient_caching_carries_what_has_no_gradient():
    models = []
    for micro in (None, 2):
        torch.manual_seed(0)
        model = Model(dense(dropout=0.0), Projection(8, 4))
        by = Gradient(epochs=1, batch_size=6, micro_batch_size=micro)
        streams = {"train": ArrayStream({"x": noise(12, 8)}, {})}
        go([Phase("all", (Rule(everything(), 1e-3),), by)], model, streams, task=Lengths())
        models.append(model.state_dict())
    for name, tensor in models[0].items():
        torch.testing.assert_close(models[1][name], tensor, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("n_long", [12, 11, 9])
def test_a_head_is_solved_where_most_rows_are_cut_at_one_length(n_long, tmp_path):
    """Texts longer than a network takes are all as long as it takes."""
    specimen = ZOO["bert"]
    stream = SpecimenStream(specimen)
    longest = int(stream.lengths.max())
    long = [i for i, n in enumerate(stream.lengths) if n == longest]
    short = [i for i, n in enumerate(stream.lengths) if n < longest]
    chosen = [long[i % len(long)] for i in range(n_long)] + short[: 12 - n_long]
    stream.rows = [stream.rows[i] for i in chosen]
    stream.lengths = stream.lengths[chosen]
    stream.targets = {"label": torch.arange(12) % 3}
    model = model_of(specimen)
    for cache in (None, tmp_path):
        [record] = run(
            probe(n_folds=2),
            model,
            TASK,
            {"train": {"train": stream}},
            settings=Settings(cache=cache),
        )
        assert record.convex is not None
