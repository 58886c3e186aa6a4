"""Race `probe` on MiniLM against one forward pass, against Trainer, and in accuracy.

    python benchmarks/race/probe_text.py --rows 0 --repeats 5 --peer-epochs 1 --json probe.json

Five lines for each data set:
    encoding    graft's features of all rows (finding the cut, hashing, writing the store included)
                against the limit: one forward pass over rows sorted by length, tokenised and
                collated beforehand, at the fastest batch size, without gradients
    solving     the phase that reads the store, searches l2 over folds and solves, against the same
    speed       both together against Trainer with a frozen body for 10 epochs
    accuracy    on the test rows, and over folds of all rows, against scikit-learn's
                LogisticRegressionCV on features of sentence-transformers; the ratio is the lower
                end of the paired bootstrap's 95 % interval of the difference, in points
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from racing import (
    Line,
    chosen,
    finish,
    interleave,
    now,
    options,
    paired_interval,
    precision,
    race,
    seconds,
)

DATA = ("sst2", "banking77")
BATCH_SIZES = (16, 32, 64, 128)
EPOCHS = 10
PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


def main() -> None:
    asked = options(
        __doc__,
        peer_epochs=(None, "epochs of the peer to measure; all ten unless given"),
        accuracy=(1, "0 leaves out the comparison with scikit-learn"),
    )
    lines = []
    for name in chosen(asked, DATA):
        lines += probe_lines(name, asked)
    finish(asked, lines)


def probe_lines(name: str, asked: Any) -> list[Line]:
    """Return the lines of one data set."""
    from texts import graft_model, peer_note, read_texts, trainer_seconds

    from graft.engine.embed import pooled_features
    from graft.engine.run import run
    from graft.engine.settings import Settings
    from graft.methods.heads import probe

    texts = read_texts(name, asked.rows)
    model, task, stream = graft_model(texts)
    passes = {size: collated(stream, size) for size in BATCH_SIZES}
    backbone = model.backbone
    size = fastest(backbone, stream)
    solving: list[float] = []
    held: dict[str, Any] = {}

    def encode_and_solve() -> float:
        model, task, stream = graft_model(texts)
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(
                precision=precision(),
                cache=Path(folder) / "cache",
                checkpoints=Path(folder) / "points",
            )
            encoding = seconds(lambda: pooled_features(model, task, {"train": stream}, settings))
            began = now()
            run(probe(), model, task, {"train": {"train": stream}}, settings=settings)
            solving.append(now() - began)
        held["model"] = model
        return encoding

    seen = interleave(
        {
            "encoding": encode_and_solve,
            "forward": lambda: seconds(lambda: forward(backbone, passes[size])),
        },
        asked.repeats,
    )
    # the peer takes many times as long, and its spread is small beside the mark
    n_peer = min(asked.repeats, 3 if asked.peer_epochs else 1)
    peer = interleave(
        {
            "defaults": lambda: trainer_seconds(
                texts,
                "defaults",
                epochs=EPOCHS,
                n_frozen="body",
                measured_epochs=asked.peer_epochs,
            ),
            "best flags": lambda: trainer_seconds(
                texts,
                "best flags",
                epochs=EPOCHS,
                n_frozen="body",
                measured_epochs=asked.peer_epochs,
            ),
        },
        n_peer,
    )
    seen |= peer
    seen["solving"] = solving
    seen["probe"] = [a + b for a, b in zip(seen["encoding"], solving, strict=True)]
    what = f"{name}, {len(texts.labels)} rows"
    limit = f"the peer is one forward pass, batches of {size}; the ratio is the share of its time"
    lines = [
        race(f"encoding, {what}", seen, "encoding", "forward", 1.1, note=limit, of_graft=True),
        race(f"solving, {what}", seen, "solving", "forward", 0.5, note=limit, of_graft=True),
    ]
    for flags, mark in (("defaults", 20.0), ("best flags", None)):
        note = peer_note(flags, EPOCHS, asked.peer_epochs)  # type: ignore[arg-type]
        work = f"probe, {what}, frozen body {EPOCHS} epochs, {flags}"
        lines.append(race(work, seen, "probe", flags, mark, note=note))
    if asked.accuracy:
        lines += accuracy_lines(texts, held["model"], task)
    return lines


def collated(stream: Any, size: int, every: int = 1) -> list[Any]:
    """Return batches of rows sorted by length, collated."""
    import numpy as np

    order = np.argsort(stream.lengths, kind="stable")[::every]
    return [stream.batch(order[i : i + size]) for i in range(0, len(order), size)]


def forward(backbone: Any, batches: list[Any]) -> None:
    """Run a network over batches without gradients."""
    import torch

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision() == "bf16"):
        for batch in batches:
            backbone(batch.inputs)


def fastest(backbone: Any, stream: Any) -> int:
    """Return the batch size with the fastest pass over an eighth of the rows, of two tries each."""
    backbone.eval()
    every = 8 if len(stream) >= 8 * max(BATCH_SIZES) else 1
    tried = {size: collated(stream, size, every) for size in BATCH_SIZES}
    forward(backbone, tried[BATCH_SIZES[0]])  # the first pass pays for what is allocated
    taken = {
        size: min(seconds(lambda b=batches: forward(backbone, b)) for _ in range(2))
        for size, batches in tried.items()
    }
    return min(taken, key=taken.__getitem__)


def accuracy_lines(texts: Any, model: Any, task: Any) -> list[Line]:
    """Compare accuracies row by row: on the test rows, and on all rows by folds."""
    import warnings

    import numpy as np
    from crossed import crossed_line
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegressionCV
    from texts import minilm

    from graft.engine.predict import feature_rows, predict_rows

    stream = task.streams(texts.test, model.backbone)["train"]
    truth = stream.targets["label"].numpy()
    ours = predict_rows(model, task, stream)["probabilities"].argmax(1) == truth
    encoder = SentenceTransformer(str(minilm()), device="cpu")
    of_train, of_test = (
        encoder.encode(list(table.inputs()), batch_size=64) for table in (texts.train, texts.test)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = LogisticRegressionCV(Cs=list(PENALTIES), cv=5, max_iter=2000)
        fitted.fit(of_train, texts.labels)
    theirs = fitted.predict(of_test) == truth
    low, high = paired_interval(ours, theirs)
    penalty = float(np.ravel(fitted.C_)[0])
    note = (
        f"accuracies; the ratio is the lower end of the interval {low:+.2f} to {high:+.2f} points; "
        f"C = {penalty:g} by 5 folds"
    )
    what = f"{texts.name}, {len(texts.labels)} rows"
    work = f"accuracy, {what}, {len(truth)} test rows, points"
    of_split = Line(work, float(ours.mean()), float(theirs.mean()), low, note=note)
    both = [task.streams(table, model.backbone)["train"] for table in (texts.train, texts.test)]
    crossed = crossed_line(
        what,
        np.concatenate([feature_rows(model.backbone, one) for one in both]),
        np.concatenate([of_train, of_test]),
        np.concatenate([texts.labels, truth]),
        penalty,
    )
    return [of_split, crossed]


if __name__ == "__main__":
    main()
