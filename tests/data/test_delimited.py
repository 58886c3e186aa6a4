"""The careful reader: faults B1 to B10, each with its exact line."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from graft.data.readers import read
from graft.errors import DataError

ROWS = [("I lost my card", "card"), ("When will I be paid?", "money"), ("My card broke", "card")]
GOOD = "text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(data: str | bytes, name: str = "d.csv") -> str:
    Path(name).write_bytes(data.encode() if isinstance(data, str) else data)
    return name


def test_reads_texts_labels_and_origins():
    table = read(write(GOOD))
    assert len(table) == 3
    assert table.columns == ("text", "label")
    assert table.inputs() == [text for text, _ in ROWS]
    assert table.labels() == [label for _, label in ROWS]
    assert [(table.origin(i).path, table.origin(i).row) for i in range(3)] == [
        ("d.csv", 1),
        ("d.csv", 2),
        ("d.csv", 3),
    ]
    assert table.because == "text: `text` (by name), label: `label` (by name)"
    assert table.findings == ()


def test_quoted_cells_keep_line_ends_commas_and_quotes():
    table = read(write('text,label\n"a, ""b""\nc",x\r\nplain text,y\n'))
    assert table.inputs() == ['a, "b"\nc', "plain text"]


def test_unicode_of_every_kind_is_kept():
    texts = [
        "naïve café",
        "שלום עולם",
        "👩‍👩‍👧 family",
        "e\u0301 combined",
        "zero\u200bwidth",
        "a\u2028b \x85 c",
    ]
    body = "".join(f"{text},{'ab'[i % 2]}\n" for i, text in enumerate(texts))
    assert read(write("text,label\n" + body)).inputs() == texts


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system(end: str):
    assert read(write(GOOD.replace("\n", end))).labels() == ["card", "money", "card"]


def test_empty_lines_have_a_number_but_are_no_rows():
    table = read(write("text,label\na b,x\n\n\nc d,y\n"))
    assert [table.origin(i).row for i in range(len(table))] == [1, 4]


def test_tab_and_semicolon_by_sep():
    for word, sep in ((";", ";"), ("tab", "\t"), ("\\t", "\t"), ("\t", "\t")):
        assert len(read(write(GOOD.replace(",", sep)), sep=word)) == 3


def test_byte_order_mark_is_left_out_and_said():  # B1
    table = read(write(b"\xef\xbb\xbf" + GOOD.encode()))
    assert table.columns[0] == "text"
    assert [str(f) for f in table.findings] == [
        "d.csv: a byte-order mark at the start was left out"
    ]
    assert table.findings[0].severity == "repair"


def test_encoding_offered_works():  # B2
    name = write(GOOD.replace("lost", "l\xf6st").encode("cp1252"))
    assert read(name, encoding="cp1252").inputs()[0] == "I löst my card"
    name = write(GOOD.encode("utf-16"))
    assert read(name, encoding="utf-16").inputs()[0] == "I lost my card"


def test_long_cells_are_read_and_the_limit_put_back():  # B3
    before = csv.field_size_limit()
    text = "word " * 40_000
    assert read(write(f"text,label\n{text},x\nb c,y\n")).inputs()[0] == text
    assert csv.field_size_limit() == before


def test_chunks_join_in_order(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("graft.data.readers.delimited.N_ROWS_PER_CHUNK", 7)
    body = "".join(f"text number {i},{i % 3}\n" for i in range(40))
    table = read(write("text,label\n" + body))
    assert table.inputs() == [f"text number {i}" for i in range(40)]
    assert table.take([39, 0]).inputs() == ["text number 39", "text number 0"]


RAGGED = "text,label\n" + "".join(
    f"one two,x{',y' * (i % 2)}\n" if i < 14 else "alone\n" for i in range(20)
)
GOLDEN = {
    "latin-1 byte": (
        GOOD.replace("broke", "brok\xe9").encode("latin-1"),
        {},
        (
            "d.csv row 3 column `text`: byte 0xE9 is not UTF-8; re-save it as UTF-8 "
            "or pass --encoding cp1252"
        ),
    ),
    "latin-1 byte in a label": (
        'text,label\n\n"one\ntwo",caf\xe9\n'.encode("latin-1"),
        {},
        (
            "d.csv row 2 column `label`: byte 0xE9 is not UTF-8; re-save it as UTF-8 "
            "or pass --encoding cp1252"
        ),
    ),
    "latin-1 byte behind a mark": (
        b"\xef\xbb\xbf" + "text,label\na b,caf\xe9\n".encode("latin-1"),
        {},
        (
            "d.csv row 1 column `label`: byte 0xE9 is not UTF-8; re-save it as UTF-8 "
            "or pass --encoding cp1252"
        ),
    ),
    "no encoding fits": (
        b"text,label\na \xe9\x81 b,x\nc,y\n",
        {},
        "d.csv row 1 column `text`: byte 0xE9 is not UTF-8; re-save it as UTF-8",
    ),
    "utf-16": (
        GOOD.encode("utf-16"),
        {},
        "d.csv: not UTF-8 but UTF-16; re-save it as UTF-8 or pass --encoding utf-16",
    ),
    "asked for the wrong one": (
        GOOD.replace("lost", "löst").encode(),
        {"encoding": "ascii"},
        (
            "d.csv row 1 column `text`: byte 0xC3 is not ASCII; re-save it as UTF-8 "
            "or pass --encoding utf-8"
        ),
    ),
    "asked for UTF-16": (
        GOOD + "\n",
        {"encoding": "utf-16"},
        (
            "d.csv: not UTF-16 (UTF-16 stream does not start with BOM); re-save it as UTF-8 "
            "or pass --encoding utf-8"
        ),
    ),
    "unknown encoding": (
        GOOD,
        {"encoding": "cp1522"},
        (
            "d.csv: unknown encoding 'cp1522'; pass utf-8, utf-16, cp1252, latin-1, shift_jis "
            "or gb18030"
        ),
    ),
    "no text encoding": (
        GOOD,
        {"encoding": "base64"},
        (
            "d.csv: unknown encoding 'base64'; pass utf-8, utf-16, cp1252, latin-1, shift_jis "
            "or gb18030"
        ),
    ),
    "cell over 10 MB": (
        "text,label\na b,x\n" + "y" * 10_000_001 + ",x\n",
        {},
        "d.csv row 2: a cell of more than 10,000,000 characters; shorten or drop it",
    ),
    "NUL byte": (
        "text,label\na b,x\nc\0d,y\n",
        {},
        (
            "d.csv row 2 column `text`: a NUL byte: the file is damaged or no text; "
            "re-save it as UTF-8"
        ),
    ),
    "quote never closed": (
        'text,label\n"a b,x\nc d,y\ne f,x\n',
        {},
        (
            "d.csv row 1: a quote opened at line 2 is never closed; close it, "
            'or write quotes inside a quoted cell twice ("")'
        ),
    ),
    "quote closed by another row's": (
        'text,label\na b,x\n"c d,y\ne f,x\n"g, h",y\n',
        {},
        (
            "d.csv row 2: a quote opened at line 3 is never closed; close it, "
            'or write quotes inside a quoted cell twice ("")'
        ),
    ),
    "quote over 1,000 lines": (
        'text,label\n"a b,x\n' + "c d,y\n" * 2_000 + '"\n',
        {},
        (
            "d.csv row 1: a quote opened at line 2 is never closed; close it, "
            'or write quotes inside a quoted cell twice ("")'
        ),
    ),
    "text after a quote": (
        'text,label\n"Oh" he said,x\n',
        {},
        (
            "d.csv row 1: text after a closing quote in line 2; write quotes inside a quoted cell "
            'twice ("")'
        ),
    ),
    "ragged rows": (
        RAGGED,
        {},
        (
            "d.csv row 2: 2 cells expected, but row 2 has 3, row 4 has 3, row 6 has 3, "
            "row 8 has 3, row 10 has 3; quote cells that hold a separator"
        ),
    ),
    "one ragged row": (
        GOOD + "alone\n",
        {},
        "d.csv row 4: 2 cells expected, but row 4 has 1; quote cells that hold a separator",
    ),
    "semicolons": (
        GOOD.replace(",", ";"),
        {},
        "d.csv: found 1 column; it looks like ';' separates the cells: pass --sep ';'",
    ),
    "tabs": (
        GOOD.replace(",", "\t"),
        {},
        "d.csv: found 1 column; it looks like tab separates the cells: pass --sep tab",
    ),
    "commas where semicolons were asked": (
        GOOD,
        {"sep": ";"},
        "d.csv: found 1 column; it looks like ',' separates the cells: pass --sep ','",
    ),
    "separator of two characters": (
        GOOD,
        {"sep": "::"},
        "d.csv: the separator is one character; pass --sep ';' or the like",
    ),
    "missing column": (
        GOOD,
        {"label": "lable"},
        "d.csv: no column `lable`; did you mean `label`? pass --label with one of: text, label",
    ),
    "case typo": (
        GOOD.replace("label", "Label"),
        {"label": "LABEL"},
        "d.csv: no column `LABEL`; did you mean `Label`? pass --label with one of: text, Label",
    ),
    "duplicate columns": (
        "text,label,text\na,b,c\n",
        {},
        "d.csv column `text`: two columns have the same name (text); rename one",
    ),
    "empty file": (
        "",
        {},
        "d.csv: the file is empty; add a header line and rows",
    ),
    "empty first line": (
        "\ntext,label\n",
        {},
        "d.csv: no header line; write the names of the columns in the first line",
    ),
    "header only": (
        "text,label\n",
        {},
        "d.csv: only a header line; add rows",
    ),
}
MENDS = ("re-save", "pass", "drop", "close", "write", "quote", "rename", "add", "shorten")


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_messages(case: str):
    data, options, message = GOLDEN[case]
    name = write(data)
    with pytest.raises(DataError) as caught:
        read(name, **options)
    assert str(caught.value) == message
    assert caught.value.path == "d.csv"
    assert any(mend in message for mend in MENDS)


@pytest.mark.parametrize("case", GOLDEN)
def test_messages_are_one_line_of_200_characters(case: str, here: Path):
    data, options, _ = GOLDEN[case]
    folder = here / ("long " * 40) / "new\nline"
    folder.mkdir(parents=True)
    name = write(data, str(folder / "a name of some length.csv"))
    with pytest.raises(DataError) as caught:
        read(name, **options)
    text = str(caught.value)
    assert len(text) <= 200
    assert "\n" not in text
    assert "a name of some length.csv" in text
    assert any(mend in text for mend in MENDS)
    assert caught.value.path == name


def test_a_pipe_does_not_hang():
    os.mkfifo("pipe.csv")
    with pytest.raises(DataError, match="not a regular file; save"):
        read("pipe.csv")


def test_header_is_trimmed_and_named():
    table = read(write(",text , label\n0,a b,x\n1,c d,y\n"))
    assert table.columns == ("column 1", "text", "label")
    assert [f.code for f in table.findings] == ["padded-header"]


def test_examples_and_shared_data(repository: Path, shared: Path):
    table = read(repository / "examples" / "tickets.csv")
    assert len(table) > 100
    for name, n, n_classes in (
        ("banking77", 10_003, 77),
        ("sms_spam", 4_136, 2),
        ("sst2", 6_920, 2),
    ):
        table = read(shared / "data" / name / "train.csv")
        assert (len(table), len(set(table.labels() or []))) == (n, n_classes)
