"""What is passed on when two lines carry an order book or a ticker."""

import pytest
from arrivals import (
    A,
    B,
    C,
    arbiter,
    delta,
    feed,
    leave,
    snapshot,
    ticker,
)

from bybit_copyws.policy.identity import Arrival

# Order books


def test_the_snapshot_of_a_new_line_only_tells_where_it_is():
    its = arbiter("orderbook", A)
    assert feed(its, (A, snapshot(10)), (A, delta(11)), (B, snapshot(11))) == ["s10", "d11"]
    assert its.covered(B)
    assert feed(its, (B, delta(12)), (A, delta(12)), (A, delta(13))) == ["d12", "d13"]


@pytest.mark.parametrize("start", [8, 10])
def test_a_new_line_that_is_late_is_known_to_follow(start):
    its = arbiter("orderbook", A)
    feed(its, (A, snapshot(10)), (A, delta(11)), (B, snapshot(start)))
    assert its.covered(B)
    its.leave(A)
    late = [(B, delta(u)) for u in range(start + 1, 14)]
    assert feed(its, *late) == ["d12", "d13"]


def test_a_snapshot_that_is_ahead_waits_for_the_deltas_before_it():
    its = arbiter("orderbook", A)
    feed(its, (A, snapshot(10)))
    assert feed(its, (B, snapshot(12)), (B, delta(13))) == []
    assert feed(its, (A, delta(11))) == ["d11"]
    assert feed(its, (A, delta(12))) == ["d12", "d13"]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (10, ["s10", "d11"]),
        (11, ["s11", "d12"]),
        (12, ["!", "s12", "d13"]),
        (8, ["!", "s8", "d9"]),
    ],
)
def test_the_snapshot_after_all_lines_were_gone_is_passed(start, expected):
    its = arbiter("orderbook", A)
    feed(its, (A, snapshot(9)), (A, delta(10)))
    its.leave(A)
    assert feed(its, (B, snapshot(start)), (B, delta(start + 1))) == expected


def test_a_delta_that_jumps_waits_for_the_other_line():
    its = arbiter("orderbook", A)
    feed(its, (A, snapshot(10)), (B, snapshot(10)), (A, delta(11)))
    assert feed(its, (A, delta(14))) == []
    assert not its.covered(A)
    assert feed(its, (B, delta(11)), (B, delta(12)), (B, delta(13))) == ["d12", "d13", "d14"]


def test_a_jump_of_all_lines_is_passed_for_the_caller_to_judge():
    its = arbiter("orderbook", A)
    feed(its, (A, snapshot(10)), (B, snapshot(10)), (A, delta(11)), (A, delta(14)))
    assert feed(its, (B, delta(11)), (B, delta(14)), (B, delta(15)), (A, delta(15))) == [
        "d14",
        "d15",
    ]


def test_deltas_prove_by_themselves_that_nothing_was_lost():
    its = arbiter("orderbook", A)
    feed(its, (A, snapshot(10)), (A, delta(11)))
    its.lost(A)
    assert feed(its, (A, delta(12))) == ["d12"]
    its.lost(A)
    assert feed(its, (A, delta(14))) == ["!", "d14"]


def test_a_restart_is_passed_once_and_older_messages_are_dropped():
    its = arbiter("orderbook", A)
    feed(its, (A, snapshot(100)), (B, snapshot(100)))
    assert feed(its, (A, delta(101)), (A, snapshot(1, ts=200)), (A, delta(2, ts=201))) == [
        "d101",
        "s1",
        "d2",
    ]
    late = [(B, delta(101)), (B, delta(102)), (B, snapshot(1, ts=200)), (B, delta(2, ts=201))]
    assert feed(its, *late) == []
    assert feed(its, (B, delta(3, ts=202)), (A, delta(3, ts=202))) == ["d3"]


def test_a_restart_is_known_by_the_smaller_number():
    its = arbiter("orderbook", A)
    feed(its, (A, snapshot(100)), (B, snapshot(100)))
    assert feed(its, (A, snapshot(50, ts=200)), (B, snapshot(50, ts=200))) == ["s50"]


def test_a_line_that_begins_before_a_restart_is_late():
    its = arbiter("orderbook", A)
    feed(its, (A, snapshot(100)), (A, snapshot(1, ts=200)), (A, delta(2, ts=201)))
    assert feed(its, (B, snapshot(99)), (B, delta(100)), (B, snapshot(1, ts=200))) == []
    assert its.covered(B)
    assert feed(its, (B, delta(2, ts=201)), (B, delta(3, ts=202))) == ["d3"]


def test_a_line_that_begins_after_a_restart_waits_for_the_other_to_restart():
    its = arbiter("orderbook", A)
    feed(its, (A, snapshot(100)))
    assert feed(its, (B, snapshot(2, ts=201)), (B, delta(3, ts=202))) == []
    assert feed(its, (A, delta(101)), (A, snapshot(1, ts=200))) == ["d101", "s1"]
    assert feed(its, (A, delta(2, ts=201))) == ["d2", "d3"]


def test_a_late_line_whose_snapshot_bears_a_young_time_is_found_out():
    its = arbiter("orderbook", A)
    feed(its, (A, snapshot(100)), (A, delta(101)))
    assert feed(its, (B, snapshot(99, ts=102))) == []
    assert not its.covered(B)
    assert feed(its, (A, delta(102, ts=103))) == ["d102"]
    assert its.covered(B)


def test_a_line_that_goes_on_after_another_went_back_alone_is_not_old():
    its = arbiter("orderbook", A)
    feed(its, (A, snapshot(100)), (B, snapshot(100)), (A, snapshot(7, ts=200)))
    # Its time is later than the restart, so this line has not restarted; it waits.
    assert feed(its, (B, delta(101, ts=201))) == []
    assert its.held == 1
    assert leave(its, A) == ["!", "d101"]


def test_a_restart_told_after_a_hole_covers_nobody_who_is_behind_it():
    its = arbiter("orderbook", A, B)
    feed(its, (A, snapshot(100)))
    its.leave(A)
    assert feed(its, (C, snapshot(12, ts=212)), (B, snapshot(1, ts=201))) == ["!", "s12"]
    assert not its.covered(B)  # whether it has restarted already is not known
    assert feed(its, (B, delta(12, ts=212)), (B, delta(13, ts=213))) == ["d13"]
    assert its.covered(B)


def test_after_a_hole_a_line_is_not_judged_by_what_it_sent_before():
    its = arbiter("orderbook", A)
    feed(its, (A, snapshot(1007)), (A, delta(1008)))
    its.lost(A)
    assert feed(its, (B, snapshot(1007))) == ["!", "s1007"]
    its.leave(B)
    assert feed(its, (A, delta(2, ts=2000))) == ["!", "d2"]  # the restart was lost


def test_an_old_message_between_younger_ones_is_dropped():
    its = arbiter("orderbook", A, B)
    feed(its, (A, snapshot(100)), (A, delta(101)), (A, delta(102)))
    assert feed(its, (A, delta(101, ts=99)), (A, delta(103))) == ["d103"]


def test_the_best_level_is_repeated_as_often_as_a_line_repeats_it():
    its = arbiter("orderbook", A)
    feed(its, (A, snapshot(10)), (B, snapshot(10)))
    assert feed(its, (A, snapshot(10)), (B, snapshot(10))) == ["s10"]
    assert feed(its, (A, snapshot(10)), (A, snapshot(17)), (B, snapshot(10))) == ["s10", "s17"]
    assert feed(its, (B, snapshot(17))) == []
    its.leave(A)
    assert feed(its, (B, snapshot(17)), (B, snapshot(40))) == ["s17", "s40"]


def test_the_repetitions_before_a_line_joined_are_not_asked_of_it():
    its = arbiter("orderbook", A)
    feed(its, *((A, snapshot(10)) for _ in range(3)))
    assert feed(its, (B, snapshot(10)), (B, snapshot(10))) == ["s10"]
    assert feed(its, (A, snapshot(10))) == []


def test_a_book_without_numbers_is_passed_without_failing():
    its = arbiter("orderbook", A)
    odd = [Arrival("delta", None, each) for each in ({}, {"u": "5"}, {"u": True}, None, [])]
    assert [len(its.take(A, each)) for each in odd] == [1] * 5


# Tickers


def test_the_snapshot_of_a_new_ticker_line_is_not_passed():
    its = arbiter("tickers", A)
    feed(its, (A, ticker(10, "a", "snapshot")), (A, ticker(11, "b")))
    assert feed(its, (B, ticker(11, "full", "snapshot"))) == []
    assert not its.covered(B)  # the other may have sent only some of those numbered 11
    assert feed(its, (B, ticker(12, "d"))) == []
    assert feed(its, (A, ticker(11, "c")), (A, ticker(12, "d"))) == ["c", "d"]
    assert its.covered(B)


def test_equal_cross_sequences_are_different_updates():
    its = arbiter("tickers", A)
    feed(its, (A, ticker(10, "x", "snapshot")), (B, ticker(9, "full", "snapshot")))
    feed(its, (A, ticker(11, "a")))
    assert feed(its, (B, ticker(11, "a")), (B, ticker(11, "b")), (B, ticker(11, "c"))) == ["b", "c"]
    assert feed(its, (A, ticker(11, "b")), (A, ticker(11, "c")), (A, ticker(11, "d"))) == ["d"]


def test_a_line_that_began_amid_equal_numbers_is_the_only_one_to_count_them():
    its = arbiter("tickers", A)
    feed(its, (A, ticker(10, "x", "snapshot")))
    assert feed(its, (B, ticker(9, "full", "snapshot")), (B, ticker(10, "?"))) == []
    assert not its.covered(B)
    assert feed(its, (A, ticker(11, "a"))) == ["a"]
    assert its.covered(B)


def test_a_ticker_line_alone_after_all_were_gone_begins_with_its_snapshot():
    its = arbiter("tickers", A)
    feed(its, (A, ticker(10, "x", "snapshot")))
    its.leave(A)
    assert feed(its, (B, ticker(10, "full", "snapshot")), (B, ticker(10, "a"))) == [
        "!",
        "full",
        "a",
    ]


def test_a_line_left_alone_amid_equal_numbers_goes_on_where_the_other_was():
    its = arbiter("tickers", A)
    feed(its, (A, ticker(10, "x", "snapshot")), (B, ticker(9, "full", "snapshot")))
    feed(its, *((A, ticker(11, each)) for each in "abc"))
    its.leave(A)
    assert feed(its, *((B, ticker(11, each)) for each in "abcd")) == ["d"]


def test_without_a_cross_sequence_the_time_counts():
    its = arbiter("tickers", A)
    messages = [ticker(None, str(ts), ts=ts) for ts in (5, 6, 7)]
    both = [(line, message) for message in messages for line in (A, B)]
    assert feed(its, *both) == ["5", "6", "7"]
