"""Find out which column is the input, the label, the group and the split.

First what the user said, then the names that people give such columns, then what the columns
hold. Whatever is found is explained in one sentence; where two columns would do, we ask.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from graft.data.faults import data_error, listed, shorten
from graft.data.images import ENDINGS
from graft.data.split import part_of
from graft.data.table import Roles
from graft.data.targets import (
    TargetKind,
    as_list,
    is_empty_label,
    likely_delimiter,
    target_kind,
)

TEXT_NAMES = (
    "text", "sentence", "message", "review", "question", "utterance", "query", "content",
    "comment", "body", "tweet", "document", "input", "prompt", "texts", "sentences",
)  # fmt: skip
IMAGE_NAMES = (
    "image", "path", "file", "filename", "file_name", "filepath", "file_path", "image_path",
    "img", "img_path",
)  # fmt: skip
TUPLES = (
    ("anchor", "positive", "negative"), ("query", "positive", "negative"),
    ("anchor", "positive"), ("query", "positive"), ("query", "document"), ("query", "passage"),
    ("question", "answer"), ("sentence1", "sentence2"), ("sentence_1", "sentence_2"),
    ("sentence_a", "sentence_b"), ("text1", "text2"), ("text_1", "text_2"), ("text_a", "text_b"),
    ("question1", "question2"), ("image1", "image2"), ("image_1", "image_2"),
    ("image_a", "image_b"),
)  # fmt: skip
"""Names of columns that together are one example: a pair, a triplet."""
SCORE_NAMES = (
    "label", "score", "similarity", "relevance", "grade", "is_duplicate", "duplicate", "same",
)  # fmt: skip
"""Names of what is said of a pair: a number, or 1 for alike and 0 for not."""
LABEL_NAMES = (
    "label", "class", "category", "intent", "target", "y", "sentiment", "labels", "class_name",
    "classes",
)  # fmt: skip
OTHER_LABEL_NAMES = ("tags", "genres", "score", "rating")
"""Names of targets that count where none of the others is there."""
SPLIT_NAMES = ("split", "subset", "partition")
"""The names of each role, the usual one first: it wins over the others."""

SHOWN_KINDS: dict[TargetKind, str] = {
    "single": "",
    "multi": ", several per row",
    "number": ", numbers",
}
"""What is said of each kind of target; the usual one needs no word."""

N_LOOKED_AT = 2_000


@dataclass(frozen=True)
class Asked:
    """Hold the columns that the user named: `--input`, `--label`, `--group`, `--split`.

    Args:
        target: the kind of the label column, where the user said that too.
    """

    input: str | None = None
    label: str | None = None
    group: str | None = None
    split: str | None = None
    target: TargetKind | None = None


@dataclass(frozen=True)
class Found:
    """Hold the roles and one sentence on how they were found."""

    roles: Roles
    because: str


def find_roles(columns: Mapping[str, Sequence[Any]], asked: Asked, *, path: str) -> Found:
    """Return the roles of a table's columns.

    Args:
        columns: name → values. The first 2,000 are looked at, of a label all that there are.
        asked: the columns that the user named; they win.
        path: the table, as the user named it.

    Raises:
        DataError: a named column is missing, or two columns would do.
    """
    names = list(columns)
    several = asked_inputs(asked.input, names, path=path)
    asked = replace(asked, input=None) if several else asked
    for flag in ("input", "label", "group", "split"):
        name = getattr(asked, flag)
        if name is not None and name not in columns:
            raise no_column(name, names, flag=flag, path=path)
    head = {name: list(values[:N_LOOKED_AT]) for name, values in columns.items()}
    taken = {name for name in (asked.input, asked.label, asked.group, asked.split) if name}

    split = asked.split
    if split is None:
        split = next((n for n in by_name(head, SPLIT_NAMES, taken) if names_parts(head[n])), None)
    taken |= {split} if split else set()

    found = find_tuples(head, several, asked, split, path=path)
    if found is not None:
        return found
    label, label_how = asked.label, "as asked"
    if label is None:
        # whole classes are held out where the label is the group too
        others = taken - {asked.group} if asked.group is not None else taken
        named = by_name(head, LABEL_NAMES, others) or by_name(head, OTHER_LABEL_NAMES, others)
        label, label_how = pick(named, LABEL_NAMES), "by name"
        if label is None and named:
            ask("label", named, path)
    if asked.label is not None and holds_images(head[asked.label]):
        refuse_pictures_as_labels(head, asked.label, asked.input, path=path)
    taken |= {label} if label else set()

    input_, input_how = asked.input, "as asked"
    if input_ is None:
        input_, input_how = find_input(head, taken, path=path)
    taken |= {input_}

    if label is None:
        label, label_how = find_label(head, taken, path=path), "by content"

    kind = "image" if holds_images(head[input_]) else "text"
    because = f"{kind}: `{input_}` ({input_how}), "
    target: TargetKind = "single"
    if label:
        target = asked.target or target_kind(columns[label])
        because += f"label: `{label}` ({label_how}{SHOWN_KINDS[target]})"
    else:
        because += "label: none found"
    because += f", group: `{asked.group}` (as asked)" if asked.group else ""
    because += f", split: `{split}`" if split else ""
    return Found(Roles((input_,), label, asked.group, split, kind, target), because)


def asked_inputs(spec: str | None, names: Sequence[str], *, path: str) -> tuple[str, ...]:
    """Return the columns of `--input a,b`; none where one column is meant, or none is said.

    Raises:
        DataError: one of them is missing.
    """
    if spec is None or spec in names or "," not in spec:
        return ()
    several = tuple(part.strip() for part in spec.split(","))
    for name in several:
        if name not in names:
            raise no_column(name, names, flag="input", path=path)
    return several


def find_tuples(
    head: Mapping[str, Sequence[Any]],
    inputs: tuple[str, ...],
    asked: Asked,
    split: str | None,
    *,
    path: str,
) -> Found | None:
    """Return the roles of a table of pairs or triplets; None where it is none.

    Found by name, it is one where no column holds a class of the whole row: what is said of a pair
    is a number.

    Args:
        inputs: the columns that the user named, or none.
    """
    how = "as asked"
    if not inputs:
        if asked.input is not None:
            return None
        by_plain = {plain(name): name for name in head}
        known = next((t for t in TUPLES if all(name in by_plain for name in t)), None)
        if known is None:
            return None
        inputs, how = tuple(by_plain[name] for name in known), "by name"
    label = asked.label
    if label is None:
        named = by_name(head, SCORE_NAMES, {*inputs, asked.group or "", split or ""})
        label = pick(named, SCORE_NAMES)
        if label is None and named:
            ask("label", named, path)
    filled = [] if label is None else [v for v in head[label] if not is_empty_label(v)]
    if label is not None and not holds_numbers(filled):  # an empty score is a fault of its row
        if how == "by name":
            return None  # classes of rows: one of the columns is the input
        raise data_error(
            "says more of a pair than a number can; write a score, or 1 for alike and 0 for not",
            path=path,
            column=label,
        )
    kinds = {holds_images(head[name]) for name in inputs}
    if len(kinds) > 1:
        raise data_error(
            f"{listed(inputs)}: some hold pictures and some texts; name columns of one kind "
            "with --input",
            path=path,
        )
    kind = "image" if kinds.pop() else "text"
    because = f"{kind}: {', '.join(f'`{name}`' for name in inputs)} together ({how}), "
    because += f"label: `{label}`, numbers" if label else "label: none"
    because += f", group: `{asked.group}` (as asked)" if asked.group else ""
    because += f", split: `{split}`" if split else ""
    return Found(Roles(inputs, label, asked.group, split, kind, "number"), because)


def find_input(
    head: Mapping[str, Sequence[Any]], taken: Iterable[str], *, path: str
) -> tuple[str, str]:
    """Return the input column and how it was found."""
    taken = set(taken)
    free = [name for name in head if name not in taken]
    pictures = [name for name in free if holds_images(head[name])]
    named = [n for n in by_name(head, IMAGE_NAMES, taken) if n in pictures]
    if pictures:
        found = pick(named, IMAGE_NAMES) or pick(pictures)
        if found is None:
            ask("input", pictures, path)
        return found, "by name" if found in named else "by content"
    named = by_name(head, TEXT_NAMES, taken)
    found = pick(named, TEXT_NAMES)
    if found:
        return found, "by name"
    texts = named or [name for name in free if holds_texts(head[name])]
    if len(texts) == 1:
        return texts[0], "by content"
    if texts or len(free) != 1 or holds_numbers(head[free[0]]):
        ask("input", texts or list(head), path)
    return free[0], "the only one left"


def find_label(head: Mapping[str, Sequence[Any]], taken: Iterable[str], *, path: str) -> str | None:
    """Return the one remaining column that holds few values often; None where there is none."""
    taken = set(taken)
    free = (n for n in head if n not in taken and not holds_images(head[n]))
    likely = [name for name in free if holds_targets(head[name])]
    if len(likely) > 1:
        ask("label", likely, path)
    if likely and likely[0] in set(map(str, head[likely[0]])):
        message = f"the first line looks like data ({shorten(likely[0], 20)!r} is a value too); "
        raise data_error(message + "add a line with the names of the columns", path=path)
    return likely[0] if likely else None


def refuse_pictures_as_labels(
    head: Mapping[str, Sequence[Any]], label: str, input: str | None, *, path: str
) -> NoReturn:
    """Raise because the column of labels holds pictures, perhaps those of captions."""
    texts = [input] if input else [n for n in head if n != label and holds_texts(head[n])]
    pairs = f"--input {label},{texts[0] if len(texts) == 1 else 'CAPTIONS'}"
    raise data_error(
        f"holds names of pictures, and no classes; for pictures with captions pass {pairs} "
        "without --label, or write classes without the ending of a file",
        path=path,
        column=label,
    )


def by_name(
    head: Mapping[str, Sequence[Any]], known: Sequence[str], taken: Iterable[str]
) -> list[str]:
    """Return the free columns that bear one of the known names, whatever their case."""
    taken = set(taken)
    return [name for name in head if name not in taken and plain(name) in known]


def pick(names: Sequence[str], known: Sequence[str] = ()) -> str | None:
    """Return the only name, or the only one that bears the usual name of its role."""
    if len(names) == 1:
        return names[0]
    usual = [name for name in names if known and plain(name) == known[0]]
    return usual[0] if len(usual) == 1 else None


def plain(name: str) -> str:
    """Return a column's name in lower case with underscores.

    >>> plain(" Class Name")
    'class_name'
    """
    return re.sub(r"\W+", "_", name.strip().casefold())


def holds_images(values: Sequence[Any]) -> bool:
    """Tell whether nearly all values are names of image files."""
    filled = [v for v in values if isinstance(v, str) and v.strip()]
    n_images = sum(Path(v).suffix.lower() in ENDINGS and "\n" not in v for v in filled)
    return bool(filled) and n_images >= 0.9 * len(filled)


def holds_texts(values: Sequence[Any]) -> bool:
    """Tell whether the values read like texts: several words, mostly different."""
    filled = [v for v in values if isinstance(v, str) and v.strip()]
    if not filled:
        return False
    several_words = sum(" " in v.strip() for v in filled) >= len(filled) / 2
    mean_length = sum(map(len, filled)) / len(filled)
    long_or_many = mean_length >= 80 or len(set(filled)) > len(filled) / 2
    return several_words and mean_length >= 8 and long_or_many


def holds_numbers(values: Sequence[Any]) -> bool:
    """Tell whether all values are numbers."""
    return all(re.fullmatch(r"\s*[-+]?[\d.,]+([eE][-+]?\d+)?\s*", str(v)) for v in values)


def holds_classes(values: Sequence[Any]) -> bool:
    """Tell whether the values look like classes: short, at least two, each often."""
    filled = [str(v) for v in values if v is not None and str(v).strip()]
    n_classes = len(set(filled))
    return 2 <= n_classes <= len(filled) / 2 and sum(map(len, filled)) <= 60 * len(filled)


def holds_targets(values: Sequence[Any]) -> bool:
    """Tell whether the values look like classes, or like several to a row that come back often."""
    if holds_classes(values):
        return True
    if target_kind(values) != "multi":
        return False
    words = [word for value in values for word in as_list(value, likely_delimiter([value])) or ()]
    return len(set(words)) <= len(words) / 2


def names_parts(values: Sequence[Any]) -> bool:
    """Tell whether most values name a part of a split.

    One that does not is then an error with its row, and not a reason to draw another split.
    """
    return sum(part_of(value) is not None for value in values) > len(values) / 2


def ask(role: str, candidates: Sequence[str], path: str) -> NoReturn:
    """Raise the error that asks the user which column is meant."""
    flags = "--input and --label" if role == "input" else "--label (and --input)"
    message = f"cannot tell which column is the {role}: {listed(candidates)}; pass {flags}"
    raise data_error(message, path=path)


def no_column(name: str, names: Sequence[str], *, flag: str, path: str) -> Exception:
    """Return the error for a column that is not there, with the nearest that is."""
    folded = {n.casefold(): n for n in reversed(names)}
    close = difflib.get_close_matches(name.strip().casefold(), folded, n=1)
    nearest = f"did you mean `{shorten(folded[close[0]], 30)}`? " if close else ""
    message = (
        f"no column `{shorten(name, 30)}`; {nearest}pass --{flag} with one of: {listed(names)}"
    )
    return data_error(message, path=path)
