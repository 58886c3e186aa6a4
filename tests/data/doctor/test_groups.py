"""Ids that come twice, and columns that look like groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from graft.data.doctor.groups import likely_groups, repeated_ids, torn_values
from tests.data.makers import text_table

TEXTS = [f"t {i}" for i in range(12)]
PARTS = np.array([0] * 8 + [2] * 4)


def with_column(name: str, values: list[object], **more):
    table = text_table(TEXTS, ["a", "b"] * 6, **more)
    return replace(table, data=table.data.append_column(name, pa.array(values)))


def test_a_column_named_like_a_group_is_told_where_it_is_torn():  # B24
    people = [i % 4 for i in range(12)]
    (found,) = likely_groups(with_column("Patient ID", people), PARTS)
    assert (found.code, found.severity, found.row, found.column) == (
        "likely-group", "warn", 9, "Patient ID",
    )  # fmt: skip
    whole = [i // 4 for i in range(12)]
    assert likely_groups(with_column("patient_id", whole), PARTS) == []
    assert likely_groups(with_column("colour", people), PARTS) == []
    assert likely_groups(with_column("author", list(range(12))), PARTS) == []
    assert likely_groups(with_column("user", people, group=people), PARTS) == []


def test_empty_cells_are_no_group():
    table = with_column("session", ["a", None, "", None] * 3)
    assert torn_values(table, "session", PARTS).keys() == {"a"}


def test_ids_that_come_twice_are_told():  # B19
    ids = [str(i) for i in range(11)] + ["3"]
    (found,) = repeated_ids(with_column("ID", ids))
    assert (found.severity, found.row, found.column) == ("warn", 12, "ID")
    assert "1 id names several rows each (3)" in found.message
    assert repeated_ids(with_column("id", list(range(12)))) == []
    assert repeated_ids(with_column("id", [1, 2, 3] * 4)) == []
    assert repeated_ids(with_column("price", ids)) == []
