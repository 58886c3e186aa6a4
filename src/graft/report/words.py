"""The words for people that several pages share."""

from __future__ import annotations

UNTOUCHED = {
    "classify": "untouched backbone with class means",
    "multilabel": "untouched backbone with its ten nearest training rows",
    "regress": "untouched backbone with its ten nearest training rows",
}
"""task → what stands under "before": what the features know without training."""

A_MODEL = {
    "classify": "classifier for {n} classes",
    "multilabel": "classifier for {n} labels, of which any number may hold",
    "regress": "model that predicts a number",
}
"""task → what a trained model is; `{n}` is the number of its outputs."""


def readable(metric: str) -> str:
    """Return a metric's name for people: `macro f1` for `macro_f1`."""
    return metric.removeprefix("expected_").replace("_", " ")


def human_bytes(n: float) -> str:
    """Return a size with its unit: 9.6 MB.

    >>> human_bytes(999), human_bytes(1_234_567)
    ('999 B', '1.2 MB')
    """
    size = float(n)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
