"""Names for people: blocks, cuts, the table of before and after."""

from __future__ import annotations

import dataclasses
import json

import pytest

from graft.cli.progress import ProgressBars
from graft.cli.show import show_depths, show_run, show_table
from graft.methods.select import blocks, everything, head
from graft.phase_records import DepthRecord
from graft.records import Interval
from graft.report.words import human_seconds, readable_cut, readable_rule
from tests.report.test_card import RECORD


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (blocks(-1), "block 5"),
        (blocks(-2, -1), "block 4"),
        (blocks(-2), "blocks 4–5"),
        (blocks(0, 3), "blocks 0–2"),
        (head(), "head"),
        (everything(), "everything"),
    ],
)
def test_blocks_are_counted_with_their_real_number(where, expected):
    assert readable_rule(str(where), 6) == expected


def test_blocks_of_one_chain_keep_their_name():
    assert readable_rule("text.blocks[-2:]", 6) == "text.blocks[-2:]"
    assert readable_rule("blocks[-2:-1]", 1) == "blocks[-2:-1]"


def test_nothing_frozen():
    assert readable_cut("nothing is frozen") == "no frozen prefix"
    assert readable_cut("below block 4 of 6") == "frozen below block 4 of 6"


@pytest.mark.parametrize(("task", "shown"), [("classify", False), ("multilabel", True)])
def test_micro_f1_is_not_shown_where_it_is_the_accuracy(task, shown, capsys):
    found = {name: Interval(0.5, 0.4, 0.6) for name in ("accuracy", "macro_f1", "micro_f1")}
    parts = {"before": found, "after": found, "change": found}
    show_run(dataclasses.replace(RECORD, task=task, intervals=parts))
    out = capsys.readouterr().out
    assert "macro f1" in out
    assert "(0.400 to 0.600)" in out
    assert ("micro" in out) == shown


def test_notes_are_shown_while_training(capsys):
    with ProgressBars(enabled=True) as bars:
        bars.listener().on_note("text: `text`; split at random")
    assert "text: `text`; split at random" in capsys.readouterr().err


def test_quiet_shows_no_notes(capsys):
    with ProgressBars(enabled=False) as bars:
        bars.listener().on_note("anything")
    assert not capsys.readouterr().err


def test_what_was_noted_while_training_is_known_after_it():
    with ProgressBars(enabled=True) as bars:
        bars.listener().on_note("auto chose probe")
        assert bars.notes == ["auto chose probe"]


def test_presets_of_augmentations_are_listed(capsys):
    show_table("augmentations", as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["light"] == "crop and flip"
    assert found["strong"] == "crop, rotate, flip, colour and erase"


def test_depths_have_bars_and_the_chosen_one_is_named(capsys):
    show_depths(
        [
            DepthRecord("block 0", 8, 0.8, 0.5, 0.1, chosen=True),
            DepthRecord("features", 6, 0.4, 0.7, 0.1),
        ]
    )
    first, second = capsys.readouterr().out.splitlines()[1:]
    assert "this model" in first
    assert first.count("█") == 2 * second.count("█") > 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (42.4, "42 s"), (59.7, "60 s"), (3600, "1 h 0 min")]
)
def test_durations(seconds, text):
    assert human_seconds(seconds) == text


def test_a_pass_over_the_rows_has_a_bar_until_it_is_done():
    with ProgressBars(enabled=True) as bars:
        listener = bars.listener()
        listener.on_rows("training rows", 5, 10)
        (task,) = bars._progress.tasks
        assert (task.completed, task.total, task.fields["count"]) == (5, 10, "50%")
        listener.on_rows("training rows", 10, 10)
        assert not bars._progress.tasks


def test_embeddings_are_compared_by_cosine(capsys):
    found = {name: Interval(0.5, 0.4, 0.6) for name in ("mrr", "recall_at_1", "map_at_r")}
    parts = {"before": found, "after": found, "change": found}
    show_run(dataclasses.replace(RECORD, task="embed", intervals=parts))
    out = capsys.readouterr().out
    assert "MRR" in out and "MAP at R" in out and "recall at 1" in out
    assert "compared by cosine" in out
