"""1×1 convolutions beside or after those of an off-the-shelf network, against training all of it.

    python benchmarks/literature/residual.py --seeds 3 --threads 1

Rebuffi et al. 2018, table 1: on ten domains, parallel adapters do better than series ones where the
network was pretrained without them, and both come near to fine-tuning each domain by itself.

Two ImageNet networks on 200 pictures of hands that sign digits, 96 pixels a side, ten epochs of
batches of 32 for every method; `full` and every head at 1e-3, adapters at their default rate, which
was chosen on other rows. MobileNetV2's 3×3 convolutions are depthwise, so its adapters have a
number per channel; SqueezeNet's are not. It has no normalisation, so `norms` is the head there. And
a small network of two 5×5 convolutions, trained on 5,000 digits of MNIST, on 200 digits of another
post office, where it turned out that a head alone is as good as `full`; and on 200 of MNIST's over
crops of photographs, where there is more to learn.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from domains import digits_of, network
from ledger import Ledger, options, subset
from logme import BATCH, EPOCHS, N_TRAIN, RATE, opened, read_pictures

NETWORKS = ("mobilenetv2_100", "squeezenet1_1")
DIGITS = {"mnist to usps": "usps", "mnist to mnist-m": "mnist_m"}
N_DIGITS = 5_000
Figures = Callable[[Any, int], dict[str, float]]


def main() -> None:
    asked = options(__doc__, seeds=3)
    from graft.methods.adapters import norms_only, residual
    from graft.methods.body import full
    from graft.methods.heads import head_only

    common: dict[str, Any] = {"head_lr": RATE, "epochs": EPOCHS, "batch_size": BATCH}
    plans = {
        "full": full(lr=RATE, **common),
        "parallel": residual(placement="parallel", **common),
        "series": residual(placement="series", **common),
        "norms": norms_only(**common),
        "head": head_only(**common),
    }
    ledger = Ledger("residual")
    with tempfile.TemporaryDirectory() as folder:
        cases = {name: of_hands(name, Path(folder)) for name in NETWORKS}
        cases |= {case: of_digits(name) for case, name in DIGITS.items()}
        for seed in range(asked.seeds):
            for name, figures in cases.items():
                for method, plan in plans.items():
                    ledger.cell(
                        lambda f=figures, p=plan, s=seed: f(p, s),
                        method=f"{name}: {method}",
                        seed=seed,
                    )
    for name in cases:
        for method, other in (("parallel", "series"), ("parallel", "full"), ("series", "full")):
            gap = ledger.paired(f"{name}: {method}", f"{name}: {other}")
            print(f"{name}: {method} against {other}: {gap}")


def of_hands(name: str, folder: Path) -> Figures:
    """Return what trains a network of ImageNet on hands, by a plan and a seed."""
    from graft.tasks.classify import Classify

    table, test = read_pictures("signdigits", folder / name)

    def work(plan: Any, seed: int) -> dict[str, float]:
        backbone = opened(name)
        train = subset(table, N_TRAIN, seed)
        task = Classify(tuple(sorted(set(train.labels()))))
        streams, held = (task.streams(some, backbone) for some in (train, test))
        return figures(plan, task, backbone, streams, held["train"], seed)

    return work


def of_digits(name: str) -> Figures:
    """Return what trains a network of MNIST on other digits, by a plan and a seed."""
    import torch

    from graft.engine.run import run
    from graft.methods.body import full
    from graft.tasks.arrays import array_streams
    from graft.tasks.classify import Classify

    task = Classify(tuple("0123456789"))
    found = digits_of(name)
    torch.manual_seed(0)
    known = network()
    model, _ = task.build(known)
    values, labels = (some[:N_DIGITS] for some in found.source)
    plan = full(lr=RATE, head_lr=RATE, epochs=5, batch_size=64)
    run(plan, model, task, {"train": array_streams(values, labels, known)})

    def work(plan: Any, seed: int) -> dict[str, float]:
        own = network()
        own.net.load_state_dict(copy.deepcopy(known.net.state_dict()))
        rows = np.random.default_rng(seed).permutation(len(found.target))[:N_TRAIN]
        streams = array_streams(found.target[rows], found.target_labels[rows], own)
        held = array_streams(*found.tests["target"], own)["train"]
        return figures(plan, task, own, streams, held, seed)

    return work


def figures(
    plan: Any, task: Any, backbone: Any, streams: Any, held: Any, seed: int
) -> dict[str, float]:
    """Return the test accuracy of a network trained by a plan, and the share that is trained."""
    import torch

    from graft.engine.groups import locate, resolve, trainable
    from graft.engine.predict import predict_rows
    from graft.engine.run import run
    from graft.engine.settings import Settings

    torch.manual_seed(seed)
    model, _ = task.build(backbone)
    run(plan, model, task, {"train": streams}, settings=Settings(seed=seed))
    answers = predict_rows(model, task, held)["probabilities"].argmax(1)
    trained = trainable(resolve(plan.phases[0].rules, locate(model)))
    n_trained = sum(m.parameter.numel() for m in trained)
    return {
        "share": n_trained / sum(p.numel() for p in model.parameters()),
        "accuracy": float((answers == held.targets["label"].numpy()).mean()),
    }


if __name__ == "__main__":
    main()
