"""What is told about callbacks: that one failed, is slow, or does not keep up.

The same whichever thread runs them. Must not know connections, only what each callback is for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from bybit_copyws.events import CallbackFailed, CallbackSlow, Event, GapClosed, GapOpened
from bybit_copyws.messages import Gap, Message
from bybit_copyws.policy.channel import Handler
from bybit_copyws.policy.instant import Instant
from bybit_copyws.stream.clock import Clock
from bybit_copyws.stream.log import GuardedLogger

_log = GuardedLogger(__name__)
Running: TypeAlias = tuple[Handler, float]
"""A handler that is running, and since when (monotonic)."""

SLOW_CALLBACK = 1.0
"""A callback that runs for so many seconds is reported."""
_LOGGED_FAILURES = 10  # of each callback with a traceback; then every hundredth


class Reports:
    """Logs and tells of the callbacks of one client. From any thread; nothing here blocks.

    Args:
        notify: takes lifecycle events; never blocks.
        interrupted: takes ``KeyboardInterrupt`` and ``SystemExit`` of a callback.
    """

    def __init__(
        self,
        notify: Callable[[Sequence[Event]], None],
        interrupted: Callable[[BaseException], None],
    ) -> None:
        self._notify = notify
        self._on_interrupt = interrupted
        self._clock = Clock()

    def callback_failed(self, handler: Handler, error: BaseException, message: Message) -> None:
        """Report what a callback raised."""
        if handler.failures <= _LOGGED_FAILURES or not handler.failures % 100:
            name, count = callback_name(handler.callback), handler.failures
            _log.error(
                "! callback %s failed on %s (no. %d%s)",
                name,
                message.topic,
                count,
                "; from here on every hundredth is logged" if count == _LOGGED_FAILURES else "",
                exc_info=error,
            )
        self._tell(CallbackFailed, handler, error=error, message=message)

    def interrupted(self, error: BaseException) -> None:
        """Hand a ``KeyboardInterrupt`` or ``SystemExit`` of a callback on."""
        _log.error("! a callback raised %s: closing", type(error).__name__, exc_info=error)
        self._on_interrupt(error)

    def slow(self, handler: Handler, seconds: float) -> None:
        """Report that a callback has been running for long."""
        name = callback_name(handler.callback)
        _log.warning("! callback %s has been running for %.1f s", name, seconds)
        self._tell(CallbackSlow, handler, seconds=seconds)

    def fell_behind(self, handler: Handler, since: float, reason: str) -> None:
        """Report that a callback loses messages because it is too slow."""
        name = handler.topic.name
        _log.warning("! %s: messages are left out: %s", name, reason)
        self._tell(GapOpened, handler, topics=(name,), since=since, reason=reason)

    def caught_up(self, handler: Handler, gap: Gap) -> None:
        """Report that it gets all of them again."""
        self._tell(GapClosed, handler, gap=gap)

    def _tell(self, kind: type[Event], handler: Handler, **facts: Any) -> None:
        facts.update(connection=handler.topic.scope.value, callback=handler.callback)
        self._notify([kind(time=self._clock.now().wall, **facts)])


class SlowWatch:
    """Reports callbacks that run for long, each run once.

    Args:
        running: returns what runs at present.
        reports: is told.
    """

    def __init__(self, running: Callable[[], list[Running]], reports: Reports) -> None:
        self._running = running
        self._reports = reports
        self._told: list[Running] = []
        # Guards _told: two connections may look at the same time. Held for a few steps only.
        self._lock = threading.Lock()

    def look(self, now: Instant) -> None:
        """Report what has become slow; called from time to time."""
        running = self._running()
        with self._lock:
            self._told = [each for each in self._told if each in running]
            slow = [
                each
                for each in running
                if now.mono - each[1] >= SLOW_CALLBACK and each not in self._told
            ]
            self._told += slow
        for handler, since in slow:
            self._reports.slow(handler, now.mono - since)


def callback_name(callback: Callable[..., object]) -> str:
    """Return what a callback is called, for log lines."""
    return str(getattr(callback, "__qualname__", None) or type(callback).__name__)
