"""Which loss for pairs? Scores by Spearman, judged documents by NDCG, translations by MRR.

    python benchmarks/embeddings/pairs.py --seeds 5 --data stsb_en --threads 1

- stsb_en: MiniLM trains on 2,000 of the pairs with a score from 0 to 5, `full` at 2e-5, one epoch;
  the 1,379 test pairs are compared by Spearman's rank correlation of cosine and score. They are
  always the same: seeds draw training rows.
- cranfield: queries with the abstracts that were judged relevant, 125 of them to train on, `last:2`
  at 5e-5, one epoch, batches of 32; the other 100 search the abstracts that are relevant to any of
  them. NDCG at 10; seeds draw queries.
- tatoeba: English sentences with a French translation, 1,500 to train on, `full` at 5e-5, two
  epochs, batches of 64; 390 others search theirs among all of them. MiniLM was trained on English.
  Mean reciprocal rank; seeds draw training pairs. One reference a sentence.

Untouched is the backbone without training.
"""

from __future__ import annotations

import csv
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "literature"))
import ledger
from ledger import Ledger, options, paired, shared

ledger.RESULTS = Path(__file__).parent / "results"

N_PAIRS, N_QUERIES, N_TRANSLATIONS = 2_000, 125, 1_500
OBJECTIVES: dict[str, dict[str, dict[str, Any]]] = {
    "stsb_en": {
        "cosent": {},
        "cosine_regression": {"objective": "cosine_regression"},
    },
    "cranfield": {
        "info_nce": {},
        "info_nce, mined": {"mine": 0.05},
    },
    "tatoeba": {
        "info_nce": {},
    },
}
BUDGET: dict[str, dict[str, Any]] = {
    "stsb_en": {"method": "full", "lr": 2e-5, "epochs": 1, "batch_size": 32},
    "cranfield": {"method": "last:2", "lr": 5e-5, "epochs": 1, "batch_size": 32},
    "tatoeba": {"method": "full", "lr": 5e-5, "epochs": 2, "batch_size": 64},
}
METRIC = {"stsb_en": "spearman", "cranfield": "ndcg_at_10", "tatoeba": "mrr"}


def stsb_en(seed: int, path: Path) -> None:
    """Write training pairs that a seed draws, and all test pairs."""
    rng = np.random.default_rng(seed)
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["sentence1", "sentence2", "score", "split"])
        for part in ("train", "test"):
            with shared("data", "stsb_en", f"{part}.csv").open(encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            if part == "train":
                rows = [rows[i] for i in rng.permutation(len(rows))[:N_PAIRS].tolist()]
            writer.writerows([r["sentence1"], r["sentence2"], r["score"], part] for r in rows)


def cranfield(seed: int, path: Path) -> None:
    """Write queries with the abstracts that were judged relevant to them."""
    rng = np.random.default_rng(seed)
    texts = {}
    for name in ("corpus", "queries"):
        lines = shared("data", "cranfield", f"{name}.jsonl").read_text("utf-8").splitlines()
        texts[name] = {row["id"]: row["text"] for row in map(json.loads, lines)}
    relevant: dict[str, list[str]] = {}
    with shared("data", "cranfield", "qrels.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if int(row["grade"]) > 0 and texts["corpus"].get(row["doc_id"], "").strip():
                relevant.setdefault(row["query_id"], []).append(row["doc_id"])
    queries = rng.permutation(sorted(relevant)).tolist()
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["query", "document", "relevance", "split"])
        for i, query in enumerate(queries):
            part = "train" if i < N_QUERIES else "test"
            writer.writerows(
                [texts["queries"][query], texts["corpus"][document], 1, part]
                for document in relevant[query]
            )


def tatoeba(seed: int, path: Path) -> None:
    """Write English sentences with the first French one that translates each."""
    rng = np.random.default_rng(seed)
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["anchor", "positive", "split"])
        for part in ("train", "test"):
            source = shared("data", "tatoeba_en_fr_short", f"{part}.csv")
            with source.open(encoding="utf-8") as file:
                first: dict[str, str] = {}
                for row in csv.DictReader(file):
                    first.setdefault(row["en"], row["fr"])
            pairs = list(first.items())
            if part == "train":
                pairs = [pairs[i] for i in rng.permutation(len(pairs))[:N_TRANSLATIONS].tolist()]
            writer.writerows([*pair, part] for pair in pairs)


TABLES: dict[str, Callable[[int, Path], None]] = {
    "stsb_en": stsb_en,
    "cranfield": cranfield,
    "tatoeba": tatoeba,
}


def measured(data: str, seed: int, folder: Path, settings: dict[str, Any]) -> dict[str, float]:
    """Train with one objective; return the metric of the test, before and after."""
    import graft

    path = folder / "rows.csv"
    TABLES[data](seed, path)
    run = graft.train(
        path,
        model="minilm",
        validation=0.0,
        seed=seed,
        threads=1,
        precision="fp32",
        cache=str(folder / "cache"),
        out=folder / "run",
        overwrite=True,
        allow_leak=True,  # stsb has three pairs in both parts
        **BUDGET[data],
        **settings,
    )
    record = run.record
    return {
        "before": record.before["test"][METRIC[data]],
        "after": record.after["test"][METRIC[data]],
    }


def main() -> None:
    asked = options(__doc__, seeds=5, data=list(TABLES))
    book = Ledger(f"pairs_{asked.data}")
    with tempfile.TemporaryDirectory() as place:
        for seed in range(asked.seeds):
            for name, settings in OBJECTIVES[asked.data].items():
                book.cell(
                    lambda s=seed, o=settings: measured(asked.data, s, Path(place), o),
                    method=name,
                    seed=seed,
                )
    print(table(book.rows, METRIC[asked.data]))


def table(rows: list[dict[str, Any]], metric: str) -> str:
    """Return the table of all objectives: means, and gains with their intervals."""
    lines = [f"| objective | {metric} | gained, points (95 %) |", "|---|---|---|"]
    names = list(dict.fromkeys(row["method"] for row in rows))
    before = statistics.mean(row["before"] for row in rows)
    lines.append(f"| untouched | {before:.3f} | |")
    for name in names:
        own = [row for row in rows if row["method"] == name]
        after = statistics.mean(row["after"] for row in own)
        lines.append(
            f"| `{name}` | {after:.3f} | {paired([r['after'] - r['before'] for r in own])} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
