"""The held-out rows on which thresholds are calibrated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from graft.api.both_towers import told_apart
from graft.api.embedding import Embedder
from graft.data.captions import IMAGE_TEXT, sides
from graft.data.readers import read
from graft.data.table import Table
from graft.data.tuples import Tuples, holds_relevance, relevant, unfolded
from graft.embedding_job import kind_of
from graft.errors import GraftError, InputError
from graft.metrics.sampled_pairs import sample_pairs
from graft.metrics.verification import sampled
from graft.metrics.verification_across import pairs_across
from graft.prepare import prepare
from graft.recipe import read_recipe
from graft.retrieval.manifest import between
from graft.retrieval.segments import prepared
from graft.retrieval.threshold import Threshold, calibrate, calibrate_pairs
from graft.run_folder import refuse_other_data

FROM_RUN = "validation rows of the run"


@dataclass(frozen=True)
class Limits:
    """Hold thresholds, and what none could be found for.

    Args:
        thresholds: by the sides that are compared, as `graft.retrieval.manifest.between` names
            them.
        notes: a sentence for each kind of search that has none, and what speaks against them.
    """

    thresholds: Mapping[str, Threshold]
    notes: tuple[str, ...] = ()


def calibrated(
    run: str | Path,
    embedder: Embedder,
    far: float,
    data: str | None,
    *,
    input: str | None = None,
    label: str | None = None,
    metric: str = "cosine",
) -> Limits:
    """Return the thresholds at which at most a share of the unlike pairs is accepted.

    Pictures with captions give one for a picture and a caption, whichever is the query, and one for
    two captions: those of one picture are alike. Labelled rows, pairs and triplets give one for
    their own kind.

    Args:
        run: whose validation rows are taken where `data` is None; its test rows are left alone.
        embedder: that makes the vectors.
        far: the share.
        data: labelled rows, pairs, triplets, or pictures with captions, that the model was not
            trained on.
        input: name of their input column.
        label: name of their label column.
        metric: by which vectors are compared.

    Raises:
        InputError: the run has no validation rows, the rows do not say who belongs to whom, or
            there are too few pairs.
    """
    is_both = len(embedder.sides) > 1
    if data is None:
        table, source = _validation_rows(Path(run)), FROM_RUN
    else:
        # without labels the columns are found by name: `input` may say which side is indexed
        own = None if is_both and label is None else input
        table, source = read(data, input=own, label=label), data
    notes = () if data is None else _trained_on(Path(run), table)
    if is_both and table.roles.modality == IMAGE_TEXT:
        found = _across(embedder, table, far, source, metric)
        return replace(found, notes=(*notes, *found.notes))
    find = _of_labels if len(table.roles.inputs) == 1 else _of_tuples
    side = table.roles.modality if is_both else ""
    return Limits({between(side, side): find(embedder, table, far, source, metric)}, notes)


def _of_labels(embedder: Embedder, table: Table, far: float, source: str, metric: str) -> Threshold:
    """Return the threshold of labelled rows: those of one class are alike."""
    labels = table.labels()
    if labels is None or table.target_kind != "single":
        raise InputError(
            f"{source[-80:]}: no column of single labels; name one with --label, or pass pairs"
        )
    features = embedder.embed(table).features
    usable = [i for i in range(len(table)) if labels[i] and np.isfinite(features[i]).all()]
    vectors = prepared(features[usable], metric)
    return calibrate(vectors, np.array([labels[i] for i in usable]), far, source=source)


def _of_tuples(embedder: Embedder, table: Table, far: float, source: str, metric: str) -> Threshold:
    """Return the threshold of pairs or triplets, on the pairs that a run's metrics ask about."""
    if holds_relevance(table.roles):
        table = relevant(table)
    numbers = table.numbers()
    if numbers is not None:
        table = table.take(np.flatnonzero(np.isfinite(numbers)))
    kind = kind_of(table)
    if kind == "scores":
        raise InputError(
            f"{source[-80:]}: `{table.roles.label}` says how alike a pair is, and not whether it "
            "belongs together; write 1 or 0, or pass other rows with --calibrate"
        )
    items, tuples = unfolded(table, graded=kind == "pairs")
    features = embedder.embed(told_apart(items)).features
    sound = np.flatnonzero(np.isfinite(features).all(1))
    whole = np.isin(tuples.members, sound).all(1)
    used, members = np.unique(tuples.members[whole], return_inverse=True)
    scores = None if tuples.scores is None else tuples.scores[whole]
    sample = sample_pairs(Tuples(members.reshape(-1, tuples.members.shape[1]), scores))
    assert sample is not None
    return calibrate_pairs(sampled(sample, prepared(features[used], metric)), far, source=source)


def _across(embedder: Embedder, table: Table, far: float, source: str, metric: str) -> Limits:
    """Return thresholds for pictures with captions.

    A caption that several pictures have does not say whose it is, and is left out.
    """
    images, texts, pairs = sides(table)
    ours = embedder.embed(images).features
    theirs = embedder.embed(told_apart(texts)).features
    owner_of, text_of = pairs.members[:, 0], pairs.members[:, 1] - len(images)
    is_one = np.bincount(text_of, minlength=len(texts))[text_of] == 1
    is_usable = np.isfinite(ours[owner_of]).all(1) & np.isfinite(theirs[text_of]).all(1)
    owner_of, text_of = owner_of[is_one & is_usable], text_of[is_one & is_usable]
    owners, owner = np.unique(owner_of, return_inverse=True)
    pictures, captions = prepared(ours[owners], metric), prepared(theirs[text_of], metric)
    across = calibrate_pairs(pairs_across(pictures, captions, owner), far, source=source)
    found = {between("image", "text"): across}
    notes = ["pictures found by pictures have no threshold: no two pictures are known to be alike"]
    try:
        limit = calibrate(captions, owner, far, source=source)
        unit = "pictures" if limit.resampled == "classes" else limit.resampled
        found[between("text", "text")] = replace(limit, resampled=unit)
    except InputError as error:
        notes.append(f"texts found by texts have no threshold: {error}")
    return Limits(found, tuple(notes))


def _validation_rows(run: Path) -> Table:
    """Return the validation rows of a run.

    Raises:
        InputError: it has none, or its recipe or data are not there.
    """
    path = run / "recipe.yaml"
    if not path.is_file():
        raise InputError(f"{run}: no recipe.yaml, so no held-out rows are known; pass --calibrate")
    found = prepare(read_recipe({}, path))
    refuse_other_data(run, found.table.content_hash())
    rows = found.splits.validation
    if not len(rows):
        raise InputError(f"{run}: the run kept no validation rows; pass --calibrate")
    return replace(found.table.take(rows), findings=())


def _trained_on(run: Path, table: Table) -> tuple[str, ...]:
    """Return a sentence where rows of a table are training rows of the run, which flatter it."""
    path = run / "recipe.yaml"
    if not path.is_file():
        return ()
    try:
        found = prepare(read_recipe({}, path))
        refuse_other_data(run, found.table.content_hash())
    except GraftError as why:
        return (f"whether rows of --calibrate were trained on is not known: {why}",)
    trained = found.table.take(found.splits.train)
    known = {_same(value) for column in trained.identities() for value in column}
    rows = zip(*table.identities(), strict=True)
    n_known = sum(all(_same(value) in known for value in row) for row in rows)
    if not n_known:
        return ()
    note = (
        f"{n_known:,} of the {len(table):,} rows of --calibrate were trained on, where unlike "
        "pairs lie farther apart than among new rows: more are accepted than was asked; choose "
        "other rows"
    )
    return (note,)


def _same(value: str | None) -> str:
    """Return a text without what does not tell it from another."""
    return " ".join((value or "").split()).casefold()
