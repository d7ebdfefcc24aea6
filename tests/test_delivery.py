"""Callbacks with a worker, from exchange to callback: what is lost is told, nothing hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from exchange import ignore, make_client
from watched import Watched

from bybit_copyws import ConfigurationError, CopyTradingClient, Message, Worker
from bybit_copyws.events import CallbackFailed, CallbackSlow, GapOpened
from bybit_copyws.sandbox import Sandbox

BOOK, TRADES, BEST = "orderbook.50.BTCUSDT", "publicTrade.BTCUSDT", "orderbook.1.BTCUSDT"
TICKERS = "tickers.BTCUSDT"
ORDERS = "copyTradeOrder"
Eventually = Callable[..., bool]


@pytest.fixture
def lively() -> Iterator[Sandbox]:
    """An exchange that sends a lot."""
    with Sandbox(seed=1, activity=20.0, cadence="fast") as exchange:
        yield exchange


def workers() -> list[str]:
    return [each.name for each in threading.enumerate() if "bybit-copyws:worker" in each.name]


def queue(client: CopyTradingClient) -> Any:
    """Return the figures of the queue of the first public handler."""
    return client.health().connections["public"].topics[0].queue


@pytest.mark.parametrize("topics", [(BOOK, TRADES), (TRADES, ORDERS)])
def test_a_worker_delivers_everything_in_a_thread_of_its_own(
    lively: Sandbox, topics: tuple[str, ...]
) -> None:
    with Watched(lively, topics=topics, delivery=Worker()) as watched:
        watched.settle()
        assert len(workers()) == 1
        assert not watched.gaps
    assert not workers()


def test_what_a_slow_callback_misses_is_told(lively: Sandbox) -> None:
    worker = Worker(maxsize=5, overflow="drop_oldest")
    with Watched(lively, topics=(BOOK, TRADES, TICKERS), delivery=worker) as watched:
        watched.settle()
        watched.hold.clear()
        watched.wait_for(lambda: queue(watched.client).dropped > 50, "nothing is dropped")
        watched.hold.set()
        watched.wait_for(lambda: bool(watched.gaps), "not told")
        watched.settle()
        assert all("too slow" in gap.reason for gap in watched.gaps)
        assert watched.reasons == []


def test_losses_of_a_worker_and_of_the_link_are_both_told(lively: Sandbox) -> None:
    worker = Worker(maxsize=5, overflow="drop_oldest")
    with Watched(lively, topics=(BOOK, TRADES), delivery=worker) as watched:
        watched.settle()
        watched.hold.clear()
        watched.wait_for(lambda: queue(watched.client).dropped > 50, "nothing is dropped")
        lively.drop("public", how="rst")
        watched.wait_for(lambda: watched.reconnects == 1, "no new link")
        dropped = queue(watched.client).dropped
        watched.wait_for(lambda: queue(watched.client).dropped > dropped + 50, "no more")
        watched.hold.set()
        watched.settle()


def test_latest_keeps_up_with_what_is_sent_whole(lively: Sandbox) -> None:
    with Watched(lively, topics=(BEST,), delivery=Worker(overflow="latest")) as watched:
        watched.settle(2)
        watched.hold.clear()
        watched.wait_for(lambda: queue(watched.client).skipped > 20, "nothing is skipped")
        assert queue(watched.client).queued == 1
        watched.hold.set()
        watched.settle(2)
        assert watched.gaps == []  # asked for: the messages say it, no event does


def test_a_slow_worker_holds_up_nobody_else(lively: Sandbox, eventually: Eventually) -> None:
    go, fast = threading.Event(), []
    with make_client(lively) as client:
        client.subscribe(TRADES, lambda _: go.wait(10), delivery=Worker(overflow="drop_oldest"))
        client.subscribe(TRADES, fast.append)
        assert eventually(lambda: len(fast) > 50)
        go.set()


def test_block_holds_the_reader_up_and_loses_nothing(lively: Sandbox) -> None:
    with Watched(lively, topics=(BOOK, TRADES), delivery=Worker(maxsize=3)) as watched:
        watched.settle()
        watched.hold.clear()
        watched.wait_for(lambda: queue(watched.client).queued == 3, "the queue is not full")
        watched.hold.set()
        watched.settle(200)
        assert watched.gaps == []


def test_a_slow_callback_of_a_worker_is_named(lively: Sandbox, eventually: Eventually) -> None:
    slow: list[CallbackSlow] = []
    go = threading.Event()

    def dawdle(_: Message) -> None:
        go.wait(10)

    with make_client(lively) as client:
        client.listen(slow.append, CallbackSlow)
        client.subscribe(BOOK, dawdle, delivery=Worker())
        assert eventually(lambda: bool(slow), 8.0)
        go.set()
    assert [event.callback for event in slow] == [dawdle]
    assert slow[0].seconds >= 1


def test_a_failing_callback_of_a_worker_is_reported(
    lively: Sandbox, eventually: Eventually
) -> None:
    failed: list[CallbackFailed] = []

    def fail(_: Message) -> None:
        raise ValueError("mine")

    with make_client(lively) as client:
        client.listen(failed.append, CallbackFailed)
        client.subscribe(BOOK, fail, delivery=Worker())
        assert eventually(lambda: bool(failed))
        assert client.health().connections["public"].topics[0].failures


@pytest.mark.parametrize("overflow", ["block", "drop_oldest"])
def test_close_does_not_wait_for_what_is_queued(lively: Sandbox, overflow: Any) -> None:
    seen: list[Message] = []

    def take(message: Message) -> None:
        seen.append(message)
        time_out.wait(0.2)

    time_out = threading.Event()
    client = make_client(lively)
    client.subscribe(TRADES, take, delivery=Worker(maxsize=4, overflow=overflow))
    with client:
        while not seen or queue(client).queued < 4:
            time_out.wait(0.01)
        began = time.monotonic()
        client.close()
        assert time.monotonic() - began < 1.5
        count = len(seen)
        time_out.wait(0.3)
        assert len(seen) == count


def test_close_works_in_the_callback_of_a_worker(lively: Sandbox, eventually: Eventually) -> None:
    took: list[float] = []

    def close(_: Message) -> None:
        began = time.monotonic()
        client.close()
        took.append(time.monotonic() - began)

    client = make_client(lively)
    client.subscribe(TRADES, close, delivery=Worker(maxsize=1))
    with client:
        client.run_forever()
    assert eventually(lambda: not workers())
    assert len(took) == 1
    assert took[0] < 1.5


def test_a_worker_ends_with_its_last_topic(lively: Sandbox, eventually: Eventually) -> None:
    with make_client(lively) as client:
        first = client.subscribe([TRADES, BOOK], ignore, delivery=Worker())
        client.subscribe(TRADES, ignore)
        client.wait_until_ready()
        client.unsubscribe(BOOK)
        assert len(workers()) == 1
        first.unsubscribe()
        assert eventually(lambda: not workers())
        first.wait()


def test_waiting_inside_a_worker_works(lively: Sandbox, eventually: Eventually) -> None:
    done: list[bool] = []

    def take(_: Message) -> None:
        client.subscribe(TRADES, ignore).wait()
        done.append(True)

    with make_client(lively) as client:
        client.subscribe(BOOK, take, delivery=Worker(overflow="drop_oldest"))
        assert eventually(lambda: bool(done))


def test_an_interrupt_in_a_worker_is_raised_by_run_forever(lively: Sandbox) -> None:
    def leave(_: Message) -> None:
        raise SystemExit(7)

    client = make_client(lively)
    client.subscribe(BOOK, leave, delivery=Worker())
    with pytest.raises(SystemExit, match="7"):
        client.run_forever()


def test_a_delivery_that_cannot_work_subscribes_nothing(quiet: Sandbox) -> None:
    client = make_client(quiet)
    for topics, delivery, words in (
        (TRADES, "fast", "delivery"),
        (TRADES, Worker, "Worker()"),
        ([BEST, BOOK], Worker(overflow="latest"), "a book"),
        ([BEST, TRADES], Worker(overflow="latest"), "what is left out is lost"),
        ("copyTradeExecution", Worker(overflow="latest"), "what is left out is lost"),
        (["nonsense"], Worker(), "nonsense"),
    ):
        with pytest.raises(ConfigurationError, match=words.replace("(", r"\(").replace(")", r"\)")):
            client.subscribe(topics, ignore, delivery=delivery)  # type: ignore[arg-type]
    assert client.health().connections["public"].topics == []
    client.close()


def test_a_hand_over_keeps_the_worker(lively: Sandbox) -> None:
    with Watched(lively, topics=(TRADES, BOOK), delivery=Worker()) as watched:
        watched.settle()
        watched.client.rotate()
        watched.settle()
        assert watched.gaps == []
        assert len(workers()) == 1


def test_the_gap_of_a_worker_names_its_callback(lively: Sandbox, eventually: Eventually) -> None:
    opened: list[GapOpened] = []
    go = threading.Event()

    def slow(_: Message) -> None:
        go.wait(10)

    with make_client(lively) as client:
        client.listen(opened.append, GapOpened)
        client.subscribe(TRADES, slow, delivery=Worker(maxsize=1, overflow="drop_oldest"))
        assert eventually(lambda: bool(opened))
        go.set()
    assert opened[0].callback is slow
    assert "slow" in opened[0].reason
