"""The words for people that several pages share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graft.records import PairsRecord, RememberedRecord

UNTOUCHED = {
    "classify": "untouched backbone with class means",
    "multilabel": "untouched backbone with its ten nearest training rows",
    "regress": "untouched backbone with its ten nearest training rows",
    "embed": "untouched backbone",
    "match": "untouched towers under the projections that training began with",
}
"""task → what stands under "before": what the features know without training."""

IN_A_SPACE = frozenset({"embed", "match"})
"""Tasks whose answers are vectors, compared by cosine."""

A_MODEL = {
    "classify": "classifier for {n} classes",
    "multilabel": "classifier for {n} labels, of which any number may hold",
    "regress": "model that predicts a number",
    "embed": "embedding model, which lays near what belongs together",
    "match": "model of two towers, which lays pictures near their captions",
}
"""task → what a trained model is; `{n}` is the number of its outputs."""


NAMES = {
    "mrr": "MRR",
    "map_at_r": "MAP at R",
    "ndcg_at_10": "NDCG at 10",
    "logme": "LogME",
    "h_score": "H-score",
    "leep": "LEEP",
    "tar_at_far_1e2": "TAR at FAR 1 %",
    "tar_at_far_1e3": "TAR at FAR 0.1 %",
}
"""metric or score → its name for people, where letters stand for words."""


def readable(metric: str) -> str:
    """Return a metric's name for people: `macro f1` for `macro_f1`."""
    told = metric.removeprefix("expected_").replace("_to_", "→").replace("_", " ")
    return NAMES.get(metric) or told.replace(" mrr", " MRR")


def spelled(metric: str) -> str:
    """Return a metric's name as a sentence has it: `mean reciprocal rank` for `mrr`."""
    return {"mrr": "mean reciprocal rank", "spearman": "rank correlation"}.get(metric) or readable(
        metric
    )


def what_pairs(pairs: PairsRecord) -> str:
    """Return a sentence on which pairs a threshold was asked to tell apart, and how."""
    told = (
        f"{plural(pairs.n_alike, 'pair')} that belong together and {pairs.n_unlike:,} that do not"
    )
    if pairs.is_sample:
        told += ", a sample of all"
    if not (pairs.n_alike and pairs.n_unlike):
        return f"{told}; it takes both kinds to judge a threshold"
    told += f"; intervals draw {DRAWN[pairs.resampled]} again"
    if not pairs.left_out:
        return told
    names = " and ".join(readable(name) for name in pairs.left_out)
    return f"{told}; for {names} the pairs that do not belong together are too few"


DRAWN = {
    "classes": "whole classes",
    "groups": "whole groups of items that share pairs",
    "items": "single items",
}
"""unit of `PairsRecord` → what a resample draws."""


def what_is_left(kept: RememberedRecord) -> str:
    """Return a sentence on what a network still can do of what it could do before."""
    whose = "its own head" if kept.head == "its own head" else "a probe of the untouched network"
    return (
        f"{spelled(kept.metric)} on {plural(kept.n_rows, 'row')} of {kept.name} by {whose}: "
        f"{kept.before:.3f} before training, {kept.after:.3f} after it; a new head on the trained "
        f"features has {kept.anew:.3f}"
    )


def readable_cut(label: str) -> str:
    """Return what is frozen: `frozen below block 4 of 6`, `no frozen prefix`."""
    return "no frozen prefix" if label == "nothing is frozen" else f"frozen {label}"


def readable_rule(rule: str, n_blocks: int) -> str:
    """Return which parameters a rule selects, its blocks counted from 0 as in their paths.

    >>> readable_rule("blocks[-2:]", 6), readable_rule("blocks[-2:-1]", 6)
    ('blocks 4–5', 'block 4')
    """
    found = re.fullmatch(r"blocks\[(-?\d*):(-?\d*)\]", rule)
    if found is None:
        return rule
    start, stop = (int(number) if number else None for number in found.groups())
    chosen = range(n_blocks)[start:stop]
    if not chosen:
        return rule
    return f"block {chosen[0]}" if len(chosen) == 1 else f"blocks {chosen[0]}–{chosen[-1]}"


def readable_place(path: str | None, row: int | None, column: str | None = None) -> str:
    """Return where something stands, the file without its folders.

    >>> readable_place("data/a.csv", 3, "text"), readable_place("photos/a.jpg", None)
    ('a.csv row 3, column text', 'a.jpg')
    """
    file = "" if path is None else path.rpartition("/")[2]
    place = " ".join(filter(None, (file, "" if row is None else f"row {row}")))
    return ", ".join(filter(None, (place, "" if column is None else f"column {column}")))


def human_seconds(seconds: float) -> str:
    """Return a duration to two digits with its unit: 4.2 s, 2 min 10 s, 3 h 20 min.

    >>> human_seconds(4.21), human_seconds(130), human_seconds(12_000)
    ('4.2 s', '2 min 10 s', '3 h 20 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def percent(share: float, digits: int = 1) -> str:
    """Return a share for people: `92.1 %`, with a space that does not break."""
    return "–" if share != share else f"{100 * share:.{digits}f}\u00a0%"


def share_of(part: int, whole: int) -> str:
    """Return a part in per cent, with two digits after the point where it is small."""
    share = part / max(whole, 1)
    return percent(share, 1 if share >= 0.01 else 2)


def signed(value: float, digits: int = 3) -> str:
    """Return a number with its sign, a real minus sign, so many digits after the point."""
    return "–" if value != value else f"{value:+.{digits}f}".replace("-", "\u2212")


def plural(n: int, one: str, many: str = "") -> str:
    """Return a count with its noun: `1 row`, `1,821 rows`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def shown(value: float, digits: int = 3) -> str:
    """Return a number with so many digits after the point, a dash for one that is not defined."""
    return "–" if value != value else f"{value:.{digits}f}".replace("-", "\u2212")
