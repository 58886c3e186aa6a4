"""What a run leaves behind, as plain values: results come up once, and only through these.

    RunRecord ─ PhaseRecord, and its own in `phase_records.py`
              └ Interval, ClassScores, FindingRecord
              └ DomainRecord, TeacherRecord, RememberedRecord, PairsRecord

`graft.serial` writes them as JSON and reads them back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from graft.phase_records import CacheRecord, DepthRecord, PhaseRecord


@dataclass(frozen=True)
class Interval:
    """Hold a metric, or a difference of two, with its bootstrap interval.

    Args:
        value: on the rows as they are; NaN where the metric is not defined.
        low: lower end; NaN if no resample defines the metric.
        high: upper end.
        n_undefined: resamples in which the metric was not defined; the ends leave them out.
    """

    value: float
    low: float
    high: float
    n_undefined: int = 0


@dataclass(frozen=True)
class ClassScores:
    """Say how well one class is told from the rest; NaN where a metric is not defined for it.

    Args:
        name: of the class, or its number.
        support: examples of the class.
        precision: share of its predictions that are right; NaN if never predicted.
        recall: share of its examples that are found; NaN without examples.
        f1: their harmonic mean; NaN if it neither occurs nor is predicted.
        auroc: of the class against the rest; NaN unless both occur.
        average_precision: of the class against the rest; NaN without examples.
    """

    name: str
    support: int
    precision: float
    recall: float
    f1: float
    auroc: float
    average_precision: float


@dataclass(frozen=True)
class ReliabilityBin:
    """Hold one bin of the reliability table.

    Args:
        low: lower bound of the confidence, excluded.
        high: upper bound, included.
        n_rows: examples in the bin.
        confidence: their mean confidence; NaN without examples.
        accuracy: the share of them that are right; NaN without examples.
    """

    low: float
    high: float
    n_rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class FindingRecord:
    """One thing that was found in the data.

    Args:
        code: short stable name such as `empty-text`.
        severity: `error` stops, `skip` leaves the row out, `repair` changed something harmlessly,
            `warn` only tells.
        message: what was found and the mend, without the place.
        path: the file or folder, as the user named it.
        row: 1-based number of the data row, or None.
        column: name of the column, or None.
    """

    code: str
    severity: str
    message: str
    path: str | None = None
    row: int | None = None
    column: str | None = None


@dataclass(frozen=True)
class Wording:
    """How many pictures a wording of the prompts gets right, before anything trained."""

    template: str
    accuracy: float


@dataclass(frozen=True)
class Between:
    """What a model between the weights before training and those after it is worth.

    Args:
        alpha: 0 for the weights before training, 1 for those after.
        scores: by held-out split, the metric that counts first.
        chosen: it is the best on validation rows.
    """

    alpha: float
    scores: dict[str, float]
    chosen: bool = False


@dataclass(frozen=True)
class DomainRecord:
    """How a classifier does in the domain that it was adapted to, without a label of it.

    Args:
        data: the rows of the domain, as the user named them.
        data_hash: of their inputs.
        adapt: name in `ADAPTATIONS`.
        weight: of what brought the domains together.
        n_train: rows that training saw without their labels; with `none` it saw nothing of them.
        n_validation: rows that `scores` are of.
        n_test: rows that nothing saw before the end.
        told_before: how often a linear probe of the untouched features tells the domain of a
            held-out row: 0.5 is chance; None where there are too few rows.
        told_after: likewise, of the trained features.
        criterion: by which epochs, or runs, compare without a label of the domain: less is better.
        scores: what it is made of, in the epoch that was kept.
        label: the column that holds labels for the evaluation at the end; empty where none does.
        n_scored: held-out rows that have a label that the model knows.
        intervals: on them `before`, `after` and `change` by metric; empty without labels.
    """

    data: str
    data_hash: str
    adapt: str
    weight: float
    n_train: int
    n_validation: int
    n_test: int
    told_before: float | None = None
    told_after: float | None = None
    criterion: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    label: str = ""
    n_scored: int = 0
    intervals: dict[str, dict[str, Interval]] = field(default_factory=dict)


@dataclass(frozen=True)
class TeacherRecord:
    """What a student learned from, and what that is worth on the rows that judge the student.

    Args:
        name: of the run or model.
        learned: which of its numbers: `logits`, `features` or `embedding`.
        weight: of them beside the labels, 0 to 1.
        temperature: by which logits were softened.
        has_head: the scores are its own head's; else what its features answer, as `before` is
            what those of the untouched student do.
        scores: metrics by held-out split.
        n_unlabelled: rows without labels that it spoke of.
        cache: of the pass over the training rows.
    """

    name: str
    learned: str
    weight: float
    temperature: float
    has_head: bool
    scores: dict[str, dict[str, float]]
    n_unlabelled: int = 0
    cache: CacheRecord | None = None


@dataclass(frozen=True)
class RememberedRecord:
    """What the network could do before it was trained, and what is left of it.

    Args:
        name: of the data that ask for it.
        metric: what is measured, on `n_rows` of them.
        head: what answers, and stays as it is: `its own head`, or `a probe` solved on the untouched
            features of other rows of the data.
        before: of the untouched network.
        after: of the trained one, under the same head.
        anew: of the trained one, under a head that is solved on its features anew.
    """

    name: str
    metric: str
    n_rows: int
    head: str
    before: float
    after: float
    anew: float


@dataclass(frozen=True)
class PairsRecord:
    """Of which pairs of held-out items was told how well a threshold on their cosine tells them.

    Args:
        n_alike: pairs that belong together.
        n_unlike: pairs that do not; of either kind all that there are, or a sample by a seed.
        resampled: what intervals draw again, so that pairs that share items count as such:
            `classes`, `groups` of items that share tuples, or single `items`.
        left_out: metrics for which the pairs are too few.
        is_sample: whether there are more.
    """

    n_alike: int
    n_unlike: int
    resampled: str
    left_out: tuple[str, ...] = ()
    is_sample: bool = False


@dataclass(frozen=True)
class RunRecord:
    """One training, done: what was asked, what happened, what it is worth.

    Args:
        task: name in `TASKS`.
        headline: the metric by which a run is judged at a glance.
        classes: names of the outputs: classes, labels, or the number that is predicted.
        before: metrics of the untouched backbone by split.
        after: metrics of the trained model by split; `test clean` or `validation clean` is the
            split that counts without its `n_near` rows.
        intervals: of the split that counts, test or else validation: `before`, `after` and
            `change` (paired: each resample draws the same rows for both) by metric.
        per_class: of the split that counts; empty for numbers.
        chosen_on: what was chosen → on which rows.
        untouched: the pass over the training rows before anything trained; None if it is unknown.
        predict_seconds: that the finished model takes for one row of the split that counts.
        findings: what was found in the data.
        n_near: rows of the split that counts that repeat one of an earlier part, exactly or nearly.
        wordings: of a head that began at the names of the classes, each wording of the prompts
            alone and then all together.
        between: by ascending alpha, where `graft.interpolate` was asked.
        adapter_bytes: size of what was trained, kept by itself; 0 where it was not.
        domain: what adapting to another domain came to; None where none was asked for.
        teacher: that the model learned from, or None.
        remembered: what the network could do before, where that was asked for.
        pairs: held-out pairs that a threshold tells apart; None where nothing is compared by
            cosine, or pairs have scores.
    """

    model: str
    method: str
    classes: tuple[str, ...]
    n_train: int
    n_validation: int
    n_test: int
    how_split: str
    data_hash: str
    phases: tuple[PhaseRecord, ...]
    before: dict[str, dict[str, float]]
    after: dict[str, dict[str, float]]
    weights_sha256: str
    opens_with: str
    seconds: float
    peak_memory_bytes: int
    n_parameters: int
    n_trained: int
    environment: dict[str, str]
    notes: tuple[str, ...] = ()
    chosen_on: dict[str, str] = field(default_factory=dict)
    task: str = "classify"
    headline: str = "accuracy"
    intervals: dict[str, dict[str, Interval]] = field(default_factory=dict)
    per_class: tuple[ClassScores, ...] = ()
    depths: tuple[DepthRecord, ...] = ()
    untouched: CacheRecord | None = None
    predict_seconds: float = 0.0
    findings: tuple[FindingRecord, ...] = ()
    n_near: int = 0
    wordings: tuple[Wording, ...] = ()
    between: tuple[Between, ...] = ()
    adapter_bytes: int = 0
    domain: DomainRecord | None = None
    teacher: TeacherRecord | None = None
    remembered: RememberedRecord | None = None
    pairs: PairsRecord | None = None

    @property
    def judged_on(self) -> str:
        """Return the split that counts: `test`, or `validation` where there is no test part."""
        return "test" if "test" in self.after else "validation"

    @property
    def clean(self) -> dict[str, float]:
        """Return the metrics without rows that repeat an earlier part's; empty where none does."""
        return self.after.get(f"{self.judged_on} clean", {})


@dataclass(frozen=True)
class Prediction:
    """What a model says of one example.

    Args:
        label: the class; labels joined by `;`, `[]` if none holds; a number written out.
        probabilities: of each class or label; empty where a number is predicted.
        labels: the labels that hold; one where there are classes.
        value: the number, where one is predicted.
    """

    label: str
    probabilities: dict[str, float]
    labels: tuple[str, ...] = ()
    value: float | None = None
