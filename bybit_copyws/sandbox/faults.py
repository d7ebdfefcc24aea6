"""Faults of single messages: which are hit, and what becomes of them. Pure.

A :class:`Fault` says what happens to messages of a kind, scope and topic, and how often. What
happens to a whole connection (silence, a slow line) is in ``outlet``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.sandbox.garbage import GARBAGE, encode_frame, make_garbage

KINDS = ("data", "auth", "subscribe", "unsubscribe", "pong", "refusal", "control")
"""What a message may be: a push, the reply to an operation, or a frame that is no text."""


class Outgoing(NamedTuple):
    """A message on its way out.

    Attributes:
        payload: its bytes.
        frame: the same as it goes on the wire.
        topic: of a push, else empty.
        kind: one of :data:`KINDS`.
    """

    payload: bytes
    frame: bytes
    topic: str = ""
    kind: str = "data"


class Planned(NamedTuple):
    """A message that will leave.

    Attributes:
        message: what.
        delay_ms: how much later.
        cut_at: bytes of the frame after which the connection stalls, or ``None``.
    """

    message: Outgoing
    delay_ms: float = 0.0
    cut_at: int | None = None


SCOPES = ("public", "private", None)
"""Whose connections are meant; ``None`` for both."""


@dataclass(frozen=True)
class Fault:
    """What happens to some messages.

    Args:
        action: ``"withhold"`` (they never leave), ``"duplicate"``, ``"reorder"`` (of so many as
            ``count`` the last leaves first), ``"delay"`` (by ``seconds``), ``"stall"`` (the
            connection stops after ``offset`` bytes of the frame), ``"replace"`` (by ``payload``),
            ``"garbage"`` (by bytes of the kind ``garbage``), ``"cross"`` (an order book message
            gets a best bid above its best ask).
        scope: ``"public"``, ``"private"`` or ``None`` for both.
        kind: one of :data:`KINDS`, or ``None`` for any.
        topic: a pattern such as ``"orderbook.*"``, or ``None`` for any.
        times: how many messages are hit; ``None`` for all from now on.
        skip: how many messages pass before the first is hit.
        seconds: see ``delay``.
        count: see ``reorder``.
        offset: see ``stall``; negative ones count from the end.
        payload: see ``replace``.
        garbage: see ``garbage``.

    Raises:
        ConfigurationError: an argument is unknown or out of range.
    """

    action: str
    scope: str | None = None
    kind: str | None = None
    topic: str | None = None
    times: int | None = 1
    skip: int = 0
    seconds: float = 1.0
    count: int = 2
    offset: int = 1
    payload: bytes | str | dict[str, Any] = b""
    garbage: str = "not_json"

    def __post_init__(self) -> None:
        """Refuse what could never happen."""
        check_one_of("action", self.action, ACTIONS)
        check_one_of("scope", self.scope, SCOPES)
        check_one_of("kind", self.kind, (*KINDS, None))
        check_one_of("garbage", self.garbage, GARBAGE)
        if not isinstance(self.payload, (bytes, str, dict)):
            raise ConfigurationError(f"payload must be text or a dictionary, not {self.payload!r}")
        if self.times is not None and self.times < 1:
            raise ConfigurationError(f"times must be 1 or more (or None), not {self.times}")
        if self.skip < 0 or self.count < 2 or not self.seconds >= 0:
            raise ConfigurationError("skip >= 0, count >= 2 and seconds >= 0 are needed")

    def hits(self, scope: str, message: Outgoing) -> bool:
        """Return whether a message is meant; a control frame is only if it was asked for."""
        return (
            (message.kind != "control" or self.kind == "control")
            and self.scope in (None, scope)
            and self.kind in (None, message.kind)
            and (self.topic is None or fnmatchcase(message.topic, self.topic))
        )


def check_one_of(name: str, value: object, known: tuple[str | None, ...]) -> None:
    """Refuse a value that does not exist.

    Raises:
        ConfigurationError: it does not; the text names those that do.
    """
    if value not in known:
        names = ", ".join(repr(each) for each in known)
        raise ConfigurationError(f"{name} must be one of {names}, not {value!r}")


class ActiveFault:
    """A fault with what is left of it."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.hit = 0
        self._skip = fault.skip
        self._waiting: dict[str, list[Planned]] = {}  # by connection, for `reorder`

    @property
    def spent(self) -> bool:
        """Whether it will hit no further message, and holds none."""
        return self._used_up and not self._waiting

    @property
    def _used_up(self) -> bool:
        return self.fault.times is not None and self.hit >= self.fault.times

    def apply(self, conn_id: str, scope: str, planned: Planned) -> list[Planned]:
        """Return what leaves instead of a message."""
        used_up = self._used_up and conn_id not in self._waiting
        if used_up or not self.fault.hits(scope, planned.message):
            return [planned]
        if self._skip:
            self._skip -= 1
            return [planned]
        if self.fault.action == "reorder":
            return self._reorder(conn_id, planned)
        after = _ACTIONS[self.fault.action](self.fault, planned)
        if after is None:
            return [planned]
        self.hit += 1
        return after

    def let_go(self, conn_id: str) -> list[Planned]:
        """Hand over what waits for its turn on a connection."""
        return self._waiting.pop(conn_id, [])

    def _reorder(self, conn_id: str, planned: Planned) -> list[Planned]:
        waiting = self._waiting.setdefault(conn_id, [])
        waiting.append(planned)
        if len(waiting) < self.fault.count:
            return []
        del self._waiting[conn_id]
        self.hit += 1
        return waiting[::-1]


class FaultList:
    """All faults that are active, in the order they were asked for."""

    def __init__(self) -> None:
        self._active: list[ActiveFault] = []

    def __bool__(self) -> bool:
        return bool(self._active)

    def add(self, fault: Fault) -> ActiveFault:
        """Let a fault begin; the result tells how often it has hit."""
        active = ActiveFault(fault)
        self._active.append(active)
        return active

    def clear(self) -> None:
        """End all of them."""
        self._active.clear()

    def let_go(self, conn_id: str) -> list[Planned]:
        """Hand over what waits for its turn on a connection, in the order it came."""
        return [planned for active in self._active for planned in active.let_go(conn_id)]

    def apply(self, conn_id: str, scope: str, message: Outgoing) -> list[Planned]:
        """Return what leaves on a connection instead of a message."""
        planned = [Planned(message)]
        for active in self._active:
            planned = [
                after for before in planned for after in active.apply(conn_id, scope, before)
            ]
        self._active = [active for active in self._active if not active.spent]
        return planned


def _withhold(_: Fault, __: Planned) -> list[Planned]:
    return []


def _duplicate(_: Fault, planned: Planned) -> list[Planned]:
    return [planned, planned]


def _delay(fault: Fault, planned: Planned) -> list[Planned]:
    return [planned._replace(delay_ms=planned.delay_ms + fault.seconds * 1000)]


def _stall(fault: Fault, planned: Planned) -> list[Planned]:
    size = len(planned.message.frame)
    offset = fault.offset if fault.offset >= 0 else size + fault.offset
    return [planned._replace(cut_at=min(max(offset, 0), size - 1))]


def _replace(fault: Fault, planned: Planned) -> list[Planned]:
    return [_with_payload(planned, _encoded(fault.payload))]


def _encoded(payload: bytes | str | dict[str, Any]) -> bytes:
    if isinstance(payload, dict):
        return msgspec.json.encode(payload)
    return payload.encode() if isinstance(payload, str) else payload


def _garbage(fault: Fault, planned: Planned) -> list[Planned]:
    frame = make_garbage(fault.garbage, planned.message.topic or "order")
    # It is no message of the topic any more: a checker must not expect it.
    garbage = planned.message._replace(payload=b"", frame=frame, topic="")
    return [planned._replace(message=garbage)]


def _cross(_: Fault, planned: Planned) -> list[Planned] | None:
    """Let the best bid be above the best ask; ``None`` for what is no order book with an ask."""
    if not planned.message.topic.startswith("orderbook.") or not planned.message.payload:
        return None
    message: dict[str, Any] = msgspec.json.decode(planned.message.payload)
    book = message["data"]
    asks = [float(price) for price, size in book["a"] if float(size)]
    if not asks:
        return None
    bid = str(max(asks) + 1)
    crossed = {**message, "data": {**book, "b": [[bid, "1"], *book.get("b", ())]}}
    return [_with_payload(planned, msgspec.json.encode(crossed))]


def _with_payload(planned: Planned, payload: bytes) -> Planned:
    message = planned.message._replace(payload=payload, frame=encode_frame(payload))
    return planned._replace(message=message)


_ACTIONS: Mapping[str, Callable[[Fault, Planned], list[Planned] | None]] = MappingProxyType(
    {
        "withhold": _withhold,
        "duplicate": _duplicate,
        "delay": _delay,
        "stall": _stall,
        "replace": _replace,
        "garbage": _garbage,
        "cross": _cross,
    }
)
ACTIONS = ("reorder", *_ACTIONS)
"""The names of all faults of messages."""
