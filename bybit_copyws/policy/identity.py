"""What makes two messages of two connections the same update: one rule per channel.

A message is cut into :class:`Item` parts, each with a key. Pure text and data: this module must
not know how many connections there are, nor in which order their messages come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import msgspec

_DIGEST = 16  # bytes; what is longer is remembered by its hash


class Arrival(NamedTuple):
    """A message as one connection delivered it.

    Attributes:
        type: ``"snapshot"``, ``"delta"``, or ``None``.
        ts: the exchange's time in milliseconds, or ``None``.
        data: the JSON value as sent.
        cs: the cross sequence beside the data, or ``None``.
        received_ns: wall clock at arrival, nanoseconds since the epoch.
        raw: the bytes of the whole message.
    """

    type: str | None
    ts: int | None
    data: Any
    cs: int | None = None
    received_ns: int = 0
    raw: bytes = b""


class Item:
    """The smallest part of a message that is passed on or dropped.

    Attributes:
        arrival: the message it is of.
        part: its entry of a list, or ``None`` if the message is one item.
        key: its identity; equal keys may still be different updates (see :class:`Rule`).
        ts: the exchange's time of the message.
        snapshot: whether it states everything, so that what came before is not needed.
        after_loss: whether something before it may be missing on its own connection.
    """

    __slots__ = ("after_loss", "arrival", "key", "part", "snapshot", "ts")

    def __init__(
        self, arrival: Arrival, key: Any, part: Any = None, snapshot: bool = False
    ) -> None:
        self.arrival = arrival
        self.part = part
        self.key = key
        self.ts = arrival.ts
        self.snapshot = snapshot
        self.after_loss = False


class Rule(NamedTuple):
    """The identity rule of a channel.

    Attributes:
        cut: makes the items of a message, at least one.
        numbered: keys are integers that grow; else they are opaque.
        chained: numbers follow one another without a break once there are deltas, and one that
            is sent again is a repetition. Else equal numbers in a row are different updates.
        unique: an opaque key never comes back. Else equal ones may both be real.
    """

    cut: Callable[[Arrival], list[Item]]
    numbered: bool = False
    chained: bool = False
    unique: bool = False


def digest(value: Any) -> bytes:
    """Return a short key that is the same for equal JSON values."""
    text = msgspec.json.encode(value, order="deterministic")
    return text if len(text) <= _DIGEST else hashlib.blake2b(text, digest_size=_DIGEST).digest()


def _number(*candidates: Any) -> int:
    """Return the first integer. Without one the message counts as 0, which delivers it as it is."""
    return next((each for each in candidates if type(each) is int), 0)


def _cut_book(arrival: Arrival) -> list[Item]:
    update = arrival.data.get("u") if isinstance(arrival.data, dict) else None
    return [Item(arrival, _number(update, arrival.ts), snapshot=arrival.type == "snapshot")]


def _cut_ticker(arrival: Arrival) -> list[Item]:
    return [Item(arrival, _number(arrival.cs, arrival.ts), snapshot=arrival.type == "snapshot")]


def _cut_whole(arrival: Arrival) -> list[Item]:
    return [Item(arrival, digest(arrival.data))]


def _cut_list(key: Callable[[Any], Hashable]) -> Callable[[Arrival], list[Item]]:
    def cut(arrival: Arrival) -> list[Item]:
        if isinstance(arrival.data, list) and arrival.data:
            return [Item(arrival, key(entry), entry) for entry in arrival.data]
        return _cut_whole(arrival)  # the v3 liquidation is one object

    return cut


def _cut_candles(arrival: Arrival) -> list[Item]:
    """Number candles by their times: a line may begin with one that was made for it alone."""
    rows = arrival.data
    if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
        return [Item(arrival, _number(row.get("timestamp"), arrival.ts), row) for row in rows]
    return [Item(arrival, _number(arrival.ts))]


def _key_of(*names: str) -> Callable[[Any], Hashable]:
    def key(entry: Any) -> Hashable:
        values = tuple(entry.get(name) for name in names) if isinstance(entry, dict) else ()
        known = values and all(isinstance(value, (str, int)) for value in values)
        return values if known else digest(entry)

    return key


RULES: Mapping[str, Rule] = {
    "orderbook": Rule(_cut_book, numbered=True, chained=True),
    "tickers": Rule(_cut_ticker, numbered=True),
    "publicTrade": Rule(_cut_list(_key_of("i")), unique=True),
    # Not chained: the last push of a candle may bear the time of the one before.
    "kline": Rule(_cut_candles, numbered=True),
    "liquidation": Rule(_cut_list(digest)),
    "allLiquidation": Rule(_cut_list(digest)),
}
"""The channels whose messages have an identity of their own."""

OTHER = Rule(_cut_whole)
"""Any other channel: equal data is the same update."""


def rule_of(channel: str) -> Rule:
    """Return the rule of a channel (the first part of a topic's name on the wire)."""
    return RULES.get(channel, OTHER)
