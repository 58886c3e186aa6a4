"""Long texts: only the beginning is tokenised, and the tokens are those of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from graft.backbones.text_processor import TextProcessor, beginning
from tests.tiny import write_checkpoint


@pytest.fixture(scope="module")
def processor(tmp_path_factory) -> TextProcessor:
    from transformers import AutoTokenizer

    folder = write_checkpoint(tmp_path_factory.mktemp("bert"))
    return TextProcessor(AutoTokenizer.from_pretrained(folder), 32)


LONG = {
    "words": "the cat is here and very old " * 2_000,
    "long words": f"{'x' * 900} cat " * 50,
    "spaces": "cat" + " " * 5_000 + "dog " * 100,
    "one word": "y" * 5_000,
    "lines": "the\ncat\n" * 2_000,
}


@pytest.mark.parametrize("case", LONG)
def test_the_tokens_are_those_of_the_whole_text(processor: TextProcessor, case: str):  # B25
    whole = processor.tokenizer(LONG[case], truncation=True, max_length=32)["input_ids"]
    rows = processor.encode(["a cat", LONG[case], "dog"])
    assert rows[1]["input_ids"].tolist() == whole
    assert [len(rows[i]["input_ids"]) for i in (0, 2)] == [4, 3]


def test_a_megabyte_is_hardly_looked_at(processor: TextProcessor):
    seen: list[int] = []

    class Counting:
        def __call__(self, texts, **options):
            seen.extend(map(len, texts))
            return processor.tokenizer(texts, **options)

        pad_token_id = 0

    TextProcessor(Counting(), 32).encode(["the old cat " * 90_000])
    assert sum(seen) <= 32 * 20


def test_beginnings_end_at_a_space():
    assert beginning("short", 1) == "short"
    assert beginning("aaaa bbbb " * 10, 1) == "aaaa bbbb aaaa bbbb"
    assert beginning("z" * 50, 1) == "z" * 50


def test_counts_of_tokens(processor: TextProcessor):  # B25, B27
    n_tokens, n_kept, n_unknown = processor.counts(["the cat", "zzz cat qqq", "dog " * 40])
    assert n_tokens.tolist() == [2, 3, 40]
    assert n_kept.tolist() == [2, 3, 30]
    assert n_unknown.tolist() == [0, 2, 0]
    assert all(np.asarray(x).dtype == np.int64 for x in (n_tokens, n_kept, n_unknown))
