"""How much the local exchange carries: many connections, many messages, one core.

    python benchmarks/sandbox_load.py --connections 200 --seconds 10

The exchange runs in a process of its own; the clients of this script only drain their sockets.
Prints messages in a second, processor time, how far the exchange's clock is behind, and the most
that any client was behind, in bytes.
"""

from __future__ import annotations

import argparse
import re
import selectors
import socket
import subprocess
import sys
import time

import psutil

from bybit_copyws.sandbox import Observer

TOPICS = '"orderbook.1.BTCUSDT","orderbook.1.ETHUSDT","publicTrade.BTCUSDT"'


def masked(text: str) -> bytes:
    """Return a short text frame of a client, masked with zeros."""
    data = text.encode()
    assert len(data) <= 125
    return bytes((0x81, 0x80 | len(data), 0, 0, 0, 0)) + data


def connect(host: str, port: int) -> socket.socket:
    """Open a connection and subscribe."""
    sock = socket.create_connection((host, port))
    sock.sendall(
        b"GET /contract/usdt/public/v3 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\n\r\n"
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(4096)
    sock.sendall(masked(f'{{"op":"subscribe","args":[{TOPICS}]}}'))
    sock.setblocking(False)
    return sock


def drain(sockets: list[socket.socket], seconds: float) -> int:
    """Read for a while; return how many bytes came."""
    selector = selectors.DefaultSelector()
    for sock in sockets:
        selector.register(sock, selectors.EVENT_READ)
    buffer = bytearray(2**20)
    total, end = 0, time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        for key, _ in selector.select(left):
            total += key.fileobj.recv_into(buffer)  # type: ignore[union-attr]
    selector.close()
    return total


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--activity", type=float, default=60.0)
    options = parser.parse_args()
    command = [sys.executable, "-m", "bybit_copyws", "sandbox"]
    process = subprocess.Popen(
        [*command, "--activity", str(options.activity)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url = ""
    while not (found := re.search(r"local exchange at ws://([\d.]+):(\d+)", url)):
        url += process.stdout.readline()
    host, port = found[1], int(found[2])
    observer = Observer(f"ws://{host}:{port}")
    sockets = [connect(host, port) for _ in range(options.connections)]
    drain(sockets, 2.0)  # warm up
    usage = psutil.Process(process.pid)
    before, cpu, began = observer.state(), usage.cpu_times(), time.monotonic()
    received = drain(sockets, options.seconds)
    after, cpu_after, ended = observer.state(), usage.cpu_times(), time.monotonic()
    seconds = ended - began
    used = cpu_after.user + cpu_after.system - cpu.user - cpu.system
    lag = seconds - (after["time_ms"] - before["time_ms"]) / 1000
    behind = max(each["buffered"] for each in after["connections"])
    print(f"connections         {len(after['connections'])}")
    print(f"messages a second   {(after['sent'] - before['sent']) / seconds:,.0f}")
    print(f"megabytes a second  {received / seconds / 1e6:.1f}")
    print(f"processor           {used / seconds:.0%} of one core")
    print(f"clock behind        {lag * 1000:.0f} ms")
    print(f"most behind         {behind} bytes")
    for sock in sockets:
        sock.close()
    observer.close()
    process.terminate()
    process.wait(10)
    process.stdout.close()


if __name__ == "__main__":
    main()
