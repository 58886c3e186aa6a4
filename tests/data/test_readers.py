"""The table of readers: what is picked, what is refused, and that nothing heavy is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from graft.data.readers import READERS, load, read
from graft.errors import DataError, InputError


@pytest.mark.parametrize("name", READERS)
def test_every_entry_resolves(name: str):
    assert callable(load(name))
    assert READERS[name][1]


def test_unknown_endings_list_what_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name, found in (
        ("d.xlsx", "cannot read .xlsx files"),
        ("folder", "the name has no ending"),
    ):
        Path(name).write_text("x")
        with pytest.raises(InputError) as caught:
            read(name)
        assert str(caught.value) == (
            f"{name}: {found}; pass a file that ends in .csv .tsv .jsonl .parquet .zip .tar (.gz), "
            "or a folder"
        )


def test_a_missing_path_names_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("train.csv").write_text("text,label\n")
    for name in ("trian.csv", "train.cvs"):
        with pytest.raises(DataError) as caught:
            read(name)
        assert str(caught.value) == (
            f"{name}: no such file or folder; did you mean `train.csv`? correct the path"
        )


def test_options_without_meaning_are_refused(tmp_path: Path):
    (tmp_path / "d.jsonl").write_text("{}")
    for path in (tmp_path, tmp_path / "d.jsonl"):
        with pytest.raises(DataError, match="--sep has no meaning here; leave it out"):
            read(path, sep=";")
    with pytest.raises(InputError, match="unknown target kind 'mutli': did you mean 'multi'"):
        read(tmp_path / "d.jsonl", target_kind="mutli")


def test_importing_the_room_is_light():
    code = (
        "import sys; import graft.data.readers, graft.data.check, graft.data.sampling; "
        "print(sorted({'torch', 'pyarrow', 'PIL', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
