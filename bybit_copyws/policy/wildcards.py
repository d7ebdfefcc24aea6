"""What a topic with a wildcard stands for: one topic for each symbol. Pure.

The exchange knows no wildcards. ``publicTrade.*`` is subscribed symbol by symbol, and kept up to
date with the list of symbols. Must not know where that list comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bybit_copyws.errors import ConfigurationError, StreamError
from bybit_copyws.events import SubscriptionState
from bybit_copyws.messages import MessageCallback
from bybit_copyws.policy.channel import Courier, Handler
from bybit_copyws.wire.topics import Scope, Topic, TopicSpec, TopicTable

_ANY = "BTCUSDT"  # stands for every symbol when a pattern is checked


def is_pattern(name: object) -> bool:
    """Return whether a topic's name has a wildcard in it."""
    return isinstance(name, str) and "*" in name


@dataclass(frozen=True)
class Pattern:
    """A topic with a wildcard for its symbol.

    Attributes:
        name: as the user wrote it, such as ``orderbook.1.*``.
        spec: what kind of topics it stands for.
        topic: makes the topic of a symbol.
    """

    name: str
    spec: TopicSpec
    topic: Callable[[str], Topic]

    @classmethod
    def parse(cls, name: str, table: TopicTable) -> Pattern:
        """Check a pattern.

        Args:
            name: the pattern.
            table: the topics of the profile.

        Raises:
            ConfigurationError: the wildcard does not stand for the symbol, or for nothing public;
                the text names the patterns that there are.
        """
        head, dot, tail = name.rpartition(".")
        cure = f"patterns are {', '.join(_patterns(table))}"
        if tail != "*" or not dot or "*" in head:
            raise ConfigurationError(
                f"topic {name[:64]!r}: a wildcard is one '*' in the place of the symbol; {cure}"
            )

        def topic(symbol: str) -> Topic:
            return table.parse(f"{head}.{symbol}")

        wire = table.aliases.get(head, head)
        if any(spec.channel == wire and spec.scope is not Scope.PUBLIC for spec in table.specs):
            raise ConfigurationError(
                f"topic {name!r}: private topics have no symbols, they bring all of them; {cure}"
            )
        try:
            example = topic(_ANY)
        except ConfigurationError as error:
            raise ConfigurationError(
                f"topic {name[:64]!r} stands for no topic: {error}; {cure}"
            ) from None
        return cls(name, example.spec, topic)

    def topics(self, symbols: Iterable[str]) -> list[Topic]:
        """Return the topics of symbols; one whose name no topic can have is left out."""
        found = []
        for symbol in symbols:
            try:
                found.append(self.topic(symbol))
            except ConfigurationError:  # the exchange lists what this client has no words for
                continue
        return found


def _patterns(table: TopicTable) -> list[str]:
    """Return what can be written, such as ``kline.{interval}.*``."""
    return [
        f"{str(spec).removesuffix('{symbol}')}*"
        for spec in table.specs
        if spec.scope is Scope.PUBLIC and spec.parts[-1:] == ("symbol",)
    ]


class Change(NamedTuple):
    """What differs between two lists of symbols; both sorted."""

    listed: tuple[str, ...]
    withdrawn: tuple[str, ...]

    @classmethod
    def between(cls, old: Iterable[str], new: Iterable[str]) -> Change:
        """Compare two lists."""
        before, after = set(old), set(new)
        return cls(tuple(sorted(after - before)), tuple(sorted(before - after)))


class Step(NamedTuple):
    """What brings an expansion up to date."""

    subscribe: tuple[Topic, ...]
    unsubscribe: tuple[Handler, ...]


class Expansion:
    """One pattern of one subscription, and what it stands for at present.

    Changed by whoever keeps it up to date, one at a time; others may read at any time, since each
    attribute is replaced as a whole.

    Args:
        pattern: what the user wrote.
        callback: who gets the messages.
        beside: topics on the wire that the same subscription names itself; they are left out.
        courier: takes messages to the callback, or ``None``.

    Attributes:
        pattern: see above.
        callback: see above.
        courier: see above.
        symbols: those it was brought up to; ``None`` before the first time.
        handlers: the registrations of the present topics; those of the last ones once it ended.
        error: why topics could not be subscribed, or ``None``.
        ended: whether the user gave it up.
    """

    def __init__(
        self,
        pattern: Pattern,
        callback: MessageCallback,
        beside: Collection[str] = (),
        courier: Courier | None = None,
    ) -> None:
        self.pattern = pattern
        self.callback = callback
        self.courier = courier
        self.symbols: frozenset[str] | None = None
        self.handlers: tuple[Handler, ...] = ()
        self.error: StreamError | None = None
        self.ended = False
        self._beside = frozenset(beside)
        # Topics that could not be subscribed, as on the wire.
        self._owed: frozenset[str] = frozenset()

    @property
    def pending(self) -> bool:
        """Whether it waits for its first list of symbols."""
        return not self.ended and self.symbols is None and self.error is None

    @property
    def present(self) -> tuple[Handler, ...]:
        """Its handlers, without those that the user took out one by one."""
        if self.ended:
            return self.handlers
        return tuple(handler for handler in self.handlers if handler.active)

    def step(self, symbols: Iterable[str]) -> Step:
        """Return what has to be done for a list of symbols.

        A topic that the user took out stays out until its symbol is withdrawn and listed again.
        One that the exchange refused is tried anew: it may have been listed a moment too early.
        """
        wanted = frozenset(symbols)
        before = self.symbols or frozenset()
        topics = {topic.wire: topic for topic in self.pattern.topics(sorted(wanted))}
        fresh = {topic.wire for topic in self.pattern.topics(wanted - before)}
        gone = [each for each in self.present if each.topic.wire not in topics]
        refused = [
            each
            for each in self.present
            if each.state is SubscriptionState.REJECTED and each.topic.wire in topics
        ]
        missing = fresh | self._owed | {each.topic.wire for each in refused}
        subscribe = [topic for wire, topic in topics.items() if wire in missing - self._beside]
        return Step(tuple(subscribe), (*gone, *refused))

    def brought(
        self,
        symbols: Iterable[str],
        step: Step,
        added: Sequence[Handler],
        error: StreamError | None = None,
    ) -> None:
        """Note that a step was done.

        Args:
            symbols: the list it was made for.
            step: what was to be done; what it unsubscribes is done.
            added: the registrations of its topics.
            error: why there are none, to be tried again with the next list; or ``None``.
        """
        self.handlers = (*self.present, *added)
        self.error = error
        self._owed = frozenset(topic.wire for topic in step.subscribe if error is not None)
        self.symbols = frozenset(symbols)

    def end(self) -> tuple[Handler, ...]:
        """Note that the user gave it up; return what has to be unsubscribed."""
        self.handlers = self.present
        self.ended = True
        return self.handlers
