"""The page holds what the record says, whole and offline, and nothing from data runs in it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re

import pytest

from graft.records import FindingRecord, Wording
from graft.report import figures_embedding, figures_roc
from graft.report.page import _without_source_map, render
from graft.report.words import what_pairs
from tests.report.dom import parse
from tests.report.specimens import (
    HOSTILE,
    KINDS,
    classify,
    embed,
    long_training,
    matched,
    regress,
    scored,
)

LARGEST_BYTES = 1_500_000


@pytest.fixture(scope="module")
def pages():
    return {kind: render(*make(), name=HOSTILE[1]) for kind, make in KINDS.items()}


@pytest.fixture(scope="module")
def trees(pages):
    return {kind: parse(page) for kind, page in pages.items()}


def strict(text):
    """Read JSON as browsers do: NaN is none."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def specs(tree):
    return {
        e.attributes["id"].removeprefix("spec-"): strict(e.text)
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
        (
            "embed",
            {"scores", "cosines-before", "cosines-after", "map-before", "map-after"}
            | {"near-before", "near-after", "roc"},
        ),
        ("scored", {"scores-before", "scores-after", "map-after", "counts"}),
        (
            "matched",
            {"scores", "scores-text_to_image_recall_at_10", "cosines-after", "roc", "map-after"},
        ),
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
    # a map of numbers or pairs, a map without directions; a matrix has its pairs beside it
    n_without = 1 + ("confusion" in figures) + 2 * (kind in ("embed", "scored"))
    assert n_tables >= len(drawn) - n_without


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
    assert "without the texts and pictures of single rows" in page
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
    assert "it was solved, without epochs" in tree.text()


def test_numbers_are_shown_with_how_far_they_are_off():
    text = parse(render(*regress())).text()
    assert "explains 70.0" in text
    assert "Half of its predictions" in text
    assert "off by 1.3" in text


def test_a_number_that_is_not_finite_stops_no_figure():
    nan, inf = float("nan"), float("inf")
    record, facts = regress()
    odd = dataclasses.replace(facts, truths=(0.0, nan, 2.0, 1.0), predictions=(0.1, 1.2, inf, 1.4))
    found = specs(parse(render(record, odd)))
    points = found["scatter"]["layer"][1]
    assert points["data"]["values"] == [{"truth": 0.0, "found": 0.1}, {"truth": 1.0, "found": 1.4}]
    assert sum(row["n"] for row in found["residuals"]["data"]["values"]) == 2
    none = dataclasses.replace(facts, truths=(nan,), predictions=(nan,))
    tree = parse(render(record, none))
    assert not {"scatter", "residuals"} & set(specs(tree))
    assert "Half of its predictions" not in tree.text()


def test_a_value_that_is_missing_in_a_figure_is_null():
    record, facts = classify()
    lost = dataclasses.replace(record.depths[0], accuracy=float("nan"))
    page = render(dataclasses.replace(record, depths=(lost, record.depths[1])), facts)
    values = [row["value"] for row in specs(parse(page))["depths"]["layer"][2]["data"]["values"]]
    assert values == [None, 0.6]


def test_findings_and_notes_are_each_said_once():
    long = "a finding of " + "many " * 60 + "words"
    record, facts = classify()
    findings = (FindingRecord("odd", "warn", long, "folder/a.csv", 3, "text"),)
    text = parse(render(dataclasses.replace(record, findings=findings), facts)).text()
    assert text.count(long) == 1
    assert text.count(record.notes[0]) == 1
    assert "a.csv row 3, column text" in text


def test_confused_pairs_are_shown_once_and_all():
    record, facts = long_training()
    tree = parse(render(record, facts))
    rows = re.findall(r"class (\d+)\s+class (\d+)\s+2\s+20", tree.text())
    assert len(rows) == len(set(rows)) == 30


@pytest.mark.parametrize("model", ["minilm", ""])
def test_how_to_do_it_again_is_a_rerun(model):
    record, facts = classify()
    text = parse(render(dataclasses.replace(record, model=model), facts, name="tickets")).text()
    assert "recipe.yaml --out" not in text
    assert ("graft rerun RUN" in text) == bool(model)
    assert ("backbone=YOURS" in text) != bool(model)
    assert "RUN is the folder of the run, tickets." in text


def test_a_script_is_left_as_it_is_but_for_its_source_map():
    script = 'a = "\u2028\x0c\x85";\n//# sourceMappingURL=a.map\nb();'
    assert _without_source_map(script) == 'a = "\u2028\x0c\x85";\nb();'


def test_neighbours_stand_before_and_after_with_what_belongs():
    tree = parse(render(*embed()))
    text = tree.text()
    for part in (
        "Nearest before",
        "Nearest after",
        "0.91",
        "gained",
        "lost",
        "a text that is near",
    ):
        assert part in text
    items = [e for e in tree.named("li") if e.attributes.get("class") in ("hit", "miss", "open")]
    marks = [e.attributes["class"] for e in items]
    assert marks == ["miss", "hit", "hit", "miss", "open"]
    assert "at a cosine of 0.600, 85" in text.lower()
    assert "Mistakes" not in text and "Calibration" not in text
    assert "graft embed RUN" in text and "graft predict" not in text


def test_classes_of_an_embedding_come_hardest_first():
    record, facts = embed()
    cells = figures_embedding.class_rows(facts.embedding)
    assert [row[0] for row in cells] == [HOSTILE[1], HOSTILE[0], HOSTILE[2]]
    assert cells[0] == (
        *(HOSTILE[1], "4", "50\u00a0%", "25\u00a0%", "0.70", "0.80", "0.60", "0.30", HOSTILE[0]),
    )
    assert f"the class “{HOSTILE[1]}”: 3 of its 4 items" in parse(render(record, facts)).text()


def test_the_curve_of_verification_says_what_thresholds_accept():
    tree = parse(render(*embed()))
    found = specs(tree)["roc"]
    chance, lines, dots = (layer["data"]["values"] for layer in found["layer"])
    assert {row["when"] for row in lines} == {"before", "after"}
    assert all(row["far"] == row["tar"] for row in chance)
    assert found["layer"][1]["encoding"]["x"]["scale"] == {
        "type": "log", "domain": [0.01, 1], "nice": False,
    }  # fmt: skip
    # a threshold above every score is none, and the dot is at the one that the histogram draws
    assert [row["threshold"] for row in lines][:3] == [None, 0.7, 0.05]
    assert [(row["when"], row["threshold"]) for row in dots] == [("before", 0.7), ("after", 0.7)]
    text = tree.text()
    assert "80 pairs that belong together and 100 that do not" in text
    assert "intervals draw single items again" in text
    assert "for TAR at FAR 1 % and TAR at FAR 0.1 % the pairs" in text
    none = dataclasses.replace(embed()[0].pairs, n_alike=0)
    assert what_pairs(none).endswith("; it takes both kinds to judge a threshold")
    record, facts = scored()
    assert "roc" not in specs(parse(render(record, facts)))
    bare = dataclasses.replace(embed()[1].embedding.after, curve=())
    lying = dataclasses.replace(embed()[1].embedding, before=bare, after=bare)  # of an older run
    assert figures_roc.curve(lying) is None


def test_two_towers_are_told_of_as_such():
    tree = parse(render(*matched()))
    text = tree.text()
    assert "nearest for 70.0 % of the pictures of 30 test rows (60.0 to 80.0)." in text
    assert "the picture is among the ten nearest for 70.0 % of the captions" in text
    assert "draws the same pictures, with their captions, for both" in text
    assert "Each point is a held-out picture or caption." in text
    assert "Pictures with their nearest captions, then captions with their nearest pictures" in text
    kinds = [e.attributes.get("class", "") for e in tree.named("div")]
    hoods = [kind for kind in kinds if kind.startswith("hood")]
    assert hoods == ["hood words-only"] * 2 + ["hood pictures"] * 2
    assert "graft search RUN" in text and "--zero-shot" in text
    # nothing that is said of classifiers
    for odd in (
        "Rows of each class",
        "wrong",
        "a image",
        "classes lie apart",
        "graft predict RUN new",
    ):
        assert odd not in text, odd
    assert "counts" not in specs(tree)


def test_wordings_of_the_names_are_listed():
    record, facts = classify()
    wordings = (Wording(f"a {HOSTILE[0]} {{}}.", 0.5), Wording("all together", 0.75))
    tree = parse(render(dataclasses.replace(record, wordings=wordings), facts))
    text = tree.text()
    assert "By the names alone" in text and "all together 0.750" in text
    assert f"a {HOSTILE[0]} {{}}. 0.500" in text
    assert "By the names alone" not in parse(render(record, facts)).text()


def test_scored_pairs_are_drawn_over_their_scores():
    tree = parse(render(*scored()))
    found = specs(tree)
    assert "cosines-before" not in found
    points = found["scores-after"]["data"]["values"]
    assert points == [{"score": 0.0, "cosine": 0.1}, {"score": 2.5, "cosine": 0.5}]
    text = tree.text()
    assert "score 4.5" in text and "A second map needs graft[report]." in text
    assert "follow the scores of 30 test rows" in text
    solid, dashed = (
        layer["data"]["values"]
        for layer in found["map-after"]["layer"]
        if layer["mark"].get("type") == "rule"
    )
    assert len(solid) == len(dashed) == 1


def test_the_curve_of_the_metric_begins_with_the_untouched_backbone():
    record, facts = embed()
    points = specs(parse(render(record, facts)))["scores"]["data"]["values"]
    assert [(p["epoch"], p["value"]) for p in points] == [(0, 0.55), (1, 0.6), (2, 0.65)]
    bare = tuple(dataclasses.replace(e, scores={}) for e in record.phases[0].epochs)
    older = dataclasses.replace(
        record, phases=(dataclasses.replace(record.phases[0], epochs=bare),)
    )
    assert "scores" not in specs(parse(render(older, facts)))


@pytest.mark.parametrize("make", [embed, scored, matched])
def test_without_examples_no_neighbour_is_shown(make):
    page = render(*make(), examples=False)
    assert "a text " not in page and "data:image/jpeg" not in page
    assert "without the texts and pictures of single rows" in page
