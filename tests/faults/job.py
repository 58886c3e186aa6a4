"""A tiny `unfreeze` run to be killed: python tests/faults/job.py FOLDER [checkpoint_every].

It trains with dropout, batch norm, validation and a feature store, resumes whatever it finds in
FOLDER, and at the end writes the hash of the weights to FOLDER/sha256.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from torch import Tensor, nn

from graft.backbones.own import backbone
from graft.engine.fingerprint import fingerprint
from graft.engine.run import run
from graft.engine.settings import Listener, Settings
from graft.heads import MLP
from graft.methods.body import unfreeze
from graft.model import Model
from graft.tasks.classify import Classify
from tests.engine.streams import ArrayStream

N_ROWS, N_BLOCKS = 32, 3


class Net(nn.Module):
    """Three blocks of convolution, batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2)
                )
                for _ in range(N_BLOCKS)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.stem(x)).mean((2, 3))


def stream(seed: int, n: int) -> ArrayStream:
    source = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 1, 6, 6, generator=source)
    labels = torch.randint(0, 3, (n,), generator=source)
    return ArrayStream({"x": images}, {"label": labels}, key=f"job-{seed}-{n}")


def job(
    folder: Path | None,
    *,
    every: int = 3,
    patience: int | None = None,
    ema: float | None = None,
    recipe: str = "one",
    notes: list[str] | None = None,
) -> str:
    """Train, or go on training, and return the hash of the final weights."""
    torch.manual_seed(0)
    model = Model(backbone(Net(), blocks="layers.*", width=4), MLP(4, 3, 8))
    plan = unfreeze(
        N_BLOCKS,
        lr=1e-2,
        head_lr=1e-2,
        epochs=2,
        batch_size=8,
        micro_batch_size=5,
        patience=patience,
        ema=ema,
    )
    settings = Settings(
        checkpoints=folder and folder / "checkpoints",
        checkpoint_every=every,
        cache=folder and folder / "cache",
        recipe=recipe,
    )
    run(
        plan,
        model,
        Classify(tuple("abc")),
        {"train": {"train": stream(0, N_ROWS)}, "validation": {"train": stream(1, 8)}},
        settings=settings,
        listener=Listener(on_note=(notes if notes is not None else []).append),
        resume=folder is not None,
    )
    digest = fingerprint(model.state_dict().items())
    if folder is not None:
        (folder / "sha256").write_text(digest, encoding="utf-8")
    return digest


if __name__ == "__main__":
    job(Path(sys.argv[1]), every=int(sys.argv[2]))
