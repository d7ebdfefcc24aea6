"""Who wants which topics, and what the exchange has said to each.

The one source of truth for resubscription. Pure: it decides what must be asked, never asks.

A topic on the wire is *absent*, *subscribing*, *subscribed*, *unsubscribing* or *rejected*; no
second operation for it leaves while one is unanswered, so whatever the user does meanwhile, the
server's set ends up as the wanted one.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.events import SubscriptionState
from bybit_copyws.messages import MessageCallback
from bybit_copyws.policy.channel import Channel, Courier, Follower, Handler, Route
from bybit_copyws.policy.staleness import longest_silence
from bybit_copyws.wire.operations import SUBSCRIBE, args_size
from bybit_copyws.wire.topics import Topic


class _Status(enum.Enum):
    ABSENT = "absent"
    SUBSCRIBING = "subscribing"
    SUBSCRIBED = "subscribed"
    UNSUBSCRIBING = "unsubscribing"
    REJECTED = "rejected"


class _Record:
    """One topic on the wire."""

    __slots__ = ("channel", "handlers", "leaving", "refresh", "status")

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.status = _Status.ABSENT
        self.refresh = False  # to be given up and subscribed anew
        self.handlers: list[Handler] = []
        self.leaving: list[Handler] = []  # were removed; wait for the unsubscribe's outcome

    def names(self, handlers: Iterable[Handler]) -> list[str]:
        return list(dict.fromkeys(handler.topic.name for handler in handlers))

    def routes(self) -> tuple[Route, ...]:
        return tuple(
            Route(
                name,
                self.handlers[0].topic.spec.parser,
                tuple(handler for handler in self.handlers if handler.topic.name == name),
            )
            for name in self.names(self.handlers)
        )

    def reroute(self) -> None:
        """Have messages go to the present handlers."""
        channel = self.channel
        channel.routes = self.routes()
        callbacks = [handler.callback for handler in self.handlers]
        channel.followers = tuple(each for each in callbacks if isinstance(each, Follower))
        for follower in channel.followers:
            follower.channel = channel

    def set_state(self, state: SubscriptionState, ret_msg: str | None = None) -> None:
        for handler in self.handlers:
            handler.state = state
            handler.ret_msg = ret_msg

    def release(self, ret_msg: str | None = None) -> list[str]:
        """Close the handlers that were leaving; return their names."""
        names = self.names(self.leaving)
        for handler in self.leaving:
            _close(handler, ret_msg)
        self.leaving.clear()
        return names


def _close(handler: Handler, ret_msg: str | None = None) -> None:
    handler.state = SubscriptionState.CLOSED
    handler.ret_msg = ret_msg


class Plan(NamedTuple):
    """Topics that must be asked for and topics to be given up, as on the wire."""

    subscribe: tuple[str, ...]
    unsubscribe: tuple[str, ...]


class Registry:
    """The topics of one connection.

    Args:
        max_args_chars: characters of topics that one connection may hold.
        silence: patterns of topics to the longest silence in seconds.

    Attributes:
        channels: by wire topic, those that have handlers. Replaced as a whole at each change, so
            that the reader may use it without a lock.
    """

    def __init__(
        self, max_args_chars: int, silence: Mapping[str, float | None] | None = None
    ) -> None:
        self._max_args_chars = max_args_chars
        self._silence = silence or {}
        self._records: dict[str, _Record] = {}
        self.channels: Mapping[str, Channel] = {}

    # What the user wants

    def add(
        self,
        topics: Sequence[Topic],
        callback: MessageCallback,
        courier: Courier | None = None,
    ) -> list[Handler]:
        """Register a callback for topics, maybe with somebody who takes the messages to it.

        Raises:
            ConfigurationError: the connection would hold more characters of topics than the
                exchange takes; nothing is changed then.
        """
        self._check_room(topics)
        handlers = [Handler(topic, callback, courier) for topic in topics]
        for handler in handlers:
            record = self._records.get(handler.topic.wire) or self._record(handler.topic)
            # First what is kept, then those who may read it.
            record.handlers.insert(
                0 if isinstance(callback, Follower) else len(record.handlers), handler
            )
            if record.status is _Status.SUBSCRIBED:
                handler.state = SubscriptionState.CONFIRMED
                record.release()
            elif record.status is _Status.REJECTED:  # a new subscribe is a new try
                record.status = _Status.ABSENT
                record.set_state(SubscriptionState.PENDING)
        self._reroute(topic.wire for topic in topics)
        return handlers

    def _record(self, topic: Topic) -> _Record:
        return self._records.setdefault(topic.wire, _Record(self._channel(topic)))

    def _channel(self, topic: Topic) -> Channel:
        return Channel(topic, longest_silence(topic, self._silence))

    def remove(self, handlers: Iterable[Handler]) -> None:
        """Take registered callbacks out; no message reaches them from here on."""
        wires: list[str] = []
        for handler in handlers:
            wire = handler.topic.wire
            record = self._records.get(wire)
            if record is None or handler not in record.handlers:
                continue
            handler.active = False
            record.handlers.remove(handler)
            if not record.handlers:  # who comes next was promised nothing yet
                record.channel = self._channel(record.channel.topic)
            if record.handlers or record.status in (_Status.ABSENT, _Status.REJECTED):
                _close(handler)  # nothing is asked of the server for it
            else:
                record.leaving.append(handler)
            wires.append(wire)
            self._drop_if_unused(wire)
        self._reroute(wires)

    def find(self, topic: Topic, callback: MessageCallback | None = None) -> list[Handler]:
        """Return the handlers registered under a topic's name, maybe of one callback only.

        Those who keep something are not among all: they are ended by whoever asked for that.
        """
        record = self._records.get(topic.wire)
        return [
            handler
            for handler in (record.handlers if record else ())
            if handler.topic.name == topic.name
            and (
                callback == handler.callback
                or (callback is None and not isinstance(handler.callback, Follower))
            )
        ]

    @property
    def handlers(self) -> list[Handler]:
        """All handlers that are registered."""
        return [handler for record in self._records.values() for handler in record.handlers]

    @property
    def wanted(self) -> bool:
        """Whether any topic needs the connection (one that was refused does not)."""
        return any(
            record.handlers and record.status is not _Status.REJECTED
            for record in self._records.values()
        )

    def unsettled(self) -> list[str]:
        """Return the names of the topics that are wanted and not confirmed."""
        return [
            name
            for record in self._records.values()
            if record.status is not _Status.SUBSCRIBED
            for name in record.names(record.handlers)
        ]

    # What the exchange said

    def plan(self) -> Plan:
        """Return what has to be asked now.

        What does not fit beside topics that the server has not given up yet waits for that.
        """
        held = [
            wire
            for wire, record in self._records.items()
            if record.status not in (_Status.ABSENT, _Status.REJECTED)
        ]
        room = self._max_args_chars - args_size(held)
        subscribe = []
        for wire, record in self._records.items():
            size = args_size((wire,))
            if record.handlers and record.status is _Status.ABSENT and size <= room:
                subscribe.append(wire)
                room -= size
        return Plan(
            tuple(subscribe),
            tuple(
                wire
                for wire, record in self._records.items()
                if record.status is _Status.SUBSCRIBED and (record.refresh or not record.handlers)
            ),
        )

    def asking(self, op: str, wires: Iterable[str]) -> None:
        """Note that an operation for planned topics is about to leave."""
        status = _Status.SUBSCRIBING if op == SUBSCRIBE else _Status.UNSUBSCRIBING
        for wire in wires:
            self._records[wire].status = status
            self._records[wire].refresh = False

    def postponed(self, wires: Iterable[str]) -> tuple[str, ...]:
        """Return those of some refused topics that are still wanted; the others become absent."""
        still = []
        for wire in wires:
            record = self._records[wire]
            if record.handlers:
                still.append(wire)
            else:
                record.status = _Status.ABSENT
                record.release()
                self._drop_if_unused(wire)
        return tuple(still)

    def confirmed(self, wires: Iterable[str]) -> list[str]:
        """Note that topics are active; return the names their users gave them."""
        names: list[str] = []
        for wire in wires:
            record = self._records[wire]
            record.status = _Status.SUBSCRIBED
            record.set_state(SubscriptionState.CONFIRMED)
            names += record.names(record.handlers)
            if record.handlers:
                record.release()
        return names

    def rejected(self, wire: str, ret_msg: str) -> list[str]:
        """Note that a topic was refused; it is not planned again until it is added anew."""
        record = self._records[wire]
        record.status = _Status.REJECTED
        record.set_state(SubscriptionState.REJECTED, ret_msg)
        names = record.names(record.handlers)
        record.release()
        self._drop_if_unused(wire)
        return names

    def left(self, wire: str, ret_msg: str | None = None) -> list[str]:
        """Note that a topic was given up (or, with a text, that the exchange refused that).

        A refused unsubscribe is not repeated: the topic is not routed any more in any case.
        """
        record = self._records[wire]
        record.status = _Status.ABSENT
        record.set_state(SubscriptionState.PENDING)
        names = record.release(ret_msg)
        self._drop_if_unused(wire)
        return names

    def refresh(self, wire: str) -> None:
        """Have a topic given up and subscribed anew; nothing if it is not active."""
        record = self._records.get(wire)
        if record is not None:
            record.refresh = True
            if record.status is _Status.SUBSCRIBED:
                record.set_state(SubscriptionState.PENDING)

    def active(self) -> list[Channel]:
        """Return the topics that are wanted and confirmed."""
        return [
            record.channel
            for record in self._records.values()
            if record.handlers and record.status is _Status.SUBSCRIBED
        ]

    def doubtful(self) -> list[Channel]:
        """Return the topics that are wanted and might be had, but are not, or have a gap."""
        return [
            record.channel
            for record in self._records.values()
            if record.handlers
            and record.status is not _Status.REJECTED
            and (record.status is not _Status.SUBSCRIBED or record.channel.open_gap is not None)
        ]

    def promised(self, since: float) -> list[Channel]:
        """Return the wanted topics that were confirmed, or spoke, after a (monotonic) time."""
        return [
            record.channel
            for record in self._records.values()
            if record.handlers and (record.channel.alive_at or -math.inf) >= since
        ]

    def topics(self) -> list[Topic]:
        """Return the topics that are wanted and not refused, each once."""
        return [
            record.channel.topic
            for record in self._records.values()
            if record.handlers and record.status is not _Status.REJECTED
        ]

    def hold_as(self, other: Registry) -> list[str]:
        """Note that the server holds what it holds for another registry; that one is given up.

        Returns:
            The names of topics that were being given up and are not held any more.
        """
        gone: list[str] = []
        for wire, record in self._records.items():
            theirs = other._records.pop(wire, None)
            record.refresh = False
            if theirs is not None:
                record.status = theirs.status
            elif record.status is not _Status.REJECTED:
                record.status = _Status.ABSENT
                gone += record.release()
            confirmed = record.status is _Status.SUBSCRIBED
            if record.status is not _Status.REJECTED:
                state = SubscriptionState.CONFIRMED if confirmed else SubscriptionState.PENDING
                record.set_state(state)
        for wire, theirs in other._records.items():  # was given up meanwhile
            theirs.handlers.clear()
            self._records[wire] = theirs
        for wire in list(self._records):
            self._drop_if_unused(wire)
        return gone

    def reset(self) -> None:
        """Note that the connection has ended: the server holds nothing any more."""
        for wire in list(self._records):
            record = self._records[wire]
            record.refresh = False
            if record.status is not _Status.REJECTED:
                record.status = _Status.ABSENT
                record.set_state(SubscriptionState.PENDING)
            record.release()
            self._drop_if_unused(wire)

    def close(self) -> None:
        """Note that the client was closed: every handler is."""
        self.remove(self.handlers)
        self.reset()

    # Inside

    def _check_room(self, topics: Sequence[Topic]) -> None:
        wanted = dict.fromkeys(
            wire
            for wire, record in self._records.items()
            if record.handlers and record.status is not _Status.REJECTED
        )
        size = args_size(
            [*wanted, *{topic.wire: None for topic in topics if topic.wire not in wanted}]
        )
        if size > self._max_args_chars:
            raise ConfigurationError(
                f"these topics would make {size:,} characters on one connection; the exchange "
                f"takes at most {self._max_args_chars:,}. Subscribe fewer, or use a second client"
            )

    def _reroute(self, wires: Iterable[str]) -> None:
        channels = dict(self.channels)
        for wire in wires:
            record = self._records.get(wire)
            if record is not None and record.handlers:
                record.reroute()
                channels[wire] = record.channel
            else:
                channels.pop(wire, None)
        self.channels = channels

    def _drop_if_unused(self, wire: str) -> None:
        record = self._records[wire]
        unused = not record.handlers and not record.leaving
        if unused and record.status in (_Status.ABSENT, _Status.REJECTED):
            del self._records[wire]
