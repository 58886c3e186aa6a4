"""Laws of training over the zoo: cover, freeze, cached equals uncached, several heights, save."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from safetensors.torch import load_model, save_model
from torch import nn

from graft.backbones.backbone import towers
from graft.engine.groups import locate, resolve
from graft.engine.run import run
from graft.engine.settings import Settings
from graft.methods.plan import Gradient, Phase, Plan, Rule
from graft.methods.select import blocks, everything, head, neck
from graft.tasks.classify import Classify
from tests.engine.specimens import Classifier, model_of
from tests.engine.streams import N_CLASSES, SpecimenStream, same_bytes
from tests.zoo import WARNINGS, ZOO

pytestmark = [pytest.mark.filterwarnings(w) for w in WARNINGS]

TASK = Classify(tuple("abc"[:N_CLASSES]))
BY = Gradient(epochs=2, batch_size=10, schedule="constant", warmup=0.0)
TOP = (Rule(head(), 1e-2), Rule(neck(), 1e-2), Rule(blocks(-1), 1e-2), Rule(everything(), None))
PLAN = Plan(
    (
        Phase("head", (Rule(head(), 1e-2), Rule(everything(), None)), BY),
        Phase("top", TOP, BY),
    )
)


@functools.cache
def _fresh(name: str) -> Classifier:
    return model_of(ZOO[name])


@functools.cache
def _stream(name: str) -> SpecimenStream:
    return SpecimenStream(ZOO[name])


def trained(name: str, plan: Plan = PLAN, **settings):
    model = copy.deepcopy(_fresh(name))
    records = run(
        plan, model, TASK, {"train": {"train": _stream(name)}}, settings=Settings(**settings)
    )
    return model, records


def frozen_tensors(model: nn.Module, rules) -> set[str]:
    """Name the parameters of rate None, and the buffers of parts that hold nothing else."""
    groups = resolve(rules, locate(model))
    still = {m.place.name for g in groups if g.rule.lr is None for m in g.members}
    moving = {id(m.parameter) for g in groups if g.rule.lr is not None for m in g.members}
    for tower in towers(model):
        for part in (part for chain in tower.chains for part in chain.parts):
            modules = {path: model.get_submodule(path) for path in part}
            if any(id(p) in moving for m in modules.values() for p in m.parameters()):
                continue
            still |= {f"{path}.{n}" for path, m in modules.items() for n, _ in m.named_buffers()}
    return still


@pytest.mark.parametrize("name", ZOO)
def test_train(name, tmp_path):
    before = {k: v.clone() for k, v in tensors(_fresh(name)).items()}
    located = locate(_fresh(name))
    assert sorted(id(m.parameter) for m in located) == sorted(map(id, _fresh(name).parameters()))

    model, records = trained(name, cache=tmp_path)
    assert [r.cache.used for r in records] == [True, True], [r.cache.reason for r in records]
    assert records[0].cache.n_computed == 20
    assert records[1].cache.n_computed == 0, "the first phase stores what the second will read"

    after = tensors(model)
    still = frozen_tensors(model, TOP)
    assert not [n for n in still if not torch.equal(before[n], after[n])]
    reached = reach(name)
    for group in resolve(TOP, locate(model)):
        names = [m.place.name for m in group.members if m.place.name in reached]
        if group.rule.lr is not None and names:
            assert any(not torch.equal(before[n], after[n]) for n in names), group.rule

    uncached, records = trained(name, cache=None)
    assert not any(r.cache.used for r in records)
    assert not same_bytes(tensors(uncached), after)

    save_model(model, str(tmp_path / "model.safetensors"))
    loaded = copy.deepcopy(_fresh(name)).eval()
    load_model(loaded, str(tmp_path / "model.safetensors"))
    inputs = _stream(name).batch(torch.arange(3).numpy()).inputs
    with torch.no_grad():
        assert torch.equal(loaded(inputs), model(inputs))


def reach(name: str) -> set[str]:
    """Name the parameters that the output depends on: not all specimens read their pooler."""
    model = copy.deepcopy(_fresh(name)).train()
    model(_stream(name).batch(torch.arange(4).numpy()).inputs).square().sum().backward()
    return {m.place.name for m in locate(model) if m.parameter.grad is not None}


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers())


AWKWARD = ("deberta-conv", "albert", "t5", "wavlm", "whisper", "resnet")


@pytest.mark.parametrize("name", AWKWARD)
def test_stores_of_several_heights_equal_stores_written_one_by_one(name, tmp_path):
    trained(name, cache=tmp_path / "together")
    for phase in PLAN.phases:
        trained(name, Plan((phase,)), cache=tmp_path / "alone")
    together, alone = contents(tmp_path / "together"), contents(tmp_path / "alone")
    assert len({path.split("/")[0] for path in alone}) == 2
    assert together == alone


def contents(root):
    files = (p for p in root.rglob("*") if p.is_file())
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in files}
