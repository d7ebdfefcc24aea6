"""The order book against a naive model, under any sequence of messages."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from naive import NaiveBook

from bybit_copyws.state import OrderBook, Outcome, Status

# Few prices, so that levels meet; each in several spellings.
PRICES = [
    spelling
    for number in range(95, 106)
    for spelling in (str(number), f"{number}.0", f"{number}.500", f"{number}.5")
]
SIZES = st.sampled_from(["0", "0.000", "1", "2.50", "0.001", "7E+1", "0.0000000001"])
JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


def rows(low: str, high: str) -> st.SearchStrategy[list[list[str]]]:
    prices = [price for price in PRICES if Decimal(low) <= Decimal(price) <= Decimal(high)]
    return st.lists(st.tuples(st.sampled_from(prices), SIZES).map(list), max_size=8)


# Mostly apart, now and then crossed.
SIDES = st.tuples(rows("95", "100"), rows("100.5", "106")) | st.tuples(
    rows("95", "101"), rows("100", "106")
)
STEPS = st.sampled_from(["delta"] * 8 + ["snapshot", "repeat", "jump", "back", "stale", "resync"])


@settings(max_examples=300, deadline=None)
@given(depth=st.sampled_from([1, 2, 5, 50]), script=st.lists(st.tuples(STEPS, SIDES), max_size=40))
def test_the_book_equals_the_naive_one_or_is_not_live(
    depth: int, script: list[tuple[str, tuple[Any, Any]]]
) -> None:
    book, naive, u = OrderBook("SOLUSDT", depth), NaiveBook(depth), 10
    for now, (step, (bids, asks)) in enumerate([("snapshot", ([], [])), *script]):
        if step == "resync":
            book.resync("asked", now)
            naive.sides = None
            continue
        if step == "stale":
            book.stale("silent", now)
            assert book.status is not Status.LIVE
            continue
        kind = "snapshot" if step == "snapshot" else "delta"
        u += {"delta": 1, "repeat": 0, "jump": 3, "back": -1, "snapshot": 5}[step]
        message = {"s": "SOLUSDT", "b": bids, "a": asks, "u": u, "seq": now}
        result = book.apply(kind, message, now, now)
        naive.apply(kind, message)
        assert (naive.sides is None) == (book.status is Status.SYNCING)
        assert (book.bids(), book.asks()) == tuple(map(tuple, naive.levels()))
        if book.status is Status.LIVE:
            assert book.update_id == naive.update_id == u
            assert book.age(now) == 0
            bid, ask = book.top()
            assert bid is None or ask is None or bid.price < ask.price
            assert max(len(book.bids()), len(book.asks())) <= depth
        if step == "repeat" and book.status is not Status.SYNCING:
            assert result.outcome is Outcome.REPEATED


@settings(max_examples=300, deadline=None)
@given(
    kind=JUNK | st.sampled_from(["snapshot", "delta"]),
    junk=JUNK | st.fixed_dictionaries({"s": st.just("S"), "b": JUNK, "a": JUNK, "u": JUNK}),
    key=st.sampled_from(["b", "a", "u", "s"]),
    whole=st.booleans(),
)
def test_no_json_makes_it_raise_or_be_live_with_half_of_it(
    kind: Any, junk: Any, key: str, whole: bool
) -> None:
    book = OrderBook("SOLUSDT")
    start = {"s": "SOLUSDT", "b": [["99", "1"]], "a": [["101", "1"]], "u": 5, "seq": 1}
    book.apply("snapshot", start, 1, 1.0)
    before = book.rows()
    message = junk if whole else start | {"u": 6, key: junk}
    result = book.apply(kind, message, 1, 2.0)
    if result.outcome is Outcome.OUT_OF_SYNC:
        assert book.status is Status.SYNCING
        assert book.rows() == ((), ())
    else:
        assert isinstance(message, dict)
        if result.outcome is Outcome.REPEATED:
            assert book.rows() == before
        else:
            naive = NaiveBook(50)
            naive.apply("snapshot", start)
            naive.apply(kind, message)
            assert (book.bids(), book.asks()) == tuple(map(tuple, naive.levels()))
