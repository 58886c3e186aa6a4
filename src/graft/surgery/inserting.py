"""Put small modules into a network, take them out again, or fold them into its weights.

Each hangs as a child under a module of the network, its *host*, and a hook of the host passes to it
what went in and what came out. So no pretrained parameter changes its name or its place: rules,
cuts, stores, checkpoints and savers see the network that they know, and a few parameters more. The
children know where they stand, so a network by itself says what was put into it.

At insertion every child is exactly the identity: it adds zeros, or a zero times something.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from graft.errors import ModelError


@dataclass(frozen=True)
class Site:
    """Say where in a network a module is put.

    Args:
        host: path of the module whose output it changes.
        width: numbers that the host puts out for each token, or its channels.
        source: path of a module whose input it reads; the host's own where empty.
    """

    host: str
    width: int
    source: str = ""


class Inserted(nn.Module, ABC):
    """Change what a host puts out; one for each site.

    Args:
        surgery: what made it.
        site: where it stands.
    """

    def __init__(self, surgery: Surgery, site: Site) -> None:
        super().__init__()
        self.surgery = surgery
        self.site = site
        self.handles: list[Any] = []
        self.given: Tensor | None = None

    @abstractmethod
    def change(self, given: Tensor, output: Tensor) -> Tensor:
        """Return the host's new output, from what it was given and what it put out."""

    @property
    @abstractmethod
    def is_identity(self) -> bool:
        """Whether it changes nothing, as at insertion."""


class Folding(Inserted):
    """Change what a host puts out as other weights of the host would."""

    @abstractmethod
    def fold(self, host: nn.Module) -> None:
        """Write what it does into the host's weights, in place."""


class Surgery(Protocol):
    """Say what is put into a network, and where. A frozen dataclass: it is its own settings."""

    name: ClassVar[str]
    """In `SURGERIES`; a child is registered under it."""

    def sites(self, net: nn.Module, blocks: Sequence[str], run: Callable[[], Any]) -> list[Site]:
        """Return where it belongs, from watching `run`, which runs the network once."""
        ...

    def make(self, site: Site, host: nn.Module) -> Inserted:
        """Return the module for a site; the identity."""
        ...


def insert(net: nn.Module, surgery: Surgery, sites: Sequence[Site]) -> None:
    """Put a module at each site, in place.

    Random numbers come from the global generator, so the caller seeds it.

    Raises:
        ModelError: the network has no such module, or has been changed in this way before.
    """
    for site in sites:
        try:
            host = net.get_submodule(site.host)
        except AttributeError:
            raise ModelError(
                f"{type(net).__name__} has no module `{site.host}`, where `{surgery.name}` belongs"
            ) from None
        if surgery.name in dict(host.named_children()):
            raise ModelError(
                f"`{site.host}` has a `{surgery.name}` already; remove it before another is put in"
            )
        child = surgery.make(site, host)
        like = next(host.parameters(), None)
        like = next(net.parameters()) if like is None else like
        host.add_module(surgery.name, child.to(device=like.device, dtype=like.dtype))
        if site.source:
            source = net.get_submodule(site.source)
            hook = source.register_forward_pre_hook(_Keep(child), with_kwargs=True)
            child.handles.append(hook)
        child.handles.append(host.register_forward_hook(_Change(child), with_kwargs=True))


def inserted(net: nn.Module) -> Iterator[tuple[str, Inserted]]:
    """Yield everything that was put into a network, with its path."""
    for path, module in net.named_modules():
        if isinstance(module, Inserted):
            yield path, module


def inserted_parameters(net: nn.Module, *, idle: bool = False) -> set[int]:
    """Return the ids of all parameters that were put into a network.

    Args:
        idle: only of those that are the identity.
    """
    return {
        id(parameter)
        for _, child in inserted(net)
        if not idle or child.is_identity
        for parameter in child.parameters()
    }


def remove(net: nn.Module) -> None:
    """Take everything out of a network, or of a model that holds networks, in place."""
    for path, child in list(inserted(net)):
        for handle in child.handles:
            handle.remove()
        host, _, name = path.rpartition(".")
        delattr(net.get_submodule(host), name)


def merge(net: nn.Module) -> None:
    """Fold everything that was put into a network or model into its weights, in place.

    Raises:
        ModelError: some of it is not linear; nothing is changed.
    """
    found = list(inserted(net))
    folding = [(path, child) for path, child in found if isinstance(child, Folding)]
    if len(folding) < len(found):
        child = next(child for _, child in found if not isinstance(child, Folding))
        raise ModelError(
            f"`{child.surgery.name}` at `{child.site.host}` is not linear and cannot be merged; "
            "keep it beside its network"
        )
    with torch.no_grad():
        for path, child in folding:
            child.fold(net.get_submodule(path.rpartition(".")[0]))
    remove(net)


def is_mergeable(net: nn.Module) -> bool:
    """Return whether everything that was put in can be folded into the weights."""
    return all(isinstance(child, Folding) for _, child in inserted(net))


@dataclass(frozen=True, eq=False)
class _Change:
    """Hook of a host: its output, changed."""

    child: Inserted

    def __call__(
        self, host: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any
    ) -> Tensor:
        del host
        given, self.child.given = self.child.given, None
        return self.child.change(first_tensor(args, kwargs) if given is None else given, output)


@dataclass(frozen=True, eq=False)
class _Keep:
    """Hook of a source: what it was given, kept for the host that follows."""

    child: Inserted

    def __call__(self, source: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        del source
        self.child.given = first_tensor(args, kwargs)


def first_tensor(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """Return the first tensor among the arguments of a call."""
    return next(a for a in (*args, *kwargs.values()) if isinstance(a, Tensor))
