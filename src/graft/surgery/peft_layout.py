"""LoRA as the `peft` library lays it out on disk.

    ours    encoder.layer.0.output.dense.lora.lora_A.weight
    peft    base_model.model.encoder.layer.0.output.dense.lora_A.weight

Source: the format of `adapter_config.json` and `adapter_model.safetensors` in peft 0.19 to 0.21.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from graft.surgery.inserting import inserted
from graft.surgery.lora import LoRA

PREFIX = "base_model.model."


def peft_config(
    net: nn.Module, tensors: Mapping[str, Tensor], backbone: str
) -> dict[str, Any] | None:
    """Return the configuration that peft needs, or None where LoRA is not all that was trained.

    Args:
        tensors: all that differs from the backbone, by name in the network.
        backbone: name or folder of the network.
    """
    children = [child for _, child in inserted(net)]
    settings = {child.surgery for child in children}
    n_own = sum(len(child.state_dict()) for child in children)
    lora = next(iter(settings), None)
    if len(settings) != 1 or not isinstance(lora, LoRA) or n_own != len(tensors):
        return None
    hosts = [child.site.host for child in children]
    return {
        "peft_type": "LORA",
        "task_type": "FEATURE_EXTRACTION",
        "base_model_name_or_path": backbone,
        "r": lora.rank,
        "lora_alpha": lora.scale * lora.rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": any(isinstance(net.get_submodule(h), Conv1D) for h in hosts),
        "target_modules": hosts,
        "inference_mode": True,
    }


def to_peft(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors under peft's names."""
    return {f"{PREFIX}{name.replace('.lora.lora_', '.lora_')}": t for name, t in tensors.items()}


def from_peft(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors under our names; what is not under peft's stays as it is."""
    return {
        name.removeprefix(PREFIX).replace(".lora_", ".lora.lora_")
        if name.startswith(PREFIX)
        else name: tensor
        for name, tensor in tensors.items()
    }
