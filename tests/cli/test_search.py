"""`graft index` and `graft search` as a user types them, in this process."""

from __future__ import annotations

import json

import pytest

from graft.cli import main
from tests.api.test_indexing import place, shelf  # noqa: F401 - fixtures


@pytest.fixture
def run(place, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")

    def typed(verb, *arguments, code=None):
        with pytest.raises(SystemExit) as end:
            main([verb, str(place / "full"), *map(str, arguments), "--index", "i"])
        assert end.value.code == code
        return capsys.readouterr()

    return typed


def test_index_search_and_change(run, shelf):  # noqa: F811
    text = run("index", shelf, "--far", 0.05).out
    assert "i  6 rows, 6 added × 64" in text
    assert "threshold: " in text and "false accepts" in text and "over items" in text
    found = run("search", "the cat the", "-k", 2)
    header, first, *_ = found.out.splitlines()
    assert header.split() == ["rank", "score", "id", "found", "kind", "price"]
    assert first.split() == ["1", "1.000", "A0", "the", "cat", "the", "animal", "0"]
    header, first, *_ = run("search", shelf, "-k", 2).out.splitlines()
    assert header.split()[:4] == ["query", "rank", "score", "id"]
    assert first.split()[:6] == ["the", "cat", "the", "1", "1.000", "A0"]
    assert "answers to 6 queries" in run("search", shelf, "-k", 2, "--out", "a.csv").out
    assert "4 rows, 2 deleted" in run("index", "--delete", "A0", "--delete", "A1").out
    assert json.loads(run("index", "--rebuild", "--json").out)["n_rows"] == 4


def test_json_conditions_and_notes(run, shelf):  # noqa: F811
    run("index", shelf)
    found = run("search", "cat", "--where", "kind=animal", "--where", "price<30", "--json")
    assert [hit["id"] for hit in json.loads(found.out)["hits"]] == ["A0"]
    assert found.err == "note: the index holds 6 rows, so 6 and not 10 are found\n"
    assert run("search", "cat", "--quiet").err == ""


def test_what_is_beyond_the_threshold_is_unknown(run, shelf, monkeypatch):  # noqa: F811
    import graft.api.searching as searching
    from graft.retrieval.rows import Row
    from graft.retrieval.searchable import Hit

    run("index", shelf)
    far = [[Hit(Row("A0", "x", 1, "a", {}), 0.1234, False)]]
    monkeypatch.setattr("graft.retrieval.index.Index.hits", lambda *_, **__: far)
    text = run("search", "cat").out
    assert "0.123  unknown  nothing is near enough" in text
    assert json.loads(run("search", "cat", "--json").out)["unknown"] is True
    assert searching.Answer("x", None, ()).is_unknown


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("search", "cat", "--where", "kin=a"), "did you mean 'kind'"),
        (("search", "cat", "-k", 0), "k is 0; pass at least 1"),
        (("search", "cat", "--out", "a.txt"), "rename --out"),
        (("index", "--delete", "A9"), "id `A9`: is not in the index"),
        (("index",), "nothing to do"),
    ],
)
def test_faults_are_one_line_and_exit_with_2(run, shelf, arguments, word):  # noqa: F811
    run("index", shelf)
    found = run(*arguments, code=2)
    assert word in found.err
    assert found.err.startswith("graft: ") and found.err.count("\n") == 1
    assert len(found.err) < 210
