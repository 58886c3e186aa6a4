"""The model card: what stands in README.md beside the model."""

from __future__ import annotations

import json
import math

from graft.phase_records import PhaseRecord
from graft.records import RunRecord
from graft.report.teacher import how_taught
from graft.report.words import A_MODEL, UNTOUCHED, plural, readable, what_is_left

LIBRARY = {
    "SentenceTransformer": "sentence-transformers",
    "AutoModelForSequenceClassification": "transformers",
    "AutoModelForImageClassification": "transformers",
    "AutoModel (CLIPModel)": "transformers",
    "AutoModel (SiglipModel)": "transformers",
}

N_CLASSES_SHOWN = 20
LIMITS = "## Limits\n\nThe figures hold for data like the rows it was trained on."
NO_CLASS = " Rows of another kind, or of no class at all, still get one of the classes."


def model_card(record: RunRecord, *, modality: str) -> str:
    """Return the card of a run's model as Markdown with YAML metadata, as hubs read it."""
    split = record.judged_on
    n = record.n_test if split == "test" else record.n_validation
    name = f"{_plain(record.model)}, fine-tuned by {record.method}"
    sections = [
        _metadata(record, modality),
        f"# {name}",
        _about(record, modality),
        f"## How good it is\n\nOn {n} {split} rows that training never saw, with 95 % bootstrap "
        "intervals:\n\n"
        + _table(("metric", "before", "this model"), _metric_rows(record))
        + f"\n\nBefore: the {UNTOUCHED[record.task]}.",
        *_per_class(record),
        "## How it was trained\n\n"
        f"{record.n_train} training rows, split {record.how_split}. "
        f"{record.n_trained:,} of {record.n_parameters:,} parameters trained."
        f"{_taught(record)}{_kept(record)}\n\n" + _phases(record),
        *([_depths(record)] if record.depths else []),
        "## How to use it\n\n" + _usage(record),
        LIMITS + (NO_CLASS if record.task == "classify" else ""),
        "## To reproduce\n\n`recipe.yaml` in the folder above has the settings. "
        f"Data sha256 `{record.data_hash[:16]}…`, weights `{record.weights_sha256[:16]}…`; "
        + ", ".join(f"{k} {v}" for k, v in record.environment.items())
        + ".",
    ]
    return "\n\n".join(sections) + "\n"


def _phases(record: RunRecord) -> str:
    if not record.phases:
        return "The head holds the vectors of the class names; nothing was trained."
    return _table(("phase", "what happened"), [(p.name, _what(p)) for p in record.phases])


def _about(record: RunRecord, modality: str) -> str:
    article = "An" if modality[0] in "aeiou" else "A"
    kind = A_MODEL[record.task].format(n=len(record.classes))
    names = ", ".join(_plain(c) for c in record.classes[:20])
    if not names and record.task != "embed":
        return f"{article} {modality} {kind}."
    names += ", …" if len(record.classes) > 20 else ""
    if record.task == "embed":
        learned = f" It was trained on items of these classes: {names}." if names else ""
        return (
            f"{article} {modality} {kind}. Two items are compared by the cosine of their "
            f"embeddings.{learned}"
        )
    return f"{article} {modality} {kind}: {names}.{_domain(record)}"


def _domain(record: RunRecord) -> str:
    """Say to what the model was adapted, and what it is worth there where that is known."""
    found = record.domain
    if found is None or found.adapt == "none":
        return ""
    told = f" It also saw {plural(found.n_train, 'row')} of another domain without labels"
    if not found.intervals:
        return f"{told}; how good it is there is not known."
    was, now = (found.intervals[part][record.headline] for part in ("before", "after"))
    rows, name = plural(found.n_scored, "held-out row"), readable(record.headline)
    return (
        f"{told}; on {rows} of it its {name} is {now.value:.3f} ({now.low:.3f} to {now.high:.3f}), "
        f"{was.value:.3f} before."
    )


def _metric_rows(record: RunRecord) -> list[tuple[str, ...]]:
    before = record.before.get(record.judged_on, {})
    rows: list[tuple[str, ...]] = []
    for name, value in record.after.get(record.judged_on, {}).items():
        cells = [f"{before[name]:.3f}" if name in before else "", f"{value:.3f}"]
        for i, part in enumerate(("before", "after")):
            interval = record.intervals.get(part, {}).get(name)
            if interval is not None:
                cells[i] += f" ({interval.low:.3f} to {interval.high:.3f})"
        rows.append((readable(name), *cells))
    return rows


def _per_class(record: RunRecord) -> list[str]:
    if not record.per_class:
        return []
    hardest = sorted(record.per_class, key=lambda c: -1.0 if math.isnan(c.f1) else c.f1)
    rows: list[tuple[str, ...]] = [
        (_plain(c.name), str(c.support), f"{c.precision:.3f}", f"{c.recall:.3f}", f"{c.f1:.3f}")
        for c in hardest[:N_CLASSES_SHOWN]
    ]
    text = _table(("class", "rows", "precision", "recall", "f1"), rows)
    if len(hardest) > N_CLASSES_SHOWN:
        text += f"\n\nThe {N_CLASSES_SHOWN} hardest of {len(hardest)}; record.json has all."
    return [f"## Class by class\n\nThe hardest first.\n\n{text}"]


def _metadata(record: RunRecord, modality: str) -> str:
    kind = f"{modality}-classification"
    if record.task == "embed":
        kind = "sentence-similarity" if modality == "text" else "image-feature-extraction"
    if record.task == "match":
        kind = "zero-shot-image-classification"
    lines = ["---", f"pipeline_tag: {kind}", "tags:", "  - graft"]
    if record.opens_with in LIBRARY:
        lines.append(f"library_name: {LIBRARY[record.opens_with]}")
    # JSON is YAML: quoting is safe for any name
    lines.append(f"base_model: {json.dumps(record.model)}")
    return "\n".join([*lines, "---"])


def _usage(record: RunRecord) -> str:
    if record.task == "embed":
        code = _usage_of_embedding(record)
    elif record.opens_with == "SentenceTransformer":
        code = (
            "from sentence_transformers import SentenceTransformer\n\n"
            'model = SentenceTransformer("model")\n'
            'scores = model.encode(["a text"])  # one score per output, in the order above'
        )
    elif record.opens_with in LIBRARY and record.task != "match":
        code = (
            f"from transformers import {record.opens_with}\n\n"
            f'model = {record.opens_with}.from_pretrained("model")'
        )
    elif record.task == "match":
        code = (
            'import graft\n\nimages = graft.embed_image("model", ["a.jpg"])\n'
            'texts = graft.embed_text("model", ["two dogs in the snow"])\n'
            "cosines = images @ texts.T"
        )
    else:
        code = 'import graft\n\ngraft.predict("model", ["…"])'
    return f"Opens with: {record.opens_with}\n\n```python\n{code}\n```"


def _usage_of_embedding(record: RunRecord) -> str:
    """Return how vectors are had and compared; they have length one."""
    if record.opens_with == "SentenceTransformer":
        return (
            "from sentence_transformers import SentenceTransformer\n\n"
            'model = SentenceTransformer("model")\n'
            'vectors = model.encode(["a text", "another text"])  # each of length one\n'
            "cosine = vectors[0] @ vectors[1]"
        )
    return (
        "import graft\n\n"
        'vectors = graft.embed("model", "pictures/").features  # each of length one\n'
        "cosine = vectors[0] @ vectors[1]"
    )


def _what(phase: PhaseRecord) -> str:
    if phase.convex is not None:
        how = phase.convex
        return f"head {how.outcome}, l2 {how.l2:.3g} ({how.chosen_by})"
    if not phase.epochs:
        return "nothing"
    last = phase.epochs[-1]
    text = f"{len(phase.epochs)} epochs, {phase.n_steps} steps, training loss {last.train_loss:.3f}"
    if last.validation_loss is not None:
        text += f", validation loss {last.validation_loss:.3f}"
    return f"{text}; frozen {phase.cache.cut}"


def _taught(record: RunRecord) -> str:
    if record.teacher is None:
        return ""
    return f" Its teacher was {_plain(record.teacher.name)}: {how_taught(record.teacher)}."


def _kept(record: RunRecord) -> str:
    if record.remembered is None:
        return ""
    return f" What it could do before: {_plain(what_is_left(record.remembered))}."


def _depths(record: RunRecord) -> str:
    rows: list[tuple[str, ...]] = [
        (
            d.block + (" ← this model" if d.chosen else ""),
            str(d.width),
            "" if d.accuracy is None else f"{d.accuracy:.3f}",
            f"{d.loss:.3f}",
        )
        for d in record.depths
    ]
    return (
        "## Which block knows most\n\nA linear head on the pooled output of each block, by "
        f"{record.chosen_on.get('block', 'cross-validation')}:\n\n"
        + _table(("read", "width", "accuracy", "loss"), rows)
    )


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Keep user text from being read as markup or as another cell."""
    for mark in "\\`*_[]<>|":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
