"""Every case of the corpus: the doctor's exact lines, and that a training stops where one stops."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from graft.api.diagnosing import doctor
from graft.data.faults import Finding
from graft.errors import GraftError
from graft.prepare import prepare
from graft.recipe import read_recipe
from graft.rows_out import write_findings
from tests.faults.corpus import CASES, table, texts

GOLDEN = Path(__file__).with_name("golden.tsv")


def golden() -> dict[str, list[tuple[str, str]]]:
    """Return case → (severity, line) of each finding."""
    found: dict[str, list[tuple[str, str]]] = {case: [] for case in CASES}
    for line in GOLDEN.read_text(encoding="utf-8").splitlines():
        case, severity, text = line.split("\t")
        if severity != "none":
            found[case].append((severity, text))
    return found


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_case_is_golden():
    named = {line.split("\t")[0] for line in GOLDEN.read_text(encoding="utf-8").splitlines()}
    assert named == CASES.keys()
    assert {int(case.split()[0][1:]) for case in CASES} >= {*range(1, 30), *range(31, 46)}


def test_the_page_of_faults_names_every_case_and_finding(repository: Path):
    page = (repository / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| B")]
    named = {row[0].removeprefix("| "): row for row in rows}
    assert named.keys() >= {case.split()[0] for case in CASES}
    for case, found in golden().items():
        for severity, _ in found[:1]:
            assert severity in named[case.split()[0]][2], case


@pytest.mark.parametrize("case", CASES)
def test_the_doctor_says_exactly_and_training_agrees(case: str):
    if case == "B45 unreadable" and os.geteuid() == 0:
        pytest.skip("root may read everything")
    make, options = CASES[case]
    path = make()
    found = doctor(path, **options)
    assert [(f.severity, str(f)) for f in found.findings] == golden()[case]
    for line in map(str, found.findings):
        assert len(line) <= 200
        assert line.isprintable()
        assert line.startswith((path, "…"))
    recipe = read_recipe({"data": path, **options})
    if found.is_sound:
        assert len(prepare(recipe).table) == found.n_rows
        return
    with pytest.raises(GraftError) as caught:
        prepare(recipe)
    assert caught.value.exit_code == 2
    assert str(caught.value)[:40] in {str(f)[:40] for f in found.findings if f.severity == "error"}
    assert len(str(caught.value)) <= 200


def found_path() -> str:
    """Return what the case at hand wrote: a folder, a table, or a table beside a folder."""
    return next(name for name in ("l.csv", "d.csv", "d.jsonl", "d") if Path(name).exists())


@pytest.mark.parametrize(
    ("case", "more"),
    {
        "B13 case": {"fold_labels": True},
        "B15 empty class": {"drop_empty_classes": True},
        "B17 one row": {"min_per_class": 2},
        "B21 conflict": {"drop_conflicts": True},
        "B22 leak": {"allow_leak": True},
        "B2 latin-1": {"encoding": "cp1252"},
        "B2 UTF-16 without a mark": {"encoding": "utf-16-le"},
        "B7 semicolons": {"sep": ";"},
        "B44 outside": {"follow_links": True},
        "B12 labels": {"max_skip": 0.5},
    }.items(),
)
def test_mends_that_the_messages_name_do_mend(case: str, more: dict[str, object]):
    make, options = CASES[case]
    before = doctor(make(), **options)
    after = doctor(found_path(), **{**options, **more})
    assert after.is_sound
    mended = {f.code for f in before.findings if f.severity != "repair"}
    still = {f.code for f in after.findings if f.severity != "repair"}
    if case not in ("B12 labels", "B22 leak"):  # these are waived: they are still told
        assert mended - still == mended
    assert after.n_rows > 0


def test_formulas_are_text_in_what_is_written(here: Path):  # B28
    table("d.csv", ["a", "=HYPERLINK(1)"] * 10, ["=cmd|' /C calc'!A0", *texts(19)])
    prepared = prepare(read_recipe({"data": "d.csv"}))
    finding = Finding("x", "skip", "=1+1; drop it", "=cmd().csv", 1, "@column")
    write_findings(here / "skipped.csv", [finding])
    with (here / "skipped.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert prepared.table.inputs()[0].startswith("=cmd"), "it is read as it stands"
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
