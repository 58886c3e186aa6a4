"""The linear probe of CLIP's paper against ours: how well and how cheaply is l2 found?

    python benchmarks/literature/clip_protocol.py --seeds 5 --threads 1

Radford et al. 2021, appendix A.3: scikit-learn's L-BFGS logistic regression with at most 1,000
iterations, C swept over 96 values from 1e-6 to 1e6 on a validation split, then trained on both
parts. Ours: folds along one warm-started path. Both read the same features, those of MiniLM; the
seed draws rows and split. `seconds` are processor time of search and final fit.
"""

from __future__ import annotations

import time
import warnings

import numpy as np
from ledger import Ledger, open_text, options, shared, subset

SETS = {"sst2": (1000, 1000), "banking77": (1540, 1000)}
N_VALUES, VALIDATION = 96, 0.2


def main() -> None:
    asked = options(__doc__, seeds=5)
    from graft.data.readers import read

    ledger = Ledger("clip_protocol")
    for data, (n_train, n_test) in SETS.items():
        table = read(shared("data", data, "train.csv"))
        test = subset(read(shared("data", data, "test.csv")), n_test, 0)
        names = sorted(set(table.labels()))
        held: dict[str, tuple[np.ndarray, np.ndarray]] = {}

        def both(train, seed, name, test=test, names=names, held=held) -> dict[str, float]:
            """Return the figures of one way, on features encoded once."""
            if "test" not in held:
                held["test"] = features(test), numbers(test, names)
            key = f"train {seed}"
            if key not in held:
                held[key] = features(train), numbers(train, names)
            return WAYS[name](*held[key], *held["test"], seed)

        for seed in range(asked.seeds):
            train = subset(table, n_train, seed)
            for name in WAYS:
                ledger.cell(
                    lambda t=train, s=seed, n=name, b=both: b(t, s, n),
                    data=data,
                    method=name,
                    seed=seed,
                )
    for data in SETS:
        part = Ledger("clip_protocol")
        part.rows = [r for r in part.rows if r["data"] == data]
        print(f"{data}: {part.paired('graft', 'CLIP')}")
        for name in WAYS:
            rows = [r["seconds"] for r in part.rows if r["method"] == name]
            print(f"  {name}: {np.median(rows):.1f} s")


def features(table) -> np.ndarray:
    """Return (N, D) of MiniLM."""
    from graft.engine.predict import feature_rows
    from graft.tasks.labelled import table_stream

    backbone = open_text()
    backbone.eval()
    return feature_rows(backbone, table_stream(table, backbone, {})["train"])


def numbers(table, names: list[str]) -> np.ndarray:
    """Return (N,) the number of each row's class."""
    return np.asarray([names.index(label) for label in table.labels()])


def by_clip(x, y, x_test, y_test, seed: int) -> dict[str, float]:
    """Sweep C over 96 values on a validation split, then fit on all rows."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    began = time.process_time()
    x_fit, x_val, y_fit, y_val = train_test_split(
        x, y, test_size=VALIDATION, random_state=seed, stratify=y
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = [
            LogisticRegression(C=c, max_iter=1000).fit(x_fit, y_fit).score(x_val, y_val)
            for c in np.logspace(-6, 6, N_VALUES)
        ]
        best = float(np.logspace(-6, 6, N_VALUES)[int(np.argmax(scores))])
        fitted = LogisticRegression(C=best, max_iter=1000).fit(x, y)
    seconds = time.process_time() - began
    return {"accuracy": float(fitted.score(x_test, y_test)), "seconds": seconds, "C": best}


def by_graft(x, y, x_test, y_test, seed: int) -> dict[str, float]:
    """Search l2 along a path over folds, and solve."""
    from graft.data.split import folds
    from graft.solvers import search_l2

    began = time.process_time()
    found = search_l2(x, y, folds=folds(y, 5, seed), n_classes=int(y.max()) + 1)
    seconds = time.process_time() - began
    weight, bias = (np.asarray(t) for t in (found.solution.weight, found.solution.bias))
    answers = (x_test @ weight.T + bias).argmax(1)
    return {"accuracy": float((answers == y_test).mean()), "seconds": seconds, "l2": found.l2}


WAYS = {"CLIP": by_clip, "graft": by_graft}

if __name__ == "__main__":
    main()
