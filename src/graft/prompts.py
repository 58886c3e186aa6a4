"""Prompts: what a text tower makes of the names of classes, and a head that begins there.

    classes × templates ─text tower→ prompts (C, P, E) ─mean, normalised→ class vectors (C, E)

Shapes: C classes, P templates, N pictures, E width of the space, D of the features.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graft.data.table import Table
from graft.engine.fingerprint import fingerprint
from graft.engine.predict import predict_rows
from graft.errors import InputError
from graft.heads import Projection, ZeroShot
from graft.model import Towers
from graft.records import Wording
from graft.tasks.labelled import table_stream
from graft.tasks.match import Match

MATCH: Any = Match()
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


def text_vectors(towers: Towers, table: Table) -> np.ndarray:
    """Return the vectors (N, E) of a table of texts, of length one."""
    stream = table_stream(table, towers.text, {})["train"]
    return predict_rows(towers, MATCH, stream)[Match.output]


def image_vectors(towers: Towers, table: Table, n_workers: int | None = None) -> np.ndarray:
    """Return the vectors (N, E) of a table of pictures, of length one."""
    stream = table_stream(table, towers.image, {})["train"]
    return predict_rows(towers, MATCH, stream, n_workers=n_workers)[Match.output]


def prompt_vectors(
    towers: Towers,
    classes: Sequence[str],
    templates: Sequence[str] = TEMPLATES,
    cache: Path | None = None,
) -> np.ndarray:
    """Return the vectors (C, P, E) of every prompt, of length one.

    Args:
        cache: folder where they are kept between calls, or None.

    Raises:
        InputError: as `prompts_of`.
    """
    prompts = prompts_of(classes, templates)
    path, found = None, None
    if cache is not None:
        text = [(k, t) for k, t in towers.state_dict().items() if k.startswith("text")]
        key = "\n".join([fingerprint(text), towers.text.processor.key, *prompts])
        path = cache / "prompts" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
        with suppress(OSError, ValueError):
            found = np.load(path)
    if found is None or found.shape != (len(prompts), towers.width):
        found = text_vectors(towers, Table.of_values(prompts, "text"))
        if path is not None:
            _keep(path, found)
    return found.reshape(len(classes), len(templates), -1)


def _keep(path: Path, vectors: np.ndarray) -> None:
    """Write an array whole or not at all; a cache that cannot be written is none."""
    part = path.with_suffix(f".{os.getpid()}.tmp.npy")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(part, vectors)
        part.replace(path)


def ensembled(prompts: np.ndarray) -> np.ndarray:
    """Return the mean direction (C, E) of prompts (C, P, E), of length one again.

    Source: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
    Supervision", section 3.1.4: prompts are ensembled in the space of embeddings.
    """
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


def wordings_of(
    images: np.ndarray, labels: np.ndarray, prompts: np.ndarray, templates: Sequence[str]
) -> tuple[Wording, ...]:
    """Return how many pictures each template alone gets right, and then all of them together.

    Args:
        images: (N, E) of length one.
        labels: (N,) class numbers.
        prompts: (C, P, E).
        templates: P of them.
    """

    def right(classes: np.ndarray) -> float:
        return float(((images @ classes.T).argmax(1) == labels).mean())

    found = [Wording(t, right(ensembled(prompts[:, [i]]))) for i, t in enumerate(templates)]
    if len(templates) > 1:
        found.append(Wording("all together", right(ensembled(prompts))))
    return tuple(found)


@torch.no_grad()
def write_zero_shot(head: ZeroShot, towers: Towers, classes: np.ndarray) -> None:
    """Write class vectors (C, E) into a head, which then answers as the two towers do."""
    if isinstance(towers.image_head, Projection):
        head.project.load_state_dict(towers.image_head.state_dict())
    scale = float(towers.log_scale.exp())
    head.out.weight.copy_(torch.from_numpy(scale * classes))
    head.out.bias.zero_()
