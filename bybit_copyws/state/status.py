"""Whether live state can be trusted, and what a message did to it.

Shared by order book, ticker and account. It must not know what any of them holds.
"""

from __future__ import annotations

import enum
import math
import threading
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from bybit_copyws.events import Status


class Outcome(enum.Enum):
    """What became of one message."""

    APPLIED = "applied"
    REPEATED = "repeated"  # the exchange confirmed what is there already
    IGNORED = "ignored"  # a snapshot is on its way, and this was not it
    OUT_OF_SYNC = "out of sync"  # everything was dropped: ask for a snapshot, once


class Cause(enum.Enum):
    """Why state is out of sync."""

    JUMP = "jump"  # the update id is not the next one
    CROSSED = "crossed"  # the best bid is not below the best ask
    NO_SNAPSHOT = "no snapshot"  # a delta came first
    MALFORMED = "malformed"  # not a message of this topic as the exchange documents it


class Result(NamedTuple):
    """What one message did.

    Attributes:
        outcome: what became of it.
        cause: what is wrong, if anything is. An applied delta has one too if its update id
            jumped and jumps are only to be warned about.
        reason: the same in words.
    """

    outcome: Outcome
    cause: Cause | None = None
    reason: str = ""


StatusListener: TypeAlias = Callable[[Status, Status, str], None]
"""Called with the old status, the new one and the reason."""

APPLIED = Result(Outcome.APPLIED)
REPEATED = Result(Outcome.REPEATED)
IGNORED = Result(Outcome.IGNORED)

# What reading a message can raise, whatever JSON it holds.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError)
_MOST = 80  # characters of an error that a reason repeats


class Trusted:
    """Base of what is kept up to date: whether it can be trusted, and since when.

    Any thread reads. All times are the owner's monotonic clock.
    """

    __slots__ = ("_listener", "_lock", "_reason", "_seen", "_since", "_status")

    def __init__(self) -> None:
        # Guards everything an apply changes, so that no reader sees half a message. Held for one
        # message or one copy, never while user code runs; under it, only events are queued.
        # Reentrant: a signal handler may read in the middle of a read.
        self._lock = threading.RLock()
        self._status = Status.SYNCING
        self._reason = "no snapshot has come yet"
        self._since: float | None = None
        self._seen: float | None = None
        self._listener: StatusListener | None = None

    def tell_status(self, listener: StatusListener) -> None:
        """Have each change of the status told; called with the lock held, so it must not block."""
        self._listener = listener

    @property
    def status(self) -> Status:
        """Whether the content can be trusted."""
        return self._status

    @property
    def reason(self) -> str:
        """Why it is not live, in words; empty while it is."""
        return self._reason

    @property
    def since(self) -> float | None:
        """When the status was last set, on the clock of ``now``; ``None`` before anything was."""
        return self._since

    def age(self, now: float) -> float:
        """Return the seconds since the exchange last confirmed the content.

        Args:
            now: the same monotonic clock that the messages were applied with.

        Returns:
            Infinity if nothing was ever confirmed.
        """
        seen = self._seen
        return math.inf if seen is None else max(0.0, now - seen)

    def stale(self, reason: str, now: float) -> bool:
        """Say that the content may be old: the link is lost, or the topic is silent.

        It stays readable. Of several reasons the last one is told; it is stale since the first.

        Returns:
            Whether it was live until now.
        """
        with self._lock:
            was_live = self._status is Status.LIVE
            if was_live:
                self._set(Status.STALE, reason, now)
            elif self._status is Status.STALE:
                self._reason = reason
            return was_live

    def _set(self, status: Status, reason: str, now: float) -> None:
        old, self._status = self._status, status
        self._reason = reason
        self._since = now
        self._show()
        if old is not status and self._listener is not None:
            self._listener(old, status, reason)

    def _show(self) -> None:
        """Show the new status wherever else it can be read; the lock is held."""


class LiveState(Trusted):
    """Base of what a topic's snapshot and deltas keep up to date.

    One thread applies messages. After :meth:`stale`, a message that follows on without a gap, or
    a repetition, makes it live again; a link that was opened anew calls for :meth:`resync`.
    """

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        super().__init__()
        self._asked = False  # whether a snapshot is on its way, as far as the owner was told

    def resync(self, reason: str, now: float) -> None:
        """Say that a snapshot is being asked for: drop the content and wait for it.

        Until it comes, other messages are ignored.
        """
        with self._lock:
            self._asked = True
            self._clear()
            self._set(Status.SYNCING, reason, now)

    def _live(self, now: float) -> None:
        self._asked = False
        self._set(Status.LIVE, "", now)

    def _lost(self, cause: Cause, reason: str, now: float) -> Result:
        """Drop content that can no longer be trusted."""
        self.resync(reason, now)
        return Result(Outcome.OUT_OF_SYNC, cause, reason)

    def _malformed(self, message_type: object, error: Exception, now: float) -> Result:
        """Drop everything: what the message would have changed is unknown."""
        if self._asked and message_type != "snapshot":
            return IGNORED
        what = f"no key {error}" if isinstance(error, KeyError) else str(error)
        kind = message_type if message_type in ("snapshot", "delta") else "message"
        return self._lost(Cause.MALFORMED, f"malformed {kind}: {what[:_MOST]}", now)

    def _before_snapshot(self, now: float) -> Result:
        """Refuse a delta that has nothing to stand on, and ask for a snapshot once."""
        if self._asked:
            return IGNORED
        return self._lost(Cause.NO_SNAPSHOT, "a delta came before any snapshot", now)

    def _clear(self) -> None:
        raise NotImplementedError
