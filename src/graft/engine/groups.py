"""Rules × parameters: every parameter of model and state in exactly one group, or refuse by name.

Parameters are told apart by identity, so a tied one (the embeddings of a masked language model, the
three shared matrices of T5) stands once, at its lowest place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from graft.backbones.backbone import Chain, Tower, join, towers
from graft.errors import InputError
from graft.methods.plan import Rule
from graft.methods.select import Place
from graft.surgery.inserting import inserted_parameters

STATE = "state"
"""Prefix under which the task's own parameters are named."""


@dataclass(frozen=True)
class Located:
    """A parameter with its place."""

    place: Place
    parameter: nn.Parameter


@dataclass(frozen=True)
class Group:
    """The parameters that one rule won."""

    rule: Rule
    members: tuple[Located, ...]

    @property
    def n_parameters(self) -> int:
        return sum(m.parameter.numel() for m in self.members)


def locate(model: nn.Module, state: nn.Module | None = None) -> tuple[Located, ...]:
    """Return every parameter of model and state once, each with its lowest place."""
    found: dict[int, Located] = {}
    norms = _norm_parameters(model, state)
    model_towers = towers(model)
    put_in = inserted_parameters(model)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        place = _place(name, model_towers, id(parameter) in norms)
        if id(parameter) in put_in:
            place = replace(place, role="inserted")
        known = found.get(id(parameter))
        if known is None or _depth(place) < _depth(known.place):
            found[id(parameter)] = Located(place, parameter)
    for name, parameter in state.named_parameters() if state is not None else ():
        kind = _kind(name, id(parameter) in norms)
        found.setdefault(id(parameter), Located(Place(join(STATE, name), STATE, kind), parameter))
    return tuple(found.values())


def resolve(
    rules: Sequence[Rule], located: Sequence[Located], *, may_be_idle: bool = False
) -> tuple[Group, ...]:
    """Give each parameter to the first rule that selects it.

    Args:
        may_be_idle: the rules may train nothing: only what they freeze is asked.

    Raises:
        InputError: a parameter is selected by no rule, or no rule that trains selects any.
    """
    members: list[list[Located]] = [[] for _ in rules]
    uncovered = []
    for item in located:
        for i, rule in enumerate(rules):
            if rule.where(item.place):
                members[i].append(item)
                break
        else:
            uncovered.append(item.place.name)
    if uncovered:
        more = f" and {len(uncovered) - 3} more" if len(uncovered) > 3 else ""
        raise InputError(
            f"no rule covers {', '.join(uncovered[:3])}{more}: "
            "end the rules with Rule(everything(), None) to freeze the rest"
        )
    groups = tuple(Group(rule, tuple(m)) for rule, m in zip(rules, members, strict=True))
    if not may_be_idle and not any(group.rule.lr and group.members for group in groups):
        raise InputError("every parameter is frozen or has a rate of zero: give some rule a rate")
    return groups


def trainable(groups: Sequence[Group]) -> tuple[Located, ...]:
    """Return the parameters of the groups that have a rate."""
    return tuple(m for group in groups if group.rule.lr is not None for m in group.members)


def set_trainable(groups: Sequence[Group]) -> None:
    """Let exactly the parameters of the groups that have a rate require gradients."""
    for group in groups:
        for member in group.members:
            member.parameter.requires_grad_(group.rule.lr is not None)


def _place(name: str, model_towers: Sequence[Tower], is_norm: bool) -> Place:
    kind = _kind(name, is_norm)
    for tower in model_towers:
        if not name.startswith(f"{tower.path}." if tower.path else ""):
            continue
        chain, height = _position(name, tower.chains)
        return Place(name, "backbone", kind, chain.name, height, chain.n_blocks)
    return Place(name, "head", kind)


def _position(name: str, chains: Sequence[Chain]) -> tuple[Chain, int]:
    """Return the chain and height of the longest part path that holds the parameter."""
    best: tuple[int, Chain, int] | None = None
    for chain in chains:
        for height, part in enumerate(chain.parts):
            for path in part:
                if name.startswith(f"{path}.") and (best is None or len(path) > best[0]):
                    best = (len(path), chain, height)
    if best is not None:
        return best[1], best[2]
    return _nearest(name, chains), 0


def _nearest(name: str, chains: Sequence[Chain]) -> Chain:
    """Return the chain among whose modules a loose parameter stands; its stem will own it."""

    def shared(chain: Chain) -> int:
        n = 0
        for path in (p for part in chain.parts for p in part):
            common = 0
            for a, b in zip(name.split("."), path.split("."), strict=False):
                if a != b:
                    break
                common += 1
            n = max(n, common)
        return n

    return max(chains, key=shared)


def _kind(name: str, is_norm: bool) -> Literal["norm", "bias", "weight"]:
    if is_norm:
        return "norm"
    return "bias" if name.rsplit(".", 1)[-1].endswith("bias") else "weight"


def _norm_parameters(*modules: nn.Module | None) -> set[int]:
    return {
        id(parameter)
        for root in modules
        if root is not None
        for module in root.modules()
        if "norm" in type(module).__name__.lower()
        for parameter in module.parameters(recurse=False)
    }


def _depth(place: Place) -> int:
    """Order places from the input upwards; what stands outside a backbone is highest."""
    return place.height if place.height >= 0 else 1_000_000
