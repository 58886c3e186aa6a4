"""Features row for row, of runs and of networks as they come."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import graft
from graft.api.embedding import open_embedder
from graft.errors import InputError, SkippedTooMany, UnknownName
from tests.tiny import write_checkpoint, write_table


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    write_checkpoint(folder / "bert")
    write_table(folder / "things.csv", n_per_class=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_CACHE", str(folder / "cache"))
        graft.train(
            folder / "things.csv", model=str(folder / "bert"), method="full", epochs=1,
            out=folder / "run",
        )  # fmt: skip
    return folder


def test_features_are_what_the_head_reads(place):
    texts = ["the cat is here", "blue", "two and three old"]
    found = graft.embed(str(place / "run"), texts)
    assert found.features.shape == (3, 64)
    assert found.features.dtype == np.float32
    from safetensors.torch import load_file

    head = load_file(place / "run" / "model" / "head.safetensors")
    logits = torch.from_numpy(found.features) @ head["out.weight"].T + head["out.bias"]
    said = graft.predict(place / "run", texts)
    classes = list(said[0].probabilities)
    ours = torch.softmax(logits, 1)
    theirs = torch.tensor([[p.probabilities[c] for c in classes] for p in said])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_run_embeds_otherwise_than_the_network_it_came_from(place):
    table = str(place / "things.csv")
    before, after = graft.embed(str(place / "bert"), table), graft.embed(str(place / "run"), table)
    assert before.features.shape == after.features.shape == (90, 64)
    assert not np.allclose(before.features, after.features, atol=1e-3)
    assert [o.row for o in after.origins] == list(range(1, 91))


def test_features_do_not_depend_on_the_company(place):
    table = graft.embed(str(place / "run"), ["the cat is here and very old", "blue", "one"])
    alone = graft.embed(str(place / "run"), ["blue"])
    np.testing.assert_allclose(table.features[1], alone.features[0], atol=1e-5)


def test_bf16_rounds_and_is_float32_all_the_same(place):
    texts = [f"the {i} red parcel" for i in range(6)]
    exact = graft.embed(str(place / "bert"), texts).features
    rounded = graft.embed(str(place / "bert"), texts, precision="bf16").features
    assert rounded.dtype == np.float32
    assert not np.array_equal(exact, rounded)
    np.testing.assert_allclose(rounded, exact, atol=0.05 * np.abs(exact).max())
    embedder = open_embedder(str(place / "bert"))
    table, _ = embedder.read(texts, None)
    before = {k: v.clone() for k, v in embedder.sides["text"].state_dict().items()}
    embedder.embed(table, precision="bf16")
    after = embedder.sides["text"].state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    np.testing.assert_array_equal(embedder.embed(table).features, exact)
    with pytest.raises(UnknownName, match="bf16"):
        graft.embed(str(place / "bert"), texts, precision="bf1")


def test_a_row_that_cannot_be_used_is_nan_and_counted(place):
    found = graft.embed(str(place / "run"), ["the cat", " ", "blue"])
    assert np.isnan(found.features).all(1).tolist() == [False, True, False]
    assert "empty" in str(found.findings[0])
    with pytest.raises(SkippedTooMany, match="1 of 3 rows"):
        found.refuse_if_many_skipped()


def test_another_modality_is_refused(place, tmp_path):
    from tests.data.makers import picture

    path = picture(tmp_path / "a.png")
    with pytest.raises(InputError, match="takes text"):
        graft.embed(str(place / "run"), str(tmp_path))
    assert path.exists()
