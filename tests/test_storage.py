"""Whole files or none, and one line for every disk that is full."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from graft.errors import StorageError
from graft.storage import fault, free_bytes, storing, whole_folder, write_text
from tests.faults.killer import status_of


@pytest.fixture
def small_disk(tmp_path):
    """A disk of two megabytes, where the system lets us have one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs `mount`")
    if done.returncode:
        pytest.skip("may not mount a small disk here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_full_disk_is_told_with_what_is_needed_and_free(tmp_path):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    with (
        pytest.raises(StorageError) as found,
        storing("a file", tmp_path, "free some space", needed_bytes=5_000_000),
    ):
        full.write_text("x" * 100_000)
    assert found.value.is_full and found.value.exit_code == 74
    text = str(found.value)
    assert text.startswith(
        f"{tmp_path}: cannot write a file (No space left on device: needs 5.0 MB"
    )
    assert text.endswith(" free); free some space") and len(text) <= 200


def test_safetensors_faults_are_told_the_same(small_disk):
    with (
        pytest.raises(StorageError, match=r"No space left on device: .* free\); mend") as found,
        storing("tensors", small_disk, "mend"),
    ):
        save_file({"x": torch.zeros(1_000_000)}, small_disk / "x.safetensors")
    assert found.value.is_full


def test_other_errors_pass():
    with pytest.raises(ValueError, match="mine"), storing("a file", Path("x"), "mend"):
        raise ValueError("mine")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_a_long_path_still_makes_one_line(number):
    error = fault("a file", Path("/a" * 200), "free some space", number=number)
    assert len(str(error)) <= 200 and os.strerror(number) in str(error)
    assert error.is_full == (number in (errno.ENOSPC, errno.EDQUOT))


def test_a_file_that_cannot_be_written_keeps_what_it_held(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def limited() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_text(path, "x" * 10_000)
        except StorageError as error:
            return 0 if "File too large" in str(error) else 3
        return 4

    assert status_of(limited) == 0
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "model"
    with whole_folder(folder) as new:
        (new / "a").write_text("first")
    with pytest.raises(ZeroDivisionError), whole_folder(folder) as new:
        (new / "b").write_text("second")
        raise ZeroDivisionError
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert [p.name for p in folder.iterdir()] == ["a"]
    with whole_folder(folder) as new:
        (new / "b").write_text("third")
    assert [p.name for p in folder.iterdir()] == ["b"]


def test_free_space_of_a_folder_that_is_not_there_yet(tmp_path):
    assert free_bytes(tmp_path / "a" / "b") > 0
