"""1×1 convolutions beside or after those of an off-the-shelf network, against training all of it.

    python benchmarks/literature/residual.py --seeds 3 --threads 1

Rebuffi et al. 2018, table 1: on ten domains, parallel adapters do better than series ones where the
network was pretrained without them, and both come near to fine-tuning each domain by itself.

Two ImageNet networks on 200 pictures of hands that sign digits, 96 pixels a side, ten epochs of
batches of 32 for every method; `full` and every head at 1e-3, adapters at their default rate, which
was chosen on other rows. MobileNetV2's 3×3 convolutions are depthwise, so its adapters have a
number per channel; SqueezeNet's are not.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ledger import Ledger, options, subset
from logme import BATCH, EPOCHS, N_TRAIN, RATE, opened, read_pictures

NETWORKS = ("mobilenetv2_100", "squeezenet1_1")


def main() -> None:
    asked = options(__doc__, seeds=3)
    from graft.methods.adapters import residual
    from graft.methods.body import full
    from graft.methods.heads import head_only

    common: dict[str, Any] = {"head_lr": RATE, "epochs": EPOCHS, "batch_size": BATCH}
    plans = {
        "full": full(lr=RATE, **common),
        "parallel": residual(placement="parallel", **common),
        "series": residual(placement="series", **common),
        "head": head_only(**common),
    }
    ledger = Ledger("residual")
    with tempfile.TemporaryDirectory() as folder:
        table, test = read_pictures("signdigits", Path(folder))
        for seed in range(asked.seeds):
            train = subset(table, N_TRAIN, seed)
            for network in NETWORKS:
                for method, plan in plans.items():
                    ledger.cell(
                        lambda n=network, p=plan, t=train, s=seed: figures(n, p, t, test, s),
                        method=f"{network}: {method}",
                        seed=seed,
                    )
    for network in NETWORKS:
        for method, other in (("parallel", "series"), ("parallel", "full"), ("series", "full")):
            gap = ledger.paired(f"{network}: {method}", f"{network}: {other}")
            print(f"{network}: {method} against {other}: {gap}")


def figures(network: str, plan: Any, train: Any, test: Any, seed: int) -> dict[str, float]:
    """Return the test accuracy of a network trained by a plan, and the share that is trained."""
    import torch

    from graft.engine.groups import locate, resolve, trainable
    from graft.engine.predict import predict_rows
    from graft.engine.run import run
    from graft.engine.settings import Settings
    from graft.tasks.classify import Classify

    backbone = opened(network)
    task = Classify(tuple(sorted(set(train.labels()))))
    torch.manual_seed(seed)
    model, _ = task.build(backbone)
    run(plan, model, task, {"train": task.streams(train, backbone)}, settings=Settings(seed=seed))
    stream = task.streams(test, backbone)["train"]
    answers = predict_rows(model, task, stream)["probabilities"].argmax(1)
    trained = trainable(resolve(plan.phases[0].rules, locate(model)))
    n_trained = sum(m.parameter.numel() for m in trained)
    return {
        "share": n_trained / sum(p.numel() for p in model.parameters()),
        "accuracy": float((answers == stream.targets["label"].numpy()).mean()),
    }


if __name__ == "__main__":
    main()
