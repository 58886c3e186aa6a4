"""Ask the hub once whether it is there, before its client does so six times, for 25 s each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

TIMEOUT_S = 5.0


def reaches(name: str) -> bool:
    """Say whether the hub answers and has a model of this name."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=TIMEOUT_S)
    except Exception:  # of whichever HTTP library the hub's client is built on
        return False
    return True


@contextmanager
def from_cache_unless_reached(name: str) -> Iterator[None]:
    """Let a library that loads this model look at what is cached alone, if the hub is away."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not reaches(name)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
