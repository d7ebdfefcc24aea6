"""A thread that runs one callback behind a bounded queue, so that it holds up nobody else.

The queue itself is pure (``policy/backlog.py``); here are the thread, the waiting and the calls.
Must not know connections: it is told what to deliver and tells its owner what came of it.

Whoever stops it may be anybody, also the callback that it runs: nothing here waits for the
callback but :meth:`WorkerThread.join`.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from bybit_copyws.health import QueueHealth
from bybit_copyws.messages import Gap, Message
from bybit_copyws.policy.backlog import Backlog
from bybit_copyws.policy.channel import Handler
from bybit_copyws.policy.losses import Change, Opened
from bybit_copyws.stream.log import THREADS, GuardedLogger
from bybit_copyws.stream.stepped import SteppedThread

_log = GuardedLogger(__name__)
_now = time.monotonic

_IDLE_LOOK = 60.0  # seconds between two looks at an empty queue; a message wakes the thread
_ROOM_LOOK = 0.5  # the same at a full one, for a stop or a removal that nobody told of
_numbers = itertools.count(1)


class Owner(Protocol):
    """Who is told what came of messages; nothing here may block for long."""

    def callback_failed(self, handler: Handler, error: BaseException, message: Message) -> None:
        """Take the failure of a callback; called in the worker's thread."""

    def interrupted(self, error: BaseException) -> None:
        """Take a ``KeyboardInterrupt`` or ``SystemExit`` raised by a callback; same thread."""

    def fell_behind(self, handler: Handler, since: float, reason: str) -> None:
        """Take the beginning of a spell of losses; called in the run or in the worker's thread.

        None follows for the same handler until it has caught up.
        """

    def caught_up(self, handler: Handler, gap: Gap) -> None:
        """Take its end. It never comes if the callback is removed or the worker stopped before."""


class WorkerThread(SteppedThread):
    """Owns the thread ``bybit-copyws:worker-<n>`` and the queue before it.

    Args:
        backlog: the queue, empty; nobody else may use it.
        owner: is told what came of messages.
        when_ended: called once in the thread when it will call nothing any more.

    Attributes:
        stopped: once set, no further callback starts.
        ended: whether the last callback has returned, for good.
        running: the handler that is running and since when (monotonic), or ``None``.
    """

    def __init__(
        self,
        backlog: Backlog,
        owner: Owner,
        when_ended: Callable[[], None],
    ) -> None:
        super().__init__(f"{THREADS}worker-{next(_numbers)}")
        self.stopped = False
        self.ended = False
        self.running: tuple[Handler, float] | None = None
        self._backlog = backlog
        self._owner = owner
        self._when_ended = when_ended
        self._wanted: Callable[[], bool] | None = None
        self._started = False
        # Guards _backlog, _untold (adding to it) and _started. Never held while user code runs or
        # the owner is told. Taken after the locks of a stream or none; no other is taken inside.
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._untold: deque[Change] = deque()
        # Held by the thread that tells the owner, so that they hear it in order. Never waited
        # for: who finds it taken leaves his news to the one who has it.
        self._telling = threading.Lock()

    # From any thread

    def serve(self, wanted: Callable[[], bool]) -> None:
        """Note how to ask whether a message may still come: once none may, it stops."""
        self._wanted = wanted
        self.released()

    def start(self) -> None:
        """Start the thread; does nothing the second time, or after :meth:`stop`.

        Raises:
            RuntimeError: the system gives no more threads.
        """
        with self._lock:
            if self._started or self.stopped:
                return
            super().start()
            self._started = True

    def mute(self) -> None:
        """Let no further callback start. Takes no lock; :meth:`stop` must follow."""
        self.stopped = True

    def stop(self) -> None:
        """Let no further callback start, end the thread and any :meth:`put`. Does not wait.

        What is queued is not delivered. Works in the callback, too, and twice.
        """
        self.stopped = True
        with self._lock:
            self._backlog.clear()
            self._room.notify_all()
            self.ended = self.ended or not self._started
        self.wake()

    def released(self) -> None:
        """Drop what waits for handlers that were removed; stop if nothing more may come."""
        with self._lock:
            self._backlog.forget_removed()
            self._room.notify_all()
        if self._wanted is not None and not self._wanted():
            self.stop()

    def join(self, timeout: float) -> bool:
        """Wait until the thread has ended; called in the callback, it does not wait.

        Args:
            timeout: seconds.

        Returns:
            Whether no callback runs or will.
        """
        if self._started and threading.current_thread() is not self.thread:
            self.thread.join(max(0.0, timeout))
        return self.ended

    def figures(self) -> QueueHealth:
        """Return how the queue is doing. Takes no lock."""
        return self._backlog.figures()

    # In the run thread

    def put(self, handler: Handler, message: Message) -> None:
        """Queue a message for a handler; waits for room if the overflow is to block.

        It comes back at once if the worker was stopped or the handler removed, also meanwhile.
        """
        with self._lock:
            while not self.stopped and handler.active:
                if self._backlog.put(handler, message):
                    break
                self._room.wait(_ROOM_LOOK)
            else:
                return
            self._untold.extend(self._backlog.take_changes())
        # The thread clears the event before it looks at the queue: set, it will find the message.
        if not self._wake.is_set():
            self._wake.set()
        if self._untold:
            self._tell()

    # In the thread

    def step(self) -> bool:
        """Deliver one message, or wait for one; return whether to go on."""
        if self.stopped:
            self.ended = True
            self._when_ended()
            return False
        with self._lock:
            taken = self._backlog.take()
            if taken is not None:
                self._room.notify_all()
                self._untold.extend(self._backlog.take_changes())
        if taken is None:
            self._wait(_IDLE_LOOK)
        else:
            if self._untold:
                self._tell()
            self._deliver(*taken)
        return True

    def recover(self, bug: Exception) -> None:
        """Go on: the message is lost, the queue is not."""
        _log.error("! a worker failed in an unforeseen way: report this", exc_info=bug)

    def _deliver(self, handler: Handler, message: Message) -> None:
        """Call the callback, guarded, as the dispatcher does."""
        started = _now()
        # First say what runs, then look whether it may: whoever has set `stopped` and then finds
        # nothing running knows that nothing will.
        self.running = (handler, started)
        try:
            if self.stopped or not handler.active:
                return
            try:
                handler.callback(message)
            except (KeyboardInterrupt, SystemExit) as error:
                self._owner.interrupted(error)
            except BaseException as error:  # noqa: BLE001 (user code: reported, the stream goes on)
                handler.failures += 1
                self._owner.callback_failed(handler, error, message)
            handler.calls += 1
            handler.seconds += _now() - started
        finally:
            self.running = None

    def _tell(self) -> None:
        """Tell the owner of losses, in the order in which they happened."""
        # Asked again after the release: another may have come meanwhile and found it taken.
        while self._untold and self._telling.acquire(blocking=False):
            try:
                while self._untold:
                    self._tell_one(self._untold.popleft())
            finally:
                self._telling.release()

    def _tell_one(self, change: Change) -> None:
        owner = self._owner
        if isinstance(change, Opened):
            owner.fell_behind(change.handler, change.since, change.reason)
        else:
            owner.caught_up(change.handler, change.gap)
