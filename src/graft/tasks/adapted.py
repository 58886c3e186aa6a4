"""A labelled task that also sees rows of another domain, without their labels.

    train (source, labelled) ──encode→ logits, pooled ─task's own loss──┐
    target (no labels) ───────encode→          pooled ─ADAPTATIONS──────┴→ one loss

What is predicted, how it is scored and how it is saved stay the task's own affair: whatever is not
said here is asked of it. The target is a second stream: a step takes as many rows of it as of the
source, and it begins anew when it ends.

Each stream passes through the network by itself, so batch norm in training mode takes each domain
by its own mean and variance, and its running statistics see both in turn. In one batch together
the difference of the means would be left for the features to undo (Li et al. 2018, "Adaptive Batch
Normalization for practical domain adaptation").

Quantities: n source rows and n target rows of a step, D width of the pooled features, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from graft.backbones.backbone import Backbone
from graft.batch import Batch
from graft.errors import UnknownName
from graft.metrics.classification import accuracy, log_loss
from graft.metrics.label_free import information
from graft.model import Model
from graft.objectives.adversarial import reversal_scale, reversed_gradient
from graft.objectives.binary_cross_entropy import binary_cross_entropy
from graft.objectives.coral import coral
from graft.objectives.distances import wide
from graft.objectives.mmd import mmd
from graft.tasks.classify import Classify
from graft.tasks.decorated import Decorated
from graft.tasks.task import ConvexProblem, Loss, Progress

SOURCE, TARGET = "train", "target"
"""The streams of a step."""

LOG_LOSS, INFORMATION = "log_loss", "target_information"
CHOSEN_BY = (
    "log loss of source validation rows less the information of the predictions for target ones, "
    "no label of the target"
)
"""What `Adapted.criterion` goes by, in words."""

N_HIDDEN = 100
"""Of the domain classifier: as for MNIST in Ganin et al. 2016, section 5.2."""


class DomainClassifier(nn.Module):
    """Score by pooled features (N, D) how surely each row is of the target: (N,) logits."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, N_HIDDEN)
        self.out = nn.Linear(N_HIDDEN, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.out(torch.relu(self.hidden(features))).squeeze(-1)


Discrepancy = Callable[[Tensor, Tensor, nn.Module | None, float, Progress], Tensor]
"""Of source and target features (n, D), the domain classifier, a weight: a summed loss."""


@dataclass(frozen=True)
class Adaptation:
    """Say how two domains are brought together.

    Args:
        loss: what is added to the task's own; None where the target is only watched.
        has_classifier: it learns to tell the domains apart.
        is_joint: its loss is of a whole step, and no sum over rows.
    """

    loss: Discrepancy | None
    has_classifier: bool = False
    is_joint: bool = True


def _adversarial(
    source: Tensor, target: Tensor, classifier: nn.Module | None, weight: float, progress: Progress
) -> Tensor:
    """Return the domain classifier's loss; only its gradient below is turned and weighted.

    The classifier itself learns at its full rate from the first step on, as in Ganin et al. 2016,
    section 5.2.
    """
    assert classifier is not None
    scale = weight * reversal_scale(progress.step / max(progress.n_steps, 1))
    logits = classifier(reversed_gradient(torch.cat([source, target]), scale))
    is_target = torch.arange(len(logits), device=logits.device) >= len(source)
    losses, _ = binary_cross_entropy(logits.float()[:, None], is_target[:, None])
    return losses.sum()


def _discrepancy(objective: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Discrepancy:
    """Return a discrepancy of features that are brought to one scale.

    So a weight means the same for every backbone; the scale is taken as a constant.
    """

    def loss(
        source: Tensor, target: Tensor, classifier: nn.Module | None, weight: float, _: Progress
    ) -> Tensor:
        del classifier
        source, target = wide(source), wide(target)
        with torch.no_grad():
            joined = torch.cat([source, target])
            scale = (joined - joined.mean(0)).square().mean().sqrt().clamp_min(1e-12)
        return weight * objective(source / scale, target / scale)[0].sum()

    return loss


ADAPTATIONS: dict[str, Adaptation] = {
    "dann": Adaptation(_adversarial, has_classifier=True, is_joint=False),
    "coral": Adaptation(_discrepancy(coral)),
    "mmd": Adaptation(_discrepancy(mmd)),
    "none": Adaptation(None, is_joint=False),
}
"""name → how the features of two domains are brought together."""


def find_adaptation(name: str) -> Adaptation:
    """Return an adaptation by its name.

    Raises:
        UnknownName: there is no such adaptation.
    """
    if name not in ADAPTATIONS:
        raise UnknownName("adaptation", name, ADAPTATIONS)
    return ADAPTATIONS[name]


@dataclass(frozen=True)
class Adapted(Decorated):
    """Learn to classify so that it also holds for the rows of another domain.

    No label of the target is ever asked for. Whatever is not said here is the task's own.

    Args:
        task: learned from the labelled rows, the source.
        adapt: name in `ADAPTATIONS`.
        weight: of what brings the domains together.

    Source: Ganin and Lempitsky 2015, equations 1 to 3.
    """

    task: Classify
    adapt: str = "dann"
    weight: float = 1.0

    def __post_init__(self) -> None:
        find_adaptation(self.adapt)

    @property
    def is_watching(self) -> bool:
        """Return whether the target is only looked at, and nothing is learned of it."""
        return ADAPTATIONS[self.adapt].loss is None

    @property
    def is_joint(self) -> bool:
        """Return whether the loss of a step is no sum over its rows."""
        return ADAPTATIONS[self.adapt].is_joint

    def build(self, backbone: Backbone) -> tuple[Model, nn.Module | None]:
        """Return the task's own model, and the domain classifier where there is one."""
        model, _ = self.task.build(backbone)
        if not ADAPTATIONS[self.adapt].has_classifier:
            return model, None
        return model, DomainClassifier(backbone.width)

    def convex(self, stream: Any) -> ConvexProblem | None:
        """Return the task's own problem; None for rows of the target, which have no labels."""
        is_target = bool((stream.targets[self.task.target] < 0).all())
        return None if is_target else self.task.convex(stream)

    def encode(self, model: nn.Module, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """Return `logits` (n, C) and `pooled` features (n, D)."""
        del progress
        features = model.backbone(batch.inputs)  # type: ignore[operator]
        return {"logits": model.head(features), "pooled": features.pooled}  # type: ignore[operator]

    def loss(
        self,
        encoded: Mapping[str, Any],
        batches: Mapping[str, Batch],
        state: nn.Module | None,
        progress: Progress,
    ) -> Loss:
        """Return the task's own loss on the source, and what brings the domains together."""
        source = encoded[SOURCE]
        own = self.task.loss({SOURCE: source["logits"]}, batches, None, progress)
        apart = ADAPTATIONS[self.adapt].loss
        if apart is None or TARGET not in encoded:
            return own
        features = source["pooled"], encoded[TARGET]["pooled"]
        return Loss(own.total + apart(*features, state, self.weight, progress), own.count)

    def measure(
        self, outputs: Mapping[str, Mapping[str, np.ndarray]], streams: Mapping[str, Any]
    ) -> dict[str, float]:
        """Return what is known of validation rows: scores of the source, sureness of the target."""
        probabilities = outputs[SOURCE][self.task.output]
        labels = self.task.truth(streams[SOURCE])
        found = {
            "accuracy": accuracy(labels, probabilities.argmax(1)),
            LOG_LOSS: log_loss(labels, probabilities),
        }
        if TARGET in outputs:
            found[INFORMATION] = information(outputs[TARGET][self.task.output])
        return found

    def criterion(self, loss: float, scores: Mapping[str, float]) -> float:
        """Return by what the best epoch is chosen: small where both domains are told well.

        That is the log loss of the source less the information of the target's predictions.
        """
        del loss  # it counts how well the domains are told apart as well
        return scores[LOG_LOSS] - scores.get(INFORMATION, 0.0)
