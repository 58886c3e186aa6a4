"""What is tried follows from the finished trials alone, whatever was killed between them."""

from __future__ import annotations

import pytest

pytest.importorskip("optuna", reason="needs the extra tune")

from graft.errors import StorageError
from graft.selection.space import Range
from graft.selection.study import JOURNAL, Study

SPACE = {"lr": Range(1e-5, 1e-2), "decay": Range(0.5, 1.0, is_log=False)}


def opened(folder):
    return Study(folder, SPACE, seed=3, is_higher_better=True)


def value_of(options):
    return -abs(options.get("decay", 0.5) - 0.9)


def go_on(study, n):
    for _ in range(n):
        number, options = study.propose()
        if number == 4:
            study.tell(number, None, 1.0, "the loss was not finite")
        else:
            study.tell(number, value_of(options), 1.0)


def test_the_first_is_the_methods_own_choice_and_the_others_lie_within_bounds(tmp_path):
    study = opened(tmp_path)
    go_on(study, 8)
    first, *others = study.trials()
    assert (first.number, first.options) == (0, {})
    for trial in others:
        for name, bounds in SPACE.items():
            assert bounds.low <= trial.options[name] <= bounds.high
    assert len({trial.options["lr"] for trial in others}) == 7
    assert study.trials()[4].value is None
    assert "not finite" in study.trials()[4].why


def test_it_goes_on_as_if_it_had_never_been_killed(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = opened(tmp_path / "whole")
    go_on(whole, 12)
    for n in (3, 5, 4):
        study = opened(tmp_path / "killed")
        go_on(study, n)
        study.propose()  # begun, and then killed
    assert opened(tmp_path / "killed").trials() == whole.trials()


def test_half_a_line_is_cut_off_and_a_damaged_journal_is_named(tmp_path):
    go_on(opened(tmp_path), 3)
    path = tmp_path / JOURNAL
    known = opened(tmp_path).trials()
    with path.open("ab") as file:
        file.write(b'{"op_code": 4, "worker')
    assert opened(tmp_path).trials() == known
    go_on(opened(tmp_path), 1)
    assert opened(tmp_path).trials()[:3] == known
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"odd\n", *lines[2:]]))
    with pytest.raises(StorageError, match="is damaged"):
        opened(tmp_path)


def test_several_trials_may_be_under_way_and_the_lowest_free_number_comes_next(tmp_path):
    study = opened(tmp_path)
    (a, _), (b, second), (c, _) = (study.propose() for _ in range(3))
    assert (a, b, c) == (0, 1, 2)
    study.tell(c, 0.5, 1.0)
    study.tell(a, 0.4, 1.0)
    again = opened(tmp_path)  # number 1 was killed
    number, options = again.propose()
    assert number == 1
    assert options.keys() == second.keys()
    assert [trial.number for trial in again.trials()] == [0, 2]
