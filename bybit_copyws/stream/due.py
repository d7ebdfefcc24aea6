"""A thread that does what is due and waits for the next time.

Thin: what that is, its owner knows.
"""

from __future__ import annotations

from collections.abc import Callable

from bybit_copyws.stream.log import GuardedLogger
from bybit_copyws.stream.stepped import SteppedThread

_log = GuardedLogger(__name__)


class DueThread(SteppedThread):
    """A thread that does what is due, time and again.

    Args:
        name: of the thread.
        do: does what is due; returns seconds until the next time, or ``None`` for the end.
    """

    def __init__(self, name: str, do: Callable[[], float | None]) -> None:
        super().__init__(name)
        self._do = do

    def step(self) -> bool:
        """Do what is due, and wait for the next time; return whether to go on."""
        wait = self._do()
        if wait is None:
            return False
        self._wait(wait)
        return True

    def recover(self, bug: Exception) -> None:
        """Say so; the next time may fare better."""
        _log.error("! %s: a bug, please report it", self.thread.name, exc_info=bug)
