"""Find the tensors in what a training script saved: state dicts lie nested and under prefixes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

KEYS = (
    *("state_dict", "model_state_dict", "model_state", "model", "module", "net", "network"),
    *("weights", "params", "state_dict_ema", "model_ema", "ema"),
)
"""Where training scripts put the weights, the first that is there."""
PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""
DEEPEST = 3


@dataclass(frozen=True)
class StateDict:
    """Tensors by name, where they lay, and what lay beside them.

    Args:
        tensors: by name.
        key: path of keys to them, joined by `/`; empty at the top.
        prefixes: what was taken off every name; empty before `without_prefixes`.
        dropped: keys beside or among them that hold no tensors, with their kind.
    """

    tensors: dict[str, Tensor]
    key: str
    prefixes: tuple[str, ...]
    dropped: tuple[str, ...]


def find_state_dict(found: Any, key: str | None = None) -> StateDict:
    """Return the state dict in an object that a file held.

    Args:
        found: what was read.
        key: path of keys to the weights, where more than one is there.

    Raises:
        ValueError: there is none, or it is not clear which; the message says what to do.
    """
    path = [] if key is None else key.split("/")
    dropped: list[str] = []
    taken: list[str] = []
    while True:
        if not isinstance(found, Mapping):
            raise ValueError(f"holds {_kind(found)} where a state dict was expected; save one")
        step = path.pop(0) if path else None if key is not None else _inner(found)
        if step is None:
            break
        if step not in found:
            raise ValueError(f"has no key `{step}`; pass --key {_choices(found)}")
        if len(taken) == DEEPEST and key is None:
            raise ValueError("its state dict lies too deep; pass --key")
        dropped += [_said(k, v) for k, v in found.items() if k != step]
        found = found[step]
        taken.append(step)
    tensors = {k: v for k, v in found.items() if isinstance(k, str) and isinstance(v, Tensor)}
    dropped += [_said(k, v) for k, v in found.items() if k not in tensors]
    if not tensors:
        raise ValueError(f"holds no state dict; pass --key {_choices(found)}")
    if "__metadata__" in tensors:
        raise ValueError("a tensor has the name `__metadata__`, which safetensors keeps; rename it")
    return StateDict(tensors, "/".join(taken), (), tuple(dropped))


def without_prefixes(found: StateDict) -> StateDict:
    """Take off what wrappers put before every name; of shards, only once all are together."""
    tensors = found.tensors
    taken: list[str] = []
    while (prefix := next((p for p in PREFIXES if _all_have(tensors, p)), None)) is not None:
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        taken.append(prefix)
    return replace(found, tensors=tensors, prefixes=tuple(taken))


def _inner(found: Mapping[Any, Any]) -> str | None:
    """Return the key under which the weights lie, or None where they lie here."""
    holding = [k for k in KEYS if _holds_tensors(found.get(k))]
    if holding:
        return holding[0]
    if any(isinstance(value, Tensor) for value in found.values()):
        return None
    nested = [k for k, v in found.items() if isinstance(k, str) and _holds_tensors(v)]
    if len(nested) > 1:
        raise ValueError(f"holds several state dicts; pass --key {_choices(found)}")
    return nested[0] if nested else None


def _holds_tensors(value: Any, depth: int = 0) -> bool:
    if not isinstance(value, Mapping) or depth > DEEPEST:
        return False
    return any(isinstance(v, Tensor) or _holds_tensors(v, depth + 1) for v in value.values())


def _choices(found: Mapping[Any, Any]) -> str:
    keys = [str(k)[:24] for k, v in found.items() if _holds_tensors(v)]
    return " or ".join(keys[:3]) or "of one"


def _all_have(tensors: Mapping[str, Tensor], prefix: str) -> bool:
    return all(name.startswith(prefix) and name != prefix for name in tensors)


def _said(key: Any, value: Any) -> str:
    return f"{key} ({_kind(value)})"


def _kind(value: Any) -> str:
    kind = type(value).__name__
    return {"Tensor": "one tensor", "OrderedDict": "dict", "NoneType": "nothing"}.get(kind, kind)
