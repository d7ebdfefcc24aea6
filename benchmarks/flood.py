"""The server of the benchmark: takes one WebSocket connection and sends what it was told to.

    python benchmarks/flood.py --size small --framing one --count 1000 [--rate R] [--cert F --key F]

It is a plain blocking socket, so that it is faster than every client. It waits for the client's
first message (a subscription), acknowledges it, sends, and then waits for the client to leave.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import itertools
import json
import random
import re
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TOPICS = {
    "small": "orderbook.1.BTCUSDT",
    "large": "orderbook.200.BTCUSDT",
    "delta": "orderbook.50.BTCUSDT",
}
LEVELS = {"small": 1, "large": 200, "delta": 50}
CHANGES = 6  # levels of a delta
BLOCK = 500  # different messages; then they come again
CHUNK = 16_384  # bytes in one write if frames are sent many at a time: a whole TLS record


def frame(payload: bytes) -> bytes:
    if len(payload) < 126:
        return bytes((0x81, len(payload))) + payload
    if len(payload) < 65_536:
        return struct.pack("!BBH", 0x81, 126, len(payload)) + payload
    return struct.pack("!BBQ", 0x81, 127, len(payload)) + payload


def message(size: str, number: int) -> bytes:
    """Return a snapshot as Bybit sends it: about 230 bytes or 10 kB."""
    price = 64_000 + number % 100
    bids = [[f"{price - level * 0.1:.2f}", f"{1 + level % 7}.{number % 1000:03d}"]
            for level in range(LEVELS[size])]  # fmt: skip
    asks = [[f"{price + 0.1 + level * 0.1:.2f}", f"{2 + level % 5}.{number % 1000:03d}"]
            for level in range(LEVELS[size])]  # fmt: skip
    body = {
        "topic": TOPICS[size],
        "type": "snapshot",
        "ts": 1_700_000_000_000 + number,
        "data": {"s": "BTCUSDT", "b": bids, "a": asks, "u": number, "seq": 40_000_000_000 + number},
        "cts": 1_700_000_000_000 + number,
    }
    return json.dumps(body, separators=(",", ":")).encode()


def deltas(count: int) -> Iterator[bytes]:
    """Make changes of a 50-level book, each numbered one higher; only what is there is deleted."""
    rng = random.Random(1)
    shown = {"b": set(range(LEVELS["delta"])), "a": set(range(LEVELS["delta"]))}
    for number in range(1, count + 1):
        rows: dict[str, dict[int, str]] = {"b": {}, "a": {}}
        for _ in range(CHANGES):
            side = rng.choice("ba")
            away = min(int(rng.expovariate(1 / 8)), LEVELS["delta"] - 1)
            if away in rows[side]:
                continue
            gone = away in shown[side] and rng.random() < 0.2
            rows[side][away] = "0" if gone else f"{rng.random() * 5 + 0.001:.3f}"
            (shown[side].discard if gone else shown[side].add)(away)
        data: dict[str, Any] = {"s": "BTCUSDT"}
        for side, start, step in (("b", 64_000.0, -0.1), ("a", 64_000.1, 0.1)):
            data[side] = [[f"{start + n * step:.2f}", size] for n, size in rows[side].items()]
        data |= {"u": number, "seq": 40_000_000_000 + number}
        body = {"topic": TOPICS["delta"], "type": "delta", "ts": 1_700_000_000_000 + number}
        yield json.dumps(body | {"data": data, "cts": body["ts"]}, separators=(",", ":")).encode()


def frames_of(size: str, count: int) -> list[bytes]:
    """Return what is sent: the same messages over and over, or one book and its deltas."""
    if size != "delta":
        return [frame(message(size, number)) for number in range(BLOCK)]
    return [frame(message(size, 0)), *map(frame, deltas(count))]


class SecureSocket:
    """TLS in memory, so that many records can leave in one system call."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        self._until(self._tls.do_handshake)

    def _until(self, call: Callable[[], Any]) -> Any:
        while True:
            try:
                result = call()
            except ssl.SSLWantReadError:
                result = None
            self._sock.sendall(self._out.read())
            if result is not None or (call == self._tls.do_handshake and self._tls.version()):
                return result
            self._in.write(self._sock.recv(16_384))

    def recv(self, size: int) -> bytes:
        return self._until(lambda: self._tls.read(size))

    def sendall(self, data: bytes) -> None:
        self.send_records([data])

    def send_records(self, pieces: Iterable[bytes]) -> None:
        """Send each piece as a record of its own, all in one system call."""
        for piece in pieces:
            self._tls.write(piece)
        self._sock.sendall(self._out.read())

    def close(self) -> None:
        self._sock.close()


Stream = socket.socket | SecureSocket


def accept(listener: socket.socket, context: ssl.SSLContext | None) -> Stream:
    """Take a connection, do the handshake, and acknowledge the subscription."""
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            sock = SecureSocket(sock, context)
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(4096)
        key = re.search(rb"(?i)sec-websocket-key: *([^\r]+)", head)
        if key is not None:
            break
        sock.close()
    token = base64.b64encode(hashlib.sha1(key[1] + GUID).digest())
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + token + b"\r\n\r\n"
    )
    request = json.loads(read_text(sock))
    reply = {"success": True, "ret_msg": "", "conn_id": "c", "op": "subscribe"}
    if "req_id" in request:
        reply["req_id"] = request["req_id"]
    sock.sendall(frame(json.dumps(reply).encode()))
    return sock


def read_text(sock: Stream) -> bytes:
    data = sock.recv(4096)
    size, start = data[1] & 0x7F, 2
    if size == 126:
        size, start = int.from_bytes(data[2:4], "big"), 4
    mask, payload = data[start : start + 4], data[start + 4 : start + 4 + size]
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def flood(sock: Stream, frames: list[bytes], count: int, framing: str) -> None:
    """Send frames as fast as possible: each in a segment or a record of its own, or many in one.

    Records are made faster than a client reads them, so several leave at once, as after a pause of
    the network: what is measured is the client, not how it waits for the server.
    """
    per_call = max(1, CHUNK // len(frames[-1]))
    if framing == "one" and isinstance(sock, SecureSocket):
        for at in itertools.cycle(range(0, len(frames), per_call)):
            group = frames[at : at + per_call]
            sock.send_records(group)
            count -= len(group)
            if count <= 0:
                return
    pieces = frames
    if framing == "many":
        pieces = [b"".join(frames[at : at + per_call]) for at in range(0, len(frames), per_call)]
    sent = 0
    while sent < count:
        for piece in pieces:
            sock.sendall(piece)
        sent += len(frames)


def drip(sock: Stream, size: str, count: int, rate: float) -> None:
    """Send a message each 1/rate seconds, with the time of its sending as its ``u``."""
    text = message(size, 0)
    before, after = text.split(b'"u":0,')
    start = time.monotonic_ns()
    for number in range(count):
        due = start + int(number * 1e9 / rate)
        while (left := due - time.monotonic_ns()) > 0:
            if left > 200_000:
                time.sleep((left - 150_000) / 1e9)
        body = before + b'"u":%d,' % time.monotonic_ns() + after
        sock.sendall(frame(body))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=tuple(TOPICS), default="small")
    parser.add_argument("--framing", choices=("one", "many"), default="one")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    options = parser.parse_args()
    context = None
    if options.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.cert, options.key)
    frames = frames_of(options.size, options.count)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        sock = accept(listener, context)
        try:
            if options.rate:
                drip(sock, options.size, options.count, options.rate)
            else:
                flood(sock, frames, options.count, options.framing)
            while sock.recv(4096):
                pass
        except OSError:
            pass  # the client has what it needs


if __name__ == "__main__":
    main()
