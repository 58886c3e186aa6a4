"""The verbs as functions: train, plan, predict, evaluate, load."""

from graft.api.planning import Planned, PlannedPhase, plan
from graft.api.predicting import Prediction, evaluate, predict
from graft.api.training import Run, cache_folder, load, train

__all__ = [
    "Planned",
    "PlannedPhase",
    "Prediction",
    "Run",
    "cache_folder",
    "evaluate",
    "load",
    "plan",
    "predict",
    "train",
]
