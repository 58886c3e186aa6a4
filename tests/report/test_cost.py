"""What the cache saved: rows that were not recomputed, times what a row took."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

from graft.phase_records import CacheRecord, EpochRecord, PhaseRecord
from graft.report.cost import saved_by_cache
from graft.report.tables import cost_rows
from tests.report.test_card import RECORD

HIGH, LOW = "above the backbone", "below block 1 of 2"
SOLVED = PhaseRecord("probe", (), CacheRecord(HIGH, True, "", 10, 0))
EPOCHS = tuple(EpochRecord(i, 0.5, 0.5, 1.0) for i in range(3))


def record(*phases, **more):
    return dataclasses.replace(RECORD, phases=phases, **more)


def test_a_solved_head_reads_each_training_row_once():
    untouched = CacheRecord(HIGH, True, "", 10, 100, 2.0)
    [saved] = saved_by_cache(record(SOLVED, untouched=untouched))
    assert saved.n_rows == 100
    assert saved.seconds == 100 * 2.0 / 100


def test_epochs_count_training_and_validation_rows_less_what_was_computed():
    cache = CacheRecord(LOW, True, "", 10, 60, 3.0)
    [saved] = saved_by_cache(record(PhaseRecord("last", (), cache, epochs=EPOCHS)))
    assert saved.n_rows == 3 * 100 + 3 * 20 - 60
    assert saved.seconds == saved.n_rows * 3.0 / 60


def test_another_cut_is_no_measure():
    untouched = CacheRecord(LOW, True, "", 10, 100, 2.0)
    found = record(SOLVED, untouched=untouched)
    [saved] = saved_by_cache(found)
    assert saved.seconds is None
    assert any("no pass at this cut was timed" in how for _, _, how in cost_rows(found))


def test_where_all_lay_there_predicting_is_the_measure_of_the_whole_backbone():
    untouched = CacheRecord(HIGH, True, "", 10, 0)
    [saved] = saved_by_cache(record(SOLVED, untouched=untouched, predict_seconds=0.5))
    assert saved.seconds == 50.0


def test_without_a_store_nothing_is_saved():
    phase = PhaseRecord("full", (), CacheRecord(LOW, False, "not wanted"), epochs=EPOCHS)
    assert saved_by_cache(record(phase)) == ()


def test_nothing_is_said_of_two_towers():
    cache = CacheRecord(LOW, True, "", 10, 60, 3.0)
    found = record(PhaseRecord("last", (), cache, epochs=EPOCHS))
    assert saved_by_cache(found)
    assert saved_by_cache(replace(found, task="match")) == ()
