"""A second map, in which near items stay near: t-SNE, fitted once on the items before and after.

Both sets are brought to the same centre and spread as for the linear map, and laid out together:
an item that moved relative to the others moved in the picture. Distances between groups, and
their sizes, mean little in such a map.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graft.api.mapping import standardised
from graft.report.facts import FeatureMap, MapSide

MOST_ROWS = 500
"""Before and after together twice as many points, laid out in some seconds."""

FEWEST_ROWS = 8
PERPLEXITY = 30
ABSENT = "a second map, t-SNE, is drawn where its library is installed: pip install 'graft[report]'"


def rows_of_near_map(n_rows: int) -> np.ndarray:
    """Return which of K rows the map shows: all, or as many as are laid out in some seconds."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, MOST_ROWS)).astype(np.int64))


def near_map(
    before: np.ndarray | None,
    after: np.ndarray,
    groups: Sequence[str],
    n_rows: int,
) -> tuple[FeatureMap | None, str]:
    """Return the map, or None and why there is none, in one line.

    Args:
        before: (K, D) features in the untouched backbone, or None.
        after: (K, D) in the trained network, of the same rows.
        groups: (K,) names of the classes that have a colour, empty for other rows.
        n_rows: rows that are held out.

    Source: L. van der Maaten, G. Hinton, Visualizing Data using t-SNE, JMLR 9 (2008); as openTSNE
    computes it (P. G. Poličar, M. Stražar, B. Zupan, JSS 109, 2024).
    """
    drawn = rows_of_near_map(len(after))
    sets = [s[drawn] for s in (before, after) if s is not None]
    kept = np.logical_and.reduce([np.isfinite(features).all(1) for features in sets])
    if kept.sum() < FEWEST_ROWS:
        return None, ""
    try:
        flat = _laid_out(np.concatenate([standardised(features[kept]) for features in sets]))
    except ImportError:
        return None, ABSENT
    except Exception as error:  # of a library, and a picture is no reason to lose a training
        return (
            None,
            f"a second map, t-SNE, could not be drawn: {' '.join(str(error).split())[:120]}",
        )
    sides = [_side(points) for points in np.split(flat, len(sets))]
    return FeatureMap(
        n_rows,
        tuple(groups[i] for i in drawn[kept].tolist()),
        (),
        (False,) * int(kept.sum()),
        after=sides[-1],
        before=sides[0] if len(sides) > 1 else None,
    ), ""


def _laid_out(points: np.ndarray) -> np.ndarray:
    """Return points (N, D) in two dimensions (N, 2), the same every time."""
    from openTSNE import TSNE

    fitted = TSNE(
        perplexity=min(PERPLEXITY, (len(points) - 1) / 3),
        initialization="pca",
        neighbors="exact",
        negative_gradient_method="bh",
        n_jobs=1,
        random_state=0,
    ).fit(points.astype(np.float32))
    return np.asarray(fitted, np.float64)


def _side(points: np.ndarray) -> MapSide:
    x, y = (tuple(np.round(points[:, axis], 3).tolist()) for axis in (0, 1))
    return MapSide(x, y, 0.0)
