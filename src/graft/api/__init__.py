"""The verbs as functions: train, plan, predict, evaluate, embed, index, search and more.

`load` opens what `train` left, and `examine_environment` is the verb `environment`.

Each is imported when it is first used: `graft environment` must run where torch does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graft.api.both_towers import embed_image, embed_text
    from graft.api.by_names import TEMPLATES, zero_shot
    from graft.api.cache import cache_folder
    from graft.api.converting import convert
    from graft.api.diagnosing import Diagnosis, doctor
    from graft.api.embedding import Embeddings, embed
    from graft.api.environment import Environment, examine_environment
    from graft.api.evaluating import Evaluation, evaluate
    from graft.api.indexing import Indexed, index
    from graft.api.interpolating import Interpolation, interpolate
    from graft.api.planning import Planned, PlannedPhase, plan
    from graft.api.predicting import predict
    from graft.api.ranking import rank
    from graft.api.reporting import report
    from graft.api.rerunning import Rerun, rerun
    from graft.api.searching import Answer, Answers, Searcher, search
    from graft.api.sweeping import sweep
    from graft.api.training import Run, load, train
    from graft.records import Prediction
    from graft.selection.ranking import Ranking
    from graft.selection.trials import Sweep
    from graft.weights.convert import Converted

_HOMES = {
    "Answer": "graft.api.searching",
    "Answers": "graft.api.searching",
    "Comparison": "graft.selection.comparison",
    "Converted": "graft.weights.convert",
    "Diagnosis": "graft.api.diagnosing",
    "Embeddings": "graft.api.embedding",
    "Environment": "graft.api.environment",
    "Evaluation": "graft.api.evaluating",
    "Exported": "graft.api.exporting",
    "Indexed": "graft.api.indexing",
    "Interpolation": "graft.api.interpolating",
    "Planned": "graft.api.planning",
    "PlannedPhase": "graft.api.planning",
    "Prediction": "graft.records",
    "Ranking": "graft.selection.ranking",
    "Rerun": "graft.api.rerunning",
    "Run": "graft.api.training",
    "Searcher": "graft.api.searching",
    "Sweep": "graft.selection.trials",
    "TEMPLATES": "graft.api.by_names",
    "cache_folder": "graft.api.cache",
    "compare": "graft.api.comparing",
    "convert": "graft.api.converting",
    "doctor": "graft.api.diagnosing",
    "embed": "graft.api.embedding",
    "embed_image": "graft.api.both_towers",
    "embed_text": "graft.api.both_towers",
    "evaluate": "graft.api.evaluating",
    "export": "graft.api.exporting",
    "examine_environment": "graft.api.environment",
    "index": "graft.api.indexing",
    "interpolate": "graft.api.interpolating",
    "load": "graft.api.training",
    "plan": "graft.api.planning",
    "predict": "graft.api.predicting",
    "rank": "graft.api.ranking",
    "report": "graft.api.reporting",
    "rerun": "graft.api.rerunning",
    "search": "graft.api.searching",
    "sweep": "graft.api.sweeping",
    "train": "graft.api.training",
    "zero_shot": "graft.api.by_names",
}

__all__ = [
    "TEMPLATES",
    "Answer",
    "Answers",
    "Comparison",
    "Converted",
    "Diagnosis",
    "Embeddings",
    "Environment",
    "Evaluation",
    "Exported",
    "Indexed",
    "Interpolation",
    "Planned",
    "PlannedPhase",
    "Prediction",
    "Ranking",
    "Rerun",
    "Run",
    "Searcher",
    "Sweep",
    "cache_folder",
    "compare",
    "convert",
    "doctor",
    "embed",
    "embed_image",
    "embed_text",
    "evaluate",
    "examine_environment",
    "export",
    "index",
    "interpolate",
    "load",
    "plan",
    "predict",
    "rank",
    "report",
    "rerun",
    "search",
    "sweep",
    "train",
    "zero_shot",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'graft.api' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
