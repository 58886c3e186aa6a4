"""A model: a backbone under a head. It knows nothing of training."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from graft.backbones.backbone import Backbone


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
