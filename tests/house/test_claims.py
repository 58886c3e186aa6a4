"""`scripts/claims.py` tells shown from missing, skipped, failed and stale claims."""

import datetime
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def claims(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("claims", repository / "scripts" / "claims.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["claims"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small repository with one test file, one benchmark and one claim."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "race.py").write_text("")
    (tmp_path / "tests" / "test_a.py").write_text(
        "def test_one(): ...\nclass TestB:\n    def test_two(self): ...\n"
    )
    (tmp_path / "claims.toml").write_text(
        'skips = ["needs a CUDA device"]\n'
        '[[claim]]\nid = "a"\nclaim = "one is so"\npart = 1\n'
        'shown_by = "tests/test_a.py::test_one"\n'
    )
    return tmp_path


def write_junit(house: Path, cases: str) -> None:
    (house / ".pytest_cache").mkdir(exist_ok=True)
    (house / ".pytest_cache" / "junit-quick.xml").write_text(
        f"<testsuites><testsuite>{cases}</testsuite></testsuites>"
    )


def run(claims: ModuleType, house: Path, *flags: str) -> int:
    return claims.main(["--root", str(house), *flags])


CASE = '<testcase classname="tests.test_a" name="test_one[{name}]">{inside}</testcase>'
PASSED = CASE.format(name="x", inside="")
SKIPPED_LISTED = CASE.format(name="y", inside='<skipped message="needs a CUDA device"/>')
SKIPPED_ELSE = CASE.format(name="y", inside='<skipped message="because"/>')
FAILED = CASE.format(name="y", inside='<failure message="no"/>')
WHOLE_FILE = (
    '<testcase classname="" name="tests.test_a"><skipped message="collection skipped">'
    "('tests/test_a.py', 3, 'Skipped: no torch here')</skipped></testcase>"
)


@pytest.mark.parametrize(
    ("cases", "word", "status"),
    [
        (PASSED, "1 shown", 0),
        (PASSED + SKIPPED_LISTED, "1 shown", 0),
        (SKIPPED_LISTED, "1 stale", 0),
        (PASSED + SKIPPED_ELSE, "1 skipped", 1),
        (PASSED + FAILED, "1 failed", 1),
        (WHOLE_FILE, "no torch here", 1),
        ("", "not in the last run", 0),
    ],
)
def test_outcome_of_the_last_run_decides(
    claims: ModuleType,
    house: Path,
    capsys: pytest.CaptureFixture[str],
    cases: str,
    word: str,
    status: int,
) -> None:
    write_junit(house, cases)
    assert run(claims, house) == status
    assert word in capsys.readouterr().out


@pytest.mark.parametrize(
    ("shown_by", "there"),
    [
        ("tests/test_a.py::test_one", True),
        ("tests/test_a.py::test_one[case]", True),
        ("tests/test_a.py::TestB::test_two", True),
        ("tests/test_a.py::test_two", False),
        ("tests/test_b.py::test_one", False),
        ("benchmarks/race.py", True),
        ("benchmarks/none.py", False),
    ],
)
def test_existence_is_read_from_the_source(
    claims: ModuleType, house: Path, shown_by: str, there: bool
) -> None:
    assert claims.exists(shown_by, house) is there


def test_absent_test_fails_unless_open(
    claims: ModuleType, house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = house / "claims.toml"
    path.write_text(path.read_text().replace("test_one", "test_gone"))
    assert run(claims, house) == 1
    assert "1 missing" in capsys.readouterr().out
    path.write_text(path.read_text() + "open = true\n")
    assert run(claims, house) == 0
    assert "1 open" in capsys.readouterr().out


def test_benchmark_without_a_measurement_is_missing(claims: ModuleType, house: Path) -> None:
    claim = claims.Claim(id="b", claim="fast", part=2, shown_by=("benchmarks/race.py",))
    assert claims.judge(claim, root=house, outcomes=None).status == "missing"


def test_measurement_older_than_its_benchmark_is_stale(
    claims: ModuleType, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = datetime.date(2026, 1, 10)
    monkeypatch.setattr(claims, "changed_on", lambda file, root: day)

    def status(measured_on: datetime.date) -> str:
        claim = claims.Claim(
            id="b",
            claim="fast",
            part=2,
            shown_by=("benchmarks/race.py",),
            measured="24 times",
            date=measured_on,
        )
        return claims.judge(claim, root=house, outcomes=None).status

    assert status(day) == "shown"
    assert status(day - datetime.timedelta(days=1)) == "stale"


def test_page_is_written_and_checked(
    claims: ModuleType, house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(claims, house, "--docs") == 0
    page = house / "docs" / "claims.md"
    assert "| one is so | `tests/test_a.py::test_one` |" in page.read_text()
    assert run(claims, house, "--check") == 0
    page.write_text(page.read_text() + "\n")
    assert run(claims, house, "--check") == 1
    assert "--docs" in capsys.readouterr().out


def test_an_id_given_twice_is_refused(claims: ModuleType, house: Path) -> None:
    path = house / "claims.toml"
    entry = path.read_text().partition("\n")[2]
    path.write_text(path.read_text() + entry)
    with pytest.raises(SystemExit, match="given twice: a"):
        run(claims, house)


def test_our_own_claims_can_be_read(claims: ModuleType, repository: Path) -> None:
    assert claims.read_claims(repository / "claims.toml")


def test_a_test_changed_since_the_run_is_stale(
    claims: ModuleType, house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_junit(house, PASSED)
    later = (house / ".pytest_cache" / "junit-quick.xml").stat().st_mtime + 60
    os.utime(house / "tests" / "test_a.py", (later, later))
    assert run(claims, house) == 0
    assert "changed since the last run" in capsys.readouterr().out
