"""What ``CopyTradingClient.health`` returns: plain figures, ready for JSON."""

from __future__ import annotations

from typing import Any

import msgspec


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
        gap: why messages of the topic may be missing at present, or ``None``.
    """

    topic: str
    state: str
    callback: str
    calls: int
    failures: int
    seconds: float
    age: float | None
    gap: str | None


class ConnectionHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One connection.

    Attributes:
        state: where it is in its life.
        url: where it goes.
        reconnects: links opened after the first.
        last_pong: wall clock of the last pong, seconds since the epoch, or ``None``.
        last_message_age: seconds since the last message of a topic, or ``None``.
        messages: messages of topics received.
        bad_messages: unreadable messages on the present link.
        gaps: how often a gap has opened.
        trouble: why there is no link, in words, or ``None``.
        retry_in: seconds until the next attempt, or ``None`` if none is planned.
        clock_skew: seconds by which the exchange's clock is ahead, or ``None`` if it is not known.
        topics: the callbacks and their topics.
    """

    state: str
    url: str
    reconnects: int
    last_pong: float | None
    last_message_age: float | None
    messages: int
    bad_messages: int
    gaps: int
    trouble: str | None
    retry_in: float | None
    clock_skew: float | None
    topics: list[TopicHealth]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """A client.

    Attributes:
        connections: by name, ``public`` and ``private``.
        events_dropped: events that no listener took in time.
    """

    connections: dict[str, ConnectionHealth]
    events_dropped: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain dictionaries and lists, as ``json.dumps`` takes them."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain
