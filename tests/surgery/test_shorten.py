"""A student of fewer blocks gives what its teacher gives while its upper blocks are skipped."""

from __future__ import annotations

import pytest
import torch

from graft import heads
from graft.backbones import open_backbone
from graft.backbones.image_network import blank
from graft.errors import ModelError
from graft.surgery.shorten import shortened, skipped
from tests.backbones.images import opened
from tests.backbones.texts import opened as opened_text

FAMILIES = [
    "transformers:vit",
    "timm:vit",
    pytest.param("transformers:dinov2", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_lose_their_upper_blocks(family, tmp_path):
    whole = opened(family)
    n = whole.chains[0].n_blocks
    before = {k: v.clone() for k, v in whole.state_dict().items()}
    short = shortened(whole, n - 1)
    assert short.chains[0].n_blocks == n - 1
    kept = short.net.state_dict()
    assert all(torch.equal(v, before[f"net.{k}"]) for k, v in kept.items())
    assert 0 < len(kept) < len(before)
    inputs = blank(whole.processor)
    with torch.no_grad():
        found = short(inputs).pooled
        with skipped(whole.net, list(whole.chains[0].parts[n])):
            torch.testing.assert_close(found, whole(inputs).pooled, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(found, whole(inputs).pooled, atol=1e-3), "the block does nothing"
    assert short.origin.fresh().state_dict().keys() == kept.keys()
    assert short.origin.save is not None
    short.origin.save(tmp_path / "made", short, heads.Linear(short.width, 3), ("a", "b", "c"))
    again = open_backbone(tmp_path / "made").eval()
    assert again.chains[0].n_blocks == n - 1
    with torch.no_grad():
        torch.testing.assert_close(again(inputs).pooled, found, atol=1e-5, rtol=1e-5)


def test_texts_end_above_the_block():
    assert shortened(opened_text("bert"), 2).chains[0].n_blocks == 2


@pytest.mark.parametrize("family", ["timm:resnet", "timm:swin", "transformers:swin"])
def test_blocks_that_change_the_shape_are_refused(family):
    with pytest.raises(ModelError, match="cannot end above block 0: its library builds") as caught:
        shortened(opened(family), 1)
    assert "\n" not in str(caught.value)


def test_all_blocks_are_the_network_itself():
    whole = opened("timm:vit")
    assert shortened(whole, whole.chains[0].n_blocks) is whole
    with pytest.raises(ModelError, match="has blocks 0 to"):
        shortened(whole, 99)
