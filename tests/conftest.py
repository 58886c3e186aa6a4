"""What every test may rely on: one thread, no network, and the shared data where it is present."""

from __future__ import annotations

import os
import sys

# Before torch is imported: two test processes with two threads each are slower than with one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import ipaddress
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.quick import is_quick

# other work on the machine is no fault of a test
settings.register_profile("graft", deadline=None)
settings.load_profile("graft")

ROOT = Path(__file__).resolve().parent.parent

# a shell or nohup starts what runs in the background so, and graft leaves an ignored signal ignored
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

if "torch" in sys.modules:  # a plugin was faster than the line above
    sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "[" in item.name:
            path = item.path.relative_to(ROOT / "tests").as_posix()
            if not is_quick(path, item.name.split("[", 1)[1][:-1]):
                item.add_marker(pytest.mark.slow)
    needs_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if needs_gpu:
        import torch

        if not torch.cuda.is_available():
            for item in needs_gpu:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
    if os.environ.get("GRAFT_NETWORK") != "1":
        for item in items:
            if item.get_closest_marker("network"):
                item.add_marker(pytest.mark.skip(reason="needs the network: set GRAFT_NETWORK=1"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared real data: `$GRAFT_SHARED`, else `shared` beside the repository."""
    folder = Path(os.environ.get("GRAFT_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("needs the shared data: set GRAFT_SHARED to its folder")
    return folder


class _Gate:
    """Keep whether sockets may leave this machine."""

    is_open = False


def _is_local(address: Any) -> bool:
    if not isinstance(address, tuple):  # a unix socket's path
        return True
    host = address[0]
    if host in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        ip = ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host)
    except ValueError:
        return False
    return ip.is_loopback or ip.is_unspecified


def _refuse_unless_local(address: Any) -> None:
    if not _Gate.is_open and not _is_local(address):
        raise RuntimeError(f"a test reached for the network: {address!r} (mark it `network`?)")


@pytest.fixture(scope="session", autouse=True)
def _guard_sockets() -> Iterator[None]:
    # For the whole session, so that fixtures of every scope are held to it as well.
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex
    getaddrinfo = socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _refuse_unless_local(address)
        return connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _refuse_unless_local(address)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse_unless_local((host,))
        return getaddrinfo(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
        yield


@pytest.fixture(autouse=True)
def _open_gate_for_network(request: pytest.FixtureRequest) -> Iterator[None]:
    _Gate.is_open = request.node.get_closest_marker("network") is not None
    yield
    _Gate.is_open = False
