"""Files of weights: what a safetensors file must be, and how foreign formats become one.

    *.safetensors ─header→ checked ─read→ tensors
    model/        ─manifest→ every file is the one that was saved
    *.pt *.bin *.pth *.ckpt *.h5 ─convert→ a child process ─→ *.safetensors

Nothing outside the child process opens a format that can run code.
"""

from __future__ import annotations
