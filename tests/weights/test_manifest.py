"""Law: a model's folder in which one file is not the one that was saved says which, and why."""

from __future__ import annotations

import json
import shutil
import stat

import pytest
import torch
from safetensors.torch import load_file, save_file

from graft.artifact import load_artifact, save_artifact
from graft.backbones import open_backbone
from graft.errors import ModelError
from graft.tasks.classify import Classify
from graft.weights.manifest import check_manifest
from tests.backbones import texts


def save(folder, source="bert", classes=("ant", "bee", "cat")):
    task = Classify(classes)
    torch.manual_seed(0)
    save_artifact(folder, task.build(texts.opened(source))[0], task)
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save(tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")


def refusal(folder):
    """Return what every way to open the folder says."""
    messages = set()
    for open_it in (load_artifact, open_backbone):
        with pytest.raises(ModelError) as caught:
            open_it(folder)
        messages.add(str(caught.value))
    (message,) = messages
    assert "\n" not in message
    assert len(message) <= 200
    return message


def test_every_file_is_described(folder):
    check_manifest(folder)
    described = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert described.keys() == there - {"manifest.json"}
    assert described["head.safetensors"]["tensors"]["out.weight"] == "F32 (3, 32)"
    assert described["1_Pooling/config.json"]["size_bytes"] > 0


def test_files_of_weights_have_the_mode_of_the_others(folder):
    modes = {stat.S_IMODE(p.stat().st_mode) for p in folder.rglob("*.*") if p.is_file()}
    assert len(modes) == 1


@pytest.mark.parametrize("name", ["model.safetensors", "2_Dense/model.safetensors"])
def test_a_flipped_bit_is_found(name, folder):
    path = folder / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert f"{name}: is not the file that was saved: the numbers in it differ" in refusal(folder)


def test_a_truncated_file_is_found(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "model.safetensors: does not open" in refusal(folder)


def test_the_first_tensor_of_another_network_is_named(folder, tmp_path):
    other = save(tmp_path / "other", "distilbert")
    shutil.copyfile(other / "model.safetensors", folder / "model.safetensors")
    message = refusal(folder)
    assert "tensor `embeddings.token_type_embeddings.weight` is absent" in message
    path = folder / "model.safetensors"
    shutil.copyfile(texts.given("bert")[0] / path.name, path)
    tensors = load_file(path)
    name = min(tensors)
    save_file(tensors | {name: tensors[name][:1].clone()}, path)
    assert f"tensor `{name}` is F32 (1,), not F32 (32,)" in refusal(folder)


def test_a_head_for_other_labels_is_named(folder, tmp_path):
    other = save(tmp_path / "other", classes=("ant", "bee", "cow"))
    shutil.copyfile(other / "head.safetensors", folder / "head.safetensors")
    assert "(cat)" in refusal(folder) or "(cow)" in refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "modules.json", "graft.json"])
def test_a_changed_description_is_found(name, folder):
    path = folder / name
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert f"{name}: is not the file that was saved: its SHA-256 differs" in refusal(folder)


def test_a_missing_file_is_found(folder):
    (folder / "tokenizer.json").unlink()
    assert "tokenizer.json: is missing" in refusal(folder)


def test_a_file_that_would_change_how_it_opens_is_found(folder):
    (folder / "notes.md").write_text("mine", encoding="utf-8")
    check_manifest(folder)
    for name in ("added_tokens.json", "vocab.txt"):
        (folder / name).write_text("{}", encoding="utf-8")
        assert f"{name}: was not saved with the model" in refusal(folder)
        (folder / name).unlink()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "manifest.json: is missing"),
        ("{", "manifest.json: cannot be read"),
        ("[]", "manifest.json: cannot be read"),
        ('{"format": 1, "files": {"a": 3}}', "manifest.json: cannot be read"),
        ('{"format": 1, "files": {"../../x": {}}}', "manifest.json: cannot be read"),
        ('{"format": 2, "files": {}}', "format 2 is not 1; update graft"),
    ],
)
def test_a_manifest_that_cannot_be_trusted_is_refused(content, words, folder):
    path = folder / "manifest.json"
    path.unlink() if content is None else path.write_text(content, encoding="utf-8")
    assert words in refusal(folder)


def test_a_folder_of_a_later_graft_is_refused(folder):
    texts.rewrite(folder / "graft.json", format=2)
    assert "format 2 is not 1; update graft" in refusal(folder)


def test_numbers_that_are_not_finite_are_refused(saved, tmp_path):
    task = Classify(("ant", "bee", "cat"))
    model, _ = task.build(texts.opened("bert"))
    model.head.out.bias.data[1] = float("nan")
    save_artifact(tmp_path / "model", model, task)
    with pytest.raises(ModelError, match=r"head\.safetensors: tensor `out\.bias` holds NaN"):
        load_artifact(tmp_path / "model")
