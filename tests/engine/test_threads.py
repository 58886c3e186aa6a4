"""The number of threads: measured once, given back, and out of the way where it was decided."""

from __future__ import annotations

import torch

from graft.engine import threads
from graft.engine.threads import choose_threads, computing_with


def test_more_threads_only_where_they_gain_clearly(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    for rates, expected in (
        ({1: 100.0, 2: 110.0, 4: 120.0}, 1),
        ({1: 100.0, 2: 190.0, 4: 350.0}, 4),
        ({1: 100.0, 2: 30.0, 4: 10.0}, 1),
    ):
        monkeypatch.setattr(threads, "_products_per_second", rates.__getitem__)
        assert choose_threads() == expected


def test_what_the_environment_says_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(threads, "_products_per_second", lambda n: 1 / 0)
    assert choose_threads() == torch.get_num_threads()


def test_threads_are_given_back(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    assert choose_threads() >= 1
    assert torch.get_num_threads() == before
    with computing_with(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
