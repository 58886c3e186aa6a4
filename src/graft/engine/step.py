"""One step of training: encode every stream, one loss on all, backward.

`Step` is a module so that data-parallel wrappers see the forward pass. What it is fed per stream
is a state at a cut (run on from there) or, where nothing is frozen, just a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from graft.batch import Batch
from graft.engine.replay import Replay, Run
from graft.tasks.task import Loss, Progress, Task


@dataclass(frozen=True, eq=False)
class Feed:
    """What one stream gives to a step.

    Args:
        batch: its examples.
        replay: how to run on from `state`; None to run the whole network.
        state: what crosses the cut.
        run: runs the bare model on a batch of this stream.
    """

    batch: Batch
    replay: Replay | None = None
    state: Sequence[Tensor] = ()
    run: Run | None = None


@dataclass(frozen=True, eq=False)
class Part:
    """One micro-batch of a step: what each stream gives, and whether it counts (1) or not (0)."""

    feeds: Mapping[str, Feed]
    weight: float = 1.0


class Step(nn.Module):
    """Compute the loss of a step from its feeds."""

    def __init__(self, model: nn.Module, state: nn.Module | None, task: Task) -> None:
        super().__init__()
        self.model = model
        self.state = state
        self.task = task

    def forward(
        self,
        feeds: Mapping[str, Feed],
        progress: Progress,
        weights: Mapping[str, Any] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the summed loss and its weight.

        Args:
            weights: gradients of the loss by what was encoded; given, the sum of their products
                with what is encoded now is returned instead (the second pass of gradient caching).
        """
        encoded, batches = self.encode(feeds, progress)
        if weights is not None:
            pairs = zip(pytree.tree_leaves(encoded), pytree.tree_leaves(weights), strict=True)
            total = sum((e.float() * w.float()).sum() for e, w in pairs if e.requires_grad)
            return torch.as_tensor(total), torch.zeros(())
        loss = self.task.loss(encoded, batches, self.state, progress)
        return loss.total, loss.count

    def encode(
        self, feeds: Mapping[str, Feed], progress: Progress
    ) -> tuple[dict[str, Any], dict[str, Batch]]:
        """Encode every stream; returns what came out and the batches it came from."""
        encoded, batches = {}, {}
        for name, feed in feeds.items():
            with stubbed(self.model, feed) as batch:
                encoded[name] = self.task.encode(self.model, batch, progress)
            batches[name] = batch
        return encoded, batches


def stubbed(model: nn.Module, feed: Feed) -> Any:
    """Return the context in which the model runs from the feed's state, yielding the batch."""
    if feed.replay is None:
        return nullcontext(feed.batch)
    assert feed.run is not None
    return feed.replay.from_state(model, feed.state, feed.batch, feed.run)


def accumulate(
    step: nn.Module,
    parts: Sequence[Part],
    progress: Progress,
    *,
    backward: Callable[[Tensor], None],
    autocast: Callable[[], Any],
    seed_part: Callable[[int], None],
) -> Loss:
    """Add up the gradients of a step over its parts; losses are sums, so the result is exact."""
    total, count = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for i, part in enumerate(parts):
        seed_part(i)
        with autocast():
            part_total, part_count = step(part.feeds, progress)
        backward(part_total * part.weight)
        total += part_total.detach().cpu().double() * part.weight
        count += part_count.detach().cpu().double() * part.weight
    return Loss(total, count)


def accumulate_joint(
    step: Step,
    parts: Sequence[Part],
    progress: Progress,
    *,
    backward: Callable[[Tensor], None],
    autocast: Callable[[], Any],
    seed_part: Callable[[int], None],
) -> Loss:
    """Do the same for a loss over the whole step, holding the graph of one part at a time.

    Every part is encoded without a graph, the loss is taken on all, and each part is encoded again
    from the same random numbers to carry the loss's gradient back.

    Source: Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited
    Setup".
    """
    pieces, batches = [], []
    for i, part in enumerate(parts):
        seed_part(i)
        with torch.no_grad(), autocast():
            encoded, batch = step.encode(part.feeds, progress)
        pieces.append(encoded)
        batches.append(batch)
    leaves = [pytree.tree_leaves(p) for p in pieces]
    spec = pytree.tree_structure(pieces[0])
    joined = [torch.cat(same).detach() for same in zip(*leaves, strict=True)]
    for tensor in joined:
        tensor.requires_grad_(tensor.is_floating_point())
    loss = step.task.loss(pytree.tree_unflatten(joined, spec), _join(batches), step.state, progress)
    backward(loss.total)
    gradients = [torch.zeros_like(j) if j.grad is None else j.grad for j in joined]
    sizes = [[len(leaf) for leaf in piece] for piece in leaves]
    starts = [0] * len(joined)
    for i, part in enumerate(parts):
        slices = [g[s : s + n] for g, s, n in zip(gradients, starts, sizes[i], strict=True)]
        starts = [s + n for s, n in zip(starts, sizes[i], strict=True)]
        seed_part(i)
        with autocast():
            product, _ = step(part.feeds, progress, pytree.tree_unflatten(slices, spec))
        backward(product)
    return Loss(loss.total.detach().cpu().double(), loss.count.detach().cpu().double())


def _join(batches: Sequence[Mapping[str, Batch]]) -> dict[str, Batch]:
    """Join the targets of a step's parts; inputs of unlike length are not joined."""
    return {
        name: Batch(
            {},
            {
                key: torch.cat([parts[name].targets[key] for parts in batches])
                for key in batches[0][name].targets
            },
            np.concatenate([parts[name].rows for parts in batches]),
        )
        for name in batches[0]
    }
