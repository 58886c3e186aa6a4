"""From product reviews to movie reviews, without a labelled movie review.

    python benchmarks/literature/other_reviews.py --seeds 5 --threads 1

Blitzer et al. 2007 train on reviews of one product and test on another, and lose accuracy against
training on the product itself. Here: MiniLM on 240 reviews of all four products of
amazon4_sentiment, cut at 48 tokens, tested on 400 sentences of SST-2 (movies), beside a training on
240 sentences of SST-2 itself.
"""

from __future__ import annotations

import numpy as np
from ledger import Ledger, options, shared, subset, trained

N_TRAIN, N_TEST, LENGTH, BATCH, EPOCHS = 240, 400, 48, 16, 3


def main() -> None:
    asked = options(__doc__, seeds=5)
    from graft.data.readers import read
    from graft.methods.body import full
    from graft.methods.heads import probe

    products = read(shared("data", "amazon4_sentiment", "train.jsonl.gz"))
    movies = read(shared("data", "sst2", "train.csv"))
    tests = {"accuracy": subset(read(shared("data", "sst2", "test.csv")), N_TEST, 0)}
    plans = {
        "probe": lambda k: probe(k),
        "full": lambda k: full(k, epochs=EPOCHS, batch_size=BATCH),
    }
    ledger = Ledger("other_reviews")
    for seed in range(asked.seeds):
        for source, table in (("products", products), ("movies", movies)):
            train = subset(table, N_TRAIN, seed)
            for name, plan in plans.items():
                ledger.cell(
                    lambda p=plan, t=train, s=seed: trained(p, t, tests, seed=s, max_length=LENGTH),
                    method=f"{name} on {source}",
                    seed=seed,
                )
    for name in plans:
        print(f"{name}: {ledger.paired(f'{name} on products', f'{name} on movies')}")
    rows = [r["accuracy"] for r in ledger.rows if r["method"] == "probe on products"]
    print(f"probe on products: {np.mean(rows):.3f}")


if __name__ == "__main__":
    main()
