"""Laws of methods: each covers every parameter of every network; plans add; the tables resolve."""

from __future__ import annotations

import inspect
from importlib import import_module
from itertools import pairwise

import pytest

from graft.backbones import SOURCES
from graft.data.augment import AUGMENTATIONS
from graft.data.readers import READERS
from graft.engine.cut import find_cut
from graft.engine.groups import locate, resolve, trainable
from graft.methods import METHODS
from graft.methods.body import full, lp_ft, unfreeze
from graft.methods.heads import head_only, probe
from graft.methods.plan import Convex, Gradient, Plan
from graft.objectives import OBJECTIVES
from graft.surgery import SURGERIES
from graft.tasks import TASKS
from tests.engine.specimens import model_of
from tests.zoo import WARNINGS, ZOO

pytestmark = [pytest.mark.filterwarnings(w) for w in WARNINGS]

TABLES = {
    "METHODS": METHODS,
    "OBJECTIVES": OBJECTIVES,
    "TASKS": TASKS,
    "SOURCES": SOURCES,
    "SURGERIES": SURGERIES,
    "READERS": READERS,
    "AUGMENTATIONS": AUGMENTATIONS,
}
ENTRIES = [(table, name) for table, entries in TABLES.items() for name in entries]


def found(where: str):
    module, name = where.split(":")
    return getattr(import_module(module), name)


@pytest.mark.parametrize("table, name", ENTRIES, ids=[f"{t}-{n}" for t, n in ENTRIES])
def test_entries_resolve(table, name):
    where, summary = TABLES[table][name]
    thing = found(where)
    assert callable(thing)
    assert inspect.getdoc(thing), f"{where} says nothing about itself"
    assert summary
    assert not summary.endswith(".")
    assert len(summary) <= 90


@pytest.mark.parametrize("network", ZOO)
def test_every_method_covers_every_parameter(network):
    model = model_of(ZOO[network])
    located = locate(model)
    n_blocks = max(chain.n_blocks for chain in model.backbone.chains)
    for name, (where, _) in METHODS.items():
        method = found(where)
        # ALBERT has but one block, and `last` means two unless told otherwise
        one = {"n": 1} if "n" in inspect.signature(method).parameters else {}
        plan = method(n_blocks, **one)
        for phase in plan.phases:
            groups = resolve(phase.rules, located)
            members = [id(m.parameter) for g in groups for m in g.members]
            assert sorted(members) == sorted(id(m.parameter) for m in located), (name, phase.name)


def test_a_method_takes_blocks_and_keywords():
    for where, _ in METHODS.values():
        first, *others = inspect.signature(found(where)).parameters.values()
        assert first.name == "n_blocks"
        assert all(p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in others)


def test_probe_plus_full_is_lp_ft():
    assert probe() + full(lr=5e-5, head_lr=5e-5) == lp_ft(4)
    assert [type(phase.by) for phase in lp_ft(4).phases] == [Convex, Gradient]


def test_plans_add_in_order_and_a_reset_comes_first():
    scratch = found(METHODS["scratch"][0])
    both = scratch(2) + head_only()
    assert both.start == "random"
    assert [p.name for p in both.phases] == ["scratch", "head"]
    assert (probe() + Plan(())).phases == probe().phases
    with pytest.raises(AssertionError):
        head_only() + scratch(2)


def test_unfreezing_opens_one_block_a_phase_from_the_top():
    model = model_of(ZOO["bert"])
    chain = model.backbone.chains[0]
    located = locate(model)
    plan = unfreeze(chain.n_blocks, lr=1.0, head_lr=9.0, decay=0.5)
    assert len(plan.phases) == chain.n_blocks + 1
    for depth, phase in enumerate(plan.phases):
        groups = resolve(phase.rules, located)
        rates = {m.place.name: g.rule.lr for g in groups for m in g.members}
        for item in located:
            place, rate = item.place, rates[item.place.name]
            from_top = chain.n_blocks - place.height
            if place.role == "head":
                assert rate == 9.0
            elif place.height == chain.n_blocks + 1:
                assert rate == (1.0 if depth else None)
            elif place.height == 0:
                assert rate == (0.5**chain.n_blocks if depth == chain.n_blocks else None)
            else:
                assert rate == (0.5**from_top if from_top < depth else None)


def test_cuts_only_descend_while_unfreezing():
    for network in ("bert", "resnet", "timm-vit", "plain-cnn"):
        model = model_of(ZOO[network])
        located = locate(model)
        heights = []
        for phase in unfreeze(model.backbone.chains[0].n_blocks).phases:
            cut = find_cut(model, trainable(resolve(phase.rules, located)))
            ids = {id(p) for path in cut.below for p in model.get_submodule(path).parameters()}
            heights.append(ids)
        assert all(low <= high for high, low in pairwise(heights))
        assert heights[0]
        assert not heights[-1]


def test_few_rows_get_more_epochs_unless_epochs_are_given():
    [phase] = full().phases
    assert phase.by.n_epochs(308) == 10, "ten steps an epoch, a hundred wanted"
    assert phase.by.n_epochs(100_000) == 3
    [phase] = full(epochs=2).phases
    assert phase.by.n_epochs(308) == 2
