"""The event thread: order, filters, failing, blocking and closing listeners."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from bybit_copyws.events import (
    BadMessage,
    CallbackFailed,
    Event,
    StateChanged,
    SubscriptionConfirmed,
    SubscriptionRejected,
)
from bybit_copyws.stream import notifier as module
from bybit_copyws.stream.notifier import Notifier

PATIENCE = 5.0
SHORT = 0.1


def confirmed(number: int) -> SubscriptionConfirmed:
    return SubscriptionConfirmed(time=float(number), connection="public", topics=(str(number),))


def bad(number: int) -> BadMessage:
    return BadMessage(time=float(number), connection="private", reason="no JSON", excerpt=b"{")


class Posted:
    """A notifier, what came to its listeners, and what interrupted it."""

    def __init__(self) -> None:
        self.interrupts: list[BaseException] = []
        self.notifier = Notifier(self.interrupts.append)
        self.seen: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def next(self) -> Event:
        return self.seen.get(timeout=PATIENCE)

    def rest(self) -> list[Event]:
        """Close and return what came."""
        self.notifier.close(PATIENCE)
        return [self.seen.get() for _ in range(self.seen.qsize())]


class Blocked:
    """A listener that blocks until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.release = threading.Event()
        self.seen: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.seen.append(event)
        self.entered.release()
        self.release.wait(2 * PATIENCE)

    def wait_until_entered(self) -> None:
        assert self.entered.acquire(timeout=PATIENCE)


@pytest.fixture
def posted() -> Iterator[Posted]:
    posted = Posted()
    yield posted
    posted.notifier.close(PATIENCE)


@pytest.fixture
def blocked() -> Iterator[Blocked]:
    blocked = Blocked()
    yield blocked
    blocked.release.set()


@pytest.fixture
def small_queue(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(module, "MAX_QUEUED", 3)
    return 3


# Handing out


def test_events_come_in_order_in_the_event_thread(posted: Posted) -> None:
    threads: set[str] = set()
    posted.notifier.listen(lambda _: threads.add(threading.current_thread().name), ())
    posted.notifier.listen(posted.seen.put, ())
    posted.notifier.start()
    events = [confirmed(number) for number in range(200)]
    posted.notifier.post(events[:150])
    for event in events[150:]:
        posted.notifier.post([event])
    assert posted.rest() == events
    assert threads == {"bybit-copyws:events"}


def test_what_was_posted_before_the_start_is_handed_out(posted: Posted) -> None:
    posted.notifier.listen(posted.seen.put, ())
    posted.notifier.post([confirmed(1)])
    posted.notifier.start()
    posted.notifier.start()
    assert posted.next() == confirmed(1)
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("bybit-copyws:events") == 1


def test_a_listener_gets_the_kinds_it_asked_for(posted: Posted) -> None:
    few: list[Event] = []
    every: list[Event] = []
    posted.notifier.listen(posted.seen.put, (BadMessage,))
    posted.notifier.listen(few.append, (BadMessage, SubscriptionConfirmed))
    posted.notifier.listen(every.append, (Event,))
    posted.notifier.listen(every.append, (StateChanged, SubscriptionRejected))
    for event in (confirmed(1), bad(2), confirmed(3)):
        posted.notifier.hand_out(event)
    assert posted.rest() == [bad(2)]
    assert few == every == [confirmed(1), bad(2), confirmed(3)]


def test_a_removed_listener_hears_no_more_also_when_removed_twice(posted: Posted) -> None:
    one: list[Event] = []
    listener = posted.notifier.listen(one.append, ())
    twin = posted.notifier.listen(one.append, ())
    posted.notifier.listen(posted.seen.put, ())
    posted.notifier.hand_out(confirmed(1))
    listener.remove()
    listener.remove()
    posted.notifier.hand_out(confirmed(2))
    twin.remove()
    posted.notifier.hand_out(confirmed(3))
    assert one == [confirmed(1), confirmed(1), confirmed(2)]
    assert posted.rest() == [confirmed(1), confirmed(2), confirmed(3)]


def test_a_listener_may_remove_itself_and_add_another(posted: Posted) -> None:
    def once(event: Event) -> None:
        listener.remove()
        posted.notifier.listen(posted.seen.put, ())

    listener = posted.notifier.listen(once, ())
    posted.notifier.start()
    posted.notifier.post([confirmed(1), confirmed(2), confirmed(3)])
    assert posted.rest() == [confirmed(2), confirmed(3)]


# Listeners that raise


def test_a_listener_that_raises_is_reported_and_the_others_are_called(
    posted: Posted, caplog: pytest.LogCaptureFixture
) -> None:
    error = ValueError("no")

    def failing(event: Event) -> None:
        if isinstance(event, SubscriptionConfirmed):
            raise error

    posted.notifier.listen(failing, ())
    posted.notifier.listen(posted.seen.put, ())
    posted.notifier.start()
    posted.notifier.post([confirmed(1)])
    assert posted.next() == confirmed(1)
    report = posted.next()
    assert report == CallbackFailed(
        time=1.0, connection="public", callback=failing, error=error, message=confirmed(1)
    )
    assert not posted.rest()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "failing" in caplog.text
    assert "ValueError: no" in caplog.text


def test_a_listener_that_fails_on_failures_does_not_feed_itself(
    posted: Posted, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(event: Event) -> None:
        raise ValueError(type(event).__name__)

    posted.notifier.listen(failing, ())
    posted.notifier.listen(posted.seen.put, ())
    posted.notifier.start()
    posted.notifier.post([confirmed(1), confirmed(2)])
    kinds = [type(posted.next()) for _ in range(4)]
    assert kinds == [SubscriptionConfirmed] * 2 + [CallbackFailed] * 2
    assert not posted.rest()
    assert len(caplog.records) == 4


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_handed_on_and_the_others_are_called(
    posted: Posted, kind: type[BaseException]
) -> None:
    interrupt = kind()

    def interrupting(event: Event) -> None:
        raise interrupt

    posted.notifier.listen(interrupting, (BadMessage,))
    posted.notifier.listen(posted.seen.put, ())
    posted.notifier.start()
    posted.notifier.post([bad(1), confirmed(2)])
    assert posted.rest() == [bad(1), confirmed(2)]
    assert posted.interrupts == [interrupt]


# Closing


def test_closing_hands_out_what_is_queued(posted: Posted, blocked: Blocked) -> None:
    posted.notifier.listen(blocked, (BadMessage,))
    posted.notifier.listen(posted.seen.put, ())
    posted.notifier.start()
    posted.notifier.post([bad(1), confirmed(2), confirmed(3)])
    blocked.wait_until_entered()
    blocked.release.set()
    assert posted.rest() == [bad(1), confirmed(2), confirmed(3)]


def test_closing_what_never_started_does_nothing(posted: Posted) -> None:
    posted.notifier.listen(posted.seen.put, ())
    posted.notifier.post([confirmed(1)])
    posted.notifier.close(0.0)
    assert not posted.rest()


def test_closing_twice_and_posting_afterwards_is_harmless(posted: Posted) -> None:
    posted.notifier.listen(posted.seen.put, ())
    posted.notifier.start()
    posted.notifier.close(PATIENCE)
    started = time.monotonic()
    posted.notifier.post([confirmed(1)])
    posted.notifier.close(PATIENCE)
    assert time.monotonic() - started < PATIENCE * 0.9
    assert not posted.rest()


def test_a_listener_may_close(posted: Posted) -> None:
    def close(event: Event) -> None:
        posted.notifier.close(PATIENCE)
        posted.seen.put(event)

    posted.notifier.listen(close, (BadMessage,))
    posted.notifier.listen(posted.seen.put, (SubscriptionConfirmed,))
    posted.notifier.start()
    posted.notifier.post([bad(1), confirmed(2)])
    assert [posted.next(), posted.next()] == [bad(1), confirmed(2)]


def test_a_listener_that_closes_before_a_full_queue_silences_it(
    posted: Posted, small_queue: int, eventually: Callable[..., bool]
) -> None:
    posted = Posted()
    filled = threading.Event()

    def close(event: Event) -> None:
        filled.wait(PATIENCE)
        posted.seen.put(event)
        posted.notifier.finish()

    posted.notifier.listen(close, ())
    posted.notifier.start()
    posted.notifier.post([confirmed(0)])
    assert eventually(posted.notifier._queue.empty)
    posted.notifier.post([confirmed(number) for number in range(1, small_queue + 1)])
    filled.set()
    assert posted.next() == confirmed(0)
    assert posted.rest() == []


def test_closing_does_not_wait_for_a_blocked_listener(posted: Posted, blocked: Blocked) -> None:
    posted.notifier.listen(blocked, ())
    posted.notifier.listen(posted.seen.put, ())
    posted.notifier.start()
    posted.notifier.post([confirmed(1), confirmed(2)])
    blocked.wait_until_entered()
    started = time.monotonic()
    posted.notifier.close(SHORT)
    assert SHORT * 0.9 < time.monotonic() - started < PATIENCE
    blocked.release.set()
    assert posted.rest() == []
    assert blocked.seen == [confirmed(1)]


def test_closing_is_in_time_also_when_the_queue_is_full(small_queue: int, blocked: Blocked) -> None:
    posted = Posted()
    posted.notifier.listen(blocked, ())
    posted.notifier.start()
    posted.notifier.post([confirmed(0)])
    blocked.wait_until_entered()
    posted.notifier.post([confirmed(number) for number in range(small_queue)])
    started = time.monotonic()
    posted.notifier.close(SHORT)
    assert SHORT * 0.9 < time.monotonic() - started < PATIENCE
    blocked.release.set()
    posted.notifier.close(PATIENCE)
    assert blocked.seen == [confirmed(0)]


# A full queue


def test_events_beyond_the_queue_are_counted_and_warned_of_once(
    small_queue: int, blocked: Blocked, caplog: pytest.LogCaptureFixture
) -> None:
    posted = Posted()
    posted.notifier.listen(blocked, ())
    posted.notifier.start()
    posted.notifier.post([confirmed(0)])
    blocked.wait_until_entered()
    posted.notifier.post([confirmed(number) for number in range(1, small_queue + 5)])
    posted.notifier.post([confirmed(100)])
    assert posted.notifier.dropped == 5
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "dropped" in caplog.text
    blocked.release.set()
    posted.notifier.close(PATIENCE)
    assert blocked.seen == [confirmed(number) for number in range(small_queue + 1)]
    assert posted.notifier.dropped == 5


def test_without_a_listener_that_blocks_nothing_is_dropped(posted: Posted) -> None:
    assert module.MAX_QUEUED == 10_000
    posted.notifier.post(confirmed(number) for number in range(10_000))
    assert posted.notifier.dropped == 0
