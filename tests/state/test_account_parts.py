"""What makes a row late, and what is kept of the one before: orders and positions by themselves."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from account_rows import NOW_MS, order, order5, position
from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws.errors import ProtocolError
from bybit_copyws.state import find_account_dialect
from bybit_copyws.state.orders import Orders
from bybit_copyws.state.positions import Positions
from bybit_copyws.state.remembered import Remembered


def orders(profile: str = "v3") -> Orders:
    return Orders(find_account_dialect(profile))


def positions(profile: str = "v5") -> Positions:
    return Positions(find_account_dialect(profile))


# Orders


def test_an_older_row_is_late_and_the_newest_wins() -> None:
    book = orders()
    assert book.apply(order("o1", "New", 5))
    assert book.apply(order("o1", "PendingNew", 4)) is None
    assert book.apply(order("o1", "OpenOrderFilled", 6, "10"))
    assert book.apply(order("o1", "OpenOrderPartiallyFilled", 5, "5")) is None
    assert book.open["o1"].status == "OpenOrderFilled"


@pytest.mark.parametrize("reverse", [False, True])
def test_within_a_millisecond_what_is_filled_decides_then_the_early_statuses(reverse: bool) -> None:
    rows = [
        order("o1", "PendingNew"),
        order("o1", "New"),
        order("o1", "OpenOrderPartiallyFilled", 0, "5"),
        order("o1", "OpenOrderFilled", 0, "10"),
    ]
    book = orders()
    for row in reversed(rows) if reverse else rows:
        book.apply(row)
    assert book.open["o1"].status == "OpenOrderFilled"
    assert book.apply(order("o2", "New"))
    assert book.apply(order("o2", "Untriggered")) is None
    assert book.open["o2"].status == "New"


def test_a_trade_that_is_closed_in_part_goes_back_within_a_millisecond() -> None:
    book = orders()
    for status in ("OpenOrderFilled", "OpenOrderClosing", "OpenOrderFilled"):
        assert book.apply(order("o1", status, 3, "10"))
    assert book.open["o1"].status == "OpenOrderFilled"


@pytest.mark.parametrize("status", ["New", "OpenOrderFilled", "SomethingNew"])
def test_an_order_that_has_ended_never_comes_back(status: str) -> None:
    book = orders()
    assert book.apply(order("o1", "Cancelled", 5))
    assert book.apply(order("o1", status, 9, "10")) is None
    assert (dict(book.open), book.done["o1"].status) == ({}, "Cancelled")
    later = book.apply(order("o1", "Cancelled", 6, price="7"))  # more about its end may come
    assert later is not None
    assert book.done["o1"].price == 7
    assert book.get("o1") is book.done["o1"]


def test_an_ended_order_stays_ended_when_it_is_not_readable_any_more() -> None:
    book = orders()
    for number in range(1_001):
        book.apply(order(f"o{number}", "Cancelled", 5))
    assert "o0" not in book.done
    assert len(book.done) == 1_000
    assert book.apply(order("o0", "New", 9)) is None


def test_a_forgotten_order_comes_back_with_its_next_row() -> None:
    book = orders()
    book.apply(order("o1", "New", 5))
    book.forget("o1")
    assert not book.open
    book.forget("o1")
    assert book.apply(order("o1", "OpenOrderFilled", 6, "10"))
    assert book.open["o1"].status == "OpenOrderFilled"


def test_v3_rows_keep_what_the_other_side_does_not_send() -> None:
    book = orders()
    stream: dict[str, Any] = {
        "orderType": "Limit",
        "positionIdx": "2",
        "cumExecQty": "0.5",
        "lastExecPrice": "20",
        "takeProfit": "50",
    }
    rest = {"timeInForce": "GoodTillCancel", "leavesQty": "0.5", "leverage": "10"}
    book.apply(order("o1", "OpenOrderPartiallyFilled", 1, "10", **stream))
    book.apply(order("o1", "OpenOrderPartiallyFilled", 1, "10.000", **rest))
    held = book.open["o1"]
    assert (held.order_type, held.position_idx, held.time_in_force) == (
        *("Limit", 2, "GoodTillCancel"),
    )
    assert (held.cum_exec_qty, held.leaves_qty) == (Decimal("0.5"), Decimal("0.5"))
    book.apply(order("o1", "OpenOrderFilled", 2, "20"))  # filled: both would be wrong now
    held = book.open["o1"]
    assert (held.cum_exec_qty, held.last_exec_price, held.leaves_qty) == (None, None, None)
    assert (held.leverage, held.take_profit) == (10, 50)


def test_a_v5_row_says_itself_what_is_empty() -> None:
    book = orders("v5")
    book.apply(order5("o1", "New", 1, takeProfit="50"))
    book.apply(order5("o1", "New", 2, takeProfit=""))
    assert book.open["o1"].take_profit is None


@pytest.mark.parametrize("row", [{}, {"orderId": "o1"}, {"orderStatus": "New"}])
def test_an_order_without_id_or_status_is_refused(row: Any) -> None:
    with pytest.raises(ProtocolError):
        orders().apply(row)


# Positions


def test_a_smaller_sequence_is_late_whatever_the_time() -> None:
    book = positions()
    assert book.apply(position("1", profile="v5", seq=5, updatedTime="10"))
    assert book.apply(position("2", profile="v5", seq=4, updatedTime="11")) is None
    assert book.apply(position("3", profile="v5", seq=6, updatedTime="9"))
    assert book.view["BTCUSDT", 1].size == 3


def test_with_one_sequence_the_time_decides() -> None:
    book = positions()
    assert book.apply(position("1", profile="v5", seq=5, leverage="3", updatedTime="10"))
    assert book.apply(position("1", profile="v5", seq=5, leverage="2", updatedTime="9")) is None
    assert book.apply(position("1", profile="v5", seq=5, leverage="4", updatedTime="10"))
    assert book.apply(position("1", profile="v5", seq=-1, leverage="5", updatedTime="11"))
    assert book.view["BTCUSDT", 1].leverage == 5


def test_a_late_row_does_not_open_a_closed_position_again() -> None:
    book = positions()
    book.apply(position("1", profile="v5", seq=5))
    book.apply(position("0", profile="v5", seq=6))
    assert not book.view
    assert book.apply(position("1", profile="v5", seq=5)) is None
    assert not book.view
    known = book.get(("BTCUSDT", 1))
    assert known is not None
    assert known.size == 0


def test_v3_rows_without_a_number_are_taken_as_they_come() -> None:
    book = positions("v3")
    for size in ("1", "2", "1"):
        assert book.apply(position(size, positionSeq=0))
    assert book.view["BTCUSDT", 1].size == 1


def test_v3_rest_takes_the_place_of_figures_of_another_moment() -> None:
    book = positions("v3")
    book.apply(position("1", positionSeq=7, orderMargin="3", riskId=11))
    book.apply(position("1", markPrice="5", createdTime=NOW_MS))
    held = book.view["BTCUSDT", 1]
    assert (held.order_margin, held.sequence, held.mark_price, held.risk_id) == (None, None, 5, 11)
    book.apply(position("1", positionSeq=3))
    held = book.view["BTCUSDT", 1]
    assert (held.mark_price, held.created_time, held.sequence) == (None, NOW_MS, 3)


@pytest.mark.parametrize("missing", ["symbol", "positionIdx", "size"])
def test_a_position_that_cannot_be_told_from_others_is_refused(missing: str) -> None:
    row = position("1")
    del row[missing]
    with pytest.raises(ProtocolError):
        positions().apply(row)


@given(
    st.permutations(range(6)),
    st.lists(st.sampled_from(["0", "1", "2"]), min_size=6, max_size=6),
)
def test_in_whatever_order_v5_rows_come_the_newest_stays(order_: Any, sizes: list[str]) -> None:
    book = positions()
    for number in order_:
        book.apply(position(sizes[number], profile="v5", seq=number + 1))
    known = book.get(("BTCUSDT", 1))
    assert known is not None
    assert (known.size, known.sequence) == (int(sizes[5]), 6)


# Ids


def test_the_oldest_ids_are_forgotten_first() -> None:
    seen = Remembered(2)
    assert [seen.add(each) for each in ("a", "b", "a", "c")] == [True, True, False, True]
    assert ("a" in seen, "b" in seen, "c" in seen, len(seen)) == (False, True, True, 2)
