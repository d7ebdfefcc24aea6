"""Hands lifecycle events to listeners, in one thread of the client.

Events are few; a listener that blocks holds up other events but no market data.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable

from bybit_copyws.events import CallbackFailed, Event, EventCallback
from bybit_copyws.stream.log import GuardedLogger
from bybit_copyws.stream.reports import callback_name

_log = GuardedLogger(__name__)

MAX_QUEUED = 10_000


class Listener:
    """A callback registered for lifecycle events.

    Args:
        callback: called with one event.
        kinds: the classes of events it wants; all if empty.
        remove: takes it out.
    """

    def __init__(
        self,
        callback: EventCallback,
        kinds: tuple[type[Event], ...],
        remove: Callable[[Listener], None],
    ) -> None:
        self.callback = callback
        self.kinds = kinds
        self._remove = remove

    def remove(self) -> None:
        """Stop listening. Safe from any thread, also twice."""
        self._remove(self)


class Notifier:
    """The event thread ``bybit-copyws:events`` and its listeners.

    Args:
        interrupted: called with a ``KeyboardInterrupt`` or ``SystemExit`` of a listener.
    """

    def __init__(self, interrupted: Callable[[BaseException], None]) -> None:
        self._interrupted = interrupted
        self._queue: queue.Queue[Event | None] = queue.Queue(MAX_QUEUED)
        self._listeners: tuple[Listener, ...] = ()
        # Guards the swap of _listeners and the start of the thread; held for a few steps only.
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._muted = False
        self._finished = False
        self.dropped = 0

    def listen(self, callback: EventCallback, kinds: tuple[type[Event], ...]) -> Listener:
        """Register a listener."""
        listener = Listener(callback, kinds, self._remove)
        with self._lock:
            self._listeners = (*self._listeners, listener)
        return listener

    def _remove(self, listener: Listener) -> None:
        with self._lock:
            self._listeners = tuple(each for each in self._listeners if each is not listener)

    def post(self, events: Iterable[Event]) -> None:
        """Queue events; never blocks. If listeners are 10,000 behind, new ones are dropped."""
        for event in events:
            try:
                self._queue.put_nowait(event)
            except queue.Full:
                self.dropped += 1
                if self.dropped == 1:
                    _log.warning("! a listener blocks: events are dropped from here on")

    def start(self) -> None:
        """Start the thread, once; not after :meth:`finish`."""
        with self._lock:
            if self._thread is None and not self._finished:
                self._thread = threading.Thread(
                    target=self._run, name="bybit-copyws:events", daemon=True
                )
                self._thread.start()

    def finish(self, timeout: float = 0.0) -> None:
        """Let the thread end after what is queued; to be called when no event can follow.

        Args:
            timeout: seconds to wait if the queue is full.
        """
        with self._lock:
            first, self._finished = not self._finished, True
        if first:
            try:
                self._queue.put(None, timeout > 0, timeout)
            except queue.Full:
                self._muted = True  # a listener blocks: nothing more is handed out when it returns

    def close(self, timeout: float) -> None:
        """Hand out what is queued, then end the thread; after ``timeout`` seconds, fall silent.

        Called by a listener it does not wait, and more may follow until :meth:`finish`.
        """
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        deadline = time.monotonic() + timeout
        self.finish(timeout)
        thread.join(max(0.0, deadline - time.monotonic()))
        self._muted = self._muted or thread.is_alive()

    def _run(self) -> None:
        while True:
            event = self._queue.get()
            if event is None or self._muted:
                return
            self.hand_out(event)

    def hand_out(self, event: Event) -> None:
        """Call the listeners of one event; each is guarded."""
        for listener in self._listeners:
            if self._muted or (listener.kinds and not isinstance(event, listener.kinds)):
                continue
            try:
                listener.callback(event)
            except (KeyboardInterrupt, SystemExit) as error:
                self._interrupted(error)
            except BaseException as error:  # noqa: BLE001 (user code: reported, the others are called)
                _log.error("! listener %s failed", callback_name(listener.callback), exc_info=error)
                if not isinstance(event, CallbackFailed):  # else a bad listener feeds itself
                    self.post([_failed(listener, error, event)])


def _failed(listener: Listener, error: BaseException, event: Event) -> CallbackFailed:
    return CallbackFailed(
        time=event.time,
        connection=event.connection,
        callback=listener.callback,
        error=error,
        message=event,
    )
