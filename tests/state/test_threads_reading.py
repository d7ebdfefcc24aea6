"""Threads that read while one applies: nobody sees half a message."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from bybit_copyws.state import OrderBook, Status, Ticker

MESSAGES = 4000


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def beside(write: Callable[[], None], read: Callable[[], None]) -> None:
    """Run one writer beside three readers; what a reader raises is raised here."""
    done, failures = threading.Event(), []

    def reader() -> None:
        try:
            while not done.is_set():
                read()
        except BaseException as error:  # noqa: BLE001 (raised again below)
            failures.append(error)

    threads = [threading.Thread(target=reader) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        write()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


def test_a_reader_sees_a_book_before_or_after_a_delta() -> None:
    book = OrderBook("SOLUSDT", 5)

    def write() -> None:
        for u in range(1, MESSAGES):
            # Both sides move by one, and each size says of which message the level is.
            low, size = 1000 + u, f"0.{u:06}1"
            bids = [[str(low - i), size] for i in range(5)]
            asks = [[str(low + 1 + i), size] for i in range(5)]
            kind = "snapshot" if u % 50 == 1 else "delta"
            if kind == "delta":
                bids.append([str(low - 5), "0"])
                asks.append([str(low), "0"])
            message = {"s": "SOLUSDT", "b": bids, "a": asks, "u": u, "seq": u}
            assert book.apply(kind, message, u, float(u)).cause is None

    def read() -> None:
        seen = book.snapshot()
        if seen.status is Status.SYNCING:
            assert seen.rows() == ((), ())
            return
        assert {size for side in seen.rows() for _, size in side} == {f"0.{seen.update_id:06}1"}
        assert seen.ts == seen.sequence == seen.update_id
        assert (len(seen.bid_rows), len(seen.ask_rows)) == (5, 5)
        bid, ask = book.top()
        assert bid is not None
        assert ask is not None
        assert ask.price - bid.price == 1
        assert bid.size == ask.size
        assert book.spread == 1
        assert book.imbalance() == 0

    beside(write, read)


def test_a_reader_sees_a_ticker_before_or_after_a_delta() -> None:
    ticker = Ticker("SOLUSDT")
    ticker.apply("snapshot", {"symbol": "SOLUSDT", "lastPrice": "0", "markPrice": "0"}, 0, 0.0)

    def write() -> None:
        for n in range(MESSAGES):
            ticker.apply("delta", {"lastPrice": str(n), "markPrice": str(n)}, n, float(n))

    def read() -> None:
        seen = ticker.snapshot()
        assert seen.data["lastPrice"] == seen.data["markPrice"] == str(seen.ts)

    beside(write, read)
