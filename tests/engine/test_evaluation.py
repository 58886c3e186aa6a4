"""What a task measures after an epoch: each item predicted once, in the items' own order."""

from __future__ import annotations

import numpy as np
import pytest

from graft.data.roles import Asked
from graft.data.rows import Rows, assembled
from graft.engine.evaluation import measured
from graft.engine.feeds import PhaseFeeds
from graft.engine.predict import predict_rows
from graft.engine.processes import Processes
from graft.engine.step import Step
from graft.engine.views import items
from graft.tasks.classify import Classify
from graft.tasks.embed import Embed
from tests.data.makers import text_table
from tests.tasks.letters import backbone

WORDS = ("one", "two words", "three words here", "four", "five of them all", "six", "seven")


def over(task, model, stream):
    feeds = PhaseFeeds(None)
    return measured(
        Step(model, None, task), {"train": stream}, feeds, Processes(), split="validation"
    )


def pair_table():
    import pyarrow as pa

    # 140 pairs of 12 items, so items come again and again, and in no order of their length
    texts = [f"{word} {n}" for n in range(2) for word in WORDS[:6]]
    numbers = np.random.default_rng(0).integers(0, 12, (140, 2))
    columns = {
        name: pa.array([texts[i] for i in numbers[:, r]], pa.large_string())
        for r, name in enumerate(("anchor", "positive"))
    }
    return assembled(Rows.of_file(pa.table(columns), "pairs.csv"), Asked())


@pytest.mark.parametrize("kind", ["labels", "pairs"])
def test_outputs_come_once_an_item_in_their_order(monkeypatch, kind):
    encoder = backbone()
    if kind == "pairs":
        task, table = Embed(kind="pairs", objective="info_nce"), pair_table()
    else:
        texts = [f"{WORDS[i % 7]} {i}" for i in range(150)]
        task, table = Embed(("a", "b")), text_table(texts, ["a", "b"] * 75)
    model, _ = task.build(encoder)
    stream = task.streams(table, encoder)["train"]
    seen = {}
    monkeypatch.setattr(
        Embed, "measure", lambda self, outputs, streams: seen.update(outputs) or {"mrr": 0.5}
    )
    assert over(task, model, stream) == {"mrr": 0.5}
    expected = predict_rows(model, task, items(stream), n_workers=0)["embedding"]
    assert seen["train"]["embedding"].shape == expected.shape == (len(items(stream)), encoder.width)
    assert np.allclose(seen["train"]["embedding"], expected, atol=1e-5)


def test_a_task_that_measures_nothing_is_not_run():
    encoder = backbone()
    task = Classify(("a", "b"))
    model, _ = task.build(encoder)
    model.forward = None  # would fail
    assert (
        over(task, model, task.streams(text_table(list(WORDS[:2]), ["a", "b"]), encoder)["train"])
        == {}
    )
