"""The embedding task: streams, batches, losses in any order of rows, what is learned beside."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from graft.batch import Batch
from graft.data.roles import Asked
from graft.data.rows import Rows, assembled
from graft.data.tuples import holds_relevance, relevant, unfolded
from graft.errors import InputError, UnknownName
from graft.metrics.embedding import embedding_scorer
from graft.objectives import OBJECTIVES
from graft.objectives.info_nce import info_nce
from graft.objectives.supervised_contrastive import supervised_contrastive
from graft.tasks.aims import AIMS, DEFAULTS, KINDS, Learned
from graft.tasks.embed import Embed, of_tuples
from graft.tasks.task import Progress
from tests.data.makers import text_table
from tests.tasks.letters import backbone

TEXTS = ["one", "two words", "three words here", "four", "five of them", "six"]
N_ROLES = {"labels": 1, "pairs": 2, "binary": 2, "scores": 2, "triplets": 3}


def pair_table(names=("anchor", "positive"), scores=None):
    import pyarrow as pa

    columns = {}
    for i, name in enumerate(names):
        columns[name] = pa.array(TEXTS[i:] + TEXTS[:i], pa.large_string())
    if scores is not None:
        columns["score"] = pa.array(scores)
    return assembled(Rows.of_file(pa.table(columns), "pairs.csv"), Asked())


def batch_of(kind: str, n: int = 12) -> dict[str, torch.Tensor]:
    """Return the targets of n rows as a stream of such examples gives them."""
    roles = N_ROLES[kind]
    rows = torch.arange(n)
    if kind == "labels":
        return {"label": rows // 3}
    targets = {"tuple": rows // roles, "role": rows % roles, "item": rows}
    if kind in ("binary", "scores"):
        targets["score"] = (rows // roles % 2 if kind == "binary" else rows / n).float()
    return targets


def loss_of(task: Embed, embeddings, targets, state=None):
    batch = Batch({}, targets, np.arange(len(embeddings)))
    return task.loss({"train": embeddings}, {"train": batch}, state, Progress())


CASES = [(name, kind) for name, aim in AIMS.items() for kind in aim.kinds]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_loss_does_not_depend_on_the_order_of_rows(name, kind):
    task = Embed(("a", "b", "c", "d"), kind=kind, objective=name, n_classes=4)
    width, state = 8, None
    torch.manual_seed(0)
    if task.aim.knows_classes:
        numbers = [4 if has else 0 for has in (task.aim.has_classes, task.aim.has_centers)]
        state = Learned(temperature=None, n_classes=numbers[0], n_centers=numbers[1], width=width)
    embeddings = torch.randn(12, width, requires_grad=True)
    targets = batch_of(kind)
    found = loss_of(task, embeddings, targets, state)
    assert float(found.count) > 0
    (gradient,) = torch.autograd.grad(found.total, embeddings)
    assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0
    order = torch.randperm(12)
    turned = loss_of(task, embeddings[order], {k: t[order] for k, t in targets.items()}, state)
    assert turned.total.item() == pytest.approx(found.total.item(), rel=1e-4)


def test_labelled_items_are_compared_by_cosine():
    task = Embed(objective="supervised_contrastive", options={"temperature": 0.2})
    embeddings, labels = torch.randn(6, 4), torch.tensor([0, 0, 1, 1, 2, 2])
    found = loss_of(task, 7 * embeddings, {"label": labels})
    losses, _ = supervised_contrastive(functional.normalize(embeddings), labels, temperature=0.2)
    assert float(found.total) == pytest.approx(float(losses.sum()), rel=1e-5)


def test_members_are_put_together_and_a_tuple_with_a_gap_does_not_count():
    embeddings = torch.arange(7.0)[:, None]
    targets = {
        "tuple": torch.tensor([4, 9, 4, 2, 9, 2, 7]),
        "role": torch.tensor([0, 1, 1, 1, 0, 0, 0]),
        "item": torch.arange(7),
    }
    found = of_tuples(embeddings, targets, 2, 0)
    anchors, positives = found.members
    assert anchors[:, 0].tolist() == [5, 0, 4] and positives[:, 0].tolist() == [3, 2, 1]


def test_streams_of_pairs_hold_each_item_once():
    stream = Embed(kind="pairs", objective="info_nce").streams(pair_table(), backbone())["train"]
    assert (len(stream), stream.n_examples, len(stream.items)) == (12, 6, 6)
    batch = stream.batch(np.array([3, 2]))
    assert batch.targets["tuple"].tolist() == [1, 1] and batch.targets["role"].tolist() == [1, 0]
    assert batch.targets["item"].tolist() == [2, 1]
    assert stream.lengths[3] == stream.items.lengths[2]


def test_batches_of_pairs_hold_whole_pairs():
    task = Embed(kind="pairs", objective="info_nce")
    stream = task.streams(pair_table(), backbone())["train"]
    for rows in task.epoch_batches(stream, 2, 0, 0):
        assert len(rows) % 2 == 0
        assert {(r - r % 2, r - r % 2 + 1) for r in rows.tolist()} <= {
            (i, i + 1) for i in range(0, 12, 2)
        }


def test_scores_are_brought_to_zero_and_one():
    task = Embed(kind="scores", objective="cosine_regression", score_span=(0.0, 5.0))
    embeddings = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    targets = {
        "tuple": torch.tensor([0, 0, 1, 1]),
        "role": torch.tensor([0, 1, 0, 1]),
        "item": torch.arange(4),
        "score": torch.tensor([5.0, 5, 0, 0]),
    }
    assert float(loss_of(task, embeddings, targets).total) == pytest.approx(0, abs=1e-6)


def test_a_learned_temperature_gets_its_gradient_and_keeps_its_bounds():
    task = Embed(
        kind="pairs", objective="info_nce", options={"temperature": 0.2}, learns_temperature=True
    )
    _, state = task.build(backbone())
    assert float(state.temperature().detach()) == pytest.approx(0.2)
    loss_of(task, torch.randn(8, 4), batch_of("pairs", 8), state).total.backward()
    assert state.log_scale.grad is not None and state.log_scale.grad != 0
    with torch.no_grad():
        state.log_scale.fill_(9.0)
    task.after_step(torch.nn.Identity(), state, Progress())
    assert float(state.temperature().detach()) == pytest.approx(0.01)


@pytest.mark.parametrize(("objective", "n_classes"), [("softmax_with_center", 2), ("center", 0)])
def test_centers_follow_their_class_once_a_step(objective, n_classes):
    task = Embed(("a", "b"), objective=objective, n_classes=2)
    state = Learned(temperature=None, n_classes=n_classes, n_centers=2, width=3)
    embeddings = torch.ones(4, 3)
    loss_of(task, embeddings, {"label": torch.zeros(4, dtype=torch.int64)}, state)
    task.after_step(torch.nn.Identity(), state, Progress())
    # α (4 · 1) / (1 + 4), and the class that was not seen stays
    assert torch.allclose(state.centers, torch.tensor([[0.4] * 3, [0.0] * 3]))
    task.after_step(torch.nn.Identity(), state, Progress())
    assert torch.allclose(state.centers[0], torch.full((3,), 0.4))


def test_centers_of_classes_that_train_leave_others_out():
    task = Embed(("a", "b", "new"), objective="center", n_classes=2)
    _, state = task.build(backbone())
    width = state.centers.shape[1]
    found = loss_of(task, torch.ones(3, width), {"label": torch.arange(3)}, state)
    assert (float(found.total), float(found.count)) == (2 * width / 2, 2)


def test_nested_widths_are_averaged():
    embeddings, labels = torch.randn(6, 8), torch.arange(6) // 2
    nested = Embed(objective="supervised_contrastive", dims=(2, 8))
    found = loss_of(nested, embeddings, {"label": labels})
    each = [
        supervised_contrastive(functional.normalize(embeddings[:, :d]), labels)[0].sum()
        for d in (2, 8)
    ]
    assert float(found.total) == pytest.approx(float(sum(each)) / 2, rel=1e-5)


def test_info_nce_does_not_push_an_anchors_other_positive_away():
    task = Embed(kind="pairs", objective="info_nce")
    torch.manual_seed(0)
    embeddings = torch.randn(8, 4)
    targets = batch_of("pairs", 8)
    targets["item"] = torch.tensor([0, 1, 0, 2, 3, 4, 5, 6])
    unit = functional.normalize(embeddings)
    losses, _ = info_nce(unit[::2], unit[1::2], ids=torch.tensor([0, 0, 3, 5]))
    assert float(loss_of(task, embeddings, targets).total) == pytest.approx(
        float(losses.sum()), rel=1e-5
    )


def test_every_kind_of_example_has_an_objective():
    assert set(DEFAULTS) == set(KINDS)
    for kind, name in DEFAULTS.items():
        assert kind in AIMS[name].kinds


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="takes pairs that belong together"):
        Embed(objective="info_nce")
    with pytest.raises(UnknownName, match="did you mean 'triplet'"):
        Embed(objective="triplets")
    with pytest.raises(InputError, match="has no --mining"):
        Embed(options={"mining": "hard"})
    with pytest.raises(InputError, match=r"has no --mining; it has --center-weight$"):
        Embed(objective="softmax_with_center", options={"mining": "hard"})
    with pytest.raises(InputError, match="no temperature to learn"):
        Embed(objective="triplet", learns_temperature=True)
    with pytest.raises(InputError, match="projection:128"):
        Embed(head="mlp").build(backbone())


def test_vectors_have_length_one_and_the_width_of_the_projection():
    task = Embed(head="projection:3")
    model, _ = task.build(backbone())
    stream = task.streams(text_table(TEXTS, ["a"] * 6), backbone())["train"]
    found = task.predict(model, stream.batch(np.arange(6)))["embedding"]
    assert found.shape == (6, 3)
    assert torch.allclose(found.norm(dim=1), torch.ones(6))


@pytest.mark.parametrize("kind", ["labels", "pairs", "scores"])
def test_of_many_items_some_are_measured(monkeypatch, kind):
    from graft.metrics.embedding import embedding_scorer
    from graft.tasks import embed

    encoder, random = backbone(), np.random.default_rng(0)
    if kind == "labels":
        task, table = Embed(("a", "b")), text_table(TEXTS, ["a", "b"] * 3)
    else:
        scores = [0.0, 1.5, 2.0, 3.5, 4.0, 5.0] if kind == "scores" else None
        task = Embed(kind=kind, objective=DEFAULTS[kind])
        table = pair_table(scores=scores)
    stream = task.streams(table, encoder)["train"]
    vectors = random.normal(size=(len(TEXTS), 4)).astype(np.float32)
    whole = task.measure({"train": {"embedding": vectors}}, {"train": stream})
    expected = embedding_scorer(task.truth(stream), vectors).scores()[task.headline]
    assert whole == {task.headline: pytest.approx(expected)}
    monkeypatch.setattr(embed, "MOST_MEASURED", 4)
    some = task.measure({"train": {"embedding": vectors}}, {"train": stream})
    drawn = np.array([0, 1, 3, 5])
    truth = task.truth(stream)
    if kind == "labels":
        part = embedding_scorer(truth[drawn], vectors[drawn])
    else:
        kept = None if truth.scores is None else truth.scores[drawn]
        part = embedding_scorer(type(truth)(truth.members[drawn], kept), vectors)
    assert some[task.headline] == pytest.approx(part.scores()[task.headline])


def test_every_aim_is_an_objective_by_name():
    assert set(AIMS) <= set(OBJECTIVES)


def test_judgements_of_relevance_are_pairs_and_graded_by_ndcg():
    import pyarrow as pa

    columns = {
        "query": ["q one", "q one", "q two", "q two", "q three"],
        "document": ["first", "second", "third", "first", "fourth"],
        "relevance": [2.0, 1.0, 1.0, 0.0, 0.0],
    }
    table = assembled(Rows.of_file(pa.table(columns), "judged.csv"), Asked())
    assert holds_relevance(table.roles)
    items, found = unfolded(relevant(table), graded=True)
    texts = items.inputs()
    named = [(texts[a], texts[b]) for a, b in found.members.tolist()]
    assert named == [("q one", "first"), ("q one", "second"), ("q two", "third")]
    assert found.grades.tolist() == [2.0, 1.0, 1.0]
    # worked by hand: query one finds `second`, `third`, `first`
    vectors = {"q one": [1, 0], "q two": [0.6, 0.8], "first": [0.1, 0.995], "second": [1, 0],
               "third": [0.6, 0.8]}  # fmt: skip
    unit = np.array([vectors[text] for text in texts], np.float32)
    scores = embedding_scorer(found, unit).scores()
    one = (1 / np.log2(2) + 2 / np.log2(4)) / (2 / np.log2(2) + 1 / np.log2(3))
    assert scores["ndcg_at_10"] == pytest.approx((one + 1) / 2)
    task = Embed(kind="pairs", objective="info_nce", by_relevance=True)
    assert task.headline == "ndcg_at_10"
