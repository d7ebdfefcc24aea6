"""The thread that keeps a client's list of contracts fresh.

Thin: it asks the list what is due and waits.
"""

from __future__ import annotations

from typing import Protocol

from bybit_copyws.stream.log import THREADS, GuardedLogger
from bybit_copyws.stream.stepped import SteppedThread

_log = GuardedLogger(__name__)


class Beating(Protocol):
    """What the thread needs of the list."""

    def beat(self) -> float | None:
        """Do what is due; return seconds until the next look, or ``None`` for the end."""


class Refresher(SteppedThread):
    """Owns the thread ``bybit-copyws:symbols``.

    Args:
        symbols: the list that it keeps fresh.
    """

    def __init__(self, symbols: Beating) -> None:
        super().__init__(f"{THREADS}symbols")
        self._symbols = symbols

    def step(self) -> bool:
        """Ask for the list if it is time, and wait; return whether to go on."""
        wait = self._symbols.beat()
        if wait is None:
            return False
        self._wait(wait)
        return True

    def recover(self, bug: Exception) -> None:
        """Say so; the next time may fare better, and the old list is in use."""
        _log.error("! the list of contracts: a bug, please report it", exc_info=bug)
