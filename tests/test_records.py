"""Law: record ↔ JSON is the identity, whatever a record holds."""

from __future__ import annotations

import dataclasses
import math
import types
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft import phase_records, records
from graft.errors import ModelError
from graft.phase_records import EpochRecord, PhaseRecord
from graft.records import RunRecord
from graft.serial import from_json, to_json

SCALARS = {
    str: st.text(max_size=8),
    int: st.integers(-(2**63), 2**63),
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
}


def any_of(kind):
    """Return a strategy for a record, or whatever its fields hold."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        names = [f.name for f in dataclasses.fields(kind)]
        return st.builds(kind, **{name: any_of(hints[name]) for name in names})
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return st.lists(any_of(args[0]), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(any_of(args[0]), any_of(args[1]), max_size=2)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([st.none() if a is type(None) else any_of(a) for a in args])
    return SCALARS[kind]


KNOWN = vars(records) | vars(phase_records)
KINDS = [k for k in KNOWN.values() if dataclasses.is_dataclass(k)]


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(kind):
    @settings(max_examples=12, deadline=None, database=None)
    @given(any_of(kind))
    def check(record):
        again = from_json(kind, to_json(record))
        assert again == record
        assert to_json(again) == to_json(record)

    check()


def test_every_record_is_frozen():
    assert RunRecord in KINDS
    assert len(KINDS) >= 6
    for kind in KINDS:
        assert kind.__dataclass_params__.frozen


def test_what_is_not_finite_survives():
    record = EpochRecord(1, math.inf, None, -math.inf)
    assert from_json(EpochRecord, to_json(record)) == record
    again = from_json(EpochRecord, to_json(EpochRecord(1, math.nan, None, 0.0)))
    assert math.isnan(again.train_loss)


def test_fields_with_defaults_may_be_absent():
    text = '{"name": "a", "groups": [], "cache": {"cut": "c", "used": false, "reason": "r"}}'
    phase = from_json(PhaseRecord, text)
    assert phase.epochs == ()
    assert phase.cache.size_bytes == 0


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"epoch": 1}', '{"epoch": 1, "from_the_future": 2}'],
)
def test_what_is_no_record_is_refused(text):
    with pytest.raises(ModelError, match="EpochRecord") as caught:
        from_json(EpochRecord, text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 200


def test_an_epoch_that_was_written_before_there_were_scores_opens():
    text = '{"epoch": 0, "train_loss": 0.5, "validation_loss": null, "seconds": 1.0}'
    assert from_json(EpochRecord, text) == EpochRecord(0, 0.5, None, 1.0, {})
