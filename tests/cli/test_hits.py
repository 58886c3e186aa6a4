"""Hits on the screen: a line each, however wide the screen is."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from graft.api.searching import Answer, Answers
from graft.cli.hits import Column, fitted, shares, show_hits
from graft.data.table import Origin
from graft.retrieval.rows import Row
from graft.retrieval.searchable import Hit

CAPTIONS = ["Two brown dogs are running over deep snow in one long line .", "b", "c"]


def picture(i, known=True):
    name = f"{i}219210794_4324df188b.jpg"
    cells = {"image": name, "split": "train", "captions": CAPTIONS[: i + 1], "licence": "free"}
    row = Row(name, "/data/captions.jsonl", i, f"/very/long/way/to/the/images.zip!/{name}", cells,
              "image")  # fmt: skip
    return Hit(row, 0.5 - i / 10, known)


def caption(i):
    owner = f"{i}219210794_4324df188b.jpg"
    cells = {"image": owner, "captions": CAPTIONS[0]}
    return Hit(Row(f"{owner}#1", "c.csv", i, CAPTIONS[0], cells, "text", owner), 0.4)


def shown(monkeypatch, capsys, width, *answers):
    monkeypatch.setattr("graft.cli.show.console._width", width)
    made = [Answer(f"dogs number {i}", Origin("x", i), hits) for i, hits in enumerate(answers)]
    show_hits(Answers(tuple(made), None, (), (), False, "image"))
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_picture_is_a_line_with_its_name_and_a_caption(monkeypatch, capsys, width):
    lines = shown(monkeypatch, capsys, width, tuple(picture(i) for i in range(3)))
    assert len(lines) == 4
    assert all(cell_len(line) <= width for line in lines)
    assert "found" not in lines[0] and "image" not in lines[0]
    for i, line in enumerate(lines[1:]):
        assert line.split()[:2] == [str(i + 1), f"{0.5 - i / 10:.3f}"]
        name = f"{i}219210794_4324df188b.jpg"
        assert (name if width > 60 else name[-16:]) in line
        assert "Two brown dogs" in line
    assert lines[3].rstrip().removesuffix("free").rstrip().endswith("+2")
    assert [name in lines[0] for name in ("split", "licence")] == [width > 60, width > 80]


def test_a_caption_is_told_once_beside_its_id(monkeypatch, capsys):
    lines = shown(monkeypatch, capsys, 80, (caption(1), caption(2)))
    assert lines[0].split() == ["rank", "score", "id", "found"]
    assert lines[1].count("1219210794") == 1 and lines[1].count("Two brown dogs") == 1


def test_queries_are_told_where_there_are_several(monkeypatch, capsys):
    unknown = (picture(1, known=False),)
    lines = shown(monkeypatch, capsys, 100, (picture(0), picture(1)), unknown, ())
    assert lines[0].split()[0] == "query"
    assert [line.startswith("dogs number") for line in lines[1:]] == [True, False, True]
    assert "–" in lines[3] and "unknown" in lines[3]
    assert "nothing is near enough" in shown(monkeypatch, capsys, 80, unknown)[1]


def test_columns_of_the_data_give_way():
    texts = ["a" * 70, "b" * 70]
    columns = [Column("id", ["x" * 20]), Column("found", texts[:1]),
               *(Column(f"more{i}", texts[:1], is_extra=True) for i in range(6))]  # fmt: skip
    kept, widths = fitted(columns, 80)
    assert [c.name for c in kept] == ["id", "found"]
    assert widths == [20, 80 - 9 - 2 * 3 - 20]
    assert [c.name for c in fitted(columns, 200)[0][2:]] == [f"more{i}" for i in range(5)]
    assert shares([3, 50, 50], 60) == [3, 28, 29]
