"""What the child process of `convert` cannot do any more, tried for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

TRY = """
import ctypes, os, platform, socket, subprocess, sys, threading
from pathlib import Path
import graft.weights.confine as confine
inside, outside = Path(sys.argv[1]), Path(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
if sys.argv[4] == "kernel":  # what binds native code too, without Python's own hook
    confine._audit = lambda folder: None
if sys.argv[4] == "python":
    confine._kernel_fences = lambda *_: []
ask, said = threading.Event(), []
thread = threading.Thread(
    target=lambda: (ask.wait(), said.append(libc.socket(2, 1, 0))), daemon=True
)
thread.start()  # before the fences, as a library's would be
confine.limit(memory_bytes=1 << 29, seconds=1, file_bytes=1 << 20)
fences = confine.confine(inside)
def not_refused():
    def is_refused(number):
        return libc.syscall(number, -1, 0, 0, 0, 0, 0) == -1 and ctypes.get_errno() == 1
    numbers = {"x86_64": (101, 310, 311), "aarch64": (117, 270, 271)}[platform.machine()]
    return [number for number in (*numbers, 425, 438) if not is_refused(number)]
def memory():
    return len(bytearray(1 << 30))
def spin():
    while True: pass
what = {
    "nothing": lambda: print("fences", *fences),
    "write-inside": lambda: (inside / "a").write_text("x"),
    "write-outside": lambda: (outside / "a").write_text("x"),
    "append-outside": lambda: (outside / "there").open("a").write("x"),
    "read-outside": lambda: (outside / "there").read_text(),
    "remove-outside": lambda: (outside / "there").unlink(),
    "rename-outside": lambda: (inside / "b").rename(outside / "b"),
    "folder-outside": lambda: (outside / "c").mkdir(),
    "link-outside": lambda: (outside / "d").symlink_to("/etc/passwd"),
    "through-a-link": lambda: (inside / "link" / "a").write_text("x"),
    "socket": lambda: socket.socket(),
    "name": lambda: socket.getaddrinfo("localhost", 80),
    "program": lambda: subprocess.run(["/bin/true"]),
    "shell": lambda: os.system("true") and sys.exit(9),
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "native-socket": lambda: libc.socket(2, 1, 0) >= 0 or sys.exit(9),
    "native-write": lambda: libc.creat(str(outside / "n").encode(), 420) >= 0 or sys.exit(9),
    "native-calls": lambda: not_refused() or sys.exit(9),
    "native-thread": lambda: [ask.set(), thread.join()] and said[0] >= 0 or sys.exit(9),
    "memory": memory,
    "time": spin,
    "size": lambda: (inside / "large").write_bytes(bytes(1 << 21)),
}[sys.argv[3]]()
print("done")
"""


@pytest.fixture
def attempt(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "there").write_text("x", encoding="utf-8")
    (inside / "b").write_text("x", encoding="utf-8")
    (inside / "link").symlink_to(outside)

    def call(what, fence="all"):
        return subprocess.run(
            [sys.executable, "-c", TRY, str(inside), str(outside), what, fence],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": os.pathsep.join(sys.path)},
            timeout=60,
            check=False,
        )

    call.outside = outside
    return call


def fences(attempt):
    return attempt("nothing").stdout.split()[1:-1]


@pytest.mark.parametrize("what", ["nothing", "write-inside", "read-outside"])
def test_what_is_needed_stays_possible(what, attempt):
    done = attempt(what)
    assert done.returncode == 0, done.stderr
    assert "done" in done.stdout
    assert "audit" in fences(attempt)


OUTSIDE = ["write-outside", "append-outside", "remove-outside", "rename-outside"]
OUTSIDE += ["folder-outside", "link-outside", "through-a-link"]


@pytest.mark.parametrize("what", [*OUTSIDE, "socket", "name", "program", "shell", "exec"])
def test_python_is_refused(what, attempt):
    done = attempt(what, "python")
    assert "done" not in done.stdout
    assert "is refused while weights are converted" in done.stderr
    assert sorted(p.name for p in attempt.outside.iterdir()) == ["there"]
    assert (attempt.outside / "there").read_text(encoding="utf-8") == "x"


NATIVE = ["native-socket", "native-write", "native-calls", "native-thread"]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's fences are Linux's")
@pytest.mark.parametrize("what", [*OUTSIDE, "socket", "exec", *NATIVE])
def test_the_kernel_refuses_native_code_too(what, attempt):
    if not {"landlock", "seccomp"} <= set(fences(attempt)):
        pytest.skip("this kernel has no Landlock or no seccomp")
    done = attempt(what, "kernel")
    assert "done" not in done.stdout
    assert done.returncode != 0
    assert sorted(p.name for p in attempt.outside.iterdir()) == ["there"]
    assert (attempt.outside / "there").read_text(encoding="utf-8") == "x"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_memory_and_size_are_limited(attempt):
    assert "MemoryError" in attempt("memory").stderr
    assert attempt("size").returncode != 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_time_is_limited(attempt):
    assert attempt("time").returncode == -signal.SIGXCPU
