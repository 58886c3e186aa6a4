"""Time the convex phase against scikit-learn in the same run.

    python benchmarks/solver.py --threads 2 --json solver.json

Prints one row per problem: a search over 25 penalties with 5 folds, and one fit against
scikit-learn's LogisticRegression on the same objective. The machine's speed cancels in the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

SHAPES = ((10_000, 512, 10), (10_000, 384, 77))
SEARCH_L2 = 1e-3


def draw(n: int, d: int, c: int) -> tuple:
    """Return features (n, d) with a decaying spectrum, and classes (n,) with label noise."""
    import numpy as np

    rng = np.random.default_rng(0)
    spread = np.arange(1, d + 1) ** -0.5
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    latent = rng.normal(size=(n, d)) * spread
    scores = latent @ (rng.normal(size=(d, c)) * np.sqrt(spread)[:, None]) * (16 / d**0.5)
    labels = (scores + rng.gumbel(size=(n, c))).argmax(1)
    return (latent @ turn + 0.3).astype(np.float32), labels


def timed(work: Callable) -> tuple:
    """Return what `work` returns, and its seconds."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def measure(n: int, d: int, c: int, *, with_scikit: bool) -> dict:
    """Return one row of the table."""
    import numpy as np
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    from graft.solvers import fit_logistic, search_l2

    x, y = draw(n, d, c)
    folds = np.arange(n) % 5
    fit_logistic(x[:500], y[:500] % 2, l2=1.0)  # the first call pays for starting the threads
    early, early_s = timed(lambda: search_l2(x, y, folds=folds))
    ours, ours_s = timed(lambda: fit_logistic(x, y, l2=SEARCH_L2))
    row = {
        "shape": [n, d, c],
        "search_s": early_s,
        "search_n_l2s": len(early.l2s),
        "fit_s": ours_s,
        "fit_gradient_norm": ours.gradient_norm,
    }
    if c <= 10:  # with many classes the small penalties overfit hard, and take a minute
        whole, whole_s = timed(lambda: search_l2(x, y, folds=folds, patience=None))
        row["search_all_s"], row["search_all_n_l2s"] = whole_s, len(whole.l2s)
        row["same_choice"] = early.l2 == whole.l2
    if with_scikit:
        for solver, tol in (("lbfgs", 1e-4), ("lbfgs", 1e-8)):
            model = LogisticRegression(
                C=1 / (SEARCH_L2 * n), solver=solver, tol=tol, max_iter=10_000
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                _, seconds = timed(lambda model=model: model.fit(x.astype(np.float64), y))
            z = x.astype(np.float64) @ model.coef_.T + model.intercept_
            z -= z.max(1, keepdims=True)
            loss = (np.log(np.exp(z).sum(1)) - z[np.arange(n), y]).mean()
            theirs = loss + SEARCH_L2 / 2 * (model.coef_**2).sum()
            row[f"{solver}_{tol:g}_s"] = seconds
            row[f"{solver}_{tol:g}_ratio"] = seconds / ours_s
            row[f"{solver}_{tol:g}_excess"] = theirs / ours.objective - 1
    return row


def main() -> int:
    """Print the table, and write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--no-scikit", action="store_true")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import torch

    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads, 5 folds")
    rows = []
    for shape in SHAPES:
        row = measure(*shape, with_scikit=not options.no_scikit)
        rows.append(row)
        print("×".join(map(str, shape)))
        for name, value in row.items():
            if name != "shape":
                shown = f"{value:.3g}" if isinstance(value, float) else value
                print(f"  {name:24} {shown}", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"threads": options.threads, "rows": rows}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
