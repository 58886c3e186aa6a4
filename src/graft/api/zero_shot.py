"""Classes by their names alone: the vectors of prompts are the classifier.

    classes × templates ─text tower→ prompts (C, P, E) ─mean, normalised→ class vectors (C, E)
    picture ─image tower→ (E,) ─cosine / temperature, softmax→ probabilities (C,)

Source: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
Supervision", section 3.1: prompts are ensembled in the space of embeddings.

Shapes: C classes, P templates, N pictures, E width of the space.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from graft.api.both_towers import embed_text, open_both, table_of_side
from graft.api.cache import cache_folder
from graft.api.predicting import Predictions, places
from graft.data.check import usable
from graft.data.faults import refuse
from graft.engine.fingerprint import fingerprint
from graft.engine.predict import predict_rows
from graft.errors import InputError
from graft.model import Towers
from graft.tasks.classify import Classify
from graft.tasks.labelled import table_stream
from graft.tasks.match import Match

TEMPLATES = ("a photo of a {}.",)


def prompts_of(classes: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Return C · P prompts, all templates of the first class first.

    Raises:
        InputError: there are fewer than two classes, one comes twice, or a template has no `{}`.

    >>> prompts_of(["rose", "tulip"], ["a {}.", "one {}"])
    ['a rose.', 'one rose', 'a tulip.', 'one tulip']
    """
    names = [name.strip() for name in classes]
    if len(names) < 2 or not all(names) or len(set(names)) < len(names):
        raise InputError(
            "--zero-shot: name two classes or more, each once, with commas between: rose,tulip"
        )
    odd = next((t for t in templates if t.count("{}") != 1), None)
    if odd is not None or not templates:
        raise InputError(
            f"--template {str(odd)[:60]!r}: write {{}} once, where the name of the class stands"
        )
    return [template.replace("{}", name) for name in names for template in templates]


def prompt_vectors(
    towers: Towers, classes: Sequence[str], templates: Sequence[str] = TEMPLATES
) -> np.ndarray:
    """Return the vectors (C, P, E) of every prompt, of length one; kept on disk between calls.

    Raises:
        InputError: as `prompts_of`.
    """
    prompts = prompts_of(classes, templates)
    text = [(k, t) for k, t in towers.state_dict().items() if k.startswith("text")]
    key = "\n".join([fingerprint(text), towers.text.processor.key, *prompts])
    path = cache_folder() / "prompts" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
    found: np.ndarray | None = None
    with suppress(OSError, ValueError):
        found = np.load(path)
    if found is None or found.shape != (len(prompts), towers.width):
        found = embed_text(towers, prompts)
        _keep(path, found)
    return found.reshape(len(classes), len(templates), -1)


def _keep(path: Path, vectors: np.ndarray) -> None:
    """Write an array whole or not at all; a cache that cannot be written is none."""
    part = path.with_suffix(f".{os.getpid()}.tmp.npy")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(part, vectors)
        os.replace(part, path)


def class_vectors(
    towers: Towers, classes: Sequence[str], templates: Sequence[str] = TEMPLATES
) -> np.ndarray:
    """Return the vector (C, E) of each class: the mean over templates, of length one again."""
    return ensembled(prompt_vectors(towers, classes, templates))


def ensembled(prompts: np.ndarray) -> np.ndarray:
    """Return the mean direction (C, E) of prompts (C, P, E)."""
    mean = prompts.mean(1)
    return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)


def probabilities_of(images: np.ndarray, classes: np.ndarray, log_scale: float) -> np.ndarray:
    """Return the softmax (N, C) of cosines over the temperature.

    Args:
        images: (N, E) of length one.
        classes: (C, E) of length one.
        log_scale: log of one over the temperature.
    """
    logits = np.exp(log_scale) * images.astype(np.float64) @ classes.T.astype(np.float64)
    found = np.exp(logits - logits.max(1, keepdims=True))
    return found / found.sum(1, keepdims=True)


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
    vectors = class_vectors(towers, classes, templates)
    table, from_files = table_of_side(data, input)
    if table.roles.modality != "image":
        raise InputError(f"{table.name_of_source}: holds no pictures; --zero-shot takes pictures")
    table = replace(table, roles=replace(table.roles, label=None))
    kept, findings = usable(table)
    refuse(findings)
    stream = table_stream(kept, towers.image, {})["train"]
    images = predict_rows(towers, Match(), stream)[Match.output]
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

