"""`graft environment`: broken and clashing packages are named, each with the line that mends it."""

from __future__ import annotations

import json

import pytest

from graft.api import environment, machine
from graft.api.environment import Package, examine_environment, examine_packages, try_imports
from graft.cli.environment import environment as verb
from graft.cli.environment import show_environment
from graft.data.faults import Finding


def install(folder, name, version, code):
    """Write a package of one line of code, as pip would leave it."""
    (folder / name.replace("-", "_")).mkdir(parents=True)
    (folder / name.replace("-", "_") / "__init__.py").write_text(code, encoding="utf-8")
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """Return a call that installs made-up packages and says what is found of them."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def call(*packages, needed=True, floor=""):
        for name, version, code in packages:
            install(tmp_path, name, version, code)
        found = examine_packages(Package(name, None, floor, needed) for name, *_ in packages)
        return [f for package in found for f in environment._judge(package, found)]

    return call


NMS = 'raise RuntimeError("operator torchvision::nms does not exist")'
LIBRARY = 'raise OSError("libtorchaudio.so: undefined symbol: _ZN2at4_ops")'


def test_a_torchvision_of_another_torch_is_named(judged):
    (finding,) = judged(("torch", "2.13.0+cpu", ""), ("torchvision", "0.28.0", NMS))
    assert finding.severity == "error"
    assert finding.message == (
        "torchvision 0.28.0 was built for another torch than 2.13.0+cpu; run: "
        "pip install -U torch torchvision --index-url https://download.pytorch.org/whl/cpu"
    )


def test_a_torchaudio_that_breaks_transformers_is_named(judged):
    (finding,) = judged(("torch", "2.13.0", ""), ("torchaudio", "2.9", LIBRARY))
    assert "transformers imports it; run: pip uninstall torchaudio" in finding.message


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import os; os.abort()", "ended the process with -6"),
        ("import os; os._exit(5)", "ended the process with 5"),
        ("print('[1, 2]'); x = 1 / 0", "ZeroDivisionError"),
        ("print('[INFO] begins'); x = 1 / 0", "ZeroDivisionError"),
        ("print('no end', end=''); x = 1 / 0", "ZeroDivisionError"),
        ("raise ImportError('compiled using NumPy 1.x cannot run')", "pip install -U broken"),
    ],
)
def test_any_other_broken_package_is_named(code, words, judged):
    (finding,) = judged(("broken", "1.2", code), ("whole", "1.0", "x = 1"))
    assert words in finding.message
    assert "pip install " in finding.message
    assert len(str(finding)) <= 200


@pytest.mark.slow
def test_one_that_hangs_is_named(judged, monkeypatch):
    monkeypatch.setattr(environment, "SECONDS_TO_IMPORT", 2)
    hangs = ("hangs", "1.2", "print('Größe'); import time; time.sleep(60)")
    (finding,) = judged(("whole", "1.0", "x = 1"), hangs)
    assert "hangs 1.2 does not import (did not come to an end)" in finding.message


def test_an_optional_one_is_a_warning(judged):
    (finding,) = judged(("broken", "1.2", "1 / 0"), needed=False)
    assert finding.severity == "warn"


def test_old_and_missing_packages_are_named(judged):
    (finding,) = judged(("whole", "1.9.3", ""), floor="1.10")
    assert finding.message == (
        "whole 1.9.3 is older than 1.10, which graft needs; run: pip install -U 'whole>=1.10'"
    )
    found = examine_packages([Package("not-there-at-all", None, "2", needed=True)])
    (finding,) = environment._judge(found[0], found)
    assert "is not installed; run: pip install 'not-there-at-all>=2'" in finding.message
    found = examine_packages([Package("not-there-at-all", None, "2", needed=False)])
    assert environment._judge(found[0], found) == []


def test_releases_below_the_safe_floor_are_named_whoever_wants_them(judged):
    (finding,) = judged(("starlette", "0.40.0", ""), needed=False)
    assert "than 0.49.1, the oldest that is safe" in finding.message
    assert "pip install -U 'starlette>=0.49.1'" in finding.message


@pytest.mark.parametrize(
    ("version", "floor", "expected"),
    [("2.9.1", "2.10", True), ("2.10.0+cpu", "2.10", False), ("13.0", "12.3", False), ("1", "", 0)],
)
def test_releases_are_compared_as_numbers(version, floor, expected):
    assert environment._is_older(version, floor) == expected


def test_what_graft_asks_for_is_asked_for():
    names = {package.name for package in environment._asked_for()}
    assert {"torch", "transformers", "pillow", "torchaudio", "starlette"} <= names
    assert not {"pytest", "ruff", "graft"} & names


def test_whatever_a_module_prints_an_answer_is_found():
    assert try_imports(["json", "no_such_module"]) == {
        "json": "",
        "no_such_module": "ModuleNotFoundError: No module named 'no_such_module'",
    }
    assert try_imports([]) == {}


# --- the machine --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu.max": "damaged"}, None),
        ({}, None),
    ],
)
def test_a_quota_is_read(files, expected, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    assert machine.quota_processors(tmp_path) == expected


def test_load_and_quota_are_judged(monkeypatch):
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 4)
    assert machine.judge_load(4, None, 3.9) == []
    (finding,) = machine.judge_load(4, None, 9.0)
    assert "9.0 processes want the machine's 4 processors" in finding.message
    (finding,) = machine.judge_load(4, 1.5, None)
    assert "a quota allows 1.5; pass --threads 1" in finding.message


def test_a_cache_that_cannot_serve_is_judged(tmp_path, monkeypatch):
    assert machine.judge_cache(tmp_path / "a" / "b", 10**10) == []
    (finding,) = machine.judge_cache(tmp_path, 10**9)
    assert "1.0 GB free" in finding.message
    monkeypatch.setattr(machine.os, "access", lambda *_: False)
    (finding,) = machine.judge_cache(tmp_path, 10**10)
    assert "set GRAFT_CACHE" in finding.message


# --- the verb -----------------------------------------------------------------------------------


@pytest.fixture
def three(monkeypatch):
    """Let the verb look at three packages alone: all of them take long to import."""
    asked = [
        Package("rich", None, "14", needed=True),
        Package("nothing-such", None, "", needed=False),
        Package("lost", None, "", needed=True),
    ]
    monkeypatch.setattr(environment, "_asked_for", lambda: asked)


def test_the_verb_shows_everything(three, capsys):
    assert verb() == 2
    out = capsys.readouterr().out
    assert "error: lost is not installed; run: pip install lost" in out
    assert "nothing-such" not in out
    assert "processors" in out


def test_the_verb_prints_json(three, capsys):
    assert verb(as_json=True) == 2
    found = json.loads(capsys.readouterr().out)
    assert [p["name"] for p in found["packages"]] == ["rich", "nothing-such", "lost"]
    assert found["findings"][0]["code"] == "package-missing"


def test_nothing_wrong_is_said(three, capsys):
    found = examine_environment()
    clean = type(found)(**{**vars(found), "findings": ()})
    show_environment(clean)
    assert "nothing to mend" in capsys.readouterr().out
    assert all(isinstance(finding, Finding) for finding in found.findings)
