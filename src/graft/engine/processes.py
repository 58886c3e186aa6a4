"""Processes, devices and precision: the only place that knows accelerate and torch.distributed.

Every process draws the same global batches and takes its own share. Gradients are sums, so that
shares and micro-batches add up to exactly the step; the loop divides by the weight of the whole.
A phase boundary under DDP unwraps and wraps again, or parameters that begin to train would drift
apart between the processes. Under FSDP2 parameters stay sharded for the whole run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

Strategy = Literal["ddp", "fsdp"]


class Processes:
    """Stand for all processes of a training run; there may be just one.

    Args:
        precision: `fp32`, or `bf16` for autocast to bfloat16.
        strategy: how several processes share a model.
    """

    def __init__(self, *, precision: str = "fp32", strategy: Strategy = "ddp") -> None:
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs

        wrapping = DistributedDataParallelKwargs(
            find_unused_parameters=True, broadcast_buffers=False
        )
        self._accelerator = Accelerator(
            mixed_precision="bf16" if precision == "bf16" else "no",
            cpu=not torch.cuda.is_available(),
            kwargs_handlers=[wrapping],
        )
        self.strategy = strategy

    @property
    def device(self) -> torch.device:
        return self._accelerator.device

    @property
    def rank(self) -> int:
        return self._accelerator.process_index

    @property
    def n(self) -> int:
        return self._accelerator.num_processes

    @property
    def is_main(self) -> bool:
        return self._accelerator.is_main_process

    @property
    def is_sharded(self) -> bool:
        """Whether parameters are split over the processes."""
        return self.strategy == "fsdp" and self.n > 1

    def autocast(self) -> Any:
        """Return the context in which forward passes run."""
        return self._accelerator.autocast()

    def wrap(self, step: nn.Module) -> nn.Module:
        """Prepare the module that computes a step's loss, at the beginning of a phase."""
        if self.n == 1 or self.is_sharded:
            return step
        return self._accelerator.prepare_model(step)

    def unwrap(self, step: nn.Module) -> None:
        """Let go of what `wrap` prepared, at the end of a phase."""
        self._accelerator.free_memory()

    def backward(self, loss: Tensor) -> None:
        """Run backward; over several processes gradients are averaged."""
        self._accelerator.backward(loss)

    def sum(self, value: Tensor) -> Tensor:
        """Add up a tensor over the processes."""
        return value if self.n == 1 else self._accelerator.reduce(value, reduction="sum")

    def barrier(self) -> None:
        """Wait for all processes."""
        self._accelerator.wait_for_everyone()

    def shard(self, modules: Iterable[nn.Module], root: nn.Module) -> None:
        """Shard parameters over the processes, module by module, then the rest with the root."""
        if not self.is_sharded:
            return
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self.device.type, (self.n,))
        for module in modules:
            fully_shard(module, mesh=mesh)
        fully_shard(root, mesh=mesh)


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor that may be sharded as one whole; every process must call it."""
    gather = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


def launched() -> bool:
    """Return whether this process was started as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1
