"""Selectors: which parameters a rule means.

A selector is a frozen value with one question, `select(place) -> bool`; it prints, compares and
serialises by itself. It sees a `Place`, what is known of one parameter's position, never a tensor.

Heights count from the input: 0 is the stem, 1..K the blocks, K+1 the neck. Blocks are numbered as
Python does: `blocks(0, 2)` are the lowest two, `blocks(-2, None)` the top two.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, Protocol


@dataclass(frozen=True)
class Place:
    """Where one parameter stands.

    Args:
        name: its path in the model, the lowest one where it is tied.
        role: `backbone`, `head`, `inserted` (by surgery) or `state` (what the task keeps).
        kind: `norm` (belongs to a normalisation layer), `bias`, or `weight`.
        chain: name of its chain; empty outside a backbone.
        height: 0 stem, 1..K blocks, K+1 neck; -1 outside a backbone.
        n_blocks: K of its chain.
    """

    name: str
    role: Literal["backbone", "head", "inserted", "state"]
    kind: Literal["norm", "bias", "weight"]
    chain: str = ""
    height: int = -1
    n_blocks: int = 0


class Selector(Protocol):
    """Decide for one place whether it is meant."""

    def __call__(self, place: Place, /) -> bool: ...


@dataclass(frozen=True)
class Everything:
    """Select every parameter."""

    def __call__(self, place: Place, /) -> bool:
        return True

    def __str__(self) -> str:
        return "everything"


@dataclass(frozen=True)
class Role:
    """Select by role: the head, what surgery inserted, or the task's own state."""

    role: str

    def __call__(self, place: Place, /) -> bool:
        return place.role == self.role

    def __str__(self) -> str:
        return self.role


@dataclass(frozen=True)
class Blocks:
    """Select blocks `start` to `stop` (exclusive) of every chain, or of the chain named."""

    start: int
    stop: int | None
    chain: str | None = None

    def __call__(self, place: Place, /) -> bool:
        if not 1 <= place.height <= place.n_blocks or self.chain not in (None, place.chain):
            return False
        return place.height - 1 in range(place.n_blocks)[self.start : self.stop]

    def __str__(self) -> str:
        span = f"[{self.start}:{'' if self.stop is None else self.stop}]"
        return f"blocks{span}" if self.chain is None else f"{self.chain}.blocks{span}"


@dataclass(frozen=True)
class End:
    """Select the stem or the neck of every chain, or of the chain named."""

    end: Literal["stem", "neck"]
    chain: str | None = None

    def __call__(self, place: Place, /) -> bool:
        if self.chain not in (None, place.chain):
            return False
        return place.height == (0 if self.end == "stem" else place.n_blocks + 1)

    def __str__(self) -> str:
        return self.end if self.chain is None else f"{self.chain}.{self.end}"


@dataclass(frozen=True)
class OfTower:
    """Select everything of one backbone, where a model has several: `image` or `text`."""

    name: str

    def __call__(self, place: Place, /) -> bool:
        return place.chain.partition(".")[0] == self.name

    def __str__(self) -> str:
        return f"{self.name} tower"


@dataclass(frozen=True)
class Kind:
    """Select every parameter of a kind: `norm` or `bias`."""

    kind: Literal["norm", "bias"]

    def __call__(self, place: Place, /) -> bool:
        return place.kind == self.kind or (self.kind == "bias" and place.name.endswith("bias"))

    def __str__(self) -> str:
        return f"{self.kind}s" if self.kind == "norm" else "biases"


@dataclass(frozen=True)
class Named:
    """Select parameters whose name matches a glob such as `*.attention.*.weight`."""

    pattern: str

    def __call__(self, place: Place, /) -> bool:
        return fnmatchcase(place.name, self.pattern)

    def __str__(self) -> str:
        return self.pattern


def everything() -> Selector:
    """Select every parameter."""
    return Everything()


def head() -> Selector:
    """Select the head."""
    return Role("head")


def state() -> Selector:
    """Select what the task keeps beside the model: centers, proxies, a temperature."""
    return Role("state")


def inserted() -> Selector:
    """Select what surgery inserted."""
    return Role("inserted")


def blocks(start: int, stop: int | None = None, *, chain: str | None = None) -> Selector:
    """Select blocks by number, as a Python slice: `blocks(-2)` are the top two."""
    return Blocks(start, stop, chain)


def stem(*, chain: str | None = None) -> Selector:
    """Select what lies below the first block."""
    return End("stem", chain)


def neck(*, chain: str | None = None) -> Selector:
    """Select what lies between the last block and the head."""
    return End("neck", chain)


def tower(name: str) -> Selector:
    """Select one of two backbones, `image` or `text`, but not its head."""
    return OfTower(name)


def norms() -> Selector:
    """Select normalisation layers."""
    return Kind("norm")


def biases() -> Selector:
    """Select biases."""
    return Kind("bias")


def named(pattern: str) -> Selector:
    """Select by a glob over parameter names."""
    return Named(pattern)
