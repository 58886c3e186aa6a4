"""The table of readers: what is picked, what is refused, and that nothing heavy is imported."""

from __future__ import annotations

import gzip
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


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (gzip.compress(b"text,label\na,b\n", mtime=0), "is packed with gzip; unpack it"),
        (b"PK\x03\x04 and more", "is a zip archive or a workbook; save the sheet as CSV"),
        (b"PAR1\x15\x00 and more", "is a Parquet file"),
    ],
)
@pytest.mark.parametrize("name", ["d.csv", "d.jsonl"])
def test_a_file_under_a_wrong_name_is_told_by_what_it_is(tmp_path, name, data, told):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=told):
        read(str(tmp_path / name))


def test_cp1252_is_not_offered_for_what_it_only_happens_to_decode(tmp_path):
    path = tmp_path / "d.csv"
    path.write_bytes("text,label\n荷物はどこ,ア\n返金して,イ\n".encode("shift_jis"))
    with pytest.raises(DataError, match=r"pass --encoding with the one it has \(shift_jis"):
        read(str(path))
    assert read(str(path), encoding="shift_jis").labels() == ["ア", "イ"]


def test_a_column_may_have_the_name_of_a_mark(tmp_path):
    (tmp_path / "d.csv").write_text("PAR1,text,label\n1,a,b\n2,c,d\n", encoding="utf-8")
    assert read(str(tmp_path / "d.csv")).inputs() == ["a", "c"]


@pytest.mark.parametrize("text", ["Größe der Straße,groß", "a informação e a solução,ação"])
def test_cp1252_is_offered_for_western_texts(tmp_path, text):
    (tmp_path / "d.csv").write_bytes(f"text,label\n{text}\n{text}x\n".encode("cp1252"))
    with pytest.raises(DataError, match="or pass --encoding cp1252"):
        read(str(tmp_path / "d.csv"))
