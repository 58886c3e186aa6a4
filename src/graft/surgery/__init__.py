"""Surgery: changes of the network itself, each the identity where it is made.

inserting      the one mechanism by which modules are put in, taken out and merged
watching       where they belong, found by watching one pass
bottleneck, residual, lora      what can be put in: one file each, one line in `SURGERIES`
channels, truncate      other changes: of the first convolution, of the number of blocks
"""

from __future__ import annotations

SURGERIES: dict[str, tuple[str, str]] = {
    "bottleneck": (
        "graft.surgery.bottleneck:Bottleneck",
        "two thin layers where a branch of a transformer joins the stream",
    ),
    "residual": (
        "graft.surgery.residual:Residual",
        "1×1 convolutions after or beside the 3×3 ones of a convolutional network",
    ),
    "lora": (
        "graft.surgery.lora:LoRA",
        "products of thin matrices beside linear layers and convolutions",
    ),
}
"""name → (where the class is, one-line summary)."""
