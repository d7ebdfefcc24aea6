"""The topics of an account between connection and callbacks, rule by rule: plain calls."""

from __future__ import annotations

from typing import Any

import pytest
from account_rows import position
from desk_rig import WALL, Rig, live_rig

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.events import (
    BadMessage,
    GapClosed,
    GapOpened,
    State,
    StateChanged,
    SubscriptionConfirmed,
    SubscriptionRejected,
    SubscriptionState,
    TopicStale,
    UnsubscribeConfirmed,
    UnsubscribeRejected,
)
from bybit_copyws.messages import Gap
from bybit_copyws.state import Kind, Status, TradeChange
from bybit_copyws.state.desk import Handout

PENDING, CONFIRMED = SubscriptionState.PENDING, SubscriptionState.CONFIRMED
REJECTED, CLOSED = SubscriptionState.REJECTED, SubscriptionState.CLOSED
POSITION, ORDER, EXECUTION, WALLET = (
    *("copyTradePosition", "copyTradeOrder", "copyTradeExecution", "copyTradeWallet"),
)
ALL = (POSITION, ORDER, EXECUTION, WALLET)
OTHER = "greeks"


@pytest.fixture(params=["v3", "v5"])
def profile(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def topics(events: list[Any]) -> list[tuple[str, ...]]:
    return [event.topics for event in events]


def gaps(rig: Rig) -> list[Any]:
    return rig.events(GapOpened, GapClosed)


def carried_gaps(rig: Rig) -> list[tuple[str, Gap | None]]:
    return [(each.channel.names[0], each.gap) for each in rig.take()]


# What is wanted


def test_nothing_is_needed_of_itself() -> None:
    rig = Rig()
    assert (rig.desk.needed, rig.desk.asks, rig.desk.doubt) == (frozenset(), False, "")


def test_one_topic_needs_all_of_them(profile: str) -> None:
    rig = Rig(profile)
    (handler,) = rig.subscribe(EXECUTION)
    assert rig.desk.needed == set(rig.wires.values())
    assert rig.desk.asks
    assert rig.desk.doubt
    rig.unsubscribe(handler)
    assert rig.desk.needed == frozenset()
    assert not rig.desk.doubt


def test_without_rest_only_what_is_subscribed_is_needed(profile: str) -> None:
    rig = Rig(profile, reconcile=False)
    rig.subscribe(EXECUTION)
    assert rig.desk.needed == {rig.wires[Kind.EXECUTION]}
    rig.keep()
    assert rig.desk.needed == set(rig.wires.values())
    assert not rig.desk.asks
    assert not rig.desk.doubt


def test_only_its_four_topics_are_the_accounts(profile: str) -> None:
    desk = Rig(profile).desk
    assert all(desk.has(wire) for wire in Rig(profile).wires.values())
    assert not desk.has(OTHER)
    assert not desk.has("execution.fast")
    assert desk.order_topic == Rig(profile).wires[Kind.ORDER]


def test_what_does_not_fit_is_refused_and_leaves_nothing() -> None:
    rig = Rig()
    rig.desk.registry._max_args_chars = 20
    with pytest.raises(ConfigurationError, match="characters"):
        rig.subscribe(*ALL)
    assert rig.desk.needed == frozenset()


# Subscriptions


def test_the_exchange_confirms_what_the_user_subscribed() -> None:
    rig = Rig()
    (handler,) = rig.subscribe(ORDER)
    assert handler.state is PENDING
    rig.connect()
    assert handler.state is CONFIRMED
    assert topics(rig.events(SubscriptionConfirmed)) == [(ORDER,)]


def test_two_names_of_one_topic_are_two_topics_to_the_user() -> None:
    rig = Rig("v5")
    alias, name = rig.subscribe("copyTradeOrder", "order")
    rig.connect()
    rig.reconcile()
    assert topics(rig.events(SubscriptionConfirmed)) == [("copyTradeOrder", "order")]
    rig.unsubscribe(alias)
    assert (alias.state, name.state) == (CLOSED, CONFIRMED)
    assert rig.events() == []  # nothing was asked of the exchange
    rig.unsubscribe(name)
    rig.acknowledge()
    assert topics(rig.events(UnsubscribeConfirmed)) == [("order",)]
    assert name.state is CLOSED


def test_gaps_and_silence_name_a_topic_as_its_users_do() -> None:
    rig = live_rig("v5", "copyTradeOrder", "order")
    rig.hear(TopicStale(time=WALL, connection="private", topic="order", age=9.0, cure="none"))
    events = rig.events()
    stale = [(each.topic, each.age) for each in events if isinstance(each, TopicStale)]
    assert stale == [("copyTradeOrder", 9.0), ("order", 9.0)]
    opened = [each.topics for each in events if isinstance(each, GapOpened)]
    assert opened == [("copyTradeOrder", "order")]  # it is subscribed anew
    rig.cut()
    rig.connect()
    rig.reconcile()
    (closed,) = gaps(rig)
    assert closed.gap.topics == ("copyTradeOrder", "order")


def test_who_comes_later_to_a_carried_topic_is_confirmed_at_once(profile: str) -> None:
    rig = live_rig(profile)
    (handler,) = rig.subscribe(WALLET)
    assert handler.state is CONFIRMED
    assert topics(rig.events()) == [(WALLET,)]
    assert rig.desk.state.whole


def test_a_topic_that_the_account_goes_on_to_need_is_left_at_once(profile: str) -> None:
    rig = live_rig(profile)
    (handler,) = rig.subscribe(WALLET)
    rig.events()
    rig.unsubscribe(handler)
    assert handler.state is CLOSED
    (event,) = rig.events()
    assert isinstance(event, UnsubscribeConfirmed)
    assert event.topics == (WALLET,)
    assert len(rig.carried) == 4
    assert rig.desk.state.whole


def test_the_last_topic_is_left_when_the_exchange_says_so(profile: str) -> None:
    rig = live_rig(profile, ORDER)
    (handler,) = rig.desk.registry.handlers
    rig.unsubscribe(handler)
    assert handler.state is CONFIRMED  # waits for the answer
    assert rig.desk.state.status is Status.STALE
    assert "none of its topics" in rig.desk.state.reason
    rig.acknowledge()
    assert handler.state is CLOSED
    assert topics(rig.events()) == [(ORDER,)]


def test_a_refused_unsubscribe_is_told_and_the_handler_closed() -> None:
    rig = live_rig("v3", ORDER)
    (handler,) = rig.desk.registry.handlers
    rig.unsubscribe(handler)
    rig.hear(
        UnsubscribeRejected(
            time=WALL, connection="private", topics=tuple(rig.leaving), ret_msg="no"
        )
    )
    (event,) = rig.events()
    assert (event.topics, event.ret_msg) == ((ORDER,), "no")
    assert (handler.state, handler.ret_msg) == (CLOSED, "no")


def test_given_up_and_wanted_again_before_the_answer(profile: str) -> None:
    rig = live_rig(profile, ORDER)
    (first,) = rig.desk.registry.handlers
    rig.unsubscribe(first)
    (second,) = rig.subscribe(ORDER)
    assert second.state is PENDING
    rig.acknowledge()
    assert (first.state, second.state) == (CLOSED, CONFIRMED)
    assert [type(event) for event in rig.events()] == [UnsubscribeConfirmed, SubscriptionConfirmed]
    assert not rig.desk.state.whole  # in between nothing was sent
    rig.reconcile()
    assert rig.desk.state.whole


def test_a_lost_link_leaves_what_was_being_given_up(profile: str) -> None:
    rig = live_rig(profile, ORDER)
    (handler,) = rig.desk.registry.handlers
    rig.unsubscribe(handler)
    rig.cut()
    assert handler.state is CLOSED


def test_a_lost_link_makes_subscriptions_pending() -> None:
    rig = live_rig("v3", *ALL)
    handlers = rig.desk.registry.handlers
    rig.cut()
    assert {handler.state for handler in handlers} == {PENDING}
    rig.connect()
    assert {handler.state for handler in handlers} == {CONFIRMED}
    assert topics(rig.events(SubscriptionConfirmed)) == [tuple(sorted(ALL))]


# Gaps


def test_before_the_first_snapshot_there_is_no_gap(profile: str) -> None:
    rig = Rig(profile)
    rig.subscribe(ORDER)
    rig.connect()
    rig.send_order("o1")
    assert rig.take() == []  # it waits
    rig.reconcile()
    assert gaps(rig) == []
    handed = rig.take()
    assert [each.message.source for each in handed] == ["snapshot", "stream"]
    assert {each.gap for each in handed} == {None}


def test_a_gap_lasts_until_rest_has_told_what_was_missed(profile: str) -> None:
    rig = live_rig(profile, ORDER, EXECUTION)
    rig.seconds = 5
    rig.cut("cut by a test")
    (opened,) = gaps(rig)
    assert set(opened.topics) == {ORDER, EXECUTION}
    assert (opened.since, opened.reason) == (WALL + 5, "cut by a test")
    assert rig.desk.state.reason == "cut by a test"
    rig.execute("missed", comes=False)
    rig.seconds = 7
    rig.connect()  # the connection's own gap ends here
    rig.execute("new")
    assert gaps(rig) == []
    assert rig.take() == []
    assert rig.desk.doubt
    rig.reconcile()
    (closed,) = gaps(rig)
    assert set(closed.gap.topics) == {ORDER, EXECUTION}
    assert (closed.gap.since, closed.gap.until) == (WALL + 5, WALL + 7)
    assert closed.gap.repaired
    assert not rig.desk.doubt
    assert rig.exec_ids() == ["missed", "new"]
    first, second = (each for each in rig.take() if each.channel.names == (EXECUTION,))
    assert (first.gap, second.gap) == (closed.gap, None)
    assert (first.message.source, second.message.source) == ("reconcile", "stream")


def test_the_gap_comes_with_the_first_message_however_late(profile: str) -> None:
    rig = live_rig(profile, ORDER, WALLET)
    rig.cut()
    rig.connect()
    rig.reconcile()
    (closed,) = rig.events(GapClosed)
    assert rig.take() == []
    rig.seconds = 3600
    rig.send_order("o1")
    rig.send_order("o2")
    assert carried_gaps(rig) == [(ORDER, closed.gap), (ORDER, None)]


def test_messages_that_have_waited_too_long_carry_no_gap_while_it_lasts() -> None:
    rig = live_rig("v3", ORDER)
    rig.cut()
    rig.connect()
    rig.send_order("o1")
    rig.wait(9)
    assert rig.take() == []
    rig.wait(1)
    rig.send_order("o2")
    assert carried_gaps(rig) == [(ORDER, None), (ORDER, None)]
    assert "not reconciled within 10 s" in rig.desk.state.reason
    assert rig.events(GapClosed) == []
    rig.reconcile()
    (closed,) = rig.events(GapClosed)
    rig.send_order("o3")
    assert carried_gaps(rig) == [(ORDER, closed.gap)]


def test_a_reconciliation_that_a_loss_calls_off_ends_no_gap(profile: str) -> None:
    rig = live_rig(profile, ORDER)
    rig.cut("first")
    rig.connect()
    assert rig.desk.begin(rig.exchange_ms, rig.now)
    rig.cut("second")
    rig.answer()
    rig.wait(0)
    assert not rig.desk.begin(rig.exchange_ms, rig.now)  # there is no link
    assert [type(event) for event in gaps(rig)] == [GapOpened]
    rig.connect()
    rig.reconcile()
    (closed,) = gaps(rig)
    assert closed.gap.reason == "first"


def test_a_loss_during_the_first_snapshot_is_a_gap(profile: str) -> None:
    rig = Rig(profile)
    rig.subscribe(ORDER, EXECUTION)
    rig.connect()
    rig.seconds = 2
    rig.execute("seen by nobody", comes=False)
    rig.cut()
    assert len(rig.events(GapOpened)) == 1
    rig.seconds = 4
    rig.connect()
    rig.reconcile()
    assert rig.exec_ids() == ["seen by nobody"]
    assert rig.events(GapClosed)[0].gap.repaired


def test_a_link_that_confirmed_nothing_opens_no_gap() -> None:
    rig = Rig()
    rig.subscribe(ORDER)
    rig.connect(acknowledged=False)
    rig.cut()
    rig.connect()
    rig.reconcile()
    assert gaps(rig) == []


def test_a_message_that_was_lost_on_a_link_that_goes_on(profile: str) -> None:
    """The connection says in one breath that it is over; for the account it is not."""
    rig = live_rig(profile, ORDER, WALLET)
    rig.miss(rig.wires[Kind.ORDER])
    (opened,) = gaps(rig)
    assert (opened.topics, opened.reason) == ((ORDER,), "not JSON")
    assert rig.desk.state.wanted
    rig.send_order("o1")
    assert rig.take() == []
    rig.reconcile()
    (closed,) = gaps(rig)
    assert closed.gap.repaired
    assert carried_gaps(rig) == [(ORDER, closed.gap)]


def test_a_loss_in_a_topic_that_nobody_subscribed_calls_for_rest_all_the_same(profile: str) -> None:
    rig = live_rig(profile, ORDER)
    rig.miss(rig.wires[Kind.WALLET])
    assert gaps(rig) == []
    assert rig.desk.doubt
    rig.reconcile()
    assert gaps(rig) == []
    assert rig.desk.state.whole


def test_a_row_that_cannot_be_read_opens_a_gap_and_is_handed_out(profile: str) -> None:
    rig = live_rig(profile, ORDER, WALLET)
    rig.send_order("o1", qty="abc")
    (opened,) = gaps(rig)
    assert set(opened.topics) == {ORDER, WALLET}
    assert "could not be read" in opened.reason
    assert carried_gaps(rig) == [(ORDER, None)]
    assert rig.desk.state.wanted
    rig.reconcile()
    (closed,) = gaps(rig)
    assert closed.gap.repaired


def test_who_comes_in_the_middle_of_a_gap_is_in_it(profile: str) -> None:
    rig = live_rig(profile, ORDER)
    rig.cut("cut")
    rig.connect()
    rig.events()
    rig.seconds = 3
    rig.subscribe(EXECUTION)
    (opened,) = gaps(rig)
    assert (opened.topics, opened.since) == ((EXECUTION,), WALL + 3)
    rig.execute("e1")
    rig.reconcile()
    closed = {event.gap.topics: event.gap for event in gaps(rig)}
    assert set(closed) == {(ORDER,), (EXECUTION,)}
    assert carried_gaps(rig) == [(EXECUTION, closed[EXECUTION,])]


def test_who_subscribes_while_there_is_no_link_was_promised_nothing() -> None:
    rig = live_rig()
    rig.cut()
    rig.subscribe(ORDER)
    rig.connect()
    rig.reconcile()
    assert gaps(rig) == []


def test_a_topic_given_up_takes_its_gap_along(profile: str) -> None:
    rig = live_rig(profile, ORDER, WALLET)
    order, _ = rig.desk.registry.handlers
    rig.cut()
    rig.unsubscribe(order)
    rig.subscribe(ORDER)
    rig.events()
    rig.connect()
    rig.events()
    rig.reconcile()
    assert {event.gap.topics for event in gaps(rig)} >= {(WALLET,)}


def test_every_topic_has_its_last_message_in_the_gap() -> None:
    rig = live_rig("v3", ORDER, WALLET)
    rig.send_order("o1")
    rig.cut()
    rig.connect()
    rig.reconcile()
    (closed,) = rig.events(GapClosed)
    assert closed.gap.last_seen.keys() == {ORDER, WALLET}  # the balance was in the snapshot
    assert closed.gap.last_seen[ORDER].received_ns == 7


# What was refused


def test_a_refused_topic_is_told_and_the_others_pass(profile: str) -> None:
    rig = Rig(profile)
    (handler,) = rig.subscribe(ORDER)
    rig.connect(acknowledged=False)
    wallet = rig.wires[Kind.WALLET]
    rig.refuse(wallet)
    rig.send_order("o1")
    assert rig.take() == []  # it is not known yet that nothing can be reconciled
    rig.acknowledge()
    assert topics(rig.events(SubscriptionRejected)) == [(wallet,)]
    assert handler.state is CONFIRMED
    assert carried_gaps(rig) == [(ORDER, None)]
    rig.send_order("o2")
    assert len(rig.take()) == 1
    assert not rig.desk.state.wanted
    assert rig.desk.doubt
    assert rig.desk.state.reason == f"the exchange refused {wallet}: no such topic"


def test_with_a_topic_refused_gaps_end_with_the_new_link_and_are_not_repaired(profile: str) -> None:
    rig = Rig(profile)
    rig.subscribe(ORDER)
    rig.connect(acknowledged=False)
    rig.refuse(rig.wires[Kind.WALLET])
    rig.acknowledge()
    rig.cut()
    assert len(rig.events(GapOpened)) == 1
    rig.connect()
    (closed,) = rig.events(GapClosed)
    assert not closed.gap.repaired
    rig.send_order("o1")
    assert carried_gaps(rig) == [(ORDER, closed.gap)]


def test_a_new_subscribe_of_what_was_refused_is_a_new_try(profile: str) -> None:
    rig = Rig(profile)
    (refused,) = rig.subscribe(WALLET)
    rig.connect(acknowledged=False)
    rig.refuse(rig.wires[Kind.WALLET])
    rig.acknowledge()
    assert (refused.state, refused.ret_msg) == (REJECTED, "no such topic")
    assert topics(rig.events(SubscriptionRejected)) == [(WALLET,)]
    (again,) = rig.subscribe(WALLET)
    assert (refused.state, again.state) == (PENDING, PENDING)
    rig.acknowledge()
    assert (refused.state, again.state) == (CONFIRMED, CONFIRMED)
    assert rig.desk.state.wanted
    rig.reconcile()
    assert rig.desk.state.whole


# Without REST


def test_without_rest_messages_pass_as_they_came(profile: str) -> None:
    rig = Rig(profile, reconcile=False)
    rig.subscribe(EXECUTION)
    rig.connect()
    rig.execute("e1")
    rig.send(Kind.EXECUTION, rig.executions[0])
    assert rig.exec_ids() == ["e1", "e1"]
    assert all(each.message.raw == b"{}" for each in rig.take())
    assert rig.desk.state.view.executions == ()  # nobody asked for the account
    assert not rig.desk.begin(rig.exchange_ms, rig.now)


def test_without_rest_the_account_follows_once_it_is_kept(profile: str) -> None:
    rig = Rig(profile, reconcile=False)
    rig.keep()
    rig.connect()
    rig.execute("e1")
    rig.send(Kind.POSITION, position("1", profile=profile))
    view = rig.desk.state.view
    assert [each.exec_id for each in view.executions] == ["e1"]
    assert view.positions
    assert view.status is Status.SYNCING


def test_without_rest_gaps_are_those_of_the_connection(profile: str) -> None:
    rig = Rig(profile, reconcile=False)
    rig.subscribe(ORDER, WALLET)
    rig.connect()
    rig.cut()
    rig.connect()
    opened, closed = gaps(rig)
    assert set(opened.topics) == set(closed.gap.topics) == {ORDER, WALLET}
    assert not closed.gap.repaired
    rig.miss(rig.wires[Kind.ORDER])
    opened, second = gaps(rig)
    assert opened.topics == second.gap.topics == (ORDER,)
    rig.send_order("o1")
    ((_, gap),) = carried_gaps(rig)
    assert gap is not None
    assert gap.reason == "cut; not JSON"


# The rest of what it hears, and the end


def test_what_is_not_of_the_account_passes() -> None:
    rig = live_rig()
    gap = Gap(topics=(OTHER, ORDER), reason="x", since=0.0)
    now: dict[str, Any] = {"time": WALL, "connection": "private"}
    events = [
        BadMessage(**now, reason="x", excerpt=b""),
        SubscriptionConfirmed(**now, topics=(OTHER,)),
        GapOpened(**now, topics=(OTHER,), since=WALL, reason="x"),
        TopicStale(**now, topic=OTHER, age=1.0, cure="none"),
    ]
    rig.hear(*events)
    assert rig.events() == events
    assert rig.desk.state.whole
    rig.hear(GapClosed(**now, gap=gap))
    (closed,) = rig.events()
    assert closed.gap.topics == (OTHER,)
    rig.hear(GapOpened(**now, topics=(OTHER, ORDER), since=WALL, reason="x"))
    assert topics(rig.events()) == [(OTHER,)]  # nobody has subscribed the other one
    assert not rig.desk.state.whole


def test_trades_are_told_after_the_messages_that_tell_of_them(profile: str) -> None:
    rig = live_rig(profile, POSITION, ORDER)
    if profile == "v3":
        rig.send_order("o1", copyTradeOrderStatus="OpenOrderFilled")
    else:
        rig.send(Kind.POSITION, position("1", profile=profile, entryPrice="100"))
    handout, change = rig.told
    assert isinstance(handout, Handout)
    assert handout.channel.names == ((ORDER,) if profile == "v3" else (POSITION,))
    assert isinstance(change, TradeChange)
    assert list(rig.desk.trades.values()) == [change.trade]


def test_after_the_end_nothing_is_handed_out(profile: str) -> None:
    rig = live_rig(profile, *ALL)
    handlers = rig.desk.registry.handlers
    rig.desk.close(rig.now)
    assert {handler.state for handler in handlers} == {CLOSED}
    assert not rig.desk.ready
    assert "closed" in rig.desk.state.reason
    rig.cut(new=State.CLOSED)
    assert [type(event) for event in rig.events()] == [StateChanged]
    rig.unsubscribe(*handlers)
    assert rig.events() == []


def test_a_connection_that_ends_for_good_closes_every_subscription(profile: str) -> None:
    rig = live_rig(profile, *ALL)
    handlers = rig.desk.registry.handlers
    rig.cut("the key was refused", new=State.CLOSED)
    assert {handler.state for handler in handlers} == {CLOSED}
    assert "the key was refused" in rig.desk.state.reason
    assert not rig.desk.state.whole


# What the connection and the account know apart from each other


def test_what_rest_has_told_is_known_whatever_the_connection_waits_for(profile: str) -> None:
    rig = live_rig(profile, ORDER)
    assert rig.desk.known == set(rig.wires.values())
    rig.cut()
    assert rig.desk.known == frozenset()


def test_a_loss_that_the_connection_counts_to_an_older_gap_is_a_new_one_here(
    profile: str,
) -> None:
    rig = live_rig(profile, ORDER)
    changed = StateChanged(
        time=WALL, connection="private", old=State.ACTIVE, new=State.BACKOFF, reason="cut again"
    )
    rig.hear(changed)
    (opened,) = gaps(rig)
    assert (opened.topics, opened.reason) == ((ORDER,), "cut again")


def test_a_topic_given_up_while_it_is_subscribed_anew_is_left(profile: str) -> None:
    rig = live_rig(profile)
    (handler,) = rig.subscribe(WALLET)
    wire = rig.wires[Kind.WALLET]
    rig.hear(TopicStale(time=WALL, connection="private", topic=wire, age=9.0, cure="none"))
    rig.carried.discard(wire)
    rig.asked.add(wire)
    rig.desk.remove([handler])
    rig.desk.settle(rig.carried, rig.now)
    assert handler.state is CONFIRMED
    rig.events()
    rig.acknowledge()
    assert handler.state is CLOSED
    assert topics(rig.events(UnsubscribeConfirmed)) == [(WALLET,)]


def test_what_came_before_the_hole_of_a_topic_subscribed_anew_is_older_than_rest() -> None:
    rig = live_rig("v3", POSITION)
    wire = rig.wires[Kind.POSITION]
    rig.hear(TopicStale(time=WALL, connection="private", topic=wire, age=9.0, cure="none"))
    rig.carried.discard(wire)
    rig.asked.add(wire)
    rig.send(Kind.POSITION, position("5"))  # then it is closed, while the topic is not sent
    rig.acknowledge()
    rig.reconcile()
    assert not rig.desk.state.view.positions
    assert [each.message.data[0]["size"] for each in rig.take()] == ["5", "0"]
