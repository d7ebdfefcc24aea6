"""The heartbeat thread of a connection: pings, deadlines, and the end of a dead link.

Thin: it asks the stream what is due and waits. It never reads the socket and runs no user code,
so it works however long a callback blocks the reader.
"""

from __future__ import annotations

from typing import Protocol

from bybit_copyws.stream.log import GuardedLogger
from bybit_copyws.stream.stepped import SteppedThread

_log = GuardedLogger(__name__)


class Beating(Protocol):
    """What the heartbeat needs of a stream."""

    def beat(self) -> float | None:
        """Do what is due; return seconds until the next beat, or ``None`` for the end."""

    def end(self) -> None:
        """End the link at once."""


class Heartbeat(SteppedThread):
    """Owns the thread ``bybit-copyws:<scope>:heartbeat``.

    Args:
        name: of the thread.
        stream: what it beats for.
    """

    def __init__(self, name: str, stream: Beating) -> None:
        super().__init__(name)
        self._stream = stream
        self._abandoned = False

    def abandon(self) -> None:
        """Let the thread end: its connection could not be started."""
        self._abandoned = True
        self.wake()

    def step(self) -> bool:
        """Beat once and wait; return whether to go on."""
        wait = None if self._abandoned else self._stream.beat()
        if wait is None:
            return False
        self._wait(wait)
        return True

    def recover(self, bug: Exception) -> None:
        """End the link: without heartbeat it could hang unseen."""
        _log.error("! the heartbeat failed: a bug, please report it", exc_info=bug)
        self._stream.end()
