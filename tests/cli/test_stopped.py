"""`graft train` under signals, limits and a second run: exit codes, messages, same bytes."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from pathlib import Path

import pytest

from graft.cli import main
from graft.engine import prepared
from tests.faults.killer import fork, newest, status_of
from tests.tiny import write_checkpoint, write_table

pytestmark = pytest.mark.slow

CODES = {"SIGTERM": 143, "SIGINT": 130, "SIGHUP": 129}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped")
    write_checkpoint(folder / "bert")
    write_table(folder / "things.csv", n_per_class=30)
    return folder


def tokens(place: Path, out: Path, *more: str, batch_size: int = 8) -> list[str]:
    asked = ["train", str(place / "things.csv"), "--model", str(place / "bert"), "--out", str(out)]
    asked += ["--method", "full", "--epochs", "6", "--checkpoint-every", "1"]
    asked += ["--batch-size", str(batch_size)]
    asked += ["--threads", "1", "--precision", "fp32", "--cache", str(place / "stores")]
    return [*asked, *more]


def sha256(out: Path) -> str:
    return json.loads((out / "record.json").read_text())["weights_sha256"]


def run(log: Path, arguments: list[str]) -> int:
    return status_of(lambda: main(arguments) or 0, log)


def run_until(log: Path, arguments: list[str], checkpoints: Path, number: int) -> int:
    """Send a signal to `graft` past its next checkpoint; returns the exit code."""
    before = newest(checkpoints)
    child = fork(lambda: main(arguments) or 0, log)
    while newest(checkpoints) <= before:
        time.sleep(0.005)
    os.kill(child, number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_stopped_by_every_signal_and_resumed(place, tmp_path):
    out, whole, log = tmp_path / "run", tmp_path / "whole", tmp_path / "log"
    assert run(log, tokens(place, whole)) == 0, log.read_text()
    log.unlink()
    arguments = tokens(place, out)
    for name, code in CODES.items():
        number = getattr(signal, name)
        assert run_until(log, arguments, out / "checkpoints", number) == code, log.read_text()
        text = log.read_text()
        assert f"stopped by {name}, saved at phase full, epoch " in text and "Traceback" not in text
        assert f"go on with: graft train --resume --out {out}" in text
        assert not (out / ".lock").exists()
        # nothing but the folder needs to be said again
        arguments = ["train", "--resume", "--out", str(out)]
    assert run(log, arguments) == 0, log.read_text()
    assert sha256(out) == sha256(whole)
    assert "begins anew" not in log.read_text()


def test_a_second_run_in_the_folder(place, tmp_path):
    out, log = tmp_path / "run", tmp_path / "log"
    child = fork(lambda: main(tokens(place, out)) or 0, tmp_path / "first")
    while not newest(out / "checkpoints"):
        time.sleep(0.005)
    os.kill(child, signal.SIGSTOP)
    try:
        for flag in ("--resume", "--overwrite"):
            assert run(log, tokens(place, out, flag)) == 74
        assert log.read_text().count(f"{out}: process {child} on ") == 2
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert run(log, tokens(place, out, "--resume")) == 0, log.read_text()


def test_a_limit_of_file_sizes_ends_with_74_and_resumes(place, tmp_path):
    out, log = tmp_path / "run", tmp_path / "log"

    def limited() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        return main(tokens(place, out)) or 0

    assert status_of(limited, log) == 74
    text = log.read_text().strip().splitlines()[-1]
    assert text.startswith("graft: ") and "cannot write a checkpoint (File too large)" in text
    assert len(text) <= 207 and "Traceback" not in log.read_text()
    assert not list((out / "checkpoints").glob(".*.tmp"))
    assert run(log, tokens(place, out, "--resume")) == 0, log.read_text()


def test_what_does_not_fit_is_refused_before_training(place, tmp_path):
    out, log = tmp_path / "run", tmp_path / "log"

    def limited() -> int:
        prepared.available_bytes = lambda _: 2_000_000
        return main(tokens(place, out, batch_size=64)) or 0

    assert status_of(limited, log) == 2, log.read_text()
    assert "needs about" in log.read_text() and "2.0 MB are free" in log.read_text()
    assert not newest(out / "checkpoints")
