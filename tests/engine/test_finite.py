"""Losses that are not finite: rows are named, the best epoch is none of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import graft
from graft.engine.finite import Statistics, diverged, ends_finite, scale_and_clip
from graft.errors import Diverged
from graft.methods.body import full
from graft.tasks.classify import Classify
from tests.engine.streams import ArrayStream
from tests.engine.test_loop import make_model, make_stream
from tests.tiny import write_checkpoint


def test_the_message_names_step_rate_and_rows_by_their_files():
    class Named:
        def row_name(self, row: int) -> str:
            return f"{'long/' * 40}table.csv row {row + 1}"

    error = diverged("top 2", 17, 0.5, Named(), np.array([4, 8, 2, 7]))
    text = str(error)
    assert len(text) <= 200 and error.exit_code == 1
    assert text.startswith("phase `top 2` stopped at step 17: the loss was not finite 3 times")
    assert "rate 0.5" in text and all(f"row {n}" in text for n in (5, 9, 3)) and "row 8" not in text
    assert text.endswith("; lower the rate, or look at these rows")


def test_the_rows_of_a_file_are_named(tmp_path, monkeypatch):
    write_checkpoint(tmp_path / "bert")
    path = tmp_path / "things.csv"
    words = ["cat", "red", "one"]
    path.write_text("text,label\n" + "".join(f"{words[i % 3]},{i % 3}\n" for i in range(30)))
    loss = Classify.loss

    def poisoned(self, encoded, batches, state, progress):
        found = loss(self, encoded, batches, state, progress)
        return type(found)(found.total * math.nan, found.count)

    monkeypatch.setattr(Classify, "loss", poisoned)
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "stores"))
    with pytest.raises(Diverged, match=r"things\.csv row \d+, .*things\.csv row \d+") as found:
        graft.train(
            path,
            model=tmp_path / "bert",
            method="full",
            batch_size=8,
            precision="fp32",
            out=tmp_path / "run",
        )
    assert len(str(found.value)) <= 200


def test_the_best_epoch_is_never_one_without_a_number(monkeypatch):
    from graft.engine import loop
    from graft.engine.run import run

    losses = iter([math.nan, 0.5, math.nan, math.inf, 0.7, 0.8])
    monkeypatch.setattr(loop, "mean_loss", lambda *_, **__: next(losses))
    splits = {"train": {"train": make_stream(16)}, "validation": {"train": make_stream(8, 1)}}
    plan = full(lr=1e-2, epochs=6, batch_size=8, patience=10)
    [record] = run(plan, make_model(), Classify(("a", "b", "c")), splits)
    assert record.best_epoch == 1
    assert [e.epoch for e in record.epochs] == [0, 1, 2, 3, 4, 5]


def test_statistics_go_back_to_what_they_were():
    norm = nn.BatchNorm1d(3)
    before = Statistics(norm)
    norm(torch.full((4, 3), torch.nan))
    assert norm.running_mean.isnan().all() and int(norm.num_batches_tracked) == 1
    before.put_back()
    assert norm.running_mean.eq(0).all() and int(norm.num_batches_tracked) == 0
    assert not Statistics(norm.eval()).live


def test_a_norm_that_is_not_finite_is_returned_as_it_is():
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([torch.inf, 1.0])
    assert not math.isfinite(scale_and_clip([weight], 1.0, 1.0))
    weight.grad = torch.tensor([3.0, 4.0])
    assert scale_and_clip([weight], 2.0, 5.0) == pytest.approx(10.0)
    assert weight.grad.tolist() == pytest.approx([3.0, 4.0])


@pytest.mark.parametrize(
    ("train", "validation", "is_finite"),
    [(1.0, 2.0, True), (1.0, None, True), (math.nan, 1.0, False), (1.0, math.inf, False)],
)
def test_how_an_epoch_ends(train, validation, is_finite):
    assert ends_finite({"train_loss": train, "validation_loss": validation}) == is_finite


def test_a_bad_row_among_good_ones_is_skipped_and_training_goes_on():
    from graft.engine.run import run

    stream = make_stream(32)
    inputs = {"input": stream.inputs["input"].clone()}
    inputs["input"][5] = torch.nan
    bad = ArrayStream(inputs, stream.targets, key="bad")
    model = make_model()
    plan = full(lr=1e-2, epochs=2, batch_size=8)
    [record] = run(plan, model, Classify(("a", "b", "c")), {"train": {"train": bad}})
    assert all(p.isfinite().all() for p in model.parameters())
    assert all(math.isfinite(e.train_loss) for e in record.epochs)
