"""Two backbones side by side, for pictures and texts in one space.

    open_pair("timm:mobilenetv2_100", "minilm")    any two, to be joined by new projections
    open_pair("folder")                            CLIP, SigLIP, or a run of ours: with its own

The chains of the towers are named `image` and `text`, so rules can tell them apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from graft.backbones import TWO_TOWERS, open_backbone, read_about, read_head, shown
from graft.backbones.backbone import Backbone, Chain, Origin
from graft.errors import ModelError
from graft.heads import Pooled, Projection
from graft.weights.manifest import check_manifest

DEFAULT_TEXT_MODEL = "minilm"
Side = Literal["image", "text"]
SIDES: tuple[Side, Side] = ("image", "text")


@dataclass(frozen=True, eq=False)
class BackbonePair:
    """Hold two towers, and what joins them where they were trained together.

    Args:
        image: takes pictures.
        text: takes texts.
        origin: where they came from.
        heads: their own projections into one space, of images and of texts; None where they have
            none yet.
        log_scale: their own log of one over the temperature, or None.
        save: writes the whole as its library does; None where each tower is saved by itself.
    """

    image: Backbone
    text: Backbone
    origin: Origin
    heads: tuple[nn.Module, nn.Module] | None = None
    log_scale: float | None = None
    save: Callable[[Path, nn.Module], str] | None = None

    modality = "image-text"

    def __post_init__(self) -> None:
        for side in SIDES:
            tower: Backbone = getattr(self, side)
            if tower.modality != side:
                raise ModelError(
                    f"{shown(tower.origin.name)}: takes {tower.modality}, and is meant for the "
                    f"{side} tower; name it with --{'model' if side == 'image' else 'text-model'}"
                )
            tower.chains = named_for(side, tower.chains)

    @property
    def chains(self) -> tuple[Chain, ...]:
        """Return the chains of both."""
        return (*self.image.chains, *self.text.chains)


def named_for(side: Side, chains: tuple[Chain, ...]) -> tuple[Chain, ...]:
    """Return chains named after their tower; several of one tower as `text.encoder`."""
    is_one = len(chains) == 1

    def renamed(name: str) -> str:
        own = name.removeprefix(f"{side}.")
        return side if is_one else f"{side}.{own}"

    return tuple(
        replace(c, name=renamed(c.name), after=tuple(map(renamed, c.after))) for c in chains
    )


def open_pair(
    model: str | Path, text_model: str | Path | None = None, *, random: bool = False
) -> BackbonePair:
    """Open two towers.

    Args:
        model: of pictures, as `open_backbone` takes it; or a folder that holds both towers: of
            CLIP's family, or a run of ours.
        text_model: of texts; `minilm` unless given. Not with a folder that holds both.
        random: keep the architectures but not the weights.

    Raises:
        ModelError: a name or folder cannot be opened, or takes something else.
    """
    folder = folder_of_both(model)
    if folder is None:
        image = open_backbone(model, random=random)
        text = open_backbone(text_model or DEFAULT_TEXT_MODEL, random=random)
        name = f"{image.origin.name} + {text.origin.name}"
        family = f"{image.origin.family} + {text.origin.family}"
        notes = (*image.origin.notes, *text.origin.notes)
        return BackbonePair(image, text, Origin("pair", name, family, notes=notes))
    if text_model is not None:
        raise ModelError(f"{shown(model)}: holds both towers; leave out --text-model")
    if (folder / "graft.json").is_file():
        check_manifest(folder)
    if (folder / "config.json").is_file():
        from graft.backbones.clip import open_clip

        return open_clip(folder, random=random)
    return _open_ours(folder, random=random)


def folder_of_both(name: str | Path) -> Path | None:
    """Return the folder where a name means one that holds both towers, else None."""
    try:
        folder = Path(name).expanduser()
        if (folder / "record.json").is_file() and (folder / "model").is_dir():
            folder = folder / "model"
        about, config = folder / "graft.json", folder / "config.json"
        if about.is_file():
            return folder if read_about(folder).get("modality") == BackbonePair.modality else None
        if config.is_file():
            kind = json.loads(config.read_text(encoding="utf-8")).get("model_type")
            return folder if kind in TWO_TOWERS else None
    except (OSError, ValueError, AttributeError):  # no path at all, or no description
        return None
    return None


def _open_ours(folder: Path, *, random: bool) -> BackbonePair:
    """Open what `graft.artifact` wrote: a folder for each tower, and the projections beside."""
    tensors = read_head(folder)
    image, text = (open_backbone(folder / side, random=random) for side in SIDES)
    heads = tuple(
        _head(of_module(tensors, f"{side}_head"), tower.width, folder)
        for side, tower in zip(SIDES, (image, text), strict=True)
    )
    about = read_about(folder)
    origin = Origin(about["source"], about.get("backbone", str(folder)), about.get("family", ""))
    log_scale = float(tensors["log_scale"]) if "log_scale" in tensors else None
    return BackbonePair(image, text, origin, heads, log_scale)  # type: ignore[arg-type]


def of_module(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors of a submodule, under their names there."""
    start = f"{prefix}."
    return {k.removeprefix(start): t for k, t in tensors.items() if k.startswith(start)}


def _head(tensors: dict[str, Tensor], width: int, folder: Path) -> Any:
    if not tensors:
        return Pooled(width)
    weight = tensors.get("out.weight")
    if weight is None or weight.ndim != 2 or weight.shape[1] != width:
        raise ModelError(
            f"{shown(folder)}/head.safetensors: a projection does not fit its tower; restore it"
        )
    return projection_of(weight)


def projection_of(weight: Tensor) -> Projection:
    """Return a projection with a weight (E, D) of its own."""
    head = Projection(weight.shape[1], weight.shape[0])
    head.out.load_state_dict({"weight": weight})
    return head
