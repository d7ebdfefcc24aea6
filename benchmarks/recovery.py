"""How soon data flows again after a fault, beside pybit in the same run.

    python benchmarks/recovery.py [--rounds 40] [--half-open 5] [--json FILE]

The local exchange runs in a process of its own, over TLS, with 20 public v5 topics. In turns with
pybit, the connection is ended by an RST; measured is the time from then until every topic has
delivered again. Then connections fall silent without ending (half-open), with pings every 2 s that
must be answered within 1 s. Ours is given a good link after 0.2 s instead of 10 s, so that the
rounds need not be that long; the first retry after a good link goes out at once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bybit_copyws import Backoff, ConnectionBudget, CopyTradingClient, Environment
from bybit_copyws.sandbox import Observer

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT")
CHANNELS = ("orderbook.1", "orderbook.50", "publicTrade", "tickers")
TOPICS = [f"{channel}.{symbol}" for channel in CHANNELS for symbol in SYMBOLS]
PING, PONG = 2.0, 1.0
PATIENCE = 60.0


class Watch:
    """Notes when each topic has delivered for the first time since it was started."""

    def __init__(self) -> None:
        self._began = float("inf")
        self._left: set[str] = set()
        self._done = threading.Event()
        self.seconds = 0.0

    def start(self) -> None:
        self._left = set(TOPICS)
        self._done.clear()
        self._began = time.monotonic()

    def take(self, topic: str) -> None:
        if topic in self._left:
            self._left.discard(topic)
            if not self._left:
                self.seconds = time.monotonic() - self._began
                self._done.set()

    def wait(self) -> float:
        """Return the seconds until all topics had delivered; infinity if they never did."""
        return self.seconds if self._done.wait(PATIENCE) else float("inf")


@contextlib.contextmanager
def exchange() -> Iterator[tuple[str, str]]:
    """Run an exchange; give its URL and the file of its certificate authority."""
    command = [sys.executable, "-m", "bybit_copyws", "sandbox", "--tls", "--activity", "40"]
    command += ["--symbols", ",".join(SYMBOLS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    text = ""
    while "Ctrl-C" not in text:
        text += process.stdout.readline()
    try:
        url = re.search(r"local exchange at (\S+)", text)
        file = re.search(r"SSL_CERT_FILE=(\S+)", text)
        assert url is not None
        assert file is not None
        yield url[1], file[1]
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def ours(url: str, ca_file: str, watch: Watch) -> Iterator[None]:
    """Run a client of this library."""
    environment = Environment("local", url, url, url.replace("ws", "http", 1))
    with CopyTradingClient(
        environment=environment,
        profile="v5",
        ping_interval=PING,
        pong_timeout=PONG,
        backoff=Backoff(good_after=0.2),
        connection_budget=ConnectionBudget(100_000),
        ssl_context=ssl.create_default_context(cafile=ca_file),
    ) as client:
        client.subscribe(TOPICS, lambda message: watch.take(message.topic))
        client.wait_until_ready()
        yield


@contextlib.contextmanager
def pybit(url: str, ca_file: str, watch: Watch) -> Iterator[None]:
    """Run pybit's client."""
    os.environ["WEBSOCKET_CLIENT_CA_BUNDLE"] = ca_file
    from pybit import unified_trading

    unified_trading.PUBLIC_WSS = f"{url}/v5/public/linear"
    stream = unified_trading.WebSocket(
        testnet=True, channel_type="linear", ping_interval=PING, ping_timeout=PONG
    )
    take: Any = lambda message: watch.take(message["topic"])  # noqa: E731
    symbols = list(SYMBOLS)
    stream.orderbook_stream(1, symbols, take)
    stream.orderbook_stream(50, symbols, take)
    stream.trade_stream(symbols, take)
    stream.ticker_stream(symbols, take)
    try:
        yield
    finally:
        stream.exit()


def measure(run: Any, rounds: int, fault: str, **arguments: Any) -> list[float]:
    """Return the seconds of each round of one client."""
    results = []
    with exchange() as (url, ca_file):
        context = ssl.create_default_context(cafile=ca_file)
        observer = Observer(url, context)
        watch = Watch()
        watch.start()
        with run(url, ca_file, watch):
            assert watch.wait() < PATIENCE, "it never delivered"
            for _ in range(rounds):
                threading.Event().wait(0.5)
                observer.do(fault, **arguments)
                watch.start()
                results.append(watch.wait())
        observer.close()
    return results


def show(name: str, results: list[float]) -> dict[str, float]:
    """Print a line; return its figures in milliseconds."""
    ordered = sorted(1000 * each for each in results)
    figures = {
        "median": statistics.median(ordered),
        "p95": ordered[int(0.95 * (len(ordered) - 1))],
        "most": ordered[-1],
    }
    shown = "  ".join(f"{key} {value:9.1f} ms" for key, value in figures.items())
    print(f"{name:28}{shown}")
    return figures


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--half-open", type=int, default=5, help="rounds")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    figures = {}
    turns = 4  # the clients take turns, so that a busy moment of the machine hits both
    for name, fault, rounds, arguments in (
        ("RST", "drop", options.rounds, {"scope": "public", "how": "rst"}),
        ("half-open", "silence", options.half_open, {"scope": "public"}),
    ):
        results: dict[str, list[float]] = {"ours": [], "pybit": []}
        for _ in range(turns):
            for client, run in (("ours", ours), ("pybit", pybit)):
                results[client] += measure(run, max(1, rounds // turns), fault, **arguments)
        for client, seconds in results.items():
            figures[f"{name} {client}"] = show(f"{name}, {client}", seconds)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
