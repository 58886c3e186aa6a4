"""Write down what was put into a network, and put it in again.

    description     [{"surgery": "lora", "settings": {"rank": 8}, "sites": [{"host": …}, …]}, …]
    tensors         by their names in the network, as `state_dict` gives them

A description comes from a file that anybody may have written, so every word of it is checked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from graft.errors import ModelError
from graft.surgery import SURGERIES
from graft.surgery.inserting import Site, Surgery, insert, inserted

LARGEST_WIDTH = 1_000_000


def describe(net: nn.Module) -> list[dict[str, Any]]:
    """Return what was put into a network, in the order in which it was put in."""
    sites: dict[Surgery, list[Site]] = {}
    for _, child in inserted(net):
        sites.setdefault(child.surgery, []).append(child.site)
    return [
        {
            "surgery": surgery.name,
            "settings": dataclasses.asdict(surgery),  # type: ignore[call-overload]
            "sites": [dataclasses.asdict(site) for site in places],
        }
        for surgery, places in sites.items()
    ]


def inserted_tensors(net: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of what was put into a network, by their names in it."""
    return {
        f"{path}.{name}": tensor
        for path, child in inserted(net)
        for name, tensor in child.state_dict().items()
    }


def restore(net: nn.Module, description: Any, tensors: Mapping[str, Tensor], where: str) -> None:
    """Put into a network what was described, in place.

    Args:
        tensors: all of what was put in, and of the network those that differ.
        where: for messages: the file or folder that holds them.

    Raises:
        ModelError: the description is damaged, or does not fit the network or the tensors.
    """
    for surgery, sites in _read(description, where):
        insert(net, surgery, sites)
    expected = net.state_dict()
    lost = inserted_tensors(net).keys() - tensors.keys()
    odd = [n for n, t in tensors.items() if n not in expected or expected[n].shape != t.shape]
    if lost or odd:
        raise ModelError(f"{where}: tensor `{min([*lost, *odd])}` does not fit; restore the file")
    net.load_state_dict(dict(tensors), strict=False)


def _read(description: Any, where: str) -> list[tuple[Surgery, list[Site]]]:
    try:
        return [
            (
                _surgery(entry["surgery"], entry["settings"]),
                [
                    Site(str(s["host"]), _width(s["width"]), str(s["source"]))
                    for s in entry["sites"]
                ],
            )
            for entry in description
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{where}: does not say what was put into the network ({type(error).__name__}); "
            "restore the file"
        ) from None


def _surgery(name: str, settings: Mapping[str, Any]) -> Surgery:
    module, kind = SURGERIES[name][0].split(":")
    made = getattr(import_module(module), kind)(**settings)
    for field in dataclasses.fields(made):
        value = getattr(made, field.name)
        if not isinstance(value, (int, float, str, type(None))) or isinstance(value, bool):
            raise TypeError
    for size in (getattr(made, "size", 1), getattr(made, "rank", 1)):
        _width(size)
    return made


def _width(value: Any) -> int:
    if not isinstance(value, int) or not 1 <= value <= LARGEST_WIDTH:
        raise ValueError
    return value
