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
from graft.engine.draws import drawn_by_row
from graft.engine.processes import Processes
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
        seeds: (n,) of what is drawn at random for each row; none to draw for all at once.
    """

    batch: Batch
    replay: Replay | None = None
    state: Sequence[Tensor] = ()
    run: Run | None = None
    seeds: Sequence[int] | np.ndarray = ()


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
            # a part that does not count has no weights, and runs all the same
            total = sum((e[: len(w)] * w).sum() for e, w in pairs if e.requires_grad)
            return torch.as_tensor(total), torch.zeros(())
        loss = self.task.loss(encoded, batches, self.state, progress)
        return loss.total, loss.count

    def encode(
        self, feeds: Mapping[str, Feed], progress: Progress
    ) -> tuple[dict[str, Any], dict[str, Batch]]:
        """Encode every stream; returns what came out and the batches it came from."""
        encoded, batches = {}, {}
        for name, feed in feeds.items():
            with stubbed(self.model, feed) as batch, drawn_by_row(feed.seeds):
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
    processes: Processes,
    seed_part: Callable[[int], None],
) -> Loss:
    """Add up the gradients of a step over its parts; losses are sums, so the result is exact."""
    total, count = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for i, part in enumerate(parts):
        seed_part(i)
        with processes.gathering(step, is_last=i == len(parts) - 1):
            with processes.autocast():
                part_total, part_count = step(part.feeds, progress)
            processes.backward(part_total * part.weight)
        total += part_total.detach().cpu().double() * part.weight
        count += part_count.detach().cpu().double() * part.weight
    return Loss(total, count)


def accumulate_whole(
    step: nn.Module,
    parts: Sequence[Part],
    progress: Progress,
    *,
    processes: Processes,
    seed_part: Callable[[int], None],
) -> Loss:
    """Take a loss over the whole step, of one process, holding the graphs of all its parts.

    What is similar in length is encoded together, so that little is padded.
    """
    assert isinstance(step, Step)  # one process has nothing to wrap it for
    encoded, batches = [], []
    for i, part in enumerate(parts):
        seed_part(i)
        with processes.autocast():
            found, batch = step.encode(part.feeds, progress)
        encoded.append(found)
        batches.append(batch)
    joined = pytree.tree_map(lambda *leaves: torch.cat(leaves), *encoded)
    loss = step.task.loss(joined, _join(batches, processes), step.state, progress)
    processes.backward(loss.total)
    return Loss(loss.total.detach().cpu().double(), loss.count.detach().cpu().double())


def accumulate_joint(
    step: Step,
    wrapped: nn.Module,
    parts: Sequence[Part],
    progress: Progress,
    *,
    processes: Processes,
    seed_part: Callable[[int], None],
) -> Loss:
    """Do the same for a loss over the whole step, holding the graph of one part at a time.

    Every part is encoded without a graph, the loss is taken on all, those of the other processes
    too, and each part is encoded again from the same random numbers to carry the loss's gradient
    back. What all processes compute alike, the loss and the gradients of the task's own
    parameters, is divided by their number, because it is added up later.

    Args:
        step: computes losses.
        wrapped: the same, as `Processes.wrap` prepared it.

    Source: Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited
    Setup".
    """
    gathered, batches = _Gathered(), []
    for i, part in enumerate(parts):
        seed_part(i)
        with torch.no_grad(), processes.autocast():
            encoded, batch = step.encode(part.feeds, progress)
        if not part.weight:
            encoded = pytree.tree_map(lambda leaf: leaf[:0], encoded)
            batch = {name: _without_rows(b) for name, b in batch.items()}
        gathered.add(encoded, len(parts) - i)
        batches.append(batch)
    spec, sizes = gathered.spec, gathered.sizes
    held = [processes.join(tensor) for tensor in gathered.joined()]
    joined, starts = [tensor for tensor, _ in held], [start for _, start in held]
    del gathered, held, encoded
    for tensor in joined:
        tensor.requires_grad_(tensor.is_floating_point())
    batch = _join(batches, processes)
    loss = step.task.loss(pytree.tree_unflatten(joined, spec), batch, step.state, progress)
    processes.backward(loss.total / processes.n)
    gradients = [torch.zeros_like(j) if j.grad is None else j.grad for j in joined]
    if processes.n > 1:
        gradients = [gradient * processes.n for gradient in gradients]
    del joined
    for i, part in enumerate(parts):
        slices = [g[s : s + n] for g, s, n in zip(gradients, starts, sizes[i], strict=True)]
        starts = [s + n for s, n in zip(starts, sizes[i], strict=True)]
        seed_part(i)
        with processes.gathering(wrapped, is_last=i == len(parts) - 1):
            with processes.autocast():
                weights = pytree.tree_unflatten(slices, spec)
                product, _ = wrapped(part.feeds, progress, weights)
            processes.backward(product)
    total, count = loss.total.detach().cpu().double(), loss.count.detach().cpu().double()
    return Loss(total / processes.n, count / processes.n)


class _Gathered:
    """Collect what the parts of a step encode, leaf by leaf, in one tensor each.

    Room is made once, for as many rows as the first part has in each: nothing is held twice.
    """

    def __init__(self) -> None:
        self.sizes: list[list[int]] = []
        self.spec: Any = None
        self._room: list[Tensor] = []
        self._filled: list[int] = []

    def add(self, encoded: Any, n_left: int) -> None:
        """Copy a part's leaves behind those before; `n_left` counts this part and the rest."""
        leaves = pytree.tree_leaves(encoded)
        if not self.sizes:
            self.spec = pytree.tree_structure(encoded)
            self._room = [leaf.new_empty((0, *leaf.shape[1:])) for leaf in leaves]
            self._filled = [0] * len(leaves)
        for k, leaf in enumerate(leaves):
            end = self._filled[k] + len(leaf)
            if end > len(self._room[k]):
                grown = leaf.new_empty((self._filled[k] + n_left * len(leaf), *leaf.shape[1:]))
                grown[: self._filled[k]] = self._room[k][: self._filled[k]]
                self._room[k] = grown
            self._room[k][self._filled[k] : end] = leaf
            self._filled[k] = end
        self.sizes.append([len(leaf) for leaf in leaves])

    def joined(self) -> list[Tensor]:
        """Return the leaves of all parts, each (n, …)."""
        return [room[:n].detach() for room, n in zip(self._room, self._filled, strict=True)]


def _join(batches: Sequence[Mapping[str, Batch]], processes: Processes) -> dict[str, Batch]:
    """Join the targets of a step's parts; inputs of unlike length are not joined."""
    return {
        name: Batch(
            {},
            {
                key: processes.join(torch.cat([parts[name].targets[key] for parts in batches]))[0]
                for key in batches[0][name].targets
            },
            processes.join(
                torch.from_numpy(np.concatenate([parts[name].rows for parts in batches]))
            )[0].numpy(),
        )
        for name in batches[0]
    }


def _without_rows(batch: Batch) -> Batch:
    return Batch({}, {name: t[:0] for name, t in batch.targets.items()}, batch.rows[:0])
