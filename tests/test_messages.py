"""The message, its models and the documentation of both: plain calls, no client.

The fixtures have the shapes of what the exchange sends, with values of their own. Longer than
other test modules because every topic of both profiles has one.
"""

import copy
import json
import pickle
import re
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws import models
from bybit_copyws.errors import ProtocolError
from bybit_copyws.fields import Field, Model, camel_case, parse_record, shortened, text
from bybit_copyws.messages import Message

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT.parent / "shared" / "samples"

# First part of the topic -> parser, class of what it makes, and whether it makes a tuple.
ROUTES = {
    "publicTrade": (models.parse_trades, models.Trade, True),
    "orderbook": (models.parse_book, models.BookUpdate, False),
    "tickers": (models.parse_ticker, models.TickerUpdate, False),
    "kline": (models.parse_klines, models.Kline, True),
    "liquidation": (models.parse_liquidations, models.Liquidation, True),
    "allLiquidation": (models.parse_liquidations, models.Liquidation, True),
    "copyTradePosition": (models.parse_positions, models.Position, True),
    "position": (models.parse_positions, models.Position, True),
    "copyTradeOrder": (models.parse_orders, models.Order, True),
    "order": (models.parse_orders, models.Order, True),
    "copyTradeExecution": (models.parse_executions, models.Execution, True),
    "execution": (models.parse_executions, models.Execution, True),
    "copyTradeWallet": (models.parse_wallet, models.Wallet, True),
    "wallet": (models.parse_wallet, models.Wallet, True),
}

TRADE = {
    "T": 1700000000123,
    "s": "SOLUSDT",
    "S": "Sell",
    "v": "12.50",
    "p": "58.1200",
    "L": "ZeroMinusTick",
    "i": "t-1",
    "BT": False,
}
BOOK = {
    "s": "SOLUSDT",
    "b": [["58.10", "4"], ["58.0", "0.000"]],
    "a": [],
    "u": 77,
    "seq": 900,
}
TICKER = {"symbol": "SOLUSDT", "lastPrice": "58.12", "preOpenPrice": "", "basis": "", "hue": "red"}
KLINE = {
    "start": 1700000100000,
    "end": 1700000399999,
    "interval": "5",
    "open": "58",
    "close": "58.5",
    "high": "59",
    "low": "57.25",
    "volume": "31.2",
    "turnover": "1819.44",
    "confirm": True,
    "timestamp": 1700000400001,
}
LIQUIDATION_V3 = {
    "updatedTime": 1700000000500,
    "symbol": "SOLUSDT",
    "side": "Buy",
    "size": "9",
    "price": "57.1",
}
LIQUIDATION_V5 = {"T": 1700000000500, "s": "SOLUSDT", "S": "Buy", "v": "9", "p": "57.1"}
POSITION_V3 = {
    "symbol": "SOLUSDT",
    "positionIdx": "1",
    "positionValue": "581.20000000",
    "riskId": 41,
    "leverage": "5.000000",
    "isIsolated": True,
    "side": "Buy",
    "size": "10.000000",
    "unrealisedPnl": "-1.5",
    "liqPrice": "47.1",
    "bustPrice": "46.5",
    "entryPrice": "58.12000000",
    "positionMargin": "116.24",
    "orderMargin": "0.00000000",
    "occClosingFee": "0.2789",
    "cumRealisedPnl": "3.25",
    "positionStatus": "Normal",
    "positionSeq": 0,
}
POSITION_V5 = {
    "positionIdx": 1,
    "symbol": "SOLUSDT",
    "side": "",
    "size": "0",
    "entryPrice": "0",
    "positionBalance": "116.24",
    "positionIM": "116.5",
    "tradeMode": 0,
    "seq": 8001,
    "createdTime": "1690000000000",
    "isReduceOnly": False,
    "bustPrice": "",
    "positionIMByMp": "117",
}
ORDER_V3 = {
    "orderId": "o-1",
    "orderLinkId": "mine-1",
    "symbol": "SOLUSDT",
    "orderType": "Market",
    "price": "58.120000",
    "qty": "10.000000",
    "side": "Buy",
    "positionIdx": "1",
    "cumExecFee": "0.3487",
    "cumExecValue": "581.2",
    "lastExecPrice": "58.119999",
    "cumExecQty": "10.000000",
    "takeProfit": "70",
    "stopLoss": "50",
    "tpTriggerBy": "MarkPrice",
    "slTriggerBy": "LastPrice",
    "createTime": 1700000000000,
    "updateTime": 1700000000009,
    "copyTradeOrderStatus": "OpenOrderFilled",
}
ORDER_V5 = {
    "category": "option",
    "symbol": "SOL-29MAR24-60-C",
    "orderId": "o-2",
    "orderLinkId": "",
    "orderStatus": "Filled",
    "avgPrice": "1.25",
    "leavesQty": "",
    "positionIdx": 0,
    "reduceOnly": False,
    "createdTime": "1700000000000",
    "updatedTime": "1700000000009",
    "cumFeeDetail": {"USDC": "0.1"},
}
EXECUTION_V3 = {
    "orderId": "o-1",
    "orderLinkId": "mine-1",
    "symbol": "SOLUSDT",
    "side": "Buy",
    "execId": "e-1",
    "execQty": "10.000000",
    "execType": "Trade",
    "execFee": "0.3487",
    "price": "58.119999",
    "orderQty": "10.000000",
    "tradeTime": 1700000000005,
}
EXECUTION_V5 = {
    "category": "linear",
    "symbol": "SOLUSDT",
    "execId": "e-1",
    "execPrice": "58.119999",
    "execQty": "10",
    "isMaker": True,
    "execTime": "1700000000005",
    "seq": 12,
    "extraFees": [{"fee": "1"}],
}
WALLET_V3 = {"walletBalance": "1000.5", "availableBalance": 884.26}
WALLET_V5 = {
    "accountType": "UNIFIED",
    "accountIMRate": "0.1",
    "accountLTV": "",
    "totalEquity": "1001",
    "totalWalletBalance": "1000.5",
    "totalAvailableBalance": "884.26",
    "totalPerpUPL": "0.5",
    "totalInitialMarginByMp": "1",
    "coin": [
        {
            "coin": "USDT",
            "walletBalance": "1000.5",
            "totalPositionIM": "116.5",
            "marginCollateral": True,
        },
        {"coin": "BTC", "walletBalance": "", "hue": 1},
    ],
}

FIXTURES = [
    ("publicTrade.SOLUSDT", [TRADE, {**TRADE, "seq": 5, "RPI": True}]),
    ("orderbook.50.SOLUSDT", BOOK),
    ("tickers.SOLUSDT", TICKER),
    ("kline.5.SOLUSDT", [KLINE]),
    ("liquidation.SOLUSDT", LIQUIDATION_V3),
    ("liquidation.SOLUSDT", [LIQUIDATION_V3]),
    ("allLiquidation.SOLUSDT", [LIQUIDATION_V5]),
    ("copyTradePosition", [POSITION_V3]),
    ("position", [POSITION_V5]),
    ("copyTradeOrder", [ORDER_V3]),
    ("order", [ORDER_V5]),
    ("copyTradeExecution", [EXECUTION_V3]),
    ("execution", [EXECUTION_V5]),
    ("copyTradeWallet", WALLET_V3),
    ("wallet", [WALLET_V5]),
]


def message(topic, data, **envelope):
    """A message as the wire layer makes it."""
    sent = {"topic": topic, **envelope, "data": data}
    ts = envelope.get("ts", envelope.get("creationTime"))
    parser = ROUTES[topic.partition(".")[0]][0]
    return Message(topic, envelope.get("type"), ts, data, 5, json.dumps(sent).encode(), parser)


def parse(topic, data, **envelope):
    return message(topic, data, **envelope).parse()


def one(topic, data):
    (model,) = parse(topic, data)
    return model


# --- the message ----------------------------------------------------------------------------


def test_attributes_and_items_agree():
    update = message("orderbook.1.SOLUSDT", BOOK, type="snapshot", ts=17, cts=16)

    assert (update.topic, update["topic"]) == ("orderbook.1.SOLUSDT",) * 2
    assert (update.type, update["type"]) == ("snapshot",) * 2
    assert (update.ts, update["ts"]) == (17, 17)
    assert update["data"] is update.data
    assert update["cts"] == update.get("cts") == 16


def test_reads_like_the_dictionary_that_was_sent():
    sent = {"topic": "order", "id": "m-1", "creationTime": 17, "data": [ORDER_V5]}
    pushed = message("order", [ORDER_V5], id="m-1", creationTime=17)

    assert dict(pushed) == {**pushed} == {**sent, "ts": 17}
    assert set(pushed) == set(pushed.keys()) == {*sent, "ts"}
    assert list(pushed.items()) == list(zip(pushed.keys(), pushed.values(), strict=True))
    assert len(pushed) == 5
    assert "id" in pushed
    assert "cts" not in pushed
    assert 7 not in pushed


def test_a_key_that_was_not_sent():
    update = message("copyTradeWallet", WALLET_V3)

    for key in ("type", "ts", "cts"):
        assert key not in update
        assert update.get(key) is None
        assert update.get(key, "-") == "-"
        with pytest.raises(KeyError, match=f"^'{key}'$"):
            update[key]


def test_an_alias_keeps_the_name_subscribed():
    raw = b'{"topic":"position","data":[]}'

    assert Message("copyTradePosition", None, None, [], 5, raw)["topic"] == "copyTradePosition"


def test_a_message_without_bytes_has_its_own_keys_only():
    assert dict(Message("wallet", None, 3, [], 5, b"")) == {"topic": "wallet", "data": [], "ts": 3}


@pytest.mark.parametrize("raw", [b"nonsense", b"[1]", b'{"a":"\xff"}'])
def test_bytes_that_are_no_object(raw):
    with pytest.raises(ProtocolError, match="wallet: raw is no JSON object"):
        Message("wallet", None, None, [], 5, raw)["id"]


def test_repr_leaves_the_data_out():
    update = message("tickers.SOLUSDT", TICKER, type="delta", ts=17)

    assert repr(update) == "Message(topic='tickers.SOLUSDT', type='delta', ts=17)"


def test_messages_and_models_are_immutable():
    update = message("publicTrade.SOLUSDT", [TRADE])
    (trade,) = update.parse()

    with pytest.raises(AttributeError):
        update.data = []
    with pytest.raises(AttributeError):
        trade.price = Decimal(1)


def test_parsing_happens_once():
    calls = []

    def parser(update):
        calls.append(update)
        return ()

    update = Message("x", None, None, [], 5, b"", parser)

    assert update.parse() is update.parse() == ()
    assert calls == [update]


def test_equality_does_not_depend_on_parsing():
    first, second = (message("publicTrade.SOLUSDT", [TRADE]) for _ in range(2))
    first.parse()

    assert first == second
    assert not first != second  # noqa: SIM202 - the operator is what is tested
    assert hash(first) == hash(second)
    assert first != message("publicTrade.SOLUSDT", [])
    assert first != "publicTrade.SOLUSDT"


def test_a_topic_without_a_model():
    with pytest.raises(ProtocolError, match=r"adlAlert\.USDT"):
        Message("adlAlert.USDT", None, None, [], 5, b"").parse()


# --- the models -----------------------------------------------------------------------------


def test_trades():
    plain, full = parse("publicTrade.SOLUSDT", [TRADE, {**TRADE, "seq": 5, "RPI": True}])

    assert plain == models.Trade(
        1700000000123,
        "SOLUSDT",
        "Sell",
        Decimal("12.50"),
        Decimal("58.1200"),
        "ZeroMinusTick",
        "t-1",
        False,
    )
    assert (full.sequence, full.rpi, full.extra) == (5, True, {})


def test_book_keeps_order_and_zero_sizes():
    book = parse("orderbook.50.SOLUSDT", BOOK, type="delta")

    assert (book.symbol, book.type, book.update_id, book.sequence) == ("SOLUSDT", "delta", 77, 900)
    assert book.bids == ((Decimal("58.10"), Decimal(4)), (Decimal(58), Decimal(0)))
    assert book.asks == ()
    assert str(book.bids[1][1]) == "0.000"


def test_a_side_that_was_not_sent_is_empty():
    assert parse("orderbook.50.SOLUSDT", {"s": "SOLUSDT", "b": None}).bids == ()


def test_ticker_tells_absent_from_empty():
    ticker = parse("tickers.SOLUSDT", TICKER, type="delta")

    assert ticker.type == "delta"
    assert ticker.changed == {"symbol", "last_price", "pre_open_price", "basis"}
    assert ticker.last_price == Decimal("58.12")
    assert ticker.pre_open_price is ticker.mark_price is None
    assert ticker.extra == {"hue": "red"}


def test_klines():
    kline = one("kline.5.SOLUSDT", [KLINE])

    assert (kline.start, kline.end, kline.timestamp) == (
        1700000100000,
        1700000399999,
        1700000400001,
    )
    assert (kline.interval, kline.confirm) == ("5", True)
    assert (kline.open, kline.high, kline.low, kline.close) == tuple(
        map(Decimal, ("58", "59", "57.25", "58.5"))
    )
    assert (kline.volume, kline.turnover) == (Decimal("31.2"), Decimal("1819.44"))


def test_liquidations_of_both_profiles_are_equal():
    expected = models.Liquidation(1700000000500, "SOLUSDT", "Buy", Decimal(9), Decimal("57.1"))

    assert one("liquidation.SOLUSDT", LIQUIDATION_V3) == expected
    assert one("liquidation.SOLUSDT", [LIQUIDATION_V3]) == expected
    assert one("allLiquidation.SOLUSDT", [LIQUIDATION_V5]) == expected


def test_positions_v3():
    position = one("copyTradePosition", [POSITION_V3])

    assert position.position_idx == 1
    assert position.is_isolated is True
    assert position.entry_price == Decimal("58.12")
    assert position.position_margin == Decimal("116.24")
    assert position.sequence == 0
    assert position.risk_id == 41
    assert position.extra == {}


def test_positions_v5():
    position = one("position", [POSITION_V5])

    assert (position.position_idx, position.trade_mode, position.sequence) == (1, 0, 8001)
    assert position.side is position.bust_price is position.is_isolated is None
    assert position.size == 0
    assert (position.position_margin, position.position_im) == (Decimal("116.24"), Decimal("116.5"))
    assert position.created_time == 1690000000000
    assert position.is_reduce_only is False
    assert position.extra == {"positionIMByMp": "117"}


@pytest.mark.parametrize(
    ("sent", "name", "value"),
    [
        ({"isolated": False}, "is_isolated", False),
        ({"avgPrice": "58"}, "entry_price", Decimal(58)),  # v5 REST
        ({"freeQty": "2"}, "free_qty", Decimal(2)),  # v3 REST
    ],
)
def test_other_spellings_of_a_position(sent, name, value):
    position = one("position", [sent])

    assert getattr(position, name) == value
    assert position.extra == {}


def test_the_second_spelling_stays_in_extra():
    position = one("position", [{"avgPrice": "1", "entryPrice": "2"}])

    assert position.entry_price == 2
    assert position.extra == {"avgPrice": "1"}


def test_orders_v3():
    order = one("copyTradeOrder", [ORDER_V3])

    assert (order.order_id, order.order_link_id, order.status) == (
        "o-1",
        "mine-1",
        "OpenOrderFilled",
    )
    assert (order.created_time, order.updated_time) == (1700000000000, 1700000000009)
    assert (order.position_idx, order.order_type) == (1, "Market")
    assert str(order.last_exec_price) == "58.119999"
    assert (order.take_profit, order.sl_trigger_by) == (Decimal(70), "LastPrice")
    assert order.extra == {}


def test_orders_v5():
    order = one("order", [ORDER_V5])

    assert (order.category, order.symbol, order.status) == ("option", "SOL-29MAR24-60-C", "Filled")
    assert order.order_link_id is order.leaves_qty is order.price is None
    assert (order.created_time, order.updated_time) == (1700000000000, 1700000000009)
    assert order.reduce_only is False
    assert order.extra == {"cumFeeDetail": {"USDC": "0.1"}}


def test_executions_of_both_profiles():
    old, new = one("copyTradeExecution", [EXECUTION_V3]), one("execution", [EXECUTION_V5])

    for name in ("exec_id", "symbol", "exec_price", "exec_qty", "exec_time"):
        assert getattr(old, name) == getattr(new, name)
    assert (old.exec_fee, old.exec_type, old.order_qty) == (Decimal("0.3487"), "Trade", Decimal(10))
    assert (new.is_maker, new.sequence, new.extra) == (True, 12, {"extraFees": [{"fee": "1"}]})


def test_wallet_v3_takes_numbers_and_text():
    wallet = one("copyTradeWallet", WALLET_V3)

    assert (wallet.wallet_balance, wallet.available_balance) == (
        Decimal("1000.5"),
        Decimal("884.26"),
    )
    assert wallet.coins == ()


def test_wallet_v3_of_rest_names_its_coin():
    assert one("copyTradeWallet", {"walletBalance": "1", "coin": "USDT"}).coin == "USDT"


def test_wallet_v5_is_one_account_with_its_coins():
    wallet = one("wallet", [WALLET_V5])
    usdt, btc = wallet.coins

    assert (wallet.wallet_balance, wallet.available_balance) == (
        Decimal("1000.5"),
        Decimal("884.26"),
    )
    assert (wallet.account_type, wallet.equity, wallet.account_ltv) == ("UNIFIED", 1001, None)
    assert wallet.coin is None
    assert wallet.extra == {"totalInitialMarginByMp": "1"}
    assert (usdt.coin, usdt.total_position_im, usdt.margin_collateral) == (
        "USDT",
        Decimal("116.5"),
        True,
    )
    assert (btc.wallet_balance, btc.extra) == (None, {"hue": 1})


@pytest.mark.parametrize("account", [{}, {"coin": None}, {"coin": ""}, {"coin": []}])
def test_an_account_without_coins(account):
    assert one("wallet", [account]).coins == ()


def test_models_can_be_copied_pickled_and_encoded():
    order = one("order", [ORDER_V5])

    assert copy.deepcopy(order) == pickle.loads(pickle.dumps(order)) == order
    assert msgspec.json.decode(msgspec.json.encode(order))["avg_price"] == "1.25"


def test_repr_of_a_model_shows_what_was_sent():
    assert repr(one("copyTradeWallet", {"walletBalance": "1.50"})) == (
        "Wallet(wallet_balance=Decimal('1.50'))"
    )


def test_the_data_is_not_changed():
    for topic, data in FIXTURES:
        before = copy.deepcopy(data)
        parse(topic, data)
        assert data == before


# --- values ---------------------------------------------------------------------------------


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=12, min_value=-(10**30), max_value=10**30
    )
)
def test_decimals_are_exact(number):
    assert str(one("publicTrade.X", [{"p": str(number)}]).price) == str(number)


@pytest.mark.parametrize(
    ("sent", "price"), [(0.1, "0.1"), (58, "58"), ("1e-7", "1E-7"), ("-0.000211", "-0.000211")]
)
def test_prices_as_numbers(sent, price):
    assert str(one("publicTrade.X", [{"p": sent}]).price) == price


@pytest.mark.parametrize("sent", [1700000000123, "1700000000123", 1700000000123.0])
def test_times(sent):
    assert one("publicTrade.X", [{"T": sent}]).time == 1700000000123


@pytest.mark.parametrize(("sent", "expected"), [(True, True), ("false", False), ("", None)])
def test_flags(sent, expected):
    assert one("publicTrade.X", [{"BT": sent}]).block_trade is expected


def test_a_number_where_text_is_documented():
    assert one("publicTrade.X", [{"i": 17}]).trade_id == "17"


@pytest.mark.parametrize("absent", [{}, {"p": ""}, {"p": None}])
def test_absent_and_empty_are_none(absent):
    trade = one("publicTrade.X", [absent])

    assert trade.price is None
    assert trade.extra == {}


@pytest.mark.parametrize(
    ("topic", "data", "name", "value"),
    [
        ("publicTrade.X", [{"p": "abc"}], "Trade.price", "'abc'"),
        ("publicTrade.X", [{"p": "NaN"}], "Trade.price", "'NaN'"),
        ("publicTrade.X", [{"p": "-Infinity"}], "Trade.price", "'-Infinity'"),
        ("publicTrade.X", [{"p": True}], "Trade.price", "True"),
        ("publicTrade.X", [{"p": [0, [1], 0]}], "Trade.price", "[0, [1], 0]"),
        ("publicTrade.X", [{"T": "soon"}], "Trade.time", "'soon'"),
        ("publicTrade.X", [{"T": 1.5}], "Trade.time", "1.5"),
        ("publicTrade.X", [{"T": False}], "Trade.time", "False"),
        ("publicTrade.X", [{"s": {}}], "Trade.symbol", "{}"),
        ("publicTrade.X", [{"BT": "maybe"}], "Trade.block_trade", "'maybe'"),
        ("publicTrade.X", [{"BT": [1]}], "Trade.block_trade", "[1]"),
        ("publicTrade.X", ["p"], "Trade", "'p'"),
        ("publicTrade.X", "p", "data", "'p'"),
        ("publicTrade.X", None, "data", "None"),
        ("orderbook.1.X", [], "BookUpdate", "[]"),
        ("orderbook.1.X", {"b": "12"}, "BookUpdate.bids", "'12'"),
        ("orderbook.1.X", {"b": ["12"]}, "BookUpdate.bids", "['12']"),
        ("orderbook.1.X", {"a": [["1"]]}, "BookUpdate.asks", "[['1']]"),
        ("orderbook.1.X", {"a": [["1", ""]]}, "BookUpdate.asks", "[['1', '']]"),
        ("tickers.X", [TICKER], "TickerUpdate", "[{"),
        ("wallet", "much", "data", "'much'"),
        ("wallet", [7], "Wallet", "7"),
        ("wallet", [{"coin": "USDT"}], "Wallet.coins", "'USDT'"),
        ("wallet", [{"coin": 0}], "Wallet.coins", "0"),
        ("wallet", [{"coin": ["USDT"]}], "CoinBalance", "'USDT'"),
        ("wallet", [{"coin": [{"equity": {}}]}], "CoinBalance.equity", "{}"),
    ],
)
def test_what_cannot_be_read_is_named(topic, data, name, value):
    with pytest.raises(ProtocolError) as caught:
        parse(topic, data)

    said = str(caught.value)
    assert said.startswith(f"{topic}: {name} ")
    assert value in said


def test_long_values_are_shortened():
    deep = []
    for _ in range(10_000):
        deep = [deep]
    for value in ("x" * 10_000, list(range(10_000)), deep, {"k" * 99: "v" * 99}):
        assert len(shortened(value)) <= 40
    with pytest.raises(ProtocolError) as caught:
        parse("publicTrade.X", [{"p": "9" * 10_000 + "x"}])
    assert len(str(caught.value)) < 120


# --- nothing but ProtocolError --------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["1", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def places(value, path=()):
    """Every place inside a JSON value, the value itself included."""
    yield path
    if isinstance(value, (dict, list)):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in inner:
            yield from places(item, (*path, key))


def changed_at(value, path, change):
    """A copy with the item at a place dropped (``change`` is None) or replaced by ``change()``."""
    if not path:
        return change() if change else None
    value = copy.deepcopy(value)
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    if change:
        parent[path[-1]] = change()
    else:
        del parent[path[-1]]
    return value


@given(st.data(), st.sampled_from(FIXTURES), st.none() | JSON.map(lambda value: lambda: value))
def test_a_damaged_message_raises_nothing_but_protocol_error(data, fixture, change):
    topic, sent = fixture
    path = data.draw(st.sampled_from(list(places(sent))))
    parser, model, many = ROUTES[topic.partition(".")[0]]

    try:
        parsed = parser(Message(topic, None, None, changed_at(sent, path, change), 5, b""))
    except ProtocolError:
        return
    assert all(isinstance(item, model) for item in (parsed if many else [parsed]))


# --- field tables, samples, documentation ---------------------------------------------------

GIVEN = {"type", "changed", "coins"}  # fields that do not come straight from the record


def table_fields(model):
    return [name for name in model.__struct_fields__ if name != "extra"]


@pytest.mark.parametrize("model", models.FIELDS)
def test_every_field_has_its_row(model):
    rows = models.FIELDS[model]
    keys = [key for row in rows for key in row.keys]

    assert [row.name for row in rows] == [name for name in table_fields(model) if name not in GIVEN]
    assert len(keys) == len(set(keys)), "a key feeds two fields"


def test_every_model_has_a_table():
    own = {each for each in Model.__subclasses__() if each.__module__ == models.__name__}
    assert set(models.FIELDS) == own


def test_camel_case():
    assert [camel_case(name) for name in ("price", "price_24h_pcnt", "bid1_size")] == [
        "price",
        "price24hPcnt",
        "bid1Size",
    ]


def test_a_table_may_be_written_by_hand():
    table = (Field("symbol", ("ticker",), text),)

    assert parse_record("x", models.Trade, table, {"ticker": "A"}) == models.Trade(symbol="A")


def sample_lines():
    if not SAMPLES.is_dir():
        reason = pytest.mark.skip(reason="the shared samples are not beside the repository")
        return [pytest.param("", b"", id="samples", marks=reason)]
    return [
        pytest.param(path.relative_to(SAMPLES).parts[0], line, id=f"{path.name}-{number}")
        for path in sorted(SAMPLES.rglob("*.stream.jsonl"))
        for number, line in enumerate(path.read_bytes().splitlines())
    ]


@pytest.mark.parametrize(("profile", "line"), sample_lines())
def test_samples_lose_no_key(profile, line):
    sent = json.loads(line)
    topic, data = sent["topic"], sent["data"]
    model, many = ROUTES[topic.partition(".")[0]][1:]
    pushed = message(topic, data, **{k: v for k, v in sent.items() if k not in ("topic", "data")})

    parsed = pushed.parse() if many else (pushed.parse(),)
    records = data if isinstance(data, list) else [data]

    assert all(pushed[key] == value for key, value in sent.items())
    assert len(parsed) == len(records)
    for item, record in zip(parsed, records, strict=True):
        assert type(item) is model
        check_record(item, record, documented()[model], profile)
        if getattr(item, "coins", ()):
            for coin, inner in zip(item.coins, record["coin"], strict=True):
                check_record(coin, inner, documented()[models.CoinBalance], profile)


def check_record(item, record, documented_rows, profile):
    column = 0 if profile.startswith("v3") else 1
    read = {key: row.name for row in models.FIELDS[type(item)] for key in row.keys}
    for key, value in record.items():
        if key == "coin" and isinstance(value, list):
            continue
        if key not in read:
            assert item.extra[key] == value
            continue
        assert key in documented_rows[read[key]][column], "not in the profile's column"
        attribute = getattr(item, read[key])
        if value in ("", []):
            assert attribute in (None, ())
        elif isinstance(attribute, tuple):
            assert [[str(price), str(size)] for price, size in attribute] == value
        elif isinstance(attribute, Decimal):
            assert attribute == Decimal(value)
        else:
            assert str(attribute) == str(value)


def documented():
    """The tables of docs/models.rst: model -> field -> keys (v3 stream, v5 stream, REST)."""
    page = (ROOT / "docs" / "models.rst").read_text(encoding="utf-8")
    tables = {}
    for title, section in re.findall(
        r"^(\w+)\n-+\n(.*?)(?=^\w+\n-+\n|\Z)", page, re.MULTILINE | re.DOTALL
    ):
        rows = re.findall(r"^   ``(\w+)`` \|(.*)\|(.*)\|(.*)$", section, re.MULTILINE)
        tables[getattr(models, title)] = {
            name: [re.findall(r"``(\w+)``", cell) for cell in cells] for name, *cells in rows
        }
    return tables


def test_the_documentation_has_every_model_and_key():
    tables = documented()

    assert set(tables) == set(models.FIELDS)
    for model, rows in tables.items():
        assert list(rows) == table_fields(model)
        for row in models.FIELDS[model]:
            assert {key for cell in rows[row.name] for key in cell} == set(row.keys)
