"""Accuracy of two ways to fit a head, where every row is a test row once.

A test split of a thousand rows cannot tell models apart that agree on nearly all of them. So all
rows of a data set are cut into five folds, each fold is predicted by heads fitted on the others,
and the paired interval draws rows. Repeats cut the folds anew; of a row their mean counts.
"""

from __future__ import annotations

import warnings

import numpy as np
from racing import Line, paired_interval

N_FOLDS = 5
BOUND = -0.5
"""Points below which the interval's lower end must not fall."""


def crossed_line(
    what: str,
    ours: np.ndarray,
    theirs: np.ndarray,
    labels: np.ndarray,
    penalty: float,
    repeats: int = 1,
) -> Line:
    """Return the line of graft's probe against scikit-learn's LogisticRegression.

    Args:
        ours: (N, D) graft's features.
        theirs: (N, D) those of the peer's library.
        labels: (N,) class numbers.
        penalty: the peer's `C`, chosen once; graft chooses its own in every fold.
        repeats: times that the folds are cut.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    from graft.engine.solve import search
    from graft.tasks.task import ConvexProblem

    n_classes = int(labels.max()) + 1
    right = np.zeros((2, len(labels)))
    for repeat in range(repeats):
        folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=repeat)
        for train, test in folds.split(ours, labels):
            problem = ConvexProblem("softmax", labels[train], n_classes)
            found = search(ours[train], problem, N_FOLDS, seed=repeat).solution
            scores = ours[test] @ np.asarray(found.weight).T + np.asarray(found.bias)
            right[0, test] += scores.argmax(1) == labels[test]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                peer = LogisticRegression(C=penalty, max_iter=2000)
                peer.fit(theirs[train], labels[train])
            right[1, test] += peer.predict(theirs[test]) == labels[test]
    right /= repeats
    low, high = paired_interval(right[0], right[1])
    work = f"accuracy, {what}, all {len(labels)} rows, {N_FOLDS} folds × {repeats}, points"
    note = f"the ratio is the lower end of the interval {low:+.2f} to {high:+.2f} points"
    means = right.mean(1)
    return Line(work, float(means[0]), float(means[1]), low, BOUND, note=note)
