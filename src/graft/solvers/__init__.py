"""Solve the convex phase of transfer learning: linear heads on frozen features, exactly.

Features come in, a weight and a bias in float64 go out, with a record of how they were reached.
Nothing here knows a network, an optimiser or a learning rate, and no clock or seed decides
anything.

    features ─read_rows→ Rows ─┐
    targets ──────────────────→ Family ─minimise→ Minimum ─→ Solution ─search→ Search

Conventions:
    N examples, D feature width, C classes (T targets of a regression), F problems solved together
    (the folds), L penalties.
    features (N, D) float32, a tensor, an array or a memory map; read in blocks of rows, never
    copied as a whole. Targets (N,) or (N, C). Weight (C, D), bias (C,): scores = x W^T + b.
    l2 is the factor of ||W||^2 / 2 beside a *mean* loss. The bias is never penalised.

Memory beyond the features: two blocks of rows and N row numbers at most, F * C * D numbers for
each vector of the solver, two (D, D) matrices, and N * F * C probabilities as long as these stay
below half the features' bytes (or 64 MiB); otherwise they are computed anew in each product.
Where classes have blocks of their own (`blocks.py`), these and a sample of the features: 256 and
64 MiB at most, some twice.
"""

from graft.solvers.logistic import fit_logistic, fit_multilabel
from graft.solvers.ridge import ridge_path
from graft.solvers.search import Search, search_l2
from graft.solvers.search_ridge import search_ridge
from graft.solvers.solution import Solution

__all__ = [
    "Search",
    "Solution",
    "fit_logistic",
    "fit_multilabel",
    "ridge_path",
    "search_l2",
    "search_ridge",
]
