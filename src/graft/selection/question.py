"""What is asked of every candidate: the same targets on the same rows, in the same folds.

    features (N, D) ─Question.probe→ Answer: what a linear head says of rows that it did not see

Since folds and rows are the same for all, what two candidates answer can be compared row by row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from graft.engine.solve import folds_of, search_on
from graft.metrics.headline import headline_scorer
from graft.metrics.intervals import bootstrap_change
from graft.metrics.scorer import Scorer
from graft.neighbours import nearest_average
from graft.records import Interval
from graft.solvers.rows import read_rows
from graft.solvers.search import penalty_grid
from graft.tasks.labelled import Labelled
from graft.tasks.task import ConvexProblem, Stream

N_FOLDS = 5
N_NEIGHBOURS = 5
PATIENCE = 2
"""Penalties tried beyond the best: small ones cost most, and the loss has one valley as a rule."""
GRID_STEP = 2
"""Penalties then lie a factor of 4.6 apart, which moves a held-out loss by less than its noise."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Answer:
    """Hold what a linear head answered for N rows, each by a fit that did not see it.

    Args:
        scorer: prepared for the metric that counts first.
        loss: mean held-out loss.
        l2: the penalty at which it is smallest.
    """

    scorer: Scorer
    loss: float
    l2: float

    @property
    def value(self) -> float:
        """Return the metric on the rows as they are."""
        return _only(self.scorer.scores())


@dataclass(frozen=True, eq=False)
class Question:
    """Hold what is asked.

    Args:
        metrics: the task's name in `METRICS`.
        problem: of the linear head, N rows.
        truth: (N,) class numbers, (N, C) zeros and ones, or (N,) numbers.
        seed: of the folds.
        folds: (N,) number of each row's fold.
    """

    metrics: str
    problem: ConvexProblem
    truth: np.ndarray
    seed: int
    folds: np.ndarray

    @property
    def columns(self) -> np.ndarray:
        """Return (N, C) zeros and ones, or (N, 1) numbers of mean 0 and deviation 1."""
        if self.problem.loss == "squared":
            return self.problem.targets.reshape(-1, 1)
        if self.truth.ndim == 1:
            return np.eye(self.problem.n_classes)[self.truth]
        return self.truth

    def take(self, rows: np.ndarray) -> Question:
        """Return the question of some rows alone, in folds of their own.

        Classes that none of them has are left out, and so are labels that all or none has.
        """
        problem, truth = self.problem.take(rows), self.truth[rows]
        if problem.loss == "softmax":
            classes, truth = np.unique(truth, return_inverse=True)
            problem = dataclasses.replace(problem, targets=truth, n_classes=len(classes))
        elif problem.loss == "sigmoid":
            truth = truth[:, (truth.min(0) == 0) & (truth.max(0) == 1)]
            problem = dataclasses.replace(problem, targets=truth, n_classes=truth.shape[1])
        folds = folds_of(problem, N_FOLDS, self.seed)
        return dataclasses.replace(self, problem=problem, truth=truth, folds=folds)

    def probe(self, features: np.ndarray) -> Answer:
        """Answer by a linear head on features (N, D), its penalty chosen over the folds.

        The heads lie in the space of the rows, so with fewer rows than columns N numbers a row are
        enough; the penalties tried are those of all D columns, every other one of a probe's own.
        """
        l2s = penalty_grid(read_rows(features), None)[::GRID_STEP]
        if len(features) < features.shape[1]:
            features = _coordinates(features)
        found = search_on(features, self.problem, self.folds, l2s=l2s, patience=PATIENCE)
        outputs = _outputs(found.held_out.cpu().numpy(), self.problem.loss)
        return Answer(self._scorer(outputs), found.losses[found.chosen], found.l2)

    def nearest(self, features: np.ndarray) -> float:
        """Return the metric of the mean of the five nearest rows of other folds, by cosine."""
        columns = self.columns
        outputs = np.zeros(columns.shape)
        for fold in np.unique(self.folds):
            held = self.folds == fold
            known, queries = features[~held], features[held]
            outputs[held] = nearest_average(known, columns[~held], queries, N_NEIGHBOURS)
        return _only(self._scorer(outputs).scores())

    def _scorer(self, outputs: np.ndarray) -> Scorer:
        targets = self.columns if self.problem.loss == "squared" else self.truth
        return headline_scorer(self.metrics, targets, outputs)


def ask(task: Labelled, stream: Stream, rows: np.ndarray, seed: int) -> Question:
    """Return the question that a task asks of some rows of a stream, ascending, or of all.

    Raises:
        InputError: the rows cannot be shared out among folds.
    """
    convex: Any = task
    problem: ConvexProblem = convex.convex(stream)
    truth: Any = task.truth(stream)  # type: ignore[arg-type]
    everything = Question(task.metrics, problem, truth, seed, folds_of(problem, N_FOLDS, seed))
    return everything if len(rows) == len(truth) else everything.take(rows)


def paired(first: Answer, second: Answer) -> tuple[Interval, Interval]:
    """Return the second answer's metric with its interval, and its difference from the first's.

    Each resample draws the same rows for both.
    """
    found = bootstrap_change(first.scorer, second.scorer)
    return _only(found["after"]), _only(found["change"])


def _only(by_name: Mapping[str, T]) -> T:
    """Return the value of the one metric that a headline's scorer knows."""
    (value,) = by_name.values()
    return value


def _coordinates(features: np.ndarray) -> np.ndarray:
    """Return (N, N) coordinates of features (N, D) in an orthonormal basis of their own rows."""
    rows = features.astype(np.float64)
    squares, vectors = np.linalg.eigh(rows @ rows.T)
    return (vectors * np.sqrt(np.maximum(squares, 0))).astype(np.float32)


def _outputs(scores: np.ndarray, loss: str) -> np.ndarray:
    """Return what scores (N, C) mean: probabilities, or the numbers themselves."""
    if loss == "squared":
        return scores
    if loss == "sigmoid":
        return np.exp(-np.logaddexp(0, -scores))
    exponentials = np.exp(scores - scores.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)
