"""Which loss? Every objective for labelled items under one budget, on classes never trained.

    python benchmarks/embeddings/losses.py --seeds 5 --data banking77 --threads 1

- banking77: MiniLM trains on 50 of the 77 intents, 20 questions each; the test's questions of the
  other 27 intents, 40 each, search each other.
- orl_faces: MobileNetV2 trains on 12 of the 20 people; pictures of the other 8 search each other.
- omniglot_small: MobileNetV2, looking at 64 pixels, trains on 183 characters, 6 drawings each;
  drawings of the 59 characters of two other alphabets, 10 each, search each other.

Every setting of an objective is its default unless its row names another; batches hold 64 items,
four of a class. Method, rate and epochs are one for all objectives of a data set; they were chosen
by `supervised_contrastive` on a seed (100) that is not in the table. Each seed draws classes and
rows anew (omniglot: drawings), and all objectives see the same. Untouched is the backbone without
training. Two objectives whose intervals overlap are not told apart.
"""

from __future__ import annotations

import csv
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "literature"))
import ledger
from ledger import Ledger, options, paired, shared

ledger.RESULTS = Path(__file__).parent / "results"

OBJECTIVES: dict[str, dict[str, Any]] = {
    "supervised_contrastive": {},
    "triplet, random": {"objective": "triplet", "mining": "all"},
    "triplet, semi-hard": {"objective": "triplet", "mining": "semi_hard"},
    "triplet, hard": {"objective": "triplet", "mining": "hard"},
    "triplet, by distance": {"objective": "triplet", "mining": "distance_weighted"},
    "contrastive": {"objective": "contrastive"},
    "softmax": {"objective": "softmax"},
    "softmax_with_center": {"objective": "softmax_with_center"},
    "cosface": {"objective": "cosface"},
    "arcface": {"objective": "arcface"},
    "proxy_nca": {"objective": "proxy_nca"},
    "proxy_anchor": {"objective": "proxy_anchor"},
}
N_TRAINED = {"banking77": 50, "orl_faces": 12, "omniglot_small": 183}
N_OF_A_CLASS = {"banking77": 20, "orl_faces": 10, "omniglot_small": 6}
N_SEARCHED = {"banking77": 40, "orl_faces": 10, "omniglot_small": 10}
BUDGET: dict[str, dict[str, Any]] = {
    "banking77": {"method": "full", "lr": 2e-5, "epochs": 1},
    "orl_faces": {"method": "last:2", "epochs": 4},
    "omniglot_small": {"method": "full", "lr": 1e-3, "epochs": 4},
}


class Source(NamedTuple):
    """Examples of a data set: column of the inputs; of each its class, and where it may serve."""

    key: str
    inputs: list[str]
    labels: list[str]
    parts: list[str]


def rows_of(data: str, seed: int, folder: Path) -> Path:
    """Write a table in which some classes train and the others are the test."""
    rng = np.random.default_rng(seed)
    found = SOURCES[data](folder)
    names = list(dict.fromkeys(found.labels))  # omniglot's trained characters come first
    if data != "omniglot_small":
        names = rng.permutation(sorted(names)).tolist()
    lines = []
    for place, name in enumerate(names):
        part = "train" if place < N_TRAINED[data] else "test"
        rows = [
            i
            for i, (label, where) in enumerate(zip(found.labels, found.parts, strict=True))
            if label == name and where in (part, "")
        ]
        most = N_OF_A_CLASS[data] if part == "train" else N_SEARCHED[data]
        rows = rng.permutation(rows)[:most].tolist()
        lines += [
            json.dumps({found.key: found.inputs[i], "label": name, "split": part}) for i in rows
        ]
    path = folder / "rows.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def banking77(folder: Path) -> Source:
    """Return questions and their intents."""
    from graft.data.readers import read

    del folder
    tables = {part: read(shared("data", "banking77", f"{part}.csv")) for part in ("train", "test")}
    return Source(
        "text",
        [text for table in tables.values() for text in table.inputs()],
        [label for table in tables.values() for label in table.labels() or []],
        [part for part, table in tables.items() for _ in range(len(table))],
    )


def orl_faces(folder: Path) -> Source:
    """Return pictures of faces and whose they are."""
    with shared("data", "orl_faces", "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    (folder / "images.zip").symlink_to(shared("data", "orl_faces", "images.zip"))
    paths = [f"images.zip!/{row['path']}" for row in rows]
    return Source("image", paths, [row["label"] for row in rows], [""] * len(rows))


def omniglot_small(folder: Path) -> Source:
    """Return drawings of characters, written as files, and which they are."""
    from PIL import Image

    held = np.load(shared("data", "omniglot_small", "data.npz"))
    names = json.loads(shared("data", "omniglot_small", "classes.json").read_text("utf-8"))
    found = Source("image", [], [], [])
    for part in ("train", "test"):
        numbers = held[f"{part}_labels"].tolist()
        for i, (pixels, number) in enumerate(zip(held[f"{part}_images"], numbers, strict=True)):
            found.inputs.append(f"{part}{i}.png")
            found.labels.append(names[number])
            found.parts.append(part)
            Image.fromarray(pixels).save(folder / found.inputs[-1])
    return found


SOURCES = {"banking77": banking77, "orl_faces": orl_faces, "omniglot_small": omniglot_small}


def model_of(data: str, folder: Path) -> str:
    """Return the backbone of a data set; for drawings of 28 pixels one that looks at 64."""
    if data == "banking77":
        return "minilm"
    weights = shared("weights", "mobilenetv2_100")
    if data != "omniglot_small":
        return str(weights)
    config = json.loads((weights / "config.json").read_text("utf-8"))
    config["pretrained_cfg"] |= {"input_size": [3, 64, 64], "crop_pct": 1.0}
    small = folder / "mobilenetv2_64"
    small.mkdir(exist_ok=True)
    (small / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if not (small / "model.safetensors").exists():
        shutil.copyfile(weights / "model.safetensors", small / "model.safetensors")
    return str(small)


def measured(path: Path, data: str, seed: int, folder: Path, settings: dict[str, Any]) -> dict:
    """Train with one objective; return MRR, R@1 and MAP@R on classes that were not trained."""
    import graft

    run = graft.train(
        path,
        model=model_of(data, folder),
        task="embed",
        batch_size=64,
        validation=0.0,
        seed=seed,
        threads=1,
        precision="fp32",
        cache=str(folder / "cache"),
        out=folder / "run",
        overwrite=True,
        **BUDGET[data],
        **settings,
    )
    before, after = run.record.before["test"], run.record.after["test"]
    names = ("mrr", "recall_at_1", "map_at_r")
    return {f"before_{n}": before[n] for n in names} | {n: after[n] for n in names}


def main() -> None:
    asked = options(__doc__, seeds=5, data=list(SOURCES))
    book = Ledger(f"losses_{asked.data}")
    for seed in range(asked.seeds):
        with tempfile.TemporaryDirectory() as place:
            path = rows_of(asked.data, seed, Path(place))
            for name, settings in OBJECTIVES.items():
                book.cell(
                    lambda s=seed, o=settings, p=path, f=Path(place): measured(
                        p, asked.data, s, f, o
                    ),
                    method=name,
                    seed=seed,
                )
    print(table(book.rows))


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table of all objectives: means, and how much of the faults is closed."""
    gains = "MRR gained, points (95 %) | 1 − MRR closed | 1 − R@1 closed"
    lines = [f"| objective | R@1 | MRR | MAP@R | {gains} |", "|---|---|---|---|---|---|---|"]
    names = list(dict.fromkeys(row["method"] for row in rows))
    first = [row for row in rows if row["method"] == names[0]]
    means = [statistics.mean(r[f"before_{n}"] for r in first) for n in METRICS]
    lines.append("| untouched | " + " | ".join(f"{m:.3f}" for m in means) + " | | | |")
    for name in names:
        own = [row for row in rows if row["method"] == name]
        means = [statistics.mean(r[n] for r in own) for n in METRICS]
        gain = paired([r["mrr"] - r["before_mrr"] for r in own])
        shares = [f"{closed(own, n)}" for n in ("mrr", "recall_at_1")]
        cells = [f"`{name}`", *(f"{m:.3f}" for m in means), str(gain), *shares]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def closed(rows: list[dict[str, Any]], metric: str) -> str:
    """Return the share of what was missing to 1 that training closed, with its interval."""
    # of sums, for a seed that starts at 1 has nothing to close
    missing = statistics.mean(1 - r[f"before_{metric}"] for r in rows)
    share = paired([(r[metric] - r[f"before_{metric}"]) / missing for r in rows])
    return f"{100 * share.mean:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"


METRICS = ("recall_at_1", "mrr", "map_at_r")

if __name__ == "__main__":
    main()
