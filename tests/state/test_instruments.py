"""Contracts: their rules, and the list of them, from the rows of both profiles."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws.errors import ConfigurationError, ProtocolError
from bybit_copyws.rest import Instrument as OfRest
from bybit_copyws.state.instruments import Instrument, Instruments, parse_instrument

V3 = {
    "symbol": "BTCUSDT",
    "baseCurrency": "BTC",
    "quoteCurrency": "USDT",
    "priceScale": "1",
    "leverageFilter": {"maxLeverage": "100", "minLeverage": "1"},
    "priceFilter": {"minPrice": "0.5", "maxPrice": "999999.0", "tickSize": "0.5"},
    "lotSizeFilter": {"qtyStep": "0.001", "maxOrderQty": "100.000", "minOrderQty": "0.001"},
}
V5 = {
    "symbol": "ETHUSDT",
    "status": "Trading",
    "baseCoin": "ETH",
    "quoteCoin": "USDT",
    "copyTrading": "both",
    "leverageFilter": {"minLeverage": "1", "maxLeverage": "50.00", "leverageStep": "0.01"},
    "priceFilter": {"minPrice": "0.10", "maxPrice": "1999999.80", "tickSize": "0.10"},
    "lotSizeFilter": {
        "maxOrderQty": "1190.000",
        "minOrderQty": "0.002",
        "qtyStep": "0.001",
        "maxMktOrderQty": "500.000",
        "minNotionalValue": "5",
    },
}
BTC, ETH = parse_instrument(V3), parse_instrument(V5)


def listed(symbol: str, **facts: Any) -> Instrument:
    return parse_instrument({**V5, "symbol": symbol, **facts})


# Rows


def test_the_rows_of_both_profiles_have_the_same_names() -> None:
    assert (BTC.symbol, BTC.base_coin, BTC.quote_coin) == ("BTCUSDT", "BTC", "USDT")
    assert (ETH.symbol, ETH.base_coin, ETH.quote_coin) == ("ETHUSDT", "ETH", "USDT")
    assert (BTC.tick_size, BTC.qty_step) == (Decimal("0.5"), Decimal("0.001"))
    assert (ETH.min_notional_value, ETH.max_leverage) == (5, 50)
    assert (BTC.min_notional_value, BTC.status, BTC.copy_trading) == (None, None, None)
    assert OfRest is Instrument


def test_a_contract_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        BTC.tick_size = Decimal(1)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("facts", "may"),
    [
        ({}, True),
        ({"copyTrading": "utaOnly"}, True),
        ({"copyTrading": "something new"}, True),
        ({"copyTrading": "none"}, False),
        ({"status": "PreLaunch"}, False),
        ({"status": "Closed"}, False),
    ],
)
def test_who_may_be_copied(facts: dict[str, str], may: bool) -> None:
    assert listed("XUSDT", **facts).may_be_copied is may
    assert BTC.may_be_copied


# Prices


@pytest.mark.parametrize(
    ("price", "how", "result"),
    [
        ("100.26", "nearest", "100.5"),
        ("100.26", "down", "100.0"),
        (Decimal("100.26"), "up", "100.5"),
    ],
)
def test_a_price_is_rounded_to_the_tick(price: Any, how: Any, result: str) -> None:
    assert str(BTC.round_price(price, how)) == result


def test_a_price_is_rounded_to_the_nearest_tick_if_nothing_is_said() -> None:
    assert BTC.round_price("100.3") == Decimal("100.5")


@given(st.decimals("0.5", "999999", allow_nan=False, allow_infinity=False, places=9))
def test_a_price_within_the_limits_stays_within(price: Decimal) -> None:
    for how in ("down", "up", "nearest"):
        rounded = BTC.round_price(price, how)  # type: ignore[arg-type]
        assert Decimal("0.5") <= rounded <= Decimal("999999.0")
        assert rounded % Decimal("0.5") == 0


@pytest.mark.parametrize(
    ("price", "how", "text"),
    [
        ("0.2", "nearest", r"BTCUSDT: price 0\.0 \(rounded\) is below the minimum 0\.5"),
        ("0", "up", "below the minimum"),
        ("999999.1", "up", r"price 999999\.5 \(rounded\) is above the maximum 999999\.0"),
        ("-1", "nearest", "BTCUSDT: price must be above 0"),
        ("NaN", "nearest", "BTCUSDT: price must be a finite number"),
        (Decimal("Infinity"), "nearest", "finite"),
        (0.5, "nearest", "not float"),
        ("1", "sideways", "how must be one of"),
    ],
)
def test_a_price_that_cannot_be_is_refused(price: Any, how: Any, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        BTC.round_price(price, how)


def test_without_a_minimum_it_is_one_step() -> None:
    row = {"symbol": "AUSDT", "priceFilter": {"tickSize": "0.1"}}
    contract = parse_instrument(row)
    assert contract.round_price("0.1") == Decimal("0.1")
    assert contract.round_price("1" + "0" * 20) == 10**20
    sizes = parse_instrument({"symbol": "AUSDT", "lotSizeFilter": {"qtyStep": "0.5"}})
    assert sizes.round_qty("0.9") == Decimal("0.5")
    with pytest.raises(ConfigurationError, match=r"minimum 0\.5"):
        sizes.round_qty("0.4")
    with pytest.raises(ConfigurationError, match=r"minimum 0\.1"):
        contract.round_price("0.04")


@pytest.mark.parametrize("step", [None, "0", "-1"])
def test_a_contract_without_steps_is_named(step: str | None) -> None:
    row = {"symbol": "AUSDT", "tickSize": step, "qtyStep": step}
    contract = parse_instrument({key: value for key, value in row.items() if value is not None})
    with pytest.raises(ProtocolError, match="AUSDT is listed with tick_size"):
        contract.round_price(1)
    with pytest.raises(ProtocolError, match="AUSDT is listed with qty_step"):
        contract.round_qty(1)


# Sizes


def test_a_size_is_rounded_down_if_nothing_is_said() -> None:
    assert str(ETH.round_qty("0.0029999")) == "0.002"
    assert str(ETH.round_qty("0.0029999", "up")) == "0.003"
    assert str(ETH.round_qty("0.0024", "nearest")) == "0.002"


@pytest.mark.parametrize(
    ("qty", "text"),
    [
        ("0.0019", r"ETHUSDT: qty 0\.001 \(rounded\) is below the minimum 0\.002"),
        ("1190.001", r"above the maximum 1190\.000"),
        (1.0, "not float"),
        ("x", "finite"),
    ],
)
def test_a_size_that_cannot_be_is_refused(qty: Any, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        ETH.round_qty(qty)


def test_a_market_order_has_a_maximum_of_its_own() -> None:
    assert ETH.round_qty(501) == 501
    with pytest.raises(ConfigurationError, match=r"qty 501\.000 \(rounded\) .* maximum 500"):
        ETH.round_qty(501, market=True)
    assert BTC.round_qty(100, market=True) == 100  # v3 has one maximum
    with pytest.raises(ConfigurationError, match="maximum 100"):
        BTC.round_qty(101, market=True)


def test_an_order_must_be_worth_the_minimum() -> None:
    assert ETH.round_qty("0.002", price="2500") == Decimal("0.002")
    with pytest.raises(ConfigurationError, match=r"worth less than the minimum 5 \(USDT\)"):
        ETH.round_qty("0.002", price="2499.99999999999999999999999999")
    assert BTC.round_qty("0.001", price="1") == Decimal("0.001")  # v3 states no such rule
    with pytest.raises(ConfigurationError, match="price must be a Decimal"):
        ETH.round_qty(1, price=2500.0)  # type: ignore[arg-type]


# The list


def test_a_contract_is_found_by_its_symbol() -> None:
    both = Instruments([ETH, BTC])
    assert both["BTCUSDT"] is BTC
    assert both.get("ETHUSDT") is ETH
    assert both.get("nothing") is None
    assert "BTCUSDT" in both
    assert "nothing" not in both
    assert list(both) == [BTC, ETH]
    assert both.symbols == ("BTCUSDT", "ETHUSDT")
    assert len(both) == 2
    assert repr(both) == "Instruments(2: BTCUSDT, ETHUSDT)"


@pytest.mark.parametrize(
    ("symbol", "text"),
    [
        ("BTCUSD", "'BTCUSD'; did you mean 'BTCUSDT'?"),
        ("btcusdt", "did you mean 'BTCUSDT'?"),
        ("ZZZ", "2 are listed: BTCUSDT, ETHUSDT"),
        (7, "there is no contract 7; 2 are listed"),
        ([], "there is no contract"),
        ("A" * 100_000, "2 are listed"),
    ],
)
def test_an_unknown_symbol_is_answered_with_the_nearest(symbol: Any, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Instruments([BTC, ETH])[symbol]
    assert text in str(caught.value)
    assert len(str(caught.value)) < 200


def test_an_empty_list_says_so() -> None:
    with pytest.raises(ConfigurationError, match="the list is empty"):
        Instruments()["BTCUSDT"]
    assert repr(Instruments()) == "Instruments(0: )"


def test_the_symbols_for_copy_trading_are_those_that_trade_and_have_the_flag() -> None:
    rows = [
        listed("BUSDT"),
        listed("AUSDT"),
        listed("CUSDT", copyTrading="none"),
        listed("DUSDT", status="PreLaunch"),
    ]
    assert Instruments(rows).copy_trading() == ("AUSDT", "BUSDT")


def test_a_contract_without_a_symbol_is_no_contract() -> None:
    with pytest.raises(ProtocolError, match="without a symbol"):
        Instruments([parse_instrument({})])


def test_of_two_rows_of_one_symbol_the_last_counts() -> None:
    (kept,) = Instruments([listed("AUSDT"), listed("AUSDT", status="Closed")])
    assert kept.status == "Closed"
