"""What could any training close on Banking77? The intents that are searched, trained on themselves.

    python benchmarks/embeddings/ceiling.py --seeds 3 --threads 1

`losses.py` trains on 50 intents and searches the other 27. Here all training questions of these 27
train the network (`full`, `supervised_contrastive`, three epochs at 5e-5, batches of 64, four of an
intent), and the same test questions, 40 of each, search each other. Training that never saw an
intent should not be expected to do better than training on that intent.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

import losses
import numpy as np
from losses import N_TRAINED, Ledger, banking77, options, paired

DATA = "banking77"
METHOD = "trained on the intents that are searched"
NAMES = {"mrr": "MRR", "recall_at_1": "R@1", "map_at_r": "MAP@R"}


def rows_of(seed: int, folder: Path) -> Path:
    """Write a table in which the intents that `losses.py` searches are trained, too."""
    rng = np.random.default_rng(seed)
    found = banking77(folder)
    names = rng.permutation(sorted(set(found.labels))).tolist()[N_TRAINED[DATA] :]
    searched = {t for t, part in zip(found.inputs, found.parts, strict=True) if part == "test"}
    lines = []
    for text, name, part in zip(found.inputs, found.labels, found.parts, strict=True):
        # a few test questions stand among the training questions, too
        if name in names and (part == "test" or text not in searched):
            lines.append(json.dumps({"text": text, "label": name, "split": part}))
    path = folder / "rows.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def main() -> None:
    asked = options(__doc__, seeds=3)
    losses.BUDGET[DATA] = {"method": "full", "lr": 5e-5, "epochs": 3}
    book = Ledger("ceiling_banking77")
    for seed in range(asked.seeds):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            path = rows_of(seed, folder)
            book.cell(
                lambda s=seed, p=path, f=folder: losses.measured(p, DATA, s, f, {}),
                method=METHOD,
                seed=seed,
            )
    print(table(book.rows))


def table(rows: list[dict[str, Any]]) -> str:
    """Return what the training closes, as Markdown."""
    lines = ["| | before | after | of what is missing to 1, closed, % |", "|---|---|---|---|"]
    for metric in NAMES:
        before, after = ([row[key] for row in rows] for key in (f"before_{metric}", metric))
        closed = paired([(b - a) / (1 - a) for a, b in zip(before, after, strict=True)])
        name = NAMES[metric]
        lines.append(f"| {name} | {mean(before):.3f} | {mean(after):.3f} | {closed} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
