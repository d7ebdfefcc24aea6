"""One link through WebSocketApp, against a server that does exactly what it is told."""

from __future__ import annotations

import logging
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import websocket
from raw_server import CLOSE, PING, PONG, TEXT, Peer, RawServer, frame

from bybit_copyws.errors import ConnectFailed, ConnectionLost, StreamError
from bybit_copyws.policy.liveness import LinkStatus
from bybit_copyws.stream.endpoint import Endpoint
from bybit_copyws.stream.transport import Transport
from bybit_copyws.wire.frames import Close
from bybit_copyws.wire.http_head import MAX_HEADERS

PATIENCE = 5.0


class Running:
    """A transport in a thread of its own."""

    def __init__(self, url: str, open_timeout: float = PATIENCE, **options: Any) -> None:
        options.setdefault("max_message_size", 2**20)
        endpoint = Endpoint.parse(url)
        self.transport = Transport(endpoint, open_timeout=open_timeout, **options)
        self.opened = threading.Event()
        self.items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.batches: list[int] = []
        self._answer: StreamError | BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._answer = self.transport.run(self.opened.set, self._take)
        except BaseException as error:  # noqa: BLE001 (looked at by the test)
            self._answer = error

    def _take(self, items: list[Any]) -> None:
        for item in items:
            if type(item) is not bytes:
                self.transport.control(item)
            self.items.put(item)

    def next(self) -> Any:
        return self.items.get(timeout=PATIENCE)

    def error(self) -> Any:
        """Wait for the end and return what ``run`` gave or raised."""
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "the link did not end"
        return self._answer


@contextmanager
def running(script: Callable[[Peer], object], **options: Any) -> Iterator[Running]:
    with RawServer(script) as server:
        link = Running(server.url, **options)
        try:
            yield link
        finally:
            link.transport.end()
            link.thread.join(PATIENCE)


# The handshake


def test_the_request_is_what_rfc_6455_asks_for() -> None:
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    with running(lambda peer: requests.put(peer.read_request())):
        head = requests.get(timeout=PATIENCE).decode()
    lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
    assert head.startswith("GET / HTTP/1.1\r\n")
    assert lines["Upgrade"] == "websocket"
    assert lines["Sec-WebSocket-Version"] == "13"
    assert not {"Cookie", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"} & set(lines)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(status: int) -> None:
    second: list[Peer] = []

    with RawServer(second.append) as other:

        def redirect(peer: Peer) -> None:
            peer.read_request()
            target = other.url.replace("ws:", "http:")
            peer.sock.sendall(f"HTTP/1.1 {status} Moved\r\nLocation: {target}\r\n\r\n".encode())

        with running(redirect) as link:
            error = link.error()
    assert isinstance(error, ConnectFailed)
    assert error.status == status
    assert "127.0.0.1" in str(error)
    assert not second


def test_no_cookie_is_kept_or_sent() -> None:
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def script(peer: Peer) -> None:
        peer.upgrade("Set-Cookie: session=1; Domain=127.0.0.1; Path=/")
        requests.put(peer.request)

    with RawServer(script) as server:
        for _ in range(2):
            link = Running(server.url)
            assert link.opened.wait(PATIENCE)
            link.transport.end()
            link.error()
    assert b"ookie" not in requests.get() + requests.get()
    assert not websocket._handshake.CookieJar.jar


def test_a_cookie_of_another_program_is_not_sent() -> None:
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    jar = websocket._handshake.CookieJar
    jar.add("other=1; Domain=127.0.0.1")
    try:
        assert jar.get("127.0.0.1")
        with running(lambda peer: requests.put(peer.read_request())):
            head = requests.get(timeout=PATIENCE)
    finally:
        jar.jar.clear()
    assert b"ookie" not in head


@pytest.mark.parametrize(
    ("reply", "status", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", 403, "403"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", 502, "502"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", 200, "200"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", None, "HTTP"),
        (b"", None, "no reply came"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 101, "upgrade"),
    ],
)
def test_any_other_answer_is_an_error_that_says_what_came(
    reply: bytes, status: int | None, words: str
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.sock.sendall(reply)
        peer.sock.shutdown(socket.SHUT_WR)

    with running(script) as link:
        error = link.error()
    assert isinstance(error, ConnectFailed)
    assert error.status == status
    assert words in str(error)
    assert not link.opened.is_set()


def test_retry_after_is_handed_on() -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.sock.sendall(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n\r\n")

    with running(script) as link:
        error = link.error()
    assert error.status == 429
    assert error.retry_after == 7


def test_a_reset_in_the_handshake_is_an_error() -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.reset()

    with running(script) as link:
        error = link.error()
    assert isinstance(error, ConnectFailed)
    assert "broke" in str(error) or "closed" in str(error)


def _silent(peer: Peer) -> None:
    peer.read_request()


def _dribble(peer: Peer) -> None:
    peer.read_request()
    tick = threading.Event()
    for byte in peer.reply_101("X: " + "x" * 500):
        peer.sock.sendall(bytes((byte,)))
        tick.wait(0.02)


@pytest.mark.parametrize("script", [_silent, _dribble])
def test_open_timeout_covers_a_handshake_that_never_ends(script: Callable[[Peer], None]) -> None:
    started = time.monotonic()
    with running(script, open_timeout=0.3) as link:
        error = link.error()
    assert isinstance(error, ConnectFailed)
    assert "open_timeout" in str(error)
    assert 0.25 < time.monotonic() - started < PATIENCE


@pytest.mark.parametrize("endless", [b"X: " + b"x" * 4000, b"X: 1\r\n" * 600])
def test_an_endless_reply_is_given_up_at_the_limit(endless: bytes) -> None:
    sent = 0

    def script(peer: Peer) -> None:
        nonlocal sent
        peer.read_request()
        peer.sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\n")
        while sent < 100 * 2**20:
            peer.sock.sendall(endless)
            sent += len(endless)

    with running(script) as link:
        error = link.error()
    assert isinstance(error, ConnectFailed)
    assert sent < 20 * 2**20  # what the system's buffers took
    assert MAX_HEADERS < 600


def test_end_in_the_handshake_comes_at_once() -> None:
    asked = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        asked.set()

    with running(script, open_timeout=60) as link:
        assert asked.wait(PATIENCE)
        link.transport.close()
        assert isinstance(link.error(), ConnectFailed)


def test_end_before_the_run_opens_nothing() -> None:
    with RawServer(_silent) as server:
        transport = Transport(Endpoint.parse(server.url), open_timeout=5, max_message_size=1)
        transport.end()
        error = transport.run(lambda: None, lambda _: None)
    assert isinstance(error, ConnectFailed)
    assert not any(peer.request for peer in server.peers)


# Messages


def test_messages_sent_with_the_handshake_in_one_piece_arrive() -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.sock.sendall(peer.reply_101() + frame("one") + frame("two"))

    with running(script) as link:
        assert [link.next(), link.next()] == [b"one", b"two"]


def test_every_byte_alone_gives_the_same_messages() -> None:
    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in frame("one") + frame("x" * 200) + frame("three"):
            peer.sock.sendall(bytes((byte,)))

    with running(script) as link:
        assert [link.next() for _ in range(3)] == [b"one", b"x" * 200, b"three"]


def test_text_reaches_the_server_in_order_and_masked() -> None:
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def script(peer: Peer) -> None:
        peer.upgrade()
        for _ in range(3):
            got.put(peer.read())

    with running(script) as link:
        assert link.opened.wait(PATIENCE)
        for text in ("one", "two", "x" * 70_000):
            link.transport.send(text)
        received = [got.get(timeout=PATIENCE) for _ in range(3)]
    assert received == [(TEXT, b"one"), (TEXT, b"two"), (TEXT, b"x" * 70_000)]


def test_sending_before_the_link_is_open_does_nothing() -> None:
    with RawServer(_silent) as server:
        transport = Transport(Endpoint.parse(server.url), open_timeout=5, max_message_size=1)
        transport.send("lost")
        transport.flush()
        assert transport.status() == LinkStatus(idle=False)


# Control frames and the end


def _echo_close(got: queue.SimpleQueue[Any], *to_send: bytes) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.sock.sendall(b"".join(to_send))
        while True:
            opcode, payload = peer.read()
            got.put((opcode, payload))
            if opcode in (CLOSE, -1):
                return

    return script


@pytest.mark.parametrize(
    ("bytes_sent", "code"),
    [
        (frame(b"\xff\xfe"), 1007),
        (bytes((0xC1, 0)), 1002),
        (struct.pack("!BBQ", 0x81, 127, 2**62), 1009),
        (frame("x" * 2_000_000)[:5000], 1009),
        (bytes((0x81, 0x80)) + b"\0\0\0\0", 1002),
        (frame(b"\x03", CLOSE), 1002),
    ],
)
def test_a_breach_ends_the_link_with_its_close_code_on_the_wire(
    bytes_sent: bytes, code: int
) -> None:
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with running(_echo_close(got, bytes_sent)) as link:
        error = link.error()
    assert isinstance(error, ConnectionLost)
    assert error.code == code
    opcode, payload = got.get(timeout=PATIENCE)
    assert opcode == CLOSE
    assert struct.unpack("!H", payload[:2]) == (code,)


@pytest.mark.parametrize(
    ("payload", "answer", "code"),
    [
        (struct.pack("!H", 1001) + b"restart", struct.pack("!H", 1001), 1001),
        (b"", b"", None),
        (struct.pack("!H", 4000), struct.pack("!H", 4000), 4000),
    ],
)
def test_a_close_frame_is_answered_with_its_own_code(
    payload: bytes, answer: bytes, code: int | None
) -> None:
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with running(_echo_close(got, frame(payload, CLOSE) + frame("too late"))) as link:
        error = link.error()
        assert isinstance(link.next(), Close)
        assert link.items.empty()  # nothing behind a close frame is read
    assert isinstance(error, ConnectionLost)
    assert error.code == code
    assert payload[2:].decode() in str(error)
    assert got.get(timeout=PATIENCE) == (CLOSE, answer)


def test_a_protocol_ping_is_answered_and_a_pong_is_not() -> None:
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()
    sent = frame(b"any", PONG) + frame(b"are you there", PING)
    with running(_echo_close(got, sent)):
        assert got.get(timeout=PATIENCE) == (PONG, b"are you there")


def test_close_asks_the_server_and_takes_its_answer() -> None:
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def script(peer: Peer) -> None:
        peer.upgrade()
        opcode, payload = peer.read()
        got.put((opcode, payload))
        peer.send(payload, CLOSE)

    with running(script) as link:
        assert link.opened.wait(PATIENCE)
        link.transport.close()
        assert link.error().code == 1000
    assert got.get(timeout=PATIENCE) == (CLOSE, struct.pack("!H", 1000))


@pytest.mark.parametrize("part", [b"", b"\x81", frame("x" * 300)[:50]])
@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_cut_is_found_at_once(part: bytes, how: str) -> None:
    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.sock.sendall(frame("whole") + part)
        peer.read()  # the client's sign that it has read
        if how == "rst":
            peer.reset()
        else:
            peer.sock.shutdown(socket.SHUT_RDWR)

    with running(script) as link:
        assert link.next() == b"whole"
        link.transport.send("seen")
        error = link.error()
    assert isinstance(error, ConnectionLost)
    assert error.code is None


def test_a_message_that_stops_in_its_middle_shows_in_the_status(
    eventually: Callable[..., bool],
) -> None:
    resume = threading.Event()

    def script(peer: Peer) -> None:
        peer.upgrade()
        whole = frame("x" * 300)
        peer.sock.sendall(whole[:50])
        resume.wait(PATIENCE)
        peer.sock.sendall(whole[50:])

    with running(script) as link:
        assert eventually(lambda: link.transport.status().frame_since is not None)
        since = link.transport.status().frame_since
        assert since is not None
        assert since <= time.monotonic()
        resume.set()
        assert link.next() == b"x" * 300
        assert eventually(lambda: link.transport.status().frame_since is None)


def test_a_new_message_begins_a_new_count(eventually: Callable[..., bool]) -> None:
    steps: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def script(peer: Peer) -> None:
        peer.upgrade()
        while data := steps.get(timeout=PATIENCE):
            peer.sock.sendall(data)

    def since() -> float | None:
        return link.transport.status().frame_since

    with running(script) as link:
        one = frame("one")
        steps.put(one[:2])
        assert eventually(lambda: since() is not None)
        first = since()
        steps.put(one[2:] + one[:3])
        assert link.next() == b"one"
        assert eventually(lambda: since() not in (None, first))
        steps.put(b"")


def test_a_server_that_does_not_read_blocks_no_sender_and_gets_one_pong(
    eventually: Callable[..., bool],
) -> None:
    flood, read_on = threading.Event(), threading.Event()
    pongs: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.send("begin")
        flood.wait(PATIENCE)
        for number in range(100):
            peer.send(str(number), PING)
        read_on.wait(PATIENCE)
        opcode = TEXT
        while opcode != PONG:
            opcode, payload = peer.read()
        pongs.put(payload)

    with running(script) as link:
        assert link.next() == b"begin"
        while link.transport.status().blocked_since is None:
            link.transport.send("x" * 2**16)
        flood.set()
        assert [link.next().payload for _ in range(100)][-1] == b"99"
        read_on.set()

        def answered() -> bool:
            link.transport.flush()
            return not pongs.empty()

        assert eventually(answered)
        assert pongs.get() == b"99"  # only the last is owed (RFC 6455 section 5.5.3)
        assert link.transport.status().blocked_since is None


def test_end_wakes_a_reader_in_the_middle_of_a_message() -> None:
    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.sock.sendall(frame("one") + frame("x" * 300)[:50])

    with running(script) as link:
        assert link.next() == b"one"
        link.transport.end()
        assert isinstance(link.error(), ConnectionLost)


def test_a_send_after_the_end_is_left_out() -> None:
    with running(lambda peer: peer.upgrade()) as link:
        assert link.opened.wait(PATIENCE)
        link.transport.end()
        link.error()
        link.transport.send("too late")
        link.transport.flush()


def test_what_the_reader_raises_reaches_the_caller_and_not_websocket_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def boom(_: list[Any]) -> None:
        raise ZeroDivisionError("a bug")

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.send("one")

    with RawServer(script) as server, caplog.at_level(logging.DEBUG):
        transport = Transport(Endpoint.parse(server.url), open_timeout=5, max_message_size=99)
        with pytest.raises(ZeroDivisionError, match="a bug"):
            transport.run(lambda: None, boom)
    assert "a bug" not in caplog.text


def test_secrets_do_not_pass_websocket_client_s_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), running(lambda peer: peer.upgrade()) as link:
        assert link.opened.wait(PATIENCE)
        link.transport.send("a secret text")
    assert "secret" not in caplog.text
