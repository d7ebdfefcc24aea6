"""The topics of an account between the connection and the callbacks.

What comes by the connection goes through an :class:`AccountState`, and what that hands out waits
here in order. The connection says what it has missed in its events; here that becomes the gaps of
the user's topics, which last until REST has told what was missed. Pure: it must not know threads,
nor who asks REST.

With ``reconcile=False`` messages pass as they came, and gaps end where those of the connection do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from msgspec.structs import replace

from bybit_copyws.events import (
    Event,
    GapClosed,
    GapOpened,
    State,
    StateChanged,
    Status,
    SubscriptionConfirmed,
    SubscriptionRejected,
    TopicStale,
    UnsubscribeConfirmed,
    UnsubscribeRejected,
)
from bybit_copyws.messages import Gap, Message, MessageCallback
from bybit_copyws.policy.channel import Channel, Courier, Handler
from bybit_copyws.policy.gaps import Gaps
from bybit_copyws.policy.instant import Instant
from bybit_copyws.policy.registry import Registry
from bybit_copyws.state.account import AccountState
from bybit_copyws.state.account_dialects import AccountDialect, Kind
from bybit_copyws.state.account_view import Update
from bybit_copyws.state.life_cycle import TradeChange, trades_of
from bybit_copyws.wire.operations import UNSUBSCRIBE
from bybit_copyws.wire.topics import Scope, Topic

_GONE = (State.BACKOFF, State.CLOSED)
_OF_TOPICS = (
    GapOpened,
    SubscriptionConfirmed,
    SubscriptionRejected,
    UnsubscribeConfirmed,
    UnsubscribeRejected,
)


class Handout(NamedTuple):
    """A message that is to be handed to the callbacks of a topic.

    Attributes:
        channel: whose.
        message: as the connection brought it, or made from what REST told.
        gap: what it must carry, or ``None``.
    """

    channel: Channel
    message: Message
    gap: Gap | None


Ready: TypeAlias = Handout | TradeChange


class AccountDesk:
    """The topics of one account.

    Args:
        dialect: the words of the API generation.
        max_args_chars: characters of topics that one connection may hold.
        reconcile: whether REST is asked.
        reconcile_timeout: seconds that a message waits for that at most.

    Attributes:
        state: what the account is.
        registry: the topics and callbacks of the user.
        gaps: what may be missing of them.
        ready: what is to be handed out, in order.
        trades: the open copy trades, by order (v3) or by position.
        kept: whether the account is followed although no topic of it may be subscribed.
    """

    def __init__(
        self,
        dialect: AccountDialect,
        max_args_chars: int,
        *,
        reconcile: bool,
        reconcile_timeout: float,
    ) -> None:
        self.state = AccountState(dialect, reconcile=reconcile, reconcile_timeout=reconcile_timeout)
        self.registry = Registry(max_args_chars)
        self.gaps = Gaps(self._emit)
        self.ready: deque[Ready] = deque()
        self.trades: Mapping[Any, Any] = MappingProxyType({})
        self.kept = False
        self._reconcile = reconcile
        self._dialect = dialect
        self._wires = frozenset(dialect.topics.values())
        self._trades = trades_of(dialect)
        self._carried: set[str] = set()  # what the exchange has confirmed on this link
        self._told: set[str] = set()  # those of them of which the user knows
        self._leaving: set[str] = set()  # given up by the user, and not yet told to be
        self._renewed: set[str] = set()  # were silent, and are subscribed anew on this link
        self._refused: dict[str, str] = {}  # topics, and what the exchange said
        self._linked_at: float | None = None  # when it had confirmed all for the first time
        self._was_whole = False
        self._events: list[Event] = []

    # What is wanted

    def has(self, wire: str) -> bool:
        """Return whether a topic on the wire is one of the account's."""
        return wire in self._wires

    @property
    def needed(self) -> frozenset[str]:
        """The topics that the connection must carry.

        To follow the account takes all of them: an order tells of executions that were missed, and
        what REST tells must be brought together with what each of them says meanwhile.
        """
        users = frozenset(self.registry.channels)
        return self._wires if self.kept or (self._reconcile and users) else users

    @property
    def asks(self) -> bool:
        """Whether REST is to be asked as soon as there is a link."""
        return self._reconcile and bool(self.needed)

    @property
    def followed(self) -> bool:
        """Whether the account is kept up to date, as far as it can be."""
        return self.kept or self.asks

    @property
    def order_topic(self) -> str:
        """The topic of orders, as on the wire."""
        return self._dialect.topics[Kind.ORDER]

    def add(
        self, topics: Sequence[Topic], callback: MessageCallback, courier: Courier | None
    ) -> list[Handler]:
        """Register a callback; :meth:`settle` must follow.

        Raises:
            ConfigurationError: as :meth:`Registry.add` does.
        """
        for topic in topics:  # a new subscribe is a new try
            self._refused.pop(topic.wire, None)
        return self.registry.add(topics, callback, courier)

    def remove(self, handlers: Sequence[Handler]) -> None:
        """Take callbacks out; :meth:`settle` must follow."""
        self.registry.remove(handlers)
        for wire in dict.fromkeys(each.topic.wire for each in handlers):
            if wire in self._told and wire not in self.registry.channels:
                self._told.discard(wire)
                self._leaving.add(wire)
                self.registry.asking(UNSUBSCRIBE, [wire])

    def settle(self, carried: Iterable[str], now: Instant) -> None:
        """Take what the connection carries, after it was asked for what is :attr:`needed`.

        Args:
            carried: the topics that the exchange has confirmed, and that are not given up.
            now: the time.
        """
        self._carried = set(carried)
        if not self.needed:
            self.state.lost("none of its topics is subscribed", now.mono)
            self._was_whole = False
        self._confirm(self._carried, now)
        self._look(now)

    def close(self, now: Instant) -> None:
        """Forget everything: the client was closed."""
        self.state.lost("the client was closed", now.mono)
        self.registry.close()
        self.ready.clear()
        self._carried.clear()
        self._told.clear()
        self._leaving.clear()

    # What the connection says of itself

    def heard(self, events: Sequence[Event], now: Instant) -> None:
        """Take events of the connection, each batch as a whole, and tell what they mean."""
        # Of an end, the gaps say why; the change of state also says when the next attempt is.
        reasons = [event.reason for event in events if isinstance(event, GapOpened)]
        cut: list[Channel] = []
        for event in events:
            if isinstance(event, StateChanged) and event.new in _GONE:
                if self._reconcile and event.new is State.BACKOFF:
                    cut = self._channels(self._told)
                self._gone((*reasons, event.reason)[0], now)
                if event.new is State.CLOSED:
                    self.registry.close()
        for event in events:
            if isinstance(event, TopicStale):
                if event.topic in self._wires:  # it is subscribed anew: it may be lost meanwhile
                    self._carried.discard(event.topic)
                    self._renewed.add(event.topic)
                    self.state.lost(f"{event.topic} is silent", now.mono)
                names = self._names([event.topic]) or (event.topic,)
                self._events += [replace(event, topic=name) for name in names]
            elif isinstance(event, GapClosed):
                self._over(event, now)
            elif isinstance(event, _OF_TOPICS):
                others = tuple(each for each in event.topics if each not in self._wires)
                if others:
                    self._events.append(replace(event, topics=others))
                mine = [each for each in event.topics if each in self._wires]
                if mine:
                    self._of_account(event, mine, now)
            else:
                self._events.append(event)
        # To the connection a gap may have lasted that was repaired here: it opens no second one.
        self.gaps.open(cut, self.state.reason, now.mono, now)
        self._look(now)

    def take_events(self) -> list[Event]:
        """Hand over what has happened since the last call."""
        events, self._events = self._events, []
        return events

    def _gone(self, reason: str, now: Instant) -> None:
        """Note that the link is lost: the exchange holds nothing any more."""
        for wire in self._told | self._leaving:
            self.registry.left(wire)
        self._carried.clear()
        self._told.clear()
        self._leaving.clear()
        self._renewed.clear()
        self.state.lost(reason, now.mono)
        if self._reconcile and self.state.status is Status.SYNCING:
            self.state.fail(reason)

    def _of_account(self, event: Any, wires: list[str], now: Instant) -> None:
        """Take what the connection says of topics of the account."""
        if isinstance(event, GapOpened):
            self.state.stale(event.reason, now.mono)
            self._was_whole = False  # the gap of the topics that it names is opened here
            since = now.mono - (now.wall - event.since)
            self.gaps.open(self._channels(wires), event.reason, since, now)
        elif isinstance(event, SubscriptionConfirmed):
            self._carried.update(wires)
            for wire in wires:
                self._refused.pop(wire, None)
                if wire in self._renewed:  # what it said before is older than its hole
                    self._renewed.discard(wire)
                    self.state.stale(f"{wire} was subscribed anew", now.mono)
            self._confirm(wires, now)
        elif isinstance(event, SubscriptionRejected):
            self._refused.update(dict.fromkeys(wires, event.ret_msg))
            for wires_of_link in (self._carried, self._told, self._leaving):
                wires_of_link.difference_update(wires)
            for wire in wires:
                known = wire in self.registry.channels
                names = self.registry.rejected(wire, event.ret_msg) if known else [wire]
                self._events.append(replace(event, topics=tuple(names)))
        else:
            self._carried.difference_update(wires)
            self._left(wires, event)

    def _over(self, event: GapClosed, now: Instant) -> None:
        """Take the end of a gap of the connection; those of the account last longer."""
        mine = [each for each in event.gap.topics if each in self._wires]
        others = tuple(each for each in event.gap.topics if each not in self._wires)
        if others:
            self._events.append(replace(event, gap=replace(event.gap, topics=others)))
        if not self._reconcile:
            self.gaps.end(self._channels(mine), now)

    def _confirm(self, wires: Iterable[str], now: Instant) -> None:
        """Note that the exchange sends topics from here on, to the user if he wants them."""
        for wire in self._leaving.intersection(wires) - self.registry.channels.keys():
            # The account goes on to need it.
            self._left([wire], UnsubscribeConfirmed(**_stamp(now), topics=()))
        known = self.registry.channels.keys() - self._told
        fresh = [wire for wire in wires if wire in known]
        self._told.update(fresh)
        self._leaving.difference_update(fresh)
        names = self.registry.confirmed(fresh)
        channels = self._channels(fresh)
        for channel in channels:
            channel.confirmed_at = now.mono
        if names:
            self._emit(SubscriptionConfirmed, now, topics=tuple(names))
        if self._reconcile and self._missing:  # whoever comes in the middle of it
            self.gaps.open(channels, self.state.reason, now.mono, now)

    def _left(
        self, wires: Iterable[str], event: UnsubscribeConfirmed | UnsubscribeRejected
    ) -> None:
        """Note that the user gets topics no more."""
        ret_msg = event.ret_msg if isinstance(event, UnsubscribeRejected) else None
        names: list[str] = []
        for wire in wires:
            if wire in self._leaving or wire in self._told:
                names += self.registry.left(wire, ret_msg)
                self._leaving.discard(wire)
                self._told.discard(wire)
        if names:
            self._events.append(replace(event, topics=tuple(names)))

    # What the connection brings

    def take(self, wire: str, message: Message, now: Instant) -> None:
        """Take a message; what may be handed out now is in :attr:`ready`.

        Args:
            wire: its topic on the wire.
            message: as it came.
            now: the time.
        """
        if self._reconcile:
            updates = self.state.take(message, now.mono)
            self._look(now)
            self._hand_out(updates, now)
            return
        channel = self.registry.channels.get(wire)
        if channel is not None:
            self._queue(channel, message, now)
        if self.kept:
            self._follow(self.state.take(message, now.mono))

    def tick(self, now: Instant) -> None:
        """Do what is due: bring in what REST told, or let go what has waited too long."""
        updates = self.state.tick(now.mono)
        self._look(now)
        self._hand_out(updates, now)

    def begin(self, exchange_ms: int, now: Instant) -> bool:
        """Begin a reconciliation, see :meth:`AccountState.begin`."""
        since = now.mono if self._linked_at is None else self._linked_at
        return self.state.begin(exchange_ms, now.mono - since)

    @property
    def doubt(self) -> str:
        """Why what is known of the account may be wrong; empty if it is right, or not followed."""
        if self.state.whole or not self.asks:
            return ""
        return f"the account is {self.state.status.value}: {self.state.reason}"

    @property
    def known(self) -> frozenset[str]:
        """The topics of which nothing is missing any more, whatever the connection has missed."""
        return self._wires if self.state.whole else frozenset()

    def _hand_out(self, updates: list[Update], now: Instant) -> None:
        for update in updates:
            channel = self.registry.channels.get(update.topic)
            if channel is not None:
                self._queue(channel, update.as_message(int(now.wall * 1e9)), now)
        self._follow(updates)

    def _queue(self, channel: Channel, message: Message, now: Instant) -> None:
        gap = self.gaps.carry(channel) if channel.troubled else None
        channel.last = (now.mono, message.ts, message.received_ns)
        self.ready.append(Handout(channel, message, gap))

    def _follow(self, updates: list[Update]) -> None:
        if updates:
            self.ready.extend(self._trades.follow(updates))
            self.trades = self._trades.view

    # Whether all of it is known

    @property
    def _missing(self) -> bool:
        """Whether a gap lasts for topics of the account."""
        return any(each.open_gap is not None for each in self.registry.channels.values())

    def _look(self, now: Instant) -> None:
        """Bring state, topics and gaps together, after each change of any of them."""
        if self._carried >= self._wires:
            if self._linked_at is None:
                self._linked_at = now.mono
            self.state.confirmed()
        elif (
            self._reconcile
            and self._refused
            and self._carried.issuperset(self.needed - self._refused.keys())
        ):
            self._do_without(now)
        whole, before = self.state.whole, self._was_whole
        self._was_whole = whole
        if whole:
            self.gaps.end(self.registry.channels.values(), now, repaired=True)
        elif before:
            self.gaps.open(self.registry.active(), self.state.reason, now.mono, now)

    def _do_without(self, now: Instant) -> None:
        """Let messages pass as they come: a topic was refused, and nothing can be reconciled."""
        wire, ret_msg = next(iter(self._refused.items()))
        updates = self.state.give_up(f"the exchange refused {wire}: {ret_msg}", now.mono)
        self.gaps.end(self.registry.channels.values(), now)
        self._hand_out(updates, now)

    # Inside

    def _channels(self, wires: Iterable[str]) -> list[Channel]:
        channels = self.registry.channels
        return [channels[wire] for wire in wires if wire in channels]

    def _names(self, wires: Iterable[str]) -> tuple[str, ...]:
        return tuple(name for channel in self._channels(wires) for name in channel.names)

    def _emit(self, kind: type[Event], now: Instant, **facts: Any) -> None:
        self._events.append(kind(**_stamp(now), **facts))


def _stamp(now: Instant) -> dict[str, Any]:
    return {"time": now.wall, "connection": Scope.PRIVATE.value}
