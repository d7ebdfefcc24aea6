"""Several connections that carry the same topics, as one: what passes, and what may be missing.

Whichever connection, or *line*, brings an update first, it is passed on once and in order. A topic
has a gap only if no line carried it without a hole. Pure: it must not know what a line is, nor who
delivers; all that is to be delivered waits in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from bybit_copyws.events import (
    Event,
    GapClosed,
    GapOpened,
    State,
    StateChanged,
    SubscriptionConfirmed,
    SubscriptionRejected,
    UnsubscribeConfirmed,
    UnsubscribeRejected,
)
from bybit_copyws.messages import Gap, MessageCallback
from bybit_copyws.policy.arbiter import Passed, TopicArbiter
from bybit_copyws.policy.channel import Channel, Courier, Handler
from bybit_copyws.policy.gaps import Gaps
from bybit_copyws.policy.identity import Arrival, rule_of
from bybit_copyws.policy.instant import Instant
from bybit_copyws.policy.registry import Registry
from bybit_copyws.wire.operations import UNSUBSCRIBE
from bybit_copyws.wire.topics import Scope, Topic

MAX_HELD = 2_000
"""Messages, or trades, of one topic that wait for the other line, and that are known again."""
_GONE = (State.BACKOFF, State.CLOSED)


class Ready(NamedTuple):
    """A message that is to be delivered.

    Attributes:
        channel: whose.
        arrival: the message.
        hole: why something may be missing before it, or ``None``.
    """

    channel: Channel
    arrival: Arrival
    hole: str | None


class Merger:
    """The topics of a user, carried by several lines.

    What the lines say of themselves comes in as their events, each batch as a whole.

    Args:
        scope: what the events of all of them together are of.
        lines: how many there are; they are numbered from 0.
        max_args_chars: characters of topics that one connection may hold.

    Attributes:
        registry: the topics and callbacks of the user.
        gaps: what may be missing of them.
        ready: what is to be delivered, in order.
    """

    def __init__(self, scope: Scope, lines: int, max_args_chars: int) -> None:
        self.registry = Registry(max_args_chars)
        self.gaps = Gaps(self._emit)
        self.ready: deque[Ready] = deque()
        self._scope = scope
        self._holds: list[set[str]] = [set() for _ in range(lines)]  # confirmed, by line
        self._leaving: dict[str, set[int]] = {}  # lines that have not given a topic up yet
        self._arbiters: dict[str, TopicArbiter] = {}
        self._new: list[set[str]] = [set() for _ in range(lines)]  # to be vouched for
        self._queued = self._taken = 0  # messages for delivery so far
        self._doubted_at: dict[str, int] = {}  # topics, and what was queued at the last doubt
        self._events: list[Event] = []

    # What the user wants

    def add(
        self, topics: Sequence[Topic], callback: MessageCallback, courier: Courier | None
    ) -> list[Handler]:
        """Register a callback.

        Raises:
            ConfigurationError: as :meth:`Registry.add` does.
        """
        return self.registry.add(topics, callback, courier)

    def remove(self, handlers: Iterable[Handler]) -> list[str]:
        """Take callbacks out; return the topics that are not wanted any more."""
        handlers = list(handlers)
        self.registry.remove(handlers)
        unwanted = [
            wire
            for wire in dict.fromkeys(each.topic.wire for each in handlers)
            if wire not in self.registry.channels
        ]
        for wire in unwanted:
            self._arbiters.pop(wire, None)
            self._doubted_at.pop(wire, None)
            holding = {line for line, held in enumerate(self._holds) if wire in held}
            if holding:
                self._leaving[wire] = holding
                self.registry.asking(UNSUBSCRIBE, [wire])
            for held in (*self._holds, *self._new):
                held.discard(wire)
        return unwanted

    def close(self) -> None:
        """Forget everything: the client was closed."""
        self.registry.close()
        self.ready.clear()
        self._arbiters.clear()
        self._leaving.clear()
        for held in (*self._holds, *self._new):
            held.clear()

    # What comes on a line

    def arrived(self, line: int, wire: str, arrival: Arrival) -> None:
        """Take a message of a line; what may be delivered now is in :attr:`ready`."""
        channel = self.registry.channels.get(wire)
        if channel is not None:
            self._queue(channel, self._arbiter(channel).take(line, arrival))

    def heard(self, line: int, events: Sequence[Event], now: Instant) -> None:
        """Take what a line says of itself, and tell what it means for the topics."""
        # First what has ended: the other lines may carry more topics once they need not wait.
        for event in events:
            if isinstance(event, StateChanged) and event.new in _GONE:
                self._gone(line)
        for event in events:
            if isinstance(event, GapOpened):
                self._doubt(line, event, now)
            elif isinstance(event, SubscriptionConfirmed):
                self.confirmed(line, event.topics, now)
            elif isinstance(event, SubscriptionRejected):
                self._rejected(line, event, now)
            elif isinstance(event, (UnsubscribeConfirmed, UnsubscribeRejected)):
                self._given_up(line, event, now)
            elif not isinstance(event, GapClosed):
                self._events.append(event)

    def confirmed(self, line: int, wires: Iterable[str], now: Instant) -> None:
        """Note that a line carries topics from here on."""
        fresh = []
        for wire in wires:
            channel = self.registry.channels.get(wire)
            if channel is None:
                continue
            arbiter = self._arbiter(channel)
            arbiter.join(line)
            if self._held(wire):
                self._new[line].add(wire)
            else:
                fresh.append(wire)
                self._leaving.pop(wire, None)
                arbiter.vouch(line)  # whoever comes later may be quicker, but must not be first
            self._holds[line].add(wire)
        channels = [self.registry.channels[wire] for wire in fresh]
        names = self.registry.confirmed(fresh)
        self.gaps.promise(channels, now)
        if names:
            self._emit(SubscriptionConfirmed, now, topics=tuple(names))

    def forget(self, wire: str) -> None:
        """Begin anew with a topic: what comes next was asked for and is no repetition."""
        self._arbiters.pop(wire, None)

    def take_new(self) -> list[tuple[int, set[str]]]:
        """Return, once, which lines have begun to carry which topics beside another line."""
        new = [(line, wires) for line, wires in enumerate(self._new) if wires]
        self._new = [set() for _ in self._new]
        return new

    def vouch(self, line: int, wires: Iterable[str]) -> None:
        """Count a line as one that carries topics which were silent since it has joined.

        To be called when all that was sent before that must have come on the other lines.
        """
        for wire in wires:
            if wire in self._holds[line] and wire in self._arbiters:
                self._arbiters[wire].vouch(line)

    # What is delivered

    def next(self, now: Instant) -> Ready | None:
        """Return what is to be delivered next; its gap is noted."""
        if not self.ready:
            return None
        ready = self.ready.popleft()
        self._taken += 1
        if ready.hole is not None:
            self._doubted_at.pop(ready.channel.topic.wire, None)
            last = ready.channel.last
            since = now.mono if last is None else last[0]
            self.gaps.passing([ready.channel], ready.hole, since, now)
        return ready

    def take_gap(self, channel: Channel, now: Instant) -> Gap | None:
        """Return what the message that :meth:`next` has just returned must carry.

        It ends the gap if that lasts, unless it has waited here since before the gap opened.
        """
        wire = channel.topic.wire
        if self._taken <= self._doubted_at.get(wire, 0):
            return self.gaps.carry(channel)
        self._doubted_at.pop(wire, None)
        return self.gaps.take(channel, now)

    def missed(self, channel: Channel, reason: str, now: Instant) -> None:
        """Note that something of a topic was lost just now, on all lines."""
        last = channel.last
        self.gaps.passing([channel], reason, now.mono if last is None else last[0], now)

    def take_events(self) -> list[Event]:
        """Hand over what has happened since the last call."""
        events, self._events = self._events, []
        return events

    def covered_without(self, line: int) -> bool:
        """Return whether every topic would go on without a hole if a line were lost now."""
        return all(self._covered(wire, line) for wire in self.registry.channels)

    @property
    def covered_twice(self) -> int:
        """How many topics would, whichever line were lost."""
        lines = range(len(self._holds))
        return sum(
            all(self._covered(wire, line) for line in lines) for wire in self.registry.channels
        )

    # Inside

    def _arbiter(self, channel: Channel) -> TopicArbiter:
        wire = channel.topic.wire
        arbiter = self._arbiters.get(wire)
        if arbiter is None:
            rule = rule_of(channel.topic.spec.channel)
            arbiter = TopicArbiter(rule, max_held=MAX_HELD, remembered=MAX_HELD)
            self._arbiters[wire] = arbiter
        return arbiter

    def _queue(self, channel: Channel, passed: Iterable[Passed]) -> None:
        for each in passed:
            self.ready.append(Ready(channel, each.arrival, each.hole))
            self._queued += 1

    def _held(self, wire: str) -> bool:
        return any(wire in held for held in self._holds)

    def _covered(self, wire: str, without: int) -> bool:
        """Return whether a topic goes on without a hole on any other line."""
        arbiter = self._arbiters.get(wire)
        return arbiter is not None and any(
            wire in held and arbiter.covered(line)
            for line, held in enumerate(self._holds)
            if line != without
        )

    def _gone(self, line: int) -> None:
        """Note that a line has lost its link."""
        held, self._holds[line] = self._holds[line], set()
        self._new[line].clear()
        for wire, arbiter in list(self._arbiters.items()):
            self._queue(self.registry.channels[wire], arbiter.leave(line))
        for wire in held:
            if not self._held(wire):
                # Nothing can overlap with what comes next; the gap of its link says so.
                self._arbiters.pop(wire, None)
                self.registry.left(wire)
        for wire in list(self._leaving):
            self._no_longer(line, wire, None)

    def _doubt(self, line: int, event: GapOpened, now: Instant) -> None:
        """Note that a line may have missed something of topics."""
        missing = []
        for wire in event.topics:
            channel = self.registry.channels.get(wire)
            if channel is None:
                continue
            if wire in self._arbiters:
                self._arbiters[wire].lost(line)
            if not self._covered(wire, line):
                # Where a line still holds it no acknowledgement will come: a message must.
                channel.proof_needed = self._held(wire)
                self._doubted_at[wire] = self._queued
                missing.append(channel)
        self.gaps.open(missing, event.reason, now.mono - (now.wall - event.since), now)

    def _rejected(self, line: int, event: SubscriptionRejected, now: Instant) -> None:
        names: list[str] = []
        for wire in event.topics:
            self._holds[line].discard(wire)
            if wire in self.registry.channels and not self._held(wire):
                names += self.registry.rejected(wire, event.ret_msg)
        if names:
            facts: dict[str, Any] = {"ret_msg": event.ret_msg, "explanation": event.explanation}
            self._emit(SubscriptionRejected, now, topics=tuple(names), **facts)

    def _given_up(
        self, line: int, event: UnsubscribeConfirmed | UnsubscribeRejected, now: Instant
    ) -> None:
        ret_msg = event.ret_msg if isinstance(event, UnsubscribeRejected) else None
        names = [name for wire in event.topics for name in self._no_longer(line, wire, ret_msg)]
        if names and ret_msg is None:
            self._emit(UnsubscribeConfirmed, now, topics=tuple(names))
        elif names:
            self._emit(UnsubscribeRejected, now, topics=tuple(names), ret_msg=ret_msg)

    def _no_longer(self, line: int, wire: str, ret_msg: str | None) -> list[str]:
        """Note that a line has given up a topic; return its names if no line holds it any more."""
        waited_for = self._leaving.get(wire)
        if waited_for is None or line not in waited_for:
            return []
        waited_for.discard(line)
        if waited_for:
            return []
        del self._leaving[wire]
        return self.registry.left(wire, ret_msg)

    def _emit(self, kind: type[Event], now: Instant, **facts: Any) -> None:
        self._events.append(kind(time=now.wall, connection=self._scope.value, **facts))
