"""Which cases of the long tables belong to the quick suite; the rest of them is slow.

The contract tests run over every network that graft knows. A change is noticed first by a few that
stand for the others: one for each way in which a network can be awkward.
"""

from __future__ import annotations

NETWORKS = {
    "albert",  # one block called many times
    "bert",
    "clip",  # two towers
    "flat-dense",  # no blocks to speak of
    "gpt2",
    "plain-cnn",
    "swin",  # structure beside tensors crosses blocks
    "t5-encoder",  # position bias, shared by all rows
    "timm-resnet",
    "vit",
    "wav2vec2",  # lengths of its own
}
IMAGE_SOURCES = {
    "timm:vit",
    "timm:resnet",
    "torchvision:squeezenet1_1",
    "transformers:vit",
    "transformers:resnet",
    "transformers:dinov3-headless",
}
TEXT_SOURCES = {"bert", "bert-classifier", "gpt2", "gpt2-classifier", "roberta-classifier", "t5"}

QUICK: dict[str, set[str]] = {
    "engine/test_replay.py": NETWORKS,
    "engine/test_zoo_training.py": NETWORKS,
    "engine/test_cut.py": NETWORKS,
    "engine/test_enemies.py": {"ctc", "detector", "domains", "gradient-caching", "momentum"},
    "engine/test_resume.py": {"mid_epoch", "phase_edge", "2", "truncate-tensors.safetensors"},
    "engine/test_run.py": {"t5", "order0", "marian"},
    "methods/test_methods.py": NETWORKS,
    "backbones/test_image_sources.py": IMAGE_SOURCES,
    "backbones/test_text_sources.py": TEXT_SOURCES,
}
"""file under tests/ → cases that stay; a case of several parts is named by its first."""


def is_quick(path: str, cases: str) -> bool:
    """Return whether a parametrised test of a file stays in the quick suite.

    Args:
        path: of the test's file, relative to `tests/`.
        cases: what stands in the brackets of its name.
    """
    kept = QUICK.get(path)
    if kept is None or cases in kept:
        return True
    # a table of other things than networks and sources (poolings, file names) stays
    known = {name for names in (NETWORKS, IMAGE_SOURCES, TEXT_SOURCES) for name in names}
    if path.startswith("backbones/"):
        first = cases.split("--")[0].split("-linear")[0]
        return first in kept or not _names_a_source(cases, known)
    return False


def _names_a_source(cases: str, known: set[str]) -> bool:
    families = {name.split("-")[0] for name in known} | {
        "albert",
        "deberta",
        "distilbert",
        "modernbert",
        "mpnet",
        "roberta",
    }
    return ":" in cases or cases.split("-")[0] in families
