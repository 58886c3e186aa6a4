"""Train small cases in one process or in several: what `test_processes` launches and compares.

    python -m tests.engine.launched OUT STRATEGY CASE...

writes for each case and process the weights that came out, and what was recorded.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from graft.engine.processes import Processes
from graft.engine.run import run
from graft.engine.settings import Settings
from graft.methods.plan import Convex, Gradient, Phase, Plan, Rule
from graft.methods.select import blocks, everything, head, neck, state
from graft.tasks.classify import Classify
from graft.tasks.task import Loss
from tests.engine.specimens import Classifier, model_of
from tests.engine.streams import N_CLASSES, SpecimenStream
from tests.zoo import ZOO


class Temperature(nn.Module):
    """What the task keeps: a scale that trains, and a count that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(0.3))


class Scaled(Classify):
    """Classify with a temperature."""

    def loss(self, encoded: Any, batches: Any, state: Any, progress: Any) -> Loss:
        scaled = encoded["train"] * state.log_scale.exp()
        labels = batches["train"].targets["label"]
        losses = nn.functional.cross_entropy(scaled, labels, reduction="none")
        return Loss(losses.sum(), torch.tensor(float(len(losses))))


class Contrast(Scaled):
    """Pull outputs of one label together, against all others of the step."""

    is_joint = True

    def loss(self, encoded: Any, batches: Any, state: Any, progress: Any) -> Loss:
        unit = nn.functional.normalize(encoded["train"], dim=-1)
        labels = batches["train"].targets["label"]
        scores = unit @ unit.T * state.log_scale.exp()
        same = (labels[:, None] == labels[None, :]).to(scores.dtype)
        losses = -(scores.log_softmax(-1) * same).sum(-1) / same.sum(-1)
        return Loss(losses.sum(), torch.tensor(float(len(losses))))


@dataclass(frozen=True)
class Case:
    """One training: a network of the zoo, and what makes sharing it out hard.

    Args:
        n_rows: with batches of six, 19 leaves one row for the last step and 21 leaves three.
        double: in float64, where rounding would be told from a fault only by luck: an activation
            that changes its sign, a gradient that is almost nothing.
    """

    network: str = "bert"
    n_rows: int = 19
    micro_batch_size: int | None = None
    cached: bool = False
    task: type[Classify] = Scaled
    patience: int | None = None
    convex: bool = False
    dropout: bool = False
    double: bool = False
    resume: bool = False
    ema: float | None = None


CASES = {
    "plain": Case(),
    "cached": Case(cached=True),
    "micro": Case(micro_batch_size=2, n_rows=21),
    "patience": Case(patience=1, cached=True),
    "convex": Case(convex=True, micro_batch_size=2),
    "joint": Case(task=Contrast, double=True),
    "joint-micro": Case(task=Contrast, micro_batch_size=2, cached=True, double=True),
    "ema": Case(ema=0.9, patience=1),
    "dropout": Case(dropout=True, micro_batch_size=2),
    "dropout-cached": Case(dropout=True, cached=True, n_rows=21),
    "dropout-joint": Case(dropout=True, task=Contrast, micro_batch_size=2, double=True),
    "dropout-relative": Case("t5", dropout=True, double=True),
    "dropout-image": Case("vit", dropout=True),
    "relative": Case("t5", micro_batch_size=2, double=True),
    "image": Case("vit", cached=True),
}


def plan(case: Case) -> Plan:
    """Unfreeze in three phases: the head, the top block, everything."""
    by = Gradient(
        epochs=2,
        batch_size=6,
        micro_batch_size=case.micro_batch_size,
        patience=case.patience,
        ema=case.ema,
        # biases of keys get no gradient but noise, which Adam would blow up to steps
        eps=1e-5,
    )
    top = (Rule(head(), 1e-2, 0.01), Rule(state(), 1e-2))
    rest = Rule(everything(), None)
    first: Gradient | Convex = Convex() if case.convex else by
    return Plan(
        (
            Phase("head", (*top, rest), first),
            Phase("top", (*top, Rule(neck(), 1e-3), Rule(blocks(-1), 1e-3, 0.01), rest), by),
            Phase("all", (*top, Rule(everything(), 1e-3, 0.01)), by),
        )
    )


def build(case: Case) -> tuple[Classifier, Temperature]:
    """Build the model of a case, and what its task keeps."""
    model = model_of(ZOO[case.network])
    for module in model.modules() if not case.dropout else ():
        for name, value in vars(module).items():
            if isinstance(value, float) and ("drop" in name or isinstance(module, nn.Dropout)):
                setattr(module, name, 0.0)
    return (model.double(), Temperature().double()) if case.double else (model, Temperature())


def rows(case: Case, n_rows: int, first: int = 0) -> dict[str, SpecimenStream]:
    """Return a stream that the head can also be solved on."""
    stream = SpecimenStream(ZOO[case.network], n_rows, first=first)
    stream.groups = None  # type: ignore[attr-defined]
    return {"train": stream}


def train(case: Case, out: Path, strategy: str) -> tuple[dict[str, Tensor], tuple]:
    """Train a case; returns every tensor that came out, and the records."""
    model, kept = build(case)
    streams = {"train": rows(case, case.n_rows), "validation": rows(case, 9, first=100)}
    settings = Settings(
        strategy=strategy,  # type: ignore[arg-type]
        cache=out / "stores" if case.cached else None,
        checkpoints=out / "checkpoints" if case.resume else None,
        checkpoint_every=1,
    )
    records = run(
        plan(case),
        model,
        case.task(tuple("abc"[:N_CLASSES])),
        streams,
        state=kept,
        settings=settings,
        resume=case.resume,
    )
    state = {f"state.{name}": tensor for name, tensor in kept.state_dict().items()}
    return {**model.state_dict(), **state}, records


def main(out: Path, strategy: str, names: list[str]) -> None:
    """Train the named cases as one of several processes."""
    processes = Processes()
    for name in names:
        kind, _, of = name.rpartition(":")
        case = replace(CASES[of], resume=kind == "resume")
        tensors, records = train(case, out / of, strategy)
        folder = out / of
        folder.mkdir(parents=True, exist_ok=True)
        kept = {k: t.contiguous().clone() for k, t in tensors.items()}
        save_file(kept, folder / f"{processes.rank}.safetensors")
        values = [asdict(r) for r in records]
        (folder / f"{processes.rank}.json").write_text(json.dumps(values), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
