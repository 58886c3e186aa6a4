"""Findings: what is skipped, what stops, what is only said; each with its exact line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.data.check import Finding, check, for_purpose, refuse, usable
from graft.data.readers import read
from graft.data.split import Splits, split
from graft.data.table import Table
from graft.errors import DataError

from .makers import class_table, picture, text_table


def lines(table: Table, **options) -> list[tuple[str, str]]:
    return [(f.severity, str(f)) for f in check(table, split(table, **options)).findings]


def test_good_data_has_no_findings():
    table = class_table({"a": 20, "b": 20})
    kept, findings = usable(table)
    assert kept is table
    assert findings == ()
    assert lines(table) == []


def test_empty_texts_are_skipped_and_each_is_named():  # B11
    table = text_table(["a b", "", None, " \t\n", "c d"], ["x", "y", "x", "y", "x"])
    kept, findings = usable(table)
    assert kept.inputs() == ["a b", "c d"]
    assert [kept.origin(i).row for i in range(2)] == [1, 5]
    assert [(f.code, f.severity, f.row) for f in findings] == [
        ("empty-text", "skip", row) for row in (2, 3, 4)
    ]
    assert str(findings[0]) == (
        "d.csv row 2 column `text`: the text is empty; fill it in or drop the row"
    )


def test_few_empty_labels_are_skipped():  # B12
    labels = ["x", "y"] * 150
    labels[7], labels[20], labels[90] = "", "nan", "None"
    kept, findings = usable(text_table([f"t {i}" for i in range(300)], labels))
    assert len(kept) == 297
    assert set(kept.labels()) == {"x", "y"}
    assert [f.severity for f in findings] == ["skip"] * 3
    assert str(findings[0]) == (
        "d.csv row 8 column `label`: the label is empty, nan or None; fill it in or drop the row"
    )
    refuse(findings)


def test_many_empty_labels_stop():
    table = text_table([f"t {i}" for i in range(100)], ["x", "nan"] * 50)
    kept, findings = usable(table)
    assert set(kept.labels()) == {"x"}
    with pytest.raises(DataError) as caught:
        refuse(findings)
    assert str(caught.value) == (
        "d.csv row 2 column `label`: no label, as in 50 of 100 rows, more than 1 %; "
        "fill in the labels or drop these rows"
    )


def test_nothing_usable_stops():
    with pytest.raises(DataError) as caught:
        refuse(usable(text_table(["", " "], ["x", "y"]))[1])
    assert str(caught.value) == (
        "d.csv: none of the 2 rows can be used (first: the text is empty); mend the data"
    )


def errors(table: Table) -> list[str]:
    return [text for severity, text in lines(table) if severity == "error"]


def test_golden_errors():
    assert errors(text_table(["a b", "c d"])) == [
        "d.csv: no label column; pass --label with one of: text"
    ]
    assert errors(text_table(["a b"], ["x"])) == [
        "d.csv: 1 usable row; add data: at least 2 rows of each of 2 classes"
    ]
    assert errors(text_table(["a b", "c d", "e f"], ["x"] * 3)) == [
        "d.csv column `label`: every label is 'x'; add rows of another class"
    ]
    (single,) = errors(text_table([f"t {i}" for i in range(9)], [*"dabababac"]))
    assert single == (
        "d.csv row 9 column `label`: 2 classes have one row (c, d) and cannot be split; "
        "add rows or merge, or pass --min-per-class 2"
    )
    (numbers,) = errors(text_table([f"t {i}" for i in range(9)], [*"313131214"]))
    assert numbers == (
        "d.csv row 7 column `label`: 2 classes have one row (2, 4) and cannot be split; "
        "add rows or merge, or pass --min-per-class 2 or --target-kind number"
    )
    ids = text_table([f"t {i}" for i in range(1000)], [str(min(i, 997)) for i in range(1000)])
    assert errors(ids) == [
        (
            "d.csv column `label`: 998 different labels in 1,000 rows; "
            "pass --label with the column of the classes, or --target-kind number"
        )
    ]


def test_a_class_with_one_row_is_fine_in_a_given_split():  # B17
    table = text_table(
        [f"t {i}" for i in range(9)], ["a", "b", "c"] + ["a", "b"] * 3,
        split=["train"] * 5 + ["val"] * 2 + ["test"] * 2,
    )  # fmt: skip
    assert lines(table) == []


def test_labels_never_trained_stop():  # B14
    table = text_table(
        [f"t {i}" for i in range(6)], ["a", "b", "a", "b", "new", "a"],
        split=["train"] * 4 + ["test"] * 2,
    )  # fmt: skip
    assert errors(table) == [
        (
            "d.csv row 5 column `label`: 1 held-out row has a label without a training row "
            "(new); add such rows to train or drop these"
        )
    ]


REPEATS = (
    ["a b", "a b", "c d", "c d", "e f", "a b", "g h", "i j"],
    ["x", "x", "x", "y", "y", "x", "y", "x"],
)


def test_duplicates_and_conflicts_are_told():  # B20, B21
    table = text_table(REPEATS[0] * 2, REPEATS[1] * 2)
    assert lines(table) == [
        ("warn", ("d.csv row 3 column `text`: the same text has different labels (x, y: row 3, "
                 "row 4, row 11, … (4 in all)); keep one or pass --drop-conflicts")),
        ("warn", "d.csv: 10 rows repeat an earlier row exactly; drop them if that is not meant"),
    ]  # fmt: skip


def test_leaks_across_a_given_split_stop():  # B22
    table = text_table(*REPEATS, split=["train"] * 5 + ["test"] * 2 + ["val"])
    found = check(table, split(table)).findings
    assert [f.severity for f in found] == ["warn", "warn", "error"]
    assert str(found[-1]) == (
        "d.csv row 6 column `text`: 1 held-out row is also in train, this text among them (row 6); "
        "drop them or pass --allow-leak"
    )
    allowed = check(table, split(table), allow_leak=True).findings
    assert (allowed[-1].severity, str(allowed[-1])) == (
        "warn",
        (
            "d.csv row 6 column `text`: 1 held-out row is also in train, this text among them "
            "(row 6); drop them for an honest score"
        ),
    )


def test_leaks_of_images_are_found_by_their_bytes(pictures: Path):
    for part, names in (("train", "ab"), ("test", "ab")):
        for label in names:
            for i in range(2):
                color = (i, 0, ord(label)) if (part, i) != ("test", 1) else (9, 9, ord(label))
                picture(Path("s") / part / label / f"{part}{i}.png", color=color)
    table = read("s")
    (found,) = check(table, split(table, validation=0)).findings[1:]
    assert str(found) == (
        "s/test/a/test0.png: 2 held-out rows are also in train, this image among "
        "them (a/test0.png, b/test0.png); drop them or pass --allow-leak"
    )


def test_labels_that_look_like_typos_are_told():  # B13
    table = class_table({"positive": 40, "negative": 40, "postive": 2, "class 1": 30, "class 2": 2})
    assert lines(table) == [
        ("warn", (f"d.csv row {table.labels().index('postive') + 1} column `label`: 'postive' may "
                 "be meant as 'positive', which has 40 rows; correct it if so"))
    ]  # fmt: skip


def test_numbers_are_checked():
    numbers = [str(i / 7) for i in range(300)]
    numbers[4], numbers[9] = "high", ""
    table = text_table([f"t {i}" for i in range(300)], numbers, target="number")
    kept, findings = usable(table)
    assert len(kept) == 298
    assert [str(f) for f in findings] == [
        (
            "d.csv row 5 column `label`: 'high' is no finite number; write one such as 3.5 "
            "or drop the row"
        ),
        "d.csv row 10 column `label`: the label is empty, nan or None; fill it in or drop the row",
    ]
    assert lines(kept) == []
    assert errors(text_table(["a b", "c d"], ["1.5", "1.5"], target="number")) == [
        "d.csv column `label`: every number is 1.5; add rows with other numbers"
    ]


def test_several_labels_are_checked():
    lists = [["a"], ["a", "b"], [], ["b"]] * 80
    lists[5] = None
    kept, findings = usable(text_table([f"t {i}" for i in range(320)], lists, target="multi"))
    assert [str(f) for f in findings] == [
        (
            "d.csv row 6 column `label`: the label is empty, nan or None; fill it in, "
            "write [] for no label, or drop the row"
        )
    ]
    assert lines(kept) == []
    texts = [f"t {i}" for i in range(6)]
    cases = [["a", "c"], ["a"]] * 3, [[]] * 6, [["a"], ["b"], ["a", "c"], ["b", "a"], ["b"], []]
    assert [errors(text_table(texts, case, target="multi")) for case in cases] == [
        ["d.csv column `label`: every row has the label 'a'; add rows without it or drop it"],
        ["d.csv column `label`: no row has a label; add rows that have one"],
        [
            (
                "d.csv row 3 column `label`: 1 class has one row (c) and cannot be split; "
                "add rows or merge"
            )
        ],
    ]
    given = text_table(
        texts, [["a"], ["b"], ["a", "b"], [], ["b"], ["a", "z"]], target="multi",
        split=["train"] * 4 + ["val", "test"],
    )  # fmt: skip
    assert errors(given) == [
        (
            "d.csv row 6 column `label`: 1 held-out row has a label without a training row (z); "
            "add such rows to train or drop these"
        )
    ]


def test_torn_groups_stop():  # B24
    table = text_table(
        [f"t {i}" for i in range(6)], ["a", "b"] * 3, group=["p", "q", "r", "q", "p", "s"],
        split=["train"] * 4 + ["test", "val"],
    )  # fmt: skip
    assert errors(table) == [
        (
            "d.csv row 5 column `group`: 1 group is in more than one part (p); give each group one "
            "part, or leave out the split and let it be drawn"
        )
    ]


def test_labels_that_differ_in_case_are_told():  # B13
    table = class_table({"cat": 9, "Cat ": 9, "dog": 9})
    assert lines(table) == [
        ("warn", ("d.csv column `label`: labels differ only in case or spaces: 'Cat ', 'cat'; "
                 "write them alike or pass --fold-labels"))
    ]  # fmt: skip


def test_messages_fit_whatever_the_labels():
    labels = [f"{'long ' * 100}\n{i}" for i in range(9)] + ["a", "b"] * 9
    table = text_table([f"t {i}" for i in range(27)], labels)
    for finding in check(table, split(table)).findings:
        assert len(str(finding)) <= 200
        assert "\n" not in str(finding)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for label in "ab":
        for i in range(3):
            picture(Path("d") / label / f"{i}.png", color=(i * 50, 0, ord(label)))
    return tmp_path


def test_bad_images_are_skipped_and_named(pictures: Path):  # B31, B32, B33, B39
    Path("d/a/empty.jpg").write_bytes(b"")
    Path("d/a/page.jpg").write_bytes(b"<html>")
    picture(Path("d/b/tiny.png"), (7, 50))
    picture(Path("d/b/large.png"), (300, 300))
    whole = picture(Path("d/b/cut.jpg"), (64, 64)).read_bytes()
    Path("d/b/cut.jpg").write_bytes(whole[: len(whole) - 40])
    kept, findings = usable(read("d"), max_pixels=10_000)
    assert len(kept) == 6
    assert {f.severity for f in findings} == {"skip"}
    texts = [str(f) for f in findings]
    assert texts[0] == "d/a/empty.jpg: the file is empty (0 bytes); replace or remove it"
    assert texts[1] == "d/a/page.jpg: an HTML page, not an image; replace or remove it"
    assert texts[2].startswith("d/b/cut.jpg: the image is truncated or damaged (")
    assert texts[3] == (
        "d/b/large.png: 300 × 300 pixels, over 0.01 Mpx; shrink it or pass --max-pixels"
    )
    assert texts[4] == "d/b/tiny.png: only 7 × 50 pixels; replace or remove it"


def test_missing_images_of_a_table_are_skipped_by_row(pictures: Path):  # B42
    Path("l.csv").write_text("path,label\nd/a/0.png,a\nd/a/gone.png,a\nd/x.png,b\nd/b/0.png,b\n")
    Path("d/x.png").mkdir()
    table = read("l.csv", input="path")
    kept, findings = usable(table)
    assert len(kept) == 2
    assert [str(f) for f in findings] == [
        "l.csv row 2: gone.png: no such file; correct the path or remove the row",
        "l.csv row 3: x.png: is a folder, not an image; name the file",
    ]


def test_the_folder_of_one_class_is_no_data_set(pictures: Path):
    (message,) = errors(read("d/a"))
    assert message == (
        "d/a: pictures without folders of classes; name the folder above, which has one for "
        "each class, or a table of their labels"
    )


def test_unusual_images_are_counted(pictures: Path):  # B34, B38, B40
    Image.fromarray(np.full((16, 16), 9_000, dtype=np.uint16)).save("d/a/deep.png")
    frames = [Image.new("RGB", (16, 16), c) for c in ("red", "blue")]
    frames[0].save("d/a/moving.gif", save_all=True, append_images=frames[1:])
    Path("d/b/0.png").rename("d/b/0.jpg")
    kept, findings = usable(read("d"))
    assert len(kept) == 8
    assert [(f.severity, str(f)) for f in findings] == [
        ("repair", "d/a/deep.png: 16-bit or float pixels were scaled linearly to 8 bits (1 such)"),
        ("repair", "d/a/moving.gif: only the first frame or page is used (1 such)"),
        ("warn", ("d/b/0.jpg: the ending disagrees with the content, which was believed; "
                 "rename it (1 such)")),
    ]  # fmt: skip


def test_refuse_says_how_many():
    table = text_table([f"t {i}" for i in range(6)], ["a", "b", "a", "c", "d", "e"])
    findings = check(table, split(table)).findings
    refuse(f for f in findings if f.severity != "error")
    doubled = [f for f in findings if f.severity == "error"] * 3
    with pytest.raises(DataError, match=r"\(and 2 more\)$"):
        refuse(doubled)


def test_classes_held_out_are_no_fault_of_embeddings():
    found = (Finding("unseen-label", "error", "m", "d.csv"), Finding("no-label", "error", "m", "d"))
    assert for_purpose(found, "classify") == found
    assert [(f.code, f.severity) for f in for_purpose(found, "retrieval")] == [
        ("unseen-label", "warn")
    ]
    assert for_purpose(found, "embed") == ()


def test_a_part_of_one_class_says_nothing_of_a_search():
    labels = ["a", "b", "c", "d", "d", "e"]
    table = text_table([f"t {i}" for i in range(6)], labels)
    rows = np.arange(6)
    found = check(table, Splits(rows[:3], rows[5:], rows[3:5], "for a test")).findings
    told = [f for f in for_purpose(found, "embed") if f.code == "one-class-part"]
    assert [(f.severity, f.row) for f in told] == [("warn", 4)]
    assert "every row of test is of class 'd'" in told[0].message
