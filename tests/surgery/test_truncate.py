"""A text encoder that ends above a block opens in its own library and gives what the block gave."""

from __future__ import annotations

import pytest
import torch

from graft import heads
from graft.backbones import open_backbone
from graft.errors import ModelError
from graft.surgery.truncate import truncated
from tests.backbones.images import opened as opened_image
from tests.backbones.texts import (
    TEXTS,
    features,
    inputs_of,
    opened,
    outputs_by_sentences,
)

MORE = ["roberta", "mpnet", "distilbert", "modernbert", "t5"]
FAMILIES = ["bert", "gpt2", *(pytest.param(f, marks=pytest.mark.slow) for f in MORE)]


@pytest.mark.parametrize("family", FAMILIES)
def test_opens_in_its_library_and_answers_the_same(family, tmp_path):
    whole = opened(family)
    before = {k: v.clone() for k, v in whole.state_dict().items()}
    short = truncated(whole, 2)
    assert short.chains[0].n_blocks == 2
    head = heads.Linear(short.width, 3)
    with torch.no_grad():
        head.out.weight.normal_()
        expected = head(short(inputs_of(short)))
    opens_with = short.origin.save(tmp_path / "made", short, head, ("a", "b", "c"))
    assert opens_with == "SentenceTransformer"
    torch.testing.assert_close(
        outputs_by_sentences(tmp_path / "made", TEXTS), expected, atol=1e-5, rtol=1e-5
    )
    again = open_backbone(tmp_path / "made").eval()
    assert again.chains[0].n_blocks == 2
    torch.testing.assert_close(features(again), features(short))
    assert whole.chains[0].n_blocks == 3
    assert all(torch.equal(v, before[k]) for k, v in whole.state_dict().items())
    fresh = short.origin.fresh()
    assert fresh.state_dict().keys() == short.net.state_dict().keys()


def test_gives_the_hidden_states_of_its_block():
    whole = opened("bert")
    short = truncated(whole, 1)
    inputs = inputs_of(whole)
    with torch.no_grad():
        expected = whole.net(**inputs, output_hidden_states=True).hidden_states[1]
        torch.testing.assert_close(short.net(**inputs).last_hidden_state, expected)


def test_all_blocks_are_the_network_itself():
    for whole in (opened("bert"), opened("albert"), opened_image("timm:vit")):
        assert truncated(whole, whole.chains[0].n_blocks) is whole


@pytest.mark.parametrize("family", ["bert-classifier", "deberta"])
def test_networks_that_cannot_are_refused_in_one_line(family):
    with pytest.raises(ModelError, match="cannot end above block 0") as caught:
        truncated(opened(family), 1)
    assert "\n" not in str(caught.value)


def test_pictures_are_refused():
    with pytest.raises(ModelError, match="only text encoders"):
        truncated(opened_image("timm:vit"), 2)


@pytest.mark.parametrize("n_blocks", [0, 4])
def test_blocks_that_are_not_there_are_refused(n_blocks):
    with pytest.raises(ModelError, match="blocks 0 to 2"):
        truncated(opened("bert"), n_blocks)
