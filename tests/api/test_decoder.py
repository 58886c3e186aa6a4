"""A decoder-only network reads a text by its last token, and classifies like the others."""

from __future__ import annotations

import pytest
import torch

import graft
from tests.tiny import write_checkpoint, write_table


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    from transformers import AutoTokenizer, GPT2Config, GPT2Model

    folder = tmp_path_factory.mktemp("place")
    tokenizer = AutoTokenizer.from_pretrained(write_checkpoint(folder / "bert"))
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=64, n_layer=2, n_head=2, n_positions=32,
        initializer_range=0.2, bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    torch.manual_seed(0)
    GPT2Model(config).save_pretrained(folder / "gpt2")
    tokenizer.save_pretrained(folder / "gpt2")
    write_table(folder / "things.csv", n_per_class=100)
    return folder


LEARNED = {"method": "full", "epochs": 25, "lr": 1e-3}


@pytest.mark.parametrize(
    "options", [{"method": "probe"}, pytest.param(LEARNED, marks=pytest.mark.slow)]
)
def test_a_decoder_trains_and_opens_in_sentence_transformers(options, place, tmp_path, monkeypatch):
    import sentence_transformers

    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    run = graft.train(
        place / "things.csv", model=str(place / "gpt2"), out=tmp_path / "run", **options
    )
    assert run.record.phases[0].cache.used == (options["method"] == "probe")
    if options is LEARNED:
        assert run.metrics["accuracy"] > 0.8
    texts = ["the cat is here and very old", "blue", "two"]
    opened = sentence_transformers.SentenceTransformer(str(run.folder / "model"))
    theirs = torch.softmax(torch.tensor(opened.encode(texts)), 1)
    ours = torch.tensor([list(p.probabilities.values()) for p in run.predict(texts)])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
