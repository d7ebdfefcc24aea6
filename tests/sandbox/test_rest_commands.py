"""The commands of both profiles over REST: what they do, and how they are refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_caller import BTC, COPY, ETH, LINEAR, NOW, OPEN, V3_TRANSFERS, Caller

from bybit_copyws.sandbox.rest import ENDPOINTS, RestRules

V3_CREATE, V5_CREATE = f"{COPY}/order/create", "/v5/order/create"
V3_STOP, V5_STOP = f"{COPY}/order/trading-stop", "/v5/position/trading-stop"
V3_LEVERAGE, V5_LEVERAGE = f"{COPY}/position/set-leverage", "/v5/position/set-leverage"
V3_TRANSFER, V5_TRANSFER = f"{COPY}/wallet/transfer", "/v5/asset/transfer/inter-transfer"
MODE = "/v5/position/switch-mode"
MARKET = {"symbol": BTC, "side": "Buy", "orderType": "Market", "qty": "0.01"}
V5_MARKET = {**LINEAR, **MARKET, "positionIdx": 1}
TRANSFER = {
    "transferId": "t-1",
    "coin": "USDT",
    "amount": "10",
    "fromAccountType": "UNIFIED",
    "toAccountType": "FUND",
}


@pytest.fixture
def caller():
    return Caller()


def make(caller, path, params):
    """Make an order; return it."""
    ids = caller.result("POST", path, params)
    assert list(ids) == ["orderId", "orderLinkId"]
    order = caller.account.find_order(ids["orderId"])
    assert order.order_link_id == ids["orderLinkId"]
    return order


# v3


def test_v3_opens_a_copy_trade_by_its_side(caller):
    for side, idx in (("Buy", 1), ("Sell", 2)):
        order = make(caller, V3_CREATE, {**MARKET, "side": side, "orderLinkId": side})
        assert (order.position_idx, order.copy_status) == (idx, "OpenOrderFilled")
        assert (order.tpsl_mode, order.opens) == ("Partial", True)


def test_v3_takes_all_that_its_page_names(caller):
    price = caller.price(BTC)
    order = make(
        caller,
        V3_CREATE,
        {
            **MARKET,
            "orderType": "Limit",
            "price": str(price),
            "takeProfit": str(price * 2),
            "stopLoss": str(price / 2 // 1),
            "tpTriggerBy": "MarkPrice",
            "slTriggerBy": "IndexPrice",
        },
    )
    guard = order.protection
    assert (order.price, guard.take_profit, guard.stop_loss) == (price, price * 2, price / 2 // 1)
    assert (guard.tp_trigger_by, guard.sl_trigger_by) == ("MarkPrice", "IndexPrice")


def test_v3_zero_is_no_take_profit(caller):
    assert not make(caller, V3_CREATE, {**MARKET, "takeProfit": "0", "stopLoss": "0"}).protection


def test_v3_closes_one_trade(caller):
    first = make(caller, V3_CREATE, {**MARKET, "orderLinkId": "first"})
    second = make(caller, V3_CREATE, MARKET)
    closing = make(caller, f"{COPY}/order/close", {"symbol": BTC, "parentOrderLinkId": "first"})
    assert (closing.parent_order_id, closing.order_link_id) == (first.order_id, "")
    closing = make(
        caller,
        f"{COPY}/order/close",
        {"symbol": BTC, "parentOrderId": second.order_id, "orderLinkId": "end"},
    )
    assert (closing.parent_order_id, closing.order_link_id) == (second.order_id, "end")
    assert caller.account.position(BTC, 1, NOW).size == 0


@pytest.mark.parametrize("idx", ["1", 1])
def test_v3_closes_a_position(caller, idx):
    make(caller, V3_CREATE, MARKET)
    make(caller, V3_CREATE, MARKET)
    path = f"{COPY}/position/close"
    assert caller.result("POST", path, symbol=BTC, positionIdx=idx) == {}
    assert caller.account.position(BTC, 1, NOW).size == 0
    assert caller.refusal("POST", path, symbol=BTC, positionIdx=idx)[0] == 110017


def test_v3_protects_one_trade(caller):
    order = make(caller, V3_CREATE, {**MARKET, "orderLinkId": "first"})
    above = str(caller.market.last_price(BTC) * 2)
    stop = {"symbol": BTC, "takeProfit": above}
    assert caller.result("POST", V3_STOP, stop, parentOrderLinkId="first") == {}
    assert str(caller.account.find_order(order.order_id).protection.take_profit) == above
    again = caller.refusal("POST", V3_STOP, stop, parentOrderId=order.order_id)
    assert again == (34040, "not modified")


# v5


def test_v5_opens_by_the_position(caller):
    price = caller.market.last_price(BTC)
    order = make(
        caller,
        V5_CREATE,
        {**V5_MARKET, "takeProfit": str(price * 2), "tpOrderType": "Market", "tpLimitPrice": ""},
    )
    assert (order.position_idx, order.status.value, order.tpsl_mode) == (1, "Filled", "Full")
    # It belongs to the position.
    assert caller.account.position(BTC, 1, NOW).protection.take_profit == price * 2


def test_v5_takes_all_that_the_account_knows(caller):
    price = caller.price(BTC)
    order = make(
        caller,
        V5_CREATE,
        {
            **V5_MARKET,
            "orderType": "Limit",
            "price": str(price),
            "timeInForce": "PostOnly",
            "orderLinkId": "mine",
            "stopLoss": float(price / 2 // 1),
            "slTriggerBy": "MarkPrice",
            "tpslMode": "Partial",
            "triggerPrice": str(price + 1),
            "triggerBy": "MarkPrice",
            "triggerDirection": 2,
            "reduceOnly": False,
        },
    )
    assert (order.order_link_id, order.price, order.time_in_force) == ("mine", price, "PostOnly")
    assert (order.tpsl_mode, order.protection.sl_trigger_by) == ("Partial", "MarkPrice")
    assert (order.trigger_price, order.trigger_by, order.trigger_direction) == (
        *(price + 1, "MarkPrice"),
        2,
    )
    assert order.status.value == "Untriggered"


@pytest.mark.parametrize("flags", [{"reduceOnly": True}, {"closeOnTrigger": "true"}])
def test_v5_reduces(caller, flags):
    make(caller, V5_CREATE, V5_MARKET)
    order = make(caller, V5_CREATE, {**V5_MARKET, "side": "Sell", "qty": 0.004, **flags})
    assert (order.reduce_only, order.opens) == (True, False)
    assert caller.account.position(BTC, 1, NOW).size == Decimal("0.006")


def test_v5_closes_all_by_a_size_of_zero(caller):
    closing = {**V5_MARKET, "side": "Sell", "qty": "0", "reduceOnly": True, "closeOnTrigger": True}
    assert caller.refusal("POST", V5_CREATE, closing)[0] == 10001
    assert caller.refusal("POST", V5_CREATE, {**closing, "positionIdx": 0})[0] == 10001
    make(caller, V5_CREATE, {**V5_MARKET, "qty": "0.037"})
    order = make(caller, V5_CREATE, {**closing, "orderLinkId": "all"})
    assert order.qty == Decimal("0.037")
    assert caller.account.position(BTC, 1, NOW).size == 0


def test_v5_protects_a_position(caller):
    make(caller, V5_CREATE, V5_MARKET)
    above = str(caller.market.last_price(BTC) * 2)
    stop = {**LINEAR, "symbol": BTC, "tpslMode": "Full", "positionIdx": 1, "trailingStop": "0"}
    assert caller.result("POST", V5_STOP, stop, takeProfit=above) == {}
    assert str(caller.account.position(BTC, 1, NOW).protection.take_profit) == above
    assert caller.refusal("POST", V5_STOP, stop, takeProfit=above)[0] == 34040
    assert caller.result("POST", V5_STOP, stop, takeProfit="0") == {}
    assert not caller.account.position(BTC, 1, NOW).protection


def test_v5_is_always_in_hedge_mode(caller):
    for mode in (3, "3"):
        answer = caller.refusal("POST", MODE, LINEAR, coin="USDT", mode=mode)
        assert answer == (110025, "Position mode is not modified")
    code, text = caller.refusal("POST", MODE, LINEAR, symbol=BTC, coin=None, mode=0)
    assert (code, "mode invalid" in text) == (10001, True)


def test_v5_tells_about_the_account(caller):
    info = caller.result("GET", "/v5/account/info")
    assert (info["marginMode"], info["isMasterTrader"]) == ("ISOLATED_MARGIN", True)


@pytest.mark.parametrize("how", ["live", "filled", "cancelled", "partly"])
def test_v5_orders_are_open_or_history(caller, how):
    caller.account.split_fills(2 if how == "partly" else 1)
    kind = "Market" if how in ("filled", "partly") else "Limit"
    order = make(
        caller, V5_CREATE, {**V5_MARKET, "orderType": kind, "price": str(caller.price(BTC))}
    )
    if how in ("cancelled", "partly"):
        caller.result("POST", "/v5/order/cancel", LINEAR, symbol=BTC, orderId=order.order_id)
    found = caller.result("GET", "/v5/order/realtime", OPEN)["list"]
    done = caller.result("GET", "/v5/order/history", LINEAR)["list"]
    assert (len(found), len(done)) == ((1, 0) if how == "live" else (0, 1))
    (row,) = found + done
    # Derivatives have no word of their own for "partly filled, then cancelled".
    status = {"live": "New", "filled": "Filled"}.get(how, "Cancelled")
    assert (row["orderId"], row["orderStatus"]) == (order.order_id, status)
    assert row["cumExecQty"] == {"filled": "0.010", "partly": "0.005"}.get(how, "0.000")


def test_v5_history_is_filtered_and_paged(caller):
    for number in range(5):
        make(caller, V5_CREATE, {**V5_MARKET, "orderLinkId": f"n{number}"})
        caller.now_ms += 1
    path = "/v5/order/history"

    def links(**params):
        result = caller.result("GET", path, LINEAR, **params)
        return [row["orderLinkId"] for row in result["list"]], result["nextPageCursor"]

    assert links() == (["n4", "n3", "n2", "n1", "n0"], "")
    first, cursor = links(limit=3)
    assert (first, links(limit=3, cursor=cursor)) == (["n4", "n3", "n2"], (["n1", "n0"], ""))
    assert links(orderLinkId="n2")[0] == ["n2"]
    assert links(startTime=NOW + 1, endTime=NOW + 2)[0] == ["n2", "n1"]
    assert links(orderStatus="Cancelled")[0] == []
    assert links(symbol=ETH)[0] == []
    assert len(links(orderStatus="Filled", settleCoin="USDT")[0]) == 5


# What they share


@pytest.mark.parametrize(("path", "more"), [(V3_LEVERAGE, {}), (V5_LEVERAGE, LINEAR)])
def test_leverage_is_set_for_both_sides(caller, path, more):
    both = {**more, "symbol": BTC, "buyLeverage": "25", "sellLeverage": 20}
    assert caller.result("POST", path, both) == {}
    sides = [caller.account.position(BTC, idx, NOW).leverage for idx in (1, 2)]
    assert sides == [25, 20]
    assert caller.refusal("POST", path, both) == (110043, "leverage not modified")


@pytest.mark.parametrize(
    ("path", "more"), [(f"{COPY}/order/cancel", {}), ("/v5/order/cancel", LINEAR)]
)
def test_an_order_is_cancelled_by_either_id(caller, path, more):
    limit = {**MARKET, "orderType": "Limit", "price": str(caller.price(BTC))}
    first = make(caller, V3_CREATE, limit)
    make(caller, V3_CREATE, {**limit, "orderLinkId": "second"})
    for ids in ({"orderId": first.order_id}, {"orderLinkId": "second"}):
        result = caller.result("POST", path, {**more, "symbol": BTC, **ids})
        assert set(ids.items()) <= set(result.items())
        assert caller.refusal("POST", path, {**more, "symbol": BTC, **ids})[0] == 110001
    assert caller.account.live_orders(BTC) == []


@pytest.mark.parametrize(
    ("path", "listed", "own", "result"),
    [
        (V3_TRANSFER, V3_TRANSFERS, "COPYTRADING", {"transferId": "t-1"}),
        (V3_TRANSFER, V3_TRANSFERS, "COPYTRADE", {"transferId": "t-1"}),
        (
            V5_TRANSFER,
            "/v5/asset/transfer/query-inter-transfer-list",
            "CONTRACT",
            {"transferId": "t-1", "status": "SUCCESS"},
        ),
    ],
)
def test_money_moves(caller, path, listed, own, result):
    balance = caller.account.wallet.wallet_balance
    inward = {**TRANSFER, "fromAccountType": "FUND", "toAccountType": own}
    assert caller.result("POST", path, inward) == result
    assert caller.account.wallet.wallet_balance == balance + 10
    assert caller.refusal("POST", path, inward)[0] == 131215
    (row,) = caller.result("GET", listed)["list"]
    assert (row["transferId"], row["amount"]) == ("t-1", "10")
    assert row["toAccountType"] == own.replace("TRADING", "TRADE")


REQUIRED = {
    V3_CREATE: (MARKET, ("symbol", "side", "orderType", "qty")),
    f"{COPY}/order/cancel": ({"symbol": BTC, "orderId": "x"}, ("symbol",)),
    f"{COPY}/order/close": ({"symbol": BTC, "parentOrderId": "x"}, ("symbol",)),
    V3_STOP: ({"symbol": BTC, "parentOrderId": "x"}, ("symbol",)),
    V3_LEVERAGE: (
        {"symbol": BTC, "buyLeverage": "5", "sellLeverage": "5"},
        ("symbol", "buyLeverage", "sellLeverage"),
    ),
    f"{COPY}/position/close": ({"symbol": BTC, "positionIdx": "1"}, ("symbol", "positionIdx")),
    V3_TRANSFER: (TRANSFER, tuple(TRANSFER)),
    V5_TRANSFER: (TRANSFER, tuple(TRANSFER)),
    V5_CREATE: (V5_MARKET, ("symbol", "side", "orderType", "qty")),
    "/v5/order/cancel": ({**LINEAR, "symbol": BTC, "orderId": "x"}, ("symbol",)),
    V5_STOP: ({**LINEAR, "symbol": BTC, "positionIdx": 1}, ("symbol",)),
    V5_LEVERAGE: (
        {**LINEAR, "symbol": BTC, "buyLeverage": "5", "sellLeverage": "5"},
        ("symbol", "buyLeverage", "sellLeverage"),
    ),
    MODE: ({**LINEAR, "symbol": BTC, "mode": 3}, ("mode",)),
}


def test_every_command_is_looked_at():
    assert set(REQUIRED) == {path for method, path in ENDPOINTS if method == "POST"}


@pytest.mark.parametrize("path", REQUIRED)
@pytest.mark.parametrize("empty", ["", None, "missing"])
def test_a_missing_parameter_is_named(caller, path, empty):
    params, names = REQUIRED[path]
    for name in names:
        bad = {**params, name: empty}
        if empty == "missing":
            del bad[name]
        assert caller.refusal("POST", path, bad) == (10001, f"params error: {name} is required")
    if "category" in params:
        bad = {**params, "category": "inverse"}
        assert caller.refusal("POST", path, bad) == (10001, "params error: Category is invalid")


@pytest.mark.parametrize("path", REQUIRED)
@pytest.mark.parametrize("value", [["x"], {"x": 1}, True, "x" * 501])
def test_a_parameter_of_another_kind_is_named(caller, path, value):
    params, names = REQUIRED[path]
    for name in names:
        code, text = caller.refusal("POST", path, {**params, name: value})
        assert (code, text) == (10001, f"params error: {name} invalid")


@pytest.mark.parametrize(
    ("path", "params", "text"),
    [
        (f"{COPY}/order/cancel", {"symbol": BTC}, "orderId or orderLinkId is required"),
        (
            f"{COPY}/order/close",
            {"symbol": BTC},
            "parentOrderId or parentOrderLinkId is required",
        ),
        (V3_STOP, {"symbol": BTC}, "parentOrderId or parentOrderLinkId is required"),
        (MODE, {**LINEAR, "mode": 3}, "symbol or coin is required"),
        (V5_CREATE, {**V5_MARKET, "positionIdx": "one"}, "positionIdx invalid"),
        (V5_CREATE, {**V5_MARKET, "positionIdx": -1}, "positionIdx invalid"),
        (V5_CREATE, {**V5_MARKET, "positionIdx": 1.5}, "positionIdx invalid"),
        (V5_CREATE, {**V5_MARKET, "reduceOnly": 1.5}, "reduceOnly invalid"),
        (V5_CREATE, {**V5_MARKET, "orderLinkId": 7}, "orderLinkId invalid"),
        (V5_CREATE, {**V5_MARKET, "qty": "much"}, "qty invalid"),
        (V5_CREATE, {**V5_MARKET, "tpslMode": "Half"}, "tpslMode invalid"),
        (V5_CREATE, {**V5_MARKET, "tpOrderType": "Limit"}, "tpOrderType is not simulated"),
        (V5_CREATE, {**V5_MARKET, "slLimitPrice": "1"}, "slLimitPrice is not simulated"),
        (
            V5_STOP,
            {**LINEAR, "symbol": BTC, "positionIdx": 1, "trailingStop": "5"},
            "trailingStop is not simulated",
        ),
        (
            V5_STOP,
            {**LINEAR, "symbol": BTC, "positionIdx": 1, "tpslMode": "Partial"},
            "tpslMode Partial is not simulated",
        ),
        (f"{COPY}/position/close", {"symbol": BTC, "positionIdx": "x"}, "positionIdx invalid"),
    ],
)
def test_other_mistakes_are_named(caller, path, params, text):
    assert caller.refusal("POST", path, params) == (10001, f"params error: {text}")


def test_a_v5_order_without_a_position_is_for_another_mode(caller):
    order = {key: value for key, value in V5_MARKET.items() if key != "positionIdx"}
    for more in ({}, {"positionIdx": 0}):
        answer = caller.refusal("POST", V5_CREATE, {**order, **more})
        assert answer == (10001, "position idx not match position mode")


@pytest.mark.parametrize("body", ["[]", "nothing", "1", "[" * 100_000, '{"a":NaN}', '{"a":1', '""'])
def test_a_body_that_is_no_object_is_refused(caller, body):
    reply = caller.send("POST", V3_CREATE, body=body.encode(), headers=caller.sign(body))
    assert (reply["retCode"], reply["retMsg"]) == (
        *(10001,),
        "params error: the body is not a JSON object",
    )


def test_an_empty_body_has_no_parameters(caller):
    reply = caller.send("POST", V3_CREATE, headers=caller.sign(""))
    assert reply["retMsg"] == "params error: symbol is required"


def test_a_list_is_refused_by_the_name_of_its_parameter(caller):
    path = f"{COPY}/execution/list"
    assert caller.refusal("GET", path) == (10001, "params error: symbol is required")
    for bad in ({"limit": "101"}, {"startTime": "x"}, {"cursor": "x"}, {"endTime": "9" * 5000}):
        code, text = caller.refusal("GET", path, symbol=BTC, **bad)
        assert (code, next(iter(bad)) in text) == (10001, True)
    assert caller.refusal("GET", "/v5/order/realtime", LINEAR)[0] == 10001


NAMES = sorted({name for params, _ in REQUIRED.values() for name in params})
NAMES += ["price", "takeProfit", "triggerPrice", "limit", "cursor", "startTime", "settleCoin"]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["BTCUSDT", "linear", "Buy", "Limit", "0.01", "1e-999999999", "1e99", "USDT"]),
    st.decimals(allow_nan=True).map(str),
    st.lists(st.integers(), max_size=2),
)


@given(
    endpoint=st.sampled_from(list(ENDPOINTS.values())),
    params=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8),
)
def test_nothing_that_is_sent_breaks_it(endpoint, params):
    caller = Caller(RestRules(limits={}))
    if endpoint.method == "POST" and endpoint.path in REQUIRED:
        params = {**REQUIRED[endpoint.path][0], **params}
    ask = caller.get if endpoint.method == "GET" else caller.post
    reply = ask(endpoint.path, params)
    assert caller.reply.status == 200
    assert isinstance(reply["retCode"], int)
    assert (reply["result"] == {}) or reply["retCode"] == 0
