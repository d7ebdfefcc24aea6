"""Contracts: the table, invented ones, and the rows of the REST lists."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws.sandbox.market import DEFAULT_INSTRUMENTS, Market, instrument
from bybit_copyws.sandbox.market.numbers import Grid, micro, next_sequence, plain_decimal


def check(rules):
    assert rules.symbol == rules.base_coin + rules.quote_coin
    assert rules.start_price % rules.tick_size == 0
    # Enough ticks for a thousand levels of bids.
    assert rules.start_price / rules.tick_size >= 4000
    assert 0 < rules.min_price < rules.start_price < rules.max_price
    assert 0 < rules.qty_step <= rules.min_qty < rules.max_qty
    assert rules.max_qty % rules.qty_step == 0
    assert rules.max_price % rules.tick_size == 0
    assert rules.max_leverage > 1
    assert Decimal("0.00001") < rules.qty_step * rules.start_price < 200


def test_the_table_has_realistic_contracts():
    assert len(DEFAULT_INSTRUMENTS) >= 20
    assert list(DEFAULT_INSTRUMENTS)[:5] == ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT"]
    for symbol, rules in DEFAULT_INSTRUMENTS.items():
        assert rules.symbol == symbol
        check(rules)
        assert instrument(symbol) is rules
    assert len({rules.symbol_id for rules in DEFAULT_INSTRUMENTS.values()}) == len(
        DEFAULT_INSTRUMENTS
    )


@given(st.from_regex(r"[A-Z0-9]{1,12}", fullmatch=True))
def test_any_other_name_gets_plausible_rules_that_stay(base):
    rules = instrument(f"{base}USDT")
    check(rules)
    assert instrument(f"{base}USDT") == rules
    assert rules.copy_trading == "both"


def test_an_invented_contract_trades():
    for number in range(20):
        symbol = f"COIN{number}USDT"
        market = Market([instrument(symbol)], seed=1, start_ms=0, activity=3)
        market.last_price(symbol)
        market.advance(20_000)
        book = market.book(symbol)
        assert min(len(book.bids), len(book.asks)) >= 1000
        assert market.engine(symbol).tape.recent


@pytest.mark.parametrize("name", ["", "USDT", "BTC", "btcusdt", "BTC-USDT", "BTCUSDT ", "BTCUSD"])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="USDT perpetual"):
        instrument(name)


def test_an_instrument_is_frozen():
    with pytest.raises(FrozenInstanceError):
        instrument("BTCUSDT").tick_size = Decimal(1)


def test_v3_row():
    assert instrument("BTCUSDT").v3_row() == {
        "symbol": "BTCUSDT",
        "baseCurrency": "BTC",
        "quoteCurrency": "USDT",
        "priceScale": "1",
        "takerFee": "0.00055",
        "makerFee": "0.0002",
        "fundingInterval": "480",
        "leverageFilter": {"maxLeverage": "100", "minLeverage": "1"},
        "priceFilter": {"minPrice": "0.1", "maxPrice": "1999999.8", "tickSize": "0.1"},
        "lotSizeFilter": {"qtyStep": "0.001", "maxOrderQty": "1190.000", "minOrderQty": "0.001"},
    }


def test_v5_row():
    assert instrument("BTCUSDT").v5_row() == {
        "symbol": "BTCUSDT",
        "symbolId": 5,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": "BTC",
        "quoteCoin": "USDT",
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": "2",
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {"minPrice": "0.10", "maxPrice": "1999999.80", "tickSize": "0.10"},
        "lotSizeFilter": {
            "maxOrderQty": "1190.000",
            "minOrderQty": "0.001",
            "qtyStep": "0.001",
            "postOnlyMaxOrderQty": "1190.000",
            "maxMktOrderQty": "595.000",
            "minNotionalValue": "5",
        },
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
        "settleCoin": "USDT",
        "copyTrading": "both",
        "upperFundingRate": "0.00375",
        "lowerFundingRate": "-0.00375",
        "isPreListing": False,
        "preListingInfo": None,
        "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
        "symbolType": "",
    }


@pytest.mark.parametrize("symbol", ["1000PEPEUSDT", "SUIUSDT", "SHIB1000USDT", "COIN3USDT"])
def test_rows_write_no_exponents(symbol):
    for row in (instrument(symbol).v3_row(), instrument(symbol).v5_row()):
        for part in ("priceFilter", "lotSizeFilter"):
            assert all("E" not in text for text in row[part].values())


# Numbers


@given(st.integers(0, 10**12), st.sampled_from(["0.10", "0.5", "0.001", "1", "10", "0.0000001"]))
def test_a_grid_goes_there_and_back(units, step):
    grid = Grid(Decimal(step))
    value = units * Decimal(step)
    assert Decimal(grid.text(units)) == Decimal(grid.plain(units)) == grid.decimal(units) == value
    assert "." not in grid.plain(units) or grid.plain(units)[-1] not in "0."
    assert grid.floor(value) == grid.ceil(value) == units
    assert grid.floor(value + Decimal(step) / 2) == units
    assert grid.ceil(value + Decimal(step) / 2) == units + 1


@given(st.integers(-(10**9), 10**9))
def test_millionths(units):
    assert Decimal(micro(units)) == Decimal(units).scaleb(-6)
    assert len(micro(units).partition(".")[2]) == 6


@given(st.integers(1, 10**15))
def test_a_sequence_rises_but_not_by_one(sequence):
    assert 2 <= next_sequence(sequence) - sequence < 30


def test_plain_decimals():
    texts = [plain_decimal(Decimal(text)) for text in ("1E+2", "0.500", "10", "-0.00", "1E-7")]
    assert texts == ["100", "0.5", "10", "-0", "0.0000001"]
