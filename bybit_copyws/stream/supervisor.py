"""The run thread of a connection: it connects, reads, runs callbacks, and connects again.

Thin: the stream knows what to do, this only does it in turn.
"""

from __future__ import annotations

import threading
from typing import Protocol

from bybit_copyws.stream.heartbeat import AFTER_A_BUG


class Supervised(Protocol):
    """What the supervisor needs of a stream."""

    def next_attempt(self) -> float | None:
        """Return seconds until the next attempt (0: now), or ``None`` for the end."""

    def run_link(self) -> None:
        """Connect and read until the link has ended."""

    def recover(self, bug: Exception) -> None:
        """Note that one of the above has failed in an unforeseen way."""


class Supervisor:
    """Owns the thread ``bybit-copyws:<scope>:run``.

    Args:
        name: of the thread.
        stream: what it runs.
    """

    def __init__(self, name: str, stream: Supervised) -> None:
        self._stream = stream
        self._wake = threading.Event()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self.thread.start()

    def wake(self) -> None:
        """End a wait: something has changed."""
        self._wake.set()

    def step(self) -> bool:
        """Run one link, or wait for the time of the next; return whether to go on."""
        wait = self._stream.next_attempt()
        if wait is None:
            return False
        if wait > 0:
            self._wake.wait(wait)
            self._wake.clear()
        else:
            self._stream.run_link()
        return True

    def _run(self) -> None:
        going_on = True
        while going_on:
            try:
                going_on = self.step()
            except Exception as bug:  # noqa: BLE001 (whatever it is, the stream must come back)
                self._stream.recover(bug)
                self._wake.wait(AFTER_A_BUG)
