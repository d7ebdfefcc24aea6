"""Trades, candles, tickers and liquidations agree with the book and with each other."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit_copyws.sandbox.market import (
    INTERVALS,
    Market,
    UnknownTopic,
    instrument,
    order_book,
    recent_trades,
    server_time,
)
from bybit_copyws.sandbox.market.candles import span

START = 1_700_000_000_000
SYMBOL = "BTCUSDT"


def make_market(seed=1, activity=1.0, symbol=SYMBOL, **options):
    return Market([instrument(symbol)], seed=seed, start_ms=START, activity=activity, **options)


def trades_of(market, until, profile="v5"):
    feed = market.open_feed(profile, ("publicTrade", SYMBOL))
    return [row for message in feed.poll(until) for row in message["data"]]


# Trades


@pytest.mark.parametrize("seed", range(5))
def test_crowd_trades_lie_at_prices_that_stood_in_the_book(seed):
    market = make_market(seed)
    engine = market.engine(SYMBOL)
    tape, book = engine.tape, engine.book
    seen = tape._count
    for _ in range(1500):
        before = dict(book.sizes)
        bids, asks = list(book.bids), list(book.asks)
        engine._event()
        fresh = list(tape.recent)[-(tape._count - seen) :] if tape._count > seen else []
        seen = tape._count
        for trade, key in zip(fresh, asks if _is_buy(fresh) else bids, strict=False):
            # Best first, no level left out, all levels but the last one eaten whole.
            assert trade.price == abs(key)
            assert trade.size <= before[key]
            assert trade is fresh[-1] or trade.size == before[key]
        assert len({(trade.side, trade.time_ms, trade.sequence) for trade in fresh}) <= 1
    assert seen > 300


def _is_buy(trades):
    return bool(trades) and trades[0].side == "Buy"


@settings(max_examples=60, deadline=None)
@given(
    side=st.sampled_from(["Buy", "Sell"]),
    lots=st.integers(0, 3000),
    reach=st.one_of(st.none(), st.integers(-3, 60)),
    seed=st.integers(0, 20),
)
def test_take_eats_the_book_best_first_up_to_its_limit(side, lots, reach, seed):
    market = make_market(seed)
    market.advance(START + 500)
    book, rules = market.book(SYMBOL), market.instrument(SYMBOL)
    other = "Sell" if side == "Buy" else "Buy"
    levels = [(Decimal(price), Decimal(size)) for price, size in book.levels(other, 5000)]
    sign = 1 if side == "Buy" else -1
    limit = None
    if reach is not None:
        # Half a tick further: it must not reach the next tick.
        limit = levels[0][0] + sign * (reach * rules.tick_size + rules.tick_size / 2)
    qty = lots * rules.qty_step + rules.qty_step / 2
    expected, left = [], lots * rules.qty_step
    for price, size in levels:
        if not left or (limit is not None and (price - limit) * sign > 0):
            break
        expected.append((price, min(size, left)))
        left -= expected[-1][1]
    free = market.available(SYMBOL, side, limit)
    tape = market.engine(SYMBOL).tape
    seen = tape._count
    assert market.take(SYMBOL, side, qty, limit) == expected
    assert free == market.available(SYMBOL, side, limit) + sum(size for _, size in expected)
    assert tape._count - seen == len(expected)
    if expected:
        assert market.last_price(SYMBOL) == expected[-1][0]
        printed = [trade for trade in tape.recent if trade.number > seen]
        assert {(trade.side, trade.time_ms) for trade in printed} == {(side, START + 500)}


def test_take_bumps_the_update_id_of_the_books():
    market = make_market(activity=0)
    feed = market.open_feed("v5", ("orderbook", "50", SYMBOL))
    first = feed.snapshot(START)["data"]
    (fill,) = market.take(SYMBOL, "Buy", Decimal("0.001"))
    (message,) = feed.poll(START + 100)
    assert message["data"]["u"] == first["u"] + 1
    assert message["data"]["b"] == []
    assert Decimal(message["data"]["a"][0][0]) == fill.price
    assert message["cts"] == START


def test_take_of_nothing_changes_nothing():
    market = make_market(activity=0)
    feed = market.open_feed("v5", ("orderbook", "50", SYMBOL))
    for qty in ("0", "0.0004", "-1"):
        assert market.take(SYMBOL, "Buy", Decimal(qty)) == []
    assert feed.poll(START + 1000) == []


def test_a_wrong_side_is_refused():
    market = make_market()
    for call in (market.take, market.available):
        with pytest.raises(ValueError, match="'buy'"):
            call(SYMBOL, "buy", Decimal(1))


def test_tick_directions_follow_the_prices():
    market = make_market(seed=3)
    last, direction = market.last_price(SYMBOL), "ZeroPlusTick"
    rows = trades_of(market, START + 60_000)
    for row in rows:
        price = Decimal(row["p"])
        if price != last:
            direction = "PlusTick" if price > last else "MinusTick"
        elif not direction.startswith("Zero"):
            direction = f"Zero{direction}"
        assert row["L"] == direction
        last = price
    assert {row["L"] for row in rows} == {
        "PlusTick",
        "ZeroPlusTick",
        "MinusTick",
        "ZeroMinusTick",
    }


def test_trade_ids_are_unique_and_look_like_uuids():
    market = Market(
        [instrument(SYMBOL), instrument("ETHUSDT")], seed=1, start_ms=START, activity=20
    )
    ids = []
    for symbol in (SYMBOL, "ETHUSDT"):
        for message in market.open_feed("v5", ("publicTrade", symbol)).poll(START + 20_000):
            ids += [row["i"] for row in message["data"]]
    assert len(ids) == len(set(ids)) > 5000
    for text in ids:
        parsed = uuid.UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 5, uuid.RFC_4122)


def test_trades_are_told_in_order_and_a_moment_later():
    market = make_market()
    feed = market.open_feed("v3", ("publicTrade", SYMBOL))
    assert feed.snapshot(START) is None
    messages = feed.poll(START + 30_000)
    times = [row["T"] for message in messages for row in message["data"]]
    assert times == sorted(times)
    for message in messages:
        assert all(0 <= message["ts"] - row["T"] <= 2 for row in message["data"])


def test_all_fills_of_one_taker_share_their_time():
    market = make_market(activity=0)
    fills = market.take(SYMBOL, "Sell", Decimal(1))
    assert len(fills) > 3
    market = make_market(activity=0)
    feed = market.open_feed("v5", ("publicTrade", SYMBOL))
    market.take(SYMBOL, "Sell", Decimal(1))
    (message,) = feed.poll(START + 10)
    assert len(message["data"]) == len(fills)
    assert {(row["T"], row["S"], row["seq"]) for row in message["data"]} == {
        (START, "Sell", message["data"][0]["seq"])
    }
    assert sum(Decimal(row["v"]) for row in message["data"]) == 1


def test_a_frame_carries_no_more_than_1024_trades():
    market = make_market(activity=0)
    feed = market.open_feed("v5", ("publicTrade", SYMBOL))
    for side in ("Buy", "Sell"):
        market.take(SYMBOL, side, Decimal(10**6))
    assert [len(message["data"]) for message in feed.poll(START + 10)] == [1024, 1024, 152]


def test_a_closed_trade_feed_says_nothing_and_a_new_one_starts_afresh():
    market = make_market()
    feed = market.open_feed("v5", ("publicTrade", SYMBOL))
    assert market.open_feed("v5", ("publicTrade", SYMBOL)) is feed
    other = market.open_feed("v3", ("publicTrade", SYMBOL))
    assert list(market.feeds) == [feed, other]
    market.close_feed(feed)
    assert feed.poll(START + 5000) == []
    assert other.poll(START + 5000)
    again = market.open_feed("v5", ("publicTrade", SYMBOL))
    assert again is not feed
    assert all(message["ts"] > START + 5000 for message in again.poll(START + 9000))


# Candles


@pytest.mark.parametrize("interval", INTERVALS)
def test_candles_agree_with_the_trades(interval):
    # Begins 20 s before a month ends, so that every interval but the week turns over.
    begin = int(datetime(2023, 12, 1, tzinfo=timezone.utc).timestamp()) * 1000 - 20_000
    if interval == "W":
        begin = int(datetime(2023, 12, 4, tzinfo=timezone.utc).timestamp()) * 1000 - 20_000
    market = Market([instrument(SYMBOL)], seed=4, start_ms=begin, activity=0.3)
    kline = market.open_feed("v5", ("kline", interval, SYMBOL))
    trades = []
    market.engine(SYMBOL).tape.watchers.append(trades)
    messages = [kline.snapshot(begin)]
    for now in range(begin, begin + 150_000, 100):
        messages += kline.poll(now)
        if messages[-1]["ts"] == now:
            check_candle(market, messages[-1]["data"][0], trades, now)
    confirmed = [row for row in (m["data"][0] for m in messages) if row["confirm"]]
    ends = [row["end"] for row in confirmed]
    assert ends == sorted(set(ends))
    edges = {span(interval, now)[0] for now in range(begin, begin + 150_000, 1000)}
    assert {end + 1 for end in ends} == {edge for edge in edges if edge > begin}
    assert messages[-1]["data"][0]["interval"] == interval


def check_candle(market, candle, trades, now):
    price, size = market.book(SYMBOL).price.decimal, market.book(SYMBOL).size.decimal
    end = candle["end"] if candle["confirm"] else now
    mine = [trade for trade in trades if candle["start"] <= trade.time_ms <= end]
    prices = [price(trade.price) for trade in mine]
    if prices:
        assert Decimal(candle["open"]) == prices[0]
        assert Decimal(candle["close"]) == prices[-1]
        assert (Decimal(candle["high"]), Decimal(candle["low"])) == (max(prices), min(prices))
        assert candle["timestamp"] == mine[-1].time_ms
    assert Decimal(candle["volume"]) == sum(size(trade.size) for trade in mine)
    assert Decimal(candle["turnover"]) == sum(price(t.price) * size(t.size) for t in mine)


def test_a_candle_is_pushed_at_most_once_a_second_and_confirmed_once():
    market = make_market()
    feed = market.open_feed("v3", ("kline", "1", SYMBOL))
    messages = feed.poll(START + 180_000)
    unconfirmed = [m["ts"] for m in messages if not m["data"][0]["confirm"]]
    assert min(b - a for a, b in pairwise(unconfirmed)) >= 1000
    confirmed = [m for m in messages if m["data"][0]["confirm"]]
    assert [m["ts"] for m in confirmed] == [m["data"][0]["end"] + 1 for m in confirmed]
    assert len(confirmed) == 3


def test_a_candle_without_trades_is_flat_and_still_confirmed():
    market = make_market(activity=0)
    feed = market.open_feed("v5", ("kline", "1", SYMBOL))
    (message,) = feed.poll(START + 60_000)
    (row,) = message["data"]
    assert row["confirm"] is True
    assert row["open"] == row["high"] == row["low"] == row["close"] == "68000"
    assert (row["volume"], row["turnover"]) == ("0", "0")


def test_spans_of_weeks_and_months():
    def ms(*date):
        return int(datetime(*date, tzinfo=timezone.utc).timestamp()) * 1000

    wednesday = ms(2024, 2, 14, 13, 59)
    assert span("W", wednesday) == (ms(2024, 2, 12), ms(2024, 2, 19))
    assert span("M", wednesday) == (ms(2024, 2, 1), ms(2024, 3, 1))
    assert span("M", ms(2024, 12, 31, 23)) == (ms(2024, 12, 1), ms(2025, 1, 1))
    assert span("D", wednesday) == (ms(2024, 2, 14), ms(2024, 2, 15))
    assert span("240", wednesday) == (ms(2024, 2, 14, 12), ms(2024, 2, 14, 16))


# Tickers


@pytest.mark.parametrize("profile", ["v3", "v5"])
def test_tickers_merge_to_what_a_newcomer_gets(profile):
    market = make_market(activity=2)
    feed = market.open_feed(profile, ("tickers", SYMBOL))
    merged, sequence = dict(feed.snapshot(START)["data"]), 0
    for now in range(START, START + 20_000, 700):
        for message in feed.poll(now):
            assert message["type"] == "delta"
            assert message["cs"] > sequence
            assert message["ts"] % 100 == 0
            sequence = message["cs"]
            data = message["data"]
            assert data["symbol"] == SYMBOL
            assert len(data) > 1
            assert all(merged[key] != data[key] for key in data if key != "symbol")
            merged.update(data)
        market.advance(now + 300)
        newcomer = feed.snapshot(now + 300)
        # As of the last message handed over, though the market has moved on.
        assert newcomer["data"] == merged
        assert sequence in (0, newcomer["cs"])


def test_a_ticker_agrees_with_the_book_and_the_tape():
    market = make_market(activity=2)
    tape = trades_of(market, START)
    tape = [*tape, *trades_of(market, START + 30_000)]
    row = market.open_feed("v5", ("tickers", SYMBOL)).snapshot(START)["data"]
    book = market.book(SYMBOL)
    assert [row["bid1Price"], row["bid1Size"]] == book.levels("Buy", 1)[0]
    assert [row["ask1Price"], row["ask1Size"]] == book.levels("Sell", 1)[0]
    assert (row["lastPrice"], row["tickDirection"]) == (tape[-1]["p"], tape[-1]["L"])
    assert Decimal(row["markPrice"]) == market.mark_price(SYMBOL)
    assert Decimal(row["indexPrice"]) == market.index_price(SYMBOL)
    assert Decimal(row["lowPrice24h"]) <= Decimal(row["lastPrice"]) <= Decimal(row["highPrice24h"])
    change = Decimal(row["lastPrice"]) / Decimal(row["prevPrice24h"]) - 1
    assert abs(change - Decimal(row["price24hPcnt"])) < Decimal("0.000001")
    value = Decimal(row["openInterest"]) * Decimal(row["markPrice"])
    assert abs(value - Decimal(row["openInterestValue"])) < Decimal("0.01")
    assert int(row["nextFundingTime"]) % (8 * 3_600_000) == 0
    assert market.now_ms < int(row["nextFundingTime"]) <= market.now_ms + 8 * 3_600_000


def test_the_figures_of_the_day_move_on():
    market = make_market(activity=0)
    feed = market.open_feed("v5", ("tickers", SYMBOL))
    first = feed.snapshot(START)["data"]
    market.move(SYMBOL, Decimal(90_000))
    feed.poll(START + 1000)
    moved = feed.snapshot(START)["data"]
    assert (moved["lastPrice"], moved["highPrice24h"]) == ("90000.00", "90000.00")
    assert Decimal(moved["volume24h"]) == Decimal(first["volume24h"]) + Decimal("0.001")
    assert Decimal(moved["turnover24h"]) == Decimal(first["turnover24h"]) + 90
    assert moved["prevPrice1h"] == first["prevPrice1h"]
    feed.poll(START + 61 * 60_000)
    assert feed.snapshot(START)["data"]["prevPrice1h"] == "90000.00"
    assert feed.snapshot(START)["data"]["prevPrice24h"] == first["prevPrice24h"]
    for _ in range(1440):
        market.engine(SYMBOL).day.end_minute()
    feed.poll(START + 62 * 60_000)
    assert feed.snapshot(START)["data"]["prevPrice24h"] == "90000.00"
    assert feed.snapshot(START)["data"]["price24hPcnt"] == "0.000000"


def test_a_fall_shows_a_minus():
    market = make_market(activity=0)
    market.move(SYMBOL, Decimal(100))
    row = market.open_feed("v3", ("tickers", SYMBOL)).snapshot(START)["data"]
    assert row["price24hPcnt"].startswith("-0.99")
    assert (row["lastPrice"], row["lowPrice24h"]) == ("100.00", "100.00")


# Liquidations


def test_liquidations_come_now_and_then_and_on_demand():
    market = make_market(activity=3)
    feeds = [
        market.open_feed("v3", ("liquidation", SYMBOL)),
        market.open_feed("v5", ("allLiquidation", SYMBOL)),
    ]
    assert [feed.snapshot(START) for feed in feeds] == [None, None]
    old, new = (feed.poll(START + 60_000) for feed in feeds)
    rows = [row for message in new for row in message["data"]]
    assert [message["data"]["updatedTime"] for message in old] == [row["T"] for row in rows]
    assert len(rows) > 3
    assert {row["S"] for row in rows} == {"Buy", "Sell"}
    assert all(message["ts"] % 500 == 0 for message in new)


def test_an_injected_liquidation_is_told_on_both_topics():
    market = make_market(activity=0)
    feeds = [
        market.open_feed("v3", ("liquidation", SYMBOL)),
        market.open_feed("v5", ("allLiquidation", SYMBOL)),
    ]
    market.liquidate(SYMBOL, "Buy", Decimal("0.5"))
    market.liquidate(SYMBOL, "Sell", Decimal(1), Decimal("70000.06"))
    assert [message["data"] for message in feeds[0].poll(START + 1000)] == [
        {
            "price": "68000.00",
            "side": "Buy",
            "size": "0.500",
            "symbol": SYMBOL,
            "updatedTime": START,
        },
        {
            "price": "70000.00",
            "side": "Sell",
            "size": "1.000",
            "symbol": SYMBOL,
            "updatedTime": START,
        },
    ]
    (message,) = feeds[1].poll(START + 1000)
    assert [(row["S"], row["v"], row["p"]) for row in message["data"]] == [
        ("Buy", "0.500", "68000.00"),
        ("Sell", "1.000", "70000.00"),
    ]
    for feed in feeds:
        market.close_feed(feed)
    market.liquidate(SYMBOL, "Buy", Decimal(1))
    assert market.engine(SYMBOL).liquidations == []


# Topics


@pytest.mark.parametrize(
    ("profile", "topic"),
    [
        ("v3", "orderbook.50.NOSUCHUSDT"),
        ("v3", "orderbook.1000.BTCUSDT"),
        ("v5", "orderbook.500.BTCUSDT"),
        ("v5", "orderbook.BTCUSDT"),
        ("v5", "orderbook.x.BTCUSDT"),
        ("v5", "orderbook.050.BTCUSDT"),
        ("v5", "kline.2.BTCUSDT"),
        ("v5", "kline.BTCUSDT"),
        ("v6", "kline.1.BTCUSDT"),
        ("v6", "orderbook.1.BTCUSDT"),
        ("v6", "tickers.BTCUSDT"),
        ("v5", "tickers.btcusdt"),
        ("v5", "tickers.*"),
        ("v5", "tickers"),
        ("v5", "tickers.1.BTCUSDT"),
        ("v5", "liquidation.BTCUSDT"),
        ("v3", "allLiquidation.BTCUSDT"),
        ("v3", "order"),
        ("v3", ""),
    ],
)
def test_unknown_topics_are_refused_by_name(profile, topic):
    market = make_market()
    with pytest.raises(UnknownTopic) as caught:
        market.open_feed(profile, tuple(topic.split(".")))
    assert caught.value.topic == topic
    assert isinstance(caught.value, KeyError)


# REST


def test_rest_results_agree_with_the_market():
    market = make_market()
    trades = trades_of(market, START + 20_000)
    recent = recent_trades(market, SYMBOL, 10)
    assert recent["category"] == "linear"
    assert [(row["execId"], row["price"], row["size"]) for row in recent["list"]] == [
        (row["i"], row["p"], row["v"]) for row in trades[:-11:-1]
    ]
    book = order_book(market, SYMBOL, 3, START)
    assert book["b"] == market.book(SYMBOL).levels("Buy", 3)
    assert book["a"] == market.book(SYMBOL).levels("Sell", 3)
    assert server_time(1_688_639_403_423) == {
        "timeSecond": "1688639403",
        "timeNano": "1688639403423000000",
    }
