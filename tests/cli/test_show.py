"""Names for people: blocks, cuts, the table of before and after."""

from __future__ import annotations

import pytest

from graft.cli.progress import ProgressBars
from graft.cli.show import readable_cut, readable_rule, show_before_after
from graft.methods.select import blocks, everything, head


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
    assert readable_cut("nothing is frozen") == "nothing frozen"
    assert readable_cut("below block 4 of 6") == "frozen below block 4 of 6"


def test_micro_f1_is_not_shown_beside_accuracy(capsys):
    found = {"accuracy": 0.5, "macro_f1": 0.4, "micro_f1": 0.5}
    show_before_after(found, found, "9 test rows")
    out = capsys.readouterr().out
    assert "macro f1" in out
    assert "micro" not in out


def test_notes_are_shown_while_training(capsys):
    with ProgressBars(enabled=True) as bars:
        bars.listener().on_note("text: `text`; split at random")
    assert "text: `text`; split at random" in capsys.readouterr().err


def test_quiet_shows_no_notes(capsys):
    with ProgressBars(enabled=False) as bars:
        bars.listener().on_note("anything")
    assert not capsys.readouterr().err
