"""What a queue has left out, topic by topic, and the gaps that say so.

Pure: all times are those of the messages. Must not know why or when a queue drops anything.

The next message of a topic that lost some carries the exact gap. Events are fewer: a callback that
is a little too slow loses a message here and there, thousands of times a second, and two events
for each would drown all others. So one opening stands for a whole spell of losses, and one closing
for its end, which the queue declares when it has caught up.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from msgspec.structs import replace

from bybit_copyws.messages import Gap, Message, Seen
from bybit_copyws.policy.channel import Handler

_MOST_REASONS = 5  # told apart in one gap: a callback may be stuck for days of reconnects


class Opened(NamedTuple):
    """A spell of losses has begun."""

    handler: Handler
    since: float
    reason: str


class Closed(NamedTuple):
    """A spell of losses is over; the gap covers all of it."""

    handler: Handler
    gap: Gap


Change: TypeAlias = Opened | Closed


class _Loss:
    """What one topic has lost."""

    __slots__ = ("reasons", "seen", "since", "topic", "until")

    def __init__(self, topic: str, since: float, seen: Seen | None) -> None:
        self.topic = topic
        self.since = since
        self.seen = seen
        self.until: float | None = None  # of a spell: when its latest gap ended
        self.reasons: dict[str, int] = {}  # in the order they came; messages left out for each

    def cover(self, gap: Gap) -> None:
        """Take over a gap that was to be told by a message that is dropped (or by the carrier)."""
        self.since = min(self.since, gap.since)
        seen = gap.last_seen.get(self.topic)
        if seen is not None and (self.seen is None or seen.received_ns < self.seen.received_ns):
            self.seen = seen
        self.add(gap.reason, 0)

    def add(self, reason: str, messages: int) -> None:
        if reason in self.reasons or len(self.reasons) < _MOST_REASONS:
            self.reasons[reason] = self.reasons.get(reason, 0) + messages

    def gap(self, until: float) -> Gap:
        return Gap(
            topics=(self.topic,),
            reason="; ".join(
                f"{reason} ({messages:,} left out)" if messages else reason
                for reason, messages in self.reasons.items()
            ),
            since=self.since,
            until=until,
            last_seen={} if self.seen is None else {self.topic: self.seen},
        )


class Losses:
    """The losses of all topics of one queue."""

    def __init__(self) -> None:
        self._last: dict[Handler, tuple[int | None, int]] = {}  # delivered last: ts, received_ns
        self._losses: dict[Handler, _Loss] = {}  # to be told by the next message
        self._spells: dict[Handler, _Loss] = {}  # opened, not closed
        self._changes: list[Change] = []

    def lost(self, handler: Handler, message: Message, reason: str, *, told: bool) -> None:
        """Note that a message will not be delivered.

        Args:
            handler: whom it was for.
            message: which one; a gap that it carries is handed on.
            reason: why.
            told: whether listeners shall hear of it.
        """
        loss = self._losses.get(handler)
        if loss is None:
            loss = self._losses[handler] = self._new_loss(handler, message)
        _note(loss, message, reason)
        if told:
            spell = self._spells.get(handler)
            if spell is None:
                spell = self._spells[handler] = _Loss(message.topic, loss.since, loss.seen)
                self._changes.append(Opened(handler, loss.since, reason))
            _note(spell, message, reason)

    def _new_loss(self, handler: Handler, message: Message) -> _Loss:
        last = self._last.get(handler)
        if last is None:
            return _Loss(message.topic, message.received_ns / 1e9, None)
        ts, received_ns = last
        return _Loss(message.topic, received_ns / 1e9, Seen(ts=ts, received_ns=received_ns))

    def delivered(self, handler: Handler, message: Message) -> Message:
        """Return a message as it is to be delivered: with a gap, if any were lost before it."""
        self._last[handler] = (message.ts, message.received_ns)
        loss = self._losses.pop(handler, None)
        if loss is None:
            return message
        until = message.received_ns / 1e9
        spell = self._spells.get(handler)
        if spell is not None:
            spell.until = until
        if message.gap is not None:
            for record in (loss, spell):
                if record is not None:
                    record.cover(message.gap)
        return replace(message, gap=loss.gap(until))

    def caught_up(self) -> None:
        """Close the spells of losses whose gaps have all been told."""
        for handler, spell in list(self._spells.items()):
            if handler not in self._losses and spell.until is not None:
                del self._spells[handler]
                self._changes.append(Closed(handler, spell.gap(spell.until)))

    def forget(self, handler: Handler) -> None:
        """Drop what is known of a handler that was removed; nothing is told of it any more."""
        for known in (self._last, self._losses, self._spells):
            known.pop(handler, None)
        self._changes = [change for change in self._changes if change.handler is not handler]

    @property
    def handlers(self) -> set[Handler]:
        """All of whom something is known."""
        return {*self._last, *self._losses, *self._spells}

    @property
    def changed(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self._changes)

    @property
    def open(self) -> bool:
        """Whether a spell of losses is going on."""
        return bool(self._spells)

    def take_changes(self) -> list[Change]:
        """Return what listeners shall hear, in order, once."""
        changes, self._changes = self._changes, []
        return changes


def _note(record: _Loss, message: Message, reason: str) -> None:
    if message.gap is not None:
        record.cover(message.gap)
    record.add(reason, 1)
