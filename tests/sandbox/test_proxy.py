"""The fault proxy on the wire: raw sockets on both sides, and a client in front of an exchange."""

from __future__ import annotations

import contextlib
import queue
import resource
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from exchange import held, ignore, make_client

from bybit_copyws import ConfigurationError
from bybit_copyws.events import State, StateChanged
from bybit_copyws.sandbox import Sandbox
from bybit_copyws.sandbox.proxy import Direction, FaultProxy, ProxiedConnection, kernel
from bybit_copyws.sandbox.proxy.engine import Engine
from bybit_copyws.sandbox.proxy.faults import Faults
from bybit_copyws.sandbox.proxy.lane import Lane
from bybit_copyws.sandbox.proxy.link import Link
from bybit_copyws.sandbox.proxy.side import Side

PATIENCE = 5.0
SCRIPT = bytes(n % 251 for n in range(300))
TRADES = "publicTrade.BTCUSDT"
ways = pytest.mark.parametrize("way", ["up", "down"])
linux = pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")


class Wire:
    """The two ends of connections through a proxy."""

    def __init__(self, proxy: FaultProxy, listener: socket.socket) -> None:
        self.proxy = proxy
        self.listener = listener
        self.opened: list[socket.socket] = []

    def dial(self, window: int | None = None) -> socket.socket:
        """Connect as a client."""
        client = socket.socket()
        self.opened.append(client)
        client.settimeout(PATIENCE)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if window is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        client.connect(("127.0.0.1", self.proxy.port))
        return client

    def answer(self) -> socket.socket:
        """Accept as the target."""
        server, _ = self.listener.accept()
        server.settimeout(PATIENCE)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.opened.append(server)
        return server

    def connect(
        self, way: str = "up", *, window: int | None = None
    ) -> tuple[socket.socket, socket.socket]:
        """Return who speaks in a direction, and who hears."""
        if window is not None:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        client = self.dial(window)
        server = self.answer()
        return (client, server) if way == "up" else (server, client)

    def close(self) -> None:
        for sock in self.opened:
            sock.close()
        self.opened.clear()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(PATIENCE)
        yield sock


@pytest.fixture
def proxy(listener: socket.socket) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", listener.getsockname()[1]) as proxy:
        yield proxy


@pytest.fixture
def wire(proxy: FaultProxy, listener: socket.socket) -> Iterator[Wire]:
    wire = Wire(proxy, listener)
    yield wire
    wire.close()


def hear(sock: socket.socket) -> tuple[bytes, str]:
    """Read to the end; return all bytes and what the end was."""
    heard = bytearray()
    while True:
        try:
            data = sock.recv(2**18)
        except ConnectionResetError:
            return bytes(heard), "rst"
        if not data:
            return bytes(heard), "fin"
        heard += data


def knock(proxy: FaultProxy) -> tuple[bytes, str]:
    """Connect and read to the end; an RST may come so fast that the connecting meets it."""
    try:
        with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE) as client:
            return hear(client)
    except ConnectionResetError:
        return b"", "rst"


def exactly(sock: socket.socket, size: int) -> bytes:
    """Read so many bytes."""
    heard = bytearray()
    while len(heard) < size:
        data = sock.recv(min(size - len(heard), 2**18))
        assert data, f"ended after {len(heard)} bytes"
        heard += data
    return bytes(heard)


def nothing_more(sock: socket.socket) -> bool:
    """Return whether there is neither a byte nor an end to read now."""
    sock.setblocking(False)
    try:
        sock.recv(1)
    except BlockingIOError:
        return True
    finally:
        sock.settimeout(PATIENCE)
    return False


def fill(sock: socket.socket, data: bytes = bytes(2**26)) -> int:
    """Write as much as is taken without waiting; return how much was."""
    sock.setblocking(False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < len(data):
            sent += sock.send(memoryview(data)[sent:])
    sock.settimeout(PATIENCE)
    return sent


def reset(sock: socket.socket) -> None:
    """Close with an RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def segments(sock: socket.socket) -> int:
    """Return how many segments with data the kernel has received."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160)
    return struct.unpack_from("I", info, 152)[0]


def direction(proxy: FaultProxy, way: str) -> Direction:
    return getattr(proxy, way)


def counts(info: ProxiedConnection, way: str) -> tuple[int, int]:
    """Return bytes forwarded and waiting."""
    return (info.up, info.up_waiting) if way == "up" else (info.down, info.down_waiting)


def waiting(way: str, size: int) -> Callable[[FaultProxy], bool]:
    return lambda proxy: counts(proxy.connections[-1], way)[1] == size


# Without a fault


@ways
def test_bytes_and_the_fin_of_each_side_pass(wire: Wire, way: str) -> None:
    speaker, hearer = wire.connect(way)
    speaker.sendall(SCRIPT)
    speaker.shutdown(socket.SHUT_WR)
    assert hear(hearer) == (SCRIPT, "fin")
    hearer.sendall(b"the other half stays open")
    hearer.close()
    assert hear(speaker) == (b"the other half stays open", "fin")
    wire.proxy.wait_for(lambda proxy: not proxy.connections)
    (info,) = wire.proxy.ended
    assert (info.ended, info.number, wire.proxy.accepted) == ("closed", 1, 1)
    assert counts(info, way) == (300, 0)


@ways
def test_a_reset_passes_behind_its_bytes(wire: Wire, way: str) -> None:
    speaker, hearer = wire.connect(way)
    speaker.sendall(SCRIPT)
    reset(speaker)
    assert hear(hearer) == (SCRIPT, "rst")
    wire.proxy.wait_for(lambda proxy: bool(proxy.ended))
    assert wire.proxy.ended[0].ended == "reset"


@ways
def test_a_reset_behind_a_fin_passes(wire: Wire, way: str) -> None:
    speaker, hearer = wire.connect(way)
    speaker.shutdown(socket.SHUT_WR)
    assert hear(hearer) == (b"", "fin")
    reset(speaker)
    wire.proxy.wait_for(lambda proxy: bool(proxy.ended))
    assert wire.proxy.ended[0].ended == "reset"
    with pytest.raises(BrokenPipeError):
        hearer.sendall(b"x")


@ways
def test_bytes_for_a_peer_that_is_gone_bring_back_its_reset(wire: Wire, way: str) -> None:
    speaker, hearer = wire.connect(way)
    hearer.close()
    assert hear(speaker) == (b"", "fin")
    speaker.sendall(b"x")
    wire.proxy.wait_for(lambda proxy: bool(proxy.ended))
    assert wire.proxy.ended[0].ended == "reset"


@ways
def test_much_data_passes_and_a_slow_reader_slows_the_speaker(wire: Wire, way: str) -> None:
    speaker, hearer = wire.connect(way)
    whole = SCRIPT * 100_000
    thread = threading.Thread(target=speaker.sendall, args=(whole,))
    thread.start()
    wire.proxy.wait_for(waiting(way, 2**20))  # full
    heard = exactly(hearer, len(whole))
    thread.join()
    assert heard == whole
    assert counts(wire.proxy.connections[0], way) == (len(whole), 0)


# Cuts


@pytest.mark.parametrize("how", ["rst", "fin"])
@ways
def test_a_cut_at_every_byte_lets_exactly_that_many_pass(wire: Wire, way: str, how: str) -> None:
    direction(wire.proxy, way).cut_at(0, how)
    assert knock(wire.proxy) == (b"", how)
    assert hear(wire.answer()) == (b"", how)
    for offset in range(1, len(SCRIPT) + 1):
        direction(wire.proxy, way).cut_at(offset, how)
        speaker, hearer = wire.connect(way)
        speaker.sendall(SCRIPT)
        assert hear(hearer) == (SCRIPT[:offset], how)
        assert hear(speaker) == (b"", how)
        info = wire.proxy.ended[-1]
        assert (counts(info, way)[0], info.ended) == (offset, "cut")
        wire.close()


@ways
def test_a_hold_at_every_byte_lets_the_rest_and_the_end_wait(wire: Wire, way: str) -> None:
    for offset in range(len(SCRIPT) + 1):
        direction(wire.proxy, way).cut_at(offset, "hold")
        speaker, hearer = wire.connect(way)
        speaker.sendall(SCRIPT)
        speaker.shutdown(socket.SHUT_WR)
        wire.proxy.wait_for(waiting(way, len(SCRIPT) - offset))
        assert exactly(hearer, offset) == SCRIPT[:offset]
        assert nothing_more(hearer)
        hearer.sendall(b"y")  # the other direction is free
        assert speaker.recv(9) == b"y"
        direction(wire.proxy, way).release()
        assert hear(hearer) == (SCRIPT[offset:], "fin")
        wire.close()


def test_a_cut_is_for_the_next_connection_alone(wire: Wire) -> None:
    before, _ = wire.connect()
    wire.proxy.up.cut_at(1)
    before.sendall(b"abc")
    client, server = wire.connect()
    client.sendall(b"abc")
    assert hear(server) == (b"a", "rst")
    client, server = wire.connect()
    client.sendall(b"abc")
    assert exactly(server, 3) == b"abc"
    assert [each.up for each in wire.proxy.connections] == [3, 3]


def test_a_cut_may_be_for_some_connections_or_for_all_until_healed(wire: Wire) -> None:
    wire.proxy.up.cut_at(2, times=2)
    wire.proxy.up.cut_at(3, times=None)
    for expected in (b"ab", b"ab", b"abc", b"abc", b"abc"):
        client, server = wire.connect()
        client.sendall(b"abcd")
        assert hear(server) == (expected, "rst")
    wire.proxy.up.heal()
    client, server = wire.connect()
    client.sendall(b"abcd")
    assert exactly(server, 4) == b"abcd"


def test_a_connection_gets_all_that_is_armed(wire: Wire) -> None:
    wire.proxy.up.cut_at(20, "fin")
    wire.proxy.up.cut_at(10, "hold")
    wire.proxy.down.cut_at(5)
    client, server = wire.connect()
    client.sendall(SCRIPT)
    assert exactly(server, 10) == SCRIPT[:10]
    assert nothing_more(server)
    wire.proxy.up.release()
    assert hear(server) == (SCRIPT[10:20], "fin")
    server.sendall(SCRIPT)  # thrown away, although the cut of the other direction is not reached
    assert hear(client) == (b"", "fin")


@linux
@pytest.mark.parametrize("chunk", [None, 20_000])
@ways
def test_a_reset_waits_for_a_reader_that_is_slow(wire: Wire, way: str, chunk: int | None) -> None:
    whole = SCRIPT * 5000
    direction(wire.proxy, way).cut_at(500_000)
    direction(wire.proxy, way).chunk(chunk)
    speaker, hearer = wire.connect(way, window=2**16)  # so that much stays in the proxy's kernel
    fill(speaker, whole)
    if chunk is None:
        wire.proxy.wait_for(lambda proxy: bool(proxy.ended))
    else:
        wire.proxy.wait_for(lambda proxy: counts(proxy.connections[0], way)[1] > 0)
    assert hear(hearer) == (whole[:500_000], "rst")
    assert counts(wire.proxy.ended[0], way)[0] == 500_000


@linux
@ways
def test_a_reset_now_waits_for_nobody(wire: Wire, way: str) -> None:
    whole = SCRIPT * 1000
    speaker, hearer = wire.connect(way, window=2**16)
    fill(speaker, whole)
    wire.proxy.wait_for(lambda proxy: counts(proxy.connections[0], way)[0] == len(whole))
    wire.proxy.cut()
    heard, end = hear(hearer)
    assert end == "rst"
    assert whole.startswith(heard)
    assert len(heard) < len(whole)


@linux
def test_a_reader_that_goes_away_does_not_hold_up_a_reset(
    wire: Wire, eventually: Callable[..., bool]
) -> None:
    wire.proxy.up.cut_at(500_000)
    client, server = wire.connect(window=2**16)
    fill(client, SCRIPT * 5000)
    wire.proxy.wait_for(lambda proxy: bool(proxy.ended))
    assert wire.proxy._engine is not None
    assert wire.proxy._engine._fading
    reset(server)
    assert eventually(lambda: wire.proxy.cut() == 0 and not wire.proxy._engine._fading)


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_all_connections_are_cut_now(wire: Wire, how: str) -> None:
    assert wire.proxy.cut(how) == 0
    pairs = [wire.connect() for _ in range(3)]
    wire.proxy.up.hold()
    for client, _ in pairs:
        client.sendall(b"is lost")
    wire.proxy.wait_for(lambda proxy: all(each.up_waiting == 7 for each in proxy.connections))
    assert wire.proxy.cut(how) == 3
    assert not wire.proxy.connections
    for client, server in pairs:
        assert hear(client) == (b"", how)
        assert hear(server) == (b"", how)
    assert {each.ended for each in wire.proxy.ended} == {"cut"}


def test_a_fin_cut_swallows_what_the_sides_still_say(wire: Wire) -> None:
    client, server = wire.connect()
    wire.proxy.cut("fin")
    for sock in (client, server):
        sock.sendall(SCRIPT)
        assert hear(sock) == (b"", "fin")
    reset(client)
    server.sendall(SCRIPT)  # would raise if anything came back


def test_all_connections_can_be_held_and_new_ones_are_free(wire: Wire) -> None:
    client, server = wire.connect()
    assert wire.proxy.cut("hold") == 1
    client.sendall(b"up")
    server.sendall(b"down")
    other, other_server = wire.connect()
    other.sendall(b"free")
    assert exactly(other_server, 4) == b"free"
    wire.proxy.wait_for(lambda proxy: proxy.connections[0].up_waiting == 2)
    wire.proxy.wait_for(lambda proxy: proxy.connections[0].down_waiting == 4)
    assert nothing_more(client)
    assert nothing_more(server)
    wire.proxy.down.release()
    assert exactly(client, 4) == b"down"
    wire.proxy.up.release()
    assert exactly(server, 2) == b"up"


# Holding


@pytest.mark.parametrize("how", ["fin", "rst"])
@ways
def test_what_is_held_leaves_in_order_its_end_last(wire: Wire, way: str, how: str) -> None:
    speaker, hearer = wire.connect(way)
    direction(wire.proxy, way).hold()
    speaker.sendall(SCRIPT)
    hearer.sendall(b"x")
    assert exactly(speaker, 1) == b"x"
    (speaker.close if how == "fin" else lambda: reset(speaker))()
    wire.proxy.wait_for(waiting(way, 300))
    assert nothing_more(hearer)
    direction(wire.proxy, way).release()
    assert hear(hearer) == (SCRIPT, how)


@ways
def test_a_held_direction_stops_reading_when_its_buffer_is_full(
    listener: socket.socket, way: str
) -> None:
    with FaultProxy("127.0.0.1", listener.getsockname()[1], buffer=4096) as proxy:
        wire = Wire(proxy, listener)
        speaker, hearer = wire.connect(way)
        direction(proxy, way).hold()
        sent = fill(speaker)
        proxy.wait_for(waiting(way, 4096))
        assert sent > 4096
        direction(proxy, way).release()
        speaker.close()
        assert len(hear(hearer)[0]) == sent
        wire.close()


@ways
def test_a_reset_that_only_sending_shows_comes_behind_what_is_held(
    listener: socket.socket, way: str
) -> None:
    with FaultProxy("127.0.0.1", listener.getsockname()[1], buffer=4096) as proxy:
        wire = Wire(proxy, listener)
        speaker, hearer = wire.connect(way)
        direction(proxy, way).hold()
        fill(speaker)
        proxy.wait_for(waiting(way, 4096))  # so the speaker is not read any more
        reset(speaker)
        for _ in range(3):
            hearer.sendall(b"x")
            proxy.wait_for(waiting({"up": "down", "down": "up"}[way], 0))
        assert nothing_more(hearer)
        direction(proxy, way).release()
        heard, end = hear(hearer)
        assert end == "rst"
        assert len(heard) >= 4096
        wire.close()


# Time and segments


@linux
@ways
def test_every_byte_can_have_its_own_segment(wire: Wire, way: str) -> None:
    direction(wire.proxy, way).chunk(1)
    speaker, hearer = wire.connect(way)
    speaker.sendall(SCRIPT)
    assert exactly(hearer, 300) == SCRIPT
    assert segments(hearer) == 300
    direction(wire.proxy, way).chunk(None)
    speaker.sendall(SCRIPT)
    assert exactly(hearer, 300) == SCRIPT
    assert segments(hearer) == 301


@linux
@ways
def test_many_writes_can_come_in_one_segment(wire: Wire, way: str) -> None:
    speaker, hearer = wire.connect(way)
    direction(wire.proxy, way).hold()
    for n in range(300):
        speaker.sendall(SCRIPT[n : n + 1])
    wire.proxy.wait_for(waiting(way, 300))
    direction(wire.proxy, way).release()
    assert hearer.recv(999) == SCRIPT
    assert segments(hearer) == 1


@pytest.mark.parametrize("chunk", [None, 1, 100])
@ways
def test_a_rate_is_never_exceeded(wire: Wire, way: str, chunk: int | None) -> None:
    direction(wire.proxy, way).rate(3000)
    direction(wire.proxy, way).chunk(chunk)
    speaker, hearer = wire.connect(way)
    begun = time.monotonic()
    speaker.sendall(SCRIPT)
    for size in (30, 90, 180):
        assert len(exactly(hearer, size)) == size
    assert time.monotonic() - begun >= 300 / 3000
    direction(wire.proxy, way).rate(None)
    speaker.sendall(SCRIPT)
    speaker.close()
    assert hear(hearer) == (SCRIPT, "fin")


@ways
def test_a_delay_holds_back_bytes_and_their_end(wire: Wire, way: str) -> None:
    direction(wire.proxy, way).delay(0.05, 0.05, seed=3)
    speaker, hearer = wire.connect(way)
    begun = time.monotonic()
    for n in range(0, 300, 100):
        speaker.sendall(SCRIPT[n : n + 100])
    speaker.close()
    assert exactly(hearer, 300) == SCRIPT
    assert time.monotonic() - begun >= 0.05
    assert hear(hearer) == (b"", "fin")


@ways
def test_a_flipped_bit_arrives_wrong_and_nothing_else(wire: Wire, way: str) -> None:
    direction(wire.proxy, way).flip_at(0, 7)
    direction(wire.proxy, way).flip_at(299)
    speaker, hearer = wire.connect(way)
    speaker.sendall(SCRIPT)
    wrong = bytearray(SCRIPT)
    wrong[0] ^= 128
    wrong[299] ^= 1
    assert exactly(hearer, 300) == wrong
    speaker, hearer = wire.connect(way)
    speaker.sendall(SCRIPT)
    assert exactly(hearer, 300) == SCRIPT


# Connecting


def test_refused_connections_and_the_same_port_again(wire: Wire) -> None:
    client, server = wire.connect()
    port = wire.proxy.port
    for _ in range(3):
        wire.proxy.refuse()
        wire.proxy.refuse()
        for _ in range(20):
            with pytest.raises(ConnectionRefusedError):
                wire.dial()
        wire.proxy.accept()
        wire.proxy.accept()
        assert wire.proxy.port == port
        wire.connect()
    client.sendall(b"untouched")
    assert exactly(server, 9) == b"untouched"
    assert wire.proxy.accepted == 4


@linux
def test_nobody_is_given_the_port_while_connections_are_refused(proxy: FaultProxy) -> None:
    proxy.refuse()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", proxy.port))


def test_a_port_that_was_taken_meanwhile_is_an_error(proxy: FaultProxy) -> None:
    proxy.refuse()
    with (
        socket.create_server(("127.0.0.1", proxy.port)),
        pytest.raises(ConfigurationError, match="in use"),
    ):
        proxy.accept()
    proxy.accept()
    socket.create_connection(("127.0.0.1", proxy.port), PATIENCE).close()


def test_who_connected_before_the_refusal_is_served(wire: Wire) -> None:
    clients = [wire.dial() for _ in range(20)]
    wire.proxy.refuse()
    for client in clients:
        client.sendall(b"x")
    assert [exactly(wire.answer(), 1) for _ in clients] == [b"x"] * 20


def test_silence_until_healed(wire: Wire, listener: socket.socket) -> None:
    wire.proxy.accept_silent()
    early, late = wire.dial(), wire.dial()
    early.sendall(b"hello?")
    wire.proxy.wait_for(lambda proxy: proxy.connections[0].up_waiting == 6)
    assert nothing_more(early)
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()
    listener.settimeout(PATIENCE)
    early.close()
    wire.proxy.wait_for(lambda proxy: len(proxy.connections) == 1)
    assert wire.proxy.ended[0].ended == "given up"
    late.sendall(SCRIPT)
    wire.proxy.accept()
    assert exactly(wire.answer(), 300) == SCRIPT
    assert wire.connect()


def test_silence_ends_a_refusal(wire: Wire) -> None:
    wire.proxy.refuse()
    wire.proxy.accept_silent()
    client = wire.dial()
    assert wire.proxy.cut("fin") == 1
    assert hear(client) == (b"", "fin")


def test_a_target_that_cannot_be_reached_resets_the_client(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    for host in ("127.0.0.1", "255.255.255.255"):
        with FaultProxy(host, port) as proxy:
            assert knock(proxy) == (b"", "rst")
            assert proxy.ended[0].ended == "unreachable"


def test_the_next_address_of_a_target_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))
            for host in ("255.255.255.255", "127.0.0.2", "127.0.0.1")
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with FaultProxy("several.example", port) as proxy:
            monkeypatch.undo()
            wire = Wire(proxy, listener)
            speaker, hearer = wire.connect()
            speaker.sendall(b"x")
            assert exactly(hearer, 1) == b"x"
            wire.close()


def test_cutting_while_the_target_is_being_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = [socket.socket() for _ in range(3)]
    for each in fillers:  # SYNs to a full backlog are dropped, so a connect takes long
        each.setblocking(False)
        each.connect_ex(full.getsockname())
    with (
        FaultProxy("127.0.0.1", full.getsockname()[1]) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), PATIENCE) as client,
    ):
        client.sendall(b"x")
        proxy.wait_for(lambda proxy: proxy.connections[0].up_waiting == 1)
        assert proxy.cut("fin") == 1
        assert hear(client) == (b"", "fin")
    for each in (full, *fillers):
        each.close()


# All of it


def test_healing_puts_an_end_to_everything(wire: Wire) -> None:
    proxy = wire.proxy
    client, server = wire.connect()
    for way in (proxy.up, proxy.down):
        way.hold()
        way.delay(60)
        way.rate(1)
        way.chunk(1)
    client.sendall(SCRIPT)
    server.sendall(SCRIPT)
    proxy.wait_for(lambda proxy: proxy.connections[0].up_waiting == 300)
    proxy.wait_for(lambda proxy: proxy.connections[0].down_waiting == 300)
    proxy.up.cut_at(1)
    proxy.down.flip_at(1)
    proxy.refuse()
    proxy.heal()
    assert exactly(server, 300) == exactly(client, 300) == SCRIPT
    client, server = wire.connect()
    client.sendall(SCRIPT)
    server.sendall(SCRIPT)
    assert exactly(server, 300) == exactly(client, 300) == SCRIPT


def test_one_direction_can_be_healed_alone(wire: Wire) -> None:
    wire.proxy.up.hold()
    wire.proxy.down.hold()
    client, server = wire.connect()
    client.sendall(SCRIPT)
    server.sendall(SCRIPT)
    wire.proxy.wait_for(lambda proxy: proxy.connections[0].down_waiting == 300)
    wire.proxy.up.heal()
    assert exactly(server, 300) == SCRIPT
    assert nothing_more(client)


def test_many_threads_may_tell_it_what_to_do(wire: Wire) -> None:
    client, server = wire.connect()
    whole = SCRIPT * 30

    def work() -> None:
        for _ in range(50):
            wire.proxy.up.hold()
            wire.proxy.up.chunk(7)
            wire.proxy.up.release()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    client.sendall(whole)
    heard = exactly(server, len(whole))
    for thread in threads:
        thread.join()
    assert heard == whole


def test_waiting_has_an_end(proxy: FaultProxy) -> None:
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match=r"0\.05 s"):
        proxy.wait_for(lambda proxy: proxy.accepted == 1, timeout=0.05)
    assert time.monotonic() - begun >= 0.05
    other = threading.Event()
    threading.Timer(0.05, other.set).start()
    proxy.wait_for(lambda _: other.is_set())  # something of which the proxy knows nothing


# Life


def test_closing_ends_everything_at_once_and_twice(listener: socket.socket) -> None:
    proxy = FaultProxy("127.0.0.1", listener.getsockname()[1])
    proxy.close()
    proxy.start()
    proxy.start()
    wire = Wire(proxy, listener)
    pair, stuck_pair, idle_pair = (wire.connect() for _ in range(3))
    proxy.down.hold()
    fill(stuck_pair[0])
    proxy.up.cut_at(5, "fin")
    fin_pair = wire.connect()
    fin_pair[0].sendall(SCRIPT)
    assert hear(fin_pair[1]) == (SCRIPT[:5], "fin")
    proxy.accept_silent()
    silent = wire.dial()
    assert proxy.accepted == 5
    begun = time.monotonic()
    proxy.close()
    proxy.close()
    assert time.monotonic() - begun < 1.0
    for sock in (*pair, *idle_pair, silent):
        assert hear(sock) == (b"", "fin")
    with pytest.raises(ConnectionRefusedError):
        wire.dial()
    assert proxy.accepted == 5
    assert not proxy.connections
    assert sorted(str(each.ended) for each in proxy.ended) == ["cut"] + ["stopped"] * 4
    wire.close()


def test_it_starts_again_on_the_same_port_without_faults(listener: socket.socket) -> None:
    proxy = FaultProxy("127.0.0.1", listener.getsockname()[1])
    with proxy:
        port = proxy.port
        proxy.up.hold()
        wire = Wire(proxy, listener)
        wire.connect()
    with proxy:
        assert (proxy.port, proxy.accepted) == (port, 0)
        client, server = wire.connect()
        client.sendall(b"x")
        assert exactly(server, 1) == b"x"
    wire.close()


def test_a_proxy_that_does_not_run_says_so(listener: socket.socket) -> None:
    proxy = FaultProxy("127.0.0.1", listener.getsockname()[1])
    for ask in (
        lambda: proxy.port,
        lambda: proxy.url,
        lambda: proxy.connections,
        proxy.up.hold,
        proxy.heal,
    ):
        with pytest.raises(ConfigurationError, match="start"):
            ask()
    with proxy:
        pass
    with pytest.raises(ConfigurationError, match="start"):
        proxy.up.hold()
    assert proxy.connections == proxy.ended == ()


def test_what_goes_wrong_inside_is_raised_by_close(
    proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(engine: Engine) -> bool:
        raise RuntimeError("mine")

    monkeypatch.setattr(Engine, "advance", fail)
    with pytest.raises(ConfigurationError, match="not running"):
        proxy.up.hold()
    with pytest.raises(RuntimeError, match="mine"):
        proxy.close()
    with pytest.raises(ConfigurationError, match="not running"):
        proxy.up.hold()


def test_who_asks_while_it_stops_gets_an_answer(
    proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., bool]
) -> None:
    inside, go_on = threading.Event(), threading.Event()
    errors: queue.SimpleQueue[Exception] = queue.SimpleQueue()

    def slow_close(engine: Engine, close: Any = Engine.close) -> None:
        inside.set()
        go_on.wait(PATIENCE)
        close(engine)

    def ask() -> None:
        try:
            proxy.up.hold()
        except ConfigurationError as error:
            errors.put(error)

    monkeypatch.setattr(Engine, "close", slow_close)
    closer = threading.Thread(target=proxy.close)
    closer.start()
    assert inside.wait(PATIENCE)
    asker = threading.Thread(target=ask)
    asker.start()
    assert eventually(lambda: bool(proxy._tasks))
    go_on.set()
    asker.join()
    closer.join()
    assert "not running" in str(errors.get(timeout=PATIENCE))


@contextlib.contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Let the process open only so many more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        free = [stack.enter_context(socket.socket()).fileno() for _ in range(count + 1)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[-1], hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_a_free_descriptor_it_waits_and_goes_on(wire: Wire) -> None:
    client = socket.socket()
    wire.opened.append(client)
    with descriptors_left(0):
        client.connect(("127.0.0.1", wire.proxy.port))
        client.sendall(SCRIPT)
        assert wire.proxy.accepted == 0
        assert wire.proxy.accepted == 0
    assert exactly(wire.answer(), 300) == SCRIPT


def test_refusing_without_a_free_descriptor(wire: Wire) -> None:
    client = socket.socket()
    client.settimeout(PATIENCE)
    wire.opened.append(client)
    with descriptors_left(0):
        client.connect(("127.0.0.1", wire.proxy.port))
        wire.proxy.refuse()
        assert hear(client) == (b"", "rst")
    wire.proxy.accept()
    assert wire.connect()


def test_without_a_descriptor_for_the_target_the_client_is_reset(wire: Wire) -> None:
    with descriptors_left(2):  # the client's two ends
        assert knock(wire.proxy) == (b"", "rst")
    assert wire.proxy.ended[0].ended == "unreachable"


def test_without_a_reserved_port_refusing_works_too(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "reserve", lambda *_: None)
    with FaultProxy("127.0.0.1", listener.getsockname()[1]) as proxy:
        wire = Wire(proxy, listener)
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            wire.dial()
        proxy.accept()
        wire.connect()
        wire.close()


def test_listening_that_fails_leaves_no_socket() -> None:
    with pytest.raises(TypeError):
        kernel.listen(socket.AF_INET, "127.0.0.1", 0, buffer="much")  # type: ignore[arg-type]


def test_waking_what_is_closed_does_nothing() -> None:
    engine = Engine([], "127.0.0.1", 0, 2**20)
    engine.close()
    engine.wake()
    engine.close()


# Its parts by themselves


def test_one_side_by_itself(listener: socket.socket) -> None:
    with (
        selectors.DefaultSelector() as selector,
        socket.create_connection(listener.getsockname()) as sock,
    ):
        peer, _ = listener.accept()
        side = Side(sock, selector)
        assert side.receive(10) is None
        while not side.blocked:
            side.send(bytearray(2**20))
        assert side.send(bytearray(1)) == 0
        assert side.blocked
        side.watch(read=True)
        side.watch(read=True)
        reset(peer)
        assert selector.select(PATIENCE)
        assert side.send(bytearray(1)) == 0
        assert side.broken
        assert side.receive(10) == b""
        side.shut()
        side.close()
        side.close()
        assert not selector.get_map()


def test_a_link_stands_a_wake_up_for_nothing(listener: socket.socket) -> None:
    with (
        selectors.DefaultSelector() as selector,
        socket.create_server(("127.0.0.1", 0)) as front,
        socket.create_connection(front.getsockname()) as client,
    ):
        link = Link(1, front.accept()[0], Lane(Faults()), Lane(Faults()), selector, 2**20)
        link.connect([(socket.AF_INET, listener.getsockname())])
        peer, _ = listener.accept()
        for _ in range(3):
            for key in selector.get_map().values():
                key.data.tell(selectors.EVENT_READ | selectors.EVENT_WRITE)
            link.step(1.0)
        assert link.info() == ProxiedConnection(1, 0, 0, 0, 0, None)
        client.sendall(b"x")
        assert [key.data.tell(events) for key, events in selector.select(PATIENCE)]
        link.step(2.0)
        assert peer.recv(9) == b"x"
        link.stop("stopped")
        peer.close()


# Mistakes

MISTAKES: list[tuple[Callable[[FaultProxy], object], str]] = [
    (lambda proxy: proxy.up.cut_at(-1), "offset must be at least 0"),
    (lambda proxy: proxy.up.cut_at(True), "offset must be an integer"),
    (lambda proxy: proxy.up.cut_at(1.5), "offset must be an integer"),  # type: ignore[arg-type]
    (lambda proxy: proxy.up.cut_at(1, "drop"), "rst, fin, hold"),
    (lambda proxy: proxy.up.cut_at(1, times=0), "times must be at least 1"),
    (lambda proxy: proxy.up.flip_at(1, 8), "bit must be from 0 to 7"),
    (lambda proxy: proxy.up.flip_at(-1), "offset"),
    (lambda proxy: proxy.up.rate(0), "bytes_per_second must be above 0"),
    (lambda proxy: proxy.up.rate(float("nan")), "finite"),
    (lambda proxy: proxy.up.rate("fast"), "finite"),  # type: ignore[arg-type]
    (lambda proxy: proxy.up.delay(-0.1), "seconds must be 0 or more"),
    (lambda proxy: proxy.up.delay(0.1, float("inf")), "jitter"),
    (lambda proxy: proxy.up.delay(0.1, seed=None), "seed"),  # type: ignore[arg-type]
    (lambda proxy: proxy.up.chunk(0), "size must be at least 1"),
    (lambda proxy: proxy.cut("close"), "rst, fin, hold"),
]


@pytest.mark.parametrize(("mistake", "cure"), MISTAKES)
def test_mistakes_are_refused_with_the_cure(
    wire: Wire, mistake: Callable[[FaultProxy], object], cure: str
) -> None:
    with pytest.raises(ConfigurationError, match=cure):
        mistake(wire.proxy)
    client, server = wire.connect()  # and nothing has changed
    client.sendall(SCRIPT)
    assert exactly(server, 300) == SCRIPT


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (("127.0.0.1",), "second argument"),
        (("127.0.0.1:80",), "second argument"),
        (("127.0.0.1:80", 80), "second argument"),
        (("127.0.0.1", 0), "target_port must be from 1 to 65535"),
        (("ws://127.0.0.1:80", 80), "not both"),
        (("ws://127.0.0.1:0",), "start the Sandbox"),
        (("ftp://127.0.0.1:80",), "ws://host:port"),
        (("ws://:80",), "ws://host:port"),
        (("ws://127.0.0.1:99999",), "malformed"),
        (("ws://127.0.0.1:80/realtime",), "no path"),
        (("ws://me@127.0.0.1:80",), "user info"),
        ((None,), "running Sandbox"),
        (("",), "running Sandbox"),
    ],
)
def test_targets_that_cannot_be_are_refused_with_the_cure(
    arguments: tuple[Any, ...], cure: str
) -> None:
    with pytest.raises(ConfigurationError, match=cure):
        FaultProxy(*arguments)


def test_addresses_that_cannot_be_had_are_refused(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    for proxy, cure in (
        (FaultProxy("127.0.0.1", 1, port=port), "0 to get one"),
        (FaultProxy("127.0.0.1", 1, host="192.0.2.1"), "address of this machine"),
        (FaultProxy("none.invalid", 1), "spelling"),
    ):
        with pytest.raises(ConfigurationError, match=cure):
            proxy.start()
        proxy.close()
    with pytest.raises(ConfigurationError, match="host must be"):
        FaultProxy("127.0.0.1", 1, host="")
    with pytest.raises(ConfigurationError, match="buffer"):
        FaultProxy("127.0.0.1", 1, buffer=0)
    with pytest.raises(ConfigurationError, match="start the Sandbox"):
        FaultProxy(Sandbox())


def test_urls_name_the_proxy_with_the_scheme_of_the_target() -> None:
    with FaultProxy("https://127.0.0.1") as proxy:
        assert proxy.url == f"https://127.0.0.1:{proxy.port}"
        assert proxy.environment.private == f"wss://127.0.0.1:{proxy.port}"
        assert proxy.environment.rest == proxy.url
    with FaultProxy("127.0.0.1", 80) as proxy:
        assert proxy.environment.public == proxy.url == f"ws://127.0.0.1:{proxy.port}"
        assert proxy.environment.rest == f"http://127.0.0.1:{proxy.port}"


def test_addresses_of_both_families_are_served(listener: socket.socket) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    with FaultProxy("127.0.0.1", listener.getsockname()[1], host="::1") as proxy:
        assert proxy.url == f"ws://[::1]:{proxy.port}"
        with socket.create_connection(("::1", proxy.port), PATIENCE) as client:
            client.sendall(b"x")
            server, _ = listener.accept()
            assert exactly(server, 1) == b"x"
            server.close()


# In front of an exchange


def through(proxy: FaultProxy, exchange: Sandbox, **options: Any) -> Any:
    """Return a client whose connections all go through the proxy."""

    class Shown:
        api_key, api_secret = exchange.api_key, exchange.api_secret
        environment = proxy.environment

    return make_client(Shown, **options)


def test_a_link_that_only_we_hear_is_ended_although_data_flows(quiet: Sandbox) -> None:
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()
    lost: queue.SimpleQueue[str] = queue.SimpleQueue()

    def note(event: StateChanged) -> None:
        if event.new is State.BACKOFF:
            lost.put(event.reason)

    message = {"topic": TRADES, "type": "snapshot", "ts": 1, "data": []}
    with (
        FaultProxy(quiet) as proxy,
        through(proxy, quiet, ping_interval=0.2, pong_timeout=0.2, open_timeout=0.5) as client,
    ):
        client.listen(note, StateChanged)
        client.subscribe(TRADES, got.put)
        client.wait_until_ready()
        proxy.up.hold()
        received = len(quiet.received)

        def data_flows_until_lost(_: FaultProxy) -> bool:
            quiet.push(message)
            return not lost.empty()

        proxy.wait_for(data_flows_until_lost)
        assert "pong" in lost.get()
        assert got.qsize() >= 3
        assert len(quiet.received) == received  # not one byte went up
        proxy.heal()
        client.wait_until_ready()
        quiet.wait_for(lambda exchange: held(exchange) == {TRADES: 1})


@ways
def test_a_login_cut_anywhere_ends_with_every_topic_once(quiet: Sandbox, way: str) -> None:
    wanted = {"copyTradeOrder": 1, "copyTradePosition": 1}
    with FaultProxy(quiet) as proxy, through(proxy, quiet) as client:
        client.subscribe(list(wanted), ignore)
        client.wait_until_ready()
        size = counts(proxy.connections[0], way)[0]
        for offset in range(0, size, size // 12):
            direction(proxy, way).cut_at(offset, ("rst", "fin")[offset % 2])
            before = proxy.accepted
            proxy.cut()
            proxy.wait_for(lambda proxy, n=before: proxy.accepted >= n + 2)
            quiet.wait_for(lambda exchange: held(exchange) == wanted)
            client.wait_until_ready()
    first: dict[str, str] = {}
    for frame in quiet.received:
        first.setdefault(frame.conn_id, frame.text)
    assert all('"auth"' in text for text in first.values())
