"""Who may write into the folder of a run."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from graft.errors import InputError, StorageError
from graft.run_folder import check_folder, held_folder, no_folder
from tests.faults.killer import fork


def check(folder, data="data.csv", *, overwrite=False, resume=False):
    check_folder(Path(folder), str(data), overwrite=overwrite, resume=resume)


def test_a_run_may_not_lie_in_its_data_nor_hold_them(tmp_path):
    for out in (tmp_path, tmp_path / "photos"):
        with pytest.raises(InputError, match="lies in the data"):
            check(out, tmp_path)
    (tmp_path / "predictions.csv").write_text("a")
    with pytest.raises(InputError, match="holds the data"):
        check(tmp_path, tmp_path / "predictions.csv", overwrite=True)


def test_a_run_that_is_not_there_names_the_closest(tmp_path, monkeypatch):
    (tmp_path / "runs" / "tickets-probe-1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert str(no_folder(Path("runs/ticket-probe"))) == (
        "runs/ticket-probe: no such folder; did you mean runs/tickets-probe-1? point at a run"
    )
    assert str(no_folder(Path("gone/x"))) == "gone/x: no such folder; point at a run"


def test_what_a_killed_run_left_is_ours(tmp_path):
    for name in ("recipe.yaml", ".record.json.tmp", ".model.tmp", ".lock", "checkpoints"):
        (tmp_path / name).mkdir()
    check(tmp_path, resume=True)
    with pytest.raises(InputError, match="holds a run already"):
        check(tmp_path)
    (tmp_path / "thesis.docx").touch()
    with pytest.raises(InputError, match=r"`thesis\.docx`, which no run wrote"):
        check(tmp_path, overwrite=True)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(InputError, match="is a file"):
        check(tmp_path / "a")


def test_overwriting_leaves_an_empty_folder(tmp_path):
    folder = tmp_path / "run"
    (folder / "model").mkdir(parents=True)
    (folder / "record.json").touch()
    with held_folder(folder, overwrite=False):
        assert (folder / "record.json").exists()
    with held_folder(folder, overwrite=True):
        assert [p.name for p in folder.iterdir()] == [".lock"]
    assert not list(folder.iterdir())


def test_a_second_run_in_the_folder_is_refused_by_name(tmp_path):
    folder = tmp_path / "run"

    def first() -> int:
        with held_folder(folder, overwrite=False):
            (tmp_path / "has").touch()
            time.sleep(60)
        return 0

    child = fork(first)
    while not (tmp_path / "has").exists():
        time.sleep(0.002)
    try:
        told = rf"process {child} on .* writes into it; wait until it is done"
        with pytest.raises(StorageError, match=told) as found:
            check(folder, resume=True)
        assert found.value.exit_code == 74
        with pytest.raises(StorageError, match=told), held_folder(folder, overwrite=True):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    # its lock is stale now
    check(folder, resume=True)
    with held_folder(folder, overwrite=False):
        pass


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    told = r"cannot write the run .*; choose another --out"
    with pytest.raises(StorageError, match=told), held_folder(Path("/proc/x"), overwrite=False):
        pass

    def read_only(*_args, **_kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    told = "Read-only file system"
    with pytest.raises(StorageError, match=told), held_folder(tmp_path, overwrite=False):
        pass


def test_a_folder_that_another_run_has_filled_since_is_refused(tmp_path):
    folder = tmp_path / "run"
    with held_folder(folder, overwrite=False, is_new=True):
        (folder / "record.json").write_text("{}")
    with (
        pytest.raises(InputError, match="holds a run already"),
        held_folder(folder, overwrite=False, is_new=True),
    ):
        pass
    with held_folder(folder, overwrite=False):
        assert (folder / "record.json").exists()
