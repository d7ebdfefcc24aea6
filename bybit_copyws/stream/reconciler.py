"""Asks REST what the stream has not told of an account.

What is asked, and what the answers mean, is pure and elsewhere (:mod:`bybit_copyws.state`); here is
the asking, in a thread of its own, and the patience with failures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from bybit_copyws.errors import BybitCopyWSError
from bybit_copyws.state.desk import AccountDesk
from bybit_copyws.stream.clock import Clock
from bybit_copyws.stream.due import DueThread
from bybit_copyws.stream.log import GuardedLogger

_log = GuardedLogger(__name__)

IDLE_LOOK = 60.0
"""Seconds between two looks while nothing is planned."""
_PAUSE = 0.25  # seconds between the beginnings of two reconciliations, at least
_AGAIN = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds after one that failed


class Asking(Protocol):
    """How REST is asked; blocks, and raises a :class:`BybitCopyWSError` if that fails."""

    def exchange_ms(self) -> int:
        """Return the exchange's time."""

    def call(self, name: str, **params: Any) -> Any:
        """Return the ``result`` of a call, as sent."""


class Reconciler:
    """Reconciles an account whenever that is wanted.

    Args:
        name: of its thread.
        desk: whose account.
        rest: how REST is asked.
        answered: called when everything is answered.
        changed: called after a failure, which somebody may wait for.

    Attributes:
        thread: asks; to be woken when something has changed.
    """

    def __init__(
        self,
        name: str,
        desk: AccountDesk,
        rest: Asking,
        answered: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self.thread = DueThread(name, self.look)
        self._desk = desk
        self._rest = rest
        self._answered = answered
        self._changed = changed
        self._clock = Clock()
        self._ended = False
        self._failures = 0  # in a row
        self._not_before = 0.0  # monotonic time of the next one

    def end(self) -> None:
        """Ask nothing more. Does not wait for an answer."""
        self._ended = True
        self.thread.wake()

    def look(self) -> float | None:
        """Ask if that is wanted; return seconds until the next look, ``None`` for the end."""
        if self._ended:
            return None
        now = self._clock.now().mono
        if not self._desk.state.wanted:
            return IDLE_LOOK
        if now < self._not_before:  # woken by what changes nothing about that
            return self._not_before - now
        self._not_before = now + _PAUSE
        try:
            self._ask()
        except BybitCopyWSError as error:
            return self._failed(error)
        except Exception:
            self._desk.state.fail("an error in this client: see the log")
            raise
        state = self._desk.state
        if state.ready or state.whole:  # it was not called off
            if self._failures:
                _log.info("= the account is reconciled again")
            self._failures = 0
            self._answered()
        return _PAUSE if self._desk.state.wanted else IDLE_LOOK  # it may have been called off

    def _ask(self) -> None:
        state = self._desk.state
        exchange_ms = self._rest.exchange_ms()
        if self._desk.begin(exchange_ms, self._clock.now()):
            while (question := state.question()) is not None:
                state.answer(question, self._rest.call(question.call, **question.params))

    def _failed(self, error: BybitCopyWSError) -> float | None:
        if self._ended:
            return None
        self._desk.state.fail(str(error))
        wait = _AGAIN[min(self._failures, len(_AGAIN) - 1)]
        self._failures += 1
        self._not_before = self._clock.now().mono + wait
        if self._failures == 1:
            _log.warning(
                "! the account could not be reconciled, next attempt in %.0f s: %s", wait, error
            )
        self._changed()
        return wait
