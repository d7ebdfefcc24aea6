"""Order-book topics: what a client rebuilds from the messages is the exchange's own book."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit_copyws.sandbox.market import DEFAULT_INSTRUMENTS, DEPTHS, Market, instrument

START = 1_700_000_000_000
SYMBOL = "BTCUSDT"
TOPICS = [(profile, depth) for profile, depths in DEPTHS.items() for depth in depths]
topics = pytest.mark.parametrize(("profile", "depth"), TOPICS)


def make_market(seed=1, activity=1.0, cadence="documented", symbol=SYMBOL):
    return Market(
        [instrument(symbol)], seed=seed, start_ms=START, activity=activity, cadence=cadence
    )


def open_book(market, profile, depth, symbol=SYMBOL):
    return market.open_feed(profile, ("orderbook", str(depth), symbol))


class Client:
    """Rebuilds a book the way a subscriber does, and checks each message on the way."""

    def __init__(self, feed):
        self.feed = feed
        self.sides = {"b": {}, "a": {}}
        self.update_id = None
        self.sequence = 0
        self.deltas = 0
        self.restarts = 0
        self.repeats = 0

    def apply(self, message):
        data = message["data"]
        assert data["seq"] >= self.sequence
        if message["type"] == "snapshot":
            self._snapshot(data)
        else:
            assert data["u"] == self.update_id + 1
            assert data["seq"] > self.sequence
            assert data["b"] or data["a"]
            self.deltas += 1
            self._delta(data)
        self.update_id, self.sequence = data["u"], data["seq"]
        if self.sides["b"] and self.sides["a"]:
            assert max(self.sides["b"]) < min(self.sides["a"])

    def _snapshot(self, data):
        if self.update_id is not None:
            if data["u"] == self.update_id and data["u"] != 1:
                self.repeats += 1
            elif data["u"] == 1:
                self.restarts += 1
            else:
                assert data["u"] == self.update_id + 1
        self.sides = {"b": {}, "a": {}}
        self._delta(data)
        assert all(size != "0" for side in "ba" for _, size in data[side])

    def _delta(self, data):
        for side, best_first in (("b", -1), ("a", 1)):
            keys = [Decimal(price) * best_first for price, _ in data[side]]
            assert keys == sorted(set(keys))
            for price, size in data[side]:
                if Decimal(size):
                    self.sides[side][Decimal(price)] = Decimal(size)
                else:
                    del self.sides[side][Decimal(price)]

    def rows(self):
        bids = sorted(self.sides["b"].items(), reverse=True)
        return bids, sorted(self.sides["a"].items())

    def agrees(self):
        bids, asks = self.feed.book()
        theirs = tuple(
            [(Decimal(price), Decimal(size)) for price, size in side] for side in (bids, asks)
        )
        return theirs == self.rows()


def follow(client, messages):
    """Apply messages that were handed over one at a time."""
    for message in messages:
        client.apply(message)
    if messages:
        assert client.agrees()


@topics
def test_rebuilt_book_is_the_exchanges_own_after_every_message(profile, depth):
    market = make_market(cadence="fast", activity=1.0)
    feed = open_book(market, profile, depth)
    client = Client(feed)
    client.apply(feed.snapshot(START))
    assert client.agrees()
    messages, now = 0, START
    # Comparing deep books takes long.
    while messages < (2000 if depth <= 50 else 300):
        # One event at a time, so that every single message is compared.
        now = max(now + 1, market.engine(SYMBOL).next_change_ms)
        due = feed.poll(now)
        messages += len(due)
        follow(client, due)
    true = market.book(SYMBOL)
    window = true.levels("Buy", depth), true.levels("Sell", depth)
    assert feed.book() == window
    assert all(len(side) == depth for side in window)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(1, 4000)),
        st.tuples(st.just("buy"), st.integers(1, 2000)),
        st.tuples(st.just("sell"), st.integers(1, 2000)),
        st.tuples(st.just("churn"), st.integers(1, 5)),
        st.tuples(st.just("move"), st.integers(60_000, 75_000)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("poll"), st.just(0)),
        st.tuples(st.just("join"), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0)),
    ),
    min_size=1,
    max_size=40,
)


def act(market, kind, number, now):
    if kind in ("buy", "sell"):
        market.take(SYMBOL, kind.capitalize(), Decimal(number) / 10)
    elif kind == "churn":
        market.churn(SYMBOL, number)
    elif kind == "move":
        market.move(SYMBOL, Decimal(number))
    elif kind == "restart":
        market.restart()
    elif kind == "wait":
        now += number
        market.advance(now)
    return now


@topics
@settings(max_examples=25, deadline=None)
@given(actions=ACTIONS, seed=st.integers(0, 5), cadence=st.sampled_from(["documented", "fast"]))
def test_late_and_early_subscribers_see_the_same_book(profile, depth, actions, seed, cadence):
    market = make_market(seed, cadence=cadence)
    feed = open_book(market, profile, depth)
    clients = [Client(feed)]
    clients[0].apply(feed.snapshot(START))
    now = START
    for kind, number in actions:
        if kind == "join":
            # Pushed messages may wait to be handed over: the newcomer must fit in before them.
            clients.append(Client(feed))
            clients[-1].apply(feed.snapshot(now))
            assert clients[-1].agrees()
        elif kind == "poll":
            for message in feed.poll(now):
                for client in clients:
                    client.apply(message)
            assert all(client.agrees() for client in clients)
        elif kind == "reopen":
            last = clients[0].update_id if not feed.poll(now) else None
            market.close_feed(feed)
            feed = open_book(market, profile, depth)
            first = feed.snapshot(now)
            assert last is None or first["data"]["u"] in (last + 1, 1)
            clients = [Client(feed)]
            clients[0].apply(first)
        else:
            now = act(market, kind, number, now)
    for message in feed.poll(now + 1000):
        for client in clients:
            client.apply(message)
    assert all(client.agrees() for client in clients)
    assert clients[0].rows()[0]
    assert clients[0].rows()[1]


@settings(max_examples=20, deadline=None)
@given(symbol=st.sampled_from(sorted(DEFAULT_INSTRUMENTS)), seed=st.integers(0, 1000))
def test_true_book_is_sorted_and_never_crossed(symbol, seed):
    market = make_market(seed, activity=5, symbol=symbol)
    book = market.book(symbol)
    for now in range(START, START + 20_000, 500):
        market.advance(now)
        if now % 5000 == 0:
            market.take(symbol, "Buy", book.size.decimal(book.sizes[book.asks[0]] * 3))
        for keys in (book.bids, book.asks):
            assert len(keys) >= 1000
            assert keys == sorted(set(keys))
        assert set(book.sizes) == {*book.bids, *book.asks}
        assert min(book.sizes.values()) > 0
        assert book.bids[-1] < 0 < book.asks[0]
        assert book.best_bid < book.best_ask


@pytest.mark.parametrize(("depth", "cadence"), [(1, 10), (50, 20), (200, 100), (1000, 200)])
def test_pushes_keep_the_documented_cadence(depth, cadence):
    market = make_market(activity=50)
    feed = open_book(market, "v5", depth)
    times = [message["ts"] for message in feed.poll(START + 3000)]
    assert len(times) > 2500 / cadence
    assert all(ts % cadence == 0 for ts in times)
    assert min(b - a for a, b in pairwise(times)) == cadence


def test_a_take_just_after_a_push_waits_for_the_next_slot():
    market = make_market(activity=0)
    feed = open_book(market, "v5", 50)
    market.churn(SYMBOL)
    assert [message["ts"] for message in feed.poll(START)] == [START]
    market.churn(SYMBOL)
    assert feed.poll(START) == []
    assert feed.next_due_ms == START + 20
    assert [message["ts"] for message in feed.poll(START + 50)] == [START + 20]


@pytest.mark.parametrize("profile", ["v3", "v5"])
def test_best_level_without_change_is_repeated_with_the_same_update_id(profile):
    market = make_market(activity=0)
    feed = open_book(market, profile, 1)
    first = feed.snapshot(START)
    assert feed.next_due_ms <= START + 3000
    assert feed.poll(START + 2999) == []
    repeats = feed.poll(START + 9500)
    assert [message["ts"] - START for message in repeats] == [3000, 6000, 9000]
    for message in repeats:
        assert message["type"] == "snapshot"
        assert message["data"] == first["data"]
        assert message.get("cts") == first.get("cts")
    market.churn(SYMBOL)
    changed, *later = feed.poll(START + 12_600)
    assert (changed["ts"] - START, changed["data"]["u"]) == (9500, first["data"]["u"] + 1)
    assert [message["ts"] - START for message in later] == [12_500]
    assert later[0]["data"] == changed["data"]


def test_best_level_ignores_changes_below_it():
    market = make_market(activity=0)
    feed = open_book(market, "v5", 1)
    book = market.book(SYMBOL)
    book.put(book.bids[5], 0)
    market.engine(SYMBOL).liquidate(None)
    assert feed.poll(START + 2000) == []
    assert [message["ts"] for message in feed.poll(START + 3000)] == [START + 3000]


def test_deeper_books_stay_silent_without_change():
    market = make_market(activity=0)
    feed = open_book(market, "v5", 200)
    assert feed.poll(START + 60_000) == []


@topics
def test_restart_sends_a_snapshot_with_update_id_one(profile, depth):
    market = make_market(activity=0)
    feed = open_book(market, profile, depth)
    client = Client(feed)
    client.apply(feed.snapshot(START))
    market.restart("ETHUSDT")
    assert feed.poll(START + 500) == []
    market.restart(SYMBOL)
    (message,) = feed.poll(START + 1000)
    assert (message["type"], message["data"]["u"]) == ("snapshot", 1)
    client.apply(message)
    assert client.agrees()
    market.churn(SYMBOL)
    (message,) = feed.poll(START + 2000)
    assert message["type"] == ("snapshot" if depth == 1 else "delta")
    assert message["data"]["u"] == 2
    client.apply(message)
    assert client.agrees()


def test_restart_reaches_books_that_nobody_follows_just_now():
    market = make_market(activity=0)
    feed = open_book(market, "v5", 50)
    other = open_book(market, "v5", 200)
    market.close_feed(feed)
    market.close_feed(feed)
    market.restart("ETHUSDT")
    market.restart()
    market.close_feed(other)
    assert open_book(market, "v5", 50).snapshot(START)["data"]["u"] == 1


def test_a_level_that_falls_out_of_the_window_is_deleted_and_comes_back_inserted():
    market = make_market(activity=0)
    feed = open_book(market, "v5", 50)
    book = market.book(SYMBOL)
    engine = market.engine(SYMBOL)
    bids, _ = feed.book()
    # A new bid below the best one pushes the last one out ...
    assert book.bids[0] + 1 not in book.sizes
    book.put(book.bids[0] + 1, 7)
    engine.churn()
    (message,) = feed.poll(START + 100)
    assert message["data"]["b"][-1] == [bids[-1][0], "0"]
    assert book.levels("Buy", 51)[50] == bids[-1]
    # ... and a deleted level lets the next one in, with its size.
    book.put(book.bids[10], 0)
    entering = book.rows([book.bids[49]])[0]
    engine.churn()
    (message,) = feed.poll(START + 200)
    assert entering in message["data"]["b"]
    assert len(feed.book()[0]) == 50


def test_a_delta_may_have_one_empty_side():
    market = make_market(activity=0)
    feed = open_book(market, "v3", 50)
    market.churn(SYMBOL)
    (message,) = feed.poll(START + 100)
    sides = message["data"]["b"], message["data"]["a"]
    assert sorted(map(len, sides)) == [0, 1]


@topics
def test_every_churn_is_one_message_in_fast_mode(profile, depth):
    market = make_market(activity=0, cadence="fast")
    feed = open_book(market, profile, depth)
    client = Client(feed)
    client.apply(feed.snapshot(START))
    market.churn(SYMBOL, 100)
    assert feed.next_due_ms == START
    messages = feed.poll(START)
    assert len(messages) == 100
    follow(client, messages)


def test_one_feed_can_be_told_to_push_every_change():
    market = make_market(activity=0)
    feed, slow = open_book(market, "v5", 50), open_book(market, "v5", 200)
    feed.every_change = True
    market.churn(SYMBOL, 10)
    assert len(feed.poll(START)) == 10
    assert len(slow.poll(START + 1000)) == 1


def test_churn_finds_a_level_in_a_half_empty_and_in_an_empty_book():
    market = make_market(activity=0, cadence="fast")
    feed = open_book(market, "v5", 50)
    for side in ("Buy", "Sell"):
        market.take(SYMBOL, side, Decimal(10**9))
        feed.poll(START)
        market.churn(SYMBOL, 4)
        assert len(feed.poll(START)) == (4 if side == "Buy" else 0)
    assert feed.book() == ([], [])


def test_texts_are_padded_to_the_decimals_of_tick_and_step():
    for symbol in ("BTCUSDT", "SUIUSDT", "DOGEUSDT"):
        market = make_market(symbol=symbol)
        rules = market.instrument(symbol)
        for side in open_book(market, "v5", 50, symbol).book():
            for price, size in side:
                assert Decimal(price).as_tuple().exponent == rules.tick_size.as_tuple().exponent
                assert Decimal(size).as_tuple().exponent == min(
                    0, rules.qty_step.as_tuple().exponent
                )
                assert Decimal(price) % rules.tick_size == 0
                assert Decimal(size) % rules.qty_step == 0


def test_only_order_books_have_a_book():
    feed = make_market().open_feed("v5", ("publicTrade", SYMBOL))
    with pytest.raises(TypeError, match="not an order book"):
        feed.book()
