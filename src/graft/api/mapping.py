"""The map of features: held-out rows in two dimensions, before and after training.

Both sets of features are centred and brought to one total variance, and one pair of directions is
found for both together: the principal components of all points. So what moved between the two
pictures moved in the features, and not because the picture was turned.

Shapes: K rows, D width, G classes that have a colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from graft.report.facts import Centre, MapSide, Region
from graft.solvers import fit_logistic

MOST_ROWS = 2_000
MOST_COLOURS = 8
MARGIN = 0.06
N_CORNERS = 36
"""Of an ellipse."""

L2 = 1e-3


def drawn_rows(n_rows: int, most: int = MOST_ROWS) -> np.ndarray:
    """Return the numbers of the rows that are shown: all, or as many as the page can hold."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, most)).astype(np.int64))


def lay_out(
    sets: Sequence[np.ndarray], groups: Sequence[str], *, is_divided: bool
) -> tuple[MapSide, ...]:
    """Return one picture for each set of features of the same rows.

    Args:
        sets: each (K, D).
        groups: (K,) names of the classes that have a colour, empty for other rows.
        is_divided: draw where a linear classifier of the two coordinates puts each class.
    """
    alike = [standardised(features) for features in sets]
    basis = principal_directions(np.concatenate(alike))
    flat = [features @ basis for features in alike]
    everything = np.concatenate(flat)
    low, high = everything.min(0), everything.max(0)
    pad = MARGIN * np.maximum(high - low, 1e-9)
    box = (low - pad, high + pad)
    return tuple(
        _side(points, float(np.square(points).sum(1).mean()), groups, box, is_divided)
        for points in flat
    )


def standardised(features: np.ndarray) -> np.ndarray:
    """Return features (K, D) with mean zero and a total variance of one."""
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    spread = np.sqrt(np.square(centred).sum(1).mean())
    return centred / max(float(spread), 1e-12)


def principal_directions(points: np.ndarray) -> np.ndarray:
    """Return the two directions (D, 2) of most variance of centred points.

    The largest entry of each is positive, so the picture is the same every time.
    """
    n_rows, width = points.shape
    if width <= n_rows:
        vectors = np.linalg.eigh(points.T @ points)[1][:, ::-1][:, :2]
    else:
        values, left = np.linalg.eigh(points @ points.T)
        values, left = np.maximum(values[::-1][:2], 1e-24), left[:, ::-1][:, :2]
        vectors = points.T @ left / np.sqrt(values)
    if vectors.shape[1] < 2:
        vectors = np.pad(vectors, ((0, 0), (0, 1)))
    largest = np.abs(vectors).argmax(0)
    signs = np.sign(vectors[largest, np.arange(2)])
    return vectors * np.where(signs == 0, 1, signs)


def _side(
    points: np.ndarray,
    explained: float,
    groups: Sequence[str],
    box: tuple[np.ndarray, np.ndarray],
    is_divided: bool,
) -> MapSide:
    names = sorted({name for name in groups if name})
    named = np.asarray(groups, dtype=object)
    centres = tuple(Centre(name, *_rounded(points[named == name].mean(0))) for name in names)
    regions: tuple[Region, ...] = ()
    separable = None
    if is_divided and len(names) > 1:
        chosen = points[named != ""]
        numbers = np.asarray([names.index(g) for g in groups if g], np.int64)
        solution = fit_logistic(chosen.astype(np.float32), numbers, l2=L2)
        weight, bias = solution.weight.cpu().numpy(), solution.bias.cpu().numpy()
        separable = float(((chosen @ weight.T + bias).argmax(1) == numbers).mean())
        regions = tuple(
            Region(name, _rounded(corners[:, 0]), _rounded(corners[:, 1]))
            for i, name in enumerate(names)
            if len(corners := winning_region(weight, bias, i, box)) > 2
        )
    x, y = _rounded(points[:, 0]), _rounded(points[:, 1])
    return MapSide(x, y, min(explained, 1.0), centres, regions, separable)


def with_spreads(side: MapSide, groups: Sequence[str]) -> MapSide:
    """Add to each coloured class of three rows or more an ellipse of one standard deviation.

    Args:
        groups: (K,) as for `lay_out`.
    """
    points, named = np.stack([side.x, side.y], axis=1), np.asarray(groups, dtype=object)
    turns = np.linspace(0, 2 * np.pi, N_CORNERS, endpoint=False)
    circle = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    spreads = []
    for centre in side.centres:
        own = points[named == centre.name]
        if len(own) < 3:
            continue
        variances, axes = np.linalg.eigh(np.cov(own.T))
        corners = own.mean(0) + circle * np.sqrt(np.maximum(variances, 0)) @ axes.T
        spreads.append(Region(centre.name, _rounded(corners[:, 0]), _rounded(corners[:, 1])))
    return replace(side, spreads=tuple(spreads))


def winning_region(
    weight: np.ndarray, bias: np.ndarray, i: int, box: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Return the corners (P, 2) of where class `i` scores highest; none where it never does.

    Args:
        weight: (G, 2) of linear scores.
        bias: (G,).
        box: lower left and upper right corner of the picture.
    """
    (left, bottom), (right, top) = box
    corners = np.array([[left, bottom], [right, bottom], [right, top], [left, top]])
    for j in range(len(bias)):
        if j != i and len(corners):
            corners = _clipped(corners, weight[i] - weight[j], float(bias[i] - bias[j]))
    return corners


def _clipped(corners: np.ndarray, normal: np.ndarray, offset: float) -> np.ndarray:
    """Return the part of a convex polygon where `normal · x + offset` is not negative.

    Source: I. E. Sutherland, G. W. Hodgman, Reentrant Polygon Clipping (1974), one edge of it.
    """
    sides = corners @ normal + offset
    kept = []
    for k in range(len(corners)):
        before, here = sides[k - 1], sides[k]
        if (before < 0) != (here < 0):
            share = before / (before - here)
            kept.append(corners[k - 1] + share * (corners[k] - corners[k - 1]))
        if here >= 0:
            kept.append(corners[k])
    return np.asarray(kept).reshape(-1, 2)


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    """Return numbers with as many digits as a picture can show."""
    return tuple(np.round(values, 4).tolist())
