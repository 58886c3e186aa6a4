"""Tests cannot reach the network unless they are marked for it."""

import os
import socket

import pytest


@pytest.mark.parametrize("reach", ["connect", "connect_ex"])
def test_sockets_do_not_leave_the_machine(reach: str) -> None:
    with socket.socket() as outside, pytest.raises(RuntimeError, match="reached for the network"):
        getattr(outside, reach)(("192.0.2.1", 80))  # an address reserved for documentation


def test_names_are_not_looked_up() -> None:
    with pytest.raises(RuntimeError, match="reached for the network"):
        socket.create_connection(("example.invalid", 80), timeout=1)


def test_loopback_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(address, timeout=5) as client:
            assert client.getpeername() == address


def test_hub_is_offline_and_threads_are_limited() -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert int(os.environ["OMP_NUM_THREADS"]) >= 1
