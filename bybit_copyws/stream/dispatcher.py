"""The way of a message: bytes to the callbacks of its topic, in the run thread.

One decode, one look-up in an immutable table, one call per callback. No queue, lock or log line
per message. What is not plain data takes the slow way. Must not know threads or sockets.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.messages import Gap, Message
from bybit_copyws.policy.channel import Channel, Handler
from bybit_copyws.policy.registry import Registry
from bybit_copyws.wire.envelope import (
    MAX_EXCERPT,
    Envelope,
    decode_envelope,
    decode_object,
    lenient_envelope,
)
from bybit_copyws.wire.frames import Binary, Item
from bybit_copyws.wire.replies import Ack, Pong, read_reply
from bybit_copyws.wire.topics import TopicTable

MAX_UNKNOWN = 100
"""Kinds of unknown messages that are told apart (and reported once each)."""
_NAMED_TOPIC = re.compile(rb'"topic"\s*:\s*"([A-Za-z0-9._-]{1,64})"')
_now = time.monotonic  # looked up twice for every message
_SHOWN_KEYS, _SHOWN_KEY = 8, 32  # how many keys of an odd message are shown, and how much of each


class Receiver(Protocol):
    """Who is told of what comes of a delivery; all called in the thread that delivers."""

    def owed_gap(self, channel: Channel) -> Gap | None:
        """Return the gap that the next message of a topic must carry; it is carried then."""

    def missed(self, channel: Channel | None, reason: str) -> None:
        """Note that something of a topic was lost just now; ``None`` for any topic."""

    def callback_failed(self, handler: Handler, error: BaseException, message: Message) -> None:
        """Take the failure of a callback."""

    def interrupted(self, error: BaseException) -> None:
        """Take a ``KeyboardInterrupt`` or ``SystemExit`` raised by a callback."""


class Owner(Receiver, Protocol):
    """Who is also told of what is not data; all called in the run thread."""

    def replied(self, reply: Ack | Pong) -> None:
        """Take a reply to an operation."""

    def controlled(self, item: Item) -> None:
        """Take a control frame."""

    def bad_message(self, reason: str, excerpt: bytes, *, counts: bool) -> None:
        """Take a message that cannot be used; ``counts`` if too many of them end the link."""


class Deliverer:
    """Runs the callbacks of topics; one message at a time.

    Args:
        owner: is told what comes of it.

    Attributes:
        stopped: once set, no further callback starts.
        running: the handler that is running and since when (monotonic), or ``None``.
        messages: how many had a topic with callbacks.
        last_message: monotonic time of the last one, or ``None``.
    """

    def __init__(self, owner: Receiver) -> None:
        self.stopped = False
        self.running: tuple[Handler, float] | None = None
        self.messages = 0
        self.last_message: float | None = None
        self._receiver = owner

    def deliver(self, envelope: Envelope, channel: Channel, received_ns: int, raw: bytes) -> None:
        """Call the callbacks of a message; each is guarded, none disturbs another."""
        ts = envelope.ts
        if ts is None:
            ts = envelope.creationTime
        gap = None
        sequence = channel.sequence
        if sequence is not None:
            missing = sequence.missing_before(envelope.type, envelope.data)
            if missing is not None:
                self._receiver.missed(channel, missing)
                # The gap began a new count: with this message.
                sequence.missing_before(envelope.type, envelope.data)
        if channel.troubled:
            gap = self._receiver.owed_gap(channel)
        started = _now()
        self.last_message = started
        self.messages += 1
        channel.last = (started, ts, received_ns)
        for name, parser, handlers in channel.routes:
            message = Message(
                name, envelope.type, ts, envelope.data, received_ns, raw, parser, None, gap
            )
            started = self._call(handlers, message, started)
        self.running = None

    def hand_out(self, channel: Channel, message: Message, gap: Gap | None) -> None:
        """Call the callbacks of a message that was delivered to us; its gap is known."""
        started = _now()
        self.last_message = started
        self.messages += 1
        for name, parser, handlers in channel.routes:
            own = Message(
                name,
                message.type,
                message.ts,
                message.data,
                message.received_ns,
                message.raw,
                parser,
                None,
                gap,
                message.source,
            )
            started = self._call(handlers, own, started)
        self.running = None

    def tell(self, handlers: Iterable[Handler], message: Message) -> None:
        """Call callbacks of what is no message of a topic."""
        self._call(handlers, message, _now())
        self.running = None

    def _call(self, handlers: Iterable[Handler], message: Message, started: float) -> float:
        """Call callbacks; return when the last one has ended."""
        for handler in handlers:
            # First say what runs, then look whether it may: whoever has set `stopped` and then
            # finds nothing running knows that nothing will.
            self.running = (handler, started)
            if self.stopped or not handler.active:
                continue
            if handler.courier is not None:  # it counts, and tells what came of it
                handler.courier.put(handler, message)
                started = _now()
                continue
            try:
                handler.callback(message)
            except (KeyboardInterrupt, SystemExit) as error:
                self._receiver.interrupted(error)
            except BaseException as error:  # noqa: BLE001 (user code: reported, the stream goes on)
                handler.failures += 1
                self._receiver.callback_failed(handler, error, message)
            ended = _now()
            handler.calls += 1
            handler.seconds += ended - started
            started = ended
        return started


class Dispatcher(Deliverer):
    """Takes what one connection brings apart, and delivers the data.

    Args:
        registry: its routes are used.
        topics: all topics of the profile, to tell a late message from an unknown one.
        owner: is told of the rest.

    Attributes:
        registry: its routes are used; replaced when the connection takes over from another.
        detour: what items come through first, while one connection takes over from another.
    """

    def __init__(self, registry: Registry, topics: TopicTable, owner: Owner) -> None:
        super().__init__(owner)
        self.registry = registry
        self.detour: Callable[[list[Item]], list[Item]] | None = None
        self._topics = topics
        self._owner = owner
        self._unknown: set[str] = set()

    def items(self, items: list[Item]) -> None:
        """Take what one read brought, in order."""
        if self.detour is not None:
            items = self.detour(items)
        received_ns = time.time_ns()
        registry = self.registry
        for item in items:
            if type(item) is not bytes:
                self._not_text(item)
                continue
            try:
                envelope = decode_envelope(item)
            except (ValueError, RecursionError):
                self._odd(item, received_ns)
                continue
            channel = registry.channels.get(envelope.topic)
            if channel is None:
                self._odd(item, received_ns)
            else:
                self.deliver(envelope, channel, received_ns, item)
            # Given back before the next is decoded, which then finds the memory still in the cache.
            del envelope

    # The slow way

    def _not_text(self, item: Item) -> None:
        if isinstance(item, Binary):
            self._bad("a binary message where text was expected", item.payload)
        else:
            self._owner.controlled(item)

    def _odd(self, payload: bytes, received_ns: int) -> None:
        """Take what has no route: a reply, a late or unknown message, or a bad one."""
        try:
            message = decode_object(payload)
            envelope = lenient_envelope(message)
        except ValueError as error:
            self._bad(str(error), payload)
            return
        if envelope.topic:
            channel = self.registry.channels.get(envelope.topic)
            if channel is None:
                self._unrouted(envelope.topic, payload)
            else:
                self.deliver(envelope, channel, received_ns, payload)
            return
        reply = read_reply(message)
        if reply is None:
            if "data" in message:
                self._owner.missed(None, "a message without a topic")
            keys = [key[:_SHOWN_KEY] for key in sorted(message)[:_SHOWN_KEYS]]
            self._report_once(f"neither data nor a reply: keys {keys}", payload)
        else:
            self._owner.replied(reply)

    def _unrouted(self, topic: str, payload: bytes) -> None:
        """Let a late message of a topic just given up pass; report a topic nobody knows."""
        try:
            self._topics.parse(topic)
        except ConfigurationError:
            self._report_once(f"unknown topic {topic[:64]!r}", payload)

    def _report_once(self, kind: str, payload: bytes) -> None:
        if kind not in self._unknown and len(self._unknown) < MAX_UNKNOWN:
            self._unknown.add(kind)
            self._owner.bad_message(kind, excerpt(payload), counts=False)

    def _bad(self, reason: str, payload: bytes) -> None:
        channel, known = self._guess(payload)
        if channel is not None or not known:
            self._owner.missed(channel, f"a message could not be read: {reason}")
        self._owner.bad_message(reason, excerpt(payload), counts=True)

    def _guess(self, payload: bytes) -> tuple[Channel | None, bool]:
        """Return the topic of an unreadable message, and whether its name could be made out."""
        found = _NAMED_TOPIC.search(payload, 0, MAX_EXCERPT)
        if found is None:
            return None, False
        return self.registry.channels.get(found[1].decode()), True


def excerpt(payload: bytes) -> bytes:
    """Return the first bytes of a message for a report, without secrets.

    Only the reply to ``auth`` carries any (it echoes key and signature), so whatever looks like
    one is not shown at all.
    """
    if b"auth" in payload.lower():
        return b"<looks like an auth reply: not shown>"
    # More than is shown: secrets are taken out before it is cut, else half of one could stay.
    return payload[: 4 * MAX_EXCERPT]
