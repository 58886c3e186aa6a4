"""Conditions on columns: `column=value`, and `!=`, `<`, `<=`, `>`, `>=`; several are and-ed.

The grammar is fixed: a name, an operator, the rest is the value. Neither name nor value ever
becomes part of a statement: a name is looked up, a value is bound.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal, cast

from graft.data.faults import shorten
from graft.errors import InputError, UnknownName

Operator = Literal["=", "!=", "<", "<=", ">", ">="]

_CONDITION = re.compile(
    r"\s*(?P<column>[^=!<>]+?)\s*(?P<operator>!=|<=|>=|=|<|>)(?P<value>.*)", re.DOTALL
)


@dataclass(frozen=True)
class Condition:
    """Hold one condition; the value is compared as a number where column and value are numbers.

    A cell that is missing equals only the empty value, differs from every other, and is neither
    less nor more than anything.
    """

    column: str
    operator: Operator
    value: str

    @property
    def number(self) -> float | None:
        """Return the value as a number, None where it is not a finite one."""
        return as_number(self.value)

    def __str__(self) -> str:
        return f"{self.column}{self.operator}{self.value}"


def read_conditions(
    texts: Iterable[str], columns: Iterable[str], numbers: Collection[str] = ()
) -> tuple[Condition, ...]:
    """Return conditions as a user writes them.

    Args:
        texts: such as `label=animal` or `price<=9.5`.
        columns: the names that there are.
        numbers: those of columns that are compared as numbers.

    Raises:
        InputError: a text is no condition, or orders numbers by what is none.
        UnknownName: a column is not there; the nearest is named.
    """
    known = sorted(set(columns))
    found = []
    for text in texts:
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise InputError(
                f"--where {shorten(text, 40)!r}: is no condition; write column=value, or one of "
                "!= < <= > >= in place of ="
            )
        if match["column"] not in known:
            raise UnknownName("column", match["column"], known)
        value = match["value"].strip()
        one = Condition(match["column"], cast(Operator, match["operator"]), value)
        if one.column in numbers and one.operator not in ("=", "!=") and one.number is None:
            raise InputError(
                f"--where {shorten(text, 40)!r}: {shorten(value, 20)!r} is no number, and "
                f"`{shorten(one.column, 30)}` holds numbers; compare it with one"
            )
        found.append(one)
    return tuple(found)


def as_number(value: object) -> float | None:
    """Return a cell as a finite number, or None; digits behind a leading zero are a name.

    >>> [as_number(x) for x in ("9.5", 3, "007", "nan", "red", True)]
    [9.5, 3.0, None, None, None, None]
    """
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str) and re.match(r"\s*[+-]?0\d", value):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def as_text(value: object) -> str:
    """Return a cell as it is compared with a text; a list is its JSON.

    >>> as_text("red"), as_text(["red", "blue"])
    ('red', '["red", "blue"]')
    """
    return value if isinstance(value, str) else json.dumps(value, default=str).strip('"')
