"""Embeddings: a vector for each example, near those of what belongs together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from graft.backbones.backbone import Backbone, Problem
from graft.batch import Batch
from graft.data.sampling import batches, class_batches, tuple_batches
from graft.data.table import Table
from graft.data.tuples import Tuples, relevant, unfolded
from graft.errors import InputError
from graft.heads import embedding_head
from graft.metrics.embedding import embedding_scorer
from graft.model import Model
from graft.neighbours import normalised
from graft.objectives.distances import unit
from graft.objectives.matryoshka import matryoshka
from graft.records import Prediction
from graft.tasks.aims import Aim, Encoded, Kind, Learned, find_aim
from graft.tasks.labelled import Truth, table_stream
from graft.tasks.streams import TableStream
from graft.tasks.task import Loss, Progress
from graft.tasks.tuples import TupleStream
from graft.wording import flag

HEADLINES = {
    "scores": "spearman",
    "binary": "average_precision",
    "triplets": "triplet_accuracy",
}
N_PER_CLASS = 4
"""Items of a class in a batch, unless said: three positives each, and many classes beside."""

MOST_MEASURED = 4_000
"""Items or tuples that are scored after each epoch: the time grows with their square."""


@dataclass(frozen=True)
class Embed:
    """Give each example a vector; what belongs together lies near by cosine.

    Args:
        classes: names of the classes of labelled items, those that train first; empty for pairs.
        head: `pooled`, or `projection:128`.
        keep_head: has no meaning here.
        kind: what an example is.
        objective: a name of `AIMS`.
        options: settings of the objective.
        n_classes: how many of the classes have training rows.
        n_per_class: items of a class in a batch.
        learns_temperature: the temperature is learned, and begins at the one that is set.
        dims: widths at which the first numbers of an embedding shall do alone (Matryoshka).
        score_span: the lowest and highest score of the training pairs, which become 0 and 1.
        by_relevance: rows say how relevant a document is to a query; those above 0 are pairs.

    Raises:
        InputError: the objective takes other examples, or has no such setting.
    """

    classes: tuple[str, ...] = ()
    head: str = "pooled"
    keep_head: bool = False
    kind: Kind = "labels"
    objective: str = "supervised_contrastive"
    options: Mapping[str, Any] = field(default_factory=dict)
    n_classes: int = 0
    n_per_class: int = N_PER_CLASS
    learns_temperature: bool = False
    dims: tuple[int, ...] = ()
    score_span: tuple[float, float] = (0.0, 1.0)
    by_relevance: bool = False

    name: ClassVar[str] = "embed"
    metrics: ClassVar[str] = "embedding"
    target: ClassVar[str] = "label"
    output: ClassVar[str] = "embedding"
    problem: ClassVar[Problem] = "embedding"

    def __post_init__(self) -> None:
        odd = sorted(set(self.options) - set(self.aim.options))
        if odd:
            has = ", ".join(map(flag, self.aim.options)) or "none"
            raise InputError(f"objective `{self.objective}` has no {flag(odd[0])}; it has {has}")
        if self.learns_temperature and not self.aim.has_temperature:
            raise InputError(f"objective `{self.objective}` has no temperature to learn")

    @property
    def aim(self) -> Aim:
        """Return what the objective needs and how it is called."""
        return find_aim(self.objective, self.kind)

    @property
    def is_joint(self) -> bool:
        """Return whether an item's loss depends on the others of its step."""
        return self.aim.is_joint

    @property
    def headline(self) -> str:
        """Return the metric that counts first."""
        return "ndcg_at_10" if self.by_relevance else HEADLINES.get(self.kind, "mrr")

    def build(self, backbone: Backbone) -> tuple[Model, Learned | None]:
        """Put an embedding head on the backbone; what the objective learns lies beside it."""
        head = embedding_head(self.head, backbone.width)
        aim = self.aim
        learned = None
        if self.learns_temperature or aim.knows_classes:
            learned = Learned(
                temperature=self.options.get("temperature", 0.07)
                if self.learns_temperature
                else None,
                n_classes=self.n_classes if aim.has_classes else 0,
                n_centers=self.n_classes if aim.has_centers else 0,
                width=head.width,
            )
        return Model(backbone, head), learned

    def streams(self, table: Table, backbone: Backbone) -> dict[str, TableStream]:
        """Return labelled items, or the members of pairs or triplets, as the one stream."""
        if len(table.roles.inputs) > 1:
            table = relevant(table) if self.by_relevance else table
            items, tuples = unfolded(table, graded=self.by_relevance)
            stream = table_stream(items, backbone, {})["train"]
            named = TupleStream(stream, tuples, lambda row: str(table.origin(row)))
            return {"train": named}  # type: ignore[dict-item]
        return table_stream(table, backbone, {self.target: self._numbers(table)})

    def _numbers(self, table: Table) -> np.ndarray:
        """Return the class number (N,) of each row; new classes are numbered on, no label is -1."""
        number = {name: i for i, name in enumerate(self.classes)}
        labels = table.labels() or [""] * len(table)
        found = [-1 if not x else number.setdefault(x, len(number)) for x in labels]
        return np.asarray(found, np.int64)

    def epoch_batches(
        self, stream: Any, batch_size: int, seed: int, epoch: int
    ) -> list[np.ndarray]:
        """Return the rows of each step: whole tuples, or several items of each class."""
        tuples = getattr(stream, "tuples", None)
        if tuples is not None:
            if self.is_joint:
                drawn = tuple_batches(tuples.members, stream.longest, batch_size, seed, epoch)
            else:
                drawn = batches(stream.longest, stream.n_examples, batch_size, seed, epoch)
            return [stream.rows_of(some) for some in drawn]
        if not self.is_joint:
            return batches(stream.lengths, len(stream), batch_size, seed, epoch)
        labels = stream.targets[self.target].numpy()
        return class_batches(labels, batch_size, self.n_per_class, seed, epoch)

    def encode(self, model: nn.Module, batch: Batch, progress: Progress) -> Tensor:
        """Return embeddings (n, E) as the head gives them."""
        del progress
        return model(batch.inputs)

    def loss(
        self,
        encoded: Mapping[str, Any],
        batches: Mapping[str, Batch],
        state: nn.Module | None,
        progress: Progress,
    ) -> Loss:
        """Return the objective summed over the items, or tuples, of a step."""
        assert state is None or isinstance(state, Learned)
        embeddings, targets = encoded["train"].float(), batches["train"].targets
        options = dict(self.options)
        if self.learns_temperature:
            assert state is not None
            options["temperature"] = state.temperature()

        def objective(raw: Tensor, *vectors: Tensor) -> tuple[Tensor, Tensor]:
            found = self._found(raw if self.aim.is_raw else unit(raw), targets, progress.step)
            return self.aim.loss(found, vectors, options)

        vectors = [] if state is None else state.vectors()
        run = matryoshka(objective, self.dims) if self.dims else objective
        losses, weights = run(embeddings, *vectors)
        if state is not None and torch.is_grad_enabled():
            state.seen = (
                (embeddings.detach(), targets[self.target]) if self.aim.has_centers else None
            )
        return Loss(losses.sum(), weights.sum())

    def _found(self, embeddings: Tensor, targets: Mapping[str, Tensor], seed: int) -> Encoded:
        if self.kind == "labels":
            labels = targets[self.target]
            if self.aim.knows_classes:  # held-out rows may be of classes that nothing is learned of
                known = (labels >= 0) & (labels < self.n_classes)
                embeddings, labels = embeddings[known], labels[known]
            return Encoded(embeddings, labels=labels, seed=seed)
        n_roles = 3 if self.kind == "triplets" else 2
        if "role" in targets and len(targets["role"]):  # pairs may have got hard negatives
            n_roles = max(n_roles, int(targets["role"].max()) + 1)
        found = of_tuples(embeddings, targets, n_roles, seed)
        if found.scores is None:
            return found
        low, high = self.score_span
        return replace(found, scores=(found.scores - low) / max(high - low, 1e-12))

    def after_step(self, model: nn.Module, state: nn.Module | None, progress: Progress) -> None:
        """Move the centers, and keep a learned temperature in its bounds."""
        del model, progress
        if isinstance(state, Learned):
            state.after_step()

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return `embedding` (n, E), of length one."""
        return {self.output: unit(model(batch.inputs).float())}

    def measure(
        self, outputs: Mapping[str, Mapping[str, np.ndarray]], streams: Mapping[str, Any]
    ) -> dict[str, float]:
        """Return the headline metric of a stream, whose items have `embedding` (U, E).

        Of many items or tuples `MOST_MEASURED` are taken, evenly drawn.
        """
        truth, embeddings = self.truth(streams["train"]), outputs["train"][self.output]
        n = len(truth) if isinstance(truth, np.ndarray) else len(truth.members)
        if n > MOST_MEASURED:
            drawn = np.linspace(0, n - 1, MOST_MEASURED).astype(np.int64)
            if isinstance(truth, np.ndarray):
                truth, embeddings = truth[drawn], embeddings[drawn]
            else:
                scores = None if truth.scores is None else truth.scores[drawn]
                grades = None if truth.grades is None else truth.grades[drawn]
                truth = Tuples(truth.members[drawn], scores, grades)
        scores_of = embedding_scorer(truth, embeddings).scores()
        return {self.headline: scores_of.get(self.headline, float("nan"))}

    def truth(self, stream: Any) -> Truth:
        """Return the class of each item, or who belongs to whom."""
        tuples: Tuples | None = getattr(stream, "tuples", None)
        return stream.targets[self.target].numpy() if tuples is None else tuples

    def untrained(
        self, features: np.ndarray, targets: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        """Return the backbone's own features, of length one."""
        del features, targets
        return normalised(queries)

    def answers(self, outputs: np.ndarray) -> list[Prediction]:
        """Return nothing: a vector says nothing to people without what it is compared with."""
        del outputs
        return []

    def settled(self, model: Model) -> Embed:
        """Return the task as it is: there is no unit to write into the head."""
        del model
        return replace(self)


def of_tuples(
    embeddings: Tensor, targets: Mapping[str, Tensor], n_roles: int, seed: int
) -> Encoded:
    """Put the members of a step's tuples together again, in whatever order they come.

    A tuple of which a member is missing (two processes without all rows) does not count.
    """
    if "tuple" not in targets:  # items on their own, of which only the embeddings are wanted
        none = torch.zeros(len(embeddings), dtype=torch.int64, device=embeddings.device)
        targets = {"tuple": none, "role": none - 1, "item": none, "score": none.float()}
    number, role, item = (targets[name] for name in ("tuple", "role", "item"))
    rows = [torch.nonzero(role == r)[:, 0] for r in range(n_roles)]
    whole = number[rows[0]]
    for some in rows[1:]:
        whole = whole[torch.isin(whole, number[some])]
    whole = whole.unique()
    placed = []
    for some in rows:
        order = some[number[some].argsort(stable=True)]
        kept = order[torch.isin(number[order], whole)]
        placed.append(kept)
    scores = targets.get("score")
    return Encoded(
        embeddings,
        members=tuple(embeddings[some] for some in placed),
        items=tuple(item[some] for some in placed),
        scores=None if scores is None else scores[placed[0]],
        seed=seed,
    )
