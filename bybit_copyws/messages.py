"""The one argument of every message callback.

A :class:`Message` carries what the exchange pushed, as it was sent; the typed models are made by
a parser that the route gives it. This module must not know topics, profiles, models or sockets:
it is constructed for every message, so it is a plain struct and does all other work on demand.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import force_setattr

from bybit_copyws.errors import ProtocolError

_ENVELOPE = msgspec.json.Decoder(dict[str, Any])


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A message, by its times.

    Attributes:
        ts: the exchange's time in milliseconds, or ``None`` where it sends none.
        received_ns: wall clock at arrival, nanoseconds since the epoch.
    """

    ts: int | None
    received_ns: int


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which messages of some topics may have been lost.

    All that was lost lies between the message in :attr:`last_seen` and :attr:`until`, which is
    also the time of the next message that carries the gap, or earlier.

    Attributes:
        topics: as the user named them.
        reason: why, in words.
        since: wall clock, seconds since the epoch, of the last sign that nothing was missing.
        until: wall clock at which the exchange sent again; ``None`` while it does not.
        last_seen: the last message of each topic before the gap, for those that had one.
        repaired: whether what was lost has been fetched by REST.
    """

    topics: tuple[str, ...]
    reason: str
    since: float
    until: float | None = None
    last_seen: dict[str, Seen] = msgspec.field(default_factory=dict)
    repaired: bool = False


# eq=False: the generated comparison would include the private fields, so that a message were no
# longer equal to its copy once one of them has been parsed.
class Message(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A pushed message, handed to every callback of its topic.

    It also reads like the dictionary that the exchange sent: ``message["data"]``,
    ``message.get("cs")``, ``"cts" in message``, ``dict(message)``. Its own ``topic``, ``type``,
    ``ts`` and ``data`` come first (``type`` and ``ts`` only if there is one); any other key is
    found by decoding :attr:`raw` anew at each access, so keep the value rather than ask twice.

    One object serves all callbacks of a topic: treat :attr:`data` as read-only.

    Attributes:
        topic: the name subscribed (an alias stays an alias).
        type: ``"snapshot"`` or ``"delta"``; ``None`` where the exchange sends none.
        ts: the exchange's time in milliseconds (``ts`` or ``creationTime``), or ``None``.
        data: the JSON value exactly as sent: strings stay strings, names stay camelCase.
        received_ns: wall clock at arrival, nanoseconds since the epoch.
        raw: the bytes of the whole message; empty if it was not received from a stream.
        gap: on the first message after an outage, what may be missing before it; else ``None``.
        source: ``"stream"``.
    """

    topic: str
    type: str | None
    ts: int | None
    data: Any
    received_ns: int
    raw: bytes
    _parser: Callable[[Message], Any] | None = None
    _parsed: Any = None
    gap: Gap | None = None
    source: str = "stream"

    def parse(self) -> Any:
        """Return the typed, immutable models of this message (:mod:`bybit_copyws.models`).

        The first call parses, the others return the same object. Safe from any thread.

        Returns:
            A tuple of models, except for order books and tickers: one ``BookUpdate`` or one
            ``TickerUpdate``.

        Raises:
            ProtocolError: the topic has no model, or a value is not what is documented.
        """
        parsed = self._parsed
        if parsed is None:
            if self._parser is None:
                raise ProtocolError(f"{self.topic}: no model for this topic; read message.data")
            parsed = self._parser(self)
            # Two threads may come here at once; they parse the same data and either result will do.
            force_setattr(self, "_parsed", parsed)
        return parsed

    def __repr__(self) -> str:
        """Name the message without its data, which may fill pages."""
        return f"Message(topic={self.topic!r}, type={self.type!r}, ts={self.ts!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return self._public() == other._public()

    def __ne__(self, other: object) -> bool:  # the struct's own would compare identities
        return not self == other

    def __hash__(self) -> int:
        return hash((self.topic, self.type, self.ts, self.received_ns, self.raw))

    def __getitem__(self, key: str) -> Any:
        if key == "data":  # what nearly every script reads: no dictionary is built for it
            return self.data
        own = self._own()
        return own[key] if key in own else self._others()[key]

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of an envelope key as sent, or ``default`` if it was not sent."""
        return self._envelope().get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self._envelope()

    def __iter__(self) -> Iterator[str]:
        return iter(self._envelope())

    def __len__(self) -> int:
        return len(self._envelope())

    def keys(self) -> KeysView[str]:
        """Return the keys of the envelope."""
        return self._envelope().keys()

    def values(self) -> ValuesView[Any]:
        """Return the values of the envelope."""
        return self._envelope().values()

    def items(self) -> ItemsView[str, Any]:
        """Return the keys of the envelope with their values."""
        return self._envelope().items()

    def _public(self) -> tuple[Any, ...]:
        return (self.topic, self.type, self.ts, self.received_ns, self.raw, self.data)

    def _own(self) -> dict[str, Any]:
        """Return the attributes that stand for envelope keys, without those that are absent."""
        own: dict[str, Any] = {"topic": self.topic, "data": self.data}
        if self.type is not None:
            own["type"] = self.type
        if self.ts is not None:
            own["ts"] = self.ts
        return own

    def _others(self) -> dict[str, Any]:
        """Return the rest of the envelope, decoded from the bytes as received."""
        if not self.raw:
            return {}
        try:
            return _ENVELOPE.decode(self.raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProtocolError(f"{self.topic}: raw is no JSON object: {error}") from error

    def _envelope(self) -> dict[str, Any]:
        # The attributes win: they hold the name subscribed and whatever data was set.
        return {**self._others(), **self._own()}


MessageCallback: TypeAlias = Callable[[Message], object]
"""What ``subscribe`` takes: called with one message; what it returns is ignored."""
