"""Lets several threads deliver what waits in one queue: one at a time, in order, without a lock.

Whoever comes first delivers all there is; the others leave what they brought to it and go on, until
too much waits. Must not know what is delivered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")

MOST_READY = 1_000
"""How much one thread leaves to another before it waits."""
_ROOM_LOOK = 0.05  # seconds between two looks while it waits


class Turns(Generic[_T]):
    """Takes turns at one queue.

    Args:
        lock: guards the queue; the caller may hold it at no call.
        take: takes the next, or returns ``None``; called with the lock held.
        waiting: returns how many there are; the same.
        deliver: delivers one; called without.
        stopped: returns whether nothing is to be delivered any more.
    """

    def __init__(
        self,
        lock: threading.Lock,
        take: Callable[[], _T | None],
        waiting: Callable[[], int],
        deliver: Callable[[_T], None],
        stopped: Callable[[], bool],
    ) -> None:
        self._room = threading.Condition(lock)
        self._take, self._waiting = take, waiting
        self._deliver, self._stopped = deliver, stopped
        self._who: int | None = None  # the thread that delivers

    def drain(self) -> None:
        """Deliver what is ready, or leave it to the other thread as long as it keeps up."""
        me = threading.get_ident()
        with self._room:
            while (
                self._who not in (None, me)
                and self._waiting() >= MOST_READY
                and not self._stopped()
            ):
                self._room.wait(_ROOM_LOOK)
            if self._who is not None:
                return
            self._who = me
        try:
            while (ready := self._next()) is not None:
                self._deliver(ready)
        except BaseException:
            self._who = None
            raise

    def wake(self) -> None:
        """End all waits for room. The caller holds the lock."""
        self._room.notify_all()

    def _next(self) -> _T | None:
        """Take the next; with nothing left, let go."""
        with self._room:
            ready = self._take()
            if ready is None:
                self._who = None
            if self._waiting() < MOST_READY:
                self._room.notify_all()
            return ready
