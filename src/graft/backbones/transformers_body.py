"""Save a transformers network whose classifier is not in the file, so that nobody is misled.

A configuration that names a classification class and labels would make the library fill the
classifier's place with noise and answer with it. So `config.json` names the class of the body and
no labels, and beside it, for graft, the class to which the body belonged.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from torch import nn

OF_CLASS = "graft_body_of"
"""Entry of `config.json`: the class that the network was cut from."""
LABEL_ENTRIES = ("id2label", "label2id", "num_labels", "problem_type")


def name_body(folder: Path, net: nn.Module, *, is_classifier: bool) -> str:
    """Let the `config.json` of a saved network name its body alone.

    Args:
        folder: where `net.save_pretrained` has just written.
        net: the network that was saved.
        is_classifier: it is a classification class, around the body, without its classifier.

    Returns:
        What opens the body; it ends in `(body only)`.
    """
    path = folder / "config.json"
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for entry in (*LABEL_ENTRIES, "architectures"):
        config.pop(entry, None)
    prefix = str(getattr(net, "base_model_prefix", ""))
    body = getattr(net, prefix, None) if is_classifier and prefix else None
    outside = 0
    if isinstance(body, nn.Module):
        config[OF_CLASS] = type(net).__name__
        outside = sum(not name.startswith(f"{prefix}.") for name in net.state_dict())
    else:
        body = net
    config["architectures"] = [type(body).__name__]
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    options = "add_pooling_layer=False" if _lacks_pooler(body) else ""
    opener = f"AutoModel, {options}" if options else "AutoModel"
    if outside:
        opener += f", without {outside} tensors between body and head"
    return f"{opener} (body only)"


def forget_body(config: Any) -> None:
    """Take the entry off a configuration again: its network is saved whole."""
    if hasattr(config, OF_CLASS):
        delattr(config, OF_CLASS)


def _lacks_pooler(body: nn.Module) -> bool:
    """Say whether the library would add a pooler of noise to this body."""
    takes = "add_pooling_layer" in inspect.signature(type(body).__init__).parameters
    return takes and getattr(body, "pooler", None) is None
