"""What is passed on when two lines carry one topic: one small story per rule."""

import pytest

from bybit_copyws.policy.arbiter import Passed, TopicArbiter
from bybit_copyws.policy.identity import RULES, Arrival, digest, rule_of

A, B, C = 1, 2, 3


def arbiter(channel, *lines, **limits):
    made = TopicArbiter(rule_of(channel), **limits)
    for line in lines:
        made.join(line)
    return made


def snapshot(u, ts=None):
    return Arrival("snapshot", u if ts is None else ts, {"u": u})


def delta(u, ts=None):
    return Arrival("delta", u if ts is None else ts, {"u": u})


def trades(*ids, ts=0):
    return Arrival("snapshot", ts, [{"i": each, "p": "1"} for each in ids], raw=b"all")


def ticker(cs, price="1", kind="delta", ts=0):
    return Arrival(kind, ts, {"lastPrice": price}, cs)


def liquidation(*sizes, ts=0):
    return Arrival("snapshot", ts, [{"T": 1, "v": each} for each in sizes])


def candle(start, time, close="1"):
    return Arrival("snapshot", time, [{"start": start, "timestamp": time, "close": close}])


def brief(passed):
    """Return what was passed, shortly, each after a ``!`` if there is a hole before it."""
    told = []
    for arrival, hole in passed:
        if hole:
            told.append("!")
        if isinstance(arrival.data, list):
            keys = ("i", "v", "timestamp")
            told += [next(entry[key] for key in keys if key in entry) for entry in arrival.data]
        elif "u" in arrival.data:
            told.append(f"{arrival.type[0]}{arrival.data['u']}")
        else:
            told.append(arrival.data["lastPrice"])
    return told


def feed(its, *deliveries):
    """Deliver (line, arrival) pairs and return, shortly, all that was passed."""
    return brief(
        [each for line, arrival in deliveries for each in its.take(line, arrival)]  #
    )


def leave(its, line):
    return brief(its.leave(line))


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


# Trades


def test_the_rest_of_a_message_is_passed_when_lines_cut_them_differently():
    its = arbiter("publicTrade", A)
    feed(its, (A, trades("a")), (B, trades("a")))
    assert feed(its, (A, trades("b", "c"))) == ["b", "c"]
    (passed,) = its.take(B, trades("b", "c", "d", "e"))
    assert passed.arrival.data == [{"i": "d", "p": "1"}, {"i": "e", "p": "1"}]
    assert passed.arrival.raw == b"all"
    assert feed(its, (A, trades("d")), (A, trades("e", "f"))) == ["f"]


def test_trades_before_the_first_one_passed_are_not_brought_later():
    its = arbiter("publicTrade", A, B)
    assert feed(its, (A, trades("c"))) == ["c"]
    assert feed(its, (B, trades("a")), (B, trades("b"))) == []
    assert feed(its, (B, trades("c", "d"))) == ["d"]


def test_a_trade_is_never_passed_twice_even_if_lines_disagree_about_the_order():
    its = arbiter("publicTrade", A)
    feed(its, (A, trades("a")), (B, trades("a")))
    assert feed(its, (A, trades("b", "c")), (B, trades("c", "b")), (B, trades("d"))) == [
        "b",
        "c",
        "d",
    ]


def test_a_trade_that_only_one_line_has_is_passed_and_said_to_be_late():
    its = arbiter("publicTrade", A)
    feed(its, (A, trades("a")), (B, trades("a")), (A, trades("c")))
    (passed,) = its.take(B, trades("b"))
    assert "disagree" in passed.hole
    assert feed(its, (A, trades("b")), (B, trades("c")), (B, trades("d")), (A, trades("d"))) == [
        "d"
    ]


def test_late_trades_are_forgotten_with_the_others():
    its = arbiter("publicTrade", A, remembered=2)
    feed(its, (A, trades("a")), (B, trades("a")), (A, trades("c")), (B, trades("b")))
    feed(its, (A, trades(*"defg")))
    assert feed(its, (A, trades("b"))) == ["b"]


def test_trades_without_an_id_and_without_entries_are_told_apart_by_what_they_say():
    its = arbiter("publicTrade", A)
    odd = [Arrival("snapshot", 1, each) for each in ([], [{"p": "1"}], ["x"], [{"i": None}])]
    assert [len(its.take(A, each)) for each in odd] == [1] * 4
    assert [len(its.take(A, each)) for each in odd] == [0] * 4


def test_what_is_older_by_its_time_is_not_passed_after_a_hole():
    its = arbiter("publicTrade", A, B)
    feed(its, (A, trades("d", ts=4)))
    its.leave(A)
    assert feed(its, (B, trades("b", ts=2)), (B, trades("c", ts=3))) == []
    assert feed(its, (B, trades("d", ts=4)), (B, trades("e", ts=5))) == ["!", "e"]


# Candles, liquidations, others


def test_candles_are_known_by_start_and_time():
    its = arbiter("kline", A)
    both = [(line, candle(0, time)) for time in (1, 2, 3) for line in (A, B)]
    assert feed(its, *both) == [1, 2, 3]
    assert feed(its, (B, candle(60, 61)), (A, candle(60, 61)), (A, candle(60, 61))) == [61, 61]


def test_equal_liquidations_may_both_be_real():
    its = arbiter("allLiquidation", A)
    feed(its, *((line, liquidation(each)) for each in "12" for line in (A, B)))
    assert feed(its, (A, liquidation("5", "5")), (B, liquidation("5"))) == ["5", "5"]
    assert feed(its, (B, liquidation("5")), (B, liquidation("5")), (A, liquidation("5"))) == ["5"]


def test_a_line_that_joins_amid_equal_liquidations_waits_for_a_change():
    its = arbiter("allLiquidation", A)
    feed(its, (A, liquidation("1")), (A, liquidation("5")))
    # Whether this is the one that was passed or the next one cannot be known.
    assert feed(its, (B, liquidation("5"))) == []
    assert feed(its, (A, liquidation("5")), (A, liquidation("6"))) == ["5", "6"]
    assert feed(its, (B, liquidation("6")), (B, liquidation("7"))) == ["7"]
    assert its.covered(B)


def test_a_pattern_that_fits_twice_waits_until_it_fits_once():
    its = arbiter("allLiquidation", A)
    feed(its, (A, liquidation("1", "2", "1", "2")))
    assert feed(its, (B, liquidation("1", "2"))) == []
    assert not its.covered(B)
    assert feed(its, (A, liquidation("3"))) == ["3"]
    assert not its.covered(B)
    assert feed(its, (B, liquidation("3", "4"))) == ["4"]
    assert its.covered(B)


def test_what_may_have_been_passed_is_not_repeated_after_a_hole():
    its = arbiter("allLiquidation", A)
    feed(its, (A, liquidation("1", "2", ts=1)))
    its.leave(A)
    assert feed(its, (B, liquidation("2", "2", ts=1))) == ["!", "2"]


def test_what_follows_an_uncertain_place_is_not_taken_for_late():
    its = arbiter("allLiquidation", A)
    feed(its, (A, liquidation("5", "5")))
    its.leave(A)
    assert feed(its, (B, liquidation("5"))) == []
    assert feed(its, (B, liquidation("7")), (B, liquidation("8"))) == ["!", "7", "8"]


def test_a_hole_is_forgotten_with_what_came_after_it():
    its = arbiter("publicTrade", A, remembered=2)
    feed(its, (A, trades("a")))
    its.lost(A)
    assert feed(its, (A, trades(*"cdef")), (B, trades("e")), (B, trades("f", "g"))) == [
        *"!cdef",
        "g",
    ]


def test_liquidations_in_another_order_are_not_repeated():
    its = arbiter("allLiquidation", A)
    feed(its, *((line, liquidation(each)) for each in "12" for line in (A, B)))
    feed(its, (A, liquidation("3", "4", "5")))
    assert feed(its, (B, liquidation("5", "3", "4")), (B, liquidation("3"))) == ["3"]


def test_the_memory_for_what_a_line_has_left_out_is_bounded():
    its = arbiter("allLiquidation", A, remembered=5)
    feed(its, *((line, liquidation(each)) for each in "12" for line in (A, B)))
    for round_ in range(4):
        for each in "abc":
            feed(its, (A, liquidation(f"{each}{round_}")))
        feed(its, (B, liquidation(f"c{round_}")))
    assert its.covered(B)


def test_equal_items_are_forgotten_one_by_one():
    its = arbiter("allLiquidation", A, remembered=2)
    feed(its, *((line, liquidation("5")) for line in (A, A, A)))
    feed(its, (B, liquidation("4", "5", "5")), (A, liquidation("6")))
    assert feed(its, (B, liquidation("6", "7"))) == ["7"]


def test_the_old_liquidation_is_one_object():
    its = arbiter("liquidation", A)
    messages = [Arrival("snapshot", n, {"price": "1", "updatedTime": n}) for n in (1, 2)]
    assert [its.take(A, each) for each in messages] == [[Passed(each, None)] for each in messages]


def test_an_unknown_channel_is_known_by_its_data():
    assert rule_of("somethingNew") not in RULES.values()
    its = TopicArbiter(rule_of("somethingNew"))
    assert len(its.take(A, Arrival(None, None, {"a": 1, "b": "x" * 99}))) == 1
    assert its.take(B, Arrival(None, None, {"b": "x" * 99, "a": 1})) == []


def test_a_digest_is_short_and_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert len(digest(["x" * 10_000])) == 16
    assert digest("1") != digest(1)
