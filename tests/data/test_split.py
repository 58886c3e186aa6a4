"""Splits and folds: disjoint, covering, stratified, whole groups, the same in every process."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.data.readers import read
from graft.data.split import Splits, folds, split
from graft.errors import DataError, InputError

from .makers import class_table, picture, text_table

tables = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 12)), min_size=2, max_size=120)
seeds = st.integers(0, 2**32 - 1)


def numbered(n: int) -> list[str]:
    return [f"t{i}" for i in range(n)]


def parts(splits: Splits) -> list[list[int]]:
    return [splits.train.tolist(), splits.validation.tolist(), splits.test.tolist()]


@settings(max_examples=60, deadline=None)
@given(tables, seeds, st.booleans(), st.integers(1, 200))
def test_disjoint_covering_and_every_class_in_train(rows, seed, grouped, n_texts):
    labels = [label for label, _ in rows]
    groups = [group for _, group in rows] if grouped else None
    texts = [f"t{i % n_texts}" for i in range(len(rows))]
    table = text_table(texts, labels, group=groups)
    splits = split(table, seed=seed)
    assert sorted(row for part in parts(splits) for row in part) == list(range(len(rows)))
    assert all(part == sorted(part) for part in parts(splits))
    assert all(p.dtype == np.int64 for p in (splits.train, splits.validation, splits.test))
    assert {labels[i] for i in splits.train} == set(labels)
    assert parts(split(table, seed=seed)) == parts(splits)
    if groups:
        of = [{groups[i] for i in part} for part in parts(splits)]
        assert not (of[0] & of[1] or of[0] & of[2] or of[1] & of[2])
    of = [{texts[i] for i in part} for part in parts(splits)]
    assert not (of[0] & of[1] or of[0] & of[2] or of[1] & of[2])


@settings(max_examples=60, deadline=None)
@given(tables, seeds, st.integers(2, 5), st.booleans())
def test_folds_cover_and_keep_groups(rows, seed, n_folds, grouped):
    labels = [label for label, _ in rows]
    groups = [group for _, group in rows] if grouped else None
    if len(set(groups or range(len(rows)))) < n_folds:
        with pytest.raises(InputError, match="folds of"):
            folds(labels, n_folds, seed, groups)
        return
    fold = folds(labels, n_folds, seed, groups)
    assert fold.shape == (len(rows),)
    assert set(fold.tolist()) == set(range(n_folds))
    if groups:
        assert all(len({int(fold[i]) for i in np.flatnonzero(np.array(groups) == g)}) == 1
                   for g in groups)  # fmt: skip
    else:
        assert max(np.bincount(fold)) - min(np.bincount(fold)) <= 1
        for label in set(labels):
            of_class = np.bincount(fold[np.array(labels) == label], minlength=n_folds)
            assert of_class.max() - of_class.min() <= 1


def test_shares_are_kept_in_every_class():
    table = class_table({"rare": 20, "common": 700, "some": 280})
    splits = split(table, seed=3)
    assert [len(part) for part in parts(splits)] == [700, 150, 150]
    labels = np.array(table.labels())
    for part in (splits.validation, splits.test):
        counts = Counter(labels[part])
        assert abs(counts["common"] - 105) <= 2
        assert abs(counts["some"] - 42) <= 2
        assert abs(counts["rare"] - 3) <= 1
    assert splits.how == "drawn with seed 3: stratified"
    assert not splits.given


def test_seeds_and_shares_matter():
    table = class_table({"a": 50, "b": 50})
    assert parts(split(table, seed=1)) != parts(split(table, seed=2))
    assert [len(p) for p in parts(split(table, validation=0, test=0.5))] == [50, 0, 50]
    assert [len(p) for p in parts(split(table, validation=0.5, test=0))] == [50, 50, 0]
    for validation, test in ((0.5, 0.5), (-0.1, 0.1), (float("nan"), 0.1)):
        with pytest.raises(InputError, match="pass shares whose sum is below 1"):
            split(table, validation=validation, test=test)


def test_small_tables_still_have_three_parts():
    assert [len(part) for part in parts(split(class_table({"a": 3, "b": 3})))] == [4, 1, 1]
    assert [len(part) for part in parts(split(class_table({"a": 2, "b": 2})))] == [2, 1, 1]


def test_unlabelled_rows_are_split_at_random():
    splits = split(text_table([f"t{i}" for i in range(100)]))
    assert [len(part) for part in parts(splits)] == [70, 15, 15]
    assert splits.how == "drawn with seed 0: at random"


def test_groups_are_shared_out_evenly():
    random = np.random.default_rng(0)
    speakers = random.integers(0, 60, 1200)
    labels = np.where(random.random(1200) < 0.2, "x", "y")
    splits = split(text_table(numbered(1200), labels.tolist(), group=speakers.tolist()))
    for part, share in zip(parts(splits), (0.7, 0.15, 0.15), strict=True):
        assert abs(len(part) / 1200 - share) < 0.04
        assert abs(np.mean(labels[part] == "x") - 0.2) < 0.05
    assert splits.how == "drawn with seed 0: stratified, whole groups of `group`"


def test_equal_inputs_stay_together():
    texts = [f"t{i % 80}" for i in range(100)]
    splits = split(text_table(texts, ["a", "b"] * 50))
    of = [{texts[i] for i in part} for part in parts(splits)]
    assert [len(texts) for texts in of] == [56, 12, 12]
    assert splits.how == (
        "drawn with seed 0: stratified, equal inputs kept together (20 rows repeat one)"
    )
    one = split(text_table(["t"] * 9, [*"aabbccabc"]))
    assert [len(part) for part in parts(one)] == [9, 0, 0]


def test_groups_that_share_an_input_are_one():
    texts = [f"t{i}" for i in range(40)]
    texts[5] = texts[30]
    groups = [i // 4 for i in range(40)]
    table = text_table(texts, ["a", "b"] * 20, group=groups)
    for seed in range(20):
        part_of = {i: k for k, part in enumerate(parts(split(table, seed=seed))) for i in part}
        assert len({part_of[i] for i in (4, 5, 6, 7, 28, 29, 30, 31)}) == 1


def test_numbers_are_split_by_quantiles():
    random = np.random.default_rng(0)
    numbers = np.exp(random.normal(size=1000)).round(4)
    table = text_table(numbered(1000), numbers.tolist(), target="number")
    splits = split(table)
    assert [len(part) for part in parts(splits)] == [700, 150, 150]
    assert splits.how == "drawn with seed 0: stratified by quantiles"
    whole = np.quantile(numbers, [0.25, 0.5, 0.75])
    for part in parts(splits):
        assert np.abs(np.quantile(numbers[part], [0.25, 0.5, 0.75]) / whole - 1).max() < 0.1
    fold = folds(numbers, 5, 0)
    assert np.bincount(fold).tolist() == [200] * 5
    means = [numbers[fold == k].mean() for k in range(5)]
    assert np.ptp(means) < 0.3 * np.mean(means)


def test_several_labels_keep_their_shares():
    random = np.random.default_rng(1)
    wanted = {"rare": 0.02, "some": 0.2, "common": 0.6}
    has = np.column_stack([random.random(1500) < share for share in wanted.values()])
    lists = [[n for n, h in zip(wanted, row, strict=True) if h] for row in has]
    for group in (None, (np.arange(1500) // 5).tolist()):
        table = text_table(numbered(1500), lists, group=group, target="multi")
        splits = split(table)
        for part, share in zip(parts(splits), (0.7, 0.15, 0.15), strict=True):
            assert abs(len(part) / 1500 - share) < 0.02
            found, whole = has[part].sum(axis=0), has.sum(axis=0)
            assert np.abs(found - share * whole).max() <= (2 if group is None else 10)
        assert splits.how.startswith("drawn with seed 0: stratified")
    for labels in (has.astype(int), [tuple(found) for found in lists]):
        fold = folds(labels, 5, 0)
        assert np.ptp(np.bincount(fold)) <= 9
        assert np.ptp([has[fold == k].sum(axis=0) for k in range(5)], axis=0).max() <= 2


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sets(st.sampled_from("abcd")), st.integers(0, 9)), min_size=2),
    seeds,
    st.booleans(),
)
def test_several_labels_are_all_in_train(rows, seed, grouped):
    labels = [sorted(found) for found, _ in rows]
    groups = [group for _, group in rows] if grouped else None
    splits = split(text_table(numbered(len(rows)), labels, group=groups, target="multi"), seed=seed)
    assert sorted(row for part in parts(splits) for row in part) == list(range(len(rows)))
    assert {c for i in splits.train for c in labels[i]} == {c for found in labels for c in found}
    if groups:
        of = [{groups[i] for i in part} for part in parts(splits)]
        assert not (of[0] & of[1] or of[0] & of[2] or of[1] & of[2])


def test_given_splits_are_kept():
    given_parts = ["train"] * 6 + ["Val"] * 2 + ["test"] * 2
    table = text_table(numbered(10), ["a", "b"] * 5, split=given_parts)
    splits = split(table)
    assert parts(splits) == [[0, 1, 2, 3, 4, 5], [6, 7], [8, 9]]
    assert splits.given
    assert splits.how == "as given"
    asked = split(table, validation=0.2, test=0.3)
    assert parts(asked) == parts(splits)
    assert asked.how == "as given (--validation and --test had no effect)"


def test_a_missing_validation_part_is_carved_from_train():
    table = text_table(numbered(100), ["a", "b"] * 50, split=["train"] * 80 + ["test"] * 20)
    splits = split(table, seed=5)
    assert splits.test.tolist() == list(range(80, 100))
    assert len(splits.validation) == 12
    assert sorted([*splits.train, *splits.validation]) == list(range(80))
    assert Counter(i % 2 for i in splits.validation) == {0: 6, 1: 6}
    assert splits.how == "as given; validation drawn from train with seed 5: stratified"


def test_no_test_part_is_invented_where_validation_is_given():
    table = text_table(numbered(10), ["a", "b"] * 5, split=["train"] * 8 + ["dev"] * 2)
    splits = split(table)
    assert [len(part) for part in parts(splits)] == [8, 2, 0]
    assert splits.how == "as given; no test part"


def test_all_train_is_no_split():
    splits = split(text_table(numbered(100), ["a", "b"] * 50, split=["train"] * 100))
    assert [len(part) for part in parts(splits)] == [70, 15, 15]


def test_folders_bring_their_split(tmp_path: Path):
    for part, n in (("train", 4), ("test", 2)):
        for label in "ab":
            for i in range(n):
                picture(tmp_path / part / label / f"{i}.png", color=(n, ord(label), i))
    table = read(tmp_path)
    splits = split(table)
    in_test = [i for i, name in enumerate(table.column("path")) if name.startswith("test")]
    assert splits.test.tolist() == in_test
    assert (len(splits.train), len(splits.validation)) == (7, 1)


def test_golden_messages():
    table = text_table(numbered(3), ["a", "b", "a"], split=["train", "test", "tset"])
    with pytest.raises(DataError) as caught:
        split(table)
    assert str(caught.value) == (
        "d.csv row 3 column `split`: 'tset' is no part of a split; write train, validation or test"
    )
    table = text_table(numbered(2), ["a", "b"], split=["val", "test"])
    with pytest.raises(DataError) as caught:
        split(table)
    assert str(caught.value) == (
        "d.csv column `split`: no row is for training; mark some as train, "
        "or pass the file without this column"
    )
    with pytest.raises(InputError) as error:
        folds(["a", "b", "a"], 5, 0)
    assert str(error.value) == "5 folds of 3 rows: choose from 2 to 3 folds"


CODE = """
import sys
sys.path.insert(0, {root!r})
from tests.data.makers import class_table
from graft.data.split import split, folds
table = class_table({{"a": 9, "b": 11}}, group=[i % 7 for i in range(20)])
splits = split(table, seed=4)
print(splits.validation.tolist(), splits.test.tolist(), folds(table.labels(), 3, 4).tolist())
"""


def test_the_same_in_every_process(repository: Path):
    code = CODE.format(root=str(repository))
    seen = set()
    for hash_seed in ("0", "4711"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
        )  # fmt: skip
        seen.add(done.stdout)
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("n_classes", "n_held_out"), [(3, (1, 1)), (4, (1, 1)), (5, (1, 2)), (7, (2, 2)), (8, (2, 2))]
)
def test_held_out_by_class_a_part_has_two_where_enough_stay(n_classes, n_held_out):
    for seed in range(5):
        labels = [f"class {i % n_classes}" for i in range(10 * n_classes)]
        table = text_table(numbered(len(labels)), labels)
        table = replace(table, roles=replace(table.roles, group="label"))
        of = [{labels[i] for i in part} for part in parts(split(table, seed=seed))]
        assert (len(of[1]), len(of[2])) == n_held_out
        assert len(of[0]) >= min(2, n_classes - 2)
        assert not (of[0] & of[1] or of[0] & of[2] or of[1] & of[2])
