"""A thread that takes one step after the other until there is none, and survives a bug in one.

The pattern of both threads of a connection. It knows nothing of what a step does.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

from bybit_copyws.stream.log import GuardedLogger

_log = GuardedLogger(__name__)

AFTER_A_BUG = 1.0
"""Seconds to wait after something that should not happen, so that it is no storm."""


class SteppedThread(ABC):
    """Owns a daemon thread and the event that ends its waits.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._wake = threading.Event()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self.thread.start()

    def wake(self) -> None:
        """End a wait: something has changed."""
        self._wake.set()

    @abstractmethod
    def step(self) -> bool:
        """Do one thing, or wait for it; return whether to go on."""

    @abstractmethod
    def recover(self, bug: Exception) -> None:
        """Note that a step has failed in an unforeseen way."""

    def _wait(self, seconds: float) -> None:
        self._wake.wait(seconds)
        self._wake.clear()

    def _run(self) -> None:
        going_on = True
        while going_on:
            try:
                going_on = self.step()
            except Exception as bug:  # noqa: BLE001 (whatever it is, the stream must come back)
                self._recover(bug)
                self._wake.clear()  # else it may be set, and this no pause
                self._wake.wait(AFTER_A_BUG)

    def _recover(self, bug: Exception) -> None:
        try:
            self.recover(bug)
        except Exception as another:  # noqa: BLE001 (a thread that dies would say nothing more)
            _log.error("! recovering failed too: report this", exc_info=another)
