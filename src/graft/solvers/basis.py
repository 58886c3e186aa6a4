"""The preconditioner: the Hessian as a Kronecker product, inverted exactly with its penalty.

The Hessian of a linear model is a sum over rows, sum_i v_i H_i (x) x_i x_i^T, with H_i (C, C) the
loss's second derivative. Its nearest cheap relative is one product A (x) S, with A the mean of
H_i and S the covariance of the features under weights trace(H_i). With A = Q a Q^T and
S = V s V^T, the matrix A (x) S + l2 I is diagonal in the basis Q (x) V, for every l2 at once.

Source: the factorisation is that of Martens and Grosse (2015), "Optimizing neural networks with
Kronecker-factored approximate curvature", for one layer; here the damping is the true penalty,
so it is exact and not a choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from graft.solvers.family import Family, Point
from graft.solvers.rows import Rows

FLAT = 1e-5  # least share of the largest eigenvalue that float32 serves
SAMPLE_FACTOR = 16  # rows per column that give a covariance good enough to precondition with


@dataclass(frozen=True, eq=False)
class Basis:
    """Hold the eigenbasis of a weighted covariance of the features.

    Args:
        centre: (D,) the weighted mean.
        vectors: (D, R) orthonormal columns, R the smaller of rows used and D.
        values: (R,) eigenvalues.
    """

    centre: Tensor
    vectors: Tensor
    values: Tensor

    def inverse(self, family: Family, point: Point, *, l2: float) -> Preconditioner:
        """Return the preconditioner of `family` at `point`."""
        curvature = point.class_curvature
        vectors = None
        if curvature.ndim == 3:
            values, vectors = torch.linalg.eigh(curvature)
        else:
            values = curvature
        values = values.clamp(min=0)
        floor = 1e-12 * values.amax(dim=1, keepdim=True).clamp(min=1e-280)
        scale = 1 / (values[..., None] * self.values + l2)
        complete = self.vectors.shape[0] == self.vectors.shape[1]
        # Outside of a basis that is not complete the inverse is 1 / l2, which would blow up
        # whatever rounding puts there, and so it would inside where l2 is next to nothing.
        narrow = complete and bool((scale.amin() >= FLAT * scale.amax()).all())
        return Preconditioner(
            self.centre,
            self.vectors.float() if narrow else self.vectors,
            vectors,
            scale,
            rest_scale=0.0 if complete else 1 / l2,
            bias_scale=1 / (values + floor),
            moves=family.moves.to(values.dtype),
            shift_free=family.link.shift_free,
        )


def decompose(rows: Rows, row_weights: Tensor) -> Basis:
    """Return the eigenbasis of the covariance of `rows` under `row_weights` (N,).

    With fewer rows than columns, only the space that the rows span is decomposed. Far more rows
    than columns are thinned evenly: a preconditioner needs no more than a good sample.
    """
    stride = max(1, rows.n_rows // (SAMPLE_FACTOR * rows.width))
    share = row_weights[::stride]
    share = share / share.sum().clamp(min=1e-300)
    thin = Rows(rows.features[::stride], rows.mean, rows.variance)
    wide = thin.n_rows < thin.width
    # What float32 puts outside of the space of few rows would be blown up by 1 / l2.
    dtype = torch.float64 if wide else torch.float32
    root = share.sqrt().to(dtype)[:, None]
    mean = rows.mean.to(dtype)
    offset = torch.zeros_like(rows.mean)
    gram = torch.zeros(2 * (thin.width,), dtype=torch.float64, device=rows.device)
    pieces = []
    for span in thin.spans():
        block = (thin.block(span, dtype) - mean) * root[span]
        offset += (block.T @ root[span])[:, 0]
        if wide:
            pieces.append(block)
        else:
            gram += block.T @ block
    centre = rows.mean + offset
    if not wide:
        gram -= torch.outer(offset, offset)
        values, vectors = torch.linalg.eigh(gram)
        return Basis(centre, vectors, values.clamp_(min=0))
    flat = torch.cat(pieces) - root * offset
    vectors, triangle = torch.linalg.qr(flat.T)
    values, turn = torch.linalg.eigh(triangle @ triangle.T)
    return Basis(centre, vectors @ turn, values.clamp_(min=0))


def decompose_cost(rows: Rows) -> float:
    """Return the cost of `decompose` in float32 operations: 30 n^3 for n eigenvectors."""
    n = min(rows.n_rows, 2 * SAMPLE_FACTOR * rows.width)
    side = min(n, rows.width)
    return 2.0 * n * rows.width * side + 30.0 * side**3


@dataclass(frozen=True, eq=False)
class Preconditioner:
    """Hold A (x) S + l2 I, diagonal in the basis of both.

    Args:
        centre: (D,) what features are measured from.
        vectors: (D, R) of the features, in float32 where that is exact enough: twice as fast.
        class_vectors: (F, C, C), or None where A is taken as diagonal.
        weight_scale: (F, C, R) inverse eigenvalues inside the basis.
        rest_scale: inverse eigenvalue outside of it; zero where the basis is complete.
        bias_scale: (F, C).
        moves: (F, C) float64, one where a class is learned and zero where it stays as it is: its
            curvature is zero, so rounding alone would say where it goes.
        shift_free: keep the bias free of the direction that changes nothing.
    """

    centre: Tensor
    vectors: Tensor
    class_vectors: Tensor | None
    weight_scale: Tensor
    rest_scale: float
    bias_scale: Tensor
    moves: Tensor
    shift_free: bool

    def apply(self, residual: Tensor) -> Tensor:
        """Return the inverse times `residual`, both (F, C, D + 1), bias about the centre."""
        q = self.class_vectors
        turned = residual if q is None else q.transpose(1, 2) @ residual
        vectors = self.vectors
        inner = turned[..., :-1].to(vectors.dtype) @ vectors
        scaled = inner * self.weight_scale.to(vectors.dtype)
        weight = (scaled @ vectors.T).to(residual.dtype)
        if self.rest_scale:
            weight += self.rest_scale * (turned[..., :-1] - inner @ vectors.T)
        bias = turned[..., -1] * self.bias_scale
        out = torch.cat([weight, bias[..., None]], dim=-1)
        out = (out if q is None else q @ out) * self.moves[..., None]
        if self.shift_free:
            mean = out[..., -1].sum(dim=1) / self.moves.sum(dim=1)
            out[..., -1] -= mean[:, None] * self.moves
        return out
