"""Classes by their names alone: the vectors of prompts are the classifier.

    classes × templates ─text tower→ prompts (C, P, E) ─mean, normalised→ class vectors (C, E)
    picture ─image tower→ (E,) ─cosine / temperature, softmax→ probabilities (C,)

Source: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
Supervision", section 3.1: prompts are ensembled in the space of embeddings.

Shapes: C classes, P templates, N pictures, E width of the space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from graft.api.both_towers import open_both, table_of_side
from graft.api.cache import cache_folder
from graft.api.predicting import Predictions, places
from graft.data.check import usable
from graft.data.faults import refuse
from graft.errors import InputError
from graft.prompts import TEMPLATES, ensembled, image_vectors, probabilities_of, prompt_vectors
from graft.tasks.classify import Classify

__all__ = ["TEMPLATES", "zero_shot"]


def zero_shot(
    model: str | Path,
    data: str | Sequence[str],
    classes: Sequence[str],
    *,
    templates: Sequence[str] = TEMPLATES,
    input: str | None = None,
) -> Predictions:
    """Predict which class each picture is, from the names of the classes alone.

    Args:
        model: a run on pictures with captions, or a folder of CLIP's family.
        data: a folder of pictures, a picture, a table of them, or a list of paths.
        classes: their names.
        templates: prompts with `{}` where the name stands; several are ensembled.
        input: name of the input column, where `data` is a table.

    Returns:
        As `predict_data`; the probabilities are at the model's own temperature.

    Raises:
        InputError: names or templates are not usable, or `data` holds no pictures.
    """
    towers, _ = open_both(model)
    vectors = ensembled(prompt_vectors(towers, classes, templates, cache_folder()))
    table, from_files = table_of_side(data, input)
    if table.roles.modality != "image":
        raise InputError(f"{table.name_of_source}: holds no pictures; --zero-shot takes pictures")
    table = replace(table, roles=replace(table.roles, label=None))
    kept, findings = usable(table)
    refuse(findings)
    images = image_vectors(towers, kept)
    names = tuple(name.strip() for name in classes)
    answers = Classify(names).answers(probabilities_of(images, vectors, float(towers.log_scale)))
    found: dict[Any, Any] = dict(zip(places(kept), answers, strict=True))
    return Predictions(
        names,
        tuple(table.origin(i) for i in range(len(table))),
        tuple(found.get(place) for place in places(table)),
        (*table.findings, *findings),
        from_files,
    )
