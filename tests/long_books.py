"""Long: a book kept through 100,000 messages equals the exchange's own after every one.

Not part of the ordinary run: ``python -m pytest tests/long_books.py`` (some minutes).
"""

from __future__ import annotations

import pytest

from bybit_copyws.sandbox.market import DEFAULT_INSTRUMENTS, Market
from bybit_copyws.state import OrderBook, Outcome, Status

MESSAGES = 100_000
START = 1_700_000_000_000
DEPTHS = [("v3", 1), ("v3", 50), ("v3", 200), ("v5", 1), ("v5", 50), ("v5", 200), ("v5", 1000)]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("profile", "depth"), DEPTHS)
def test_the_rebuilt_book_is_the_exchanges_own(profile: str, depth: int) -> None:
    market = Market([DEFAULT_INSTRUMENTS["BTCUSDT"]], seed=11, start_ms=START, cadence="fast")
    feed = market.open_feed(profile, ("orderbook", str(depth), "BTCUSDT"))
    book = OrderBook("BTCUSDT", depth)
    first = feed.snapshot(START)
    assert first is not None
    assert book.apply("snapshot", first["data"], first["ts"], 0.0).outcome is Outcome.APPLIED
    update, messages, now = first["data"]["u"], 0, START
    while messages < MESSAGES:
        now = max(now + 1, market.engine("BTCUSDT").next_change_ms)
        for message in feed.poll(now):
            result = book.apply(message["type"], message["data"], message["ts"], now / 1000)
            assert result.outcome in (Outcome.APPLIED, Outcome.REPEATED), result
            messages += 1
            new = message["data"]["u"]
            assert new == update + 1 or (depth == 1 and new == update)
            update = new
        bids, asks = feed.book()
        assert book.rows() == (tuple(map(tuple, bids)), tuple(map(tuple, asks)))
        assert book.status is Status.LIVE
