"""Parts leave out what counts nothing, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from graft.solvers import parts
from graft.solvers.family import Family, evaluate, hessian_product
from graft.solvers.held_out import by_folds
from graft.solvers.link import Softmax
from graft.solvers.logistic import single
from graft.solvers.rows import read_rows
from graft.solvers.targets import read_targets


def folded(monkeypatch, n=1500, d=6, c=70, n_folds=4, *, together=False):
    """Return a family wide enough to be parted, in blocks of 256 rows."""
    monkeypatch.setattr("graft.solvers.rows.BLOCK_ELEMENTS", 1)
    rng = np.random.default_rng(0)
    y = np.arange(n) % c
    rows = read_rows((rng.normal(size=(c, d))[y] + rng.normal(size=(n, d))).astype(np.float32))
    known = read_targets(torch.from_numpy(y), n_rows=n, device=rows.device)
    ones = torch.ones(n, dtype=torch.float64)
    everything = single(Family(rows, known, Softmax(), ones[:, None], ones.new_zeros(0)))
    folds = torch.from_numpy(rng.permutation(n) % n_folds)
    if together:
        folds = folds.sort().values
    return by_folds(everything, ones, folds)[0], folds


def test_every_row_is_in_one_part_without_the_problem_that_holds_it_out(monkeypatch):
    family, folds = folded(monkeypatch)
    assert {part.absent for part in family.parts} == {0, 1, 2, 3}
    rows = torch.cat([part.rows for part in family.parts])
    assert sorted(rows.tolist()) == list(range(1500))
    places = [i for part in family.parts for i in range(part.place.start, part.place.stop)]
    assert places == list(range(1500))
    for part in family.parts:
        assert (folds[part.rows] == part.absent).all()
        assert part.rows.diff().min() > 0


def test_parts_give_what_whole_blocks_give(monkeypatch):
    family, _ = folded(monkeypatch)
    monkeypatch.setattr(parts, "LEAST_COLUMNS", 10**9)
    whole = folded(monkeypatch)[0]
    assert len(whole.parts) == 6 and all(part.absent is None for part in whole.parts)
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 70, 6, generator=random, dtype=torch.float64)
    bias = torch.randn(4, 70, generator=random, dtype=torch.float64)
    one, two = (evaluate(f, weight, bias, l2=0.1) for f in (family, whole))
    for name in ("objective", "gradient", "class_curvature", "row_curvature"):
        torch.testing.assert_close(getattr(one, name), getattr(two, name))
    direction = torch.randn(4, 70, 7, generator=random, dtype=torch.float64)
    first, second = (
        hessian_product(f, p, direction, centre=f.rows.mean, l2=0.1, dtype=torch.float64)
        for f, p in ((family, one), (whole, two))
    )
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize("why", ["narrow", "short", "counted"])
def test_rows_stay_in_order_where_parting_pays_nothing(monkeypatch, why):
    if why == "narrow":
        family, _ = folded(monkeypatch, c=10)
    elif why == "short":
        family, _ = folded(monkeypatch, n=700)
    else:
        family, _ = folded(monkeypatch)
        weights = family.weights.clone()
        weights[3] = 0.1  # a row that every problem counts
        family = Family(family.rows, family.targets, family.link, weights, family.offset)
    assert all(isinstance(part.rows, slice) for part in family.parts)


def test_folds_that_lie_together_make_no_part_larger_than_two_blocks(monkeypatch):
    family, _ = folded(monkeypatch, n=5000, n_folds=4, together=True)
    assert max(len(part.rows) for part in family.parts) <= 2 * 256
    assert sum(len(part.rows) for part in family.parts) == 5000
