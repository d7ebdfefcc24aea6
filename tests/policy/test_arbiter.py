"""What is passed on when two lines carry one topic: what holds for any channel."""

import pytest
from arrivals import (
    A,
    B,
    C,
    arbiter,
    brief,
    candle,
    delta,
    feed,
    leave,
    liquidation,
    snapshot,
    ticker,
    trades,
)

from bybit_copyws.policy.arbiter import Passed
from bybit_copyws.policy.identity import Arrival

# Any channel


def test_a_single_line_is_passed_as_it_is():
    its = arbiter("orderbook")
    messages = [snapshot(5), delta(6), delta(9), delta(10), delta(4), snapshot(1, ts=20), delta(2)]
    assert [its.take(A, each) for each in messages] == [[Passed(each, None)] for each in messages]
    assert its.covered(A)
    assert (its.dropped, its.held) == (0, 0)


@pytest.mark.parametrize(
    ("channel", "make"),
    [
        ("orderbook", delta),
        ("publicTrade", lambda n: trades(f"t{n}", ts=n)),
        ("tickers", lambda n: ticker(n, ts=n)),
        ("kline", lambda n: candle(0, n)),
        ("allLiquidation", lambda n: liquidation(str(n), ts=n)),
        ("adlAlert", lambda n: Arrival(None, None, {"n": n})),
    ],
)
def test_whatever_comes_first_wins_and_the_lead_may_change(channel, make):
    its = arbiter(channel, A, B)
    messages = [make(number) for number in range(10, 20)]
    passed = []
    for message in messages[:3]:  # both overlap
        passed += its.take(A, message) + its.take(B, message)
    passed += [each for message in messages[3:7] for each in its.take(A, message)]
    passed += [each for message in messages[3:] for each in its.take(B, message)]
    passed += [each for message in messages[7:] for each in its.take(A, message)]
    assert passed == [Passed(message, None) for message in messages]
    assert its.covered(A)
    assert its.covered(B)
    assert its.dropped == 10
    assert leave(its, A) == leave(its, B) == []


def test_a_line_that_is_ahead_is_held_until_the_other_has_come_as_far():
    its = arbiter("publicTrade", A)
    assert feed(its, (A, trades("a"))) == ["a"]
    assert feed(its, (B, trades("c")), (B, trades("d"))) == []
    assert its.held == 2
    assert not its.covered(B)
    assert feed(its, (A, trades("b"))) == ["b"]
    assert feed(its, (A, trades("c"))) == ["c", "d"]
    assert its.covered(B)
    assert its.held == 0
    assert feed(its, (A, trades("d")), (B, trades("e")), (A, trades("e"))) == ["e"]


def test_a_line_that_is_ahead_is_passed_after_a_hole_if_the_other_is_gone():
    its = arbiter("publicTrade", A)
    feed(its, (A, trades("a")), (B, trades("c")), (B, trades("d")))
    passed = its.leave(A)
    assert brief(passed) == ["!", "c", "d"]
    assert "connection is new" in passed[0].hole
    assert its.covered(B)


def test_a_line_that_joins_again_starts_anew():
    its = arbiter("publicTrade", A)
    feed(its, (A, trades("a")), (B, trades("a")), (B, trades("b")))
    assert its.covered(B)
    its.leave(B)
    assert not its.covered(B)
    its.join(B)
    assert not its.covered(B)
    assert feed(its, (A, trades("b")), (B, trades("d"))) == []
    its.leave(A)
    its.leave(B)
    assert feed(its, (A, trades("f"))) == ["!", "f"]


def test_what_overlaps_with_what_is_remembered_follows_without_a_hole():
    its = arbiter("publicTrade", A)
    feed(its, (A, trades("a", "b")))
    its.leave(A)
    assert feed(its, (B, trades("b", "c"))) == ["c"]


def test_a_message_lost_on_one_line_is_filled_by_the_other():
    its = arbiter("publicTrade", A)
    feed(its, (A, trades("a")), (B, trades("a")))
    its.lost(A)
    assert not its.covered(A)
    assert feed(its, (A, trades("c")), (A, trades("d"))) == []
    assert feed(its, (B, trades("b")), (B, trades("c"))) == ["b", "c", "d"]
    assert its.covered(A)


def test_a_message_lost_without_another_line_is_a_hole():
    its = arbiter("publicTrade", A)
    feed(its, (A, trades("a")))
    its.lost(A)
    its.lost(B)  # is not known; nothing happens
    (passed,) = its.take(A, trades("c"))
    assert "lost" in passed.hole


def test_a_loss_on_a_line_that_waits_ends_what_it_holds():
    its = arbiter("publicTrade", A)
    feed(its, (A, trades("a")), (B, trades("c")))
    its.lost(B)
    assert feed(its, (B, trades("e"))) == []
    assert its.held == 1
    assert feed(its, *((A, trades(each)) for each in "bcde")) == ["b", "c", "d", "e"]
    assert its.covered(B)


def test_a_line_that_never_joined_is_nothing():
    its = arbiter("publicTrade")
    assert not its.covered(A)
    assert its.leave(A) == []
    its.vouch(A)
    assert its.held == 0


def test_the_earlier_of_two_new_lines_is_passed_first():
    its = arbiter("publicTrade", A)
    feed(its, (A, trades("a", ts=1)), (B, trades("d", ts=4)), (C, trades("c", "d", ts=3)))
    assert leave(its, A) == ["!", "c", "d"]
    assert its.held == 0


def test_a_line_is_vouched_for_where_nothing_is_sent_for_long():
    its = arbiter("allLiquidation", A)
    its.vouch(A)
    assert its.covered(A)
    assert feed(its, (A, liquidation("1"))) == ["1"]
    its.join(B)
    its.vouch(B)
    assert its.covered(B)
    its.leave(A)
    assert feed(its, (B, liquidation("2"))) == ["2"]


def test_nobody_is_vouched_for_once_something_may_be_missing():
    its = arbiter("allLiquidation", A, B)
    feed(its, (A, liquidation("1")))
    its.lost(A)
    its.vouch(B)
    assert not its.covered(B)
    its = arbiter("orderbook", A)
    feed(its, (A, snapshot(1)))
    its.join(B)
    its.vouch(B)  # its snapshot will tell
    assert not its.covered(B)


# Limits


def test_a_silent_line_is_waited_for_only_so_long():
    its = arbiter("publicTrade", A, max_held=2)
    feed(its, (A, trades("a", ts=1)))
    assert feed(its, (B, trades("c", ts=3)), (B, trades("d", ts=4))) == []
    assert feed(its, (B, trades("e", ts=5))) == ["!", "c", "d", "e"]
    # What was missing comes too late now.
    assert feed(its, (A, trades("b", ts=2)), (A, trades("c", ts=3))) == []
    assert feed(its, (A, trades("d", "e", ts=5)), (A, trades("f", ts=6))) == ["f"]
    assert its.covered(A)


def test_a_queue_that_fits_nowhere_is_dropped_while_the_other_line_goes_on():
    its = arbiter("publicTrade", A, max_held=2)
    feed(its, (A, trades("a")))
    for number in range(9):
        assert feed(its, (A, trades(f"t{number}")), (B, trades(f"other{number}"))) == [f"t{number}"]
    assert its.held <= 2
    assert its.dropped > 5


def test_a_line_too_far_behind_is_not_trusted():
    its = arbiter("publicTrade", A, remembered=3)
    feed(its, (A, trades("a")), (B, trades("a")))
    feed(its, (A, trades(*"bcdefg")))
    assert not its.covered(B)
    assert feed(its, (B, trades("b")), (B, trades("c"))) == []
    assert its.held == 2
    assert feed(its, (B, trades(*"defgh"))) == ["h"]
    assert its.covered(B)
