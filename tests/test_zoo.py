"""The laws of the zoo: what every contract test takes for granted of a specimen."""

from __future__ import annotations

import functools
from itertools import groupby
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tests.zoo import WARNINGS, ZOO, Specimen, matched, row_alone

pytestmark = [
    pytest.mark.parametrize("name", ZOO),
    *(pytest.mark.filterwarnings(warning) for warning in WARNINGS),
]


@functools.cache
def _built(name: str) -> nn.Module:
    torch.manual_seed(0)
    return ZOO[name].build().eval()


def _read(specimen: Specimen, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return specimen.output(_built(specimen.name)(**inputs), inputs)


def test_the_seed_decides_the_weights(name: str) -> None:
    torch.manual_seed(0)
    again = ZOO[name].build().state_dict()
    for key, value in _built(name).state_dict().items():
        assert value.dtype == torch.float32 or not value.is_floating_point()
        assert torch.equal(value, again[key]), key


@pytest.mark.parametrize("n_rows", [2, 3])
def test_outputs_are_finite_and_repeat(name: str, n_rows: int) -> None:
    specimen = ZOO[name]
    inputs = specimen.inputs(n_rows, specimen.lengths[n_rows - 2])
    output = _read(specimen, inputs)
    assert output.shape[0] == n_rows
    assert output.ndim == 2
    assert output.isfinite().all()
    assert torch.equal(output, _read(specimen, inputs))
    # Rows that all gave the same would let any test of rows pass.
    assert (output[0] - output[1]).abs().max() > 1e-2


def test_a_row_has_the_same_content_in_any_batch(name: str) -> None:
    specimen = ZOO[name]
    few, many = (specimen.inputs(n, specimen.lengths[1]) for n in (2, 4))
    for key, value in few.items():
        assert torch.equal(value[0], many[key][0])
        assert not torch.equal(value[0], value[1]) or key.endswith("mask")


def test_rows_alone_equal_rows_in_company(name: str) -> None:
    specimen = ZOO[name]
    inputs = specimen.inputs(3, specimen.lengths[1])
    together = _read(specimen, inputs)
    alone = torch.cat([_read(specimen, row_alone(inputs, row)) for row in range(3)])
    gap = (together - alone).abs().max().item()
    assert (gap < 1e-4) == specimen.company, gap


def test_blocks_run_in_the_order_stated(name: str) -> None:
    specimen, model = ZOO[name], _built(name)
    inputs = specimen.inputs(2, specimen.lengths[0])
    assert len(specimen.blocks) == len(specimen.after)
    calls: list[str] = []

    def note(path: str, *_: Any) -> None:
        calls.append(path)

    chains = [matched(model, patterns) for patterns in specimen.blocks]
    paths = [path for chain in chains for path in chain]
    hooks = [
        model.get_submodule(path).register_forward_pre_hook(functools.partial(note, path))
        for path in paths
    ]
    _read(specimen, inputs)
    for hook in hooks:
        hook.remove()
    for chain in chains:
        assert len(chain) >= (1 if name == "albert" else 2)
        assert [path for path, _ in groupby(c for c in calls if c in chain)] == chain
    for index, earlier in enumerate(specimen.after):
        for other in earlier:
            assert calls.index(chains[index][0]) > calls.index(chains[other][-1])


def test_every_block_matters(name: str) -> None:
    """A block whose weights do not reach the output would be a cut that tests nothing."""
    specimen, model = ZOO[name], _built(name)
    inputs = specimen.inputs(2, specimen.lengths[0])
    output = specimen.output(model(**inputs), inputs)
    # Not a plain sum or square, which layer norm and unit vectors make constant.
    weights_of_task = torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
    loss = (weights_of_task * output).sum()
    chains = [matched(model, patterns) for patterns in specimen.blocks]
    for path in (path for chain in chains for path in chain):
        weights = [w for w in model.get_submodule(path).parameters() if w.requires_grad]
        if weights:
            weight = max(weights, key=torch.Tensor.numel)
            (grad,) = torch.autograd.grad(loss, weight, retain_graph=True, allow_unused=True)
            assert grad is not None, path
            assert grad.norm() > 1e-4, (path, grad.norm().item())


def test_training_mode_draws_from_the_seed_alone(name: str) -> None:
    specimen = ZOO[name]
    torch.manual_seed(0)
    model = specimen.build().train()
    inputs = specimen.inputs(4, specimen.lengths[0])
    outputs = []
    for _ in range(2):
        torch.manual_seed(1)
        outputs.append(specimen.output(model(**inputs), inputs))
    assert torch.equal(*outputs)
    (outputs[0] * torch.randn_like(outputs[0])).sum().backward()
    grads = [w.grad for w in model.parameters() if w.grad is not None]
    assert grads
    assert all(grad.isfinite().all() for grad in grads)


def test_batch_norm_is_declared(name: str) -> None:
    modules = _built(name).modules()
    assert any(isinstance(m, _BatchNorm) for m in modules) == ZOO[name].has_batchnorm
