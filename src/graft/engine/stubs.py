"""Stand-ins for modules: while in place, a module's forward is ours.

Only the instance attribute `forward` is set, so hooks, wrappers of data-parallel training and the
module's own state stay as they are, and leaving the context leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree


@contextmanager
def replaced(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Let each module run another forward inside the context."""
    before = {module: module.__dict__.get("forward") for module in forwards}
    try:
        for module, forward in forwards.items():
            module.forward = forward  # type: ignore[method-assign]
        yield
    finally:
        for module, forward in before.items():
            if forward is None:
                module.__dict__.pop("forward", None)
            else:
                module.forward = forward  # type: ignore[method-assign]


class Recorder:
    """Run modules as they are and keep what each call of each of them returned."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self.outputs: dict[tuple[str, int], Any] = {}
        self._modules = modules
        self._n_calls = dict.fromkeys(modules, 0)

    def forwards(self) -> dict[nn.Module, Callable[..., Any]]:
        """Return a recording forward for each module."""
        return {module: self._wrap(path, module) for path, module in self._modules.items()}

    def _wrap(self, path: str, module: nn.Module) -> Callable[..., Any]:
        run = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            output = run(*args, **kwargs)
            call = self._n_calls[path]
            self._n_calls[path] += 1
            # copied: live code above may change a tensor in place
            self.outputs[path, call] = pytree.tree_map(
                lambda leaf: leaf.detach().clone() if isinstance(leaf, Tensor) else leaf, output
            )
            return output

        return forward


class Player:
    """Return, call by call, what `emit(path, call)` says, and run nothing."""

    def __init__(self, modules: Mapping[str, nn.Module], emit: Callable[[str, int], Any]) -> None:
        self._modules = modules
        self._emit = emit
        self._n_calls = dict.fromkeys(modules, 0)

    def forwards(self) -> dict[nn.Module, Callable[..., Any]]:
        """Return a playing forward for each module."""
        return {module: self._wrap(path) for path, module in self._modules.items()}

    def _wrap(self, path: str) -> Callable[..., Any]:
        def forward(*_args: Any, **_kwargs: Any) -> Any:
            call = self._n_calls[path]
            self._n_calls[path] += 1
            return self._emit(path, call)

        return forward
