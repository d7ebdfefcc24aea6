"""What ``CopyTradingClient.health`` returns: plain figures; ``as_dict()`` is ready for JSON."""

from __future__ import annotations

from typing import Any

import msgspec


class QueueHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The queue before a callback that has a worker; shared by all topics of its subscription.

    Attributes:
        queued: messages that wait.
        queued_bytes: bytes of them, as received.
        dropped: messages that were dropped because the queue was full.
        skipped: messages that ``"latest"`` left out for a newer one.
        most_queued: messages that ever waited at the same time.
        most_bytes: bytes that ever waited at the same time.
        oldest_ns: wall clock of arrival of the one that waits longest, nanoseconds, or ``None``.
        losing: whether messages are being dropped at present: a gap is open for the callback.
    """

    queued: int
    queued_bytes: int
    dropped: int
    skipped: int
    most_queued: int
    most_bytes: int
    oldest_ns: int | None
    losing: bool


class TopicHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One callback on one topic.

    Attributes:
        topic: as the user named it.
        state: ``pending``, ``confirmed``, ``rejected`` or ``closed``.
        callback: name of the function.
        calls: how often it was called.
        failures: how often it raised.
        seconds: time spent in it altogether.
        age: seconds since the last message of the topic, or ``None``.
        gap: why messages of the topic may be missing at present, or ``None``; what a worker leaves
            out is in ``queue``.
        queue: what waits for the callback, if it has a worker; that of all its topics together.
    """

    topic: str
    state: str
    callback: str
    calls: int
    failures: int
    seconds: float
    age: float | None
    gap: str | None
    queue: QueueHealth | None


class ConnectionHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One connection.

    Attributes:
        state: where it is in its life.
        url: where it goes.
        reconnects: links opened after the first, those of rotations too.
        last_pong: wall clock of the last pong, seconds since the epoch, or ``None``.
        last_message_age: seconds since the last message of a topic, or ``None``.
        messages: messages of topics received.
        bad_messages: unreadable messages on the present link.
        gaps: how often a gap has opened, without those of workers.
        pong_delay: seconds that the last pong took, with all that lay unread before it: how far
            reading lags behind; ``None`` before the first.
        trouble: why there is no link, in words, or ``None``.
        retry_in: seconds until the next attempt, or ``None`` if none is planned.
        clock_skew: seconds by which the exchange's clock is ahead, or ``None`` if it is not known.
        covered_twice: with ``redundancy=2``, how many topics would go on without a gap whichever of
            the two links were lost now; else ``None``.
        topics: the callbacks and their topics.
    """

    state: str
    url: str
    reconnects: int
    last_pong: float | None
    pong_delay: float | None
    last_message_age: float | None
    messages: int
    bad_messages: int
    gaps: int
    trouble: str | None
    retry_in: float | None
    clock_skew: float | None
    covered_twice: int | None
    topics: list[TopicHealth]


class StateHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What the client keeps: a book, a ticker or the account.

    Attributes:
        status: ``syncing``, ``live`` or ``stale``.
        reason: why it is not live, in words, or empty.
        age: seconds since the exchange last confirmed it, or ``None`` if it never did.
    """

    status: str
    reason: str
    age: float | None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """A client.

    Attributes:
        connections: by name, ``public`` and ``private``; with ``redundancy=2`` also ``public-1``
            and ``public-2``, of which ``public`` says what reaches the callbacks.
        events_dropped: events that no listener took in time.
        kept: books and tickers by their topic, and ``account``, as far as they are kept.
    """

    connections: dict[str, ConnectionHealth]
    events_dropped: int
    kept: dict[str, StateHealth]

    def as_dict(self) -> dict[str, Any]:
        """Return plain dictionaries and lists, as ``json.dumps`` takes them."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain
