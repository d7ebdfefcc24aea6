"""The run thread of a connection: it connects, reads, runs callbacks, and connects again.

Thin: the stream knows what to do, this only does it in turn.
"""

from __future__ import annotations

from typing import Protocol

from bybit_copyws.stream.stepped import SteppedThread


class Supervised(Protocol):
    """What the supervisor needs of a stream."""

    def next_attempt(self) -> float | None:
        """Return seconds until the next attempt (0: now), or ``None`` for the end."""

    def run_link(self) -> None:
        """Connect and read until the link has ended."""

    def recover(self, bug: Exception) -> None:
        """Note that one of the above has failed in an unforeseen way."""


class Supervisor(SteppedThread):
    """Owns the thread ``bybit-copyws:<scope>:run``.

    Args:
        name: of the thread.
        stream: what it runs.
    """

    def __init__(self, name: str, stream: Supervised) -> None:
        super().__init__(name)
        self._stream = stream

    def step(self) -> bool:
        """Run one link, or wait for the time of the next; return whether to go on."""
        wait = self._stream.next_attempt()
        if wait is None:
            return False
        if wait > 0:
            self._wait(wait)
        else:
            self._stream.run_link()
        return True

    def recover(self, bug: Exception) -> None:
        """Let the stream note it; it connects again."""
        self._stream.recover(bug)
