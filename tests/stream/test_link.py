"""The link: order, interrupts, deadlines and the end of what is sent."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from bybit_copyws.sandbox.tls import ThrowawayAuthority
from bybit_copyws.stream import tls as tls_module
from bybit_copyws.stream.link import Link
from bybit_copyws.stream.tls import Tls

HOST = "127.0.0.1"
PATIENCE = 5.0


@pytest.fixture
def pair() -> Iterator[tuple[Link, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE)
    link = Link(ours)
    yield link, theirs
    link.close()
    theirs.close()


class Interrupting:
    """A socket whose send is interrupted once, behind the system call."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._left = 1

    def send(self, data: bytes, flags: int) -> int:
        sent = self._sock.send(data, flags)
        if self._left:
            self._left -= 1
            raise KeyboardInterrupt
        return sent

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)


def test_an_interrupted_send_ends_the_link_and_holds_nothing_up(
    pair: tuple[Link, socket.socket],
) -> None:
    link, theirs = pair
    link._sock = Interrupting(link._sock)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        link.send(b"one")
    assert theirs.recv(10) == b"one"
    assert theirs.recv(10) == b""  # not once more
    link.send(b"two")
    link.close()  # would wait for ever for a lock that nobody gives back


def test_what_cannot_be_encrypted_is_told_by_the_reader(
    secure: tuple[Link, _Server, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    link, _, _ = secure

    def wants_to_read(_: bytes) -> bytes:
        raise ssl.SSLWantReadError("a renegotiation is under way")

    assert link._tls is not None
    monkeypatch.setattr(link._tls, "encrypt", wants_to_read)
    link.send(b"x")
    with pytest.raises(ssl.SSLError, match="renegotiation"):
        link.receive(memoryview(bytearray(10)))


def test_nothing_leaves_behind_the_last(pair: tuple[Link, socket.socket]) -> None:
    link, theirs = pair
    link.send(b"a")
    link.send(b"b", last=True)
    link.send(b"c")
    link.close()
    assert theirs.recv(10) + theirs.recv(10) == b"ab"


def test_the_time_of_a_block_is_that_of_one_message(pair: tuple[Link, socket.socket]) -> None:
    link, theirs = pair
    big = bytes(200_000)
    while link.blocked_since is None:
        link.send(big)
    first = link.blocked_since
    left = len(link._outbox)
    assert left == 1
    link.send(big)
    while len(link._outbox) == 2:
        theirs.recv(100_000)
        link.flush()
    assert link.blocked_since is None or link.blocked_since > first


def test_a_drip_does_not_pass_the_deadline(pair: tuple[Link, socket.socket]) -> None:
    link, theirs = pair
    theirs.sendall(b"xxx")
    view = memoryview(bytearray(1))
    assert link.receive(view, time.monotonic() + PATIENCE) == 1
    with pytest.raises(TimeoutError):
        link.receive(view, time.monotonic() - 0.001)


# TLS


@pytest.fixture
def secure() -> Iterator[tuple[Link, _Server, socket.socket]]:
    """A link whose handshake is done, and the other side."""
    authority = ThrowawayAuthority(HOST)
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE)
    client = Tls(authority.client, HOST)
    server = _Server(theirs, authority.server)
    while not (client.shake_hands() and server.done):
        theirs_in = client.take_outgoing()
        if theirs_in:
            client.feed(server.answer(theirs_in))
    server.answer(client.take_outgoing())
    link = Link(ours, client)
    yield link, server, theirs
    link.close()
    theirs.close()


class _Server:
    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_side=True)
        self.done = False

    def answer(self, data: bytes) -> bytes:
        self._in.write(data)
        if not self.done:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            else:
                self.done = True
        return self._out.read()

    def records(self, *texts: bytes) -> bytes:
        for text in texts:
            self.tls.write(text)
        return self._out.read()

    def read(self) -> bytes:
        self._in.write(self.sock.recv(100_000))
        return self.tls.read(100_000)


def received(link: Link) -> bytes:
    view = memoryview(bytearray(100))
    return bytes(view[: link.receive(view)])


def test_the_other_side_is_told_that_nothing_more_comes(
    secure: tuple[Link, _Server, object],
) -> None:
    link, server, _ = secure
    link.send(b"hello", last=True)
    link.close()
    assert server.read() == b"hello"
    assert server.tls.read(10) == b""


def test_what_came_before_a_broken_record_is_delivered(
    secure: tuple[Link, _Server, socket.socket],
) -> None:
    link, server, theirs = secure
    theirs.sendall(server.records(b"good") + b"\x17\x03\x03\x00\x20" + bytes(32))
    assert received(link) == b"good"
    with pytest.raises(ssl.SSLError):
        received(link)
    # And the server hears of it.
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        server.read()


def test_a_long_batch_is_handed_out_in_parts(
    secure: tuple[Link, _Server, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    link, server, theirs = secure
    theirs.sendall(server.records(b"one", b"two", b"three"))
    assert received(link) == b"onetwothree"
    moments = iter(range(100))
    monkeypatch.setattr(tls_module, "_clock", lambda: next(moments))
    theirs.sendall(server.records(b"four", b"five"))
    assert received(link) == b"four"
    assert received(link) == b"five"
