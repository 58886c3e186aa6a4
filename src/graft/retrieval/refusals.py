"""What a writer refuses: another model, ids that are there already, ids that are not there."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from graft.data.faults import listed, shorten
from graft.errors import InputError, ModelError
from graft.retrieval.manifest import Manifest

N_COMPARED = 100_000
"""Ids among which the nearest to a wrong one is looked for."""


@dataclass(frozen=True)
class About:
    """Say what makes an index's vectors.

    Args:
        model: fingerprint of weights and processor.
        name: what the model is called.
        metric: `cosine` or `dot`.
    """

    model: str
    name: str
    metric: str = "cosine"


def refuse_other_model(manifest: Manifest, about: About) -> None:
    """Raise where another model made an index's vectors.

    Raises:
        ModelError: names both fingerprints.
    """
    if manifest.model != about.model:
        raise ModelError(
            f"the index was made by model {manifest.model[:12]}, and this is {about.model[:12]}; "
            "build it again: graft index RUN DATA --rebuild"
        )
    if manifest.metric != about.metric:
        raise InputError(
            f"the index compares by {manifest.metric}, not by {about.metric}; leave out --metric, "
            "or build it again with --rebuild"
        )


def refuse_known(ids: Sequence[str], numbers_of: Callable[[Sequence[str]], dict[str, Any]]) -> None:
    """Raise where an id is in the index already."""
    known = numbers_of(ids)
    if known:
        n = f" and {len(known) - 1:,} more" if len(known) > 1 else ""
        raise InputError(
            f"id `{shorten(next(iter(known)), 60)}`{n}: in the index already; delete it first, or "
            "leave it out of the data"
        )


def refuse_unknown(
    ids: Sequence[str],
    found: dict[str, Any],
    deleted: dict[str, Any],
    all_ids: Callable[[], list[str]],
) -> None:
    """Raise where an id to be deleted is not there, or is named twice."""
    if len(set(ids)) < len(ids):
        twice = next(id_ for i, id_ in enumerate(ids) if id_ in ids[:i])
        raise InputError(f"id `{shorten(twice, 60)}`: named twice; name it once")
    missing = [id_ for id_ in ids if id_ not in found]
    if not missing:
        return
    first = shorten(missing[0], 60)
    if missing[0] in deleted:
        raise InputError(f"id `{first}`: was deleted already; leave it out")
    near = _nearest(missing[0], all_ids())
    hint = f" (there is {listed(near)})" if near else ""
    raise InputError(f"id `{first}`: is not in the index{hint}; correct it")


def _nearest(id_: str, known: Sequence[str]) -> list[str]:
    return difflib.get_close_matches(id_, known[:N_COMPARED], n=1)
