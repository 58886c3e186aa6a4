"""A model: a backbone under a head, or two of them side by side. It knows nothing of training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from graft.backbones.backbone import Backbone
from graft.errors import InputError


class Model(nn.Module):
    """Map a backbone's inputs to the task's output.

    Args:
        backbone: the pretrained network.
        head: reads its `Features`.
    """

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return self.head(self.backbone(inputs))


class Towers(nn.Module):
    """Map pictures and texts into one space, each by a tower and head of its own.

    Args:
        image: the backbone of pictures.
        text: the backbone of texts.
        image_head: reads its `Features`; gives (N, E).
        text_head: likewise, of the same width E.
        log_scale: log of one over the temperature.

    Raises:
        InputError: the heads have different widths.
    """

    def __init__(
        self,
        image: Backbone,
        text: Backbone,
        image_head: nn.Module,
        text_head: nn.Module,
        log_scale: float,
    ) -> None:
        super().__init__()
        if image_head.width != text_head.width:
            raise InputError(
                f"pictures become {image_head.width} numbers and texts {text_head.width}; pass "
                "--head projection:256"
            )
        self.image, self.text = image, text
        self.image_head, self.text_head = image_head, text_head
        self.log_scale: Tensor
        self.register_buffer("log_scale", torch.tensor(float(log_scale)))

    @property
    def width(self) -> int:
        """Return E."""
        return int(self.image_head.width)  # type: ignore[arg-type]

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the vectors (N, E) of a batch of pictures or of texts, not normalised."""
        if "input_ids" in inputs:
            return self.text_head(self.text(inputs))
        return self.image_head(self.image(inputs))
