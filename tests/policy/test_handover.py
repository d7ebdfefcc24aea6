"""Where a new connection goes on after an old one. Plain calls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws.policy.handover import Copy, go_on, overlap


def book(kind, number):
    return Copy({"s": "snapshot", "d": "delta"}[kind], {"u": number}, None, 1)


def books(text):
    return [book(each[0], int(each[1:])) for each in text.split()]


def trades(*ids):
    return Copy("snapshot", [{"i": each} for each in ids], None, 1)


def places(continuation):
    return [rest.place for rest in continuation.rests]


def test_the_end_of_one_sequence_at_the_beginning_of_another():
    assert overlap("abcab", "abd") == 2
    assert overlap("aaa", "aaaa") == 3
    assert overlap("abc", "xyz") == 0
    assert overlap("", "abc") == overlap("abc", "") == 0
    assert overlap("xabcabc", "abcabcd") == 6


@given(st.text("ab", max_size=12), st.text("ab", max_size=12))
def test_the_overlap_is_the_longest(old, new):
    lengths = range(min(len(old), len(new)), -1, -1)
    expected = next(n for n in lengths if old[len(old) - n :] == new[:n])
    assert overlap(old, new) == expected


def test_a_book_goes_on_with_the_delta_after_the_last():
    result = go_on("orderbook", books("d4 d5 d6 d7"), books("s5 d6 d7 d8 d9"))
    assert (places(result), result.hole) == ([3, 4], None)


def test_the_snapshot_of_a_quiet_book_is_known_already():
    result = go_on("orderbook", [], books("s5"))
    assert (places(result), result.hole) == ([], None)
    assert places(go_on("orderbook", [], books("s5 d6"))) == [1]


def test_repeats_of_a_level_1_book_are_counted():
    assert places(go_on("orderbook", books("s5 s5"), books("s5 s5 s5 s5"))) == [3]
    assert places(go_on("orderbook", books("s4 s5"), books("s5 s9"))) == [1]


def test_trades_go_on_one_by_one_however_they_were_cut():
    delivered = [trades("a", "b"), trades("c", "d")]
    held = [trades("b"), trades("c", "d", "e"), trades("f")]
    result = go_on("publicTrade", delivered, held)
    assert [rest.data for rest in result.rests] == [[{"i": "e"}], [{"i": "f"}]]
    assert result.hole is None


def test_a_whole_message_is_handed_on_as_it_is():
    held = [trades("b", "c")]
    assert go_on("publicTrade", [trades("a")], held).rests[0].data is held[0].data


def test_tickers_go_on_by_their_number():
    def ticker(kind, cs):
        return Copy(kind, {}, cs, 1)

    delivered = [ticker("delta", cs) for cs in (4, 5, 5, 6)]
    held = [ticker("snapshot", 5)] + [ticker("delta", cs) for cs in (5, 6, 7)]
    assert places(go_on("tickers", delivered, held)) == [3]


def test_klines_go_on_by_start_and_time():
    def kline(start, time):
        return Copy("snapshot", [{"start": start, "timestamp": time}], None, time)

    delivered = [kline(0, 1), kline(0, 2)]
    assert places(go_on("kline", delivered, [kline(0, 2), kline(60, 61)])) == [1]
    made_for_the_subscription = [kline(0, 1.5), kline(0, 2), kline(0, 3)]
    assert places(go_on("kline", delivered, made_for_the_subscription)) == [2]
    assert places(go_on("kline", [], [kline(0, 1)])) == [0]
    assert places(go_on("kline", delivered, [kline(0, "?")])) == [0]


def test_executions_go_on_by_their_id():
    def execution(*ids):
        return Copy(None, [{"execId": each} for each in ids], None, None)

    result = go_on("copyTradeExecution", [execution("a")], [execution("a", "b")])
    assert result.rests[0].data == [{"execId": "b"}]


def test_other_messages_are_compared_as_a_whole():
    one, two = Copy(None, {"size": "1"}, None, None), Copy(None, {"size": "2"}, None, None)
    assert places(go_on("allLiquidation", [one, two], [two, one])) == [1]


def test_odd_data_is_compared_as_a_whole():
    odd = Copy("delta", None, None, None)
    for channel in ("orderbook", "publicTrade", "copyTradeExecution"):
        assert go_on(channel, [odd], [odd]).rests == []


def test_what_is_no_continuation_is_a_hole():
    result = go_on("publicTrade", [trades("a"), trades("x")], [trades("a"), trades("b")])
    assert [rest.data for rest in result.rests] == [[{"i": "b"}]]
    assert result.hole is not None


@given(
    truth=st.integers(0, 30),
    joined=st.integers(0, 30),
    ended=st.integers(0, 30),
    cuts=st.sets(st.integers(0, 30)),
)
def test_nothing_is_lost_or_doubled_wherever_the_one_joins_and_the_other_ends(
    truth, joined, ended, cuts
):
    joined, ended = min(joined, truth), min(ended, truth)
    ended = max(ended, joined)  # the old one ends after the new one has subscribed
    delivered = [trades(number) for number in range(ended)]
    held, batch = [], []
    for number in range(joined, truth):
        batch.append(number)
        if number in cuts or number == truth - 1:
            held.append(trades(*batch))
            batch = []
    result = go_on("publicTrade", delivered, held)
    got = [row["i"] for rest in result.rests for row in rest.data]
    assert got == list(range(ended, truth))
    assert result.hole is None


def test_a_message_of_several_rows_without_names_of_their_own_stays_whole():
    two = Copy(None, [{"symbol": "A"}, {"symbol": "B"}], None, None)
    for channel in ("copyTradePosition", "allLiquidation", "kline"):
        assert [rest.data for rest in go_on(channel, [], [two]).rests] == [two.data]


def test_a_snapshot_is_dropped_only_if_the_old_connection_brought_what_it_holds():
    assert places(go_on("orderbook", books("d4"), books("s5 d6"))) == [0, 1]
    assert places(go_on("orderbook", books("d4 d5"), books("s5 d6"), drained=False)) == [0, 1]
    assert places(go_on("orderbook", [], books("s5 d6"), drained=False)) == [0, 1]


def test_odd_numbers_raise_nothing():
    odd = Copy("delta", {"u": [1]}, None, None)
    assert go_on("orderbook", [odd], [odd, odd]).rests == []
