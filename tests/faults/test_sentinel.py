"""Law: whatever loader is given a file that would run code, it stops, and no code has run."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil

import pytest
import torch
from torch import nn

import graft
from graft.artifact import load_artifact, save_artifact
from graft.backbones import open_backbone
from graft.data.readers import read
from graft.engine.checkpoint import Checkpoint, Position, load_checkpoint, save_checkpoint
from graft.errors import InputError, ModelError
from graft.tasks.classify import Classify
from graft.weights.torch_files import read_torch
from tests.backbones import images, texts
from tests.weights.evil import WRITERS, Evil

FORMATS = pytest.mark.parametrize("form", ["pickle", "zip"])
ALL_FORMATS = pytest.mark.parametrize("form", sorted(WRITERS))
SOURCES = ("bert", "bert-classifier", "timm:resnet", "torchvision:squeezenet1_1")


@pytest.fixture
def sentinel(tmp_path):
    path = tmp_path / "it-ran"
    yield path
    assert not path.exists()


def test_the_payload_works(tmp_path):
    """Without this, the laws below could hold for a payload that does nothing."""
    path = tmp_path / "it-ran"
    pickle.loads(pickle.dumps(Evil(path)))
    assert path.exists()
    path.unlink()
    WRITERS["zip"](tmp_path / "evil.pt", path)
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert path.exists()


def checkpoint_of(source, folder):
    module = images if ":" in source else texts
    shutil.copytree(module.given(source)[0], folder)
    return folder


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_model_folders(source, name, tmp_path, sentinel):
    folder = checkpoint_of(source, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    WRITERS["zip"](folder / name, sentinel)
    with pytest.raises(ModelError) as caught:
        open_backbone(folder)
    if name == "pytorch_model.bin":
        assert "run `graft convert`" in str(caught.value)


@FORMATS
@pytest.mark.parametrize("ending", [".pt", ".pth", ".bin", ".ckpt", ".h5", ".pkl", ".joblib"])
def test_a_file_instead_of_a_folder(form, ending, tmp_path, sentinel):
    path = tmp_path / f"net{ending}"
    WRITERS[form](path, sentinel)
    with pytest.raises(ModelError) as caught:
        open_backbone(path)
    wanted = "never read" if ending in (".pkl", ".joblib") else f"run `graft convert net{ending}`"
    assert wanted in str(caught.value)


@ALL_FORMATS
@pytest.mark.parametrize("ending", [".pkl", ".npy", ".npz", ".pt", ".csv", ".parquet", ".jsonl"])
def test_data(form, ending, tmp_path, sentinel):
    path = tmp_path / f"data{ending}"
    WRITERS[form](path, sentinel)
    with pytest.raises(InputError):
        read(path)


@FORMATS
@pytest.mark.parametrize("name", ["model.safetensors", "head.safetensors", "graft.json"])
@pytest.mark.parametrize("is_listed", [True, False])
def test_artifacts(form, name, is_listed, tmp_path, sentinel):
    folder = tmp_path / "model"
    task = Classify(("a", "b", "c"))
    save_artifact(folder, task.build(texts.opened("bert"))[0], task)
    WRITERS[form](folder / name, sentinel)
    if is_listed:
        list_again(folder, name)
    for open_it in (load_artifact, open_backbone, graft.predict):
        with pytest.raises(ModelError):
            open_it(folder, ["w1"]) if open_it is graft.predict else open_it(folder)


def list_again(folder, name):
    """Let the manifest say that a file is what it should be."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    content = (folder / name).read_bytes()
    manifest["files"][name]["sha256"] = hashlib.sha256(content).hexdigest()
    manifest["files"][name]["size_bytes"] = len(content)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


@FORMATS
def test_networks_of_ones_own(form, tmp_path, sentinel):
    def declared():
        return graft.backbone(nn.Sequential(nn.Linear(4, 4)), blocks="*", width=4)

    task = Classify(("a", "b"))
    save_artifact(tmp_path / "model", task.build(declared())[0], task)
    WRITERS[form](tmp_path / "model" / "model.safetensors", sentinel)
    list_again(tmp_path / "model", "model.safetensors")
    with pytest.raises(ModelError):
        load_artifact(tmp_path / "model", backbone=declared())


@FORMATS
@pytest.mark.parametrize("name", ["tensors.safetensors", "manifest.json"])
def test_checkpoints(form, name, tmp_path, sentinel):
    folder = tmp_path / "checkpoints"
    place = save_checkpoint(folder, Checkpoint(Position(), {"x": torch.ones(2)}))
    WRITERS[form](place / name, sentinel)
    if name != "manifest.json":  # an attacker can compute hashes too
        manifest = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
        del manifest["manifest_sha256"]
        manifest["sha256"] = hashlib.sha256((place / name).read_bytes()).hexdigest()
        text = json.dumps(manifest, sort_keys=True).encode()
        manifest["manifest_sha256"] = hashlib.sha256(text).hexdigest()
        (place / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    found, notes = load_checkpoint(folder, {})
    assert found is None
    assert "damaged" in notes[0]


@ALL_FORMATS
def test_convert(form, tmp_path, sentinel):
    """The reader alone: that it runs in a process without rights is shown elsewhere."""
    path = tmp_path / "net.pt"
    WRITERS[form](path, sentinel)
    with pytest.raises(ModelError, match=r"save torch\.save"):
        read_torch(path)
