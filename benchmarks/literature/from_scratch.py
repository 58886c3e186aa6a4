"""Transfer against the same network from random weights, trained until it no longer gains.

    python benchmarks/literature/from_scratch.py --seeds 3 --threads 1

Yosinski et al. 2014; Howard and Ruder 2018, figure 3: with 100 labelled rows a pretrained model
matches one from scratch with 10 to 50 times as many. He et al. 2019 ask for a rival that trains
until it converges: here it stops when the validation loss has not fallen for some epochs, the best
one being kept. At the method's default rate a network of this depth learns nothing from 480 rows;
so the rival also has 2,400 rows, 50 times those of the smallest probe, and a fifth of the rate.
"""

from __future__ import annotations

from ledger import Ledger, options, shared, subset, trained

RIVAL = "scratch, 2,400 rows, rate 1e-4"
N_TRAIN, N_VALIDATION, N_TEST, BATCH = 480, 100, 400, 32


def main() -> None:
    asked = options(__doc__, seeds=3)
    from graft.data.readers import read
    from graft.methods.body import full, scratch
    from graft.methods.heads import probe

    table = read(shared("data", "sst2", "train.csv"))
    validation = subset(read(shared("data", "sst2", "dev.csv")), N_VALIDATION, 0)
    tests = {"accuracy": subset(read(shared("data", "sst2", "test.csv")), N_TEST, 0)}
    plans = {
        "probe, 48 rows": (48, lambda k: probe(k)),
        "probe": (N_TRAIN, lambda k: probe(k)),
        "full": (N_TRAIN, lambda k: full(k, epochs=3, batch_size=BATCH)),
        "scratch": (N_TRAIN, lambda k: scratch(k, epochs=40, batch_size=BATCH, patience=6)),
        RIVAL: (
            2_400,
            lambda k: scratch(k, lr=1e-4, head_lr=1e-4, epochs=20, batch_size=BATCH, patience=5),
        ),
    }
    ledger = Ledger("from_scratch")
    for seed in range(asked.seeds):
        for name, (n, plan) in plans.items():
            train = subset(table, n, seed)
            ledger.cell(
                lambda p=plan, t=train, s=seed: trained(p, t, tests, seed=s, validation=validation),
                method=name,
                seed=seed,
            )
    for name in ("full", "probe", "probe, 48 rows"):
        for rival in ("scratch", RIVAL):
            print(f"{name} against {rival}: {ledger.paired(name, rival)}")


if __name__ == "__main__":
    main()
