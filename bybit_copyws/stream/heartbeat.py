"""The heartbeat thread of a connection: pings, deadlines, and the end of a dead link.

Thin: it asks the stream what is due and waits. It never reads the socket and runs no user code,
so it works however long a callback blocks the reader.
"""

from __future__ import annotations

import threading
from typing import Protocol

from bybit_copyws.stream.log import GuardedLogger

_log = GuardedLogger(__name__)


AFTER_A_BUG = 1.0
"""Seconds to wait after something that should not happen, so that it is no storm."""


class Beating(Protocol):
    """What the heartbeat needs of a stream."""

    def beat(self) -> float | None:
        """Do what is due; return seconds until the next beat, or ``None`` for the end."""

    def end(self) -> None:
        """End the link at once."""


class Heartbeat:
    """Owns the thread ``bybit-copyws:<scope>:heartbeat``.

    Args:
        name: of the thread.
        stream: what it beats for.
    """

    def __init__(self, name: str, stream: Beating) -> None:
        self._stream = stream
        self._abandoned = False
        self._wake = threading.Event()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self.thread.start()

    def abandon(self) -> None:
        """Let the thread end: its connection could not be started."""
        self._abandoned = True
        self._wake.set()

    def wake(self) -> None:
        """Let the next beat come now."""
        self._wake.set()

    def step(self) -> bool:
        """Beat once and wait; return whether to go on."""
        wait = None if self._abandoned else self._stream.beat()
        if wait is None:
            return False
        self._wake.wait(wait)
        self._wake.clear()
        return True

    def _run(self) -> None:
        going_on = True
        while going_on:
            try:
                going_on = self.step()
            except Exception as bug:  # noqa: BLE001 (a link without heartbeat could hang unseen)
                _log.error("! the heartbeat failed: a bug, please report it", exc_info=bug)
                self._stream.end()
                self._wake.wait(AFTER_A_BUG)
