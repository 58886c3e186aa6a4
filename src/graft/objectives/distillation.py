"""Distillation: what one network answers, learned by another, per example.

All three are zero where the student answers as the teacher does, so a curve of them says how far
the student still is. Quantities: N examples, C outputs, D width of an embedding, T temperature.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from graft.objectives.cross_entropy import cross_entropy
from graft.objectives.distances import elementwise


def softmax_distillation(
    logits: Tensor, teacher_logits: Tensor, *, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return T² KL(q‖p) of each example, q and p being softmax(z / T) of teacher and student.

    The factor T² keeps the gradient's size where T changes, so that T and the share of the labels
    beside it may be chosen apart.

    Args:
        logits: (N, C) of the student.
        teacher_logits: (N, C), classes in the same order.
        temperature: T; high ones let the small probabilities of wrong classes speak.

    Returns:
        losses (N,) and weights of one (N,).

    Source: Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", sections
    2 and 2.1. Theirs is the cross-entropy; the teacher's entropy, subtracted here, is constant.
    """
    teacher_logits = teacher_logits.to(logits.dtype) / temperature
    shares = torch.softmax(teacher_logits, dim=-1)
    both, weights = cross_entropy(logits / temperature, shares)
    entropy, _ = cross_entropy(teacher_logits, shares)
    return temperature**2 * (both - entropy), weights


def sigmoid_distillation(
    logits: Tensor, teacher_logits: Tensor, *, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return the same for labels of which any number may hold, averaged over the labels.

    Each label is a choice of two, sigmoid(z / T) against the rest.

    Args:
        logits: (N, C) of the student.
        teacher_logits: (N, C), labels in the same order.
        temperature: T.

    Returns:
        losses (N,) and weights of one (N,).

    Source: as `softmax_distillation`, of which a label alone is the case of two classes with the
    logits z and 0.
    """
    teacher_logits = teacher_logits.to(logits.dtype) / temperature
    shares = torch.sigmoid(teacher_logits)
    cost = functional.binary_cross_entropy_with_logits
    both = cost(logits / temperature, shares, reduction="none")
    entropy = cost(teacher_logits, shares, reduction="none")
    losses = temperature**2 * (both - entropy).mean(1)
    return losses, losses.new_ones(len(losses))


def cosine_distillation(embeddings: Tensor, teacher_embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Return one less the cosine of each embedding to the teacher's: half their squared distance.

    Args:
        embeddings: (N, D) of the student; their lengths do not count.
        teacher_embeddings: (N, D).

    Returns:
        losses (N,) and weights of one (N,).

    Source: Reimers and Gurevych 2020, "Making Monolingual Sentence Embeddings Multilingual",
    equation 1, between vectors of length one.
    """
    losses = elementwise(embeddings, teacher_embeddings, "cosine")
    return losses, losses.new_ones(len(losses))
