"""Finds topics that stay silent although the exchange has confirmed them. Pure.

Only a topic that must speak can be found so: a level-1 order book is repeated after three seconds
without a change. For others the user may say how long a silence is too long.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from bybit_copyws.policy.channel import Channel
from bybit_copyws.wire.topics import Topic

DEFAULT_LIMITS: Mapping[str, float | None] = {"orderbook.1.*": 10.0}
"""Patterns of topics to the longest silence in seconds: two repeats may be late or lost."""


class Cure(enum.Enum):
    """What is done about a stale topic, in this order; then nothing, until it has spoken."""

    RESUBSCRIBE = "it is subscribed anew"
    RECONNECT = "a new connection is opened"


class Stale(NamedTuple):
    """A topic that has been silent for too long.

    Attributes:
        channel: the topic.
        age: seconds since its last message, or its confirmation if there was none.
        cure: what to do.
    """

    channel: Channel
    age: float
    cure: Cure


def longest_silence(topic: Topic, limits: Mapping[str, float | None]) -> float | None:
    """Return for how many seconds a topic may be silent; ``None`` for ever.

    Args:
        topic: the topic.
        limits: patterns of names to seconds; the first that fits counts.
    """
    for pattern, seconds in limits.items():
        if any(fnmatchcase(name, pattern) for name in (topic.wire, *topic.aliases)):
            return seconds
    return None


def find_stale(channels: Iterable[Channel], now: float) -> list[Stale]:
    """Return the topics that have become stale since the last look.

    To be called only while nothing lies unread: that is no silence.

    Args:
        channels: the confirmed topics.
        now: monotonic seconds.
    """
    found = []
    for channel in channels:
        limit, alive_at = channel.longest_silence, channel.alive_at
        if limit is None or alive_at is None:
            continue
        if now < alive_at + limit:
            if channel.last is not None and channel.last[0] == alive_at:
                channel.cures_tried = 0  # it has spoken
            continue
        cures = tuple(Cure)
        if channel.cures_tried < len(cures):
            cure = cures[channel.cures_tried]
            channel.cures_tried += 1
            spoke_at = alive_at if channel.last is None else channel.last[0]
            found.append(Stale(channel, now - spoke_at, cure))
    return found
