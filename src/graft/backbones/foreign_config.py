"""Look at the descriptions in a model's folder before any library acts on them.

Real checkpoints have many keys that nobody here knows, and they pass. Refused is what would make a
library run code, fetch something, or read outside the folder, wherever it stands in any of the
files that a library reads; so is what no description needs: a key that stands twice (readers
disagree on which counts), nesting without end, a file of unlikely size, a network of unlikely size
(`config_bounds.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from graft.backbones.config_bounds import check_sizes, most_layers
from graft.weights.faults import model_error, printable

LARGEST_BYTES = 20_000_000
LARGEST_TOKENIZER_BYTES = 200_000_000
DEEPEST = 40
FILES = (
    *("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json"),
    *("generation_config.json", "special_tokens_map.json", "added_tokens.json", "modules.json"),
    *("sentence_bert_config.json", "config_sentence_transformers.json", "adapter_config.json"),
    *("video_preprocessor_config.json", "model.safetensors.index.json"),
)
"""What libraries read; tokenizer.json is a table of words, and only its size is looked at."""
RUNS_CODE = frozenset(
    {
        *("auto_map", "custom_pipelines", "custom_generate", "trust_remote_code", "custom_load"),
        *(
            "custom_code",
            "code_revision",
            "remote_code",
            "checkpoint_path",
            "pretrained_cfg_overlay",
        ),
    }
)
"""Keys that make a library import a checkpoint's own code; empty or false they do nothing."""
KERNELS = re.compile(r"_?(attn|experts)_implementation(_internal)?|hub_kernels?|kernel_config")
PLAIN_KERNELS = frozenset({"eager", "sdpa", "flex_attention", "flash_attention_2", "grouped_mm"})
NAMES_A_FILE = frozenset(
    {
        "file",
        "weights_file",
        "transformers_weights",
        "weights",
        "state_dict",
        "fast_tokenizer_files",
    }
)
"""Keys whose value a library opens as a file of the folder."""
NAMES_A_MODEL = frozenset({"backbone", "base_model_name_or_path", "teacher", "timm_model_name"})
FETCHED = re.compile(r"(https?|ftp|file|s3|gs|hf|git\+\w+)://", re.IGNORECASE)
SENTENCE_MODULES = frozenset(
    {
        *("Transformer", "Pooling", "Normalize", "Dense", "Dropout", "LayerNorm", "LSTM", "CNN"),
        *("WeightedLayerPooling", "CLIPModel", "StaticEmbedding", "WordEmbeddings", "BoW"),
        *(
            "WordWeights",
            "Asym",
            "Router",
            "SparseStaticEmbedding",
            "SpladePooling",
            "MLMTransformer",
        ),
    }
)


def check_folder(folder: Path) -> None:
    """Refuse a model's folder whose descriptions would run code or reach outside of it.

    Raises:
        ModelError: one line that names the file and the key.
    """
    inner = [path for path in sorted(folder.glob("*/config.json")) if path.is_file()]
    for path in [*(folder / name for name in FILES), *inner]:
        if path.is_file():
            check_config(path)
    if (folder / "adapter_config.json").is_file():
        raise model_error(
            folder / "adapter_config.json",
            "would load another model first; merge the adapter and save the whole model",
        )
    tokenizer = folder / "tokenizer.json"
    if tokenizer.is_file():
        _refuse_large(tokenizer, LARGEST_TOKENIZER_BYTES)


def check_config(path: Path) -> None:
    """Refuse one file of a folder, as `check_folder` does."""
    content = read_json(path)
    n_layers = most_layers(path.parent)
    for key, value in _entries(path, content):
        fault = _fault(key, value)
        if fault:
            raise model_error(path, f"key `{printable(key, 40)}` {fault}")
        if not path.name.endswith(".index.json"):
            check_sizes(path, key, value, n_layers)
    if path.name == "modules.json":
        _check_modules(path, content)
    elif path.name.endswith(".index.json"):
        shards = content.get("weight_map") if isinstance(content, dict) else None
        if not isinstance(shards, dict) or any(_leaves_folder(t) for t in _texts(shards)):
            raise model_error(path, "key `weight_map` points outside the folder; restore the file")


def read_json(path: Path) -> Any:
    """Return what a file of JSON holds; each key once, and not nested without end.

    Raises:
        ModelError: it is damaged, too large, or not unambiguous.
    """
    _refuse_large(path, LARGEST_BYTES)
    twice: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice.append(next(key for key in keys if keys.count(key) > 1))
        return found

    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
    except RecursionError:
        raise model_error(path, f"is nested more than {DEEPEST} deep; restore the file") from None
    except (OSError, ValueError) as error:
        why = printable(str(error), 60)
        raise model_error(path, f"is no JSON that can be read ({why}); restore the file") from None
    if twice:
        raise model_error(path, f"key `{printable(twice[0], 40)}` stands twice; keep one")
    return content


def _refuse_large(path: Path, largest: int) -> None:
    size = path.stat().st_size
    if size > largest:
        raise model_error(
            path, f"{size:,} bytes where a description has at most {largest:,}; restore the file"
        )


def _entries(path: Path, content: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key and value at any depth."""
    level, depth = [content], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise model_error(path, f"is nested more than {DEEPEST} deep; restore the file")
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                yield from value.items()
                below += value.values()
            elif isinstance(value, list):
                below += value
        level = [value for value in below if isinstance(value, dict | list)]


def _fault(key: str, value: Any) -> str:
    """Return why a key with such a value is refused and what to do, or an empty string."""
    if key in RUNS_CODE and value:
        return "asks for the checkpoint's own code, which is never run; remove it or choose another"
    if key == "quantization_config" and value:
        return "needs a quantiser's own code; choose the model before it was quantised"
    texts = list(_texts(value))
    if KERNELS.fullmatch(key):
        if any(text not in PLAIN_KERNELS for text in texts):
            return "names a kernel that would be fetched and run; remove the key"
        return ""
    if key in NAMES_A_FILE and any(_leaves_folder(text) for text in texts):
        return "points outside the folder; give a file beside it"
    if key in NAMES_A_MODEL and any(_leaves_folder(text) for text in texts):
        return "names something to fetch or to open elsewhere; remove the key"
    return ""


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _leaves_folder(text: str) -> bool:
    parts = {*PurePosixPath(text).parts, *PureWindowsPath(text).parts}
    is_rooted = text.startswith(("/", "~", "\\")) or bool(PureWindowsPath(text).drive)
    return bool(FETCHED.match(text)) or is_rooted or ".." in parts


def _check_modules(path: Path, modules: Any) -> None:
    """Refuse a module of sentence-transformers that is not the library's own, or lies elsewhere."""
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise model_error(path, "lists no modules; restore the file")
    for module in modules:
        kind = str(module.get("type"))
        if not (
            re.fullmatch(r"sentence_transformers(\.\w+)+", kind)
            and kind.rsplit(".", 1)[-1] in SENTENCE_MODULES
        ):
            raise model_error(
                path,
                f"module {printable(kind, 50)} needs the checkpoint's own code, which is never "
                "run; choose another model",
            )
        if _leaves_folder(str(module.get("path", ""))):
            raise model_error(path, "key `path` points outside the folder; give a folder beside it")
