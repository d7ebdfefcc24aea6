"""Taking turns at one queue: one at a time, in order, and nothing is left lying."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet  # its own class in Python 3.10

import pytest

from bybit_copyws.stream.turns import MOST_READY, Turns

Eventually = Callable[..., bool]
PATIENCE = 5.0
SHORT = 0.2


class Rig:
    """A queue whose deliveries can be held up.

    Attributes:
        turns: what is tested.
        queue: what waits.
        delivered: what was delivered, and by which thread.
        doors: what holds up the delivery of an item, until it is set.
        inside: set when a delivery is held up.
        stopped: whether nothing is to be delivered any more.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.queue: deque[int] = deque()
        self.delivered: list[tuple[int, int]] = []
        self.doors: dict[int, threading.Event] = {}
        self.inside = threading.Event()
        self.stopped = False
        self.deliver: Callable[[int], None] = self.note
        self.turns: Turns[int] = Turns(
            self.lock,
            self.take,
            self.waiting,
            self.pass_on,
            lambda: self.stopped,
        )

    def take(self) -> int | None:
        assert self.lock.locked()
        return self.queue.popleft() if self.queue else None

    def waiting(self) -> int:
        assert self.lock.locked()
        return len(self.queue)

    def pass_on(self, item: int) -> None:
        """Deliver an item as the test wants it."""
        self.deliver(item)

    def note(self, item: int) -> None:
        if item in self.doors:
            self.inside.set()
            assert self.doors[item].wait(PATIENCE)
        self.delivered.append((item, threading.get_ident()))

    def bring(self, *items: int) -> None:
        """Bring items, and deliver what is ready."""
        with self.lock:
            self.queue.extend(items)
        self.turns.drain()

    def hold(self, item: int) -> threading.Event:
        """Hold up the delivery of an item; return what lets it go on."""
        door = self.doors[item] = threading.Event()
        return door

    @property
    def items(self) -> list[int]:
        return [item for item, _ in self.delivered]


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A rig of which no delivery stays held up."""
    rig = Rig()
    yield rig
    for door in rig.doors.values():
        door.set()


@pytest.fixture
def pool(rig: Rig) -> Iterator[ThreadPoolExecutor]:
    """Threads that deliver."""
    with ThreadPoolExecutor(8) as pool:
        yield pool
        rig.stopped = True
        for door in rig.doors.values():
            door.set()


def busy(rig: Rig, pool: ThreadPoolExecutor, item: int = 0) -> Future[None]:
    """Let a thread deliver an item that is held up."""
    rig.hold(item)
    future = pool.submit(rig.bring, item)
    assert rig.inside.wait(PATIENCE)
    return future


def test_one_thread_delivers_all_there_is_in_order(rig: Rig) -> None:
    rig.turns.drain()
    assert rig.items == []
    rig.bring(1, 2, 3)
    rig.bring(4)
    assert rig.delivered == [(item, threading.get_ident()) for item in (1, 2, 3, 4)]


def test_who_finds_another_one_delivering_leaves_it_to_that(
    rig: Rig, pool: ThreadPoolExecutor
) -> None:
    first = busy(rig, pool)
    rig.bring(1, 2)  # comes back at once
    assert rig.items == []
    rig.doors[0].set()
    first.result(PATIENCE)
    assert rig.items == [0, 1, 2]
    assert threading.get_ident() not in {thread for _, thread in rig.delivered}


def test_a_delivery_may_bring_more_itself(rig: Rig) -> None:
    """It is delivered after it, not inside it."""
    inside: list[int] = []

    def deliver(item: int) -> None:
        assert not inside
        inside.append(item)
        if item < 5:
            rig.bring(item + 1)
        inside.pop()
        rig.note(item)

    rig.deliver = deliver
    rig.bring(1)
    assert rig.items == [1, 2, 3, 4, 5]


def test_never_two_at_a_time_and_always_in_order(rig: Rig, pool: ThreadPoolExecutor) -> None:
    numbers = iter(range(10_000))
    inside: list[int] = []

    def deliver(item: int) -> None:
        inside.append(item)
        assert len(inside) == 1
        rig.note(item)
        inside.pop()

    def bring(count: int) -> None:
        for _ in range(count):
            with rig.lock:
                rig.queue.append(next(numbers))
            rig.turns.drain()

    rig.deliver = deliver
    for future in [pool.submit(bring, 250) for _ in range(8)]:
        future.result(PATIENCE)
    assert rig.items == list(range(2_000))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_delivery_that_raises_lets_go(
    rig: Rig, pool: ThreadPoolExecutor, error: type[BaseException]
) -> None:
    def fail(_: int) -> None:
        raise error

    rig.deliver = fail
    with pytest.raises(error):
        rig.bring(1, 2)
    rig.deliver = rig.note
    pool.submit(rig.bring, 3).result(PATIENCE)  # another thread may deliver again
    assert rig.items == [2, 3]


def test_with_little_waiting_nobody_waits(rig: Rig, pool: ThreadPoolExecutor) -> None:
    first = busy(rig, pool)
    rig.bring(*range(1, MOST_READY))
    assert rig.items == []
    rig.doors[0].set()
    first.result(PATIENCE)
    assert rig.items == list(range(MOST_READY))


def test_with_too_much_waiting_who_brings_more_waits_until_there_is_room(
    rig: Rig, pool: ThreadPoolExecutor
) -> None:
    first = busy(rig, pool)
    second = rig.hold(2)
    waits = pool.submit(rig.bring, *range(1, MOST_READY + 2))
    with pytest.raises(NotYet):
        waits.result(SHORT)
    rig.doors[0].set()  # 1 is delivered, 2 is taken: one less than too much waits
    waits.result(PATIENCE)
    assert rig.items == [0, 1]
    assert not first.done()
    second.set()
    first.result(PATIENCE)
    assert rig.items == list(range(MOST_READY + 2))


def test_who_delivers_never_waits_for_itself(rig: Rig) -> None:
    def deliver(item: int) -> None:
        if item == 0:
            rig.bring(*range(1, 2 * MOST_READY))
        rig.note(item)

    rig.deliver = deliver
    rig.bring(0)
    assert rig.items == list(range(2 * MOST_READY))


def test_the_end_lets_who_waits_go(rig: Rig, pool: ThreadPoolExecutor) -> None:
    busy(rig, pool)
    waits = pool.submit(rig.bring, *range(1, MOST_READY + 2))
    with pytest.raises(NotYet):
        waits.result(SHORT)
    with rig.lock:
        rig.stopped = True
        rig.turns.wake()
    waits.result(PATIENCE)
    assert rig.items == []  # the other one still has its turn


def test_a_queue_that_was_emptied_lets_who_waits_go(rig: Rig, pool: ThreadPoolExecutor) -> None:
    busy(rig, pool)
    waits = pool.submit(rig.bring, *range(1, MOST_READY + 2))
    with pytest.raises(NotYet):
        waits.result(SHORT)
    with rig.lock:
        rig.queue.clear()
        rig.turns.wake()
    waits.result(PATIENCE)


def test_who_waited_takes_over_when_the_other_one_has_failed(
    rig: Rig, pool: ThreadPoolExecutor, eventually: Eventually
) -> None:
    door = threading.Event()

    def fail(item: int) -> None:
        if item == 0:
            rig.inside.set()
            assert door.wait(PATIENCE)
            raise RuntimeError
        rig.note(item)

    rig.deliver = fail
    first = pool.submit(rig.bring, 0)
    assert rig.inside.wait(PATIENCE)
    waits = pool.submit(rig.bring, *range(1, MOST_READY + 2))
    with pytest.raises(NotYet):
        waits.result(SHORT)
    door.set()
    with pytest.raises(RuntimeError):
        first.result(PATIENCE)
    waits.result(PATIENCE)
    assert rig.items == list(range(1, MOST_READY + 2))
