"""Open the parts of a transformers checkpoint: folder, configuration, tokenizer, weights.

Nothing of a checkpoint is ever run: remote code is refused by the library, and what a configuration
says of attention and expert kernels, which the library would fetch and load, is forgotten.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from graft.backbones import shown
from graft.backbones.config_bounds import refuse_more_than
from graft.backbones.foreign_config import check_folder
from graft.backbones.hub import reaches
from graft.errors import ModelError
from graft.weights.door import refuse_folder_without
from graft.weights.header import read_header

FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
NOT_FILES = ("onnx/*", "openvino/*")
KERNELS = ("_attn_implementation_internal", "_experts_implementation_internal")


def brief(error: Exception) -> str:
    """Return the first 70 characters of what a library says."""
    return " ".join(str(error).split())[:70] or type(error).__name__


def fetch(name: str, *, with_weights: bool = True) -> Path:
    """Return the folder of a checkpoint; a hub name's files are downloaded first.

    Args:
        name: a folder or a hub name.
        with_weights: download the weights too.

    Raises:
        ModelError: it is no folder and cannot be had from the hub, or a description in it would
            run code.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        check_folder(folder)
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        not_files = [*NOT_FILES, *([] if with_weights else ["*.safetensors"])]
        folder = Path(
            snapshot_download(
                name,
                allow_patterns=list(FILES),
                ignore_patterns=not_files,
                local_files_only=not reaches(name),
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"model `{shown(name)}` is no folder and was not reached on the hub "
            f"({type(error).__name__}); give a folder"
        ) from None
    check_folder(folder)
    return folder


def open_config(folder: Path) -> Any:
    """Open a configuration, and forget what in it would load code."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"model `{shown(folder)}` cannot be opened by transformers: {brief(error)}"
        ) from None
    _forget_code(config)
    return config


def _forget_code(config: Any) -> None:
    for name in KERNELS:
        if getattr(config, name, None) is not None:
            setattr(config, name, None)
    if hasattr(config, "auto_map"):
        del config.auto_map
    for name in getattr(config, "sub_configs", None) or ():
        inner = getattr(config, name, None)
        if inner is not None:
            _forget_code(inner)


def open_tokenizer(folder: Path) -> Any:
    """Open a fast tokenizer that pads on the right.

    Raises:
        ModelError: there is none.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # damaged files: the tokenizers library raises bare Exception
        raise ModelError(
            f"model `{shown(folder)}` has no tokenizer that opens: {brief(error)}"
        ) from None
    if not tokenizer.is_fast:
        raise ModelError(
            f"model `{shown(folder)}` has no tokenizer.json; save it with a fast tokenizer"
        )
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        # padding is masked, so any token will do
        first = tokenizer.convert_ids_to_tokens(0)
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token or first
    return tokenizer


def open_weights(auto: Any, folder: Path, config: Any) -> tuple[nn.Module, frozenset[str]]:
    """Open a network in float32; returns it and the names of weights that its file lacks.

    Raises:
        ModelError: there is no safetensors file, or it does not open.
    """
    refuse_folder_without(folder, "*.safetensors")
    for path in sorted(folder.glob("*.safetensors")):
        read_header(path)
    refuse_more_than(folder, lambda: auto.from_config(copy.deepcopy(config)), random=False)
    from safetensors import SafetensorError

    try:
        with quiet():
            net, report = auto.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ModelError(
            f"{shown(folder)}: its weights do not open ({brief(error)}); restore the files"
        ) from None
    return net, frozenset(report["missing_keys"])


def open_random(auto: Any, folder: Path, config: Any) -> nn.Module:
    """Build a network in float32 with random weights.

    Raises:
        ModelError: it does not fit into memory.
    """

    def build() -> nn.Module:
        return auto.from_config(copy.deepcopy(config), dtype=torch.float32)

    refuse_more_than(folder, build, random=True)
    return build()


def refuse_missing(folder: Path, missing: frozenset[str]) -> None:
    """Refuse a network of which the library filled a part with noise.

    Raises:
        ModelError: `missing` names a weight.
    """
    if missing:
        lost = ", ".join(sorted(missing)[:2])[:80]
        raise ModelError(
            f"{shown(folder)}: {len(missing)} weights are not in its file ({lost}); mend the file"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's bars and reports off the screen: what they say is checked here."""
    from transformers.utils import logging

    verbosity, had_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bar:
            logging.enable_progress_bar()
