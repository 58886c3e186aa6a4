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
