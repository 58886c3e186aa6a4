"""Eight examples a class: shape the space by pairs first, then solve the head; or only solve it.

    python benchmarks/embeddings/few_shot.py --seeds 5 --data sst2 --threads 1

`probe` solves the head on MiniLM's own features. `contrastive + probe` first trains the whole
network on the same rows with the contrastive loss of all pairs (cosine, margin 0.5), then solves
the head on what it has become: SetFit's two steps (Tunstall et al. 2022), the second one exact.
SetFit itself runs with its defaults on the same MiniLM, where it is installed
(`pip install setfit`). All see the same eight rows of each class and are judged on the same 600
test rows.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "race"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "literature"))
import ledger
from ledger import Ledger, options, paired, shared

ledger.RESULTS = Path(__file__).parent / "results"

SHOTS, N_TEST = 8, 600
CONTRASTIVE: dict[str, Any] = {
    "task": "embed",
    "objective": "contrastive",
    "distance": "cosine",
    "margin": 0.5,
    "items_per_class": 4,
    "method": "full",
    "lr": 5e-5,
    "batch_size": 32,
}
METHODS = ("probe", "contrastive + probe", "SetFit")
EPOCHS = {"sst2": 40, "banking77": 3}
"""So that both take some tens of steps; chosen on seeds (100 to 102) that are not in the table."""


def rows_of(data: str, seed: int, path: Path) -> None:
    """Write eight training rows of each class that a seed draws, and the test rows."""
    import csv

    from graft.data.readers import read

    rng = np.random.default_rng(seed)
    train = read(shared("data", data, "train.csv"))
    test = read(shared("data", data, "test.csv"))
    labels = np.asarray(train.labels())
    kept = [rng.permutation(np.flatnonzero(labels == c))[:SHOTS] for c in np.unique(labels)]
    drawn = np.random.default_rng(0).permutation(len(test))[:N_TEST]
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["text", "label", "split"])
        parts = {"train": train.take(np.concatenate(kept)), "test": test.take(drawn)}
        for part, table in parts.items():
            names = table.labels() or []
            rows = [[t, n, part] for t, n in zip(table.inputs(), names, strict=True)]
            writer.writerows(rows)
            if part == "train":
                with path.with_name("shaping.csv").open("w", encoding="utf-8", newline="") as alone:
                    csv.writer(alone).writerows([["text", "label"], *(row[:2] for row in rows)])


def measured(data: str, seed: int, folder: Path, *, shapes: bool) -> dict[str, float]:
    """Return the test accuracy of a solved head, on features that were shaped or not."""
    import graft

    path = folder / "rows.csv"
    rows_of(data, seed, path)
    common: dict[str, Any] = {
        "validation": 0.0,
        "seed": seed,
        "threads": 1,
        "precision": "fp32",
        "overwrite": True,
        "allow_leak": True,
    }
    model: str | Path = "minilm"
    if shapes:
        asked = {**CONTRASTIVE, "epochs": EPOCHS[data], **common}
        shaping = folder / "shaping.csv"
        out = folder / "shaped"
        run = graft.train(shaping, model=model, out=out, cache="off", test=0.0, **asked)
        model = run.folder / "model"
    run = graft.train(
        path, model=model, method="probe", out=folder / "probe", cache="off", **common
    )
    return {"accuracy": run.record.after["test"]["accuracy"]}


def by_setfit(data: str, seed: int, folder: Path) -> dict[str, float]:
    """Return the test accuracy of SetFit as it comes."""
    import csv

    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments
    from texts import minilm

    path = folder / "rows.csv"
    rows_of(data, seed, path)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["label"] for row in rows})
    parts = {
        part: {
            "text": [row["text"] for row in rows if row["split"] == part],
            "label": [names.index(row["label"]) for row in rows if row["split"] == part],
        }
        for part in ("train", "test")
    }
    model = SetFitModel.from_pretrained(str(minilm()))
    arguments = TrainingArguments(
        output_dir=str(folder / "setfit"), seed=seed, report_to="none", save_strategy="no"
    )
    trained = Dataset.from_dict(parts["train"])
    Trainer(model=model, args=arguments, train_dataset=trained).train()
    found = np.asarray(model.predict(parts["test"]["text"]))
    return {"accuracy": float((found == np.asarray(parts["test"]["label"])).mean())}


def main() -> None:
    asked = options(__doc__, seeds=5, first=0, data=list(EPOCHS))
    book = Ledger(f"few_shot_{asked.data}")
    for seed in range(asked.first, asked.first + asked.seeds):
        for name in METHODS if find_spec("setfit") else METHODS[:2]:
            with tempfile.TemporaryDirectory() as place:
                book.cell(
                    lambda s=seed, n=name, p=Path(place): (
                        by_setfit(asked.data, s, p)
                        if n == "SetFit"
                        else measured(asked.data, s, p, shapes=n != "probe")
                    ),
                    method=name,
                    seed=seed,
                )
    print(table(book.rows))


def table(rows: list[dict[str, Any]]) -> str:
    """Return the means over seeds, and what shaping gains."""
    lines = ["| method | accuracy | smallest | largest |", "|---|---|---|---|"]
    of = {
        name: {row["seed"]: row["accuracy"] for row in rows if row["method"] == name}
        for name in METHODS
    }
    for name, by_seed in of.items():
        own = list(by_seed.values())
        if own:
            mean = statistics.mean(own)
            lines.append(f"| {name} | {mean:.3f} | {min(own):.3f} | {max(own):.3f} |")
    ours, said = of["contrastive + probe"], []
    for name in ("probe", "SetFit"):
        gaps = [ours[seed] - other for seed, other in of[name].items() if seed in ours]
        if gaps:
            said.append(f"`contrastive + probe` over {name}, points: {paired(gaps)}.")
    return "\n".join([*lines, "", *said])


if __name__ == "__main__":
    main()
