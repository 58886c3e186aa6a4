"""Methods that leave pretrained matrices as they are: small modules beside them, biases, norms.

What they train is a few percent of the network, so it can be kept by itself: one backbone, and an
adapter for each task.
"""

from __future__ import annotations

from typing import Any

from graft.errors import InputError
from graft.methods.plan import Phase, Plan, Rule
from graft.methods.schedule import gradient
from graft.methods.select import Selector, biases, everything, head, inserted, norms, state
from graft.surgery.bottleneck import Bottleneck
from graft.surgery.inserting import Surgery
from graft.surgery.lora import LoRA
from graft.surgery.residual import Residual


def bottleneck(
    n_blocks: int = 0,
    *,
    size: int = 64,
    placement: str = "houlsby",
    lr: float = 2e-3,
    head_lr: float = 2e-3,
    weight_decay: float = 0.0,
    epochs: int | None = None,
    **options: Any,
) -> Plan:
    """Train bottleneck adapters of `size` in a transformer, with its norms and the head.

    Args:
        placement: `houlsby`, `pfeiffer` or `parallel`; see `graft.surgery.bottleneck`.

    Source: Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for NLP", section 2.
    """
    del n_blocks
    _refuse_unknown(placement, ("houlsby", "pfeiffer", "parallel"), "bottleneck")
    surgery = Bottleneck(size, placement)  # type: ignore[arg-type]
    by = gradient(epochs, options)
    return _beside("bottleneck", surgery, (inserted(), norms()), lr, head_lr, weight_decay, by)


def residual(
    n_blocks: int = 0,
    *,
    placement: str = "parallel",
    lr: float = 2e-2,
    head_lr: float = 1e-3,
    weight_decay: float = 0.0,
    epochs: int | None = None,
    **options: Any,
) -> Plan:
    """Train 1×1 convolutions beside or after the 3×3 ones, with the norms and the head.

    Unlike in the paper, running statistics stay as they were; see `graft.engine.modes`.

    Args:
        placement: `parallel` or `series`; see `graft.surgery.residual`.

    Source: Rebuffi et al. 2018, "Efficient Parametrization of Multi-Domain Deep Neural Networks".
    """
    del n_blocks
    _refuse_unknown(placement, ("parallel", "series"), "residual")
    surgery = Residual(placement)  # type: ignore[arg-type]
    by = gradient(epochs, options)
    return _beside("residual", surgery, (inserted(), norms()), lr, head_lr, weight_decay, by)


def lora(
    n_blocks: int = 0,
    *,
    rank: int = 8,
    alpha: float | None = None,
    lr: float = 2e-3,
    head_lr: float = 2e-3,
    weight_decay: float = 0.0,
    epochs: int | None = None,
    **options: Any,
) -> Plan:
    """Train low-rank products beside the matrices of the blocks, and the head.

    Args:
        rank: of the products.
        alpha: they count `alpha / rank` times; twice unless given.

    Source: Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models".
    """
    del n_blocks
    if options.get("l2_sp") is not None:
        raise InputError("lora leaves the body where it began; leave out --l2-sp")
    by = gradient(epochs, options)
    return _beside("lora", LoRA(rank, alpha), (inserted(),), lr, head_lr, weight_decay, by)


def bias(
    n_blocks: int = 0,
    *,
    lr: float = 3e-3,
    head_lr: float = 3e-3,
    epochs: int | None = None,
    **options: Any,
) -> Plan:
    """Train biases and the head.

    Source: Ben Zaken et al. 2022, "BitFit".
    """
    del n_blocks
    return _beside("bias", None, (biases(),), lr, head_lr, 0.0, gradient(epochs, options))


def norms_only(
    n_blocks: int = 0,
    *,
    lr: float = 1e-2,
    head_lr: float = 1e-3,
    epochs: int | None = None,
    **options: Any,
) -> Plan:
    """Train the scales and shifts of normalisation layers, and the head.

    Running statistics stay as they were; see `graft.engine.modes`.

    Source: Frankle et al. 2021, "Training BatchNorm and Only BatchNorm".
    """
    del n_blocks
    return _beside("norms", None, (norms(),), lr, head_lr, 0.0, gradient(epochs, options))


def _beside(
    name: str,
    surgery: Surgery | None,
    trained: tuple[Selector, ...],
    lr: float,
    head_lr: float,
    weight_decay: float,
    by: Any,
) -> Plan:
    rules = (
        Rule(head(), head_lr, weight_decay),
        Rule(state(), head_lr),
        *(Rule(where, lr, weight_decay) for where in trained),
        Rule(everything(), None),
    )
    return Plan((Phase(name, rules, by, () if surgery is None else (surgery,)),))


def _refuse_unknown(placement: str, known: tuple[str, ...], method: str) -> None:
    if placement not in known:
        raise InputError(
            f"--placement {placement}: method `{method}` knows {', '.join(known[:-1])} and "
            f"{known[-1]}"
        )
