"""The convex phase: scikit-learn's optimum, in the model's own head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from graft.engine.run import run
from graft.engine.settings import Listener, Settings
from graft.engine.solve import search
from graft.methods.heads import probe
from graft.tasks.classify import Classify
from graft.tasks.task import ConvexProblem
from tests.engine.test_loop import make_model, make_stream

TASK = Classify(("a", "b", "c"))


def solve(model, *, l2="cv", task=TASK, n=120, notes=None):
    listener = Listener(on_note=(notes if notes is not None else []).append)
    [record] = run(
        probe(l2=l2),
        model,
        task,
        {"train": {"train": make_stream(n)}},
        settings=Settings(),
        listener=listener,
    )
    return record


def pooled(model, stream):
    with torch.no_grad():
        return model.eval().backbone(stream.inputs).pooled.numpy()


@pytest.mark.parametrize("weights", [None, (4.0, 1.0, 0.5)])
def test_head_is_the_optimum_of_scikit_learn(weights):
    model, stream, l2 = make_model(), make_stream(120), 1e-2
    record = solve(model, l2=l2, task=Classify(("a", "b", "c"), class_weights=weights))
    x, y = pooled(model, stream), stream.targets["label"].numpy()
    sample = np.ones(len(y)) if weights is None else np.asarray(weights)[y]
    theirs = LogisticRegression(C=1 / (l2 * sample.sum()), tol=1e-10, max_iter=5000)
    x = x.astype(np.float64)
    theirs.fit(x, y, sample_weight=sample)
    ours = model.head.out.weight.detach().numpy()
    assert record.convex.converged
    np.testing.assert_allclose(ours, theirs.coef_, atol=2e-4)
    with torch.no_grad():
        probabilities = model(stream.inputs).softmax(-1).numpy()
    np.testing.assert_allclose(probabilities, theirs.predict_proba(x), atol=1e-4)


def test_penalty_is_chosen_by_cross_validation_and_said():
    record = solve(make_model())
    assert record.convex.l2 > 0
    assert "5-fold cross-validation" in record.convex.chosen_by


def test_autocast_that_the_network_runs_in_does_not_reach_the_solver():
    """In bfloat16 the products of the solver lost their way, at small penalties to NaN."""
    source = np.random.default_rng(0)
    x = source.normal(size=(60, 200)).astype(np.float32)
    problem = ConvexProblem("softmax", source.dirichlet(np.ones(4), 60), 4)
    found = search(x, problem, 3, 0).solution
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = search(x, problem, 3, 0).solution
    assert found.converged and again.l2 == found.l2
    np.testing.assert_array_equal(again.weight, found.weight)


def test_body_does_not_move():
    model = make_model()
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    solve(model)
    assert all(torch.equal(v, before[k]) for k, v in model.backbone.state_dict().items())


def test_a_head_without_convex_form_is_trained_by_gradient_and_said():
    torch.manual_seed(0)
    task = Classify(("a", "b", "c"), head="mlp:8")
    model, _ = task.build(make_model().backbone)
    notes: list[str] = []
    record = solve(model, task=task, notes=notes)
    assert record.convex is None
    assert record.epochs
    assert any("by gradient" in note and "linear head" in note for note in notes)
