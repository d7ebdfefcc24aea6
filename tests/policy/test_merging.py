"""Several lines as one: subscriptions, gaps and order, by plain calls."""

from __future__ import annotations

from typing import Any

import pytest

from bybit_copyws.events import (
    BadMessage,
    Event,
    GapClosed,
    GapOpened,
    State,
    StateChanged,
    SubscriptionConfirmed,
    SubscriptionRejected,
    SubscriptionState,
    UnsubscribeConfirmed,
    UnsubscribeRejected,
)
from bybit_copyws.policy.channel import Handler
from bybit_copyws.policy.identity import Arrival
from bybit_copyws.policy.instant import Instant
from bybit_copyws.policy.merging import Merger
from bybit_copyws.wire.profiles import V5
from bybit_copyws.wire.topics import Scope

TRADES, BOOK = "publicTrade.BTCUSDT", "orderbook.50.BTCUSDT"
A, B = 0, 1


class Rig:
    """A merger of two lines, a clock, and what came of it."""

    def __init__(self) -> None:
        self.merger = Merger(Scope.PUBLIC, 2, 21_000)
        self.mono = 100.0
        self.told: list[Event] = []

    @property
    def now(self) -> Instant:
        return Instant(self.mono, 1_000_000 + self.mono)

    def add(self, *names: str) -> list[Handler]:
        return self.merger.add([V5.topics.parse(name) for name in names], print, None)

    def hear(self, line: int, *events: Event) -> list[Event]:
        self.merger.heard(line, events, self.now)
        return self.take()

    def take(self) -> list[Event]:
        events = self.merger.take_events()
        self.told += events
        return events

    def confirm(self, line: int, *names: str) -> list[Event]:
        return self.hear(line, self.event(SubscriptionConfirmed, topics=names))

    def doubt(self, line: int, *names: str, reason: str = "cut") -> list[Event]:
        since = self.now.wall - 1
        return self.hear(line, self.event(GapOpened, topics=names, since=since, reason=reason))

    def lose(self, line: int, *names: str) -> list[Event]:
        """Tell of a lost link as a session does: first the gap, then the state."""
        since = self.now.wall - 1
        return self.hear(
            line,
            self.event(GapOpened, topics=names, since=since, reason="cut"),
            self.event(StateChanged, old=State.ACTIVE, new=State.BACKOFF, reason="cut"),
        )

    def event(self, kind: type[Event], **facts: Any) -> Event:
        return kind(time=self.now.wall, connection="line", **facts)

    def trade(self, line: int, *ids: int) -> list[Any]:
        rows = [{"i": str(each)} for each in ids]
        arrival = Arrival("snapshot", 1, rows)
        self.merger.arrived(line, TRADES, arrival)
        return self.deliver()

    def deliver(self) -> list[Any]:
        out: list[Any] = []
        while (ready := self.merger.next(self.now)) is not None:
            ready.channel.last = (self.mono, 1, 1)
            gap = self.merger.take_gap(ready.channel, self.now)
            out += ["gap"] if gap is not None else []
            out += [int(row["i"]) for row in ready.arrival.data]
        self.take()
        return out


@pytest.fixture
def rig() -> Rig:
    return Rig()


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_the_first_confirmation_counts(rig: Rig) -> None:
    (handler,) = rig.add(TRADES)
    assert kinds(rig.confirm(A, TRADES)) == ["SubscriptionConfirmed"]
    assert handler.state is SubscriptionState.CONFIRMED
    assert rig.confirm(B, TRADES) == []


def test_each_trade_passes_once_and_in_order(rig: Rig) -> None:
    rig.add(TRADES)
    rig.confirm(A, TRADES)
    assert rig.trade(A, 1, 2) == [1, 2]
    rig.confirm(B, TRADES)
    assert rig.trade(B, 2, 3) == [3]
    assert rig.trade(A, 3, 4) == [4]
    assert rig.trade(B, 4, 5) == [5]


def test_a_line_that_comes_later_is_not_the_first_to_be_heard(rig: Rig) -> None:
    rig.add(TRADES)
    rig.confirm(A, TRADES)
    rig.confirm(B, TRADES)
    assert rig.trade(B, 3) == []  # the other one may bring what came before
    assert rig.trade(A, 1, 2) == [1, 2]
    assert rig.trade(A, 3) == [3]
    assert rig.trade(B, 4) == [4]


def test_the_loss_of_a_line_that_was_covered_is_no_gap(rig: Rig) -> None:
    rig.add(TRADES)
    rig.confirm(A, TRADES)
    rig.trade(A, 1, 2)
    rig.confirm(B, TRADES)
    rig.trade(B, 2)
    assert rig.merger.covered_twice == 1
    assert kinds(rig.lose(A, TRADES)) == ["StateChanged"]
    assert rig.merger.covered_twice == 0
    assert rig.merger.covered_without(A)
    assert not rig.merger.covered_without(B)
    assert rig.trade(B, 3) == [3]
    rig.confirm(A, TRADES)
    assert rig.trade(A, 3) == []
    assert rig.trade(A, 4) == [4]
    assert "GapOpened" not in kinds(rig.told)


def test_the_loss_of_both_is_one_gap_until_one_is_back(rig: Rig) -> None:
    (handler,) = rig.add(TRADES)
    rig.confirm(A, TRADES)
    rig.trade(A, 1)
    rig.confirm(B, TRADES)
    rig.trade(B, 1)
    rig.lose(A, TRADES)
    (opened,) = [each for each in rig.lose(B, TRADES) if isinstance(each, GapOpened)]
    assert opened.topics == (TRADES,)
    assert opened.since == rig.now.wall - 1
    assert handler.state is SubscriptionState.PENDING
    rig.mono += 5
    assert kinds(rig.confirm(A, TRADES)) == ["GapClosed", "SubscriptionConfirmed"]
    assert rig.trade(A, 7) == ["gap", 7]
    rig.confirm(B, TRADES)
    assert rig.trade(B, 7, 8) == [8]
    assert kinds(rig.told).count("GapOpened") == kinds(rig.told).count("GapClosed") == 1


def test_a_loss_of_many_topics_is_told_at_once(rig: Rig) -> None:
    rig.add(TRADES, BOOK)
    rig.confirm(A, TRADES, BOOK)
    (opened, _) = rig.lose(A, TRADES, BOOK)
    assert isinstance(opened, GapOpened)
    assert opened.topics == (TRADES, BOOK)


def test_what_one_line_has_missed_the_other_fills(rig: Rig) -> None:
    rig.add(TRADES)
    rig.confirm(A, TRADES)
    rig.trade(A, 1)
    rig.confirm(B, TRADES)
    rig.trade(B, 1)
    assert rig.doubt(A, TRADES, reason="unreadable") == []
    assert rig.trade(A, 3) == []
    assert rig.trade(B, 2, 3) == [2, 3]
    assert rig.trade(A, 4) == [4]
    assert "GapOpened" not in kinds(rig.told)


def test_what_the_only_line_has_missed_is_a_gap(rig: Rig) -> None:
    rig.add(TRADES)
    rig.confirm(A, TRADES)
    rig.trade(A, 1)
    assert kinds(rig.doubt(A, TRADES)) == ["GapOpened"]
    assert rig.trade(A, 3) == ["gap", 3]
    assert kinds(rig.told).count("GapClosed") == 1


def test_a_topic_that_was_never_heard_can_be_vouched_for(rig: Rig) -> None:
    rig.add(TRADES)
    rig.confirm(A, TRADES)
    rig.confirm(B, TRADES)
    assert rig.merger.take_new() == [(B, {TRADES})]
    assert rig.merger.take_new() == []
    assert rig.merger.covered_twice == 0
    rig.merger.vouch(B, [TRADES])
    assert rig.merger.covered_twice == 1
    assert kinds(rig.lose(A, TRADES)) == ["StateChanged"]


def test_a_topic_is_given_up_when_the_last_line_has(rig: Rig) -> None:
    handlers = rig.add(TRADES, BOOK)
    rig.confirm(A, TRADES, BOOK)
    rig.confirm(B, TRADES)
    assert rig.merger.remove(handlers) == [TRADES, BOOK]
    confirmed = UnsubscribeConfirmed
    (event,) = rig.hear(A, rig.event(confirmed, topics=(TRADES, BOOK)))
    assert isinstance(event, UnsubscribeConfirmed)
    assert event.topics == (BOOK,)
    assert handlers[0].state is not SubscriptionState.CLOSED
    (event,) = rig.hear(B, rig.event(confirmed, topics=(TRADES,)))
    assert isinstance(event, UnsubscribeConfirmed)
    assert event.topics == (TRADES,)
    assert {handler.state for handler in handlers} == {SubscriptionState.CLOSED}
    assert rig.hear(B, rig.event(confirmed, topics=(TRADES,))) == []


def test_a_line_that_ends_gives_up_what_was_unwanted(rig: Rig) -> None:
    handlers = rig.add(TRADES)
    rig.confirm(A, TRADES)
    rig.confirm(B, TRADES)
    rig.merger.remove(handlers)
    rig.hear(A, rig.event(UnsubscribeRejected, topics=(TRADES,), ret_msg="no"))
    assert handlers[0].state is not SubscriptionState.CLOSED
    assert kinds(rig.lose(B)) == ["StateChanged"]
    assert handlers[0].state is SubscriptionState.CLOSED


def test_a_refused_unsubscribe_is_told(rig: Rig) -> None:
    handlers = rig.add(TRADES)
    rig.confirm(A, TRADES)
    rig.merger.remove(handlers)
    (event,) = rig.hear(A, rig.event(UnsubscribeRejected, topics=(TRADES,), ret_msg="no"))
    assert isinstance(event, UnsubscribeRejected)
    assert (event.topics, event.ret_msg) == ((TRADES,), "no")


def test_wanted_again_before_it_was_given_up(rig: Rig) -> None:
    handlers = rig.add(TRADES)
    rig.confirm(A, TRADES)
    rig.merger.remove(handlers)
    (again,) = rig.add(TRADES)
    assert again.state is SubscriptionState.PENDING
    rig.confirm(A, TRADES)
    assert again.state is SubscriptionState.CONFIRMED
    assert handlers[0].state is SubscriptionState.CLOSED
    assert rig.trade(A, 9) == [9]


def test_a_refusal_counts_unless_the_other_line_holds_the_topic(rig: Rig) -> None:
    (handler,) = rig.add(TRADES)
    facts = {"topics": (TRADES,), "ret_msg": "no", "explanation": "why"}
    assert kinds(rig.hear(A, rig.event(SubscriptionRejected, **facts))) == ["SubscriptionRejected"]
    assert handler.ret_msg == "no"
    (again,) = rig.add(TRADES)
    rig.confirm(B, TRADES)
    assert rig.hear(A, rig.event(SubscriptionRejected, **facts)) == []
    assert again.ret_msg is None


def test_what_belongs_to_one_line_is_handed_on(rig: Rig) -> None:
    event = rig.event(BadMessage, reason="odd", excerpt=b"?")
    assert rig.hear(A, event) == [event]
    assert rig.hear(A, rig.event(GapClosed, gap=None)) == []


def test_what_nobody_wants_goes_nowhere(rig: Rig) -> None:
    assert rig.trade(A, 1) == []
    assert rig.confirm(A, TRADES) == []
    assert rig.doubt(A, TRADES) == []
    rig.add(TRADES)
    rig.confirm(A, TRADES)
    rig.trade(A, 1)
    rig.merger.close()
    assert rig.trade(A, 2) == []
    assert rig.merger.covered_twice == 0


def test_what_is_missed_on_all_lines_is_told_with_the_next_message(rig: Rig) -> None:
    rig.add(TRADES)
    rig.confirm(A, TRADES)
    rig.trade(A, 1)
    rig.merger.missed(rig.merger.registry.channels[TRADES], "odd", rig.now)
    assert rig.trade(A, 2) == ["gap", 2]
    assert [each.reason for each in rig.told if isinstance(each, GapOpened)] == ["odd"]


def test_what_waited_since_before_a_gap_neither_carries_nor_ends_it(rig: Rig) -> None:
    """A slow callback holds messages up here; meanwhile the line that brought them is lost."""
    rig.add(TRADES)
    rig.confirm(A, TRADES)
    rig.confirm(B, TRADES)  # is not known yet to follow without a hole
    for each in (1, 2, 3):
        rig.merger.arrived(A, TRADES, Arrival("snapshot", 1, [{"i": str(each)}]))
    (opened,) = rig.lose(A, TRADES)[:1]
    assert isinstance(opened, GapOpened)
    rig.told.clear()
    assert rig.deliver() == [1, 2, 3]
    assert rig.told == []
    assert rig.trade(B, 9) == ["gap", 9]
    assert "GapClosed" in kinds(rig.told)
    assert rig.trade(B, 10) == [10]
