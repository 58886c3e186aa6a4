"""The cut: below it nothing trains in this phase, so it need be computed once per example.

One edge per chain. A chain that reads another one (a decoder its encoder) is constant nowhere while
the other trains. Where a whole backbone is frozen the cut lies above it, and what crosses is its
`Features` themselves, of which only the fields that the head reads will be stored.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from torch import nn

from graft.backbones.backbone import Chain, towers
from graft.engine.groups import Located


@dataclass(frozen=True)
class Cut:
    """Say which modules lie below the cut, and describe it.

    Args:
        below: paths of the modules that hold everything below the cut and do not overlap.
        label: for people: `above the backbone`, `below block 4 of 6`, `nothing is frozen`.
    """

    below: tuple[str, ...]
    label: str

    def __bool__(self) -> bool:
        return bool(self.below)


def find_cut(model: nn.Module, trained: Collection[Located]) -> Cut:
    """Return the highest cut under which no parameter of `trained` stands."""
    lowest: dict[tuple[str, str], int] = {}
    model_towers = towers(model)
    for item in trained:
        for tower in model_towers:
            if item.place.chain and item.place.name.startswith(f"{tower.path}."):
                key = (tower.path, item.place.chain)
                lowest[key] = min(lowest.get(key, item.place.height), item.place.height)
    _lower_to_tied(lowest, model, {id(item.parameter) for item in trained})
    below: list[str] = []
    labels: list[str] = []
    for tower in model_towers:
        trained_chains = {chain for path, chain in lowest if path == tower.path}
        if not trained_chains:
            below.append(tower.path)
            labels.append("above the backbone")
            continue
        for chain in tower.chains:
            if trained_chains & _reads(chain, tower.chains):
                continue
            height = lowest.get((tower.path, chain.name), chain.n_blocks + 2)
            paths = [path for part in chain.parts[:height] for path in part]
            if paths:
                below += paths
                prefix = "" if len(tower.chains) == 1 else f"{chain.name}: "
                labels.append(prefix + _label(chain, height))
    return Cut(tuple(below), ", ".join(dict.fromkeys(labels)) or "nothing is frozen")


def _lower_to_tied(
    lowest: dict[tuple[str, str], int], model: nn.Module, trained: Collection[int]
) -> None:
    """Lower the cut of every chain that holds a trained parameter of another chain."""
    for tower in towers(model):
        for chain in tower.chains:
            for height, part in enumerate(chain.parts):
                modules = [model.get_submodule(path) for path in part]
                if any(id(p) in trained for module in modules for p in module.parameters()):
                    key = (tower.path, chain.name)
                    lowest[key] = min(lowest.get(key, height), height)
                    break


def _reads(chain: Chain, chains: tuple[Chain, ...]) -> set[str]:
    """Return the names of all chains that `chain` reads, directly or through others."""
    by_name = {c.name: c for c in chains}
    found: set[str] = set()
    queue = list(chain.after)
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue += by_name[name].after
    return found


def _label(chain: Chain, height: int) -> str:
    if height > chain.n_blocks:
        return "below the neck" if height == chain.n_blocks + 1 else "above the neck"
    return f"below block {height - 1} of {chain.n_blocks}"
