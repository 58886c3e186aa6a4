"""What the machine offers to a training, and what about it will make one slow or fail."""

from __future__ import annotations

import os
from pathlib import Path

from graft.data.faults import Finding, shorten_path

LEAST_FREE_BYTES = 2_000_000_000
CGROUP = Path("/sys/fs/cgroup")


def processors() -> int:
    """Return how many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def quota_processors(cgroup: Path = CGROUP) -> float | None:
    """Return how many processors a container may keep busy; None without such a limit."""
    try:
        quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:  # the first version of control groups
        quota_us = int((cgroup / "cpu/cpu.cfs_quota_us").read_text(encoding="ascii"))
        period_us = int((cgroup / "cpu/cpu.cfs_period_us").read_text(encoding="ascii"))
        return quota_us / period_us if quota_us > 0 else None
    except (OSError, ValueError):
        return None


def judge_load(n_processors: int, quota: float | None, load: float | None) -> list[Finding]:
    """Return what will make a training slow."""
    findings = []
    if quota is not None and quota < n_processors:
        text = f"{n_processors} processors are seen but a quota allows {quota:g}; pass --threads "
        text += f"{max(1, int(quota))}"
        findings.append(Finding("quota", "warn", text))
    n_all = os.cpu_count() or 1
    if load is not None and load > n_all:
        text = f"{load:.1f} processes want the machine's {n_all} processors: runs will be slow; "
        text += "wait, or pass --threads 1"
        findings.append(Finding("load", "warn", text))
    return findings


def judge_cache(cache: Path, free_bytes: int) -> list[Finding]:
    """Return why feature stores could not be kept in their folder."""
    shown = shorten_path(str(cache), 60)
    if not os.access(nearest_folder(cache), os.W_OK | os.X_OK):
        text = f"{shown} cannot be written; set GRAFT_CACHE to another folder or pass --cache off"
        return [Finding("cache", "warn", text)]
    if free_bytes < LEAST_FREE_BYTES:
        text = f"{shown}: {free_bytes / 1e9:.1f} GB free; free some space or set GRAFT_CACHE"
        return [Finding("disk", "warn", text)]
    return []


def nearest_folder(path: Path) -> Path:
    """Return the path itself or the nearest folder above it that exists."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.is_dir())
