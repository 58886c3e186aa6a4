"""What was trained, kept alone: saved, opened, switched, merged, and never taken for another's."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import graft
from graft.adapters import Adapters, changed_tensors, read_adapter
from graft.backbones import open_backbone
from graft.errors import InputError, ModelError, UnknownName
from graft.heads import Linear
from graft.methods.body import last
from graft.methods.heads import probe
from graft.model import Model
from graft.surgery.opening import open_whole
from tests.tiny import write_checkpoint, write_table

METHODS = ("lora", "bottleneck", "bias", "norms", "probe")
TEXTS = ["the cat is here", "my red one", "two very old blue dog"]
OPTIONS = {"epochs": 2, "rank": 2, "size": 4, "lr": 1e-2}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    # wide beside its adapters, as real networks are
    write_checkpoint(folder / "bert", n_layers=3)
    write_table(folder / "things.csv", n_per_class=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def runs(place):
    made = {}
    for method in METHODS:
        options = {"lora": ("epochs", "rank", "lr"), "bottleneck": ("epochs", "size", "lr")}
        names = options.get(method, ("epochs", "lr") if method != "probe" else ())
        made[method] = graft.train(
            place / "things.csv",
            model=str(place / "bert"),
            method=method,
            out=place / method,
            precision="fp32",
            **{name: OPTIONS[name] for name in names},
        )
    return made


def probabilities(predictions):
    return np.asarray([list(p.probabilities.values()) for p in predictions])


def close(found, expected):
    np.testing.assert_allclose(probabilities(found), probabilities(expected), atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_an_adapter_on_its_backbone_is_the_run(method, runs, place):
    run = runs[method]
    expected = run.predict(TEXTS)
    close(graft.predict(run.folder / "adapter", TEXTS), expected)
    adapted = Adapters(str(place / "bert"))
    adapted.load("it", run.folder / "adapter")
    close(adapted.predict("it", TEXTS), expected)
    assert adapted.predict("it", [TEXTS[0], ""])[1] is None
    with pytest.raises(InputError, match=r"values\[0\] is of type int"):
        adapted.predict("it", [3])
    held = sum(t.numel() for t in read_adapter(run.folder / "adapter").tensors.values())
    trained = run.record.n_trained - (64 * 3 + 3)
    assert held == trained, "an adapter holds what was trained, the head aside"
    assert run.record.adapter_bytes > 0


def test_statistics_of_a_norm_without_parameters_are_kept():
    def block():
        norm = nn.BatchNorm2d(8, affine=False)
        return nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), norm, nn.ReLU())

    stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.Conv2d(8, 8, 3, bias=False))
    net = nn.Sequential(stem, block(), block(), block(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    backbone = graft.backbone(net, blocks=["1", "2", "3"], width=8, image_size=32)
    kept = changed_tensors(Model(backbone, Linear(8, 2)), last(3, n=1))
    assert {"3.0.weight", "3.1.running_mean", "3.1.running_var"} <= kept.keys()
    below = ("0.", "1.", "2.")
    assert not [name for name in kept if name.startswith(below)], "nothing there can have moved"
    assert not changed_tensors(Model(backbone, Linear(8, 2)), probe())


def test_adapters_are_switched_and_leave_no_trace(runs, place):
    adapted = Adapters(str(place / "bert"))
    before = {k: t.clone() for k, t in adapted.backbone.net.state_dict().items()}
    for method in METHODS:
        adapted.load(method, runs[method].folder / "adapter")
    assert adapted.names == METHODS
    expected = {method: runs[method].predict(TEXTS) for method in METHODS}
    for method in (*METHODS, *reversed(METHODS), "lora", "norms", "lora"):
        close(adapted.predict(method, TEXTS), expected[method])
    adapted.use("probe")  # which changes nothing of the network
    after = adapted.backbone.net.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[k], t) for k, t in before.items())
    with pytest.raises(UnknownName, match="lora"):
        adapted.use("lorra")


def test_a_full_run_has_none(place, tmp_path):
    run = graft.train(
        place / "things.csv", model=str(place / "bert"), method="full", epochs=1, out=tmp_path / "r"
    )
    assert not (run.folder / "adapter").exists()
    assert run.record.adapter_bytes == 0


def test_another_adapter_on_a_run_that_has_some_leaves_those_alone(runs, place, tmp_path):
    run = graft.train(
        place / "things.csv", model=str(runs["bottleneck"].folder), method="lora", epochs=1, rank=2,
        out=tmp_path / "both", precision="fp32",
    )  # fmt: skip
    assert not (run.folder / "adapter").exists()  # no name opens the network that it would need
    assert run.predict(TEXTS)[0].label


@pytest.mark.parametrize("method", METHODS)
def test_another_backbone_is_refused(method, runs, tmp_path):
    other = write_checkpoint(tmp_path / "bert", n_layers=3)
    tensors = load_file(other / "model.safetensors")
    tensors["encoder.layer.0.output.dense.weight"][0, 0] += 1e-3
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="other weights"):
        Adapters(str(other)).load("it", runs[method].folder / "adapter")


@pytest.mark.parametrize("method", ["lora", "bias"])
def test_merged_it_opens_without_graft(method, runs, tmp_path):
    run = runs[method]
    found = graft.export(run.folder, tmp_path / "out", merge=True)
    assert found.opens_with == run.record.opens_with
    close(graft.predict(tmp_path / "out", TEXTS), run.predict(TEXTS))
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    answers = torch.softmax(torch.from_numpy(encoder.encode(TEXTS)), -1).numpy()
    np.testing.assert_allclose(answers, probabilities(run.predict(TEXTS)), atol=1e-5)


def test_what_is_not_linear_is_not_merged(runs, tmp_path):
    run = runs["bottleneck"]
    with pytest.raises(ModelError, match="not linear"):
        graft.export(run.folder, tmp_path / "out", merge=True)
    assert not (tmp_path / "out").exists()
    graft.export(run.folder, tmp_path / "out")
    close(graft.predict(tmp_path / "out", TEXTS), run.predict(TEXTS))
    with pytest.raises(InputError, match="already"):
        graft.export(run.folder, tmp_path / "out")


def test_beside_its_network_no_library_opens_it_by_mistake(runs):
    from transformers import AutoModel

    folder = runs["bottleneck"].folder / "model"
    assert json.loads((folder / "graft.json").read_text("utf-8"))["opens_with"] == "graft"
    with pytest.raises((OSError, ValueError)):
        AutoModel.from_pretrained(folder)


def test_a_run_with_adapters_is_a_backbone_like_others(runs, place, tmp_path):
    first = runs["bottleneck"]
    backbone = open_whole(first.folder)
    assert backbone.origin.classes == first.record.classes
    run = graft.train(
        place / "things.csv", model=first.folder, method="full", epochs=1, out=tmp_path / "second"
    )
    assert run.record.opens_with == "graft"
    alone, whole = first.folder / "adapter", first.folder
    features = [graft.embed(folder, TEXTS).features for folder in (alone, whole)]
    np.testing.assert_allclose(*features, atol=1e-5)


# a name of transformers that peft still asks for
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_peft_opens_low_rank_products(runs, place):
    from peft import PeftModel
    from transformers import AutoModel, AutoTokenizer

    run = runs["lora"]
    base = AutoModel.from_pretrained(place / "bert")
    peft = PeftModel.from_pretrained(base, str(run.folder / "adapter")).eval()
    tokens = AutoTokenizer.from_pretrained(place / "bert")(TEXTS, padding=True, return_tensors="pt")
    adapted = Adapters(str(place / "bert"))
    adapted.load("it", run.folder / "adapter")
    model, _ = adapted.use("it")
    with torch.no_grad():
        theirs = peft(**tokens).last_hidden_state[:, 0]
        ours = model.backbone.net(**tokens).last_hidden_state[:, 0]
        plain = open_backbone(str(place / "bert")).net.eval()(**tokens).last_hidden_state[:, 0]
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(ours, plain, atol=1e-3)


DAMAGES = {
    "adapter_model.safetensors": b"x",
    "head.safetensors": b"",
    "adapter.json": b"{}",
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_adapter_is_named(name, runs, tmp_path):
    folder = shutil.copytree(runs["lora"].folder / "adapter", tmp_path / "adapter")
    (folder / name).write_bytes(DAMAGES[name])
    with pytest.raises(ModelError, match=name.partition(".")[0]):
        graft.predict(folder, TEXTS)
    (folder / name).unlink()
    with pytest.raises(ModelError):
        graft.predict(folder, TEXTS)


@pytest.mark.parametrize(
    "change",
    [
        {"surgery": "os:system"},
        {"settings": {"rank": 10**9}},
        {"settings": {"rank": "2"}},
        {"settings": {"rank": 2, "shell": "x"}},
        {"sites": [{"host": "nowhere", "width": 64, "source": ""}]},
        {"sites": "all"},
    ],
)
def test_a_description_is_not_trusted(change, runs, tmp_path):
    from graft.weights.manifest import write_manifest

    folder = shutil.copytree(runs["lora"].folder / "adapter", tmp_path / "adapter")
    path = folder / "adapter.json"
    about = json.loads(path.read_text("utf-8"))
    about["inserted"][0] |= change
    path.write_text(json.dumps(about), "utf-8")
    write_manifest(folder)
    with pytest.raises(ModelError) as seen:
        graft.predict(folder, TEXTS)
    assert len(str(seen.value).splitlines()) == 1


def test_another_processor_is_refused(runs, place):
    backbone = open_backbone(str(place / "bert"))
    backbone.processor = dataclasses.replace(backbone.processor, max_length=3)
    with pytest.raises(ModelError, match="another processor"):
        Adapters(backbone).load("it", runs["lora"].folder / "adapter")


def test_an_adapter_of_an_embedding_model_gives_its_vectors(runs, place, tmp_path):
    run = graft.train(
        place / "things.csv", model=str(place / "bert"), task="embed", method="lora:1", epochs=1,
        out=tmp_path / "r", precision="fp32",
    )  # fmt: skip
    expected = graft.embed(run.folder, TEXTS).features
    adapted = Adapters(str(place / "bert"))
    adapted.load("space", run.folder / "adapter")
    adapted.load("names", runs["lora"].folder / "adapter")
    np.testing.assert_allclose(adapted.embed("space", TEXTS), expected, atol=1e-5)
    with pytest.raises(InputError, match="embed"):
        adapted.predict("space", TEXTS)
    with pytest.raises(InputError, match="predict"):
        adapted.embed("names", TEXTS)
    graft.export(run.folder, tmp_path / "whole", merge=True)
    np.testing.assert_allclose(graft.embed(tmp_path / "whole", TEXTS).features, expected, atol=1e-5)


def test_what_holds_no_adapter_is_named(runs, place, tmp_path):
    full = graft.train(
        place / "things.csv", model=str(place / "bert"), method="full", epochs=1, out=tmp_path / "f"
    )
    with pytest.raises(ModelError, match="model/, which is whole"):
        graft.export(full.folder, tmp_path / "out")
    with pytest.raises(ModelError, match="no such folder"):
        graft.export(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(ModelError, match="export"):
        open_backbone(str(runs["lora"].folder / "adapter"))
