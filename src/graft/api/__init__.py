"""The verbs as functions: train, plan, predict, evaluate, embed, doctor, rerun, load."""

from graft.api.doctor import Diagnosis, doctor
from graft.api.embedding import Embeddings, embed
from graft.api.evaluating import Evaluation, evaluate
from graft.api.planning import Planned, PlannedPhase, plan
from graft.api.predicting import predict
from graft.api.rerunning import Rerun, rerun
from graft.api.training import Run, cache_folder, load, train
from graft.records import Prediction

__all__ = [
    "Diagnosis",
    "Embeddings",
    "Evaluation",
    "Planned",
    "PlannedPhase",
    "Prediction",
    "Rerun",
    "Run",
    "cache_folder",
    "doctor",
    "embed",
    "evaluate",
    "load",
    "plan",
    "predict",
    "rerun",
    "train",
]
