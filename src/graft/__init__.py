"""graft adapts pretrained networks to your own data.

>>> import graft
>>> run = graft.train("tickets.csv", method="lp-ft")   # doctest: +SKIP
>>> run.metrics, run.predict(["where is my parcel?"])   # doctest: +SKIP

Everything named here is public; it is imported when first used, so `import graft` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graft.adapters import Adapters
    from graft.api import (
        Answer,
        Answers,
        Comparison,
        Converted,
        Diagnosis,
        Embeddings,
        Evaluation,
        Exported,
        Indexed,
        Planned,
        Prediction,
        Ranking,
        Rerun,
        Run,
        Searcher,
        Sweep,
        compare,
        convert,
        doctor,
        embed,
        embed_image,
        embed_text,
        evaluate,
        export,
        index,
        interpolate,
        load,
        plan,
        predict,
        rank,
        rerun,
        search,
        sweep,
        train,
        zero_shot,
    )
    from graft.backbones import open_backbone
    from graft.backbones.own import backbone
    from graft.errors import GraftError
    from graft.methods.plan import Convex, Gradient, Phase, Plan, Rule

_HOMES = {
    "Adapters": "graft.adapters",
    "Answer": "graft.api",
    "Answers": "graft.api",
    "Comparison": "graft.api",
    "Converted": "graft.api",
    "Convex": "graft.methods.plan",
    "Diagnosis": "graft.api",
    "Embeddings": "graft.api",
    "Evaluation": "graft.api",
    "Exported": "graft.api",
    "Gradient": "graft.methods.plan",
    "GraftError": "graft.errors",
    "Indexed": "graft.api",
    "Phase": "graft.methods.plan",
    "Plan": "graft.methods.plan",
    "Planned": "graft.api",
    "Prediction": "graft.api",
    "Ranking": "graft.api",
    "Rerun": "graft.api",
    "Rule": "graft.methods.plan",
    "Run": "graft.api",
    "Sweep": "graft.api",
    "Searcher": "graft.api",
    "backbone": "graft.backbones.own",
    "compare": "graft.api",
    "convert": "graft.api",
    "doctor": "graft.api",
    "embed": "graft.api",
    "embed_image": "graft.api",
    "embed_text": "graft.api",
    "evaluate": "graft.api",
    "export": "graft.api",
    "index": "graft.api",
    "interpolate": "graft.api",
    "load": "graft.api",
    "open_backbone": "graft.backbones",
    "plan": "graft.api",
    "predict": "graft.api",
    "rank": "graft.api",
    "rerun": "graft.api",
    "search": "graft.api",
    "sweep": "graft.api",
    "train": "graft.api",
    "zero_shot": "graft.api",
}

__all__ = [
    "Adapters",
    "Answer",
    "Answers",
    "Comparison",
    "Converted",
    "Convex",
    "Diagnosis",
    "Embeddings",
    "Evaluation",
    "Exported",
    "Gradient",
    "GraftError",
    "Indexed",
    "Phase",
    "Plan",
    "Planned",
    "Prediction",
    "Ranking",
    "Rerun",
    "Rule",
    "Run",
    "Searcher",
    "Sweep",
    "backbone",
    "compare",
    "convert",
    "doctor",
    "embed",
    "embed_image",
    "embed_text",
    "evaluate",
    "export",
    "index",
    "interpolate",
    "load",
    "open_backbone",
    "plan",
    "predict",
    "rank",
    "rerun",
    "search",
    "sweep",
    "train",
    "zero_shot",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'graft' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__doc__", "__name__"]
