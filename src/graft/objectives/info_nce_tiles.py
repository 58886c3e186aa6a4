"""InfoNCE of a batch, whole or in tiles of its N × N matrix of similarities.

With s the own pair's logit and L = log Σ exp of the logits of all rivals, an item's loss is
softplus(L − s). In tiles L is collected on the way forward; on the way back each tile is made
again, and the gradient of its logits, exp(logit − log(exp L + exp s)), goes through that tile's own
graph. So normalising is done tile by tile too, and besides embeddings and gradients nothing of
the size of the batch is stored but a few numbers for each row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graft.objectives.distances import elementwise, pairwise, wide
from graft.objectives.pairs import is_some, log_sum_exp
from graft.objectives.tiles import spans


@dataclass(frozen=True)
class Contrast:
    """Hold what is set against what; see `info_nce` for the fields."""

    distance: str
    symmetric: bool
    ids: Tensor | None = None
    negative_ids: Tensor | None = None
    guard: float | None = None

    def rivals(
        self, similarity: Tensor, own: Tensor, rows: slice, columns: slice, *, paired: bool
    ) -> tuple[Tensor, Tensor]:
        """Return which candidates count against each row's anchor, and against each column's.

        Args:
            similarity: (B, M) of a tile, before the temperature.
            own: (N,) similarities of the pairs.
            rows: the tile's anchors.
            columns: the tile's candidates.
            paired: whether candidates are the anchors' positives, or negatives of nobody.

        Returns:
            two masks (B, M); the second means something only for `paired`.
        """
        device = similarity.device
        apart = torch.ones_like(similarity, dtype=torch.bool)
        candidate_ids = self.ids if paired else self.negative_ids
        if paired:
            row_places = torch.arange(rows.start, rows.stop, device=device)
            apart &= row_places[:, None] != torch.arange(columns.start, columns.stop, device=device)
        if self.ids is not None and candidate_ids is not None:
            apart &= self.ids[rows, None] != candidate_ids[columns]
        if self.guard is None:
            return apart, apart
        by_row = apart & (similarity <= own[rows, None] + self.guard)
        if not (paired and self.symmetric):
            return by_row, by_row
        return by_row, apart & (similarity <= own[columns] + self.guard)


def whole(
    case: Contrast, anchors: Tensor, positives: Tensor, negatives: Tensor | None, tau: Tensor
) -> tuple[Tensor, Tensor]:
    """Return losses and weights (N,) from the whole matrix."""
    everything = slice(0, len(anchors))
    own = -elementwise(anchors, positives, case.distance)
    similarity = -pairwise(anchors, positives, case.distance)
    by_row, by_column = case.rivals(
        similarity.detach(), own.detach(), everything, everything, paired=True
    )
    sums = [log_sum_exp(similarity / tau, by_row)]
    if negatives is not None:
        more = -pairwise(anchors, negatives, case.distance)
        columns = slice(0, len(negatives))
        mask, _ = case.rivals(more.detach(), own.detach(), everything, columns, paired=False)
        sums[0] = torch.logaddexp(sums[0], log_sum_exp(more / tau, mask))
    if case.symmetric:
        sums.append(log_sum_exp(similarity / tau, by_column, dim=0))
    return _losses(sums, own / tau)


def in_tiles(
    case: Contrast,
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor | None,
    tau: Tensor,
    edge: int,
) -> tuple[Tensor, Tensor]:
    """Return losses and weights (N,) from tiles of `edge` rows and columns."""
    losses, weights = _Tiled.apply(case, edge, anchors, positives, negatives, tau)
    return losses, weights


def _losses(sums: list[Tensor], own: Tensor) -> tuple[Tensor, Tensor]:
    losses, weights = torch.zeros_like(own), torch.zeros_like(own)
    for log_sums in sums:
        holds = is_some(log_sums)
        # softplus itself is cut off at 20, which shows in float64
        missed = torch.logaddexp(log_sums - own, torch.zeros_like(own))
        losses = losses + missed.masked_fill(~holds, 0) / len(sums)
        weights = weights + holds.to(own.dtype) / len(sums)
    return losses, weights


class _Tiled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        case: Contrast,
        edge: int,
        anchors: Tensor,
        positives: Tensor,
        negatives: Tensor | None,
        tau: Tensor,
    ) -> tuple[Tensor, Tensor]:
        own = _own_similarity(case, edge, anchors, positives)
        sums = _log_sums(case, edge, anchors, positives, negatives, tau, own)
        ctx.case, ctx.edge = case, edge
        ctx.save_for_backward(anchors, positives, negatives, tau, own, *sums)
        losses, weights = _losses(sums, own / tau)
        ctx.mark_non_differentiable(weights)
        return losses, weights

    @staticmethod
    @once_differentiable
    def backward(  # pyrefly: ignore[bad-override] - once_differentiable loses the name of ctx
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor | None, ...]:
        anchors, positives, negatives, tau, own, *sums = ctx.saved_tensors
        way = _WayBack(ctx.case, tau, own, sums, grad_outputs[0], ctx.needs_input_grad[2:])
        return None, None, *way.run(anchors, positives, negatives, ctx.edge)


def _own_similarity(case: Contrast, edge: int, anchors: Tensor, positives: Tensor) -> Tensor:
    own = torch.empty(len(anchors), dtype=wide(anchors[:0]).dtype, device=anchors.device)
    for rows in spans(len(own), edge):
        own[rows] = -elementwise(anchors[rows], positives[rows], case.distance)
    return own


def _log_sums(
    case: Contrast,
    edge: int,
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor | None,
    tau: Tensor,
    own: Tensor,
) -> list[Tensor]:
    """Return log Σ exp of each anchor's rivals' logits (N,) and, if symmetric, each positive's."""
    lowest = torch.full_like(own, torch.finfo(own.dtype).min)
    sums = [lowest, lowest.clone()] if case.symmetric else [lowest]
    for rows in spans(len(own), edge):
        for columns in spans(len(own), edge):
            tile = -pairwise(anchors[rows], positives[columns], case.distance)
            by_row, by_column = case.rivals(tile, own, rows, columns, paired=True)
            tile /= tau
            _add(sums[0], rows, log_sum_exp(tile, by_row))
            if case.symmetric:
                _add(sums[1], columns, log_sum_exp(tile, by_column, dim=0))
        if negatives is not None:
            for columns in spans(len(negatives), edge):
                tile = -pairwise(anchors[rows], negatives[columns], case.distance)
                mask, _ = case.rivals(tile, own, rows, columns, paired=False)
                _add(sums[0], rows, log_sum_exp(tile / tau, mask))
    return sums


def _add(log_sums: Tensor, places: slice, more: Tensor) -> None:
    log_sums[places] = torch.logaddexp(log_sums[places], more)


class _WayBack:
    """Collect the gradients of one batch, tile by tile."""

    def __init__(
        self,
        case: Contrast,
        tau: Tensor,
        own: Tensor,
        sums: list[Tensor],
        gradient: Tensor,
        needed: tuple[bool, ...],
    ) -> None:
        self.case, self.tau, self.own, self.needed = case, tau, own, needed
        self.share = gradient / len(sums)
        self.totals = [torch.logaddexp(log_sums, own / tau) for log_sums in sums]
        # of the own pair's logit: minus the probability of all rivals together
        pulls = [-torch.sigmoid(log_sums - own / tau) for log_sums in sums]
        self.own_gradient = self.share * torch.stack(pulls).sum(0)
        self.tau_gradient = torch.zeros((), dtype=torch.float64)

    def run(
        self, anchors: Tensor, positives: Tensor, negatives: Tensor | None, edge: int
    ) -> tuple[Tensor | None, ...]:
        """Return the gradients of anchors, positives, negatives and temperature."""
        found = [
            torch.zeros_like(x, dtype=self.own.dtype) if x is not None and need else None
            for x, need in zip((anchors, positives, negatives), self.needed, strict=False)
        ]
        n = len(anchors)
        for rows in spans(n, edge):
            self._own_pairs(anchors, positives, found, rows)
            for columns in spans(n, edge):
                self._tile(anchors, positives, found[0], found[1], rows, columns, paired=True)
            if negatives is not None:
                for columns in spans(len(negatives), edge):
                    self._tile(anchors, negatives, found[0], found[2], rows, columns, paired=False)
        given = [None if g is None else g.to(anchors.dtype) for g in found]
        return *given, self.tau_gradient.to(self.tau) if self.needed[3] else None

    def _own_pairs(
        self, anchors: Tensor, positives: Tensor, found: list[Tensor | None], rows: slice
    ) -> None:
        with torch.enable_grad():
            leaves = self._leaves(anchors[rows], positives[rows], found[0], found[1])
            logits = -elementwise(leaves[0], leaves[1], self.case.distance) / leaves[2]
        self._collect(logits, self.own_gradient[rows], leaves, ((found[0], rows), (found[1], rows)))

    def _tile(
        self,
        anchors: Tensor,
        candidates: Tensor,
        to_anchors: Tensor | None,
        to_candidates: Tensor | None,
        rows: slice,
        columns: slice,
        *,
        paired: bool,
    ) -> None:
        with torch.enable_grad():
            leaves = self._leaves(anchors[rows], candidates[columns], to_anchors, to_candidates)
            similarity = -pairwise(leaves[0], leaves[1], self.case.distance)
            logits = similarity / leaves[2]
        by_row, by_column = self.case.rivals(
            similarity.detach(), self.own, rows, columns, paired=paired
        )
        pushes = self._pushes(logits.detach(), by_row, self.totals[0][rows], self.share[rows], 1)
        if paired and self.case.symmetric:
            pushes += self._pushes(
                logits.detach(), by_column, self.totals[1][columns], self.share[columns], 0
            )
        self._collect(logits, pushes, leaves, ((to_anchors, rows), (to_candidates, columns)))

    @staticmethod
    def _pushes(logits: Tensor, mask: Tensor, totals: Tensor, share: Tensor, dim: int) -> Tensor:
        """Return the gradient of the logits: each rival's probability times the item's share."""
        # masked after exp: what is left out may lie above the total, and inf · 0 is NaN
        pushes = (logits - totals.unsqueeze(dim)).exp_().masked_fill_(~mask, 0)
        return pushes.mul_(share.unsqueeze(dim))

    def _leaves(
        self, first: Tensor, second: Tensor, to_first: Tensor | None, to_second: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        return (
            wide(first).detach().requires_grad_(to_first is not None),
            wide(second).detach().requires_grad_(to_second is not None),
            self.tau.detach().requires_grad_(self.needed[3]),
        )

    def _collect(
        self,
        logits: Tensor,
        gradient: Tensor,
        leaves: tuple[Tensor, Tensor, Tensor],
        places: tuple[tuple[Tensor | None, slice], ...],
    ) -> None:
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        found = iter(torch.autograd.grad(logits, wanted, gradient))
        for total, where in places:
            if total is not None:
                total[where] += next(found)
        if self.needed[3]:
            self.tau_gradient += next(found).double().cpu()
