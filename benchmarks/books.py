"""What keeping an order book costs, beside other ways to keep one, in one run.

    pip install order-book pybit sortedcontainers
    python benchmarks/books.py

Every book gets the same messages: a snapshot, then deltas of 5.8 levels on average, most of them
near the top, prices drifting as in a market. Only the application of deltas is timed, in
processor time and on freshly decoded messages (a text that was used before has its hash already).
Rounds are interleaved: every book once, then again; what is shown are medians in microseconds for
a delta, and ratios to this library within the same round (median, smallest, largest). The last
tables spread deltas over many books in turn, so that each finds its book cold.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import platform
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from importlib.metadata import version
from typing import Any

import msgspec
from order_book import OrderBook as Extension
from pybit._websocket_stream import _V5WebSocketManager
from sortedcontainers import SortedDict

from bybit_copyws.state import Level, OrderBook, Status

SYMBOL = "BTCUSDT"
OURS = "bybit_copyws"
DEPTHS = (50, 200, 500)
FLOCKS = (1, 100, 500)
LEVELS = 5.8
WARM_UP = 100
BATCH = 50
TICK = 10  # in hundredths of a dollar

Message = dict[str, Any]


class Market:
    """A book of ``depth`` levels a side that moves; makes the messages a server would send.

    Prices are in ticks. A delta sets some levels near the top and carries what the window of
    ``depth`` levels gained and lost by it, as the exchange's own deltas do.
    """

    def __init__(self, depth: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.depth = depth
        self.mid = 300_000 + seed % 1000
        self.update_id = 1000
        self.known = {
            "b": {self.mid - 1 - i: self.size() for i in range(2 * depth)},
            "a": {self.mid + 1 + i: self.size() for i in range(2 * depth)},
        }
        self.shown = {side: self.window(side) for side in "ba"}

    def size(self) -> str:
        return f"{self.random.expovariate(1) + 0.001:.3f}"

    def window(self, side: str) -> dict[int, str]:
        ticks = sorted(self.known[side], reverse=side == "b")[: self.depth]
        return {tick: self.known[side][tick] for tick in ticks}

    def snapshot(self) -> bytes:
        return self.message(
            "snapshot", {side: list(levels.items()) for side, levels in self.shown.items()}
        )

    def delta(self) -> bytes:
        """Change levels until the window differs."""
        while True:
            if self.random.random() < 0.05:
                self.drift()
            for _ in range(max(1, round(self.random.gauss(LEVELS - 1, 2)))):
                self.touch()
            rows: dict[str, list[tuple[int, str]]] = {}
            for side in "ba":
                old, new = self.shown[side], self.window(side)
                rows[side] = [(tick, size) for tick, size in new.items() if old.get(tick) != size]
                rows[side] += [(tick, "0") for tick in old if tick not in new]
                self.shown[side] = new
            if any(rows.values()):
                self.update_id += 1
                return self.message("delta", rows)

    def touch(self) -> None:
        """Set, or clear, one level; the nearer to the top the more often."""
        side = self.random.choice("ba")
        away = 1 + min(int(self.random.expovariate(1 / 8)), self.depth)
        tick = self.mid - away if side == "b" else self.mid + away
        if tick in self.known[side] and self.random.random() < 0.3:
            del self.known[side][tick]
        else:
            self.known[side][tick] = self.size()

    def drift(self) -> None:
        """Move the middle by a tick; what it crosses is gone."""
        self.mid += self.random.choice((-1, 1))
        self.known["b"].pop(self.mid, None)
        self.known["a"].pop(self.mid, None)

    def message(self, kind: str, rows: dict[str, list[tuple[int, str]]]) -> bytes:
        text = {
            side: [[f"{tick * TICK / 100:.2f}", size] for tick, size in levels]
            for side, levels in rows.items()
        }
        data = {"s": SYMBOL, **text, "u": self.update_id, "seq": self.update_id * 7}
        topic = f"orderbook.{self.depth}.{SYMBOL}"
        return json.dumps(
            {"topic": topic, "type": kind, "ts": 1_700_000_000_000, "data": data}
        ).encode()


class Ours:
    """This library: all rules of the protocol, a lock, exact keys."""

    def __init__(self, depth: int) -> None:
        self.book = OrderBook(SYMBOL, depth)
        self.apply = self.book.apply

    @staticmethod
    def arguments(message: Message) -> tuple[Any, ...]:
        return message["type"], message["data"], message["ts"], 0.0

    def top(self) -> tuple[float, float]:
        assert self.book.status is Status.LIVE
        bid, ask = self.book.top()
        assert isinstance(bid, Level)
        assert isinstance(ask, Level)
        return float(bid.price), float(ask.price)


class Peer:
    """Base of the books that take the data alone."""

    @staticmethod
    def arguments(message: Message) -> tuple[Any, ...]:
        return (message["data"],)


class Sorted(Peer):
    """``sortedcontainers`` keyed by number, with no rule but that zero deletes."""

    def __init__(self, depth: int) -> None:
        self.b: SortedDict = SortedDict()
        self.a: SortedDict = SortedDict()

    def apply(self, data: Message) -> None:
        for levels, rows in ((self.b, data["b"]), (self.a, data["a"])):
            for price, size in rows:
                number = float(size)
                if number:
                    levels[float(price)] = number
                else:
                    levels.pop(float(price), None)

    def top(self) -> tuple[float, float]:
        return self.b.peekitem(-1)[0], self.a.peekitem(0)[0]


class SortedExact(Sorted):
    """The same with the numbers that a trader would count with."""

    def apply(self, data: Message) -> None:
        for levels, rows in ((self.b, data["b"]), (self.a, data["a"])):
            for price, size in rows:
                number = Decimal(size)
                if number:
                    levels[Decimal(price)] = number
                else:
                    levels.pop(Decimal(price), None)


class Compiled(Peer):
    """The C extension ``order-book`` with Decimal, with no rule but that zero deletes."""

    def __init__(self, depth: int) -> None:
        self.book = Extension()

    def apply(self, data: Message) -> None:
        for levels, rows in ((self.book.bids, data["b"]), (self.book.asks, data["a"])):
            for price, size in rows:
                number = Decimal(size)
                if number:
                    levels[Decimal(price)] = number
                else:
                    key = Decimal(price)
                    if key in levels:
                        del levels[key]

    def top(self) -> tuple[float, float]:
        return float(self.book.bids.index(0)[0]), float(self.book.asks.index(0)[0])


class Pybit:
    """What pybit does to its book for a message; neither its deep copies nor its callback."""

    def __init__(self, depth: int) -> None:
        self.stream = _V5WebSocketManager.__new__(_V5WebSocketManager)  # no connection
        self.stream.data = {}
        self.apply = self.stream._process_delta_orderbook

    @staticmethod
    def arguments(message: Message) -> tuple[Any, ...]:
        return message, message["topic"]

    def top(self) -> tuple[float, float]:
        (data,) = self.stream.data.values()
        return (
            max(float(price) for price, _ in data["b"]),
            min(float(price) for price, _ in data["a"]),
        )


BOOKS: dict[str, Callable[[int], Any]] = {
    OURS: Ours,
    "sortedcontainers, float": Sorted,
    "sortedcontainers, Decimal": SortedExact,
    "order-book, Decimal": Compiled,
    "pybit": Pybit,
}


def timed(books: list[Any], turns: list[list[bytes]], *, read: bool) -> float:
    """Apply message after message to book after book; return microseconds for one.

    The messages are decoded shortly before, as on a stream, and that is not timed. With ``read``
    the best prices are read after each.
    """
    took = count = 0
    pairs = [(book, raw) for turn in turns for book, raw in zip(books, turn, strict=True)]
    for at in range(0, len(pairs), BATCH):
        batch = [
            (book.apply, book.top, book.arguments(msgspec.json.decode(raw)))
            for book, raw in pairs[at : at + BATCH]
        ]
        begun = time.thread_time_ns()
        if read:
            for apply, top, arguments in batch:
                apply(*arguments)
                top()
        else:
            for apply, _, arguments in batch:
                apply(*arguments)
        took += time.thread_time_ns() - begun
        count += len(batch)
    return took / count / 1000


def books_of(name: str, depth: int, raw: list[list[bytes]], *, read: bool = False) -> float:
    """Time the deltas of one book or more, each with messages of its own, after some untimed."""
    books = [BOOKS[name](depth) for _ in raw]
    turns = [list(turn) for turn in zip(*raw, strict=True)]
    timed(books, turns[: 1 + WARM_UP], read=False)
    gc.collect()
    took = timed(books, turns[1 + WARM_UP :], read=read)
    for book in books:
        bid, ask = book.top()
        assert bid < ask
    return took


def recorded(depth: int, count: int, seed: int) -> list[bytes]:
    """Return a snapshot and ``count`` deltas."""
    market = Market(depth, seed)
    return [market.snapshot(), *(market.delta() for _ in range(count))]


def shape(raw: list[bytes]) -> str:
    """Say what the deltas look like."""
    rows = [
        row
        for each in raw[1:]
        for row in (lambda data: data["b"] + data["a"])(msgspec.json.decode(each)["data"])
    ]
    deletes = sum(size == "0" for _, size in rows)
    return f"{len(rows) / (len(raw) - 1):.1f} levels a delta, {deletes / len(rows):.0%} deletes"


def across(figures: list[float], base: list[float]) -> str:
    ratios = [each / other for each, other in zip(figures, base, strict=True)]
    return f"{statistics.median(ratios):5.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def compare(depth: int, count: int, rounds: int) -> None:
    """Print the table of one depth."""
    raw = recorded(depth, count, depth)
    print(f"\ndepth {depth}: {shape(raw)}")
    took: dict[tuple[str, bool], list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, read in itertools.product(BOOKS, (False, True)):
            # The slowest one by an order of magnitude gets fewer: its figure is for one delta.
            messages = raw[: 1 + WARM_UP + count // 10] if name == "pybit" else raw
            took[name, read].append(books_of(name, depth, [messages], read=read))
    for (name, read), figures in took.items():
        ratio = across(figures, took[OURS, read])
        label = f"{name}{', best prices read' if read else ''}"
        print(f"  {label:45} {statistics.median(figures):8.2f} us   x {ratio}")


def flocks(depth: int, count: int, rounds: int) -> None:
    """Print what a delta costs beside many other books, and the ratio to one book alone."""
    print(f"\ndepth {depth}: deltas of many books in turn")
    raw = [recorded(depth, WARM_UP + count // 10, seed) for seed in range(10)]
    took: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, size in itertools.product(BOOKS, FLOCKS):
            if name != "pybit":  # it needs minutes
                each = 1 + WARM_UP + max(20, min(count // size, count // 10))
                herd = [raw[i % 10][:each] for i in range(size)]
                took[name, size].append(books_of(name, depth, herd))
    for (name, size), figures in took.items():
        ratio = across(figures, took[name, FLOCKS[0]])
        label = f"{name}, {size} book{'s' * (size > 1)}"
        print(f"  {label:45} {statistics.median(figures):8.2f} us   x {ratio}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare what order books cost.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--deltas", type=int, default=5000)
    options = parser.parse_args()
    peers = ", ".join(
        f"{name} {version(name)}" for name in ("sortedcontainers", "order-book", "pybit")
    )
    print(f"Python {platform.python_version()}, {platform.machine()}; {peers}")
    print("microseconds for a delta (median of the rounds), and the ratio to this library")
    for depth in DEPTHS:
        compare(depth, options.deltas, options.rounds)
    for depth in (DEPTHS[0], DEPTHS[-1]):
        flocks(depth, options.deltas, options.rounds)


if __name__ == "__main__":
    main()
