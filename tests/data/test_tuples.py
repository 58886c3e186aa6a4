"""Pairs and triplets: columns found, rows that cannot be used, items unfolded, batches drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.data.check import check, usable
from graft.data.readers import read
from graft.data.sampling import class_batches, deal, tuple_batches
from graft.data.split import Splits, split
from graft.data.tuples import unfolded
from graft.errors import DataError


def table(tmp_path: Path, text: str, **options):
    path = tmp_path / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    return read(path, **options)


def halves(n: int) -> Splits:
    rows = np.arange(n)
    return Splits(rows[: n // 2], rows[:0], rows[n // 2 :], "for a test")


@pytest.mark.parametrize(
    ("header", "inputs", "label"),
    [
        ("anchor,positive", ("anchor", "positive"), None),
        ("anchor,positive,negative", ("anchor", "positive", "negative"), None),
        ("sentence1,sentence2,score", ("sentence1", "sentence2"), "score"),
        ("Query,Document,relevance", ("Query", "Document"), "relevance"),
        ("label,question1,question2", ("question1", "question2"), "label"),
    ],
)
def test_columns_are_found_by_name(tmp_path, header, inputs, label):
    names = header.split(",")
    cells = ["0.5" if name == label else f"some {name} text" for name in names]
    found = table(tmp_path, f"{header}\n{','.join(cells)}\n")
    assert (found.roles.inputs, found.roles.label) == (inputs, label)
    assert found.inputs() == [tuple(f"some {name} text" for name in inputs)]


def test_columns_are_named_by_the_user(tmp_path):
    text = "a,b,how\nfirst text,second text,1\n"
    found = table(tmp_path, text, input="b, a", label="how")
    assert found.inputs() == [("second text", "first text")]
    with pytest.raises(DataError, match="no column `c`"):
        table(tmp_path, text, input="a,c")


def test_a_column_of_classes_makes_it_no_table_of_pairs(tmp_path):
    rows = "".join(f"what is {i},it is {i},{'yn'[i % 2]}\n" for i in range(6))
    found = table(tmp_path, f"question,answer,label\n{rows}", input="question")
    assert found.roles.inputs == ("question",)
    with pytest.raises(DataError, match="says more of a pair than a number can"):
        table(tmp_path, f"question,answer,label\n{rows}", input="question,answer")


def test_a_row_is_left_out_where_any_of_its_inputs_is_empty(tmp_path):
    found = table(tmp_path, "anchor,positive\na b,c d\n,c d\ne f, \n")
    kept, findings = usable(found)
    assert len(kept) == 1
    assert [(f.row, f.column) for f in findings] == [(2, "anchor"), (3, "positive")]


def test_items_stand_once_and_know_their_first_row(tmp_path):
    found = table(tmp_path, "anchor,positive\na,b\nc,a\nd,b\n")
    items, tuples = unfolded(found)
    assert items.inputs() == ["a", "b", "c", "d"]
    assert tuples.members.tolist() == [[0, 1], [2, 0], [3, 1]]
    assert [items.origin(i).row for i in range(4)] == [1, 1, 2, 3]
    assert tuples.scores is None


def test_content_hash_follows_every_input(tmp_path):
    first = table(tmp_path, "anchor,positive\na,b\n").content_hash()
    assert table(tmp_path, "anchor,positive\na,c\n").content_hash() != first
    assert table(tmp_path, "anchor,positive\nb,a\n").content_hash() != first


def codes(found, n: int) -> list[str]:
    return [f.code for f in check(found, halves(n)).findings]


def test_positives_that_equal_their_anchors_are_told(tmp_path):
    some = table(tmp_path, "anchor,positive\na,a\nb,c\nd,e\nf,g\n")
    assert codes(some, 4) == ["equal-items"]
    every = table(tmp_path, "anchor,positive\na,a\nb,b\n")
    assert [f.severity for f in check(every, halves(2)).findings] == ["error"]


@pytest.mark.parametrize(("same", "columns"), [("a,b,b", "negative"), ("a,b,a", "negative")])
def test_negatives_that_equal_another_member_are_told(tmp_path, same, columns):
    found = table(tmp_path, f"anchor,positive,negative\n{same}\nc,d,e\nf,g,h\ni,j,k\n")
    [finding] = [f for f in check(found, halves(4)).findings if f.code == "equal-items"]
    assert (finding.severity, finding.row, finding.column) == ("warn", 1, columns)


def test_a_held_out_pair_that_is_a_training_pair_stops(tmp_path):
    found = table(tmp_path, "anchor,positive\na,b\nc,d\na,b\ne,f\n")
    [leak] = check(found, halves(4)).findings
    assert (leak.code, leak.severity, leak.row) == ("leak", "error", 3)
    [waived] = check(found, halves(4), allow_leak=True).findings
    assert waived.severity == "warn"


@pytest.mark.parametrize(
    ("header", "mend"),
    [
        ("query,document", "document,query"),
        ("Anchor,positive", "positive,Anchor"),
        ("anchor,positive,negative", "positive,anchor,negative"),
        ("sentence1,sentence2", None),
    ],
)
def test_columns_whose_lengths_look_swapped_are_told(tmp_path, header, mend):
    long, rest = "a very long passage about many things indeed", ",none" * (header.count(",") - 1)
    found = table(tmp_path, f"{header}\n{long},short one{rest}\n{long} too,short{rest} 2\n")
    told = [f for f in check(found, halves(2)).findings if f.code == "swapped-columns"]
    assert [f.severity for f in told] == ["warn"] * (mend is not None)
    assert all(f.message.endswith(f"if they are swapped, pass --input {mend}") for f in told)


def test_columns_that_look_swapped_are_told(tmp_path):
    rows = "".join(f"red car {i},other words {i + 99},red car there {i + 500}\n" for i in range(30))
    found = table(tmp_path, f"anchor,positive,negative\n{rows}")
    assert "swapped-columns" in codes(found, 30)


def test_scores_that_are_all_alike_teach_nothing(tmp_path):
    found = table(tmp_path, "sentence1,sentence2,score\na,b,1\nc,d,1\n")
    assert codes(found, 2) == ["constant-scores"]


@pytest.mark.parametrize("score", ["", "nan", "None"])
def test_a_missing_score_is_a_fault_of_its_row(tmp_path, score):
    rows = [f"a {i},b {i},{i % 5}.5" for i in range(200)]
    rows[3] = f"a 3,b 3,{score}"
    found = table(tmp_path, "sentence1,sentence2,score\n" + "\n".join(rows) + "\n")
    assert found.roles.inputs == ("sentence1", "sentence2")
    kept, findings = usable(found)
    assert len(kept) == 199
    [finding] = findings
    assert (finding.severity, finding.row, finding.column) == ("skip", 4, "score")


def test_equal_pairs_stay_on_one_side_of_a_drawn_split(tmp_path):
    rows = "".join(f"a {i % 20},b {i % 20}\n" for i in range(60))
    found = table(tmp_path, f"anchor,positive\n{rows}")
    parts = split(found)
    keys = found.inputs()
    assert not {keys[i] for i in parts.train} & {keys[i] for i in parts.test}


def test_a_group_of_labels_holds_out_whole_classes(tmp_path):
    rows = "".join(f"text number {i},class {i % 10}\n" for i in range(100))
    path = tmp_path / "t.csv"
    path.write_text(f"text,label\n{rows}", encoding="utf-8")
    found = read(path, group="label")
    parts, labels = split(found), found.labels()
    assert labels is not None and len(parts.test)
    assert not {labels[i] for i in parts.train} & {labels[i] for i in parts.test}


@settings(max_examples=30)
@given(st.integers(0, 99), st.integers(1, 8), st.integers(2, 6))
def test_no_item_comes_twice_in_a_batch(seed, batch_size, n_items):
    random = np.random.default_rng(seed)
    members = random.integers(0, 10 * n_items, (40, 2))
    drawn = [tuple_batches(members, None, batch_size, seed, epoch) for epoch in range(3)]
    assert len({len(batches) for batches in drawn}) == 1
    for batches in drawn:
        rows = np.concatenate(batches)
        assert len(np.unique(rows)) == len(rows)
        for batch in batches:
            items = [item for row in members[batch] for item in set(row.tolist())]
            assert len(items) == len(set(items))
    assert [b.tolist() for b in drawn[0]] != [b.tolist() for b in drawn[1]]


def test_pairs_that_fit_nowhere_are_left_out():
    members = np.array([[0, i] for i in range(1, 9)])
    batches = tuple_batches(members, None, 4, 0, 0)
    assert [len(batch) for batch in batches] == [1, 1]


@settings(max_examples=30)
@given(st.integers(0, 99), st.integers(4, 24), st.integers(2, 4))
def test_several_items_of_each_class_and_every_item_once(seed, batch_size, n_per_class):
    labels = np.random.default_rng(seed).integers(0, 7, 60)
    drawn = [class_batches(labels, batch_size, n_per_class, seed, epoch) for epoch in range(2)]
    assert len(drawn[0]) == len(drawn[1])
    for batches in drawn:
        assert sorted(np.concatenate(batches).tolist()) == list(range(60))
    hands = [np.unique(labels[batch], return_counts=True)[1] for batch in drawn[0]]
    assert np.mean([counts.mean() for counts in hands]) > 1.2


def test_one_large_class_shares_batches_with_itself():
    labels = np.array([0] * 30 + [1] * 2)
    batches = class_batches(labels, 8, 4, 0, 0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(32))


def test_deal_keeps_the_order_where_nothing_clashes():
    assert deal([3, 1, 2, 0], [[0], [1], [2], [3]], 2) == [[3, 1], [2, 0]]


def test_no_rows_and_a_role_without_new_items_unfold(tmp_path):
    found = table(tmp_path, "anchor,positive\none,two\ntwo,one\n")
    items, tuples = unfolded(found)
    assert items.inputs() == ["one", "two"]
    assert tuples.members.tolist() == [[0, 1], [1, 0]]
    items, tuples = unfolded(found.take(np.zeros(0, np.int64)))
    assert (len(items), tuples.members.shape) == (0, (0, 2))
