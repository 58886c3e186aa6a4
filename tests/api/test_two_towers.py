"""Pictures with captions, end to end on tiny towers."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

import graft
from graft.api.interpolating import interpolate
from graft.artifact import load_towers
from graft.backbones.pair import SIDES, open_pair
from graft.errors import GraftError, InputError
from graft.report.facts import Facts
from graft.serial import from_json
from tests.towers import COLOURS, train_towers, write_clip

OPTIONS = {"threads": 1, "precision": "fp32", "workers": 0, "batch_size": 8}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("towers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_CACHE", str(folder / "cache"))
        train_towers(folder, **OPTIONS)
        yield folder


def test_pictures_find_their_captions(place):
    run = graft.load(place / "run")
    record = run.record
    assert record.task == "match"
    assert record.headline in record.after["test"]
    for name in ("image_to_text_mrr", "text_to_image_mrr"):
        before, after = (part["test"][name] for part in (record.before, record.after))
        assert after > before
    assert {n.rpartition("_at_")[0] for n in run.metrics if "_at_" in n} == {
        "image_to_text_recall", "text_to_image_recall",
    }  # fmt: skip
    assert (place / "run" / "report.html").is_file()


def test_a_threshold_is_judged_before_and_after(place):
    record = graft.load(place / "run").record
    n_test = record.n_test
    assert record.pairs.n_alike <= n_test and record.pairs.resampled in ("groups", "items")
    span = record.intervals["change"]["auroc"]
    assert span.value > 0 and span.low < span.high
    assert record.after["test"]["equal_error_rate"] < record.before["test"]["equal_error_rate"]


def test_between_the_towers_before_and_after(place, tmp_path):
    run = shutil.copytree(place / "run", tmp_path / "run")
    record = graft.load(run).record
    (end,) = interpolate(run, alphas=(1,)).points
    expected = {name: record.after[name][record.headline] for name in end.scores}
    assert end.scores == pytest.approx(expected, abs=1e-6)
    # the projections are new, so those that were trained stand on the untouched towers
    interpolate(run, alphas=(0,), out=tmp_path / "between")
    start, trained = (load_towers(folder)[0] for folder in (tmp_path / "between", run / "model"))
    untouched = open_pair(place / "vit", place / "bert")
    for side in SIDES:
        for part, of in ((f"{side}_head", trained), (side, untouched)):
            expected = getattr(of, part).state_dict()
            found = getattr(start, part).state_dict()
            assert found and all(torch.equal(t, expected[k]) for k, t in found.items())


def test_recall_is_measured_after_each_epoch(place):
    record = graft.load(place / "run").record
    found = [epoch.scores for phase in record.phases for epoch in phase.epochs]
    assert len(found) == 12
    names = {"image_to_text_recall_at_10", "text_to_image_recall_at_10"}
    assert all(set(scores) == names for scores in found)
    # the last epoch's weights are those that were judged
    after = record.after["validation"]
    assert found[-1] == pytest.approx({name: after[name] for name in names}, abs=0.2)


def test_the_page_shows_pictures_and_captions_that_lie_near(place):
    facts = from_json(Facts, (place / "run" / "report.json").read_text())
    lying = facts.embedding
    assert (
        lying.kind == "match"
        and sum(lying.after.alike) == graft.load(place / "run").record.pairs.n_alike
    )
    captions = {}
    for line in (place / "data" / "captions.jsonl").read_text().splitlines():
        row = json.loads(line)
        for caption in row["captions"]:
            captions.setdefault(caption, set()).add(row["image"].rpartition("/")[2])
    ways = set()
    for query in lying.queries:
        item = lying.items[query.item]
        ways.add(bool(item.picture))
        for near in (*query.before, *query.after):
            other = lying.items[near.item]
            assert bool(other.picture) != bool(item.picture)
            text, picture = (item, other) if other.picture else (other, item)
            assert near.belongs == (picture.place.partition(",")[0] in captions[text.text])
    assert ways == {True, False}
    assert set(facts.map.groups) == {"pictures", "captions"} and facts.map.links
    for link in facts.map.links:
        assert facts.map.groups[link.one] == "pictures" != facts.map.groups[link.other]


def test_all_captions_of_a_picture_are_on_one_side(place):
    assert "all captions of a picture together" in graft.load(place / "run").record.how_split


def test_a_run_opens_as_it_was(place):
    towers, _ = load_towers(place / "run" / "model")
    again = open_pair(place / "run")
    assert towers.image.chains[0].name == "image"
    assert again.heads is not None
    np.testing.assert_allclose(float(towers.log_scale), again.log_scale)
    assert abs(float(towers.log_scale) - np.log(1 / 0.07)) > 1e-4, "the temperature was learned"


def test_each_tower_opens_in_its_own_library(place):
    transformers = pytest.importorskip("sentence_transformers")
    texts = ["the red and my", "is blue here"]
    ours = graft.embed_text(place / "run", texts)
    model = transformers.SentenceTransformer(str(place / "run" / "model" / "text"), device="cpu")
    np.testing.assert_allclose(model.encode(texts), ours, atol=1e-5)
    from transformers import AutoModel

    net = AutoModel.from_pretrained(place / "run" / "model" / "image")
    assert type(net).__name__ == "ViTModel"


def test_vectors_of_pictures_and_texts_lie_in_one_space(place):
    pictures = [str(place / "data" / "images" / f"{colour}0.png") for colour in COLOURS]
    images = graft.embed_image(place / "run", pictures)
    texts = graft.embed_text(place / "run", [f"the {colour} is here" for colour in COLOURS])
    assert images.shape == texts.shape == (5, 256)
    found = (images @ texts.T).argmax(1)
    assert (found == np.arange(5)).mean() >= 0.8


def test_embed_takes_either_side(place):
    folder, table = str(place / "data" / "images"), str(place / "data" / "captions.jsonl")
    paths = [f"{folder}/red0.png", f"{folder}/blue1.png"]
    run = str(place / "run")
    np.testing.assert_array_equal(graft.embed(run, paths).features, graft.embed_image(run, paths))
    assert graft.embed(run, ["the red"]).features.shape == (1, 256)
    captions = graft.embed(run, table, input="captions").features
    assert captions.shape == (80, 256)
    lines = (place / "data" / "captions.jsonl").read_text().splitlines()
    told = [text for line in lines for text in json.loads(line)["captions"]]
    np.testing.assert_allclose(captions, graft.embed_text(place / "run", told), atol=1e-5)
    pictures = graft.embed(run, table, input="image").features
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert np.isfinite(pictures).all()
    with pytest.raises(InputError, match="--input image or --input captions"):
        graft.embed(run, table)


def test_evaluate_scores_a_table(place):
    found = graft.evaluate(place / "run", place / "data" / "captions.jsonl")
    assert found.n_rows == 80
    assert found.metrics["image_to_text_recall_at_10"] > 0.5


def test_names_alone_tell_pictures_apart(place):
    names = list(COLOURS)
    folder = place / "data" / "images"
    pictures = [str(folder / f"{name}{i}.png") for name in names for i in range(3)]
    found = graft.zero_shot(
        place / "run", pictures, names, templates=["the {} is here", "a {} look"]
    )
    right = [p.label == n for p, n in zip(found.rows, np.repeat(names, 3), strict=True)]
    assert np.mean(right) >= 0.8
    assert abs(sum(found.rows[0].probabilities.values()) - 1) < 1e-6
    assert list((place / "cache" / "prompts").iterdir()), "text vectors are kept"


def test_predict_asks_for_names(place):
    with pytest.raises(GraftError, match="name some with --zero-shot"):
        graft.predict(place / "run", ["a.png"])
    with pytest.raises(InputError, match="once"):
        graft.zero_shot(place / "run", ["a.png"], ["red", "blue"], templates=["a photo"])
    with pytest.raises(InputError, match="two classes"):
        graft.zero_shot(place / "run", ["a.png"], ["red"])


@pytest.mark.parametrize("side", ["image", "text"])
def test_a_locked_tower_keeps_its_weights(place, side):
    before = open_pair(place / "vit", place / "bert")
    out = place / f"locked-{side}"
    run = graft.train(
        place / "data" / "captions.jsonl", model=place / "vit", text_model=str(place / "bert"),
        method="full", lock=side, epochs=1, out=out, **OPTIONS,
    )  # fmt: skip
    after, _ = load_towers(out / "model")
    for name in ("image", "text"):
        old, new = getattr(before, name).net.state_dict(), getattr(after, name).net.state_dict()
        same = [torch.equal(old[k], new[k]) for k in old]
        assert all(same) == (name == side)
    assert run.record.phases[0].groups[0].rule == f"{side} tower"


def test_options_that_have_no_meaning_are_refused(place):
    data = place / "data" / "captions.jsonl"
    for options in ({"objective": "triplet"}, {"mine": 0.05}, {"mine": 0}, {"margin": 0}):
        flag = f"--{next(iter(options))} has no meaning for pictures with captions"
        with pytest.raises(GraftError, match=flag):
            graft.train(data, model=place / "vit", **options)
    with pytest.raises(GraftError, match="--batch-size 1 leaves none; raise it"):
        graft.train(data, model=place / "vit", batch_size=1)
    with pytest.raises(GraftError, match="backbone of pictures"):
        graft.train(data)
    with pytest.raises(GraftError, match="meant for the image tower"):
        graft.train(data, model=place / "bert", text_model=str(place / "bert"))


def test_plan_says_what_would_be_stored(place):
    found = graft.plan(
        place / "data" / "captions.jsonl", model=place / "vit", text_model=str(place / "bert"),
        method="last:1", **OPTIONS,
    )  # fmt: skip
    assert found.phases[0].cached
    assert found.n_blocks == 2


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_a_model_of_clips_family_is_trained_and_saved_as_its_own(place, tmp_path, family):
    from transformers import AutoModel

    folder = write_clip(tmp_path / family, family)
    before = AutoModel.from_pretrained(folder)
    run = graft.train(
        place / "data" / "captions.jsonl", model=folder, method="full", epochs=1, lr=1e-3,
        out=tmp_path / "run", **OPTIONS,
    )  # fmt: skip
    assert family in run.record.opens_with.casefold()
    after = AutoModel.from_pretrained(tmp_path / "run" / "model").eval()
    moved = [k for k, t in after.state_dict().items() if not torch.equal(t, before.state_dict()[k])]
    assert any("vision_model" in k for k in moved) and any("text_model" in k for k in moved)
    towers, task = load_towers(tmp_path / "run" / "model")
    pixels = torch.randn(3, 3, 32, 32)
    ids = towers.text.processor.collate(
        towers.text.processor.encode(["the red is here", "blue", "a very old green"])
    )
    with torch.no_grad():
        theirs = after(pixel_values=pixels, **ids).logits_per_image
        images, texts = (
            torch.nn.functional.normalize(towers(x), dim=1) for x in ({"pixel_values": pixels}, ids)
        )
        ours = images @ texts.T * towers.log_scale.exp()
    if family == "siglip":
        ours = ours + after.logit_bias
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert task.name == "match"
    # their own projections are a start like any other
    found = interpolate(tmp_path / "run", alphas=(0, 1))
    for point, scores in zip(found.points, (run.record.before, run.record.after), strict=True):
        expected = {name: scores[name][run.record.headline] for name in point.scores}
        assert point.scores == pytest.approx(expected, abs=1e-6)


def test_graft_json_names_both(place):
    about = json.loads((place / "run" / "model" / "graft.json").read_text())
    assert (about["modality"], about["source"]) == ("image-text", "pair")


def test_the_command_line_takes_names(place, capsys):
    from graft.cli import main

    pictures = place / "data" / "images"
    asked = ["predict", str(place / "run"), str(pictures / "red0.png"), "--json", "--quiet"]
    templates = ["--template", "the {} is", "--template", "a {}"]
    with pytest.raises(SystemExit) as ended:
        main([*asked, "--zero-shot", "red, blue", *templates])
    assert not ended.value.code
    [row] = capsys.readouterr().out.splitlines()
    assert json.loads(row)["label"] in ("red", "blue")


@pytest.mark.slow
@pytest.mark.timeout(1_500)
def test_photographs_find_their_captions(shared, tmp_path, monkeypatch):
    """Real towers on real photographs, joined by projections; a benchmark unlocks them, too."""
    from benchmarks.embeddings.two_towers import METRICS, chances, laid_out, stages

    if not (shared / "data" / "flickr8k_train").is_dir():
        pytest.skip("needs flickr8k_train of the shared data")
    monkeypatch.setenv("GRAFT_SHARED", str(shared))
    first, _ = stages(laid_out(tmp_path), tmp_path, 0, epochs=1)
    found = first().record
    for name, by_chance in zip(METRICS, chances(), strict=True):
        assert found.before["test"][name] < 2.5 * by_chance
        assert found.after["test"][name] >= 5 * by_chance
