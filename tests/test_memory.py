"""Row 24 and 8 of the fault matrix: what a hostile server can make a client's process grow by.

The client runs in a process of its own, and its greatest size is what the kernel says it was.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from raw_server import Peer, RawServer, frame

LIMIT = 4 * 2**20  # max_message_size of the client
PIECE = 2**20
ATTEMPTS = 3  # each attack comes so often
CLIENT = f"""
import re, sys, threading
from pathlib import Path
from bybit_copyws import Backoff, ConnectionBudget, CopyTradingClient, Environment
from bybit_copyws.events import State, StateChanged

def size():
    # Not getrusage: what it gives begins with the size of the process that started this one.
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

reasons, lost = [], threading.Semaphore(0)

def note(event):
    if event.new is State.BACKOFF:
        reasons.append(event.reason)
        lost.release()

client = CopyTradingClient(
    environment=Environment("raw", sys.argv[1], sys.argv[1], "http://127.0.0.1:1"),
    max_message_size={LIMIT},
    backoff=Backoff(base=0.01, cap=0.01, good_after=0.0, refused=0.0),
    connection_budget=ConnectionBudget(1000),
)
client.listen(note, StateChanged)
client.subscribe("publicTrade.BTCUSDT", lambda _: None)
before = size()
client.start()
for _ in range({ATTEMPTS}):
    assert lost.acquire(timeout=30)
client.close()
print(size() - before)
print(reasons[0])
"""


def send_for_ever(peer: Peer, data: bytes) -> None:
    while True:
        peer.sock.sendall(data)


def announce(size: int) -> Callable[[Peer], None]:
    def attack(peer: Peer) -> None:
        peer.upgrade()
        peer.sock.sendall(b"\x81\x7f" + size.to_bytes(8, "big"))
        send_for_ever(peer, b" " * PIECE)

    return attack


def endless(data: bytes) -> Callable[[Peer], None]:
    def attack(peer: Peer) -> None:
        peer.read_request()
        peer.sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\n")
        send_for_ever(peer, data)

    return attack


def fragments(payload: bytes) -> Callable[[Peer], None]:
    def attack(peer: Peer) -> None:
        peer.upgrade()
        begin, more = bytearray(frame(payload)), bytearray(frame(payload))
        begin[0], more[0] = 0x01, 0x00  # text, not final; then continuations for ever
        peer.sock.sendall(begin)
        send_for_ever(peer, bytes(more) * (1 + 2**16 // len(more)))

    return attack


def as_large_as_allowed(peer: Peer) -> None:
    peer.upgrade()
    text = b'{"topic":"publicTrade.BTCUSDT","data":"'
    for _ in range(5):
        peer.send(text + b"x" * (LIMIT - len(text) - 2) + b'"}')
    peer.sock.close()


ATTACKS = {
    "2^62 bytes announced": (announce(2**62), "bytes exceeds the"),
    "a message of 1 GiB": (announce(2**30), "bytes exceeds the"),
    "endless headers": (endless(b"X: y\r\n" * 1000), "more than 128 headers"),
    "an endless header line": (endless(b"x" * PIECE), "longer than 8192 bytes"),
    "endless fragments": (fragments(b"x" * 60_000), "bytes exceeds the"),
    "endless empty fragments": (fragments(b""), "fragments"),
    "endless fragments of a byte": (fragments(b"x"), "fragments"),
    "messages as large as allowed": (as_large_as_allowed, "the connection"),
}


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the size is read as Linux gives it"
)
@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_server_costs_less_than_twice_the_largest_message(name: str) -> None:
    attack, words = ATTACKS[name]
    with RawServer(attack) as server:
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, server.url],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    grown, reason = done.stdout.splitlines()
    assert words in reason
    # What a message is decoded into counts as well: twice more.
    allowance = 4 if attack is as_large_as_allowed else 2
    assert int(grown) < allowance * LIMIT
