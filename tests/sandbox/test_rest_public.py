"""The endpoints that need no key."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from urllib.parse import unquote

import pytest
from rest_caller import BTC, ETH, LINEAR, NOW, Caller

from bybit_copyws.sandbox.market import instrument

SYMBOLS = "/contract/v3/public/copytrading/symbol/list"
INSTRUMENTS = "/v5/market/instruments-info"
BOOK = "/v5/market/orderbook"
TRADES = "/v5/market/recent-trade"


@pytest.fixture
def caller():
    return Caller()


def ask(caller, path, **params):
    query = "&".join(f"{name}={value}" for name, value in params.items())
    reply = caller.send("GET", path, query)
    assert not any(name.startswith("X-Bapi") for name in caller.reply.headers)
    return reply


def names(reply):
    assert reply["retCode"] == 0, reply
    return [row["symbol"] for row in reply["result"]["list"]]


@pytest.mark.parametrize("path", ["/v3/public/time", "/v5/market/time"])
def test_the_time_is_that_of_the_exchange(caller, path):
    caller.now_ms = NOW + 1234
    reply = ask(caller, path)
    assert (reply["retMsg"], reply["time"]) == ("OK", NOW + 1234)
    assert reply["result"] == {"timeSecond": "1700000001", "timeNano": "1700000001234000000"}


def test_v3_lists_what_its_accounts_may_copy():
    kinds = ("both", "none", "utaOnly", "normalOnly")
    makers = [instrument(f"{kind.upper()}USDT") for kind in kinds]
    caller = Caller(
        instruments=[
            replace(maker, copy_trading=kind) for maker, kind in zip(makers, kinds, strict=True)
        ]
    )
    reply = ask(caller, SYMBOLS)
    assert (names(reply), reply["retMsg"]) == (["BOTHUSDT", "NORMALONLYUSDT"], "success")
    rows = ask(caller, INSTRUMENTS, **LINEAR)["result"]["list"]
    assert {row["symbol"]: row["copyTrading"] for row in rows} == {
        f"{kind.upper()}USDT": kind for kind in kinds
    }


def test_instruments_are_filtered():
    new = replace(instrument("NEWUSDT"), status="PreLaunch")
    caller = Caller(instruments=[instrument(ETH), instrument(BTC), new])
    assert names(ask(caller, INSTRUMENTS, **LINEAR)) == [BTC, ETH]
    assert names(ask(caller, INSTRUMENTS, **LINEAR, symbol=ETH)) == [ETH]
    assert names(ask(caller, INSTRUMENTS, **LINEAR, baseCoin="BTC")) == [BTC]
    assert names(ask(caller, INSTRUMENTS, **LINEAR, baseCoin="XRP")) == []
    assert names(ask(caller, INSTRUMENTS, **LINEAR, status="PreLaunch")) == ["NEWUSDT"]


@pytest.mark.parametrize("again", [False, True])
def test_instruments_come_in_pages(again):
    symbols = [f"{letter}USDT" for letter in "EDCBA"]
    caller = Caller(symbols=symbols)
    seen, cursor = [], ""
    for _ in range(3):
        reply = ask(caller, INSTRUMENTS, **LINEAR, limit=2, cursor=cursor)
        seen.append(names(reply))
        cursor = reply["result"]["nextPageCursor"]
        if again and cursor:
            # A client that encodes its parameters encodes the cursor once more.
            cursor = cursor.replace("%", "%25")
    assert seen == [["AUSDT", "BUSDT"], ["CUSDT", "DUSDT"], ["EUSDT"]]
    assert cursor == ""


def test_a_cursor_is_percent_encoded_as_bybits_is():
    caller = Caller(symbols=(BTC, ETH))
    cursor = ask(caller, INSTRUMENTS, **LINEAR, limit=1)["result"]["nextPageCursor"]
    assert cursor == "first%3DBTCUSDT%26last%3DBTCUSDT"
    assert unquote(cursor) == "first=BTCUSDT&last=BTCUSDT"


def test_the_book_is_the_markets(caller):
    result = ask(caller, BOOK, **LINEAR, symbol=BTC)["result"]
    assert (result["s"], len(result["a"]), len(result["b"])) == (BTC, 25, 25)
    assert Decimal(result["b"][0][0]) < Decimal(result["a"][0][0])
    deep = ask(caller, BOOK, **LINEAR, symbol=BTC, limit=1000)["result"]
    assert len(deep["a"]) > 25
    assert deep["a"][:25] == result["a"]


def test_trades_come_newest_first(caller):
    for step in range(3):
        caller.market.take(BTC, "Buy", Decimal("0.001") * (step + 1))
    rows = ask(caller, TRADES, **LINEAR, symbol=BTC, limit=2)["result"]["list"]
    assert [Decimal(row["size"]) for row in rows] == [Decimal("0.003"), Decimal("0.002")]


@pytest.mark.parametrize(
    ("path", "params", "text"),
    [
        (INSTRUMENTS, {}, "Category is invalid"),
        (INSTRUMENTS, {"category": "spot"}, "Category is invalid"),
        (INSTRUMENTS, {**LINEAR, "symbol": "NOPE"}, "symbol invalid NOPE"),
        (INSTRUMENTS, {**LINEAR, "limit": "0"}, "limit invalid"),
        (INSTRUMENTS, {**LINEAR, "limit": "1001"}, "limit invalid"),
        (INSTRUMENTS, {**LINEAR, "limit": "ten"}, "limit invalid"),
        (INSTRUMENTS, {**LINEAR, "cursor": "x"}, "cursor invalid"),
        (INSTRUMENTS, {**LINEAR, "cursor": "last=BTCUSDT"}, "cursor invalid"),
        (BOOK, {"symbol": BTC}, "Category is invalid"),
        (BOOK, LINEAR, "symbol is required"),
        (BOOK, {**LINEAR, "symbol": "btcusdt"}, "symbol invalid btcusdt"),
        (BOOK, {**LINEAR, "symbol": BTC, "limit": "1001"}, "limit invalid"),
        (TRADES, {"symbol": BTC}, "Category is invalid"),
        (TRADES, LINEAR, "symbol is required"),
        (TRADES, {**LINEAR, "symbol": "NOPE"}, "symbol invalid NOPE"),
        (TRADES, {**LINEAR, "symbol": BTC, "limit": "9" * 501}, "limit invalid"),
        (TRADES, {**LINEAR, "symbol": "%FF"}, "symbol invalid \ufffd"),
        (TRADES, {**LINEAR, "symbol": "\udcff"}, "symbol invalid ?"),
    ],
)
def test_bad_queries_are_refused_by_name(caller, path, params, text):
    reply = ask(caller, path, **params)
    assert (reply["retCode"], reply["retMsg"]) == (10001, f"params error: {text}")
    assert reply["result"] == {}
