"""Objectives: pure functions of tensors that give per-item losses; none ever sees a model.

The reduction is the engine's: it sums over a whole step, over micro-batches and processes, and
divides by the summed weight, so that the parts of a step add up to exactly the step.
"""

from __future__ import annotations

OBJECTIVES: dict[str, tuple[str, str]] = {
    "cross_entropy": (
        "graft.objectives.cross_entropy:cross_entropy",
        "softmax cross-entropy; hard or soft targets, class weights, label smoothing",
    ),
    "binary_cross_entropy": (
        "graft.objectives.binary_cross_entropy:binary_cross_entropy",
        "sigmoid cross-entropy, averaged over labels; soft targets, label smoothing",
    ),
    "binary_focal": (
        "graft.objectives.focal:binary_focal_loss",
        "sigmoid cross-entropy that counts well predicted labels less (gamma)",
    ),
    "focal": (
        "graft.objectives.focal:focal_loss",
        "softmax cross-entropy that counts well predicted examples less (gamma)",
    ),
    "mean_squared_error": (
        "graft.objectives.squared_error:squared_error",
        "squared error per example, averaged over outputs",
    ),
}
"""name → (where the function is, one-line summary)."""
