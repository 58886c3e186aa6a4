"""What kind of target a label column holds: one class, several, or a number.

The kind is guessed from the first cells, of numbers from all, and said; who knows better names it.
Guesses lean to one class of several, for that is the usual case, and a comma or a decimal point
alone prove nothing.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from graft.data.invisible import visible

TargetKind = Literal["single", "multi", "number"]
KINDS: tuple[TargetKind, ...] = ("single", "multi", "number")

DELIMITERS = (";", "|", ",")
SMALLEST_SHARE_DELIMITED = 0.05
LONGEST_TOKEN = 40
MOST_NUMBERS_AS_CLASSES = 10
FEWEST_ROWS_OF_A_CLASS = 2  # on average: with fewer, numbers are no classes

EMPTY_LABELS = frozenset(
    ["", "nan", "NaN", "NAN", "None", "null", "NULL", "<NA>", "N/A", "#N/A", "NaT"]
)
"""What exports write where a label is missing; none of these is ever a class."""


def is_empty_label(value: object) -> bool:
    r"""Tell whether a cell of the label column holds no label.

    >>> [is_empty_label(v) for v in (None, float("nan"), " ", "\u200b", "nan", "none", 0)]
    [True, True, True, True, True, False, False]
    """
    if isinstance(value, (list, tuple)):
        return False
    return value is None or value != value or visible(str(value)) in EMPTY_LABELS


def target_kind(values: Sequence[Any]) -> TargetKind:
    """Return the likely kind of a label column.

    Args:
        values: its first cells, or all.

    Returns:
        `multi` for lists and for cells that combine few words by `;`, `|` or `,`; `number` for
        numbers of which some are not whole and more than ten differ, and for whole ones of which
        more than ten differ and that stand in fewer than two rows each; else `single`.
    """
    filled = [value for value in values if not is_empty_label(value)]
    if not filled:
        return "single"
    if delimiter_of(filled) is not None:
        return "multi"
    numbers = [as_number(value) for value in filled]
    if any(math.isnan(number) for number in numbers):
        return "single"
    n_different = len(set(numbers))
    many = n_different > MOST_NUMBERS_AS_CLASSES
    rare = n_different > len(numbers) / FEWEST_ROWS_OF_A_CLASS
    broken = any(number != int(number) for number in numbers)
    return "number" if (many or rare if broken else many and rare) else "single"


def delimiter_of(filled: Sequence[Any]) -> str | None:
    """Return what stands between labels: "[]" for lists, a character, or None for single labels.

    A character counts where the words that it separates come back in other combinations: there
    are no more words than different cells, and each is used at least twice on average. So
    `Paris, France` beside `Rome, Italy` are two classes, not four labels.
    """
    texts = [str(value).strip() for value in filled]
    n_lists = sum(is_list(value) for value in filled)
    if n_lists >= 0.9 * len(filled):
        return "[]"
    for delimiter in DELIMITERS:
        n_delimited = sum(delimiter in text for text in texts)
        if n_delimited < max(SMALLEST_SHARE_DELIMITED * len(texts), 1):
            continue
        words = Counter(word for text in texts for word in split_words(text, delimiter))
        short = all(len(word) <= LONGEST_TOKEN for word in words)
        if short and len(words) <= len(set(texts)) and sum(words.values()) >= 2 * len(words):
            return delimiter
    return None


def is_list(value: Any) -> bool:
    """Tell whether a cell is a list, or the JSON text of one."""
    if isinstance(value, (list, tuple)):
        return True
    return isinstance(value, str) and value.lstrip()[:1] == "[" and json_list(value) is not None


def json_list(text: str) -> list[Any] | None:
    """Return the list that a text writes in JSON, else None."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def split_words(text: str, delimiter: str) -> list[str]:
    """Return the different words between delimiters, in order, without the space around them.

    >>> split_words("b; a;;b", ";")
    ['b', 'a']
    """
    return list(dict.fromkeys(word for part in text.split(delimiter) if (word := part.strip())))


def likely_delimiter(filled: Sequence[Any]) -> str | None:
    """Return the delimiter in most cells, where somebody said that there are several labels."""
    counts = {d: sum(d in str(value) for value in filled) for d in DELIMITERS}
    best = max(counts, key=lambda d: counts[d])
    return best if counts[best] else None


def as_list(value: Any, delimiter: str | None = None) -> tuple[str, ...] | None:
    """Return the labels of one cell, none as an empty tuple; None where the cell says nothing.

    Args:
        value: a list, the JSON text of one (`[]` for no label), or labels with delimiters.
        delimiter: what `delimiter_of` found.
    """
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        found = json_list(value)
        value = value if found is None else found
    if isinstance(value, (list, tuple)):
        return tuple(dict.fromkeys(str(v).strip() for v in value if not is_empty_label(v)))
    if is_empty_label(value):
        return None
    text = str(value)
    if delimiter is None or delimiter == "[]":
        return (text.strip(),)
    return tuple(split_words(text, delimiter))


def as_number(value: Any) -> float:
    """Return a cell as a finite number, or NaN.

    >>> as_number("3.5"), as_number(2), as_number("high"), as_number("inf")
    (3.5, 2.0, nan, nan)
    """
    if value is None or isinstance(value, (bool, list, tuple, dict)):
        return math.nan
    if isinstance(value, str) and "_" in value:  # float() would read 1_000
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def bins_of(numbers: np.ndarray, n_bins: int = 10) -> np.ndarray:
    """Return the quantile bin (N,) of each number, so that numbers can be stratified like classes.

    Args:
        numbers: (N,) finite numbers; NaN gets a bin of its own, -1.
        n_bins: at most; fewer where there are under ten numbers for each, or many are equal.
    """
    known = numbers[~np.isnan(numbers)]
    n_bins = max(min(n_bins, len(known) // 10), 1)
    if not len(known):
        return np.full(len(numbers), -1, dtype=np.int64)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, n_bins + 1)[1:-1]))
    bins = np.searchsorted(edges, numbers, side="right").astype(np.int64)
    bins[np.isnan(numbers)] = -1
    return bins
