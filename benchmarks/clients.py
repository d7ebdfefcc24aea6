"""The clients of the benchmark: each decodes the JSON of every message and calls a callback.

    python benchmarks/clients.py NAME URL --size small --count 1000 [--ca FILE]

Prints one JSON line: processor time and wall time per message between the first message and the
last, or the latencies if the server puts the time of sending into ``u``.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from flood import TOPICS

PATH = "/v5/public/linear"
SUBSCRIBE = '{{"op":"subscribe","req_id":"1","args":["{}"]}}'


class Meter:
    """The callback: counts, and looks at the clocks at the first message and the last."""

    def __init__(self, count: int, *, latency: bool) -> None:
        self.done = threading.Event()
        self.latencies: list[int] = []
        self._count = count
        self._seen = 0
        if latency:
            self.take = self._take_time

    def begin(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def end(self) -> None:
        self.wall = time.perf_counter() - self._wall
        self.cpu = time.process_time() - self._cpu
        self.done.set()

    def take(self, data: dict[str, Any]) -> None:
        """Take the ``data`` of a message."""
        if data["u"] is not None:
            self._seen += 1
        if self._seen == self._count:
            self.end()
        elif self._seen == 1:
            self.begin()

    def _take_time(self, data: dict[str, Any]) -> None:
        self.latencies.append(time.monotonic_ns() - data["u"])
        if len(self.latencies) == self._count:
            self.end()
        elif len(self.latencies) == 1:
            self.begin()


class Target:
    """Where to connect and what for."""

    def __init__(self, url: str, size: str, ca: str | None, meter: Meter) -> None:
        self.url = url
        self.size = size
        self.topic = TOPICS[size]
        self.depth = int(self.topic.split(".")[1])
        self.ca = ca
        self.meter = meter
        self.request = SUBSCRIBE.format(self.topic)
        self.context = ssl.create_default_context(cafile=ca) if ca else None

    def handler(self, loads: Callable[[Any], Any]) -> Callable[[Any], None]:
        """Return what every raw client does with a message."""
        topic, take = self.topic, self.meter.take

        def handle(text: Any) -> None:
            message = loads(text)
            if message.get("topic") == topic:
                take(message["data"])

        return handle


def run_bybit_copyws(target: Target) -> None:
    from bybit_copyws import CopyTradingClient, Environment

    take = target.meter.take
    client = CopyTradingClient(
        profile="v5",
        environment=Environment("bench", target.url, target.url, "http://127.0.0.1"),
        ssl_context=target.context,
    )
    if target.size == "delta":  # the updated book, as the others give it
        book = client.order_book("BTCUSDT", target.depth)
        book.on_update(lambda book: take({"u": book.update_id}))
    else:
        client.subscribe(target.topic, lambda message: take(message.data))
    client.start()
    target.meter.done.wait()


def run_pybit(target: Target) -> None:
    from pybit import unified_trading

    if target.ca:
        os.environ["WEBSOCKET_CLIENT_CA_BUNDLE"] = target.ca
    unified_trading.PUBLIC_WSS = target.url + PATH
    take = target.meter.take
    stream = unified_trading.WebSocket(testnet=True, channel_type="linear")
    stream.orderbook_stream(target.depth, "BTCUSDT", lambda message: take(message["data"]))
    target.meter.done.wait()


def run_app(target: Target, loads: Callable[[Any], Any], *, skip_check: bool) -> None:
    import websocket

    handle = target.handler(loads)
    app = websocket.WebSocketApp(
        target.url + PATH,
        on_open=lambda app: app.send(target.request),
        on_message=lambda _, text: handle(text),
    )
    options = {"sslopt": {"context": target.context}} if target.context else {}
    threading.Thread(
        target=lambda: app.run_forever(skip_utf8_validation=skip_check, **options), daemon=True
    ).start()
    target.meter.done.wait()


def run_app_defaults(target: Target) -> None:
    run_app(target, json.loads, skip_check=False)


def run_app_tuned(target: Target) -> None:
    import orjson

    run_app(target, orjson.loads, skip_check=True)


def run_websockets_sync(target: Target) -> None:
    import orjson
    from websockets.sync.client import connect

    handle, done = target.handler(orjson.loads), target.meter.done
    with connect(target.url + PATH, ssl=target.context, compression=None) as stream:
        stream.send(target.request)
        while not done.is_set():
            handle(stream.recv(decode=False))
        finish(target)


async def websockets_asyncio(target: Target) -> None:
    import orjson
    from websockets.asyncio.client import connect

    handle, done = target.handler(orjson.loads), target.meter.done
    async with connect(target.url + PATH, ssl=target.context, compression=None) as stream:
        await stream.send(target.request)
        while not done.is_set():
            handle(await stream.recv(decode=False))
        finish(target)


async def with_aiohttp(target: Target) -> None:
    import aiohttp
    import orjson

    handle, done = target.handler(orjson.loads), target.meter.done
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(target.url + PATH, ssl=target.context or True) as stream,
    ):
        await stream.send_str(target.request)
        while not done.is_set():
            handle((await stream.receive()).data)
        finish(target)


async def with_picows(target: Target) -> None:
    import orjson
    import picows

    handle, done = target.handler(orjson.loads), target.meter.done
    over = asyncio.Event()

    class Listener(picows.WSListener):
        def on_ws_connected(self, transport: Any) -> None:
            transport.send(picows.WSMsgType.TEXT, target.request.encode())

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            handle(frame.get_payload_as_memoryview())
            if done.is_set():
                over.set()

    await picows.ws_connect(Listener, target.url + PATH, ssl_context=target.context)
    await over.wait()
    finish(target)


def run_reader(target: Target, *, in_memory: bool) -> None:
    """Read TLS with our frame reader: by ``SSLSocket``, or by TLS in memory as the library does."""
    import orjson

    from bybit_copyws.stream.link import Link
    from bybit_copyws.stream.tls import Tls
    from bybit_copyws.wire.frames import FrameReader

    parts = urlsplit(target.url)
    sock = socket.create_connection((parts.hostname, parts.port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    view = memoryview(bytearray(65_536))
    if in_memory:
        tls = Tls(target.context, parts.hostname)
        while not tls.shake_hands():
            sock.sendall(tls.take_outgoing())
            tls.feed(sock.recv(16_384))
        sock.sendall(tls.take_outgoing())
        link = Link(sock, tls)
        send, receive = link.send, link.receive
    else:
        secure = target.context.wrap_socket(sock, server_hostname=parts.hostname)
        send, receive = secure.sendall, secure.recv_into
    send(f"GET {PATH} HTTP/1.1\r\nSec-WebSocket-Key: x\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += view[: receive(view)]
    payload = target.request.encode()
    send(bytes((0x81, 0x80 | len(payload), 0, 0, 0, 0)) + payload)
    handle, done, feed = target.handler(orjson.loads), target.meter.done, FrameReader().feed
    while not done.is_set():
        for item in feed(view[: receive(view)]):
            handle(item)


def in_loop(main: Callable[[Target], Any], *, fast: bool) -> Callable[[Target], None]:
    def run(target: Target) -> None:
        if fast:
            import uvloop

            uvloop.run(main(target))
        else:
            asyncio.run(main(target))

    return run


CLIENTS: dict[str, Callable[[Target], None]] = {
    "bybit_copyws": run_bybit_copyws,
    "pybit": run_pybit,
    "WebSocketApp, defaults, json": run_app_defaults,
    "WebSocketApp, tuned, orjson": run_app_tuned,
    "websockets sync": run_websockets_sync,
    "websockets asyncio": in_loop(websockets_asyncio, fast=False),
    "websockets uvloop": in_loop(websockets_asyncio, fast=True),
    "aiohttp": in_loop(with_aiohttp, fast=False),
    "picows asyncio": in_loop(with_picows, fast=False),
    "picows uvloop": in_loop(with_picows, fast=True),
}
# Two ways to read TLS, all else being equal: what `stream/tls.py` was chosen by.
PUMPS: dict[str, Callable[[Target], None]] = {
    "TLS by SSLSocket": functools.partial(run_reader, in_memory=False),
    "TLS in memory": functools.partial(run_reader, in_memory=True),
}


def finish(target: Target) -> None:
    """Print the result and leave at once: how a client closes is not measured."""
    meter = target.meter
    latencies = sorted(meter.latencies)
    count = len(latencies) or meter._count
    result: dict[str, Any] = {
        "cpu_us": meter.cpu / (count - 1) * 1e6,
        "wall_us": meter.wall / (count - 1) * 1e6,
    }
    for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
        if latencies:
            result[name] = latencies[int(share * (count - 1))] / 1000
    print(json.dumps(result), flush=True)
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("client", choices=(*CLIENTS, *PUMPS))
    parser.add_argument("url")
    parser.add_argument("--size", choices=tuple(TOPICS), default="small")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--latency", action="store_true")
    parser.add_argument("--ca")
    options = parser.parse_args()
    assert urlsplit(options.url).path == ""
    meter = Meter(options.count, latency=options.latency)
    target = Target(options.url, options.size, options.ca, meter)
    (CLIENTS | PUMPS)[options.client](target)
    finish(target)


if __name__ == "__main__":
    main()
