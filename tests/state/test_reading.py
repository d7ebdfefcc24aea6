"""What a trader asks a book: plain calls on the live book and on its snapshot."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.state import BookSnapshot, Level, OrderBook, Status

BIDS = [["99.5", "2"], ["99.0", "1.50"], ["98", "4"]]
ASKS = [["100.5", "1"], ["101.00", "3"], ["102", "0.25"]]

Book = OrderBook | BookSnapshot


def _live(bids: list[list[str]] = BIDS, asks: list[list[str]] = ASKS) -> OrderBook:
    book = OrderBook("SOLUSDT")
    message = {"s": "SOLUSDT", "b": bids, "a": asks, "u": 10, "seq": 70}
    book.apply("snapshot", message, 1000, 1.0)
    assert book.status is Status.LIVE
    return book


@pytest.fixture(params=[lambda book: book, OrderBook.snapshot], ids=["live", "snapshot"])
def book(request: pytest.FixtureRequest) -> Book:
    of: Callable[[OrderBook], Book] = request.param
    return of(_live())


def D(text: str) -> Decimal:  # noqa: N802
    return Decimal(text)


def test_the_top(book: Book) -> None:
    assert book.best_bid == Level(D("99.5"), D("2"))
    assert book.best_ask == Level(D("100.5"), D("1"))
    assert book.top() == (book.best_bid, book.best_ask)
    assert book.spread == D("1")
    assert book.mid == D("100")


def test_one_side_may_be_empty() -> None:
    book = _live(asks=[])
    assert book.top() == (Level(D("99.5"), D("2")), None)
    assert book.spread is book.mid is None
    assert book.imbalance() == 1
    assert book.vwap("Buy", 1) == ("Buy", 1, 0, 0, None, None)


def test_levels_and_how_many(book: Book) -> None:
    assert book.bids(2) == (Level(D("99.5"), D("2")), Level(D("99.0"), D("1.50")))
    assert book.asks(1) == (Level(D("100.5"), D("1")),)
    assert len(book.asks(99)) == 3
    assert book.rows(1) == ((("99.5", "2"),), (("100.5", "1"),))


@pytest.mark.parametrize("n", [0, -1, 1.0, "5", True])
@pytest.mark.parametrize("name", ["bids", "asks", "rows", "imbalance"])
def test_a_wrong_number_of_levels_names_the_cure(book: Book, name: str, n: Any) -> None:
    with pytest.raises(ConfigurationError, match="leave it out for all"):
        getattr(book, name)(n)


def test_imbalance(book: Book) -> None:
    assert book.imbalance(1) == D("1") / D("3")
    assert book.imbalance() == D("3.25") / D("11.75")
    assert OrderBook("SOLUSDT").imbalance() is None


def test_size_at(book: Book) -> None:
    assert book.size_at("99") == D("1.50")
    assert book.size_at(100.5) == 1
    assert book.size_at(D("100")) == 0


@pytest.mark.parametrize(
    ("side", "price", "volume"),
    [
        ("Buy", "100.4", "0"),
        ("Buy", "100.5", "1"),
        ("Buy", 101, "4"),
        ("Buy", 5000.0, "4.25"),
        ("Sell", "99.6", "0"),
        ("Sell", "99.00", "3.5"),
        ("Sell", D("1"), "7.5"),
    ],
)
def test_volume_to_a_limit(book: Book, side: str, price: Any, volume: str) -> None:
    assert book.volume_to(side, price) == D(volume)


def test_vwap_within_a_level_and_across(book: Book) -> None:
    first = book.vwap("Buy", "0.5")
    assert (first.filled, first.value, first.price, first.worst_price) == (
        D("0.5"),
        D("50.25"),
        D("100.5"),
        D("100.5"),
    )
    across = book.vwap("Sell", 3)
    assert across.value == D("99.5") * 2 + D("99")
    assert across.price == across.value / 3
    assert across.worst_price == D("99")
    assert across.complete
    assert first.complete


def test_vwap_says_when_the_book_is_not_deep_enough(book: Book) -> None:
    sweep = book.vwap("Buy", "4.26")
    assert not sweep.complete
    assert (sweep.quantity, sweep.filled) == (D("4.26"), D("4.25"))
    assert sweep.worst_price == 102
    assert book.vwap("Buy", "4.25").complete


def test_a_float_counts_as_the_digits_it_prints_as(book: Book) -> None:
    assert book.vwap("Buy", 0.1).quantity == D("0.1")


@pytest.mark.parametrize("bad", [0, -1, "x", "", "NaN", float("nan"), "Infinity", None, True, [1]])
def test_wrong_numbers_name_the_cure(book: Book, bad: Any) -> None:
    for call in (lambda: book.vwap("Buy", bad), lambda: book.volume_to("Buy", bad)):
        with pytest.raises(ConfigurationError, match="number above zero"):
            call()
    with pytest.raises(ConfigurationError, match="price is"):
        book.size_at(bad)


@pytest.mark.parametrize("bad", ["buy", "bid", "", None, 1])
def test_a_wrong_side_names_the_cure(book: Book, bad: Any) -> None:
    for call in (lambda: book.vwap(bad, 1), lambda: book.volume_to(bad, 1)):
        with pytest.raises(ConfigurationError, match="write 'Buy' or 'Sell'"):
            call()


def test_a_snapshot_never_changes() -> None:
    book = _live()
    before = book.snapshot(2)
    book.apply("delta", {"s": "SOLUSDT", "b": [["99.5", "0"]], "a": [], "u": 11}, 1, 2.0)
    book.stale("silent", 3.0)
    assert before.bids() == (Level(D("99.5"), D("2")), Level(D("99.0"), D("1.50")))
    assert (before.status, before.reason, before.update_id, before.sequence, before.ts) == (
        Status.LIVE,
        "",
        10,
        70,
        1000,
    )
    assert book.snapshot().status is Status.STALE
    with pytest.raises(dataclasses.FrozenInstanceError):
        before.symbol = "X"  # type: ignore[misc]
    assert hash(before) == hash(dataclasses.replace(before))


SIZES = st.decimals("0.000000001", "1e9", places=9).map(str)


@given(st.lists(SIZES, min_size=1, max_size=30), st.decimals("0.000000001", "1e10", places=9))
def test_sums_are_exact(sizes: list[str], quantity: Decimal) -> None:
    book = _live(bids=[], asks=[[str(10**6 + i) + ".000001", size] for i, size in enumerate(sizes)])
    total = sum(map(_units, sizes))
    assert _units(book.volume_to("Buy", "9e9")) == total
    sweep = book.vwap("Buy", quantity)
    assert _units(sweep.filled) == min(total, _units(quantity))
    assert sweep.complete == (total >= _units(quantity))
    assert book.asks()[0].price <= sweep.price + D("1e-20") <= sweep.worst_price + 1


def _units(number: str | Decimal) -> int:
    """Return a number as a whole one of billionths."""
    _, digits, exponent = Decimal(number).as_tuple()
    assert isinstance(exponent, int)
    whole = int("".join(map(str, digits)))
    return whole * 10 ** (9 + exponent) if exponent >= -9 else whole // 10 ** (-9 - exponent)
