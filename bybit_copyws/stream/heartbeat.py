"""The heartbeat thread of a connection: pings, deadlines, and the end of a dead link.

Thin: it asks the stream what is due and waits. It never reads the socket and runs no user code,
so it works however long a callback blocks the reader.
"""

from __future__ import annotations

import logging
import threading
from typing import Protocol

_log = logging.getLogger(__name__)


class Beating(Protocol):
    """What the heartbeat needs of a stream."""

    def beat(self) -> float | None:
        """Do what is due; return seconds until the next beat, or ``None`` for the end."""


class Heartbeat:
    """Owns the thread ``bybit-copyws:<scope>:heartbeat``.

    Args:
        name: of the thread.
        stream: what it beats for.
    """

    def __init__(self, name: str, stream: Beating) -> None:
        self._stream = stream
        self._wake = threading.Event()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self.thread.start()

    def wake(self) -> None:
        """Let the next beat come now."""
        self._wake.set()

    def step(self) -> bool:
        """Beat once and wait; return whether to go on."""
        wait = self._stream.beat()
        if wait is None:
            return False
        self._wake.wait(wait)
        self._wake.clear()
        return True

    def _run(self) -> None:
        try:
            while self.step():
                pass
        except Exception:
            # A connection without heartbeat would hang unseen, so this must be loud.
            _log.exception("! the heartbeat failed: this is a bug, please report it")
            raise
