"""Law: the least of all limits counts, and a system without limits is no fault."""

from __future__ import annotations

import resource
import subprocess
import sys

from graft.memory import ENDLESS_BYTES, available_bytes, peak_bytes


def test_the_least_of_all_limits_counts(monkeypatch):
    files = {
        "/proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 4000 kB\n",
        "/sys/fs/cgroup/memory.max": "3000000\n",
        "/sys/fs/cgroup/memory.current": "2500000\n",
        "/sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 400000\n",
    }
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert available_bytes(read=files.get) == 900_000
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert available_bytes(read=files.get) == 4_096_000
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10_000_000, 10_000_000))
    files["/proc/self/statm"] = "2000 1 1\n"
    assert available_bytes(read=files.get) == 10_000_000 - 2000 * resource.getpagesize()
    assert available_bytes(read=lambda _: None) == ENDLESS_BYTES


def test_the_peak_is_that_of_this_process():
    assert 10_000_000 < peak_bytes() < 1 << 40


def test_without_limits_of_processes():
    # as on Windows, where the module does not exist
    code = """
import sys
sys.modules["resource"] = None
import graft.api.finishing
from graft.memory import available_bytes, peak_bytes
assert available_bytes() > 0 and peak_bytes() == 0
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-300:]
