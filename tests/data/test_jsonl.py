"""JSON lines: what is read, and each fault with its exact line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from graft.data.readers import read
from graft.errors import DataError

GOOD = [
    {"text": "I lost my card", "label": "card"},
    {"text": "When will I be paid?", "label": "money"},
    {"text": "My card broke", "label": "card"},
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(*objects: object) -> bytes:
    return "".join(json.dumps(o) + "\n" for o in objects).encode()


def write(data: bytes, name: str = "d.jsonl") -> str:
    Path(name).write_bytes(data)
    return name


@pytest.mark.parametrize("name", ["d.jsonl", "D.JSONL", "d.jsonl.gz"])
def test_reads_texts_labels_and_origins(name: str):
    data = b"\n" + lines(*GOOD)
    table = read(write(gzip.compress(data) if name.endswith("gz") else data, name))
    assert table.inputs() == [o["text"] for o in GOOD]
    assert table.labels() == ["card", "money", "card"]
    assert [table.origin(i).row for i in range(3)] == [2, 3, 4]
    assert table.origin(0).path == name


def test_missing_keys_are_empty_and_new_ones_are_columns(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("graft.data.readers.jsonl.N_ROWS_PER_CHUNK", 2)
    table = read(write(lines(*GOOD[:2], {"text": "no label", "extra": 1}, {**GOOD[2], "extra": 2})))
    assert table.labels() == ["card", "money", "", "card"]
    assert table.column("extra") == [None, None, 1, 2]


def test_columns_of_mixed_kinds_become_text(monkeypatch: pytest.MonkeyPatch):
    labels = [1, "a", 2.5, True, None, [1], {"x": 1}, 2**70]
    for n in (2, 100):
        monkeypatch.setattr("graft.data.readers.jsonl.N_ROWS_PER_CHUNK", n)
        table = read(write(lines(*({"text": f"t {i}", "label": v} for i, v in enumerate(labels)))))
        found = table.labels()
        assert found[:3] == ["1", "a", "2.5"]
        assert (found[4], found[7]) == ("", str(2**70))


def test_whole_numbers_stay_whole():
    table = read(write(lines(*({"text": f"t {i}", "label": i % 2} for i in range(6)))))
    assert table.labels() == ["0", "1"] * 3


def test_nan_is_empty():
    table = read(write(b'{"text": "a b", "label": NaN}\n' + lines(*GOOD)))
    assert table.labels() == ["", "card", "money", "card"]


def test_a_byte_order_mark_is_left_out():  # B1
    table = read(write(b"\xef\xbb\xbf" + lines(*GOOD)))
    assert table.columns == ("text", "label")
    assert [f.code for f in table.findings] == ["byte-order-mark"]


GOLDEN = {
    "cut off": (
        lines(*GOOD) + b'{"text": "a',
        ("d.jsonl row 4: no JSON (unterminated string starting at at character 10); "
         "write one object per line"),
    ),
    "a list": (b"[1, 2]\n", ("d.jsonl row 1: a list where an object is expected; "
                             "write one {…} per line")),
    "a value": (lines(*GOOD, "x"), ("d.jsonl row 4: a single value where an object is "
                                    "expected; write one {…} per line")),
    "one JSON document": (
        b'[\n{"text": "a"}\n]\n',
        "d.jsonl row 1: JSON over several lines; write one object per line (.jsonl)",
    ),
    "deep": (
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        "d.jsonl row 1: JSON that is nested too deeply or out of range; write plain values",
    ),
    "latin-1": (
        lines(*GOOD) + '{"text": "é", "label": "x"}\n'.encode("latin-1"),
        "d.jsonl row 4: byte 0xE9 is not UTF-8; re-save it as UTF-8 or pass --encoding cp1252",
    ),
    "half a character": (
        lines(*GOOD, {"text": "\ud800", "label": "x"}),
        ("d.jsonl row 4 column `text`: half of a surrogate pair, which is no character; "
         "mend or drop the row"),
    ),
    "empty": (b"", "d.jsonl: the file is empty; add lines"),
    "empty lines": (b"\n\n", "d.jsonl: only empty lines; add one JSON object per line"),
    "no keys": (b"{}\n", "d.jsonl row 1: the objects have no keys; write text and label"),
    "long line": (
        b'{"text": "' + b"x" * 10_000_001 + b'"}\n',
        "d.jsonl row 1: a line of more than 10,000,000 characters; shorten or drop it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_messages(case: str):
    data, message = GOLDEN[case]
    with pytest.raises(DataError) as caught:
        read(write(data))
    assert str(caught.value) == message
    assert len(message) <= 200


DAMAGED = "the gzip packing is damaged or cut off; download or pack it again"


@pytest.mark.parametrize("name", ["d.jsonl.gz", "d.csv.gz", "d.tsv.gz"])
def test_damaged_packing_is_named(name: str):
    tables = {"c": b"text,label\n" + b"a b,x\n" * 999, "t": b"text\tlabel\n" + b"a b\tx\n" * 999}
    whole = gzip.compress(tables.get(name[2], lines(*GOOD) * 200))
    for data in (b"not gzip", whole[:-20], whole[:40] + b"\xff" * 30 + whole[70:]):
        with pytest.raises(DataError) as caught:
            read(write(data, name))
        assert str(caught.value) == f"{name}: {DAMAGED}"


def test_a_gzip_bomb_stops(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("graft.data.files.SMALL_BYTES", 100_000)
    write(gzip.compress(b"text,label\n" + b"a b,x\n" * 1_000_000), "d.csv.gz")
    with pytest.raises(DataError, match="unpacks to over 200 times its size"):
        read("d.csv.gz")


def test_tables_by_tab_and_packed():
    write(b"text\tlabel\na, b\tx\nc d\ty\n", "d.tsv")
    assert read("d.tsv").inputs() == ["a, b", "c d"]
    write(gzip.compress(Path("d.tsv").read_bytes()), "d.tsv.gz")
    assert read("d.tsv.gz").inputs() == ["a, b", "c d"]
    write(gzip.compress(b"text;label\na b;x\nc d;y\n"), "d.csv.gz")
    assert read("d.csv.gz", sep=";").labels() == ["x", "y"]
    write(gzip.compress("text,label\né b,x\n".encode("latin-1")), "e.csv.gz")
    with pytest.raises(DataError) as caught:
        read("e.csv.gz")
    assert str(caught.value) == (
        "e.csv.gz row 1 column `text`: byte 0xE9 is not UTF-8; re-save it as UTF-8 "
        "or pass --encoding cp1252"
    )
