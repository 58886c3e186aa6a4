"""How many threads to compute with: measured, because a busy machine turns more threads into fewer.

With as many threads as cores and another job on one of them, every matrix product waits for its
slowest part: ten times slower has been seen. A third of a second of products of the size that
networks have tells which it is. The decision is taken once and written into the recipe, since
another number of threads gives other bits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

SECONDS_EACH = 0.15
GAIN_WANTED = 1.25


def choose_threads() -> int:
    """Return the number of threads that computes fastest now; one unless more gain clearly.

    Where `OMP_NUM_THREADS` is set, or a GPU computes, the number stays as it is.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if os.environ.get("OMP_NUM_THREADS") or torch.cuda.is_available() or (available or 1) == 1:
        return torch.get_num_threads()
    before = torch.get_num_threads()
    candidates = [n for n in (1, 2, 4, 8, 16, 32) if n < (available or 1)] + [available or 1]
    rates = {n: _products_per_second(n) for n in candidates}
    torch.set_num_threads(before)
    best = max(rates, key=rates.__getitem__)
    return best if rates[best] > GAIN_WANTED * rates[1] else 1


@contextmanager
def computing_with(n_threads: int) -> Iterator[None]:
    """Compute with a number of threads inside the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _products_per_second(n_threads: int) -> float:
    torch.set_num_threads(n_threads)
    a, b = torch.ones(512, 384), torch.ones(384, 1536)
    torch.mm(a, b)
    began, n = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS_EACH:
        torch.mm(a, b)
        n += 1
    return n / (time.perf_counter() - began)
