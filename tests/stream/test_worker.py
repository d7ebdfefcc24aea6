"""The thread of a slow callback: order, blocking, dropping, failing, and every way to stop."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import astuple

from bybit_copyws.messages import Gap, Message
from bybit_copyws.policy.backlog import Backlog
from bybit_copyws.policy.registry import Handler
from bybit_copyws.stream import stepped
from bybit_copyws.stream import worker as module
from bybit_copyws.stream.worker import WorkerThread
from bybit_copyws.wire.profiles import V5

PATIENCE = 5.0
SHORT = 0.05
NEVER = 600.0
TRADES = "publicTrade.BTCUSDT"


class Owner:
    """A connection that writes down what it is told, and by whom."""

    def __init__(self) -> None:
        self.failed: list[tuple[Handler, BaseException, Message]] = []
        self.interrupts: list[BaseException] = []
        self.gaps: list[Any] = []

    def callback_failed(self, handler: Handler, error: BaseException, message: Message) -> None:
        self.failed.append((handler, error, message))

    def interrupted(self, error: BaseException) -> None:
        self.interrupts.append(error)

    def fell_behind(self, handler: Handler, since: float, reason: str) -> None:
        self.gaps.append((handler.topic.name, since))

    def caught_up(self, handler: Handler, gap: Gap) -> None:
        self.gaps.append(gap)


class Callback:
    """Takes messages; holds the worker up until it is let go."""

    def __init__(self, *, blocked: bool = False) -> None:
        self.entered = threading.Semaphore(0)
        self.go = threading.Event()
        self.seen: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.then: Callable[[Message], object] = lambda _: None
        if not blocked:
            self.go.set()

    def __call__(self, message: Message) -> None:
        self.seen.put(message)
        self.entered.release()
        assert self.go.wait(2 * PATIENCE)
        self.then(message)

    def wait_until_entered(self) -> None:
        assert self.entered.acquire(timeout=PATIENCE)

    def next(self) -> Message:
        return self.seen.get(timeout=PATIENCE)


class Rig:
    """A worker with its handlers, and threads that put."""

    def __init__(self, callback: Callable[[Message], object], *topics: str, **limits: Any) -> None:
        options = {"maxsize": 1000, "max_bytes": 1 << 20, "overflow": "block", **limits}
        self.owner = Owner()
        self.ended = threading.Event()
        backlog = Backlog(**options, callback="slow")
        self.worker = WorkerThread(backlog, self.owner, self.ended.set)
        self.handlers = [Handler(V5.topics.parse(name), callback) for name in topics or (TRADES,)]
        self.worker.serve(lambda: any(each.active for each in self.handlers))
        self.count = 0
        self.putters: list[threading.Thread] = []

    def put(self, count: int = 1, handler: Handler | None = None) -> None:
        for _ in range(count):
            self.count += 1
            handler = handler or self.handlers[0]
            ns = self.count * 1_000_000_000
            name = handler.topic.name
            message = Message(name, None, self.count, self.count, ns, b"1234567890")
            self.worker.put(handler, message)

    def put_elsewhere(self, count: int = 1, handler: Handler | None = None) -> threading.Thread:
        """Put in a thread of its own, as it may block."""
        putter = threading.Thread(target=self.put, args=(count, handler), name="bybit-copyws:put")
        putter.start()
        self.putters.append(putter)
        return putter

    def close(self) -> None:
        self.worker.stop()
        self.worker.join(PATIENCE)
        for putter in self.putters:
            putter.join(PATIENCE)


@pytest.fixture
def callback() -> Callback:
    return Callback()


@pytest.fixture
def blocked() -> Iterator[Callback]:
    callback = Callback(blocked=True)
    yield callback
    callback.go.set()


Make = Callable[..., Rig]


@pytest.fixture
def make() -> Iterator[Make]:
    rigs: list[Rig] = []

    def make(*args: Any, start: bool = True, **options: Any) -> Rig:
        rigs.append(Rig(*args, **options))
        if start:
            rigs[-1].worker.start()
        return rigs[-1]

    yield make
    for rig in rigs:
        for handler in rig.handlers:
            if isinstance(handler.callback, Callback):
                handler.callback.go.set()
        rig.close()


def stuck(rig: Rig, eventually: Callable[..., bool]) -> threading.Thread:
    """Return a thread that is blocked in a put, once it is."""
    putter = rig.put_elsewhere()
    assert eventually(lambda: bool(rig.worker._room._waiters))
    return putter


def done(putter: threading.Thread) -> bool:
    putter.join(PATIENCE)
    return not putter.is_alive()


# Delivery


def test_messages_come_in_order_in_a_thread_of_their_own(make: Make, callback: Callback) -> None:
    rig = make(callback)
    threads = set()
    callback.then = lambda _: threads.add(threading.current_thread())
    rig.put(500)
    assert [callback.next().data for _ in range(500)] == list(range(1, 501))
    rig.close()
    assert threads == {rig.worker.thread}
    assert rig.worker.thread.daemon
    assert rig.worker.thread.name.startswith("bybit-copyws:worker-")
    (handler,) = rig.handlers
    assert (handler.calls, handler.failures) == (500, 0)
    assert handler.seconds > 0
    assert rig.worker.figures().dropped == 0


def test_what_is_put_before_the_start_is_delivered(make: Make, callback: Callback) -> None:
    rig = make(callback, start=False)
    rig.put(2)
    rig.worker.start()
    rig.worker.start()
    assert [callback.next().data, callback.next().data] == [1, 2]


def test_two_connections_share_a_worker(
    make: Make, callback: Callback, eventually: Callable[..., bool]
) -> None:
    rig = make(callback, TRADES, "order", maxsize=3)
    putters = [rig.put_elsewhere(200, handler) for handler in rig.handlers]
    got = [callback.next() for _ in range(400)]
    assert all(map(done, putters))
    assert {message.topic for message in got} == {TRADES, "order"}
    assert eventually(lambda: [handler.calls for handler in rig.handlers] == [200, 200])
    assert rig.worker.figures().most_queued <= 3


def test_each_worker_has_a_name_of_its_own(make: Make, callback: Callback) -> None:
    assert make(callback).worker.thread.name != make(callback).worker.thread.name


def test_what_runs_and_what_waits_is_shown(
    make: Make, blocked: Callback, eventually: Callable[..., bool]
) -> None:
    rig = make(blocked)
    assert rig.worker.running is None
    before = time.monotonic()
    rig.put(3)
    blocked.wait_until_entered()
    handler, since = rig.worker.running
    assert handler is rig.handlers[0]
    assert before <= since <= time.monotonic()
    assert astuple(rig.worker.figures())[:4] == (2, 20, 0, 0)
    assert rig.worker.figures().oldest_ns == 2_000_000_000
    blocked.go.set()
    assert eventually(lambda: handler.calls == 3 and rig.worker.running is None)


# Overflow


def test_block_blocks_until_there_is_room(
    make: Make, blocked: Callback, eventually: Callable[..., bool]
) -> None:
    rig = make(blocked, maxsize=2)
    rig.put()
    blocked.wait_until_entered()
    rig.put(2)
    putter = stuck(rig, eventually)
    putter.join(SHORT)
    assert putter.is_alive()
    assert rig.worker.figures().queued == 2
    blocked.go.set()
    assert done(putter)
    assert [blocked.next().data for _ in range(4)] == [1, 2, 3, 4]
    assert rig.owner.gaps == []


def test_block_blocks_on_bytes(
    make: Make, blocked: Callback, eventually: Callable[..., bool]
) -> None:
    rig = make(blocked, max_bytes=15)
    rig.put()
    blocked.wait_until_entered()
    rig.put()
    putter = stuck(rig, eventually)
    blocked.go.set()
    assert done(putter)
    assert [blocked.next().data for _ in range(3)] == [1, 2, 3]


def test_drop_oldest_never_blocks_and_tells_of_the_gap(make: Make, blocked: Callback) -> None:
    rig = make(blocked, maxsize=2, overflow="drop_oldest")
    rig.put()
    blocked.wait_until_entered()
    rig.put(10)
    assert rig.owner.gaps == [(TRADES, 1.0)]
    assert astuple(rig.worker.figures())[:3] == (2, 20, 8)
    blocked.go.set()
    messages = [blocked.next() for _ in range(3)]
    assert [message.data for message in messages] == [1, 10, 11]
    assert [message.gap is None for message in messages] == [True, False, True]
    assert rig.owner.gaps[1:] == [messages[1].gap]  # told before the callback got it
    assert messages[1].gap.reason == (
        "callback slow is too slow: its queue of 2 messages overflowed (8 left out)"
    )


def test_gaps_are_those_of_one_topic(make: Make, blocked: Callback) -> None:
    rig = make(blocked, TRADES, "order", maxsize=1, overflow="drop_oldest")
    rig.put()
    blocked.wait_until_entered()
    rig.put(2, rig.handlers[1])
    assert rig.owner.gaps == [("order", 2.0)]


def test_latest_delivers_the_newest_of_each_topic(make: Make, blocked: Callback) -> None:
    rig = make(blocked, TRADES, "tickers.BTCUSDT", overflow="latest")
    rig.put()
    blocked.wait_until_entered()
    for _ in range(5):
        rig.put(1, rig.handlers[0])
        rig.put(1, rig.handlers[1])
    assert astuple(rig.worker.figures())[:4] == (2, 20, 0, 8)
    blocked.go.set()
    messages = [blocked.next() for _ in range(3)]
    assert [message.data for message in messages] == [1, 10, 11]
    assert [message.gap is None for message in messages] == [True, False, False]
    assert rig.owner.gaps == []


def test_losses_are_told_in_order_and_nobody_waits_to_tell_them(
    make: Make, blocked: Callback, eventually: Callable[..., bool]
) -> None:
    """The run thread is held up while it tells; the worker goes on and leaves its news to it."""
    rig = make(blocked, maxsize=1, overflow="drop_oldest")
    rig.put()
    blocked.wait_until_entered()
    telling, go_on = threading.Event(), threading.Event()

    def slow(handler: Handler, since: float, reason: str) -> None:
        telling.set()
        assert go_on.wait(PATIENCE)
        rig.owner.gaps.append((handler.topic.name, since))

    rig.owner.fell_behind = slow
    putter = rig.put_elsewhere(2)
    assert telling.wait(PATIENCE)
    blocked.go.set()
    assert [blocked.next().data for _ in range(2)] == [1, 3]
    assert rig.owner.gaps == []
    go_on.set()
    assert done(putter)
    assert eventually(lambda: len(rig.owner.gaps) == 2)
    assert rig.owner.gaps[0] == (TRADES, 1.0)
    assert isinstance(rig.owner.gaps[1], Gap)


# Failing callbacks


def test_a_callback_that_raises_is_told_and_goes_on(make: Make, callback: Callback) -> None:
    def fail(message: Message) -> None:
        if message.data != 2:
            raise ZeroDivisionError

    callback.then = fail
    rig = make(callback)
    rig.put(3)
    for _ in range(3):
        callback.wait_until_entered()
    rig.worker.stop()
    assert rig.worker.join(PATIENCE)
    (handler,) = rig.handlers
    failures = [(each, type(error), message.data) for each, error, message in rig.owner.failed]
    assert failures[0] == (handler, ZeroDivisionError, 1)
    assert handler.failures == len(failures)
    assert handler.calls == 3


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_is_meant_for_the_program_is_handed_on(
    make: Make, callback: Callback, kind: type[BaseException], eventually: Callable[..., bool]
) -> None:
    def leave(_: Message) -> None:
        raise kind

    callback.then = leave
    rig = make(callback, "order")
    rig.put()
    owner = rig.owner
    assert eventually(lambda: [type(error) for error in owner.interrupts] == [kind])
    assert owner.failed == []
    assert eventually(lambda: rig.handlers[0].calls == 1)


def test_a_bug_is_loud_and_costs_one_message(
    make: Make,
    callback: Callback,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stepped, "AFTER_A_BUG", 0.01)

    def fail(_: Message) -> None:
        raise ZeroDivisionError

    def broken(*_: object) -> None:
        raise RuntimeError("a bug of ours")

    rig = make(callback)
    callback.then = fail
    rig.owner.callback_failed = broken
    rig.put(2)
    assert [callback.next().data, callback.next().data] == [1, 2]
    rig.close()
    assert rig.worker.ended
    assert "a bug of ours" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


# Stopping


def test_a_stop_wakes_whoever_puts_and_delivers_nothing_more(
    make: Make, blocked: Callback, eventually: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROOM_LOOK", NEVER)
    rig = make(blocked, maxsize=1)
    rig.put()
    blocked.wait_until_entered()
    rig.put()
    putters = [stuck(rig, eventually), stuck(rig, eventually)]
    rig.worker.stop()
    assert all(map(done, putters))
    assert rig.worker.figures().queued == 0
    assert not rig.worker.join(0.0)  # the callback runs
    rig.put()
    blocked.go.set()
    assert rig.worker.join(PATIENCE)
    assert rig.ended.is_set()
    assert blocked.seen.qsize() == 1
    assert rig.worker.figures().queued == 0


def test_a_mute_needs_no_lock_and_frees_whoever_puts(
    make: Make, blocked: Callback, eventually: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROOM_LOOK", SHORT)
    rig = make(blocked, maxsize=1)
    rig.put()
    blocked.wait_until_entered()
    rig.put()
    putter = stuck(rig, eventually)
    with rig.worker._lock:
        rig.worker.mute()
        rig.worker.figures()
    assert done(putter)
    blocked.go.set()
    assert rig.ended.wait(PATIENCE)
    assert blocked.seen.qsize() == 1


def test_a_stop_ends_an_idle_thread_at_once(make: Make, callback: Callback) -> None:
    rig = make(callback)
    rig.worker.stop()
    rig.worker.stop()
    assert rig.worker.join(PATIENCE)
    assert not rig.worker.thread.is_alive()


def test_what_never_started_has_ended_with_its_stop(make: Make, callback: Callback) -> None:
    rig = make(callback, start=False)
    rig.put()
    assert not rig.worker.join(PATIENCE)
    rig.worker.stop()
    assert rig.worker.join(PATIENCE)
    rig.worker.start()
    assert not rig.worker.thread.is_alive()
    assert callback.seen.empty()


def test_without_another_thread_a_start_can_be_repeated(
    make: Make, callback: Callback, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    rig = make(callback, start=False)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            rig.worker.start()
    rig.put()
    rig.worker.start()
    assert callback.next().data == 1


def test_a_callback_may_stop_and_join_its_own_worker(
    make: Make, callback: Callback, eventually: Callable[..., bool]
) -> None:
    rig = make(callback, maxsize=1)
    filled = threading.Event()

    def close(_: Message) -> None:
        assert filled.wait(PATIENCE)
        rig.worker.stop()
        rig.worker.join(NEVER)

    callback.then = close
    rig.put()
    callback.wait_until_entered()
    rig.put()
    putter = stuck(rig, eventually)
    filled.set()
    assert done(putter)
    assert rig.worker.join(PATIENCE)
    assert callback.seen.qsize() == 1


def test_a_callback_may_wait_for_the_thread_that_puts(
    make: Make, callback: Callback, eventually: Callable[..., bool]
) -> None:
    """As ``close()`` does: it stops the worker, then waits for the run thread."""
    rig = make(callback, maxsize=1)
    filled, freed = threading.Event(), threading.Event()

    def close(_: Message) -> None:
        assert filled.wait(PATIENCE)
        rig.worker.stop()
        if all(map(done, rig.putters)):
            freed.set()

    callback.then = close
    rig.put()
    callback.wait_until_entered()
    rig.put()
    stuck(rig, eventually)
    filled.set()
    assert freed.wait(PATIENCE)


def test_no_callback_starts_after_a_stop_whenever_it_comes(make: Make) -> None:
    """Stopped while it works through a queue, it is over once nothing runs."""
    for _ in range(50):
        starts: list[float] = []
        rig = make(lambda _, starts=starts: starts.append(time.monotonic()))
        rig.put(20)
        rig.worker.stop()
        while rig.worker.running is not None:
            pass
        count = len(starts)
        assert rig.worker.join(PATIENCE)
        assert len(starts) == count


# Removed handlers


def test_a_removed_handler_is_not_called_and_the_others_are(
    make: Make, blocked: Callback, eventually: Callable[..., bool]
) -> None:
    rig = make(blocked, TRADES, "tickers.BTCUSDT", maxsize=2)
    rig.put()
    blocked.wait_until_entered()
    rig.put(1, rig.handlers[0])
    rig.put(1, rig.handlers[1])
    putters = [rig.put_elsewhere(1, handler) for handler in rig.handlers]
    assert eventually(lambda: len(rig.worker._room._waiters) == 2)
    rig.handlers[0].active = False
    rig.worker.released()
    assert all(map(done, putters))
    blocked.go.set()
    topics = [blocked.next().topic for _ in range(3)]
    assert topics == [TRADES, "tickers.BTCUSDT", "tickers.BTCUSDT"]
    assert not rig.worker.stopped


def test_a_handler_removed_without_a_word_is_not_called(make: Make, blocked: Callback) -> None:
    rig = make(blocked, TRADES, "tickers.BTCUSDT")
    rig.put()
    blocked.wait_until_entered()
    rig.put(1, rig.handlers[0])
    rig.put(1, rig.handlers[1])
    rig.handlers[0].active = False
    blocked.go.set()
    assert [blocked.next().data, blocked.next().data] == [1, 3]


def test_the_last_removal_ends_the_thread_also_from_inside(make: Make, callback: Callback) -> None:
    rig = make(callback)

    def unsubscribe(_: Message) -> None:
        rig.handlers[0].active = False
        rig.worker.released()

    callback.then = unsubscribe
    rig.put(5)
    assert rig.ended.wait(PATIENCE)
    assert rig.worker.join(PATIENCE)
    assert callback.seen.qsize() == 1


def test_handlers_removed_before_they_are_served_end_it(make: Make, callback: Callback) -> None:
    rig = make(callback)
    rig.handlers[0].active = False
    rig.worker.serve(lambda: any(each.active for each in rig.handlers))
    assert rig.ended.wait(PATIENCE)
