"""Ask every candidate what its features know of a table: one pass each, nothing is trained.

The passes go through the store that trainings read: the pass that ranked a network is the one that
its `probe` begins with. All candidates see the same rows in the same folds, so differences are
paired row by row.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graft.data.faults import shorten
from graft.data.table import Table
from graft.engine.settings import Listener
from graft.errors import GraftError, InputError, ModelError
from graft.match_job import matches
from graft.prepare import Prepared, embeds
from graft.recipe import Recipe
from graft.selection.baselines import baselines, spread
from graft.selection.candidates import Candidate, name_of, trained_on
from graft.selection.looking import Look, SettingsOf, look, source_probabilities
from graft.selection.question import Answer, Question, ask, paired
from graft.selection.ranking import Baseline, Cost, NotRanked, RankedModel, Ranking
from graft.transferability import scores_of

KEPT = frozenset(
    {
        *("data", "input", "label", "group", "split_column", "target_kind", "allow_leak"),
        *("fold_labels", "drop_empty_classes", "drop_conflicts", "min_per_class", "max_pixels"),
        *("max_skip", "follow_links", "encoding", "sep", "validation", "test", "channels"),
        *("class_weights", "seed", "precision", "threads", "workers", "cache"),
    }
)
"""Fields of a recipe that say which rows train and how they are read; the others train."""
MOST_ROWS = 20_000
"""Rows on which heads and scores are computed; more would not change the order."""
LONGEST_WHY = 160
"""Characters of what a library says of a model that it cannot open."""


@dataclass(frozen=True, eq=False)
class _Entry:
    """Hold what is known of a candidate by itself; its network is let go."""

    name: str
    answer: Answer
    knn: float
    scores: dict[str, float]
    cost: Cost
    notes: tuple[str, ...]

    @property
    def order(self) -> tuple[float, float]:
        """Return what candidates are sorted by, the best first: the metric, then the loss."""
        value = self.answer.value
        return (-value if np.isfinite(value) else np.inf, self.answer.loss)

    def beside(self, best: _Entry) -> RankedModel:
        """Return the same beside the best candidate."""
        probe, behind = paired(best.answer, self.answer)
        loss, l2 = self.answer.loss, self.answer.l2
        return RankedModel(
            self.name, probe, behind, loss, l2, self.knn, self.scores, self.cost, self.notes
        )


def rank(
    recipe: Recipe,
    named: Sequence[Candidate],
    prepared: Prepared,
    settings_of: SettingsOf,
    listener: Listener,
) -> Ranking:
    """Rank candidates by a linear head on their features, cross-validated on the training rows.

    A candidate that cannot be opened, or takes another modality, is reported and left out.

    Args:
        recipe: says which rows train and how they are read; what concerns training is left alone.
        named: the candidates.
        prepared: the examples of the recipe.
        settings_of: how a candidate's pass runs.

    Raises:
        InputError: the table has neither labels nor numbers, its rows cannot be shared out among
            folds, or no candidate could be ranked.
    """
    began = time.perf_counter()
    _refuse_tables(recipe, prepared)
    recipe = recipe.model_copy(
        update={name: f.default for name, f in Recipe.model_fields.items() if name not in KEPT}
    )
    question: Question | None = None
    rows = spread(len(prepared.splits.train), MOST_ROWS)
    entries: list[_Entry] = []
    not_ranked: list[NotRanked] = []
    best: Look | None = None  # the one network that is kept
    for candidate in named:
        try:
            seen = look(recipe, candidate, prepared, rows, settings_of, listener)
        except Exception as error:  # whatever a library makes of one model, the others go on
            not_ranked.append(_not_ranked(name_of(candidate), error))
            continue
        if question is None:
            question = ask(seen.job.task, seen.stream, rows, recipe.seed)
        try:
            entry = _entry(seen, question)
        except GraftError as error:
            not_ranked.append(_not_ranked(seen.name, error))
            continue
        if not entries or entry.order < min(e.order for e in entries):
            best = seen
        entries.append(entry)
        del seen  # before the next network is opened
    if best is None or question is None:
        raise ModelError("\n".join(f"{n.model}: {n.why}" for n in not_ranked))
    entries.sort(key=lambda entry: entry.order)
    models = tuple(entry.beside(entries[0]) for entry in entries)
    table = prepared.table.take(prepared.splits.train[rows])
    settings = settings_of(best.job)
    without, faults = baselines(question, table, best, entries[0].answer, settings, listener)
    return Ranking(
        data=recipe.data,
        task=best.job.task.name,
        metric=best.job.task.headline,
        n_rows=len(rows),
        n_train=len(prepared.splits.train),
        n_classes=0 if question.problem.loss == "squared" else question.problem.n_classes,
        n_folds=len(np.unique(question.folds)),
        how_read=prepared.table.because,
        how_split=prepared.splits.how,
        models=models,
        not_ranked=tuple(not_ranked),
        baselines=without,
        warnings=(*faults, *_warnings(models, without), *_leaks(models, prepared.table)),
        findings=tuple(f.record() for f in prepared.findings),
        seconds=time.perf_counter() - began,
    )


def _refuse_tables(recipe: Recipe, prepared: Prepared) -> None:
    """Refuse tables without a label or number in each row.

    Raises:
        InputError: rows are pairs, triplets or captioned pictures, or embeddings are asked for.
    """
    if matches(prepared.table) or embeds(recipe, prepared.table):
        raise InputError(
            f"{recipe.data}: candidates are ranked by one label or number a row, and there is "
            "none; name its column with --label"
        )


def _entry(seen: Look, question: Question) -> _Entry:
    """Return what is known of a candidate by itself."""
    began = time.perf_counter()
    features = seen.features
    answer, knn = question.probe(features), question.nearest(features)
    known = {"features": features, "targets": question.columns}
    if question.problem.loss != "squared":
        known["labels"] = question.columns
        source = source_probabilities(seen.backbone, features)
        known |= {} if source is None else {"source": source}
    scores = {name: value for name, value in scores_of(known).items() if np.isfinite(value)}
    net = seen.backbone.net
    tensors = [*net.parameters(), *net.buffers()]
    cost = Cost(
        width=seen.backbone.width,
        n_parameters=sum(p.numel() for p in net.parameters()),
        weights_bytes=sum(t.numel() * t.element_size() for t in tensors),
        store_bytes=seen.cache.size_bytes if seen.cache is not None else 0,
        n_computed=seen.n_computed,
        open_seconds=seen.open_seconds,
        pass_seconds=seen.pass_seconds,
        score_seconds=time.perf_counter() - began,
    )
    return _Entry(seen.name, answer, knn, scores, cost, seen.backbone.origin.notes)


def _warnings(models: Sequence[RankedModel], without: Sequence[Baseline]) -> tuple[str, ...]:
    """Say where pretraining brings nothing."""
    equals = [baseline.name for baseline in without if not baseline.is_beaten]
    if not equals:
        return ()
    what = " or ".join(equals)
    if len(models) == 1:
        text = f"{models[0].model} is not clearly ahead of {what}: this backbone knows"
    else:
        text = f"no candidate is clearly ahead of {what}: these backbones know"
    return (f"{text} little about your data",)


def _leaks(models: Sequence[RankedModel], table: Table) -> tuple[str, ...]:
    """Say which candidates are runs that were trained on this very table."""
    data = table.content_hash()
    return tuple(
        f"{m.model} was trained on these rows, so what it knows of them says little"
        for m in models
        if trained_on(m.model) == data
    )


def _not_ranked(name: str, error: Exception) -> NotRanked:
    """Say in one line why a candidate could not be ranked."""
    told = str(error).partition("\n")[0].removeprefix(f"{name}: ")
    if not isinstance(error, GraftError):
        told = shorten(f"{type(error).__name__}: {told}", LONGEST_WHY)
    return NotRanked(name, told)
