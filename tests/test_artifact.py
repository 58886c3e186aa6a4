"""Law: save → load gives the same predictions, for every modality and head."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import graft
from graft.artifact import load_artifact, save_artifact
from graft.backbones import open_backbone
from graft.backbones.image_network import blank
from graft.errors import ModelError
from graft.tasks.classify import Classify
from tests.backbones import images, texts

CLASSES = ("ant", "bee", "cat")
OWN_TEXTS = ("bert", "roberta-classifier", "gpt2")
OWN_IMAGES = ("timm:resnet",)


def made(source, head="linear"):
    """Return a model with a lively head, its task, and inputs for it."""
    if ":" in source:
        backbone = images.opened(source)
        inputs = blank(backbone.processor, 3)
    else:
        backbone = texts.opened(source)
        inputs = texts.inputs_of(backbone)
    task = Classify(CLASSES, head=head)
    model, _ = task.build(backbone)
    for parameter in model.head.parameters():
        nn.init.normal_(parameter)
    return model.eval(), task, inputs


def logits(model, inputs):
    with torch.no_grad():
        return model(inputs)


@pytest.mark.parametrize("head", ["linear", "mlp:7", "cosine"])
@pytest.mark.parametrize("source", [*OWN_TEXTS, *OWN_IMAGES])
def test_same_predictions_after_loading(source, head, tmp_path):
    model, task, inputs = made(source, head)
    opens_with = save_artifact(tmp_path, model, task)
    again, same_task = load_artifact(tmp_path)
    assert same_task.classes == CLASSES
    assert same_task.head == head
    assert not again.training
    torch.testing.assert_close(logits(again, inputs), logits(model, inputs), atol=1e-5, rtol=1e-5)
    about = json.loads((tmp_path / "graft.json").read_text(encoding="utf-8"))
    assert about["opens_with"] == opens_with
    is_whole = head == "linear" or source in ("bert", "gpt2")
    assert opens_with.endswith("(body only)") != is_whole


def test_a_saved_model_is_a_backbone_that_knows_its_classes(tmp_path):
    model, task, inputs = made("bert")
    save_artifact(tmp_path, model, task)
    backbone = open_backbone(tmp_path)
    assert backbone.origin.classes == CLASSES
    assert not backbone.origin.notes
    kept, _ = Classify(CLASSES).build(backbone)
    expected = logits(model, inputs)
    torch.testing.assert_close(logits(kept.eval(), inputs), expected, atol=1e-5, rtol=1e-5)
    random = open_backbone(tmp_path, random=True)
    assert random.origin.old_head is None


@pytest.mark.parametrize("source", ["bert", "roberta-classifier"])
def test_nothing_of_a_fine_tuned_body_is_lost(source, tmp_path):
    model, task, inputs = made(source)
    moved = open_backbone(texts.given(source)[0])
    with torch.no_grad():
        for parameter in moved.net.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    model.backbone = moved
    save_artifact(tmp_path, model.eval(), task)
    again, _ = load_artifact(tmp_path)
    torch.testing.assert_close(logits(again, inputs), logits(model, inputs), atol=1e-5, rtol=1e-5)


def test_a_model_is_replaced_whole(tmp_path):
    folder = tmp_path / "model"
    for source in ("bert", "roberta-classifier", "gpt2"):
        model, task, inputs = made(source)
        save_artifact(folder, model, task)
        again, _ = load_artifact(folder)
        expected = logits(model, inputs)
        torch.testing.assert_close(logits(again, inputs), expected, atol=1e-5, rtol=1e-5)


# --- refusals ---------------------------------------------------------------------------------


def refusal(folder, **options):
    with pytest.raises(ModelError) as caught:
        load_artifact(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path):
    model, task, _ = made("distilbert", "mlp:7")
    save_artifact(tmp_path, model, task)
    return tmp_path


def test_damaged_head_is_refused(folder):
    path = folder / "head.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert "head.safetensors: does not open" in refusal(folder)
    path.unlink()
    assert "head.safetensors: does not open" in refusal(folder)


def test_head_of_another_form_is_refused_by_name(folder):
    path = folder / "head.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"out.bias": torch.zeros(4)}, path)
    assert "out.bias" in refusal(folder)
    save_file({k: v for k, v in tensors.items() if k != "hidden.weight"}, path)
    assert "hidden.weight" in refusal(folder)


@pytest.mark.parametrize("classes", [["ant", "bee", "cow"], ["bee", "ant", "cat"], ["ant", "bee"]])
def test_other_labels_are_refused(folder, classes):
    texts.rewrite(folder / "graft.json", classes=classes)
    message = refusal(folder)
    assert "other classes" in message
    if "cow" in classes:
        assert "(cat)" in message or "(cow)" in message


def test_other_labels_of_a_linear_head_are_refused_when_opened_as_a_backbone(tmp_path):
    model, task, _ = made("distilbert")
    save_artifact(tmp_path, model, task)
    texts.rewrite(tmp_path / "graft.json", classes=["ant", "bee", "cow"])
    with pytest.raises(ModelError, match="other classes"):
        open_backbone(tmp_path)


def test_unreadable_description_is_refused(folder):
    path = folder / "graft.json"
    texts.rewrite(path, format=99)
    assert "format 99" in refusal(folder)
    texts.write(path, {"format": 1, "head": "linear", "source": "text"})
    assert "`classes`" in refusal(folder)
    path.write_text("{", encoding="utf-8")
    assert "cannot be read" in refusal(folder)
    path.write_text("[]", encoding="utf-8")
    assert "format none" in refusal(folder)
    path.unlink()
    assert "no graft.json" in refusal(folder)


# --- networks of the user's own ---------------------------------------------------------------


class Tied(nn.Module):
    """Two names for one matrix, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(self.second(torch.relu(self.first(x))))


def declared():
    return graft.backbone(Tied(), blocks=["first", "second"], width=4)


@pytest.mark.parametrize("head", ["linear", "mlp:7", "cosine"])
def test_own_network_is_saved_and_put_back(head, tmp_path):
    backbone = declared()
    backbone(backbone.processor.collate(backbone.processor.encode(np.random.rand(8, 4))))
    task = Classify(CLASSES, head=head)
    model, _ = task.build(backbone)
    model.eval()
    assert save_artifact(tmp_path, model, task) == "graft, given the network"
    other = declared()
    again, _ = load_artifact(tmp_path, backbone=other)
    assert again.backbone is other
    inputs = {"x": torch.randn(5, 4)}
    assert torch.equal(logits(again, inputs), logits(model, inputs))
    assert other.net.first.weight is other.net.second.weight


def test_own_network_must_be_brought(tmp_path):
    model, _ = Classify(CLASSES).build(declared())
    save_artifact(tmp_path, model, Classify(CLASSES))
    assert "pass backbone=" in refusal(tmp_path)
    with pytest.raises(ModelError, match="backbone="):
        open_backbone(tmp_path)
    small = graft.backbone(nn.Sequential(nn.Linear(4, 4)), blocks="*", width=4)
    assert "does not fit" in refusal(tmp_path, backbone=small)


def test_a_network_is_not_brought_for_a_folder_that_opens_by_itself(folder):
    assert "leave out backbone=" in refusal(folder, backbone=declared())
