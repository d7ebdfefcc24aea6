"""The lifecycle events that ``CopyTradingClient.listen`` hands out, and the states they name.

Knows nothing of sockets, threads or the exchange's wire format.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from bybit_copyws.messages import Gap, MessageCallback


class State(enum.Enum):
    """Where one connection is in its life."""

    IDLE = "idle"  # no topic needs the connection
    CONNECTING = "connecting"
    AUTHENTICATING = "authenticating"
    ACTIVE = "active"
    BACKOFF = "backoff"  # waits before the next attempt
    CLOSING = "closing"
    CLOSED = "closed"


class Status(enum.Enum):
    """Whether live state can be trusted."""

    SYNCING = "syncing"  # there is nothing to read until the next snapshot
    LIVE = "live"  # as the exchange last said
    STALE = "stale"  # was right once; the exchange may have moved on since


class SubscriptionState(enum.Enum):
    """What the exchange said to a subscription so far."""

    PENDING = "pending"  # not acknowledged, or the link is down
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    CLOSED = "closed"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all events.

    Attributes:
        time: wall clock, seconds since the epoch.
        connection: ``"public"`` or ``"private"``.
    """

    time: float
    connection: str


class StateChanged(Event, frozen=True, kw_only=True):
    """A connection moved from one state to another.

    Attributes:
        old: the state it was in.
        new: the state it is in now.
        reason: why, in words.
    """

    old: State
    new: State
    reason: str


class SubscriptionConfirmed(Event, frozen=True, kw_only=True):
    """The exchange acknowledged topics (named as the user named them)."""

    topics: tuple[str, ...]


class SubscriptionRejected(Event, frozen=True, kw_only=True):
    """The exchange refused topics; they are not asked for again until subscribed anew.

    Attributes:
        topics: as the user named them.
        ret_msg: the server's own text.
        explanation: what it most likely means and what to do.
    """

    topics: tuple[str, ...]
    ret_msg: str
    explanation: str


class UnsubscribeConfirmed(Event, frozen=True, kw_only=True):
    """The exchange acknowledged that topics are no longer sent."""

    topics: tuple[str, ...]


class UnsubscribeRejected(Event, frozen=True, kw_only=True):
    """The exchange refused to unsubscribe topics; no callback gets them any more all the same.

    Attributes:
        topics: as the user named them.
        ret_msg: the server's own text.
    """

    topics: tuple[str, ...]
    ret_msg: str


class SymbolsChanged(Event, frozen=True, kw_only=True):
    """The exchange has begun or ended copy trading in contracts; patterns follow it by themselves.

    Attributes:
        listed: the symbols that are new, sorted.
        withdrawn: the symbols that are gone, sorted.
    """

    listed: tuple[str, ...]
    withdrawn: tuple[str, ...]


class GapOpened(Event, frozen=True, kw_only=True):
    """Messages of topics may be missing from now on, until a ``GapClosed`` of each of them.

    Attributes:
        topics: as the user named them.
        since: wall clock, seconds since the epoch, of the last sign that nothing was missing.
        reason: why, in words.
        callback: the one whose worker lost messages, if no other callback has missed any.
    """

    topics: tuple[str, ...]
    since: float
    reason: str
    callback: MessageCallback | None = None


class GapClosed(Event, frozen=True, kw_only=True):
    """The exchange sends topics again; their next message carries the gap too.

    One ``GapOpened`` may be followed by several of these: each of its topics is in one of them,
    unless it is unsubscribed or the client closed first.

    Attributes:
        gap: what may be missing.
        callback: the one whose worker lost messages, if no other callback has missed any.
    """

    gap: Gap
    callback: MessageCallback | None = None


class TopicStale(Event, frozen=True, kw_only=True):
    """A topic is silent although it should speak; its gap lasts until it does.

    Attributes:
        topic: as the user named it.
        age: seconds since its last message, or its confirmation if there was none.
        cure: what the client does about it.
    """

    topic: str
    age: float
    cure: str


class BookResync(Event, frozen=True, kw_only=True):
    """A book or ticker that the client keeps was wrong: it waits for a new snapshot, asked for now.

    Attributes:
        topic: which.
        reason: what was wrong.
    """

    topic: str
    reason: str


class StatusChanged(Event, frozen=True, kw_only=True):
    """A book or ticker that the client keeps, or its account, can be trusted again or no more.

    Attributes:
        name: its topic; ``"account"`` for the account.
        old: what it was.
        new: what it is.
        reason: why it is not live, in words; empty if it is.
    """

    name: str
    old: Status
    new: Status
    reason: str


class Blind(Event, frozen=True, kw_only=True):
    """Private data cannot be trusted for longer than ``blind_after``: a bot should stop trading.

    Told once; ``Sighted`` follows when it can be trusted again.

    Attributes:
        seconds: for how long it cannot be trusted so far.
        reason: why, in words.
    """

    seconds: float
    reason: str


class Sighted(Event, frozen=True, kw_only=True):
    """Private data can be trusted again, after a ``Blind``."""


class ClockSkew(Event, frozen=True, kw_only=True):
    """This machine's clock differs from the exchange's by a second or more.

    Logins use the exchange's clock as soon as it is known.

    Attributes:
        seconds: by how much the exchange's clock is ahead; negative if ours is.
    """

    seconds: float


class CallbackFailed(Event, frozen=True, kw_only=True):
    """A callback raised; its topic, the other callbacks and the stream go on.

    Attributes:
        callback: the function.
        error: what it raised, with its traceback.
        message: what it was called with (a ``Message``, or an event for a listener).
    """

    callback: Callable[..., object]
    error: BaseException
    message: Any


class CallbackSlow(Event, frozen=True, kw_only=True):
    """A callback has been running for long; until it returns, nothing of its connection is read.

    Attributes:
        callback: the function.
        seconds: how long it has been running so far.
    """

    callback: Callable[..., object]
    seconds: float


class BadMessage(Event, frozen=True, kw_only=True):
    """A message could not be understood and was left out; the connection is kept.

    Attributes:
        reason: what is wrong with it.
        excerpt: its first bytes, at most 200, secrets removed.
    """

    reason: str
    excerpt: bytes


class BudgetExhausted(Event, frozen=True, kw_only=True):
    """The host's connection budget is spent; the next attempt waits.

    Attributes:
        host: the host (and port) that the budget belongs to.
        until: wall clock of the next attempt, seconds since the epoch.
    """

    host: str
    until: float


EventCallback: TypeAlias = Callable[[Any], object]
