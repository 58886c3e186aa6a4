"""Read what a sentence-transformers folder says of itself: where the network lies, how it pools.

Source: the folders that sentence-transformers 2 to 6 write; version 5 renamed the pooling's keys.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.backbones import shown
from graft.backbones.pooling import POOLINGS
from graft.errors import ModelError

OLD_NAMES = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
}
WITHOUT_WEIGHTS = ("Transformer", "Pooling", "Normalize", "Dropout")


@dataclass(frozen=True)
class SentenceModules:
    """What `modules.json` and the files that it names say.

    Args:
        folder: where the transformer lies.
        pooling: name in `POOLINGS`; None where the folder has no pooling.
        max_length: longest input in tokens, if stated.
        lower_case: texts are lower-cased before the tokenizer sees them.
        left_out: kinds of the modules after the pooling that have weights and are not read.
    """

    folder: Path
    pooling: str | None = None
    max_length: int | None = None
    lower_case: bool = False
    left_out: tuple[str, ...] = ()


def read_modules(folder: Path) -> SentenceModules:
    """Read a folder; one without `modules.json` is a plain transformers folder.

    Raises:
        ModelError: the pooling is not one of ours, or a file is damaged. Kinds of modules that need
            the checkpoint's own code were refused before (`foreign_config`).
    """
    if not (folder / "modules.json").is_file():
        return SentenceModules(folder)
    pooling, inner, left_out = None, folder, []
    modules = _read(folder / "modules.json")
    try:
        kinds = [(str(module["type"]), str(module["path"])) for module in modules]
    except (TypeError, KeyError):
        raise ModelError(
            f"{shown(folder)}: modules.json lists no modules; restore the file"
        ) from None
    for module, path in kinds:
        kind = module.rsplit(".", 1)[-1]
        if kind == "Transformer":
            inner = folder / path
        elif kind == "Pooling":
            pooling = _pooling(folder / path / "config.json")
        if kind not in WITHOUT_WEIGHTS:
            left_out.append(kind)
    settings = inner / "sentence_bert_config.json"
    stated = _read(settings) if settings.is_file() else {}
    return SentenceModules(
        inner,
        pooling,
        stated.get("max_seq_length"),
        bool(stated.get("do_lower_case")),
        tuple(left_out),
    )


def _pooling(path: Path) -> str:
    """Read sentence-transformers' pooling, in its older and its newer form."""
    config = _read(path)
    mode = config.get("pooling_mode")
    if mode is None:
        mode = [OLD_NAMES.get(k, k) for k, v in config.items() if v is True and _is_mode(k)]
    modes = [mode] if isinstance(mode, str) else list(mode)
    if len(modes) != 1 or modes[0] not in POOLINGS:
        found = " + ".join(map(str, modes))[:60] or "none"
        raise ModelError(
            f"{shown(path)}: pooling `{found}` is not known; use one of {', '.join(POOLINGS)}"
        )
    return str(modes[0])


def _is_mode(key: str) -> bool:
    return key.startswith("pooling_mode_")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{shown(path)}: cannot be read ({type(error).__name__}); restore the file"
        ) from None
