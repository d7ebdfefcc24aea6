"""Long: a book rebuilt from 100,000 messages equals the exchange's own after every one.

Not part of the ordinary run: ``python -m pytest tests/long_books.py`` (some minutes).
"""

from __future__ import annotations

from typing import Any

import pytest

from bybit_copyws.sandbox.market import DEFAULT_INSTRUMENTS, Market

MESSAGES = 100_000
START = 1_700_000_000_000
DEPTHS = [("v3", 1), ("v3", 50), ("v3", 200), ("v5", 1), ("v5", 50), ("v5", 200), ("v5", 1000)]


def apply(sides: dict[str, dict[str, str]], message: dict[str, Any]) -> None:
    """Bring a client's book up to date, as Bybit's documents say."""
    data = message["data"]
    for side in "ba":
        book = sides[side]
        if message["type"] == "snapshot":
            book.clear()
        for price, size in data[side]:
            if float(size):
                book[price] = size
            else:
                del book[price]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("profile", "depth"), DEPTHS)
def test_the_rebuilt_book_is_the_exchanges_own(profile: str, depth: int) -> None:
    market = Market([DEFAULT_INSTRUMENTS["BTCUSDT"]], seed=11, start_ms=START, cadence="fast")
    feed = market.open_feed(profile, ("orderbook", str(depth), "BTCUSDT"))
    sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    first = feed.snapshot(START)
    assert first is not None
    apply(sides, first)
    update, messages, now = first["data"]["u"], 0, START
    while messages < MESSAGES:
        now = max(now + 1, market.engine("BTCUSDT").next_change_ms)
        for message in feed.poll(now):
            apply(sides, message)
            messages += 1
            new = message["data"]["u"]
            assert new == update + 1 or (depth == 1 and new == update)
            update = new
        bids, asks = feed.book()
        assert sides["b"] == dict(bids)
        assert sides["a"] == dict(asks)
        assert float(bids[0][0]) < float(asks[0][0])
