"""What is kept of rows, and conditions on it, against comparing cells in Python."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.errors import InputError, UnknownName
from graft.retrieval.filters import read_conditions
from graft.retrieval.rows import MOST_COLUMNS, Row, RowFile, write_rows


def opened(path, cells):
    write_rows(path, [Row(f"r{i}", "t.csv", i + 1, "x", c) for i, c in enumerate(cells)])
    return RowFile(path)


def matching(file, *texts):
    return file.matching(read_conditions(texts, file.columns)).tolist()


@pytest.fixture
def file(tmp_path):
    cells = [
        {"colour": "red", "price": "9.5", "zip": "007", "n": 1},
        {"colour": "Green", "price": "10", "zip": "7", "n": 2},
        {"colour": "", "price": None, "zip": "0x", "n": None},
        {"colour": "red", "price": "-1", "zip": "", "n": 30},
    ]
    found = opened(tmp_path / "rows.sqlite", cells)
    yield found
    found.close()


@pytest.mark.parametrize(
    ("texts", "rows"),
    [
        (["colour=red"], [0, 3]),
        (["colour = red "], [0, 3]),
        (["colour=green"], []),  # cells are compared as they are written
        (["colour!=red"], [1, 2]),  # what is missing differs from every value
        (["colour="], [2]),
        (["colour!="], [0, 1, 3]),
        (["price<10"], [0, 3]),  # as numbers: "9.5" < "10"
        (["price<=10"], [0, 1, 3]),
        (["price>9.5"], [1]),
        (["price>=9.5"], [0, 1]),
        (["price=10.0"], [1]),
        (["price=cheap"], []),
        (["price!=cheap"], [0, 1, 2, 3]),
        (["price<cheap"], []),
        (["zip=007"], [0]),  # a leading zero makes a name of a number
        (["n>1"], [1, 3]),
        (["colour=red", "price>0"], [0]),
    ],
)
def test_conditions(file, texts, rows):
    assert matching(file, *texts) == rows


@pytest.mark.parametrize(
    "value", ["red' OR '1'='1", "x; DROP TABLE rows", '" OR 1=1 --', "%", "a=b", "🌍"]
)
def test_a_value_is_never_part_of_a_statement(file, value):
    assert matching(file, f"colour={value}") == []
    assert matching(file, "colour=red") == [0, 3]


def test_odd_names_of_columns(tmp_path):
    names = ['a"b', "c0", "row", "A", "a", "x y", "drop table"]
    file = opened(tmp_path / "rows.sqlite", [dict.fromkeys(names, "1"), dict.fromkeys(names, "2")])
    for name in names:
        assert matching(file, f"{name}=2") == [1]
    file.close()


@settings(max_examples=30, deadline=None)
@given(
    cells=st.lists(st.one_of(st.none(), st.integers(-5, 5)), min_size=1, max_size=10),
    operator=st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
    value=st.integers(-5, 5),
)
def test_numbers_are_compared_as_python_does(tmp_path_factory, cells, operator, value):
    if all(c is None for c in cells):
        return
    file = opened(tmp_path_factory.mktemp("rows") / "rows.sqlite", [{"n": c} for c in cells])
    is_true = {
        "=": lambda c: c == value,
        "!=": lambda c: c != value,
        "<": lambda c: c is not None and c < value,
        "<=": lambda c: c is not None and c <= value,
        ">": lambda c: c is not None and c > value,
        ">=": lambda c: c is not None and c >= value,
    }[operator]
    assert matching(file, f"n{operator}{value}") == [i for i, c in enumerate(cells) if is_true(c)]
    file.close()


def test_rows_come_back_as_they_were(file):
    row = file.rows([0, 3])[0]
    assert row == Row(
        "r0", "t.csv", 1, "x", {"colour": "red", "price": "9.5", "zip": "007", "n": 1}
    )
    assert file.ids() == ["r0", "r1", "r2", "r3"]
    assert file.numbers_of(["r2", "nowhere"]) == {"r2": 2}


def test_many_ids_are_asked_for_in_parts(tmp_path):
    file = opened(tmp_path / "rows.sqlite", [{}] * 1201)
    assert len(file.numbers_of([f"r{i}" for i in range(1300)])) == 1201
    file.close()


def test_refusals(file, tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'colour'"):
        read_conditions(["color=red"], file.columns)
    with pytest.raises(InputError, match="is no condition; write column=value"):
        read_conditions(["colour"], file.columns)
    assert file.numbers == {"price", "n"}
    for value in ("abc", "", "nan"):
        with pytest.raises(InputError, match=f"'{value}' is no number, and `price` holds numbers"):
            read_conditions([f"price<{value}"], file.columns, file.numbers)
    assert read_conditions(["price=abc", "colour<abc"], file.columns, file.numbers)
    wide = [{f"c{i}": i for i in range(MOST_COLUMNS + 1)}]
    with pytest.raises(InputError, match="1,001 columns"):
        opened(tmp_path / "wide.sqlite", wide)
