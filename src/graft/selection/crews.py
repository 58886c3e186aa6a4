"""Who runs the trials of a sweep: this process alone, or the workers of a Ray cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, Protocol

from graft.engine.settings import Listener
from graft.errors import MissingExtra
from graft.selection.attempt import Attempt, Outcome


class Crew(Protocol):
    """Run trials, one or several at a time."""

    @property
    def n_at_once(self) -> int:
        """Return how many trials may be under way."""
        ...

    def start(self, number: int, options: Mapping[str, float]) -> None:
        """Begin a trial."""
        ...

    def next_done(self) -> tuple[int, Outcome]:
        """Wait for any trial under way, and return its number and what came of it."""
        ...


class Alone:
    """Run one trial after the other in this process."""

    n_at_once = 1

    def __init__(self, attempt: Attempt, listener: Listener) -> None:
        self._attempt = attempt
        self._listener = listener
        self._next: tuple[int, Mapping[str, float]] | None = None

    def start(self, number: int, options: Mapping[str, float]) -> None:
        self._next = (number, options)

    def next_done(self) -> tuple[int, Outcome]:
        assert self._next is not None
        number, options = self._next
        return number, self._attempt(options, self._listener)


class OnRay:
    """Run trials as tasks of a Ray cluster, each with as many processors as it has threads.

    The cluster is that of `RAY_ADDRESS`, or one on this machine that ends with the context. Feature
    stores are shared where the workers see the same cache folder. What travels is the table, the
    recipe, and the outputs.

    Raises:
        MissingExtra: ray is not installed.
    """

    def __init__(self, attempt: Attempt, n_threads: int) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._ray = load_ray()
        if not self._ray.is_initialized():
            quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
            self._ray.init(include_dashboard=False, **quiet)
            self._is_ours = True
        else:
            self._is_ours = False
        cores = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        n_each = min(n_threads, cores)  # a task that wants more than there is would wait for ever
        self.n_at_once = cores // n_each
        self._attempt = self._ray.put(attempt)
        self._work = self._ray.remote(num_cpus=n_each, max_retries=0)(_work)
        self._n_threads = n_threads
        self._under_way: dict[Any, int] = {}

    def __enter__(self) -> OnRay:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_ours:
            self._ray.shutdown()

    def start(self, number: int, options: Mapping[str, float]) -> None:
        ref = self._work.remote(self._attempt, dict(options), self._n_threads)
        self._under_way[ref] = number

    def next_done(self) -> tuple[int, Outcome]:
        (ref,), _ = self._ray.wait(list(self._under_way), num_returns=1)
        number = self._under_way.pop(ref)
        try:
            return number, self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None


def load_ray() -> Any:
    """Return the library.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise MissingExtra("--ray needs ray: pip install 'graft[ray]'") from None
    return ray


def _work(attempt: Attempt, options: dict[str, float], n_threads: int) -> Outcome:
    """Run one trial on a worker."""
    from graft.engine.threads import computing_with

    with computing_with(n_threads):
        return attempt(options, Listener())
