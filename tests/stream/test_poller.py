"""Waiting for one socket, with ``poll`` and, where there is none, with ``select``."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from bybit_copyws.stream import poller
from bybit_copyws.stream.poller import Poller

PATIENCE = 5.0
SHORT = 0.05

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=["poll", "select"], autouse=True)
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "select":
        monkeypatch.setattr(poller, "_POLL", None)
    elif poller._POLL is None:
        pytest.skip("no poll here")


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


def fill(sock: socket.socket) -> None:
    """Send until the socket takes no more."""
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(bytes(65_536))


def empty(sock: socket.socket) -> None:
    """Read what there is."""
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.recv(65_536)


def test_nothing_to_read_takes_the_whole_timeout(pair: Pair) -> None:
    started = time.monotonic()
    assert not Poller(pair[0]).readable(SHORT)
    assert SHORT * 0.9 < time.monotonic() - started < PATIENCE


def test_a_look_does_not_wait(pair: Pair) -> None:
    waits = Poller(pair[0])
    assert not waits.readable(0.0)
    assert waits.writable(0.0)
    pair[1].send(b"x")
    assert waits.readable(0.0)
    pair[0].recv(1)
    assert not waits.readable(0.0)


def test_without_a_timeout_it_waits_until_there_is_something(pair: Pair) -> None:
    waits = Poller(pair[0])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(waits.readable, None)
        pair[1].send(b"x")
        assert waiting.result(PATIENCE) is True


def test_a_full_socket_is_writable_again_when_the_peer_has_read(pair: Pair) -> None:
    waits = Poller(pair[0])
    fill(pair[0])
    assert not waits.writable(SHORT)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(waits.writable, None)
        empty(pair[1])
        assert waiting.result(PATIENCE) is True


def test_the_end_is_something_to_read_and_nothing_to_wait_for(pair: Pair) -> None:
    waits = Poller(pair[0])
    fill(pair[0])
    pair[1].close()
    assert waits.readable(PATIENCE)
    assert waits.writable(PATIENCE)


def test_a_reset_ends_both_waits() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as sock:
        sock.connect(listener.getsockname())
        accepted = listener.accept()[0]
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()
        assert Poller(sock).readable(PATIENCE)
        assert Poller(sock).writable(PATIENCE)


def test_a_refused_connect_ends_the_wait() -> None:
    with socket.socket() as taken, socket.socket() as sock:
        taken.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        sock.connect_ex(taken.getsockname())
        assert Poller(sock).writable(PATIENCE)
