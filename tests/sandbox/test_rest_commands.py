"""The commands of both profiles over REST: what they do."""

from __future__ import annotations

from decimal import Decimal

import pytest
from rest_caller import (
    BTC,
    COPY,
    ETH,
    LINEAR,
    MARKET,
    MODE,
    NOW,
    OPEN,
    TRANSFER,
    V3_CREATE,
    V3_LEVERAGE,
    V3_STOP,
    V3_TRANSFER,
    V3_TRANSFERS,
    V5_CREATE,
    V5_LEVERAGE,
    V5_MARKET,
    V5_STOP,
    V5_TRANSFER,
    Caller,
)


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
