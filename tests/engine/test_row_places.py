"""Law: where a row stands among others changes nothing, or a run says that it does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graft.backbones.own import backbone
from graft.engine.run import run
from graft.engine.settings import Listener, Settings
from graft.heads import Linear
from graft.methods.plan import Gradient, Phase, Plan, Rule
from graft.methods.select import everything, head
from graft.model import Model
from graft.tasks.classify import Classify
from tests.engine.streams import ArrayStream


class ByPlace(nn.Module):
    """Rounds otherwise in the first row of a batch, as kernels of narrow matrices may."""

    def forward(self, x):
        return torch.cat([x[:1] * (1 + 1e-6), x[1:]])


class Net(nn.Module):
    """Two blocks of one input."""

    def __init__(self, middle: nn.Module, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, width), middle)

    def forward(self, x):
        return self.layers(x)


def notes_of(middle: nn.Module, width: int, tmp_path) -> list[str]:
    torch.manual_seed(0)
    own = backbone(Net(middle, width), blocks="layers.*", width=width)
    model = Model(own, Linear(width, 3))
    streams = {
        "train": {"train": ArrayStream({"x": torch.randn(40, 8)}, {"label": torch.arange(40) % 3})}
    }
    notes: list[str] = []
    plan = Plan(
        (Phase("head", (Rule(head(), 1e-2), Rule(everything(), None)), Gradient(epochs=3)),)
    )
    settings = Settings(cache=tmp_path)
    for _ in range(2):
        [record] = run(
            plan,
            model,
            Classify(tuple("abc")),
            streams,
            settings=settings,
            listener=Listener(on_note=notes.append),
        )
        assert record.cache.used
    return [note for note in notes if "rounding" in note]


@pytest.mark.parametrize("width", [4, 8, 12, 100])
def test_kernels_of_usual_widths_treat_all_rows_alike(width, tmp_path):
    assert notes_of(nn.Linear(width, width), width, tmp_path) == []


def test_a_run_says_where_the_place_matters(tmp_path):
    [note] = notes_of(ByPlace(), 8, tmp_path)  # once: the second run finds the store
    assert "depends on its place among others by rounding (" in note
    assert "agree to rounding, not bit for bit" in note
