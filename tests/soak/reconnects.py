"""10,000 reconnects and 10 million messages: a month in minutes.

    python tests/soak/reconnects.py [--links 10000] [--messages 1000]

A server in a process of its own sends so many messages on each link and ends it: by a close frame,
a FIN or an RST in turn. Every message of a link that ended in good order must arrive once and in
order; what an RST has cut off must lie in a gap; and memory, threads and descriptors stay as they
were. Prints what it saw, and exits with 1 if something was wrong.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import multiprocessing
import socket
import struct
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from growth import Growth

from bybit_copyws import Backoff, ConnectionBudget, CopyTradingClient, Environment, Message

TOPIC = "publicTrade.BTCUSDT"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
ENDS = ("close", "fin", "rst")


def frame(payload: bytes) -> bytes:
    if len(payload) < 126:
        return bytes((0x81, len(payload))) + payload
    return struct.pack("!BBH", 0x81, 126, len(payload)) + payload


def serve(pipe: Connection, links: int, messages: int) -> None:
    """Serve so many links, one after the other."""
    listener = socket.create_server(("127.0.0.1", 0))
    pipe.send(listener.getsockname()[1])
    text = '{"topic":"%s","type":"snapshot","ts":%d,"data":[{"p":"64000.5","v":"0.01","S":"Buy"}]}'
    block = b"".join(frame((text % (TOPIC, number)).encode()) for number in range(messages))
    reply = frame(b'{"success":true,"ret_msg":"","conn_id":"c","req_id":"","op":"subscribe"}')
    for link in range(links):
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(4096)
        key = next(
            line.split(b":")[1].strip()
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key")
        )
        token = base64.b64encode(hashlib.sha1(key + GUID).digest())
        sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + token + b"\r\n\r\n"
        )
        sock.recv(4096)  # the subscription
        how = ENDS[link % len(ENDS)]
        sock.sendall(reply + block + (b"\x88\x02\x03\xe8" if how == "close" else b""))
        if how == "rst":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how == "fin":
            sock.shutdown(socket.SHUT_WR)
        if how != "rst":
            while sock.recv(4096):
                pass
        sock.close()
    pipe.send("done")
    pipe.recv()


class Taker:
    """Takes the messages and looks at their order."""

    def __init__(self, messages: int) -> None:
        self.last = messages - 1
        self.messages = messages
        self.total = 0
        self.links = 0
        self.holes = 0
        self.faults: list[str] = []

    def take(self, message: Message) -> None:
        """Take a message."""
        number = message.ts or 0
        self.total += 1
        if number == 0:
            whole = self.last == self.messages - 1
            self.holes += not whole
            if self.links and message.gap is None:
                self._fault("a new link began without a gap")
            self.links += 1
        elif number != self.last + 1 or message.gap is not None:
            self._fault(f"{self.last} was followed by {number} ({message.gap})")
        self.last = number

    def _fault(self, text: str) -> None:
        if len(self.faults) < 10:
            self.faults.append(text)


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--links", type=int, default=10_000)
    parser.add_argument("--messages", type=int, default=1_000)
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    method: Any = multiprocessing.get_context("spawn")
    server = method.Process(
        target=serve, args=(theirs, options.links, options.messages), daemon=True
    )
    server.start()
    base = f"127.0.0.1:{ours.recv()}"
    environment = Environment("soak", f"ws://{base}", f"ws://{base}", f"http://{base}")
    taker = Taker(options.messages)
    growth = Growth()
    began = time.monotonic()
    with CopyTradingClient(
        environment=environment,
        backoff=Backoff(base=0.001, cap=0.001, good_after=0.0),
        connection_budget=ConnectionBudget(10_000_000),
    ) as client:
        client.subscribe(TOPIC, taker.take)
        looked = 0
        while not ours.poll(0.0):
            if taker.links >= looked + options.links // 50:
                looked = taker.links
                growth.look()
            threading.Event().wait(0.02)
            if time.monotonic() - began > 3600:
                taker.faults.append("it took more than an hour")
                break
        reconnects = client.health().connections["public"].reconnects
    seconds = time.monotonic() - began
    ours.send("leave")
    server.join()
    faults = [*taker.faults, *growth.faults()]
    if taker.links < options.links - 1:
        faults.append(f"only {taker.links} links delivered")
    expected = options.links * options.messages
    print(
        f"{taker.total:,} of {expected:,} messages on {taker.links:,} links in {seconds:.0f} s; "
        f"{reconnects:,} reconnects; {taker.holes:,} links cut short by an RST, each in a gap"
    )
    print(growth)
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
