"""What is passed on when two lines carry trades, candles, liquidations or something new."""

from arrivals import A, B, arbiter, candle, feed, liquidation, trades

from bybit_copyws.policy.arbiter import Passed, TopicArbiter
from bybit_copyws.policy.identity import RULES, Arrival, digest, rule_of

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


def test_what_was_passed_before_a_hole_at_an_uncertain_place_is_not_repeated():
    its = arbiter("allLiquidation", A, max_held=2, remembered=3)
    feed(its, *((A, liquidation(each)) for each in "55578"))
    assert feed(its, (B, liquidation("3", "4", "5"))) == []  # too many: it gets a likely place
    assert feed(its, *((B, liquidation(each)) for each in "5789")) == ["!", "5", "9"]


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
