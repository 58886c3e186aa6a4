"""The verbs as functions: train, plan, predict, evaluate, embed, rerun, load."""

from graft.api.embedding import Embeddings, embed
from graft.api.evaluating import Evaluation, evaluate
from graft.api.planning import Planned, PlannedPhase, plan
from graft.api.predicting import predict
from graft.api.rerunning import Rerun, rerun
from graft.api.training import Run, cache_folder, load, train
from graft.records import Prediction

__all__ = [
    "Embeddings",
    "Evaluation",
    "Planned",
    "PlannedPhase",
    "Prediction",
    "Rerun",
    "Run",
    "cache_folder",
    "embed",
    "evaluate",
    "load",
    "plan",
    "predict",
    "rerun",
    "train",
]
