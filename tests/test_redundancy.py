"""Two connections for the same topics: the loss of one is no gap, and nothing comes twice."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from exchange import PRIVATE, ignore, make_client
from truth import Truth

from bybit_copyws import (
    Backoff,
    ConfigurationError,
    CopyTradingClient,
    Message,
    SubscriptionError,
    SubscriptionState,
    Worker,
)
from bybit_copyws.events import (
    CallbackSlow,
    GapClosed,
    GapOpened,
    StateChanged,
    SubscriptionConfirmed,
    TopicStale,
    UnsubscribeConfirmed,
)
from bybit_copyws.sandbox import Sandbox

SYMBOLS = ("BTCUSDT", "ETHUSDT")
TOPICS = tuple(
    f"{channel}.{symbol}"
    for channel in ("orderbook.1", "orderbook.50", "publicTrade", "tickers", "kline.1")
    for symbol in SYMBOLS
)
BOOK, TRADES = "orderbook.50.BTCUSDT", "publicTrade.BTCUSDT"
Eventually = Callable[..., bool]


@pytest.fixture
def lively() -> Iterator[Sandbox]:
    """An exchange that sends a lot."""
    with Sandbox(seed=1, activity=20.0, cadence="fast", symbols=SYMBOLS) as exchange:
        yield exchange


def gaps(client: CopyTradingClient) -> list[GapOpened | GapClosed]:
    found: list[GapOpened | GapClosed] = []
    client.listen(found.append, GapOpened, GapClosed)
    return found


def twice(client: CopyTradingClient, topics: int = len(TOPICS)) -> Callable[[], bool]:
    """Return whether all topics are carried by two connections."""
    return lambda: client.health().connections["public"].covered_twice == topics


def reconnects(client: CopyTradingClient) -> int:
    return client.health().connections["public"].reconnects


def public(exchange: Sandbox) -> list[str]:
    return [each.conn_id for each in exchange.connections if each.scope == "public"]


@pytest.mark.parametrize("profile", ["v3", "v5"])
def test_the_loss_of_either_connection_loses_doubles_and_reports_nothing(
    lively: Sandbox, profile: str, eventually: Eventually
) -> None:
    truth, rng = Truth(), random.Random(profile)
    with make_client(lively, redundancy=2, profile=profile) as client:
        told = gaps(client)
        client.subscribe(TOPICS, truth.take)
        client.wait_until_ready()
        for number in range(6):
            assert eventually(lambda n=number: reconnects(client) == n and twice(client)())
            lively.drop(conn_id=rng.choice(public(lively)), how=rng.choice(("rst", "fin", "close")))
        assert eventually(lambda: reconnects(client) == 6 and twice(client)())
        figures = client.health().connections
    assert {"public", "public-1", "public-2", "private"} == set(figures)
    truth.check(lively)
    assert truth.faults == []
    assert told == []


def test_a_silent_connection_is_no_gap(lively: Sandbox, eventually: Eventually) -> None:
    truth = Truth()
    times = {"ping_interval": 0.5, "pong_timeout": 0.5}
    with make_client(lively, redundancy=2, **times) as client:
        told = gaps(client)
        client.subscribe(TOPICS, truth.take)
        assert eventually(twice(client))
        lively.silence(conn_id=public(lively)[0])
        count = truth.counts[BOOK]
        assert eventually(lambda: truth.counts[BOOK] > count + 20)
        assert eventually(lambda: reconnects(client) == 1)
        assert eventually(twice(client))
    truth.check(lively)
    assert truth.faults == []
    assert told == []


def test_the_loss_of_both_is_a_gap_that_is_told_once(
    lively: Sandbox, eventually: Eventually
) -> None:
    carried: list[str] = []

    def take(message: Message) -> None:
        if message.gap is not None:
            carried.append(message.topic)

    with make_client(lively, redundancy=2) as client:
        told = gaps(client)
        client.subscribe(TOPICS, take)
        assert eventually(twice(client))
        lively.drop("public", how="rst")
        assert eventually(lambda: sorted(carried) == sorted(TOPICS))
        assert eventually(twice(client))
        assert eventually(lambda: sum(isinstance(each, GapClosed) for each in told) > 0)
    opened = [name for each in told if isinstance(each, GapOpened) for name in each.topics]
    closed = [name for each in told if isinstance(each, GapClosed) for name in each.gap.topics]
    assert sorted(opened) == sorted(closed) == sorted(TOPICS)
    assert sorted(carried) == sorted(TOPICS)


def test_a_bad_message_on_one_connection_is_filled_by_the_other(
    lively: Sandbox, eventually: Eventually
) -> None:
    truth = Truth()
    with make_client(lively, redundancy=2) as client:
        told = gaps(client)
        client.subscribe(TOPICS, truth.take)
        assert eventually(twice(client))
        for topic in (BOOK, TRADES, "tickers.BTCUSDT"):
            count = truth.counts[topic]
            lively.fault("replace", topic=topic, payload=f'{{"topic":"{topic}","data":[', times=1)
            assert eventually(lambda n=count, name=topic: truth.counts[name] > n + 5)
            assert eventually(twice(client))
    truth.check(lively)
    assert truth.faults == []
    assert told == []


def test_a_quiet_topic_needs_no_message_to_be_carried_twice(
    quiet: Sandbox, eventually: Eventually
) -> None:
    with make_client(quiet, redundancy=2) as client:
        told = gaps(client)
        client.subscribe(TRADES, ignore)
        for number in range(4):
            assert eventually(lambda n=number: reconnects(client) == n and twice(client, 1)())
            quiet.drop(conn_id=public(quiet)[0], how="rst")
    assert told == []


def test_each_topic_is_confirmed_and_given_up_once(lively: Sandbox, eventually: Eventually) -> None:
    heard: list[Any] = []
    with make_client(lively, redundancy=2) as client:
        client.listen(heard.append, SubscriptionConfirmed, UnsubscribeConfirmed)
        subscription = client.subscribe([BOOK, TRADES], ignore)
        subscription.wait()
        assert subscription.state is SubscriptionState.CONFIRMED
        assert eventually(twice(client, 2))
        subscription.unsubscribe()
        subscription.wait()
        assert subscription.state is SubscriptionState.CLOSED
        assert eventually(lambda: not any(lively.subscriptions.values()))
        client.subscribe(BOOK, ignore).wait()
        assert eventually(twice(client, 1))
    names = [(type(each).__name__, name) for each in heard for name in each.topics]
    assert sorted(names) == sorted(
        [
            ("SubscriptionConfirmed", BOOK),
            ("SubscriptionConfirmed", BOOK),
            ("SubscriptionConfirmed", TRADES),
            ("UnsubscribeConfirmed", BOOK),
            ("UnsubscribeConfirmed", TRADES),
        ]
    )


def test_wanted_again_at_once_a_topic_is_carried_again(
    lively: Sandbox, eventually: Eventually
) -> None:
    got: list[Message] = []
    with make_client(lively, redundancy=2) as client:
        for _ in range(20):
            subscription = client.subscribe([BOOK, TRADES], ignore)
            subscription.unsubscribe()
        client.subscribe([BOOK, TRADES], got.append).wait()
        assert eventually(twice(client, 2))
        assert eventually(lambda: len({message.topic for message in got}) == 2)


def test_a_refused_topic_is_told_once_and_the_others_live(
    lively: Sandbox, eventually: Eventually
) -> None:
    got: list[Message] = []
    with make_client(lively, redundancy=2) as client:
        subscription = client.subscribe([BOOK, "publicTrade.NOSUCHUSDT"], got.append)
        with pytest.raises(SubscriptionError, match="NOSUCH"):
            subscription.wait()
        assert eventually(lambda: bool(got))
        again = client.subscribe("publicTrade.NOSUCHUSDT", ignore)
        with pytest.raises(SubscriptionError, match="NOSUCH"):
            again.wait()


def test_private_topics_have_one_connection(lively: Sandbox, eventually: Eventually) -> None:
    with make_client(lively, redundancy=2) as client:
        client.subscribe([BOOK, *PRIVATE], ignore)
        client.wait_until_ready()
        assert eventually(twice(client, 1))
        assert sorted(each.scope for each in lively.connections) == ["private", "public", "public"]


def test_rotate_replaces_one_after_the_other(lively: Sandbox, eventually: Eventually) -> None:
    truth = Truth()
    with make_client(lively, redundancy=2) as client:
        told = gaps(client)
        client.subscribe(TOPICS, truth.take)
        assert eventually(twice(client))
        before = set(public(lively))
        client.rotate()
        assert before.isdisjoint(public(lively))
        assert reconnects(client) == 2
    truth.check(lively)
    assert truth.faults == []
    assert told == []


def test_callbacks_of_a_topic_never_overlap(lively: Sandbox, eventually: Eventually) -> None:
    inside, overlaps, count = threading.Semaphore(1), [], [0]

    def take(message: Message) -> None:
        if not inside.acquire(blocking=False):
            overlaps.append(message)
            return
        threading.Event().wait(0.001)
        count[0] += 1
        inside.release()

    with make_client(lively, redundancy=2) as client:
        client.subscribe(TRADES, take)
        assert eventually(lambda: count[0] > 200, 20.0)
    assert overlaps == []


def test_a_callback_that_blocks_is_named_once_and_holds_nothing_up_for_ever(
    lively: Sandbox, eventually: Eventually
) -> None:
    slow: list[CallbackSlow] = []
    go, blocked, truth = threading.Event(), threading.Event(), Truth()

    def block(message: Message) -> None:
        truth.take(message)
        if not blocked.is_set():
            blocked.set()
            go.wait(10)

    with make_client(lively, redundancy=2) as client:
        told = gaps(client)
        client.listen(slow.append, CallbackSlow)
        client.subscribe(TOPICS, block)
        assert eventually(lambda: bool(slow))
        go.set()
        assert eventually(twice(client))
        assert [event.callback for event in slow] == [block]
    truth.check(lively)
    assert truth.faults == []
    assert told == []


@pytest.mark.parametrize("delivery", [None, Worker()])
def test_close_in_a_callback_returns(
    lively: Sandbox, delivery: Worker | None, eventually: Eventually
) -> None:
    took: list[float] = []

    def close(_: Message) -> None:
        began = time.monotonic()
        client.close()
        took.append(time.monotonic() - began)

    client = make_client(lively, redundancy=2)
    client.subscribe(TOPICS, close, delivery=delivery)
    client.run_forever()
    assert eventually(lambda: len(took) == 1)
    assert took[0] < 2.5
    assert eventually(lambda: not public(lively))


def test_events_name_the_connection(lively: Sandbox, eventually: Eventually) -> None:
    heard: list[StateChanged] = []
    with make_client(lively, redundancy=2) as client:
        client.listen(heard.append, StateChanged)
        client.subscribe(BOOK, ignore)
        assert eventually(twice(client, 1))
    assert {event.connection for event in heard} == {"public-1", "public-2", "private"}


def test_a_wrong_address_is_told_and_ends_the_client() -> None:
    with Sandbox(seed=1) as exchange:
        client = make_client(
            exchange,
            redundancy=2,
            backoff=Backoff(base=0.01, cap=0.02, refused=0.01, give_up_after=2),
        )
        exchange.refuse_handshakes(404, times=None)
        client.subscribe(BOOK, ignore)
        with pytest.raises(Exception, match="404"):
            client.run_forever()


@pytest.mark.parametrize("value", [0, 3, "2", True, None, 1.0])
def test_other_numbers_of_connections_are_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="redundancy"):
        CopyTradingClient(redundancy=value)


def test_a_silent_topic_never_costs_both_connections_at_once(
    lively: Sandbox, eventually: Callable[..., bool]
) -> None:
    gaps: list[GapOpened] = []
    stale: list[TopicStale] = []
    with make_client(lively, redundancy=2, stale_after={"tickers.*": 0.4}) as client:
        client.listen(gaps.append, GapOpened)
        client.listen(stale.append, TopicStale)
        client.subscribe(["tickers.BTCUSDT", "publicTrade.BTCUSDT"], ignore)
        client.wait_until_ready()
        assert eventually(lambda: client.health().connections["public"].covered_twice == 2)
        lively.fault("withhold", topic="tickers.BTCUSDT", times=None)
        assert eventually(lambda: client.health().connections["public"].reconnects >= 2)
        assert {each.connection for each in stale} == {"public-1", "public-2"}
    assert {name for each in gaps for name in each.topics} == {"tickers.BTCUSDT"}
