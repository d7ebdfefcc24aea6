"""Time and chance: the same seed and calls give the same market, however the time is cut."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit_copyws.sandbox.market import Market, UnknownSymbol, instrument

START = 1_700_000_000_000
SYMBOL = "BTCUSDT"
EVERYTHING = [
    *[("v3", ("orderbook", depth, SYMBOL)) for depth in ("1", "50", "200")],
    *[("v5", ("orderbook", depth, SYMBOL)) for depth in ("1", "50", "200", "1000")],
    *[("v3", (channel, SYMBOL)) for channel in ("publicTrade", "tickers", "liquidation")],
    *[("v5", (channel, SYMBOL)) for channel in ("publicTrade", "tickers", "allLiquidation")],
    ("v3", ("kline", "1", SYMBOL)),
    ("v5", ("kline", "5", SYMBOL)),
]


def make_market(seed=1, activity=1.0, symbols=(SYMBOL,), **options):
    return Market(
        [instrument(symbol) for symbol in symbols],
        seed=seed,
        start_ms=START,
        activity=activity,
        **options,
    )


def record(market, times, topics=EVERYTHING, advance=False):
    """Return what every topic says, as bytes, when polled at ``times``."""
    feeds = [market.open_feed(profile, parts) for profile, parts in topics]
    said = [[json.dumps(feed.snapshot(START))] for feed in feeds]
    for now in times:
        if advance:
            market.advance(now)
        for feed, lines in zip(feeds, said, strict=True):
            lines.extend(map(json.dumps, feed.poll(now)))
    return said


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.integers(0, 900), min_size=1, max_size=40),
    seed=st.integers(0, 50),
    advance=st.booleans(),
    cadence=st.sampled_from(["documented", "fast"]),
)
def test_chopped_time_says_the_same_as_one_leap(steps, seed, advance, cadence):
    end = START + sum(steps)
    chopped, now = [], START
    for step in steps:
        now += step
        chopped.append(now)
    once = record(make_market(seed, cadence=cadence), [end])
    assert record(make_market(seed, cadence=cadence), chopped, advance=advance) == once


def test_two_runs_are_identical_byte_for_byte():
    def run():
        market = make_market(seed=9)
        said = record(market, range(START, START + 70_000, 250))
        market.take(SYMBOL, "Sell", Decimal(3), Decimal(1))
        market.move(SYMBOL, Decimal(70_000))
        market.restart()
        return said + record(market, [START + 75_000])

    assert run() == run()


def test_another_seed_is_another_market():
    times = [START + 1000]
    assert record(make_market(seed=1), times) != record(make_market(seed=2), times)


def path(market, symbol=SYMBOL):
    tape = market.engine(symbol).tape
    return list(tape.recent), market.mark_price(symbol), market.index_price(symbol)


def test_the_price_path_does_not_depend_on_who_watches_nor_on_other_symbols():
    end = START + 50_000
    alone = make_market()
    alone.last_price(SYMBOL)
    alone.advance(end)
    watched = make_market(symbols=("ETHUSDT", SYMBOL))
    record(watched, [end], [*EVERYTHING, ("v5", ("tickers", "ETHUSDT"))])
    # Needed late, but within the first minute.
    late = make_market()
    late.advance(end)
    assert path(alone) == path(watched) == path(late)
    assert len(path(alone)[0]) == 1000


def test_a_symbol_begins_in_the_minute_it_is_first_needed():
    market = make_market()
    market.advance(START + 3_600_000 + 30_000)
    first = path(market)[0][0]
    assert START + 3_600_000 <= first.time_ms <= market.now_ms
    assert market.last_price(SYMBOL) > 0


def test_time_never_goes_back():
    market = make_market()
    feed = market.open_feed("v5", ("tickers", SYMBOL))
    feed.poll(START + 10_000)
    assert market.now_ms == START + 10_000
    market.advance(START)
    assert feed.poll(START + 5000) == []
    assert market.now_ms == market.engine(SYMBOL).now_ms == START + 10_000


@pytest.mark.parametrize(("profile", "parts"), EVERYTHING)
def test_nothing_comes_before_it_is_due(profile, parts):
    market = make_market(activity=3)
    feed = market.open_feed(profile, parts)
    now, messages = START, 0
    while now < START + 30_000:
        due = feed.next_due_ms
        assert due > now
        assert feed.poll(due - 1) == []
        messages += len(feed.poll(due))
        now = due
    assert messages > 5 or "iquidation" in parts[0]


def test_eight_hundred_symbols_are_built_only_when_needed():
    symbols = [f"COIN{number}USDT" for number in range(800)]
    market = make_market(symbols=symbols)
    market.advance(START + 1000)
    assert not market._engines
    assert len(market.instruments) == 800
    market.last_price("COIN17USDT")
    assert list(market._engines) == ["COIN17USDT"]


def test_a_market_that_stands_still_keeps_its_book_and_its_price():
    market = make_market(activity=0)
    before = market.book(SYMBOL).levels("Buy"), market.last_price(SYMBOL)
    market.advance(START + 600_000)
    assert (market.book(SYMBOL).levels("Buy"), market.last_price(SYMBOL)) == before


def test_unknown_symbols_are_key_errors():
    market = make_market()
    for ask in (market.instrument, market.book, market.last_price, market.mark_price):
        with pytest.raises(UnknownSymbol):
            ask("NOSUCHUSDT")
    assert issubclass(UnknownSymbol, KeyError)


# Listeners


def test_listeners_hear_every_trade_in_order_and_at_its_time():
    market = make_market()
    market.last_price(SYMBOL)
    heard = []
    market.on_trade(lambda trade: heard.append((trade, market.engine(SYMBOL).now_ms)))
    market.advance(START + 20_000)
    tape = market.engine(SYMBOL).tape.recent
    assert [trade.time_ms for trade, _ in heard] == [trade.time_ms for trade in tape]
    assert all(trade.time_ms == now for trade, now in heard)
    assert heard[-1][0].price == market.last_price(SYMBOL)
    assert {trade.symbol for trade, _ in heard} == {SYMBOL}


def test_a_take_is_heard_with_the_next_advance_and_not_inside_the_call():
    market = make_market(activity=0)
    heard = []
    market.on_trade(heard.append)
    fills = market.take(SYMBOL, "Buy", Decimal(1))
    assert not heard
    market.advance(START)
    assert [(trade.price, trade.qty) for trade in heard] == fills
    assert {trade.side for trade in heard} == {"Buy"}


def test_a_listener_may_trade_and_is_not_called_inside_itself():
    market = make_market(activity=0)
    depth, heard = [0], []

    def trade_again(trade):
        depth[0] += 1
        assert depth[0] == 1
        heard.append(trade)
        if len(heard) < 5:
            market.take(SYMBOL, "Sell", Decimal("0.001"))
            market.advance(START + 10_000)
            assert market.engine(SYMBOL).now_ms == START
        depth[0] -= 1

    market.on_trade(trade_again)
    market.take(SYMBOL, "Buy", Decimal("0.001"))
    market.advance(START)
    assert [trade.side for trade in heard] == ["Buy", *["Sell"] * 4]


def test_nobody_hears_what_happened_before_a_symbol_was_needed():
    market = make_market()
    heard = []
    market.on_trade(heard.append)
    market.on_mark(lambda *news: heard.append(news))
    market.advance(START + 30_000)
    market.last_price(SYMBOL)
    assert not heard


def test_marks_are_told_when_they_change():
    market = make_market()
    market.last_price(SYMBOL)
    marks = []
    market.on_mark(lambda *news: marks.append(news))
    market.advance(START + 30_000)
    assert 20 <= len(marks) <= 30
    assert marks[-1][:2] == (SYMBOL, market.mark_price(SYMBOL))
    assert all(a[1] != b[1] for a, b in pairwise(marks))
    assert {now % 1000 for _, _, now in marks} == {0}


def test_mark_index_and_last_stay_together():
    market = make_market(activity=2)
    for now in range(START, START + 120_000, 5000):
        market.advance(now)
        last = market.last_price(SYMBOL)
        for other in (market.mark_price(SYMBOL), market.index_price(SYMBOL)):
            assert abs(other - last) < last / 1000


def test_funding_is_told_at_its_hour():
    market = make_market(activity=0.001)
    market.last_price(SYMBOL)
    paid = []
    market.on_funding(lambda *news: paid.append(news))
    market.advance(START + 17 * 3_600_000)
    assert [now % (8 * 3_600_000) for _, _, now in paid] == [0, 0]
    assert all(abs(rate) <= Decimal("0.00375") for _, rate, _ in paid)


def test_move_puts_last_mark_and_index_where_they_were_asked_to_be():
    for price in (Decimal(90_000), Decimal(100), Decimal(300_000)):
        market = make_market()
        marks, trades = [], []
        market.on_mark(lambda *news, marks=marks: marks.append(news))
        market.on_trade(trades.append)
        market.move(SYMBOL, price)
        assert market.last_price(SYMBOL) == price
        assert market.mark_price(SYMBOL) == market.index_price(SYMBOL) == price
        market.advance(START)
        assert [trade.price for trade in trades] == [price]
        assert marks == [(SYMBOL, price, START)]
        market.advance(START + 10_000)
        assert abs(market.last_price(SYMBOL) - price) < price / 100


def test_a_book_near_zero_ends_early_and_goes_on():
    market = make_market(activity=20)
    market.move(SYMBOL, Decimal(0))
    book = market.book(SYMBOL)
    assert 0 < len(book.bids) < 50
    market.advance(START + 5000)
    assert book.bids
    assert book.best_bid < book.best_ask


def test_the_book_comes_back_after_it_was_eaten():
    market = make_market()
    for side in ("Buy", "Sell"):
        assert market.take(SYMBOL, side, Decimal(10**6))
    book = market.book(SYMBOL)
    assert (book.best_bid, book.best_ask) == (None, None)
    ticker = market.open_feed("v5", ("tickers", SYMBOL)).snapshot(START)["data"]
    assert (ticker["bid1Price"], ticker["bid1Size"]) == ("", "")
    assert (ticker["ask1Price"], ticker["ask1Size"]) == ("", "")
    market.engine(SYMBOL).price.second(market.engine(SYMBOL).middle)
    assert market.mark_price(SYMBOL) > 0
    market.advance(START + 3000)
    assert min(len(book.bids), len(book.asks)) >= 1000
    assert book.best_bid < book.best_ask


def test_a_side_that_has_grown_too_long_is_cut_at_its_far_end():
    market = make_market()
    book = market.book(SYMBOL)
    for _ in range(500):
        book.put(book.asks[-1] + 1, 1)
    far = book.asks[-1]
    market.advance(START + 2000)
    assert 1000 <= len(book.asks) < 1200
    assert far not in book.sizes


def test_deleting_a_level_that_is_not_there_changes_nothing():
    book = make_market().book(SYMBOL)
    before = dict(book.sizes)
    book.put(1, 0)
    assert book.sizes == before
