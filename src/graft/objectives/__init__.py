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
    "contrastive": (
        "graft.objectives.contrastive:contrastive",
        "pairs with a yes or no: near, or beyond a margin",
    ),
    "contrastive_all_pairs": (
        "graft.objectives.contrastive:contrastive_all_pairs",
        "the contrastive loss of all pairs of a labelled batch",
    ),
    "triplet_margin": (
        "graft.objectives.triplet:triplet_margin",
        "given triplets: the positive nearer than the negative by a margin",
    ),
    "triplet": (
        "graft.objectives.triplet:triplet",
        "triplets mined in a labelled batch: all, active, hard, semi-hard, distance-weighted",
    ),
    "info_nce": (
        "graft.objectives.info_nce:info_nce",
        "pairs; the batch's others and hard negatives are told from the positive",
    ),
    "n_pair": (
        "graft.objectives.info_nce:n_pair",
        "in-batch negatives by inner products, without a temperature",
    ),
    "supervised_contrastive": (
        "graft.objectives.supervised_contrastive:supervised_contrastive",
        "all items of a label are positives in a softmax over the batch",
    ),
    "softmax": (
        "graft.objectives.margin_softmax:softmax_loss",
        "softmax over class vectors, by inner products or scaled cosines",
    ),
    "cosface": (
        "graft.objectives.margin_softmax:cosface",
        "softmax of scaled cosines with a margin of the cosine",
    ),
    "arcface": (
        "graft.objectives.margin_softmax:arcface",
        "softmax of scaled cosines with a margin of the angle",
    ),
    "center": (
        "graft.objectives.center:center",
        "half the squared distance to the center of the class; alone, nothing keeps classes apart",
    ),
    "softmax_with_center": (
        "graft.objectives.center:softmax_with_center",
        "softmax on embeddings and the center loss, joined",
    ),
    "proxy_nca": (
        "graft.objectives.proxies:proxy_nca",
        "the class's learned proxy nearer than those of other classes",
    ),
    "proxy_anchor": (
        "graft.objectives.proxies:proxy_anchor",
        "each proxy against all items of the batch, the hard ones most",
    ),
    "cosent": (
        "graft.objectives.scored_pairs:cosent",
        "scored pairs: cosines in the order of the scores",
    ),
    "cosine_regression": (
        "graft.objectives.scored_pairs:cosine_regression",
        "scored pairs: the cosine is the score",
    ),
    "coral": (
        "graft.objectives.coral:coral",
        "two domains: the same covariance of the features (--adapt coral)",
    ),
    "mmd": (
        "graft.objectives.mmd:mmd",
        "two domains: the same mean in five Gaussian kernels (--adapt mmd)",
    ),
    "softmax_distillation": (
        "graft.objectives.distillation:softmax_distillation",
        "softened probabilities of classes as near as may be to a teacher's (temperature)",
    ),
    "sigmoid_distillation": (
        "graft.objectives.distillation:sigmoid_distillation",
        "the same for labels of which any number may hold",
    ),
    "cosine_distillation": (
        "graft.objectives.distillation:cosine_distillation",
        "each vector in the direction of a teacher's",
    ),
}
"""name → (where the function is, one-line summary)."""
