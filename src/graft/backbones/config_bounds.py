"""Refuse a configuration that asks for a network of no likely size, before anything is built.

Two bounds, since neither suffices alone. Each number has a generous one of its own by what its key
says it counts, so that a million layers stop before a million modules are made. Then the network is
built without memory (torch's meta device) and its parameters are counted: where weights lie beside
the configuration there cannot be many more than their files hold, and where there are none they
have to fit into memory.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.errors import ModelError
from graft.memory import available_bytes
from graft.weights.faults import model_error, printable
from graft.weights.header import read_header

if TYPE_CHECKING:
    from torch import nn

LAYERS = re.compile(r"((num|n)_)?(\w+_)?(layers?|depths?|blocks|stages|repeats)")
LEAST_LAYERS = 64
"""May always be asked for: ALBERT's blocks share one block's weights."""
BOUNDS = (
    (LAYERS, 1_000),
    (re.compile(r"(num|n)_(\w+_)?experts(_\w+)?"), 4_096),
    (re.compile(r"(num|n)_(\w+_)?(heads?|groups)"), 65_536),
    (
        re.compile(
            r"(\w+_)?vocab_size(_\w+)?|(num|n)_(labels|classes|hash_buckets)|\w*num_embeddings"
        ),
        10_000_000,
    ),
    (
        re.compile(r"max_position_embeddings|n_positions|n_ctx|max_\w*positions|context_length"),
        1 << 28,
    ),
    (re.compile(r"(\w+_)?(image|img|input|patch|kernel|window|crop)_size|resize"), 65_536),
    (re.compile(r"height|width|shortest_edge|size"), 65_536),
    (
        re.compile(
            r"(\w+_)?(hidden|intermediate|embed|embedding|inner|ffn|mlp|proj|projection|state|conv)"
            r"_sizes?|d_(model|ff|kv|inner|state)|(\w+_)?dims?|(\w+_)?(channels|chans|features)"
            r"|n_(embd|inner)|(\w+_)?(embedding_)?dimension"
        ),
        1 << 18,
    ),
    (re.compile(r"(mlp|expand|expansion)(_ratios?|_factor)?|width_multiplier"), 1_024),
)
"""What a key counts → the most that its value may be; real ones are at least four times smaller."""
LEAST_CROP_PCT = 0.05
"""Pictures are resized to their size divided by this."""
LARGEST_GROWTH = 2
SPARE_PARAMETERS = 10_000_000
"""A network may have so many times what its files hold, and so many more: a pooler, a head."""
BYTES_PER_PARAMETER = 4


def check_sizes(path: Path, key: str, value: Any, n_layers: int) -> None:
    """Refuse a number that no real network has.

    Args:
        path: of the description.
        key: at any depth of it.
        n_layers: most layers that the weights beside it can have.

    Raises:
        ModelError: one line that names key, value and the mend.
    """
    for pattern, most in BOUNDS:
        if pattern.fullmatch(key):
            bound = min(most, n_layers) if pattern is LAYERS else most
            for number in _numbers(value):
                # also what is not a number: it compares with nothing
                if not number <= bound:
                    raise _too_large(path, key, number, f"at most {bound:,} is possible here")
            return
    if key == "crop_pct":
        for number in _numbers(value):
            if not number >= LEAST_CROP_PCT:
                raise _too_large(path, key, number, f"at least {LEAST_CROP_PCT} is possible")


def _too_large(path: Path, key: str, number: float, bound: str) -> ModelError:
    shown = printable(f"{number:,}" if isinstance(number, int) else repr(number), 30)
    return model_error(path, f"key `{printable(key, 40)}` is {shown}; {bound}: restore the file")


def _numbers(value: Any) -> Iterator[int | float]:
    level = [value]
    while level:
        one = level.pop()
        if isinstance(one, list):
            level += one
        elif isinstance(one, int | float) and not isinstance(one, bool):
            yield one


def most_layers(folder: Path) -> int:
    """Return how many layers the weights in a folder can have: each has a tensor of its own.

    Without weights, or where their headers cannot be read, any number that is possible at all.
    """
    try:
        n_tensors = [len(read_header(path).tensors) for path in folder.glob("*.safetensors")]
    except ModelError:  # said by whoever opens the weights
        return BOUNDS[0][1]
    return max(LEAST_LAYERS, sum(n_tensors)) if n_tensors else BOUNDS[0][1]


def refuse_more_than(folder: Path, build: Callable[[], nn.Module], *, random: bool) -> None:
    """Refuse a network with far more parameters than its files hold, or than memory does.

    Args:
        folder: with the safetensors files, unless `random`.
        build: builds the network; it runs on the meta device, and what it raises says nothing here.
        random: no weights are read.

    Raises:
        ModelError: one line that names both numbers.
    """
    asked = _count(build)
    if random:
        most = available_bytes() // BYTES_PER_PARAMETER
        where = "memory has room for"
    else:
        held = sum(
            math.prod(tensor.shape)
            for path in folder.glob("*.safetensors")
            for tensor in read_header(path).tensors.values()
        )
        most, where = (
            LARGEST_GROWTH * held + SPARE_PARAMETERS,
            f"its files hold {held:,}, so at most",
        )
    if asked > most:
        raise model_error(
            folder / "config.json",
            f"asks for {asked:,} parameters, and {where} {most:,}; restore the file",
        )


def _count(build: Callable[[], nn.Module]) -> int:
    """Return the number of parameters of what `build` builds, 0 where it cannot be built so."""
    import torch

    try:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in build().parameters())
    except Exception:  # libraries raise many kinds; the real building says what is wrong
        return 0
