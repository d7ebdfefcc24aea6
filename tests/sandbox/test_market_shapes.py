"""Every payload has exactly the keys, in the order, that the exchange shows."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from bybit_copyws.sandbox.market import (
    Market,
    instrument,
    order_book,
    recent_trades,
    server_time,
)

START = 1_700_000_000_000
SYMBOL = "BTCUSDT"
SAMPLES = Path(__file__).resolve().parents[2].parent / "shared" / "samples"

TICKER = (
    "symbol tickDirection price24hPcnt lastPrice prevPrice24h highPrice24h lowPrice24h prevPrice1h"
    " markPrice indexPrice openInterest openInterestValue turnover24h volume24h"
)
TICKER_END = " nextFundingTime fundingRate bid1Price bid1Size ask1Price ask1Size"
BOOK = "s b a u seq"
KLINE = "start end interval open close high low volume turnover confirm timestamp"
TRADE = "T s S v p L i BT"

# Topic parts, keys of the envelope, keys of the data (or of each of its rows).
SHAPES = {
    "v3": [
        ("orderbook.1.BTCUSDT", "topic type ts data", BOOK),
        ("orderbook.50.BTCUSDT", "topic type ts data", BOOK),
        ("orderbook.200.BTCUSDT", "topic type ts data", BOOK),
        ("publicTrade.BTCUSDT", "topic type ts data", TRADE),
        ("tickers.BTCUSDT", "topic type data cs ts", TICKER + TICKER_END),
        ("kline.5.BTCUSDT", "topic data ts type", KLINE),
        ("liquidation.BTCUSDT", "data topic ts type", "price side size symbol updatedTime"),
    ],
    "v5": [
        ("orderbook.1.BTCUSDT", "topic type ts data cts", BOOK),
        ("orderbook.50.BTCUSDT", "topic type ts data cts", BOOK),
        ("orderbook.200.BTCUSDT", "topic type ts data cts", BOOK),
        ("orderbook.1000.BTCUSDT", "topic type ts data cts", BOOK),
        ("publicTrade.BTCUSDT", "topic type ts data", TRADE + " seq RPI"),
        (
            "tickers.BTCUSDT",
            "topic type data cs ts",
            TICKER
            + " fundingIntervalHour fundingCap"
            + TICKER_END
            + " preOpenPrice preQty curPreListingPhase",
        ),
        ("kline.5.BTCUSDT", "topic data ts type", KLINE),
        ("allLiquidation.BTCUSDT", "topic type ts data", "T s S v p"),
    ],
}
CASES = [(profile, *shape) for profile, shapes in SHAPES.items() for shape in shapes]


def make_market():
    return Market([instrument(SYMBOL)], seed=1, start_ms=START)


def say(profile, topic):
    """Return the snapshot, if there is one, and some pushed messages."""
    market = make_market()
    feed = market.open_feed(profile, tuple(topic.split(".")))
    assert feed.topic == topic
    first = feed.snapshot(START)
    market.liquidate(SYMBOL, "Buy", Decimal(1))
    pushed = feed.poll(START + 5000)
    assert pushed
    return ([first] if first else []) + pushed


def rows(message):
    return message["data"] if isinstance(message["data"], list) else [message["data"]]


@pytest.mark.parametrize(("profile", "topic", "envelope", "data"), CASES)
def test_messages_have_the_keys_of_the_exchange(profile, topic, envelope, data):
    for message in say(profile, topic):
        assert list(message) == envelope.split()
        assert message["topic"] == topic
        for row in rows(message):
            if message["type"] == "delta" and topic.startswith("tickers"):
                assert [key for key in data.split() if key in row] == list(row)
            else:
                assert list(row) == data.split()
        assert json.loads(json.dumps(message)) == message


KINDS = {
    "topic": str,
    "type": str,
    "ts": int,
    "cs": int,
    "cts": int,
    "u": int,
    "seq": int,
    "start": int,
    "end": int,
    "timestamp": int,
    "updatedTime": int,
    "T": int,
    "confirm": bool,
    "BT": bool,
    "RPI": bool,
}


@pytest.mark.parametrize(("profile", "topic", "envelope", "data"), CASES)
def test_numbers_are_strings_unless_they_are_times_and_counters(profile, topic, envelope, data):
    for message in say(profile, topic):
        for row in [message, *rows(message)]:
            for key, value in row.items():
                if key not in ("data", "b", "a"):
                    assert type(value) is KINDS.get(key, str), key


SAMPLED = {
    "v3": [
        ("orderbook.50.BTCUSDT", "v3-copy-trade/wss-public/orderbook.stream.jsonl"),
        ("publicTrade.BTCUSDT", "v3-copy-trade/wss-public/trade.stream.jsonl"),
        ("tickers.BTCUSDT", "v3-copy-trade/wss-public/tickers.stream.jsonl"),
        ("kline.5.BTCUSDT", "v3-copy-trade/wss-public/kline.stream.jsonl"),
        ("liquidation.BTCUSDT", "v3-copy-trade/wss-public/liquidation.stream.jsonl"),
    ],
    "v5": [
        ("orderbook.50.BTCUSDT", "v5/websocket/public/orderbook.stream.jsonl"),
        ("publicTrade.BTCUSDT", "v5/websocket/public/trade.stream.jsonl"),
        ("tickers.BTCUSDT", "v5/websocket/public/ticker.stream.jsonl"),
        ("kline.5.BTCUSDT", "v5/websocket/public/kline.stream.jsonl"),
        ("allLiquidation.BTCUSDT", "v5/websocket/public/all-liquidation.stream.jsonl"),
    ],
}


def read_samples(name):
    path = SAMPLES / name
    if not path.exists():
        pytest.skip(f"no recorded samples at {path}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("profile", "topic", "name"),
    [(profile, *pair) for profile, pairs in SAMPLED.items() for pair in pairs],
)
def test_messages_have_the_keys_of_the_recorded_samples(profile, topic, name):
    sample = read_samples(name)[0]
    ours = next(m for m in say(profile, topic) if m["type"] == "snapshot")
    assert list(ours) == list(sample)
    assert isinstance(ours["data"], list) == isinstance(sample["data"], list)
    theirs = list(rows(sample)[0])
    if (profile, topic) == ("v5", "publicTrade.BTCUSDT"):
        # Newer than the recording.
        theirs.append("RPI")
    assert list(rows(ours)[0]) == theirs


def shape(value):
    """Return the keys of nested objects, with the kinds of the leaves."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return type(value)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("orderbook", lambda market: order_book(market, SYMBOL, 1, START)),
        ("recent-trade", lambda market: recent_trades(market, SYMBOL, 1)),
        ("time", lambda market: server_time(START)),
    ],
)
def test_rest_results_have_the_shape_of_the_recorded_samples(name, ours):
    sample = read_samples(f"v5/market/{name}.rest.jsonl")[0]["result"]
    market = make_market()
    market.take(SYMBOL, "Buy", Decimal(1))
    result = ours(market)
    assert shape(result) == shape(sample)
    assert list(result) == list(sample)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("v3-copy-trade/rest-public/symbol-info", "v3_row"),
        ("v5/market/instrument", "v5_row"),
    ],
)
def test_instrument_rows_have_the_shape_of_the_recorded_samples(name, ours):
    sample = read_samples(f"{name}.rest.jsonl")[0]["result"]["list"][0]
    row = getattr(instrument(SYMBOL), ours)()
    assert shape(row) == shape(sample)
    assert list(row) == list(sample)
