"""Small modules beside a frozen network against training all of it.

    python benchmarks/literature/adapters.py --seeds 5 --threads 1

Houlsby et al. 2019, table 1: adapters of 3.6 % of the parameters come within 0.4 points of full
fine-tuning on GLUE (80.0 against 80.4). Hu et al. 2022, table 2: LoRA is as good as full
fine-tuning. Ben Zaken et al. 2022, table 1: biases alone likewise, on small data.

MiniLM on a thousand rows of SST-2 and of the reviews of amazon4, and twenty of each of Banking77's
77 intents; every method with its defaults, all with batches of 16 and the same number of epochs.
"""

from __future__ import annotations

from ledger import Difference, Ledger, options, paired, shared, subset, trained

ROWS = {"sst2": 1_000, "banking77": 1_540, "amazon4": 1_000}
N_TEST, EPOCHS, BATCH, LENGTH = 1_000, 4, 16, 64


def main() -> None:
    asked = options(__doc__, seeds=5, first=0)
    from graft.data.readers import read
    from graft.methods.adapters import bias, bottleneck, lora
    from graft.methods.body import full

    common = {"epochs": EPOCHS, "batch_size": BATCH}
    plans = {
        "full": lambda k: full(k, **common),
        "bottleneck": lambda k: bottleneck(k, **common),
        "lora": lambda k: lora(k, **common),
        "bias": lambda k: bias(k, **common),
    }
    tables = {
        "sst2": [read(shared("data", "sst2", f"{part}.csv")) for part in ("train", "test")],
        "banking77": [
            read(shared("data", "banking77", f"{part}.csv")) for part in ("train", "test")
        ],
        "amazon4": [
            read(shared("data", "amazon4_sentiment", f"{part}.jsonl.gz"))
            for part in ("train", "test")
        ],
    }
    ledger = Ledger("adapters")
    for seed in range(asked.first, asked.first + asked.seeds):
        for data, (train, test) in tables.items():
            some, held = subset(train, ROWS[data], seed), subset(test, N_TEST, 0)
            for method, plan in plans.items():
                ledger.cell(
                    lambda p=plan, t=some, h=held, s=seed: trained(
                        p, t, {"accuracy": h}, seed=s, max_length=LENGTH
                    ),
                    method=method,
                    data=data,
                    seed=seed,
                )
    for method in ("bottleneck", "lora", "bias"):
        print(f"{method} against full, mean of three tables: {means_apart(ledger, method)}")


def means_apart(ledger: Ledger, method: str) -> Difference:
    """Return how far a method is from `full` in the mean of the tables, over seeds."""
    of = {(r["method"], r["data"], r["seed"]): r["accuracy"] for r in ledger.rows}
    seeds = sorted({seed for _, _, seed in of})
    gaps = []
    for seed in seeds:
        pairs = [(of.get((method, d, seed)), of.get(("full", d, seed))) for d in ROWS]
        if all(a is not None and b is not None for a, b in pairs):
            gaps.append(sum(a - b for a, b in pairs) / len(pairs))  # type: ignore[operator]
    return paired(gaps)


if __name__ == "__main__":
    main()
