"""ULMFiT's table of recipes, in spirit: which way of training a pretrained network wins?

    python benchmarks/literature/recipes.py --seeds 20 --threads 1

Howard and Ruder 2018, table 6, compare on IMDb, TREC-6 and AG: `full`, discriminative rates,
gradual unfreezing, slanted triangular schedules and all together; on TREC-6 they report errors of
6.86 % for `full`, 6.86 with gradual unfreezing alone, 6.21 with discriminative rates alone and 5.69
with everything. Here: MiniLM, 120 training rows of SST-2 drawn anew by each seed, 400 test rows,
four epochs for every method but `unfreeze`, which takes one a phase. The default schedule (a tenth
up, then linearly down) is the slanted one but for its last rate, so it has no row of its own.
"""

from __future__ import annotations

from ledger import Ledger, options, shared, subset, trained

N_TRAIN, N_TEST, EPOCHS, BATCH = 120, 400, 4, 16
PAIRS = (
    ("layerwise", "full"),
    ("unfreeze", "full"),
    ("unfreeze, one rate", "full"),
    ("lp-ft", "full"),
    ("probe", "full"),
)


def plans() -> dict:
    """Return the methods by name, each a function of K."""
    from graft.methods.body import full, layerwise, lp_ft, unfreeze
    from graft.methods.heads import probe

    by = {"epochs": EPOCHS, "batch_size": BATCH}
    return {
        "probe": lambda k: probe(k),
        "full": lambda k: full(k, **by),
        "layerwise": lambda k: layerwise(k, **by),
        "unfreeze": lambda k: unfreeze(k, epochs=1, batch_size=BATCH),
        "lp-ft": lambda k: lp_ft(k, **by),
        "unfreeze, one rate": lambda k: unfreeze(k, epochs=1, batch_size=BATCH, decay=1.0),
    }


def main() -> None:
    asked = options(__doc__, seeds=20)
    from graft.data.readers import read

    table = read(shared("data", "sst2", "train.csv"))
    test = subset(read(shared("data", "sst2", "test.csv")), N_TEST, 0)
    ledger = Ledger("recipes")
    for seed in range(asked.seeds):
        train = subset(table, N_TRAIN, seed)
        for name, plan in plans().items():
            ledger.cell(
                lambda p=plan, t=train, s=seed: trained(p, t, {"accuracy": test}, seed=s),
                method=name,
                seed=seed,
            )
    for a, b in PAIRS:
        print(f"{a} against {b}: {ledger.paired(a, b)}")


if __name__ == "__main__":
    main()
