"""What is shown to a newcomer works: the tickets, the digits, and every line of the README."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from graft.data.split import split
from graft.methods import METHODS

N_INTENTS = 8
N_PER_INTENT_OF_SUBSET = 10


def _tickets(repository: Path) -> list[tuple[str, str]]:
    with (repository / "examples" / "tickets.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["text", "label"]
    return [(text, label) for text, label in rows]


def test_tickets_are_varied_and_have_eight_intents(repository: Path) -> None:
    rows = _tickets(repository)
    counts = Counter(label for _, label in rows)
    assert len(counts) == N_INTENTS and min(counts.values()) >= 30
    assert len({" ".join(re.findall(r"\w+", text.lower())) for text, _ in rows}) == len(rows)
    lengths = [len(text.split()) for text, _ in rows]
    assert min(lengths) <= 4 and max(lengths) >= 30
    openings = Counter(" ".join(text.lower().split()[:3]) for text, _ in rows)
    assert max(openings.values()) <= len(rows) // 50, openings.most_common(3)


def test_every_split_of_the_tickets_holds_every_intent(repository: Path) -> None:
    from graft.data.readers import read

    table = read(repository / "examples" / "tickets.csv")
    labels = np.asarray(table.labels())
    parts = split(table, seed=0, validation=0.15, test=0.15)
    for rows in (parts.train, parts.validation, parts.test):
        assert len(set(labels[rows])) == N_INTENTS


@pytest.fixture(scope="module")
def digits(repository: Path) -> Iterator[ModuleType]:
    """The example as a module."""
    path = repository / "examples" / "digits.py"
    spec = importlib.util.spec_from_file_location("examples_digits", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_digits_are_split_without_overlap(digits: ModuleType) -> None:
    low, high = digits.read_digits()
    assert set(low.labels) == set(high.labels) == set(range(5))
    train, validation, test = digits.split_few(high, seed=0)
    assert Counter(train.labels.tolist()) == dict.fromkeys(range(5), digits.N_PER_CLASS)
    assert len(validation.labels) == digits.N_VALIDATION
    n = [len(part.labels) for part in (train, validation, test)]
    assert sum(n) == len(high.labels)
    images = [{i.tobytes() for i in p.images} for p in (train, validation, test)]
    assert not images[0] & images[2] and not images[1] & images[2]


@pytest.mark.slow
def test_transfer_needs_fewer_steps_than_scratch(
    digits: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    found = digits.measure(n_seeds=1)
    transfer, scratch = found["lp-ft"][0], found["scratch"][0]
    for accuracy in (0.8, 0.9):
        ours, theirs = transfer.steps_to(accuracy), scratch.steps_to(accuracy)
        assert ours is not None
        assert theirs is None or ours < theirs, (accuracy, ours, theirs)
    # the baseline had its chance: it stopped by itself, and it has learned
    assert scratch.stopped_early and scratch.test > 0.8
    digits.show(found)
    printed = capsys.readouterr().out
    assert "scratch" in printed and "lp-ft" in printed


def _blocks(repository: Path, language: str) -> list[str]:
    readme = (repository / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)


@pytest.fixture
def subset(repository: Path, tmp_path: Path) -> Path:
    """A folder in which `examples/tickets.csv` holds ten messages of each intent."""
    kept: Counter[str] = Counter()
    (tmp_path / "examples").mkdir()
    with (tmp_path / "examples" / "tickets.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for text, label in _tickets(repository):
            kept[label] += 1
            if kept[label] <= N_PER_INTENT_OF_SUBSET:
                writer.writerow([text, label])
    return tmp_path


def _run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "GRAFT_CACHE": str(folder / "cache"), "COLUMNS": "100"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=480
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_python_of_the_readme_runs(repository: Path, subset: Path) -> None:
    (code,) = _blocks(repository, "python")
    assert 5 <= len(code.strip().splitlines()) <= 14
    assert _run([sys.executable, "-c", code], subset).strip()


ONE_AFTER_THE_OTHER = """
import json, sys
from graft.cli import main
for words in json.loads(sys.argv[1]):
    print("$", *words, flush=True)
    try:
        main(words)
    except SystemExit as end:
        if end.code:
            raise
"""
"""Run commands of graft in one process, so that torch is imported once for them all."""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_commands_of_the_readme_run(repository: Path, subset: Path) -> None:
    lines = [line for block in _blocks(repository, "sh") for line in block.splitlines()]
    ours = [line for line in lines if line.startswith("graft ")]
    assert len(ours) >= 4
    assert shutil.which("graft", path=str(Path(sys.executable).parent))
    torch.save({"weight": torch.zeros(2, 3)}, subset / "old.pt")
    commands = [shlex.split(line, comments=True) for line in ours]
    for command in commands:
        if command[1] == "train" and "probe" not in command:
            command += ["--epochs", "1"]
    *others, last = commands
    words = json.dumps([command[1:] for command in others])
    said = _run([sys.executable, "-c", ONE_AFTER_THE_OTHER, words], subset)
    assert _run(last, subset).strip()  # as a shell would
    answers = re.split(r"^\$ ", said, flags=re.MULTILINE)[1:]
    for line, answer in zip(ours[:-1], answers, strict=True):
        assert len(answer.splitlines()) > 1, line
    targets = re.findall(r"^(\w+):", (repository / "Makefile").read_text(), re.MULTILINE)
    made = [line.split()[1] for line in lines if line.startswith("make ")]
    assert made and set(made) <= set(targets)


def test_readme_is_short_and_its_links_lead_somewhere(repository: Path) -> None:
    readme = (repository / "README.md").read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```", "", readme, flags=re.DOTALL | re.MULTILINE)
    assert len(prose.split()) <= 700, "two minutes are 500 to 700 words"
    for target in re.findall(r"\]\(([^)#]+)\)", readme):
        assert "://" in target or (repository / target).exists(), target
    measured = re.findall(r"^\| `([\w-]+)` \|", readme, re.MULTILINE)
    assert {"probe", "head", "full", "lp-ft", "unfreeze", "scratch"} <= set(measured)
    assert set(measured) <= METHODS.keys()


@pytest.mark.slow
def test_a_loop_of_ones_own_learns_with_our_plans(repository, tmp_path, capsys) -> None:
    from tests.tiny import write_checkpoint, write_table

    path = repository / "examples" / "own_loop.py"
    spec = importlib.util.spec_from_file_location("examples_own_loop", path)
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    model = str(write_checkpoint(tmp_path / "bert"))
    means = example.train(str(write_table(tmp_path / "d.csv")), model=model, epochs=4, lr=2e-3)
    assert means[-1] < 0.9 * means[0]
    assert "epoch 3" in capsys.readouterr().out
