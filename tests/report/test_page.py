"""The page holds what the record says, whole and offline, and nothing from data runs in it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re

import pytest

from graft.report.page import render
from tests.report.dom import parse
from tests.report.specimens import HOSTILE, KINDS, classify, long_training, regress

LARGEST_BYTES = 1_500_000


@pytest.fixture(scope="module")
def pages():
    return {kind: render(*make(), name=HOSTILE[1]) for kind, make in KINDS.items()}


@pytest.fixture(scope="module")
def trees(pages):
    return {kind: parse(page) for kind, page in pages.items()}


def specs(tree):
    return {
        e.attributes["id"].removeprefix("spec-"): json.loads(e.text)
        for e in tree.named("script")
        if e.attributes.get("type") == "application/json"
    }


def values_in(spec):
    """Return every value of every field of a spec's data."""
    if isinstance(spec, dict):
        rows = spec.get("values", []) if isinstance(spec.get("values"), list) else []
        found = {str(v) for row in rows for v in row.values()}
        return found.union(*(values_in(v) for v in spec.values()), set())
    if isinstance(spec, list):
        return set().union(*map(values_in, spec), set())
    return set()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_from_data_runs(trees, kind):
    """C15: a label `<script>` stays text; no handler, no address, one script of ours."""
    tree = trees[kind]
    [script] = [e for e in tree.named("script") if "type" not in e.attributes]
    assert "vega.expressionInterpreter" in script.text
    for element in tree.elements:
        odd = [a for a in element.attributes if a.startswith("on") or a in ("style", "srcdoc")]
        assert not odd, (element.name, odd)
        for name in ("href", "src", "action", "xlink:href"):
            place = element.attributes.get(name)
            assert place is None or place.startswith(("#", "data:")), (element.name, place)
    assert {e.name for e in tree.elements}.isdisjoint({"iframe", "object", "embed", "base", "form"})
    images = [e.attributes["src"] for e in tree.named("img")]
    assert all(src.startswith("data:image/jpeg;base64,") for src in images)
    assert HOSTILE[1] in tree.text()


@pytest.mark.parametrize("kind", KINDS)
def test_policy_names_the_script_and_the_style_by_their_hashes(trees, kind):
    tree = trees[kind]
    [policy] = [e.attributes["content"] for e in tree.named("meta") if "http-equiv" in e.attributes]
    [script] = [e.text for e in tree.named("script") if "type" not in e.attributes]
    [style] = [e.text for e in tree.named("style")]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy and "http" not in policy
    for text in (script, style):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_labels_in_the_figures_stay_values(trees, pages):
    found = specs(trees["classify"])
    assert set(HOSTILE) <= values_in(found["confusion"])
    assert set(HOSTILE) <= values_in(found["counts"])
    for spec in found.values():
        text = json.dumps(spec)
        assert not re.search(r'"(field|expr|test|calculate|url|href)": "[^"]*alert', text)
    # what the parser must not see as an end of the element is written as an escape
    raw = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', pages["classify"])
    assert len(raw) == len(found)
    assert not any("<" in text for text in raw)


@pytest.mark.parametrize(
    ("kind", "figures"),
    [
        (
            "classify",
            {"counts", "learning", "confusion", "reliability", "confidences", "depths"}
            | {"map-before", "map-after"},
        ),
        ("multilabel", {"labels", "reliability", "map-after"}),
        ("regress", {"scatter", "residuals", "counts", "map-after"}),
        ("many classes", {"confusion", "learning"}),
    ],
)
def test_each_kind_of_run_has_its_figures(trees, kind, figures):
    tree = trees[kind]
    assert figures <= set(specs(tree))
    drawn = [e for e in tree.elements if "data-chart" in e.attributes]
    assert {e.attributes["data-chart"] for e in drawn} == set(specs(tree))
    for element in drawn:  # who does not see it reads what it says
        assert element.attributes["role"] == "img"
        assert len(element.attributes["aria-label"]) > 20
    n_tables = sum("details" in e.inside and "figure" in e.inside for e in tree.named("table"))
    assert n_tables >= len(drawn) - 1  # a map of numbers has no table


def test_a_figure_that_a_run_cannot_have_is_absent(trees):
    assert not {"confusion", "reliability", "labels"} & set(specs(trees["regress"]))
    assert "scatter" not in specs(trees["classify"])
    assert "depths" not in specs(trees["many classes"])


@pytest.mark.parametrize("kind", KINDS)
def test_page_is_one_modest_file_without_addresses(pages, kind):
    page = pages[kind]
    assert len(page.encode()) < LARGEST_BYTES
    own = page[: page.rindex("<script>")]  # without the libraries, which name their home pages
    assert "http://" not in own and "https://" not in own


def test_page_shows_what_the_record_says(trees):
    record, _ = classify()
    text = trees["classify"].text()
    assert "The trained model is right on 90.0 % of 30 test rows (85.0 to 95.0)." in text
    for part in ("0.850 to 0.950", "+0.400", "drawn with seed 0", "head solved exactly"):
        assert part in text
    assert record.data_hash in text and record.weights_sha256 in text
    assert "97" in text and f"a text {HOSTILE[3]}" in text
    for name in HOSTILE:
        assert name in text


def test_without_examples_no_row_of_the_data_is_shown():
    record, facts = classify()
    page = render(record, facts, examples=False)
    assert "a text " not in page and "data:image/jpeg" not in page
    assert "without single rows" in page
    assert "a text " in render(record, facts)


def test_without_facts_the_page_says_what_is_missing():
    record, _ = classify()
    tree = parse(render(record, None))
    assert "The folder has no report.json" in tree.text()
    assert set(specs(tree)) == {"learning", "depths"}
    assert "0.850 to 0.950" in tree.text()


def test_a_run_without_held_out_rows_claims_nothing():
    record, facts = classify()
    bare = dataclasses.replace(record, before={}, after={}, intervals={}, per_class=())
    text = parse(render(bare, dataclasses.replace(facts, confused=(), calibration=()))).text()
    assert "how good the model is on new rows is not known" in text
    assert "nothing to compare on" in text


def test_the_same_record_gives_the_same_page():
    assert render(*classify()) == render(*classify())


def test_phases_of_a_long_training_are_marked_in_the_curve():
    record, facts = long_training()
    spec = specs(parse(render(record, facts)))["learning"]
    assert {"block 2", "block 1"} <= values_in(spec)
    epochs = {row["epoch"] for row in spec["data"]["values"]}
    assert epochs == set(range(1, 9))


def test_one_epoch_is_no_curve():
    record, facts = classify()
    [solved, full] = record.phases
    once = dataclasses.replace(full, epochs=full.epochs[:1])
    tree = parse(render(dataclasses.replace(record, phases=(solved, once)), facts))
    assert "learning" not in specs(tree)
    assert "There was one epoch" in tree.text() and "1 epoch, " in tree.text()
    tree = parse(render(dataclasses.replace(record, phases=(solved,)), facts))
    assert "it was solved exactly, without epochs" in tree.text()


def test_numbers_are_shown_with_how_far_they_are_off():
    text = parse(render(*regress())).text()
    assert "explains 70.0" in text
    assert "Half of its predictions" in text
    assert "off by 1.3" in text
