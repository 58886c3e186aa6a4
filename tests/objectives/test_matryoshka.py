"""Matryoshka around any objective: the weighted mean over embeddings cut to their beginnings."""

from __future__ import annotations

import pytest
import torch

from graft.errors import InputError
from graft.objectives.info_nce import info_nce
from graft.objectives.matryoshka import matryoshka
from graft.objectives.proxies import proxy_nca
from graft.objectives.scored_pairs import cosent
from graft.objectives.triplet import triplet
from tests.objectives.points import LABELS, hold_gradient, hold_same, points

X, Y = points(), points(height=0.8)
SCORES = torch.linspace(0, 1, 8)


def test_info_nce_is_the_weighted_mean_over_widths():
    nested = matryoshka(info_nce, (1, 2, 3), dim_weights=(1, 2, 5))
    losses, weights = nested(X, Y, X.flip(0), temperature=0.3)
    parts = [info_nce(X[:, :d], Y[:, :d], X.flip(0)[:, :d], temperature=0.3)[0] for d in (1, 2, 3)]
    torch.testing.assert_close(losses, (parts[0] + 2 * parts[1] + 5 * parts[2]) / 8)
    assert weights.tolist() == [1.0] * 8


def test_what_is_not_an_embedding_is_not_cut():
    nested = matryoshka(cosent, (2, 3))
    expected = (cosent(X[:, :2], Y[:, :2], SCORES)[0] + cosent(X, Y, SCORES)[0]) / 2
    torch.testing.assert_close(nested(X, Y, SCORES)[0], expected)
    three = slice(0, 3)  # three labels, as many as an embedding is wide
    found = matryoshka(proxy_nca, (2,))(X[three], LABELS[three], proxies=X[4:])
    expected = proxy_nca(X[three, :2], LABELS[three], X[4:, :2])
    torch.testing.assert_close(found[0], expected[0])


def test_counts_are_averaged_as_losses_are():
    nested = matryoshka(triplet, (2, 3))
    losses, weights = nested(X, LABELS, mining="active", margin=0.3)
    parts = [triplet(x, LABELS, mining="active", margin=0.3) for x in (X[:, :2], X)]
    torch.testing.assert_close(losses, (parts[0][0] + parts[1][0]) / 2)
    torch.testing.assert_close(weights, (parts[0][1] + parts[1][1]) / 2)


def test_gradients_and_tiles():
    nested = matryoshka(info_nce, (2, 3))
    hold_gradient(lambda x, y: nested(x, y, temperature=0.3), X, Y)
    hold_same(
        lambda x, y: nested(x, y, temperature=0.3),
        lambda x, y: nested(x, y, temperature=0.3, block=3),
        [X, Y],
    )


def test_the_full_width_alone_is_the_objective():
    torch.testing.assert_close(matryoshka(info_nce, (3,))(X, Y), info_nce(X, Y))


@pytest.mark.parametrize(
    ("dims", "weights"), [((), None), ((0, 2), None), ((2,), (1, 2)), ((2,), (0,)), ((2,), (-1,))]
)
def test_wrong_widths_are_refused(dims, weights):
    with pytest.raises(InputError, match="matryoshka"):
        matryoshka(info_nce, dims, dim_weights=weights)


def test_a_width_beyond_the_embeddings_is_refused():
    with pytest.raises(InputError, match="only 3"):
        matryoshka(info_nce, (4,))(X, Y)
