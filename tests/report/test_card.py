"""The model card says what the record says, and user text stays text."""

from __future__ import annotations

import dataclasses

import pytest
import yaml

from graft.phase_records import CacheRecord, ConvexRecord, EpochRecord, PhaseRecord
from graft.records import ClassScores, DomainRecord, Interval, RunRecord
from graft.report.card import model_card

CACHE = CacheRecord("above the backbone", True, "", 10, 5)
RECORD = RunRecord(
    model="minilm",
    method="lp-ft",
    classes=("refund", "delivery"),
    n_train=100,
    n_validation=20,
    n_test=30,
    how_split="drawn with seed 0",
    data_hash="ab" * 32,
    phases=(
        PhaseRecord("probe", (), CACHE, convex=ConvexRecord(0.01, "folds", 0.5, True, 7, "")),
        PhaseRecord("full", (), CACHE, epochs=(EpochRecord(0, 0.4, 0.5, 1.0),), n_steps=4),
    ),
    before={"test": {"accuracy": 0.5}},
    after={"test": {"accuracy": 0.9}, "validation": {"accuracy": 0.8}},
    weights_sha256="cd" * 32,
    opens_with="SentenceTransformer",
    seconds=1.0,
    peak_memory_bytes=1,
    n_parameters=10,
    n_trained=5,
    environment={"torch": "2"},
    intervals={
        "before": {"accuracy": Interval(0.5, 0.4, 0.6)},
        "after": {"accuracy": Interval(0.9, 0.85, 0.95)},
        "change": {"accuracy": Interval(0.4, 0.3, 0.5)},
    },
    per_class=(
        ClassScores("refund", 15, 0.9, 0.9, 0.9, 1.0, 1.0),
        ClassScores("delivery", 15, 0.8, 0.8, 0.8, 0.9, 0.9),
    ),
)


def test_card_says_what_the_record_says():
    card = model_card(RECORD, modality="text")
    assert "| accuracy | 0.500 (0.400 to 0.600) | 0.900 (0.850 to 0.950) |" in card
    assert card.index("| delivery |") < card.index("| refund |")  # the hardest first
    assert "30 test rows" in card
    assert "head solved exactly, l2 0.01" in card
    metadata = yaml.safe_load(card.split("---")[1])
    assert metadata["base_model"] == "minilm"
    assert metadata["library_name"] == "sentence-transformers"


def test_a_head_that_did_not_converge_is_not_called_exact():
    (probe, full), convex = RECORD.phases, RECORD.phases[0].convex
    rough = dataclasses.replace(probe, convex=dataclasses.replace(convex, converged=False))
    card = model_card(dataclasses.replace(RECORD, phases=(rough, full)), modality="text")
    assert "head solved without converging, l2 0.01" in card


def test_user_text_stays_text():
    record = dataclasses.replace(
        RECORD, classes=("<script>", "a|b", "x\n# y"), model='quote": [evil]'
    )
    card = model_card(record, modality="text")
    assert "<script>" not in card.replace("\\<script", "")
    assert "\n# y" not in card
    assert yaml.safe_load(card.split("---")[1])["base_model"] == 'quote": [evil]'


@pytest.mark.parametrize(
    ("modality", "opens_with", "kind", "call"),
    [
        ("text", "SentenceTransformer", "sentence-similarity", "model.encode(["),
        ("image", "AutoModel", "image-feature-extraction", "graft.embed("),
    ],
)
def test_the_card_of_an_embedding_says_how_to_compare(modality, opens_with, kind, call):
    record = dataclasses.replace(RECORD, task="embed", opens_with=opens_with, per_class=())
    card = model_card(record, modality=modality)
    assert yaml.safe_load(card.split("---")[1])["pipeline_tag"] == kind
    assert call in card and "cosine = vectors[0] @ vectors[1]" in card
    assert "trained on items of these classes: refund, delivery." in card
    bare = model_card(dataclasses.replace(record, classes=()), modality=modality)
    assert "these classes" not in bare and ": ." not in bare


def test_the_card_says_what_another_domain_came_to():
    found = DomainRecord("new.csv", "ef", "dann", 1.0, n_train=70, n_validation=15, n_test=15)
    bare = model_card(dataclasses.replace(RECORD, domain=found), modality="text")
    assert "saw 70 rows of another domain without labels; how good it is there is not" in bare
    scored = dataclasses.replace(found, n_scored=15, intervals=RECORD.intervals)
    card = model_card(dataclasses.replace(RECORD, domain=scored), modality="text")
    assert "on 15 held-out rows of it its accuracy is 0.900 (0.850 to 0.950), 0.500 before" in card
    assert "another domain" not in model_card(RECORD, modality="text")
