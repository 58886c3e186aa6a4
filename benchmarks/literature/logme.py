"""Does LogME order starting points by how well they will be once they are fine-tuned?

    python benchmarks/literature/logme.py --seeds 3 --threads 1
    python benchmarks/literature/logme.py --seeds 3 --threads 1 --data hymenoptera

You et al. 2021, table 1, rank ten ImageNet networks for nine classification sets and report the
weighted Kendall tau between the score and the fine-tuned accuracy: 0.5 or more for most of them.
Here nine starting points: the five ImageNet networks of the shared weights, and four checkpoints
along the training of a MobileNetV1 of quarter width on MNIST from random weights. Every seed draws
200 training rows and the heads; pictures have 96 pixels a side, test rows are all that the data
bring. Fine-tuning is graft's `full` for ten epochs, the body at 1e-3, for every starting point
alike. H-score, LEEP and the cross-validated head stand beside LogME, from the same features.

The interval resamples starting points (10,000 draws, percentile): they are what tau is uncertain
about. Source of the interval: Efron and Tibshirani 1993; of tau: Vigna 2015, scipy's `weightedtau`.
"""

from __future__ import annotations

import dataclasses
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ledger import Ledger, options, shared, subset

SIDE, N_TRAIN, EPOCHS, BATCH, RATE = 96, 200, 10, 32, 1e-3
FOLDERS = (
    "mobilenetv2_100",
    "mobilenet_v1_0.25_224",
    "mobilenet_v1_0.75_192",
    "mobilenet_v2_gluon_backbone",
)
EPOCHS_ON_MNIST = {"mnist 1/8": 1, "mnist 2/8": 1, "mnist 4/8": 2, "mnist 8/8": 4}
"""checkpoint → the passes over 2,000 digits since the one before it."""
N_DIGITS, SIDE_OF_DIGITS = 2000, 32
SCORES = ("logme", "h_score", "leep", "probe")
N_RESAMPLES = 10_000


def main() -> None:
    asked = options(__doc__, seeds=3, data=["signdigits", "hymenoptera"])
    ledger = Ledger(f"logme_{asked.data}")
    with tempfile.TemporaryDirectory() as folder:
        table, test = read_pictures(asked.data, Path(folder))
        for seed in range(asked.seeds):
            train = subset(table, N_TRAIN, seed)
            for start in (*FOLDERS, "squeezenet1_1", *EPOCHS_ON_MNIST):
                ledger.cell(
                    lambda s=start, t=train, n=seed: figures(s, t, test, n), start=start, seed=seed
                )
    report(ledger.rows)


def read_pictures(name: str, folder: Path) -> tuple[Any, Any]:
    """Return the training and the test rows of a set of pictures, unpacked into a folder."""
    from graft.data.readers import read

    with zipfile.ZipFile(shared("data", name, "images.zip")) as archive:
        archive.extractall(folder)
    (folder / "labels.csv").write_bytes(shared("data", name, "labels.csv").read_bytes())
    table = read(folder / "labels.csv", input="path", label="label", split="split")
    is_test = np.asarray(table.column("split")) == "test"
    return table.take(np.flatnonzero(~is_test)), table.take(np.flatnonzero(is_test))


def figures(start: str, train: Any, test: Any, seed: int) -> dict[str, float]:
    """Return what is guessed of a starting point, and its accuracy once it is fine-tuned."""
    import torch

    from graft.engine.predict import feature_rows, predict_rows
    from graft.engine.run import run
    from graft.engine.settings import Settings
    from graft.methods.body import full
    from graft.selection.looking import source_probabilities
    from graft.selection.question import ask
    from graft.tasks.classify import Classify
    from graft.transferability import scores_of

    backbone = opened(start)
    task = Classify(tuple(sorted(set(train.labels()))))
    streams = task.streams(train, backbone)
    features = feature_rows(backbone.eval(), streams["train"])
    question = ask(task, streams["train"], np.arange(len(train)), seed)
    known = {"features": features, "targets": question.columns, "labels": question.columns}
    source = source_probabilities(backbone, features)
    found = scores_of(known | ({} if source is None else {"source": source}))
    found["probe"] = question.probe(features).value
    torch.manual_seed(seed)
    model, _ = task.build(backbone)
    plan = full(lr=RATE, head_lr=RATE, epochs=EPOCHS, batch_size=BATCH)
    run(plan, model, task, {"train": streams}, settings=Settings(seed=seed))
    stream = task.streams(test, backbone)["train"]
    answers = predict_rows(model, task, stream)["probabilities"].argmax(1)
    found["accuracy"] = float((answers == stream.targets["label"].numpy()).mean())
    return found


def opened(start: str) -> Any:
    """Return a starting point that sees pictures of 96 pixels a side."""
    from graft.backbones import open_backbone

    if start in EPOCHS_ON_MNIST:
        backbone = open_backbone(shared("weights", "mobilenet_v1_0.25_224"), random=True)
        backbone.net.load_state_dict(trained_on_mnist()[start])
    elif start == "squeezenet1_1":
        backbone = squeezenet()
    else:
        backbone = open_backbone(shared("weights", start))
    return at_side(backbone, SIDE)


def at_side(backbone: Any, side: int) -> Any:
    """Let a backbone see pictures of so many pixels a side, stretched to it."""
    backbone.processor = dataclasses.replace(
        backbone.processor, size=(side, side), resize=(side, side)
    )
    return backbone


def squeezenet() -> Any:
    """Return torchvision's SqueezeNet with the weights that lie beside no configuration."""
    from safetensors.torch import load_file

    from graft.backbones import open_backbone

    backbone = open_backbone("torchvision:squeezenet1_1", random=True)
    tensors = load_file(shared("weights", "squeezenet1_1_torchvision", "model.safetensors"))
    backbone.net.load_state_dict({name: tensors[name] for name in backbone.net.state_dict()})
    return backbone


@cache
def trained_on_mnist() -> dict[str, Mapping[str, Any]]:
    """Return the weights at each checkpoint of a training on digits, from random weights."""
    import torch

    from graft.backbones import open_backbone
    from graft.engine.run import run
    from graft.engine.settings import Settings
    from graft.methods.body import full
    from graft.tasks.classify import Classify
    from graft.tasks.streams import TableStream

    data = np.load(shared("data", "digits_mnist", "data.npz"))
    digits = np.repeat(data["train_images"][:N_DIGITS, :, :, None], 3, axis=3)
    torch.manual_seed(0)
    folder = shared("weights", "mobilenet_v1_0.25_224")
    backbone = at_side(open_backbone(folder, random=True), SIDE_OF_DIGITS)
    targets = {"label": data["train_labels"][:N_DIGITS].astype(np.int64)}
    stream = TableStream(list(digits), backbone.processor, targets=targets, key="digits")
    task = Classify(tuple(map(str, range(10))))
    model, _ = task.build(backbone)
    found = {}
    for number, (name, epochs) in enumerate(EPOCHS_ON_MNIST.items()):
        plan = full(lr=RATE, head_lr=RATE, epochs=epochs, batch_size=BATCH)
        splits = {"train": {"train": stream}}
        phase = run(plan, model, task, splits, settings=Settings(seed=number))[0]
        print(f"{name}: loss {phase.epochs[-1].train_loss:.3f}")
        found[name] = {k: t.clone() for k, t in backbone.net.state_dict().items()}
    return found


def report(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the means of every starting point, and tau of every score with its interval."""
    means = means_by_start(rows)
    for i, start in enumerate(dict.fromkeys(row["start"] for row in rows)):
        print(start, " ".join(f"{name} {values[i]:.3f}" for name, values in means.items()))
    for name in SCORES:
        if name in means:
            print(f"{name}: {tau_line(means[name], means['accuracy'])}")


def means_by_start(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return accuracy and every score that all starting points have, in means over seeds."""
    starts = list(dict.fromkeys(row["start"] for row in rows))
    return {
        name: [
            float(np.mean([r[name] for r in rows if r["start"] == s and name in r])) for s in starts
        ]
        for name in ("accuracy", *SCORES)
        if all(any(name in r for r in rows if r["start"] == s) for s in starts)
    }


def tau_line(score: Sequence[float], accuracy: Sequence[float]) -> str:
    """Return the weighted tau with its interval, in words."""
    value, low, high = tau_with_interval(score, accuracy)
    return f"weighted tau {value:.2f} ({low:.2f} to {high:.2f}), {len(score)} starting points"


def tau_with_interval(
    score: Sequence[float], accuracy: Sequence[float]
) -> tuple[float, float, float]:
    """Return the weighted Kendall tau and its 95 % bootstrap interval over starting points."""
    from scipy.stats import weightedtau

    x, y = np.asarray(score), np.asarray(accuracy)
    rng, n = np.random.default_rng(0), len(x)
    draws = [rng.integers(0, n, n) for _ in range(N_RESAMPLES)]
    taus = [weightedtau(x[d], y[d]).statistic for d in draws if len(set(d.tolist())) > 2]
    low, high = np.nanpercentile(taus, [2.5, 97.5])
    return float(weightedtau(x, y).statistic), float(low), float(high)


if __name__ == "__main__":
    main()
