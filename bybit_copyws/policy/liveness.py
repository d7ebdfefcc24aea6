"""When to ping, and when a connection must be taken for dead.

Pure. A verdict is never passed while the answer may be among bytes that lie unread: the reader
must have been idle, or have taken as much as could lie there when the answer became overdue.
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
        received: bytes that the reader has taken so far.
        capacity: bytes that may lie unread at most.
        last_message: monotonic time of the last message of a topic on any link, or ``None``.
    """

    idle: bool = True
    frame_since: float | None = None
    blocked_since: float | None = None
    received: int = 0
    capacity: int = 0
    last_message: float | None = None


class Pings:
    """The rhythm of application pings and the wait for their answers.

    Args:
        interval: seconds between two pings.
        timeout: seconds within which the first unanswered one must be answered.

    Attributes:
        unanswered_since: monotonic time of the first ping without an answer, or ``None``.
        sent: how many were sent on the present link.
        last_sent: monotonic time of the last one.
    """

    def __init__(self, interval: float, timeout: float) -> None:
        self.interval = interval
        self.timeout = timeout
        self.sent = 0
        self.last_sent = 0.0
        self._next: float | None = None
        self.unanswered_since: float | None = None

    def start(self, now: float) -> None:
        """Begin with a fresh connection."""
        self.sent = 0
        self._next = now + self.interval
        self.unanswered_since = None

    def stop(self) -> None:
        """End with the connection."""
        self._next = self.unanswered_since = None

    def take_due(self, now: float) -> bool:
        """Return whether a ping is due, and count it as sent if so."""
        if self._next is None or now < self._next:
            return False
        # Counted from now, not from the plan: after a suspend one ping is enough.
        self._next = now + self.interval
        self.sent += 1
        self.last_sent = now
        if self.unanswered_since is None:
            self.unanswered_since = now
        return True

    def check(self, now: float) -> None:
        """Have a ping sent at once, and its answer waited for from now on."""
        self._next = now
        self.unanswered_since = None

    def answered(self) -> None:
        """Take a pong for all pings sent so far."""
        self.unanswered_since = None

    def overdue(self, now: float) -> bool:
        """Return whether the answer is missing for too long."""
        since = self.unanswered_since
        return since is not None and now >= since + self.timeout

    def deadline(self) -> float | None:
        """Return when to look next, in monotonic seconds."""
        if self._next is None or self.unanswered_since is None:
            return self._next
        return min(self._next, self.unanswered_since + self.timeout)


class Suspicion:
    """Turns a suspicion into a verdict once nothing unread can refute it."""

    def __init__(self) -> None:
        self._idle_since: float | None = None
        self._read_by: int | None = None

    def confirmed(self, suspicious: bool, link: LinkStatus, now: float) -> bool:
        """Return whether a suspicion is certain.

        It is if the reader was idle for :data:`GRACE` without a break, or has read all that could
        lie unread when the suspicion began.
        """
        if not suspicious:
            self._idle_since = self._read_by = None
            return False
        if self._read_by is None:
            self._read_by = link.received + max(link.capacity, 1)
        if not link.idle:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        waited = self._idle_since is not None and now >= self._idle_since + GRACE
        return waited or link.received >= self._read_by

    def deadline(self) -> float | None:
        """Return when to look again, in monotonic seconds; ``None`` without suspicion."""
        return None if self._idle_since is None else self._idle_since + GRACE
