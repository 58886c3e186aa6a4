"""What is known without pretraining: pixels or words, and the best network's random weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from torch import nn

from graft.data.table import Table
from graft.engine.embed import by_forward
from graft.engine.settings import Listener, Settings
from graft.engine.start import reset
from graft.engine.views import plain
from graft.errors import GraftError
from graft.selection.looking import Look
from graft.selection.question import Answer, Question, paired
from graft.selection.ranking import Baseline
from graft.selection.words import hashed_words

MOST_ROWS = 5_000
"""Rows on which words are asked: they are as many columns as there are bins."""
MOST_RANDOM_ROWS = 100
"""Rows on which random weights are asked: each costs a pass that nothing else needs. Half of them
are asked first, and the others where those do not tell: two looks at 95 %, not one."""
RANDOM = "its network, random weights"
ROWS_PER_CLASS = 10
"""But so many of a class, on average, where there are many classes."""


def baselines(
    question: Question,
    table: Table,
    best: Look,
    answer: Answer,
    settings: Settings,
    listener: Listener,
) -> tuple[tuple[Baseline, ...], tuple[str, ...]]:
    """Return what is known without pretraining, each beside the best candidate on the same rows.

    Args:
        question: N rows.
        table: the same rows.
        best: the best candidate.
        answer: what a head on its features answers to the question.

    Returns:
        What could be asked, and why the rest could not.
    """

    def beside(rows: np.ndarray, name: str, features: np.ndarray) -> Baseline:
        is_whole = len(rows) == len(question.folds)
        some = question if is_whole else question.take(rows)
        with_ = answer if is_whole else some.probe(best.features[rows])
        without = some.probe(features)
        _, lead = paired(without, with_)
        return Baseline(name, len(rows), without.value, with_.value, lead)

    def by_inputs() -> Baseline:
        rows = spread(len(table), MOST_ROWS)
        return beside(rows, *of_inputs(table.take(rows)))

    def by_random_weights() -> Baseline:
        n_classes = question.columns.shape[1]
        rows = spread(len(table), max(MOST_RANDOM_ROWS, ROWS_PER_CLASS * n_classes))
        features = np.zeros((len(rows), best.features.shape[1]), np.float32)
        told, n_passed = f"random {best.name}", 0
        with weights_kept(best.job.model):
            reset(best.job.model, settings.seed)
            # half of the rows tell most candidates from random weights: the rest need not pass
            order = np.random.default_rng(question.seed).permutation(len(rows))
            half = len(rows) // 2
            for some in (np.sort(order[:half]), np.sort(order[half:])):
                streams = best.job.task.streams(table.take(rows[some]), best.backbone)
                features[some] = by_forward(best.job.model, plain(streams["train"]))
                n_passed += len(some)
                listener.on_rows(told, n_passed, len(rows))
                if n_passed < len(rows):
                    found = first_look(rows[some], features[some])
                    if found is not None:
                        return found
        return beside(rows, RANDOM, features)

    def first_look(rows: np.ndarray, features: np.ndarray) -> Baseline | None:
        """Return what half of the rows say, where that is enough."""
        try:
            found = beside(rows, RANDOM, features)
        except GraftError:  # too few of a class
            return None
        return found if found.is_beaten else None

    found, faults = [], []
    for ask in (by_inputs, by_random_weights):
        try:
            found.append(ask())
        except GraftError as why:  # what was found of the candidates is worth keeping
            faults.append(f"not compared with what needs no pretraining: {why}")
    return tuple(found), tuple(faults)


def of_inputs(table: Table) -> tuple[str, np.ndarray]:
    """Return what inputs tell by themselves: bags of words, or small grey pictures.

    Returns:
        Its name, and (N, K) float32.
    """
    if table.roles.modality == "text":
        return "bags of words", hashed_words(table.inputs())
    assert table.thumbnails is not None  # noted when each picture was read to its end
    return "pixels (16 × 16, grey)", table.thumbnails.reshape(len(table), -1) / np.float32(255)


def spread(n: int, most: int) -> np.ndarray:
    """Return at most `most` of n row numbers, evenly spread, ascending."""
    return np.linspace(0, n - 1, min(n, most)).astype(np.int64)


@contextmanager
def weights_kept(model: nn.Module) -> Iterator[None]:
    """Give a model its weights back when the context ends: they may be the user's own."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        yield
    finally:
        model.load_state_dict(before)
