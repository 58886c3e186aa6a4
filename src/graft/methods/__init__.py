"""Methods: plain functions that return a Plan, and the table of their names.

Every method takes the number of blocks of the backbone, and the same keywords: `lr` for the body,
`head_lr` for the head, `epochs`, `batch_size`, and what is its own.
"""

from __future__ import annotations

METHODS: dict[str, tuple[str, str]] = {
    "probe": ("graft.methods.heads:probe", "freeze the body, solve the head exactly (convex)"),
    "head": ("graft.methods.heads:head_only", "freeze the body, train the head by gradient"),
    "last": ("graft.methods.body:last", "train the head and the top blocks; last:3 for three"),
    "layerwise": (
        "graft.methods.body:layerwise",
        "train everything, each block at a lower rate than the one above it",
    ),
    "full": ("graft.methods.body:full", "train everything, the body at a lower rate"),
    "lp-ft": ("graft.methods.body:lp_ft", "solve the head first, then train everything"),
    "unfreeze": ("graft.methods.body:unfreeze", "unfreeze block by block from the top"),
    "bottleneck": (
        "graft.methods.adapters:bottleneck",
        "train bottleneck adapters in a frozen transformer; bottleneck:32 for 32 units",
    ),
    "residual": (
        "graft.methods.adapters:residual",
        "train 1×1 convolutions beside the 3×3 ones of a frozen convolutional network",
    ),
    "lora": (
        "graft.methods.adapters:lora",
        "train low-rank products beside frozen matrices; lora:4 for rank 4",
    ),
    "bias": ("graft.methods.adapters:bias", "train biases and the head (BitFit)"),
    "norms": ("graft.methods.adapters:norms_only", "train normalisation layers and the head"),
    "auto": (
        "graft.methods.auto:auto",
        "probe, lp-ft or full: decided by the rows' number and a cross-validated look at features",
    ),
    "zero-shot": (
        "graft.methods.heads:zero_shot",
        "train nothing: pictures against the names of their classes, by two towers",
    ),
    "scratch": ("graft.methods.body:scratch", "train from random weights: the honest baseline"),
}
"""name → (where the function is, one-line summary)."""
