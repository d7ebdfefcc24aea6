"""Order books and tickers that a client keeps, against the exchange's own, over the wire."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from exchange import PROFILES, held, ignore, make_client

from bybit_copyws import (
    ConfigurationError,
    CopyTradingClient,
    LiveOrderBook,
    LiveTicker,
    Status,
    StreamClosed,
    SubscriptionError,
)
from bybit_copyws.events import (
    BookResync,
    CallbackFailed,
    GapOpened,
    StatusChanged,
    TopicStale,
)
from bybit_copyws.sandbox import Sandbox

Eventually = Callable[..., bool]
BTC = "BTCUSDT"
BOOK, TICKER = f"orderbook.50.{BTC}", f"tickers.{BTC}"
DEPTHS = [("v3", 1), ("v3", 50), ("v3", 200), ("v5", 1), ("v5", 50), ("v5", 200), ("v5", 1000)]


@pytest.fixture(params=PROFILES)
def profile(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stepped() -> Iterator[Sandbox]:
    """An exchange whose time goes on only when it is told to."""
    with Sandbox(seed=5, speed=0, trading=False, activity=5.0, cadence="fast") as exchange:
        yield exchange


@pytest.fixture
def lively() -> Iterator[Sandbox]:
    """An exchange that sends a lot."""
    with Sandbox(seed=5, trading=False, activity=20.0, cadence="fast") as exchange:
        yield exchange


def truth(exchange: Sandbox, topic: str) -> tuple[Any, Any]:
    """Return the exchange's own book, as it was last sent."""

    bids, asks = of_feed(exchange, topic, lambda feed: feed.book()) or ((), ())
    return tuple(map(tuple, bids)), tuple(map(tuple, asks))


def of_feed(exchange: Sandbox, topic: str, read: Callable[[Any], Any]) -> Any:
    """Return something of what the exchange sends, or nothing if nobody is subscribed just now."""

    def look(inside: Any) -> Any:
        return next((read(each) for each in inside.market.feeds if each.topic == topic), None)

    return exchange.call(look)


def is_true(book: LiveOrderBook, exchange: Sandbox) -> Callable[[], bool]:
    return lambda: book.status is Status.LIVE and book.rows() == truth(exchange, book.topic)


def ticker_truth(exchange: Sandbox) -> Any:
    return of_feed(exchange, TICKER, lambda feed: feed.snapshot(0)["data"])


def is_true_ticker(ticker: LiveTicker, exchange: Sandbox) -> Callable[[], bool]:
    return lambda: ticker.status is Status.LIVE and ticker.data == ticker_truth(exchange)


def is_younger(book: LiveOrderBook, moment: float) -> Callable[[], bool]:
    return lambda: book.age() < time.monotonic() - moment


def covered_twice(client: CopyTradingClient, reconnects: int) -> Callable[[], bool]:
    def look() -> bool:
        public = client.health().connections["public"]
        return public.covered_twice == 2 and public.reconnects == reconnects

    return look


def live(state: LiveOrderBook | LiveTicker) -> Callable[[], bool]:
    return lambda: state.status is Status.LIVE


# What it is


@pytest.mark.parametrize(("profile", "depth"), DEPTHS)
def test_it_equals_the_exchanges_own_through_random_losses(
    stepped: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    profile: str,
    depth: int,
    eventually: Eventually,
) -> None:
    monkeypatch.setattr("bybit_copyws.policy.repeats._FREE", 100)  # all of it takes a second
    rng = random.Random(f"{profile} {depth}")
    with make_client(stepped, profile=profile) as client:
        book = client.order_book(BTC, depth)
        assert client.order_book(BTC, depth) is book
        assert eventually(live(book))
        for _ in range(15):
            stepped.step(rng.uniform(0.0, 2.0))
            trouble = rng.random()
            if trouble < 0.3:
                stepped.drop("public", how=rng.choice(("rst", "fin", "close")))
            elif trouble < 0.5 and depth > 1:
                stepped.fault("withhold", topic=book.topic, kind="data", times=1)
                stepped.step(0.5)
                stepped.heal()
                stepped.step(0.5)  # what comes next tells that something is missing
            elif trouble < 0.6:
                stepped.garbage("not_json", "public")
            stepped.step(rng.uniform(0.0, 2.0))
            assert eventually(is_true(book, stepped)), (book.status, book.reason)
    assert book.status is Status.STALE
    assert book.reason == "the client was closed"


def test_its_ticker_equals_the_exchanges_own_through_random_losses(
    stepped: Sandbox, profile: str, eventually: Eventually
) -> None:
    rng = random.Random(profile)
    with make_client(stepped, profile=profile) as client:
        ticker = client.ticker(BTC)
        assert client.ticker(BTC) is ticker
        assert eventually(live(ticker))
        for _ in range(15):
            stepped.step(rng.uniform(0.0, 2.0))
            if rng.random() < 0.5:
                stepped.drop("public", how=rng.choice(("rst", "fin", "close")))
            stepped.step(rng.uniform(0.0, 2.0))
            assert eventually(is_true_ticker(ticker, stepped))
        parsed = ticker.parse()
        assert parsed is not None
        assert parsed.last_price == Decimal(ticker_truth(stepped)["lastPrice"])


def test_two_connections_keep_one_book(
    lively: Sandbox, profile: str, eventually: Eventually
) -> None:
    resyncs: list[BookResync] = []
    with make_client(lively, profile=profile, redundancy=2) as client:
        client.listen(resyncs.append, BookResync)
        book, ticker = client.order_book(BTC), client.ticker(BTC)
        assert eventually(live(book))
        conn_ids = [each.conn_id for each in lively.connections if each.scope == "public"]
        for count, conn_id in enumerate(conn_ids):
            assert eventually(covered_twice(client, count))
            lively.drop(conn_id=conn_id, how="rst")
            assert book.status is Status.LIVE
            assert ticker.status is Status.LIVE
        assert resyncs == []
        client.resync(BOOK, "a test")
        assert eventually(lambda: len(resyncs) == 1)
        before = book.update_id
        assert eventually(lambda: live(book)() and book.update_id != before)


# What is told of it


def test_a_lost_link_makes_it_stale_at_once(lively: Sandbox, eventually: Eventually) -> None:
    seen: queue.SimpleQueue[tuple[Status, Status]] = queue.SimpleQueue()
    with make_client(lively) as client:
        book, ticker = client.order_book(BTC), client.ticker(BTC)
        client.listen(lambda _: seen.put((book.status, ticker.status)), GapOpened)
        client.wait_until_ready()
        assert eventually(lambda: live(book)() and live(ticker)())
        lively.refuse_handshakes(status=502, times=2)
        lively.drop("public", how="rst")
        assert seen.get(timeout=5) == (Status.STALE, Status.STALE)
        assert "reset" in book.reason
        assert book.best_bid is not None  # it can be read, and says what it is
        assert eventually(lambda: live(book)() and live(ticker)(), 10)
        assert book.reason == ""
        assert book.age() < 5


def test_each_change_of_its_status_is_told(lively: Sandbox, eventually: Eventually) -> None:
    told: list[StatusChanged] = []
    with make_client(lively) as client:
        client.listen(told.append, StatusChanged)
        book = client.order_book(BTC)
        book.wait_live()
        lively.drop("public", how="rst")
        assert eventually(lambda: len(told) == 3)
        book.close()
        assert eventually(lambda: len(told) == 4)
    assert {each.name for each in told} == {BOOK}
    assert [each.new for each in told] == [Status.LIVE, Status.STALE, Status.LIVE, Status.STALE]
    assert [each.old for each in told][1:] == [each.new for each in told][:-1]
    assert told[1].reason
    assert told[3].reason == "it is not kept any more"


def test_to_unsubscribe_its_topic_ends_it(lively: Sandbox, eventually: Eventually) -> None:
    with make_client(lively) as client:
        book = client.order_book(BTC)
        book.wait_live()
        assert book.subscription is not None
        book.subscription.unsubscribe()
        assert book.status is Status.STALE
        again = client.order_book(BTC)
        assert again is not book
        again.wait_live()


def test_a_refused_one_says_so_and_is_asked_for_anew(
    lively: Sandbox, eventually: Eventually
) -> None:
    with make_client(lively) as client:
        book = client.order_book("NEWUSDT")
        with pytest.raises(SubscriptionError):
            book.wait_live()
        assert eventually(lambda: "NEWUSDT" in book.reason)
        lively.list_symbol("NEWUSDT")
        assert client.order_book("NEWUSDT") is book
        book.wait_live()


def test_a_jump_is_told_and_mended_by_a_snapshot_of_that_topic_alone(
    lively: Sandbox, profile: str, eventually: Eventually
) -> None:
    events: list[Any] = []
    with make_client(lively, profile=profile) as client:
        client.listen(events.append, BookResync, GapOpened)
        book = client.order_book(BTC)
        client.subscribe("publicTrade.BTCUSDT", ignore)
        client.wait_until_ready()
        assert eventually(live(book))
        lively.fault("withhold", topic=BOOK, kind="data", times=1)
        assert eventually(lambda: any(isinstance(each, BookResync) for each in events))
        assert eventually(live(book))
        (resync,) = (each for each in events if isinstance(each, BookResync))
        assert resync.topic == BOOK
        assert "u went from" in resync.reason
        assert all(each.topics == (BOOK,) for each in events if isinstance(each, GapOpened))
        asked = [each.text for each in lively.received if BOOK in each.text]
        assert len(asked) == 3  # subscribed, given up, subscribed
        assert client.health().connections["public"].reconnects == 0


def test_a_crossed_book_is_emptied_and_asked_for_anew(
    lively: Sandbox, profile: str, eventually: Eventually
) -> None:
    resyncs: list[BookResync] = []
    with make_client(lively, profile=profile) as client:
        client.listen(resyncs.append, BookResync)
        book = client.order_book(BTC)
        crossed: list[LiveOrderBook] = []

        def check(book: LiveOrderBook) -> None:
            bid, ask = book.top()
            if bid is not None and ask is not None and bid.price >= ask.price:
                crossed.append(book)

        book.on_update(check)
        assert eventually(live(book))
        lively.fault("cross", topic=BOOK, times=1)
        assert eventually(lambda: len(resyncs) == 1)
        assert "is not below ask" in resyncs[0].reason
        assert eventually(live(book))
    assert not crossed


def test_what_is_always_wrong_is_not_asked_for_all_the_time(
    lively: Sandbox, eventually: Eventually
) -> None:
    lively.fault("cross", topic=BOOK, times=None)
    resyncs: list[BookResync] = []
    with make_client(lively) as client:
        client.listen(resyncs.append, BookResync)
        book = client.order_book(BTC)
        assert eventually(lambda: len(resyncs) >= 4, 10)
        assert resyncs[3].time - resyncs[2].time > 0.9
        assert book.status is not Status.LIVE
        lively.heal()
        assert eventually(live(book), 15)
    assert len(resyncs) < 8


@pytest.mark.parametrize("redundancy", [1, 2])
def test_a_snapshot_that_does_not_come_is_asked_for_again(
    lively: Sandbox, monkeypatch: pytest.MonkeyPatch, eventually: Eventually, redundancy: int
) -> None:
    """However often; and only that topic is subscribed anew, for others may be quite well."""
    monkeypatch.setattr("bybit_copyws.books._SNAPSHOT_WITHIN", 0.2)
    lively.fault("withhold", topic=TICKER, kind="data", times=None)
    told: list[Any] = []
    with make_client(lively, redundancy=redundancy) as client:
        client.listen(told.append, BookResync, TopicStale, GapOpened)
        ticker = client.ticker(BTC)
        assert eventually(lambda: len(told) >= 4, 20)
        assert ticker.status is Status.SYNCING
        assert ticker.reason == "no snapshot has come yet"
        lively.heal()
        assert eventually(live(ticker), 20)
        assert client.health().connections["public"].reconnects == 0
    assert {type(event) for event in told} == {BookResync}
    assert all(event.reason.startswith("no snapshot") for event in told[:4])


def test_a_ticker_begins_anew_after_any_doubt(lively: Sandbox, eventually: Eventually) -> None:
    """Its messages have no numbers: what could not be read may have been one of them."""
    resyncs: list[BookResync] = []
    with make_client(lively) as client:
        client.listen(resyncs.append, BookResync)
        ticker = client.ticker(BTC)
        assert eventually(live(ticker))
        lively.garbage("not_json", "public")
        assert eventually(lambda: len(resyncs) == 1)
        assert resyncs[0].topic == TICKER
        assert "could not be read" in resyncs[0].reason
        assert eventually(live(ticker))


# Its life


def test_callbacks_get_the_updated_book(lively: Sandbox, eventually: Eventually) -> None:
    got: list[Any] = []
    failed: list[CallbackFailed] = []

    def bad(_: object) -> None:
        raise RuntimeError("mine")

    with make_client(lively) as client:
        client.listen(failed.append, CallbackFailed)
        book, ticker = client.order_book(BTC), client.ticker(BTC)
        messages: list[int] = []
        client.subscribe(BOOK, lambda message: messages.append(message.data["u"]))
        listening = book.on_update(lambda book: got.append((messages[-1], book.update_id)))
        book.on_update(bad)
        prices: list[Any] = []
        ticker.on_update(lambda ticker: prices.append(ticker.data["lastPrice"]))
        assert eventually(lambda: len(got) > 20 and len(prices) > 5 and len(failed) > 5)
        assert all(message == book for message, book in got)
        listening.unsubscribe()
        count = len(got)
        assert eventually(lambda: len(failed) > count + 5)
        assert len(got) <= count + 1
        with pytest.raises(ConfigurationError, match="callable"):
            book.on_update("no")  # type: ignore[arg-type]


def test_a_book_that_is_given_up_calls_nobody_any_more(
    lively: Sandbox, eventually: Eventually
) -> None:
    got: list[int | None] = []
    with make_client(lively) as client:
        book = client.order_book(BTC)
        book.on_update(lambda book: got.append(book.update_id))
        assert eventually(lambda: len(got) > 5)
        book.close()
        assert eventually(lambda: not held(lively))  # nobody wants its topic
        count = len(got)
        client.order_book(BTC)
        with pytest.raises(ConfigurationError, match="not kept any more"):
            book.on_update(lambda _: None)
        assert eventually(lambda: bool(held(lively)))
        assert len(got) == count


def test_a_book_can_be_given_up_and_asked_for_again(
    lively: Sandbox, eventually: Eventually
) -> None:
    with make_client(lively) as client:
        book = client.order_book(BTC)
        assert eventually(live(book))
        assert book.subscription is not None
        book.close()
        book.close()
        assert book.status is Status.STALE
        assert book.reason == "it is not kept any more"
        assert eventually(lambda: not held(lively))
        again = client.order_book(BTC)
        assert again is not book
        assert eventually(live(again))
        assert book.status is Status.STALE


def test_before_the_start_and_after_the_end(lively: Sandbox, eventually: Eventually) -> None:
    client = make_client(lively)
    book = client.order_book(BTC, 200)
    assert (book.status, book.best_bid, book.age()) == (Status.SYNCING, None, float("inf"))
    assert client.health().as_dict()["kept"] == {
        book.topic: {"status": "syncing", "reason": "no snapshot has come yet", "age": None}
    }
    with client:
        client.wait_until_ready()
        assert eventually(live(book))
        client.rotate()
        assert book.status is Status.LIVE
    with pytest.raises(StreamClosed):
        client.order_book(BTC)
    assert book.status is Status.STALE


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda client: client.order_book("btcusdt"), "upper case"),
        (lambda client: client.order_book(BTC, "deep"), "orderbook"),
        (lambda client: client.order_book(BTC, 0), "orderbook"),
        (lambda client: client.ticker("*"), "symbol"),
        (lambda client: client.order_book("*"), "symbol"),
    ],
)
def test_what_is_no_book_is_refused(
    quiet: Sandbox, ask: Callable[[CopyTradingClient], object], says: str
) -> None:
    client = make_client(quiet)
    with pytest.raises(ConfigurationError, match=says):
        ask(client)
    assert not client.health().connections["public"].topics
    client.close()


def test_many_threads_read_while_it_changes(lively: Sandbox, eventually: Eventually) -> None:
    wrong: list[Any] = []
    done = threading.Event()
    with make_client(lively) as client:
        book = client.order_book(BTC)

        def read() -> None:
            while not done.is_set():
                snapshot = book.snapshot()
                bid, ask = snapshot.top()
                if snapshot.status is Status.LIVE and not (
                    bid is not None and ask is not None and bid.price < ask.price
                ):
                    wrong.append(snapshot)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            assert eventually(live(book))
            lively.drop("public", how="rst")
            assert eventually(is_younger(book, time.monotonic()))
        done.set()
        for thread in threads:
            thread.join()
    assert not wrong


def test_callbacks_of_the_topic_find_the_book_updated_whenever_they_came(
    lively: Sandbox, eventually: Eventually
) -> None:
    pairs: list[tuple[int, int | None]] = []
    with make_client(lively) as client:
        client.subscribe(BOOK, lambda message: pairs.append((message.data["u"], book.update_id)))
        book = client.order_book(BTC)
        assert eventually(live(book))
        pairs.clear()
        assert eventually(lambda: len(pairs) > 20)
        assert all(message == kept for message, kept in pairs)
        client.unsubscribe(BOOK)  # all callbacks; the book is kept on
        before = book.update_id
        assert eventually(lambda: book.update_id != before)
        with pytest.raises(ConfigurationError, match="not subscribed"):
            client.unsubscribe(BOOK)
        assert live(book)()


def test_an_old_book_that_is_closed_again_leaves_the_new_one(
    lively: Sandbox, eventually: Eventually
) -> None:
    client = make_client(lively)
    with client:
        old = client.order_book(BTC)
        old.close()
        new = client.order_book(BTC)
        old.close()
        assert client.order_book(BTC) is new
        assert eventually(live(new))
    assert new.status is Status.STALE
