"""What may have been lost, of which topic, from when to when. Pure.

A gap opens when a topic may have missed something; it closes when the exchange is known to send
again: at the acknowledgement of the new subscription, or at the first message if that is sooner;
or when what was lost has been fetched from elsewhere. The next message of the topic carries it,
however late. A topic for which nothing was promised yet (never confirmed, no message seen) has no
gap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from bybit_copyws.events import GapClosed, GapOpened
from bybit_copyws.messages import Gap
from bybit_copyws.policy.channel import Channel
from bybit_copyws.policy.instant import Instant

_MAX_REASON = 300  # characters: a topic may stay silent through many troubles


class Gaps:
    """Opens and closes the gaps of one connection.

    Args:
        emit: takes events: their class, the time, and what else they hold.

    Attributes:
        opened: how many there were.
    """

    def __init__(self, emit: Callable[..., None]) -> None:
        self._emit: Callable[..., Any] = emit
        self.opened = 0

    def open(self, channels: Iterable[Channel], reason: str, since: float, now: Instant) -> None:
        """Note that topics may miss something from now on.

        Args:
            channels: the topics; those with an open gap stay in that one.
            reason: why, in words.
            since: monotonic time of the last sign that nothing was missing.
            now: the time.
        """
        fresh = [channel for channel in channels if channel.open_gap is None]
        if not fresh:
            return
        gap = Gap(
            topics=_names(fresh),
            reason=reason,
            since=now.wall - (now.mono - since),
            last_seen={
                name: seen
                for channel in fresh
                if (seen := channel.seen) is not None
                for name in channel.names
            },
        )
        self.opened += 1
        for channel in fresh:
            channel.open_gap = gap
            channel.troubled = True
            if channel.sequence is not None:
                channel.sequence.reset()
            for follower in channel.followers:
                follower.doubt(reason, now.mono)
        self._emit(GapOpened, now, topics=gap.topics, since=gap.since, reason=reason)

    def promise(self, channels: Iterable[Channel], now: Instant) -> None:
        """Note that the exchange has acknowledged topics: from here on it sends them."""
        channels = list(channels)
        for channel in channels:
            channel.confirmed_at = now.mono
        self.end([channel for channel in channels if not channel.proof_needed], now)

    def end(self, channels: Iterable[Channel], now: Instant, *, repaired: bool = False) -> None:
        """Close the gaps of topics; those without one are passed over.

        Args:
            channels: the topics.
            now: the time.
            repaired: whether all that was lost was fetched from elsewhere.
        """
        by_gap: dict[int, list[Channel]] = {}
        for channel in channels:
            if channel.open_gap is not None:
                by_gap.setdefault(id(channel.open_gap), []).append(channel)
        for together in by_gap.values():
            self._close(together, now, repaired=repaired)

    def _close(self, channels: Sequence[Channel], now: Instant, *, repaired: bool) -> None:
        """Close the one gap of some topics; it may stay open for others."""
        opened = channels[0].open_gap
        assert opened is not None  # noqa: S101 (_end() passes no others)
        names = _names(channels)
        gap = replace(
            opened,
            topics=names,
            until=now.wall,
            repaired=repaired,
            last_seen={name: seen for name, seen in opened.last_seen.items() if name in names},
        )
        for channel in channels:
            channel.open_gap = None
            channel.owed_gap = gap if channel.owed_gap is None else _joined(channel.owed_gap, gap)
        self._emit(GapClosed, now, gap=gap)

    def passing(self, channels: Iterable[Channel], reason: str, since: float, now: Instant) -> None:
        """Note that something of topics was lost and that it is over.

        A topic whose gap lasts is passed over: the loss lies in that one.
        """
        channels = [channel for channel in channels if channel.open_gap is None]
        self.open(channels, reason, since, now)
        self.end(channels, now)

    def take(self, channel: Channel, now: Instant) -> Gap | None:
        """Return what the next message of a topic must carry; it ends the gap if that lasts."""
        channel.proof_needed = False
        self.end([channel], now)
        return self.carry(channel)

    def carry(self, channel: Channel) -> Gap | None:
        """Return what the next message of a topic must carry: never a gap that lasts."""
        gap, channel.owed_gap = channel.owed_gap, None
        channel.troubled = channel.open_gap is not None
        return gap


def _names(channels: Iterable[Channel]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for channel in channels for name in channel.names))


def _joined(first: Gap, second: Gap) -> Gap:
    """Return one gap for two without a message between them."""
    reason = first.reason if second.reason in first.reason else f"{first.reason}; {second.reason}"
    return replace(
        second,
        reason=reason[:_MAX_REASON],
        since=first.since,
        last_seen={**second.last_seen, **first.last_seen},
        repaired=first.repaired and second.repaired,
    )
