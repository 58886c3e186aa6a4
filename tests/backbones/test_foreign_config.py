"""Law: a description that would run code, fetch or reach outside stops; all others pass."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from graft.backbones import open_backbone
from graft.backbones.config_bounds import refuse_more_than
from graft.backbones.foreign_config import LARGEST_BYTES, check_folder
from graft.errors import ModelError
from tests.tiny import write_checkpoint

BERT = {
    "_name_or_path": "/home/somebody/checkpoints/bert-base",
    "architectures": ["BertModel"],
    "_attn_implementation_autoset": True,
    "_attn_implementation": "sdpa",
    "attention_probs_dropout_prob": 0.1,
    "id2label": {"0": "no", "1": "yes"},
    "license": "https://www.apache.org/licenses/LICENSE-2.0",
    "quantization_config": None,
    "auto_map": {},
    "trust_remote_code": False,
    "custom_load": False,
    "task_specific_params": {"summarization": {"prefix": "summarize: ", "num_beams": 4}},
    "a key of the future": [{"more": [1, 2, {"deep": None}]}],
    "model_type": "bert",
}
TOKENIZER = {
    "name_or_path": "/root/models/x",
    "special_tokens_map_file": "/root/.cache/huggingface/hub/special_tokens_map.json",
    "tokenizer_file": "/root/.cache/huggingface/tokenizer.json",
    "chat_template": "{% for m in messages %}{{ m.content }} https://x.y {% endfor %}",
    "tokenizer_class": "BertTokenizer",
}


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def refusal(folder):
    with pytest.raises(ModelError) as caught:
        check_folder(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) <= 200
    return message


def test_real_descriptions_pass(tmp_path):
    write(tmp_path, "config.json", BERT)
    write(tmp_path, "tokenizer_config.json", TOKENIZER)
    write(tmp_path, "generation_config.json", {"transformers_version": "4.40.0", "max_length": 20})
    check_folder(tmp_path)


def test_real_folders_pass(shared):
    for folder in sorted((shared / "weights").iterdir()):
        if folder.is_dir():
            check_folder(folder)


CODE = {"AutoModel": "modeling_own.Own"}
DANGEROUS = [
    ("auto_map", CODE),
    ("auto_map", {"AutoTokenizer": ["a.B", None]}),
    ("custom_pipelines", {"x": {"impl": "pipe.Pipe"}}),
    ("custom_generate", "somebody/generate"),
    ("trust_remote_code", True),
    ("custom_load", "hf"),
    ("_attn_implementation", "somebody/kernel"),
    ("_attn_implementation_internal", "somebody/kernel@main:attention"),
    ("attn_implementation", {"text_config": "somebody/kernel"}),
    ("_experts_implementation_internal", "somebody/kernel"),
    ("quantization_config", {"quant_method": "awq"}),
    ("file", "/etc/passwd"),
    ("file", "../other/model.safetensors"),
    ("file", "https://example.org/model.bin"),
    ("transformers_weights", "..\\x.safetensors"),
    ("weights", "C:\\x.safetensors"),
    ("base_model_name_or_path", "https://example.org/x"),
    ("backbone", "/models/x"),
]


@pytest.mark.parametrize(("key", "value"), DANGEROUS)
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "1_Pooling/config.json"])
def test_dangerous_keys_are_refused_at_any_depth(key, value, name, tmp_path):
    for content in ({key: value}, {"a": [{"b": {key: value}}]}):
        write(tmp_path, name, content)
        message = refusal(tmp_path)
        assert f"{name}: key `{key}`" in message


@pytest.mark.parametrize(
    "name",
    [
        *("preprocessor_config.json", "processor_config.json", "generation_config.json"),
        "video_preprocessor_config.json",
    ],
)
def test_every_description_is_looked_at(name, tmp_path):
    write(tmp_path, name, {"auto_map": CODE})
    assert f"{name}: key `auto_map`" in refusal(tmp_path)


def test_an_adapter_is_refused(tmp_path):
    write(tmp_path, "adapter_config.json", {"base_model_name_or_path": "somebody/base"})
    assert "another model first; merge" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"a": 1, "a": 2}', "`a` stands twice"),
        ('{"x": {"model_type": "bert", "model_type": "own"}}', "`model_type` stands twice"),
        ('{"a":' * 100 + "1" + "}" * 100, "deep"),
        ("[" * 200_000, "deep"),
        ('{"a": 1', "no JSON"),
        ("\x00", "no JSON"),
        (" " * (LARGEST_BYTES + 1), "at most"),
    ],
    ids=["twice", "inner", "deep", "very-deep", "cut", "nul", "large"],
)
def test_ambiguous_and_endless_files_are_refused(content, words, tmp_path):
    write(tmp_path, "config.json", content)
    assert words in refusal(tmp_path)


def modules(*kinds, path=""):
    return [{"idx": i, "name": str(i), "path": path, "type": k} for i, k in enumerate(kinds)]


def test_modules_of_the_library_pass(tmp_path):
    own = "sentence_transformers.models."
    write(tmp_path, "modules.json", modules(own + "Transformer", own + "Pooling", own + "Dense"))
    check_folder(tmp_path)
    later = "sentence_transformers.base.modules.transformer.Transformer"
    write(tmp_path, "modules.json", modules(later))
    check_folder(tmp_path)


@pytest.mark.parametrize(
    "kind",
    [
        "modeling_own.Transformer",
        "sentence_transformers.models.Own",
        "sentence_transformers_evil.models.Transformer",
        "os.system",
        "sentence_transformers.models.Transformer\n",
        None,
    ],
)
def test_other_modules_are_refused(kind, tmp_path):
    write(tmp_path, "modules.json", modules(kind))
    assert "never run" in refusal(tmp_path)


@pytest.mark.parametrize("path", ["../other", "/etc", "~/x", "a/../../b", "C:\\x"])
def test_modules_outside_the_folder_are_refused(path, tmp_path):
    write(tmp_path, "modules.json", modules("sentence_transformers.models.Transformer", path=path))
    assert "outside the folder" in refusal(tmp_path)


@pytest.mark.parametrize("content", [{}, ["x"], 3])
def test_modules_that_are_no_list_are_refused(content, tmp_path):
    write(tmp_path, "modules.json", content)
    assert "lists no modules" in refusal(tmp_path)


@pytest.mark.parametrize("shards", [None, [], {"a": "../x.safetensors"}, {"a": "/x.safetensors"}])
def test_shards_outside_the_folder_are_refused(shards, tmp_path):
    write(tmp_path, "model.safetensors.index.json", {"weight_map": shards})
    assert "`weight_map` points outside" in refusal(tmp_path)


# --- sizes that no network has ------------------------------------------------------------------

SIZES = [
    ("num_hidden_layers", 1_000_000),
    ("hidden_size", 10**9),
    ("hidden_size", 1e9),
    ("vocab_size", 10**12),
    ("intermediate_size", 10**9),
    ("max_position_embeddings", 10**12),
    ("num_attention_heads", 10**9),
    ("num_local_experts", 10**6),
    ("depths", [3, 3, 10**7, 3]),
    ("embed_dim", 10**9),
    ("img_size", [10**6, 224]),
    ("num_classes", 10**9),
    ("mlp_ratio", 1e9),
    ("word_embedding_dimension", 10**9),
    ("crop_pct", 1e-9),
    ("crop_pct", 0),
    ("hidden_size", float("nan")),
    ("hidden_size", float("inf")),
    ("hidden_size", 10**300),
]


@pytest.mark.parametrize(("key", "value"), SIZES)
@pytest.mark.parametrize("name", ["config.json", "1_Pooling/config.json"])
def test_sizes_that_no_network_has_are_refused_at_any_depth(key, value, name, tmp_path):
    for content in ({key: value}, {"model_args": {key: value}}):
        write(tmp_path, name, content)
        message = refusal(tmp_path)
        assert f"{name}: key `{key}` is " in message and message.endswith("restore the file")


LARGEST = {
    "num_hidden_layers": 126,
    "hidden_size": 16_384,
    "intermediate_size": 53_248,
    "vocab_size": 1_000_000,
    "max_position_embeddings": 10_485_760,
    "n_routed_experts": 256,
    "num_attention_heads": 128,
    "num_labels": 21_843,
    "depths": [3, 3, 27, 3],
    "mlp_ratio": 4.0,
    "input_size": [3, 1024, 1024],
    "crop_pct": 0.875,
    "layers": [3, 8, 36, 3],
    "max_relative_positions": -1,
    "use_cache": True,
    "hidden_act": "gelu",
    "num_groups": None,
}


def test_the_largest_real_networks_pass(tmp_path):
    write(tmp_path, "config.json", {**LARGEST, "text_config": LARGEST})
    check_folder(tmp_path)


def weights(folder, *sizes):
    save_file({f"layer.{i}": torch.zeros(n) for i, n in enumerate(sizes)}, folder / "a.safetensors")


def test_no_more_layers_than_tensors_lie_beside(tmp_path):
    weights(tmp_path, *[1] * 200)
    write(tmp_path, "config.json", {"num_hidden_layers": 200})
    check_folder(tmp_path)
    write(tmp_path, "config.json", {"num_hidden_layers": 201})
    assert "`num_hidden_layers` is 201; at most 200 is possible" in refusal(tmp_path)


def test_no_more_parameters_than_lie_beside_or_fit(tmp_path):
    weights(tmp_path, 1000, 24)
    refuse_more_than(tmp_path, lambda: nn.Linear(3_000, 3_000), random=False)
    with pytest.raises(
        ModelError, match="asks for 100,010,000 parameters, and its files hold 1,024"
    ):
        refuse_more_than(tmp_path, lambda: nn.Linear(10_000, 10_000), random=False)
    with pytest.raises(ModelError, match="memory has room for"):
        refuse_more_than(tmp_path, lambda: nn.Linear(10**9, 10**9), random=True)
    refuse_more_than(tmp_path, lambda: 1 / 0, random=True)  # said by the real building


@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize(
    "change", [{"hidden_size": 200_000, "num_attention_heads": 4}, {"vocab_size": 9_999_999}]
)
def test_sizes_that_pass_alone_are_counted_together(change, random, tmp_path, monkeypatch):
    write_checkpoint(tmp_path / "tiny", dropout=0.0)
    path = tmp_path / "tiny" / "config.json"
    open_backbone(str(tmp_path / "tiny"), random=random)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    monkeypatch.setattr("graft.backbones.config_bounds.available_bytes", lambda: 100_000_000)
    with pytest.raises(ModelError, match=r"config.json: asks for [\d,]+ parameters") as caught:
        open_backbone(str(tmp_path / "tiny"), random=random)
    assert len(str(caught.value)) <= 200


@pytest.mark.parametrize("random", [False, True])
def test_timm_is_counted_too(random, tmp_path, monkeypatch):
    backbone = open_backbone("timm:test_vit", random=True)
    backbone.origin.save(tmp_path, backbone)
    open_backbone(str(tmp_path), random=random)
    config = json.loads((tmp_path / "config.json").read_text())
    config["model_args"] = {"embed_dim": 65_536}
    write(tmp_path, "config.json", config)
    monkeypatch.setattr("graft.backbones.config_bounds.available_bytes", lambda: 100_000_000)
    with pytest.raises(ModelError, match=r"config.json: asks for [\d,]+ parameters"):
        open_backbone(str(tmp_path), random=random)
