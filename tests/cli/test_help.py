"""What `--help` says: every row, quickly."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

VERBS = (
    "train",
    "doctor",
    "plan",
    "rank",
    "sweep",
    "predict",
    "evaluate",
    "embed",
    "index",
    "search",
    "compare",
    "convert",
    "export",
    "interpolate",
    "environment",
    "report",
    "rerun",
    "list",
)
EMPTY = re.compile(r"\[(required|default|choices)[^\]]*\]")

# Of one process: what was printed, and whether anything heavy was loaded for it.
SCRIPT = """
import sys
from graft.cli import app
app(sys.argv[1:])
print("heavy:", sorted({"torch", "transformers", "numpy", "pyarrow"} & set(sys.modules)))
"""


def help_of(*arguments):
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"COLUMNS": "300", "PYTHONIOENCODING": "utf-8"},
        check=True,
    )
    return found.stdout


def rows_of(text):
    """Return name → text of each row in the frames."""
    found = {}
    for line in text.splitlines():
        if line.startswith("│"):
            cells = re.split(r"\s{2,}", line.strip("│ *"), maxsplit=1)
            found[cells[0]] = EMPTY.sub("", cells[1] if len(cells) > 1 else "").strip()
    return found


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_no_row_of_help_is_empty(verb):
    text = help_of(*verb.split())
    rows = rows_of(text)
    assert rows
    assert [name for name, text in rows.items() if not text] == []
    assert "heavy: []" in text


def test_graft_help_summarises_every_verb():
    rows = rows_of(help_of())
    assert set(VERBS) <= rows.keys()
    assert rows["train"].startswith("Fine-tune")


@pytest.mark.slow
def test_one_of_several_processes_prints_everything_and_leaves():
    several = {**os.environ, "WORLD_SIZE": "2", "RANK": "0"}
    command = [sys.executable, "-m", "graft", "list", "--json"]
    found = subprocess.run(command, env=several, capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stderr) == (0, "")
    alone = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.stdout == alone.stdout and json.loads(found.stdout)
    closed = subprocess.run(  # whoever reads it is gone
        ["bash", "-c", 'set -o pipefail; "$0" -m graft list --json | true', sys.executable],
        env=several, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "lost sys.stderr" not in closed.stderr and "Error" not in closed.stderr
