"""How much memory this process can still get, measured in one place."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

ENDLESS_BYTES = 1 << 62
"""What is said to be available where the system says nothing."""
GROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    (
        "/sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)
"""Of both versions of control groups: folder, limit, what is used, what of it is file cache."""

Read = Callable[[str], str | None]


def available_bytes(read: Read | None = None) -> int:
    """Return the memory that this process can still get.

    The least of what the system says is available, what its control group and its own limit of
    address space leave.

    Args:
        read: returns the text of a file, None where there is none.
    """
    read = read or _read
    found = [_of_system(read), *_of_group(read), _of_address_space(read)]
    return min((n for n in found if n is not None), default=ENDLESS_BYTES)


def peak_bytes() -> int:
    """Return the most memory that this process has held; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows does not count it
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak() -> bool:
    """Let `peak_bytes` count from now on; returns whether the system can."""
    try:
        Path("/proc/self/clear_refs").write_text(
            "5", encoding="ascii"
        )  # Linux: the high-water mark
    except OSError:
        return False
    return True


def _of_system(read: Read) -> int | None:
    for line in (read("/proc/meminfo") or "").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _of_group(read: Read) -> list[int | None]:
    """Return what the control group leaves, its file cache counted as free."""
    found: list[int | None] = []
    for folder, limit, used, cache in GROUPS:
        most, now = read(f"{folder}/{limit}"), read(f"{folder}/{used}")
        if most is None or now is None or not most.strip().isdecimal():
            continue
        lines = (read(f"{folder}/memory.stat") or "").splitlines()
        reclaimable = sum(int(x.split()[1]) for x in lines if x.startswith(f"{cache} "))
        found.append(int(most) - int(now) + reclaimable)
    return found


def _of_address_space(read: Read) -> int | None:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = read("/proc/self/statm")
    if soft == resource.RLIM_INFINITY or pages is None:
        return None
    return soft - int(pages.split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return None
