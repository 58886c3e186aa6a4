"""Plans, rules, backbones and objectives without graft's engine: a training loop of your own.

    python examples/own_loop.py examples/tickets.csv

The plan says which parameters train at which rate; `resolve` gives them to an optimiser. What a
loop of your own gives up is what the engine does besides: features stored at the frozen boundary,
checkpoints, several processes.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

import graft
from graft.data.readers import read
from graft.data.sampling import batches
from graft.engine.groups import locate, resolve, set_trainable
from graft.engine.optim import build_optimizer, set_rates
from graft.heads import head
from graft.methods.body import layerwise
from graft.model import Model
from graft.objectives.cross_entropy import cross_entropy


def train(
    path: str, *, model: str = "minilm", epochs: int = 3, batch_size: int = 32, lr: float = 5e-5
) -> list[float]:
    """Train on a table of texts; returns the mean loss of each epoch."""
    table = read(path)
    classes = sorted(set(table.labels()))
    targets = torch.tensor([classes.index(label) for label in table.labels()])

    backbone = graft.open_backbone(model)
    net = Model(backbone, head("linear", backbone.width, len(classes)))
    rows = backbone.processor.encode(table.inputs())
    lengths = np.array([backbone.processor.length(row) for row in rows])

    n_blocks = backbone.chains[0].n_blocks
    (phase,) = layerwise(n_blocks, lr=lr, epochs=epochs, batch_size=batch_size).phases
    groups = resolve(phase.rules, locate(net))  # every parameter once, or an error that names it
    set_trainable(groups)
    optimizer = build_optimizer(groups, phase.by)

    n_steps = epochs * -(-len(table) // batch_size)
    step, means = 0, []
    for epoch in range(epochs):
        net.train()
        total = 0.0
        for chosen in batches(lengths, len(table), batch_size, seed=0, epoch=epoch):
            set_rates(optimizer, phase.by, step, n_steps)
            logits = net(backbone.processor.collate([rows[i] for i in chosen]))
            losses, weights = cross_entropy(logits, targets[chosen])
            optimizer.zero_grad()
            (losses.sum() / weights.sum()).backward()
            optimizer.step()
            total += float(losses.detach().sum())
            step += 1
        means.append(total / len(table))
        print(f"epoch {epoch}: loss {means[-1]:.3f}")
    return means


if __name__ == "__main__":
    train(sys.argv[1] if len(sys.argv) > 1 else "examples/tickets.csv")
