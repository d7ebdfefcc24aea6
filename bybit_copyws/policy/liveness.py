"""When to ping, and when a connection must be taken for dead.

Pure. A verdict is never passed while the reader is busy or has unread bytes waiting: the answer
may be among them, and the read that follows decides.
"""

from __future__ import annotations

from typing import NamedTuple

GRACE = 0.05
"""Seconds between a first suspicion and the verdict: the reader may just have taken the bytes."""


class LinkStatus(NamedTuple):
    """What the watchdog sees of a connection.

    Attributes:
        idle: the reader waits for bytes and none lie unread.
        frame_since: monotonic time at which the unfinished frame began, or ``None``.
        blocked_since: monotonic time since which something to send cannot leave, or ``None``.
    """

    idle: bool = True
    frame_since: float | None = None
    blocked_since: float | None = None


class Pings:
    """The rhythm of application pings and the wait for their answers.

    Args:
        interval: seconds between two pings.
        timeout: seconds within which the first unanswered one must be answered.
    """

    def __init__(self, interval: float, timeout: float) -> None:
        self.interval = interval
        self.timeout = timeout
        self._next: float | None = None
        self._unanswered_since: float | None = None

    def start(self, now: float) -> None:
        """Begin with a fresh connection."""
        self._next = now + self.interval
        self._unanswered_since = None

    def stop(self) -> None:
        """End with the connection."""
        self._next = self._unanswered_since = None

    def take_due(self, now: float) -> bool:
        """Return whether a ping is due, and count it as sent if so."""
        if self._next is None or now < self._next:
            return False
        # Counted from now, not from the plan: after a suspend one ping is enough.
        self._next = now + self.interval
        if self._unanswered_since is None:
            self._unanswered_since = now
        return True

    def answered(self) -> None:
        """Take a pong for all pings sent so far."""
        self._unanswered_since = None

    def overdue(self, now: float) -> bool:
        """Return whether the answer is missing for too long."""
        since = self._unanswered_since
        return since is not None and now >= since + self.timeout

    def deadline(self) -> float | None:
        """Return when to look next, in monotonic seconds."""
        if self._next is None or self._unanswered_since is None:
            return self._next
        return min(self._next, self._unanswered_since + self.timeout)


class Suspicion:
    """Turns a suspicion into a verdict only if it still holds a moment later."""

    def __init__(self) -> None:
        self._since: float | None = None

    def confirmed(self, suspicious: bool, now: float) -> bool:
        """Return whether the suspicion has held for :data:`GRACE` without a break."""
        if not suspicious:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return now >= self._since + GRACE

    def deadline(self) -> float | None:
        """Return when to look again, in monotonic seconds; ``None`` without suspicion."""
        return None if self._since is None else self._since + GRACE
