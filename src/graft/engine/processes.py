"""Processes, devices and precision: the only place that knows accelerate and torch.distributed.

Every process draws the same global batches and takes its own share. Gradients are sums, so that
shares and micro-batches add up to exactly the step; the loop divides by the weight of the whole.
A phase boundary under DDP unwraps and wraps again, or parameters that begin to train would drift
apart between the processes. Under FSDP2 a copy of the model is sharded for the whole run, and its
weights are written back at the end.

What is decided by looking at the world (a free folder, a store that is complete, a checkpoint to
go on from) is decided by the first process, and the others are told.
"""

from __future__ import annotations

import atexit
import copy
import inspect
import os
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from graft.errors import GraftError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Strategy = Literal["ddp", "fsdp"]
T = TypeVar("T")

LONGEST_WAIT = timedelta(days=1)
"""The first process may fill a store for hours while the others wait."""


class Processes:
    """Stand for all processes of a training run; there may be just one.

    Args:
        precision: `fp32`, or `bf16` for autocast to bfloat16.
        strategy: how several processes share a model.
    """

    def __init__(self, *, precision: str = "fp32", strategy: Strategy = "ddp") -> None:
        self._here = _join()
        self.precision = precision
        self.strategy = strategy

    @property
    def device(self) -> torch.device:
        return self._here.device

    @property
    def rank(self) -> int:
        return self._here.process_index

    @property
    def n(self) -> int:
        return self._here.num_processes

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @property
    def is_sharded(self) -> bool:
        """Whether parameters are split over the processes."""
        return self.strategy == "fsdp" and self.n > 1

    def autocast(self) -> Any:
        """Return the context in which forward passes run."""
        if self.precision != "bf16":
            return nullcontext()
        import torch

        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def wrap(self, step: nn.Module) -> nn.Module:
        """Prepare the module that computes a step's loss, at the beginning of a phase."""
        if self.n == 1 or self.is_sharded:
            return step
        from torch.nn.parallel import DistributedDataParallel

        # torch 2.15 renamed the option; buffers are equalised once, and move alike afterwards
        options = inspect.signature(DistributedDataParallel).parameters
        sync = "forward_sync_buffers" if "forward_sync_buffers" in options else "broadcast_buffers"
        kwargs: dict[str, Any] = {"find_unused_parameters": True, sync: False}
        return DistributedDataParallel(step, **kwargs)

    def unwrap(self, wrapped: nn.Module) -> None:
        """Let go of what `wrap` prepared, at the end of a phase."""
        remove_hooks = getattr(wrapped, "_remove_autograd_hooks", None)
        if remove_hooks is not None:
            remove_hooks()

    def gathering(self, wrapped: nn.Module, *, is_last: bool) -> Any:
        """Return the context of a micro-batch: gradients are exchanged with the last one."""
        hold = getattr(wrapped, "no_sync", None)
        return nullcontext() if is_last or hold is None else hold()

    def backward(self, loss: Tensor) -> None:
        """Run backward; over several processes gradients are averaged."""
        loss.backward()

    def average_whole(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average the gradients that no wrapper does: those of whole parameters beside shards."""
        if not self.is_sharded:
            return
        import torch.distributed as dist

        for parameter in parameters:
            if parameter.grad is not None and not is_shard(parameter):
                dist.all_reduce(parameter.grad)
                parameter.grad.div_(self.n)

    def sum(self, value: Tensor) -> Tensor:
        """Add up a tensor over the processes."""
        if self.n == 1:
            return value
        import torch.distributed as dist

        moved = value.detach().to(self.device, copy=True)
        dist.all_reduce(moved)
        return moved.to(value.device)

    def join(self, tensor: Tensor) -> tuple[Tensor, int]:
        """Put together what each process holds, along the first axis; also tell where ours begins.

        No gradient flows through it.
        """
        if self.n == 1:
            return tensor, 0
        import torch
        import torch.distributed as dist

        own = torch.zeros(self.n, dtype=torch.int64)
        own[self.rank] = len(tensor)
        sizes = self.sum(own).tolist()
        padded = tensor.new_zeros((max(sizes), *tensor.shape[1:])).to(self.device)
        padded[: len(tensor)] = tensor.detach()
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        joined = torch.cat([p[:n] for p, n in zip(parts, sizes, strict=True)]).to(tensor.device)
        return joined, sum(sizes[: self.rank])

    def agree(self, value: T) -> T:
        """Return the first process's value."""
        if self.n == 1:
            return value
        import torch.distributed as dist

        held = [value]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    def everywhere(self, holds: bool) -> bool:
        """Return whether something holds in every process."""
        if self.n == 1:
            return holds
        import torch

        return int(self.sum(torch.tensor(int(holds)))) == self.n

    def equalise(self, *modules: nn.Module | None) -> None:
        """Give every process the first one's parameters and buffers."""
        if self.n == 1:
            return
        import torch.distributed as dist

        for module in modules:
            for tensor in () if module is None else (*module.parameters(), *module.buffers()):
                dist.broadcast(tensor.detach(), src=0)

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.n > 1:
            import torch.distributed as dist

            dist.barrier()

    def sharded(self, model: nn.Module, find: Callable[[nn.Module], Iterable[str]]) -> nn.Module:
        """Return a copy whose parameters are split over the processes, or else the model itself.

        Parameters outside of the modules named, and those that two of them share, stay whole.

        Args:
            find: names the modules that are gathered one at a time, inner ones first.
        """
        if not self.is_sharded:
            return model
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        split = copy.deepcopy(model)
        mesh = init_device_mesh(self.device.type, (self.n,))
        paths = list(find(split))
        shared = _shared_parameters(split, paths)
        for path in paths:
            # what stays gathered would not notice that a new phase trains it
            module = split.get_submodule(path)
            fully_shard(module, mesh=mesh, reshard_after_forward=True, ignored_params=shared)
        model.to("cpu")  # it waits there for its weights
        return split

    def write_back(self, split: nn.Module, model: nn.Module) -> None:
        """Give the model the weights of its sharded copy."""
        if split is model:
            return
        model.to(self.device)
        own = model.state_dict(keep_vars=True)
        for name, tensor in split.state_dict(keep_vars=True).items():
            assign(own[name], whole(tensor))


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor that may be sharded as one whole; every process must call it."""
    return tensor.full_tensor() if is_shard(tensor) else tensor  # type: ignore[attr-defined]


def like(tensor: Tensor, own: Tensor) -> Tensor:
    """Shard a whole tensor as `own` is; every process must call it."""
    tensor = tensor.to(own.device, own.dtype)
    if not is_shard(own):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, own.device_mesh, own.placements)  # type: ignore[attr-defined]


def assign(own: Tensor, tensor: Tensor) -> None:
    """Copy a whole tensor into one that may be sharded; every process must call it."""
    import torch

    with torch.no_grad():
        own.copy_(like(tensor, own))


def launched() -> bool:
    """Return whether this process was started as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_main() -> bool:
    """Return whether this process is the one that writes and prints."""
    return not launched() or int(os.environ.get("RANK", "0")) == 0


def from_main(make: Callable[[], T]) -> T:
    """Let the first process alone make something, and return it everywhere.

    Raises:
        GraftError: whatever the first process raised, with its exit code.
    """
    if not launched():
        return make()
    processes = Processes()
    result, fault, error = None, None, None
    if processes.is_main:
        try:
            result = make()
        except Exception as caught:
            error = caught
            fault = (str(caught), getattr(caught, "exit_code", GraftError.exit_code))
    result, fault = processes.agree((result, fault))
    if error is not None:
        raise error
    if fault is not None:
        elsewhere = GraftError(fault[0])
        elsewhere.exit_code = fault[1]
        raise elsewhere
    return result  # type: ignore[return-value]


def leave() -> bool:
    """Leave the other processes, if there are any; return whether there were.

    Who has left should end without Python's own clearing away: once in some hundred launches a
    process was seen to abort in native code, as it does where a thread of torch's outlives the
    interpreter. What it was that time is not proven.
    """
    if not launched():
        return False
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
    return True


def _shared_parameters(model: nn.Module, paths: Iterable[str]) -> set[nn.Parameter]:
    """Return the parameters that belong to several of the modules, or to one and to the rest."""
    owners: dict[nn.Parameter, set[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owner = max((p for p in paths if name.startswith(f"{p}.") or not p), key=len, default=None)
        owners.setdefault(parameter, set()).add("outside" if owner is None else f"in {owner}")
    return {parameter for parameter, places in owners.items() if len(places) > 1}


def _join() -> Any:
    """Join the other processes, once, and leave them when Python ends."""
    import torch
    import torch.distributed as dist
    from accelerate.state import PartialState

    was_joined = dist.is_available() and dist.is_initialized()
    is_cpu = not torch.cuda.is_available()
    here = PartialState(cpu=is_cpu, **({"timeout": LONGEST_WAIT} if launched() else {}))
    if here.num_processes > 1 and not was_joined:
        atexit.register(leave)
    return here


def is_shard(tensor: Tensor) -> bool:
    """Return whether this process holds a part of the tensor only."""
    return hasattr(tensor, "full_tensor")


def holds_shards(module: nn.Module) -> bool:
    """Return whether a parameter is sharded; parameters are looked at only where some may be."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return False
    return any(map(is_shard, module.parameters()))
