"""Take from this process what reading a file of weights does not need, for good.

Three fences, of which the first holds everywhere and the others where the system has them:

- a hook of Python's own auditing refuses sockets, new processes, and writing outside one folder;
- limits of the system on memory, processor time and the size of files;
- on Linux a filter of system calls without sockets and new programs, and Landlock, which lets the
  process write beneath one folder alone. Both bind native code too.

Source: man pages getrlimit(2), seccomp(2), landlock(7).
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BANNED_EVENTS = (
    *("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system"),
    *("os.startfile", "os.symlink", "os.link", "os.chmod", "os.chown", "pty.", "ctypes."),
    *("ftplib.", "http.", "smtplib.", "urllib.", "webbrowser.", "winreg.", "signal.pthread_kill"),
)
CHANGING_EVENTS = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "shutil.")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# Numbers of system calls, and how the kernel calls the machine: seccomp knows numbers alone.
# Refused are sockets, new programs, the memory and handles of other processes, and the ring that
# does such things without a call of its own.
_ALIKE = {"io_uring_setup": 425, "pidfd_getfd": 438}  # newer calls have one number everywhere
MACHINES = {
    "x86_64": (
        0xC000003E,
        {"socket": 41, "connect": 42, "execve": 59, "execveat": 322, "ptrace": 101}
        | {"process_vm_readv": 310, "process_vm_writev": 311}
        | _ALIKE,
    ),
    "aarch64": (
        0xC00000B7,
        {"socket": 198, "connect": 203, "execve": 221, "execveat": 281, "ptrace": 117}
        | {"process_vm_readv": 270, "process_vm_writev": 271}
        | _ALIKE,
    ),
}
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
LANDLOCK_WRITES = 0b1_1111_1111_0010  # write, and all that makes or removes: bits 1, 4 to 12
LANDLOCK_EXECUTE = 1
LANDLOCK_TRUNCATE = 1 << 14
LANDLOCK_REFER = 1 << 13
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP = {"x86_64": 317, "aarch64": 277}
SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC = 1, 1
SECONDS_TO_END = 5
"""Between the signal that names processor time as the cause and the one that names nothing."""


def limit(*, memory_bytes: int, seconds: int, file_bytes: int) -> None:
    """Limit memory beyond what is held now, processor seconds, and the size of a written file."""
    try:
        import resource
    except ImportError:  # Windows has none
        return
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_CPU, seconds, beyond=SECONDS_TO_END)
    _lower(resource.RLIMIT_FSIZE, file_bytes)
    held = _held_bytes()
    if held:
        _lower(resource.RLIMIT_AS, held + memory_bytes)


def _lower(which: int, value: int, beyond: int = 0) -> None:
    """Set the soft limit to `value` and the hard one `beyond` it, neither above what is allowed."""
    import resource

    hard = resource.getrlimit(which)[1]
    allowed = value + beyond if hard == resource.RLIM_INFINITY else min(value + beyond, hard)
    resource.setrlimit(which, (min(value, allowed), allowed))


def _held_bytes() -> int:
    """Return the size of this process's address space; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def confine(writable: Path) -> tuple[str, ...]:
    """Give up sockets, new programs, and writing anywhere but beneath `writable`.

    Returns:
        Names of the fences that stand; `audit` always does.
    """
    fences = ["audit"]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
            fences += [name for name, holds in _kernel_fences(libc, writable) if holds]
    _audit(writable.resolve())
    return tuple(fences)


def _kernel_fences(libc: Any, writable: Path) -> Sequence[tuple[str, bool]]:
    return [("landlock", _landlock(libc, writable)), ("seccomp", _seccomp(libc))]


def _landlock(libc: Any, writable: Path) -> bool:
    """Let writes pass beneath one folder alone, and no program be started."""
    version = libc.syscall(LANDLOCK_CREATE, None, 0, 1)
    if version < 1:
        return False
    rights = LANDLOCK_WRITES | (LANDLOCK_REFER if version >= 2 else 0)
    rights |= LANDLOCK_TRUNCATE if version >= 3 else 0
    handled = ctypes.create_string_buffer(struct.pack("=Q", rights | LANDLOCK_EXECUTE))
    rules = libc.syscall(LANDLOCK_CREATE, handled, 8, 0)
    if rules < 0:
        return False
    folder = os.open(writable, os.O_PATH | os.O_DIRECTORY)
    beneath = ctypes.create_string_buffer(struct.pack("=Qi", rights, folder))
    holds = libc.syscall(LANDLOCK_ADD, rules, 1, beneath, 0) == 0
    holds = holds and libc.syscall(LANDLOCK_RESTRICT, rules, 0) == 0
    os.close(folder)
    os.close(rules)
    return holds


def _seccomp(libc: Any) -> bool:
    """Answer the calls that reach out with "not permitted"; a foreign call table ends the process.

    The program: load the machine's name, kill if it is another; load the call's number, compare it
    with each banned one, refuse it or let it pass.
    """
    if platform.machine() not in MACHINES:
        return False
    machine, banned = MACHINES[platform.machine()]
    load, equal, answer = 0x20, 0x15, 0x06
    kill, refuse, allow = 0x80000000, 0x00050000 | 1, 0x7FFF0000
    steps = [(load, 0, 0, 4), (equal, 1, 0, machine), (answer, 0, 0, kill), (load, 0, 0, 0)]
    if platform.machine() == "x86_64":
        at_least = 0x35  # numbers from 2^30 on are another call table of the same machine
        steps += [(at_least, 0, 1, 1 << 30), (answer, 0, 0, kill)]
    for number in banned.values():
        steps += [(equal, 0, 1, number), (answer, 0, 0, refuse)]
    steps.append((answer, 0, 0, allow))
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(
        struct.pack("@HP", len(steps), ctypes.addressof(code)), struct.calcsize("@HP")
    )
    # The older call binds the thread that makes it; libraries may have started others.
    number = SECCOMP[platform.machine()]
    if libc.syscall(number, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, program) == 0:
        return True
    return libc.prctl(PR_SET_SECCOMP, 2, program, 0, 0) == 0


def _audit(writable: Path) -> None:
    """Refuse what Python itself is asked to do; the hook cannot be taken off again."""

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(BANNED_EVENTS):
            raise PermissionError(f"{event} is refused while weights are converted")
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & WRITING and not _beneath(path, writable):
                raise PermissionError("writing elsewhere is refused while weights are converted")
        elif event.startswith(CHANGING_EVENTS):
            places = arguments[: 2 if event == "os.rename" else 1]  # from where, and to where
            if not all(_beneath(place, writable) for place in places):
                raise PermissionError(f"{event} elsewhere is refused while weights are converted")

    sys.addaudithook(refuse)


def _beneath(path: Any, folder: Path) -> bool:
    if isinstance(path, int):  # a handle that is open already
        return True
    place = Path(os.path.realpath(os.fsdecode(path)))
    return place == folder or folder in place.parents
