"""The tree of errors: as drawn, with exit codes, and one line each."""

from __future__ import annotations

import re

import pytest

from graft import errors
from graft.errors import DataError, GraftError, InputError, UnknownName

CLASSES = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, GraftError)
}


def test_tree_is_as_drawn_at_the_head_of_the_file():
    parents, drawn = [], {}
    for line in errors.__doc__.splitlines():
        if match := re.match(r"^[\s│├└─]*(\w+)(?:\s+exit (\d+))?(?:\s{2,}|$)", line):
            depth = match.start(1) // 4
            name, code = match[1], match[2]
            if name in CLASSES:
                parents = [*parents[: depth - 1], name]
                drawn[name] = (parents[-2] if len(parents) > 1 else None, code)
    assert drawn.keys() == CLASSES.keys()
    for name, (parent, code) in drawn.items():
        assert parent is None or CLASSES[name].__bases__ == (CLASSES[parent],), name
        assert code is None or CLASSES[name].exit_code == int(code), name


@pytest.mark.parametrize("kind", [k for k in CLASSES.values() if issubclass(k, InputError)])
def test_what_the_user_can_mend_exits_with_2(kind):
    assert kind.exit_code == 2


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ({}, "bad"),
        ({"path": "a.csv"}, "a.csv: bad"),
        ({"path": "a.csv", "row": 3}, "a.csv row 3: bad"),
        ({"path": "a.csv", "row": 3, "column": "x"}, "a.csv row 3 column `x`: bad"),
        ({"column": "x"}, "column `x`: bad"),
    ],
)
def test_data_error_says_where(place, text):
    error = DataError("bad", **place)
    assert str(error) == text
    assert (error.path, error.row, error.column) == tuple(
        place.get(key) for key in ("path", "row", "column")
    )


def test_unknown_name_lists_the_closest():
    error = UnknownName("method", "prob", ["full", "probe"])
    assert error.close == ("probe",)
    assert str(error) == "unknown method 'prob': did you mean 'probe'? (known: full, probe)"
    assert str(UnknownName("method", "x", ["b", "a"])) == "unknown method 'x' (known: a, b)"


def test_unknown_name_stays_one_line():
    many = [f"a_rather_long_name_{i:03}" for i in range(500)]
    for name in ("a_rather_long_name_7", "y" * 300):
        text = str(UnknownName("torchvision model", name, many))
        assert len(text) <= 200
        assert "500 in all" in text
