"""The account, rule by rule: plain calls."""

from __future__ import annotations

import dataclasses
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from account_rows import (
    NOW_MS,
    ask_all,
    execution,
    live_account,
    message,
    new_account,
    order,
    order5,
    position,
    reconcile,
)

from bybit_copyws.errors import ConfigurationError, ProtocolError
from bybit_copyws.messages import Message
from bybit_copyws.state import AccountState, Kind, Status, find_account_dialect

D = Decimal
SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples"
POSITION, ORDER, EXECUTION, WALLET = Kind.POSITION, Kind.ORDER, Kind.EXECUTION, Kind.WALLET


def sources(updates: list[Any]) -> list[tuple[str, str]]:
    return [(each.kind.value, each.source) for each in updates]


def ids(updates: list[Any]) -> list[str]:
    return [m.exec_id for each in updates if each.kind is EXECUTION for m in each.models]


# Status


def test_a_new_account_is_syncing_and_empty() -> None:
    state = new_account()
    view = state.view
    assert (view.status, view.positions, view.orders, view.executions, view.wallet) == (
        *(Status.SYNCING, {}, {}, (), None),
    )
    assert view.reason == "no snapshot has come yet"
    assert (state.whole, state.ready, view.live) == (False, False, False)
    assert state.question() is None
    assert state.deadline is None
    assert state.age(5.0) == math.inf
    assert repr(state) == "<AccountState syncing>"


def test_the_first_reconciliation_is_the_snapshot() -> None:
    state = new_account()
    assert not state.begin(NOW_MS)  # what happens before the confirmation nobody would tell
    assert not state.wanted
    state.confirmed()
    assert state.wanted
    assert state.begin(NOW_MS)
    assert not state.wanted
    answers = {
        "positions": [position("2", entryPrice="100")],
        "orders": [order("o1", "New"), order("old", "Cancelled", -1)],
    }
    asked = ask_all(state, answers)
    assert asked == [
        ("orders", {}),
        ("positions", {}),
        ("wallet", {}),
        ("executions", {"symbol": "BTCUSDT", "start_time": NOW_MS}),
    ]
    assert state.ready
    assert state.view.status is Status.SYNCING  # the reader's thread merges
    updates = state.tick(3.0)
    assert sources(updates) == [
        ("order", "snapshot"),
        ("position", "snapshot"),
        ("wallet", "snapshot"),
    ]
    assert [row["orderId"] for row in updates[0].data] == ["o1"]  # not what had ended before
    assert (state.view.status, state.view.reason, state.age(4.0)) == (Status.LIVE, "", 1.0)
    assert state.whole
    assert not state.wanted
    assert state.view.position("BTCUSDT", 1).size == 2
    assert state.view.position("BTCUSDT", 2) is None
    assert state.view.order("o1").status == "New"
    assert state.view.order("o2") is None
    assert state.tick(4.0) == []


def test_an_account_without_rest_passes_everything_and_is_never_live() -> None:
    state = new_account(reconcile=False)
    state.confirmed()
    assert not state.wanted
    assert not state.begin(NOW_MS)
    (update,) = state.take(message(POSITION, position("1")), 1.0)
    assert update.source == "stream"
    assert state.view.position("BTCUSDT", 1).size == 1
    assert not state.lost("the link is lost", 2.0)
    assert state.take(message(POSITION, position("2")), 3.0)
    assert not state.wanted
    assert state.view.status is Status.SYNCING
    assert state.view.reason == "reconcile=False: only what the stream has said is known"


def test_a_view_never_changes() -> None:
    state = live_account(answers={"positions": [position("2")], "orders": [order("o1", "New")]})
    before = state.view
    kept = dict(before.positions), dict(before.orders)
    state.take(message(POSITION, position("0")), 1.0)
    state.take(message(ORDER, order("o1", "Cancelled", 5)), 1.0)
    state.take(message(EXECUTION, execution("e1")), 1.0)
    assert (dict(before.positions), dict(before.orders), before.executions) == (*kept, ())
    assert (dict(state.view.positions), dict(state.view.orders)) == ({}, {})
    assert state.view.done_orders["o1"].status == "Cancelled"
    assert len(state.view.executions) == 1
    with pytest.raises(TypeError):
        before.positions["BTCUSDT", 1] = None  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        before.wallet = None  # type: ignore[misc]


def test_an_order_is_found_by_the_users_own_id_done_or_not() -> None:
    rows = [order("o1", "New", orderLinkId="mine"), order("o2", "New", orderLinkId="other")]
    state = live_account(answers={"orders": rows})
    assert state.view.order(order_link_id="mine").order_id == "o1"
    state.take(message(ORDER, order("o1", "Cancelled", 5, orderLinkId="mine")), 1.0)
    assert state.view.order(order_link_id="mine").status == "Cancelled"
    assert state.view.order("o1").status == "Cancelled"
    assert state.view.order() is None


# A gap


def test_messages_wait_for_the_reconciliation_and_come_after_what_was_missed() -> None:
    state = live_account(answers={"positions": [position("1")]})
    state.take(message(EXECUTION, execution("e1", 1)), 1.0)
    assert state.lost("the link is lost", 2.0)
    assert (state.view.status, state.view.reason) == (Status.STALE, "the link is lost")
    assert state.view.position("BTCUSDT", 1).size == 1  # readable as it was
    late = message(EXECUTION, execution("e4", 40))
    assert state.take(late, 3.0) == []
    assert state.take(message(POSITION, position("4")), 3.5) == []
    assert state.deadline == 13.0
    answers = {
        "positions": [position("3")],
        "executions": [execution(f"e{n}", n * 10, rest=True) for n in (3, 2, 1)],
    }
    updates = reconcile(state, answers, at=1000, now=5.0)
    assert ids(updates) == ["e2", "e3", "e4"]
    assert sources(updates) == [
        ("position", "reconcile"),
        ("execution", "reconcile"),
        ("execution", "stream"),
        ("position", "stream"),
    ]
    assert updates[2].as_message(1) is late
    assert state.view.position("BTCUSDT", 1).size == 4
    assert [each.exec_id for each in state.view.executions] == ["e1", "e2", "e3", "e4"]
    assert state.view.live


def test_a_message_of_rest_has_the_streams_names() -> None:
    state = live_account(answers={"positions": [position("1")]})
    state.lost("the link is lost", 1.0)
    rest_order = order("o1", "New", 2)
    rest_order["createdTime"] = str(rest_order.pop("createTime"))
    rest_order["updatedTime"] = str(rest_order.pop("updateTime"))
    answers = {
        "positions": [position("1")],
        "orders": [rest_order],
        "executions": [execution("e1", 1, rest=True)],
        "wallet": {"walletBalance": "12", "availableBalance": "9"},
    }
    updates = reconcile(state, answers, at=10)
    heard = {each.kind: each.as_message(5) for each in updates}
    assert heard[ORDER].data == [order("o1", "New", 2)]
    assert heard[EXECUTION].data == [execution("e1", 1)]
    assert heard[WALLET].data == {"walletBalance": "12", "availableBalance": "9"}
    assert {each.source for each in heard.values()} == {"reconcile"}
    assert {(each.raw, each.received_ns, each.ts) for each in heard.values()} == {(b"", 5, None)}
    assert heard[EXECUTION].topic == "copyTradeExecution"
    assert heard[EXECUTION].parse()[0].exec_time == NOW_MS + 1
    assert heard[WALLET].parse()[0].wallet_balance == 12


def test_v5_position_answers_have_the_streams_names() -> None:
    row = position("1", profile="v5", avgPrice="7", seq=3)
    state = new_account("v5")
    updates = reconcile(state, {"positions": [row]}, "v5")
    (told,) = [each for each in updates if each.kind is POSITION]
    assert told.data == [position("1", profile="v5", entryPrice="7", seq=3)]
    assert state.view.position("BTCUSDT", 1).entry_price == 7


def test_what_has_not_changed_is_not_told_again() -> None:
    rows = {"positions": [position("1", markPrice="5")], "orders": [order("o1", "New")]}
    state = live_account(answers=rows)
    state.lost("the link is lost", 1.0)
    rows["positions"] = [position("1.000", markPrice="6")]
    assert reconcile(state, rows) == []
    assert state.view.position("BTCUSDT", 1).mark_price == 6


def test_what_was_open_and_is_not_listed_any_more_is_asked_for_by_name() -> None:
    rows = {
        "positions": [position("1"), position("2", 2)],
        "orders": [order("o1", "New"), order("o2", "New"), order("o3", "New")],
    }
    state = live_account(answers=rows)
    state.lost("the link is lost", 1.0)
    state.confirmed()
    state.begin(NOW_MS + 10)
    answers = {
        "positions BTCUSDT": [position("0", cumRealisedPnl="4")],
        "orders": [order("o2", "New")],
        "orders o1": [order("o1", "CloseOrderFilled", 5, "100")],
    }
    asked = ask_all(state, answers)
    assert asked[3:6] == [
        ("orders", {"symbol": "BTCUSDT", "order_id": "o1"}),
        ("orders", {"symbol": "BTCUSDT", "order_id": "o3"}),
        ("positions", {"symbol": "BTCUSDT"}),
    ]
    updates = state.tick(2.0)
    told = {each.kind: each.data for each in updates}
    assert told[ORDER] == [order("o1", "CloseOrderFilled", 5, "100")]
    flat = {"symbol": "BTCUSDT", "positionIdx": 2, "side": "", "size": "0"}
    assert told[POSITION] == [position("0", cumRealisedPnl="4"), flat]
    assert not state.view.positions
    assert set(state.view.orders) == {"o2"}  # of o3 the exchange knows nothing


def test_v5_looks_an_order_up_in_the_history_too() -> None:
    state = live_account("v5", {"orders": [order5("o1", "New"), order5("o2", "New")]})
    state.lost("the link is lost", 1.0)
    state.confirmed()
    state.begin(NOW_MS + 10)
    answers = {
        "orders o1": [order5("o1", "Filled", 5, "100")],
        "order_history o2": [order5("o2", "Cancelled", 6)],
    }
    asked = [call for call, params in ask_all(state, answers, "v5") if "order_id" in params]
    assert asked == ["orders", "orders", "order_history"]
    state.tick(2.0)
    assert {k: each.status for k, each in state.view.done_orders.items()} == {
        "o1": "Filled",
        "o2": "Cancelled",
    }


def test_a_second_loss_calls_the_questions_off_and_keeps_what_waits() -> None:
    state = live_account(answers={"positions": [position("1")]})
    state.lost("first", 1.0)
    state.confirmed()
    state.begin(NOW_MS)
    question = state.question()
    assert question is not None
    assert state.take(message(POSITION, position("5")), 2.0) == []
    assert state.take(message(EXECUTION, execution("e5", 5)), 2.0) == []
    assert not state.lost("second", 3.0)
    assert state.question() is None
    assert not state.wanted
    assert not state.begin(NOW_MS)
    state.answer(question, "of no meaning any more")
    # Since the second loss the position was closed: what waited is older than that answer.
    answers = {
        "executions": [execution("e6", 6, rest=True), execution("e5", 5, rest=True)],
    }
    updates = reconcile(state, answers, now=4.0)
    assert sources(updates)[:2] == [("position", "stream"), ("position", "reconcile")]
    assert ids(updates) == ["e5", "e6"]
    assert not state.view.positions
    assert state.view.live


def test_an_order_that_waited_before_a_second_loss_is_asked_for() -> None:
    state = live_account()
    state.lost("first", 1.0)
    state.take(message(ORDER, order("o1", "New", 1)), 1.5)
    state.lost("second", 2.0)
    state.confirmed()
    state.begin(NOW_MS)
    asked = ask_all(state, {"orders o1": [order("o1", "Cancelled", 2)]})
    assert ("orders", {"symbol": "BTCUSDT", "order_id": "o1"}) in asked
    updates = state.tick(3.0)
    assert [each.models[0].status for each in updates if each.kind is ORDER] == [
        "New",
        "Cancelled",
    ]


def test_a_doubt_without_a_lost_link_is_cleared_at_once() -> None:
    state = live_account()
    assert state.stale("silent for long", 2.0)
    assert (state.view.status, state.view.reason) == (Status.STALE, "silent for long")
    assert state.wanted
    assert state.begin(NOW_MS)
    ask_all(state, {})
    assert state.tick(3.0) == []
    assert state.view.live


# Waiting is bounded


def test_messages_go_out_after_the_timeout_and_the_gap_stays_open() -> None:
    state = live_account(reconcile_timeout=2.0)
    state.lost("the link is lost", 1.0)
    state.confirmed()
    state.begin(NOW_MS + 100)
    first, second = message(POSITION, position("5")), message(EXECUTION, execution("e9", 90))
    assert state.take(first, 10.0) == []
    assert state.deadline == 12.0
    assert state.tick(11.9) == []
    updates = state.tick(12.0)
    assert [each.as_message(1) for each in updates] == [first]
    assert (state.view.status, state.view.reason) == (Status.STALE, "not reconciled within 2 s")
    assert not state.whole
    assert state.deadline is None
    (update,) = state.take(second, 12.5)  # others do not wait any more
    assert update.as_message(1) is second
    answers = {
        "positions": [position("3")],  # older than what the stream has told
        "executions": [execution("e9", 90, rest=True), execution("e1", 10, rest=True)],
    }
    ask_all(state, answers)
    updates = state.tick(13.0)
    assert ids(updates) == ["e1"]
    assert [each for each in updates if each.kind is POSITION] == []
    assert state.view.position("BTCUSDT", 1).size == 5
    assert state.view.live


def test_after_another_loss_messages_wait_again() -> None:
    state = live_account(reconcile_timeout=2.0)
    state.lost("first", 1.0)
    state.take(message(POSITION, position("5")), 1.0)
    assert state.tick(9.0)
    state.lost("second", 10.0)
    assert state.take(message(POSITION, position("6")), 11.0) == []
    assert state.deadline == 13.0


def test_what_went_out_before_the_questions_is_older_than_the_answers() -> None:
    state = live_account(reconcile_timeout=2.0)
    state.lost("the link is lost", 1.0)
    state.take(message(POSITION, position("4")), 1.0)
    state.tick(9.0)
    state.confirmed()
    state.begin(NOW_MS)
    assert state.take(message(POSITION, position("5")), 10.0)
    (update, *_) = reconcile(state, {"positions": [position("6")]}, now=11.0)
    assert (update.source, update.data) == ("reconcile", [position("6")])
    assert state.view.position("BTCUSDT", 1).size == 6


def test_a_message_that_comes_past_the_deadline_releases_what_waits() -> None:
    state = live_account(reconcile_timeout=2.0)
    state.lost("the link is lost", 1.0)
    first, second = (message(POSITION, position(size)) for size in ("5", "6"))
    assert state.take(first, 10.0) == []
    assert [each.message for each in state.take(second, 12.0)] == [first, second]


@pytest.mark.parametrize("bound", [{"most_waiting": 2}, {"most_waiting_bytes": 5}])
def test_more_than_can_wait_goes_out_and_calls_the_questions_off(bound: dict[str, int]) -> None:
    state = live_account(**bound)
    state.lost("the link is lost", 1.0)
    state.confirmed()
    state.begin(NOW_MS)
    messages = [message(POSITION, position(size)) for size in ("1", "2", "3")]
    assert state.take(messages[0], 1.0) == []
    assert state.take(messages[1], 1.0) == []
    assert [each.message for each in state.take(messages[2], 1.0)] == messages
    assert state.wanted
    assert state.view.reason == "more came than can wait for a reconciliation"
    for _ in range(10):  # nothing is kept while nothing is asked
        assert state.take(messages[0], 1.0)
    assert not reconcile(state, {"positions": [position("1")]})
    assert state.view.live


def test_a_look_while_live_holds_nothing_up_and_tells_what_the_stream_did_not() -> None:
    state = live_account(answers={"positions": [position("1")]}, most_waiting=2)
    state.confirmed()
    state.begin(NOW_MS)
    (update,) = state.take(message(POSITION, position("2", 2)), 1.0)
    assert update.source == "stream"
    ask_all(state, {"positions": [position("3")]})
    assert state.view.live
    (told,) = [each for each in state.tick(2.0) if each.kind is POSITION]
    assert (told.source, told.data) == ("reconcile", [position("3")])
    assert {key: each.size for key, each in state.view.positions.items()} == {
        ("BTCUSDT", 1): 3,
        ("BTCUSDT", 2): 2,
    }
    state.confirmed()
    state.begin(NOW_MS)
    for size in ("4", "5", "6"):  # too many for a look: it is given up
        assert state.take(message(POSITION, position(size)), 3.0)
    assert state.question() is None
    assert state.view.live


def test_what_a_look_knew_before_the_stream_told_it_is_told_once_it_is_sure() -> None:
    state = live_account(answers={"orders": [order("o1", "New", 1)]})
    state.confirmed()
    state.begin(NOW_MS)
    state.take(message(ORDER, order("o1", "OpenOrderPartiallyFilled", 2, "5")), 1.0)
    ended = order("o1", "OpenOrderClosedFilled", 9, "10")
    ask_all(state, {"orders": [ended]})
    (update,) = state.tick(1.0)
    assert (update.source, update.data) == ("reconcile", [ended])
    assert state.take(message(ORDER, order("o1", "OpenOrderFilled", 4, "10")), 2.0) == []


# Failures


def test_a_failure_is_told_and_another_reconciliation_is_wanted() -> None:
    state = live_account()
    state.lost("the link is lost", 1.0)
    state.confirmed()
    state.begin(NOW_MS)
    state.fail("HTTP 502")
    assert state.wanted
    assert (state.view.status, state.view.reason) == (Status.STALE, "not reconciled: HTTP 502")
    assert state.since == 1.0
    reconcile(state)
    state.confirmed()
    state.begin(NOW_MS)  # a look that fails harms nothing
    state.fail("HTTP 502")
    assert (state.view.live, state.view.reason, state.wanted) == (True, "", False)


@pytest.mark.parametrize(
    ("call", "result"),
    [
        ("orders", []),
        ("orders", {}),
        ("orders", {"list": [1]}),
        ("orders", {"list": [{"orderId": "o1"}]}),
        ("positions", {"list": [{"symbol": "BTCUSDT"}]}),
        ("positions", {"list": [position("1", 1) | {"size": "many"}]}),
        ("wallet", {"list": []}),
        ("wallet", {"walletBalance": {}}),
        ("executions", {"list": [{"symbol": "BTCUSDT"}]}),
    ],
)
def test_an_answer_that_cannot_be_read_raises(call: str, result: Any) -> None:
    state = new_account()
    state.confirmed()
    state.begin(NOW_MS)
    answers: dict[str, Any] = {
        "orders": {"list": [order("o1", "New")]},
        "positions": {"list": []},
        "wallet": {"walletBalance": "1"},
    }
    while (question := state.question()) is not None and question.call != call:
        state.answer(question, answers[question.call])
    assert question is not None
    with pytest.raises(ProtocolError):
        state.answer(question, result)


def test_pages_are_walked_to_their_end_and_never_round_in_circles() -> None:
    state = new_account("v5")
    state.confirmed()
    state.begin(NOW_MS)
    question = state.question()
    assert question is not None
    state.answer(question, {"list": [order5("o1", "New")], "nextPageCursor": "a"})
    question = state.question()
    assert question == ("orders", {"cursor": "a"})
    # The last page may name a next one, which is empty.
    state.answer(question, {"list": [order5("o2", "New")], "nextPageCursor": "b"})
    question = state.question()
    assert question is not None
    assert question.params["cursor"] == "b"
    state.answer(question, {"list": [], "nextPageCursor": "c"})
    ask_all(state, {}, "v5")
    state.tick(1.0)
    assert set(state.view.orders) == {"o1", "o2"}
    state.confirmed()
    state.begin(NOW_MS)
    for cursor in ("a", "b"):
        question = state.question()
        assert question is not None
        state.answer(question, {"list": [order5("o1", "New")], "nextPageCursor": cursor})
    question = state.question()
    assert question is not None
    with pytest.raises(ProtocolError, match="circles"):
        state.answer(question, {"list": [order5("o1", "New")], "nextPageCursor": "a"})


def test_a_message_that_cannot_be_read_is_handed_out_and_calls_for_a_reconciliation() -> None:
    state = live_account()
    odd = message(POSITION, position("1") | {"size": "many"})
    (update,) = state.take(odd, 5.0)
    assert update.as_message(1) is odd
    assert update.models == ()
    assert state.view.status is Status.STALE
    assert state.view.reason.startswith("a message could not be read: copyTradePosition")
    assert state.wanted
    assert state.take(odd, 6.0) == []  # waits, and is no better afterwards
    (update,) = reconcile(state, now=7.0)
    assert update.as_message(1) is odd
    assert state.wanted


@pytest.mark.parametrize("data", [None, 5, "text", [1], [None], [{}], {}, [{"size": "1"}]])
@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("profile", ["v3", "v5"])
def test_nothing_that_a_message_holds_raises_or_is_lost(
    kind: Kind, data: Any, profile: str
) -> None:
    topic = message(kind, {}, profile=profile).topic
    odd = Message(topic, None, None, data, 0, b"")
    state = live_account(profile)
    (update,) = state.take(odd, 1.0)
    assert update.as_message(1) is odd
    state.lost("the link is lost", 2.0)
    assert state.take(odd, 3.0) == []
    assert [each.as_message(1) for each in reconcile(state, {}, profile)] == [odd]


def test_a_message_of_another_topic_is_refused() -> None:
    state = new_account("v5")
    with pytest.raises(ConfigurationError, match=r"execution\.fast"):
        state.take(Message("execution.fast", None, None, [], 0, b""), 1.0)


def test_rows_of_other_markets_are_handed_out_and_not_kept() -> None:
    state = live_account("v5")
    spot = message(ORDER, order5("o1", "New", category="spot"), profile="v5")
    (update,) = state.take(spot, 1.0)
    assert update.as_message(1) is spot
    assert not state.view.orders


# Executions


def test_an_execution_is_handed_out_once() -> None:
    state = live_account()
    first = message(EXECUTION, execution("e1", 1), execution("e2", 2))
    assert [each.message for each in state.take(first, 1.0)] == [first]
    assert state.take(message(EXECUTION, execution("e2", 2)), 2.0) == []
    both = message(EXECUTION, execution("e2", 2), execution("e3", 3), ts=77)
    (update,) = state.take(both, 3.0)
    part = update.as_message(1)
    assert part.data == [execution("e3", 3)]
    assert (part.source, part.ts, part.received_ns, part.raw) == ("stream", 77, 7, b"")
    assert [each.exec_id for each in state.view.executions] == ["e1", "e2", "e3"]


def test_executions_of_one_millisecond_keep_the_order_of_the_exchange() -> None:
    state = live_account(answers={"positions": [position("1")]})
    state.lost("the link is lost", 1.0)
    state.take(message(EXECUTION, execution("e3", 5), execution("e4", 5)), 1.0)
    listed = [execution(name, 5, rest=True) for name in ("e3", "e2", "e1")]
    updates = reconcile(state, {"positions": [position("1")], "executions": listed})
    assert ids(updates) == ["e1", "e2", "e3", "e4"]
    assert sources(updates)[-2:] == [("execution", "reconcile"), ("execution", "stream")]


def test_an_execution_that_rest_does_not_know_yet_is_put_in_its_place() -> None:
    state = live_account(answers={"positions": [position("1")]})
    state.lost("the link is lost", 1.0)
    state.take(message(EXECUTION, execution("e2", 20)), 1.0)
    listed = [execution("e3", 30, rest=True), execution("e1", 10, rest=True)]
    updates = reconcile(state, {"positions": [position("1")], "executions": listed})
    assert ids(updates) == ["e1", "e2", "e3"]


def test_v5_executions_of_one_millisecond_are_ordered_by_their_sequence() -> None:
    state = live_account("v5")
    state.lost("the link is lost", 1.0)
    listed = [execution(name, 5, rest=True, seq=seq) for name, seq in (("e1", 1), ("e2", 2))]
    updates = reconcile(state, {"executions": listed}, "v5")
    assert ids(updates) == ["e1", "e2"]


def test_executions_are_asked_for_since_the_last_one_with_some_time_before_it() -> None:
    state = live_account(answers={"positions": [position("1")]})
    state.take(message(EXECUTION, execution("e1", 3_600_000)), 1.0)
    state.lost("the link is lost", 2.0)
    state.take(
        message(EXECUTION, execution("e2", 7_200_000)), 2.5
    )  # proves nothing: there is a gap
    state.confirmed()
    state.begin(NOW_MS + 8_000_000)
    asked = ask_all(state, {"positions": [position("1")]})
    assert asked[-1] == ("executions", {"symbol": "BTCUSDT", "start_time": NOW_MS + 3_540_000})
    state.tick(3.0)
    state.confirmed()
    state.begin(NOW_MS + 9_000_000)
    asked = ask_all(state, {"positions": [position("1")]})
    assert asked[-1] == ("executions", {"symbol": "BTCUSDT", "start_time": NOW_MS + 7_940_000})


def test_an_execution_that_went_out_during_a_gap_does_not_shorten_it() -> None:
    state = live_account("v5", reconcile_timeout=2.0)
    state.take(message(EXECUTION, execution("e1", 1_000_000), profile="v5"), 1.0)
    state.lost("the link is lost", 2.0)
    late = message(EXECUTION, execution("e9", 9_000_000), profile="v5")
    state.take(late, 3.0)
    assert state.tick(9.0)
    assert state.take(message(EXECUTION, execution("e10", 9_500_000), profile="v5"), 9.0)
    state.confirmed()
    state.begin(NOW_MS + 9_600_000)
    assert ask_all(state, {}, "v5")[-1] == ("executions", {"start_time": NOW_MS + 940_000})


def test_a_first_reconciliation_that_failed_is_made_up_for_from_its_time_on() -> None:
    state = new_account("v5", lookback=60.0)
    state.confirmed()
    state.begin(NOW_MS)
    state.fail("HTTP 502")
    state.confirmed()
    state.begin(NOW_MS + 500_000)
    asked = ask_all(state, {}, "v5")
    assert asked[-1] == ("executions", {"start_time": NOW_MS - 60_000})


def test_a_long_time_is_asked_for_in_pieces() -> None:
    week = 7 * 86_400_000
    state = new_account("v5", lookback=10 * 86_400.0)
    state.confirmed()
    state.begin(NOW_MS)
    asked = ask_all(state, {}, "v5")
    (_, first), (_, last) = asked[-2:]
    assert first["start_time"] == NOW_MS - 10 * 86_400_000
    assert first["end_time"] - first["start_time"] < week
    assert last == {"start_time": first["end_time"]}
    assert NOW_MS - last["start_time"] < week


def test_v3_asks_for_executions_where_there_can_have_been_some() -> None:
    held = [position("1"), position("1", symbol="HELDUSDT")]
    own = [order("o1", "New", symbol="OWN"), order("o0", "New", symbol="UNKNOWN")]
    state = live_account(answers={"positions": held, "orders": own})
    state.lost("the link is lost", 1.0)
    state.confirmed()
    state.begin(NOW_MS + 100_000)
    orders = [
        order("o1", "New", symbol="OWN"),
        order("o2", "CloseOrderFilled", 50_000, symbol="MISSED"),
        order("o3", "CloseOrderFilled", -70_000, symbol="LONGAGO"),
        order("o4", "New", symbol="TIMELESS", updateTime=""),
    ]
    asked = ask_all(state, {"orders": orders, "positions": [position("1", symbol="NEWUSDT")]})
    symbols = [params["symbol"] for call, params in asked if call == "executions"]
    assert symbols == ["BTCUSDT", "HELDUSDT", "MISSED", "NEWUSDT", "OWN", "TIMELESS", "UNKNOWN"]


def test_only_the_latest_executions_stay_readable() -> None:
    state = live_account(most_executions=2)
    for number in range(4):
        state.take(message(EXECUTION, execution(f"e{number}", number)), 1.0)
    assert [each.exec_id for each in state.view.executions] == ["e2", "e3"]
    assert state.take(message(EXECUTION, execution("e0", 0)), 1.0) == []


# Wallet


def test_the_wallet_is_merged_from_stream_and_rest() -> None:
    state = live_account()
    wallet = state.view.wallet
    assert wallet is not None
    assert (wallet.wallet_balance, wallet.equity) == (10, 11)
    row = {"walletBalance": "14009.12164704", "availableBalance": "13998.97749271"}
    (update,) = state.take(message(WALLET, row), 1.0)
    assert update.as_message(1).data is row
    wallet = state.view.wallet
    assert wallet is not None
    assert (wallet.wallet_balance, wallet.available_balance) == (
        *(D("14009.12164704"), D("13998.97749271")),
    )
    assert (wallet.equity, wallet.coin) == (11, "USDT")  # of the last reconciliation
    assert update.models == (wallet,)


def test_v5_wallets_are_merged_coin_by_coin_and_late_ones_are_not_taken() -> None:
    coins = [{"coin": "USDT", "equity": "5"}, {"coin": "BTC", "equity": "1"}]
    first = {"accountType": "UNIFIED", "totalWalletBalance": "10", "coin": coins}
    state = live_account("v5", {"wallet": {"list": [first]}})
    row = {"accountType": "UNIFIED", "coin": [{"coin": "USDT", "equity": "6"}]}
    assert state.take(message(WALLET, row, profile="v5", ts=5), 1.0)
    older = row | {"totalWalletBalance": "9"}
    assert state.take(message(WALLET, older, profile="v5", ts=4), 1.0) == []
    wallet = state.view.wallet
    assert wallet is not None
    assert {each.coin: each.equity for each in wallet.coins} == {"USDT": 6, "BTC": 1}
    assert wallet.wallet_balance == 10
    other = {"accountType": "FUND", "totalWalletBalance": "3"}
    assert state.take(message(WALLET, other, profile="v5", ts=6), 1.0)
    assert state.view.wallet is wallet


# Dialects


def test_topics_are_known_by_both_generations_names() -> None:
    for profile in ("v3", "v5"):
        dialect = find_account_dialect(profile)
        assert dialect.kind_of("copyTradeOrder") is dialect.kind_of("order") is ORDER
        assert dialect.kind_of("position.linear") is POSITION
        for other in ("position.spot", "execution.fast", "orderbook.50.BTCUSDT"):
            assert dialect.kind_of(other) is None
    with pytest.raises(ConfigurationError, match="v4"):
        find_account_dialect("v4")


@pytest.mark.skipif(not SAMPLES.exists(), reason="the samples are not part of the package")
def test_the_samples_are_taken() -> None:
    state = AccountState(find_account_dialect("v3"))
    folder = SAMPLES / "v3-copy-trade"
    state.confirmed()
    state.begin(NOW_MS)
    answers = {
        "orders": "order/order-list",
        "positions": "position/position-info",
        "wallet": "account/wallet",
        "executions": "position/execution",
    }
    while (question := state.question()) is not None:
        path = folder / "rest-trade" / f"{answers[question.call]}.rest.jsonl"
        result = json.loads(path.read_text("utf-8").splitlines()[0])["result"]
        if "cursor" in question.params:
            result = {"list": []}
        state.answer(question, result)
    assert state.tick(1.0)
    for path in sorted((folder / "wss-private").glob("*.stream.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            sent = json.loads(line)
            assert state.take(Message(sent["topic"], None, None, sent["data"], 0, b""), 2.0)
    view = state.view
    assert view.live
    assert view.position("ETHUSDT", 2).size == D("0.04")
    assert view.wallet is not None
    assert (view.wallet.wallet_balance, view.wallet.equity) == (
        *(D("14009.12164704"), D("985.4988359")),
    )
    assert [each.exec_type for each in view.executions] == ["Funding", "Trade"]
    assert {each.status for each in view.orders.values()} == {"New", "OpenOrderFilled"}
