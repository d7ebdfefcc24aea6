"""Whole lives over REST: what was done, what is listed, nothing lost and nothing twice."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_caller import BTC, COPY, ETH, LINEAR, OPEN, V3_TRANSFERS, Caller

from bybit_copyws.sandbox.rest import RestRules

PROFILES = ["v3", "v5"]
EXECUTIONS = {
    "v3": (f"{COPY}/execution/list", {"symbol": BTC}),
    "v5": ("/v5/execution/list", LINEAR),
}
ORDERS = {"v3": (f"{COPY}/order/list", {}), "v5": ("/v5/order/realtime", {**OPEN, "openOnly": "1"})}
POSITIONS = {"v3": (f"{COPY}/position/list", {}), "v5": ("/v5/position/list", OPEN)}
CREATE = {"v3": (f"{COPY}/order/create", {}), "v5": ("/v5/order/create", LINEAR)}


def pages(caller, path, params, limit, between=lambda: None):
    """Return all entries of a list, read page by page."""
    seen, cursor = [], ""
    while True:
        result = caller.result("GET", path, params, limit=limit, cursor=cursor)
        seen += result["list"]
        cursor = result["nextPageCursor"]
        if not cursor:
            return seen
        assert len(result["list"]) == limit
        between()


def opened(caller, profile, **more):
    path, params = CREATE[profile]
    idx = {"positionIdx": 1 if more["side"] == "Buy" else 2} if profile == "v5" else {}
    return caller.result("POST", path, params, **{"symbol": BTC, **idx, **more})["orderId"]


def status_key(profile):
    return "copyTradeOrderStatus" if profile == "v3" else "orderStatus"


def listed(caller, profile, order_id):
    path, params = ORDERS[profile]
    (row,) = caller.result("GET", path, params, orderId=order_id)["list"]
    return row


@pytest.mark.parametrize("profile", PROFILES)
def test_a_life(profile):
    caller = Caller()
    caller.account.split_fills(3)
    price = caller.price(BTC)
    order_id = opened(
        caller,
        profile,
        side="Buy",
        orderType="Limit",
        qty="0.06",
        price=str(price),
        orderLinkId="a",
    )
    row = listed(caller, profile, order_id)
    assert (row[status_key(profile)], row["leavesQty"].rstrip("0")) == ("New", "0.06")
    assert caller.result("GET", *POSITIONS[profile])["list"] == []

    # The market comes to it: a third is filled.
    caller.now_ms += 1000
    caller.move(BTC, price)
    row = listed(caller, profile, order_id)
    partly = {"v3": "OpenOrderPartiallyFilled", "v5": "PartiallyFilled"}[profile]
    assert (row[status_key(profile)], Decimal(row["leavesQty"])) == (partly, Decimal("0.04"))
    (position,) = caller.result("GET", *POSITIONS[profile])["list"]
    assert (position["symbol"], position["side"], position["size"]) == (BTC, "Buy", "0.02")

    # What is left is cancelled; the filled part is a trade, and is closed.
    cancel = {"v3": f"{COPY}/order/cancel", "v5": "/v5/order/cancel"}[profile]
    caller.result("POST", cancel, LINEAR, symbol=BTC, orderId=order_id)
    row = listed(caller, profile, order_id)
    assert row[status_key(profile)] == {"v3": "OpenOrderFilled", "v5": "Cancelled"}[profile]
    caller.account.split_fills(1)
    caller.now_ms += 1000
    if profile == "v3":
        caller.result("POST", f"{COPY}/order/close", symbol=BTC, parentOrderId=order_id)
        assert listed(caller, profile, order_id)["copyTradeOrderStatus"] == "OpenOrderClosedFilled"
    else:
        closing = {**LINEAR, "symbol": BTC, "side": "Sell", "orderType": "Market", "qty": "0.02"}
        caller.result("POST", "/v5/order/create", closing, positionIdx=1, reduceOnly=True)
    assert caller.result("GET", *POSITIONS[profile])["list"] == []

    rows = pages(caller, *EXECUTIONS[profile], 1)
    # The book gives the closing order as many pieces as it has levels for it.
    assert [row["side"] for row in rows] == ["Sell"] * (len(rows) - 1) + ["Buy"]
    signed = [Decimal(row["execQty"]) * (1 if row["side"] == "Buy" else -1) for row in rows]
    assert sum(signed) == 0
    assert len({row["execId"] for row in rows}) == len(rows)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_life_adds_up_to_the_wallet(profile):
    caller = Caller()
    wallet = f"{COPY}/wallet/balance"
    before = Decimal(caller.result("GET", wallet)["walletBalance"])
    caller.result(
        *("POST", f"{COPY}/wallet/transfer"),
        transferId="in",
        coin="USDT",
        amount="250",
        fromAccountType="UNIFIED",
        toAccountType="COPYTRADING",
    )
    opened(caller, profile, side="Sell", orderType="Market", qty="0.05")
    caller.move(BTC, caller.price(BTC))
    caller.result("POST", f"{COPY}/position/close", symbol=BTC, positionIdx="2")
    rows = pages(caller, *EXECUTIONS[profile], 2)
    cash = sum(
        Decimal(row["execValue"]) * (1 if row["side"] == "Sell" else -1) - Decimal(row["execFee"])
        for row in rows
    )
    after = Decimal(caller.result("GET", wallet)["walletBalance"])
    (transfer,) = caller.result("GET", V3_TRANSFERS)["list"]
    assert after == before + Decimal(transfer["amount"]) + cash
    account = caller.result("GET", "/v5/account/wallet-balance", accountType="UNIFIED")["list"][0]
    assert Decimal(account["totalWalletBalance"]) == after


@given(
    actions=st.lists(
        st.tuples(
            st.sampled_from(["open", "close", "move"]),
            st.sampled_from(PROFILES),
            st.sampled_from(["Buy", "Sell"]),
            st.integers(1, 20),
        ),
        min_size=1,
        max_size=12,
    ),
    limit=st.integers(1, 5),
    profile=st.sampled_from(PROFILES),
)
def test_executions_by_cursor_are_neither_lost_nor_doubled(actions, limit, profile):
    caller = Caller(RestRules(limits={}))
    parents = []
    for action, how, side, steps in actions:
        caller.now_ms += steps
        qty = str(Decimal("0.001") * steps)
        if action == "open":
            parents.append(opened(caller, how, side=side, orderType="Market", qty=qty))
        elif action == "close" and parents:
            caller.result("POST", f"{COPY}/order/close", symbol=BTC, parentOrderId=parents.pop())
        elif action == "move":
            last = caller.market.last_price(BTC)
            caller.move(BTC, last + steps)

    def trade_on():
        # What is new while one reads comes before the cursor, and moves nothing.
        opened(caller, profile, side="Buy", orderType="Market", qty="0.001")

    expected = [execution.exec_id for execution in caller.account.executions]
    rows = pages(caller, *EXECUTIONS[profile], limit, trade_on)
    assert [row["execId"] for row in rows] == expected
    times = [int(row["execTime"]) for row in rows]
    assert times == sorted(times, reverse=True)


def test_lists_of_both_profiles_tell_the_same():
    caller = Caller()
    for symbol in (BTC, ETH):
        for side in ("Buy", "Sell"):
            opened(caller, "v3", symbol=symbol, side=side, orderType="Market", qty="0.1")
    old, new = (caller.result("GET", *POSITIONS[profile])["list"] for profile in PROFILES)

    def told(rows):
        return {(row["symbol"], int(row["positionIdx"]), row["side"], row["size"]) for row in rows}

    assert told(old) == told(new)
    assert len(old) == len(new) == 4


def test_the_order_that_a_cursor_names_may_leave_the_list():
    caller = Caller()
    price = str(caller.price(BTC))
    ids = [
        opened(caller, "v5", side="Buy", orderType="Limit", qty="0.01", price=price)
        for _ in "abcde"
    ]
    shown = []

    def cancel_the_last_shown():
        # Bybit's cursors are positions in its own order, not rows that must still be there.
        shown.append(1)
        order_id = ids[5 - 2 * len(shown)]
        caller.result("POST", "/v5/order/cancel", {**LINEAR, "symbol": BTC, "orderId": order_id})

    rows = pages(caller, "/v5/order/realtime", OPEN, 2, cancel_the_last_shown)
    assert [row["orderId"] for row in rows] == ids[::-1]


def test_the_position_that_a_cursor_names_may_be_closed():
    caller = Caller()
    for symbol in (BTC, ETH):
        opened(caller, "v5", symbol=symbol, side="Buy", orderType="Market", qty="0.1")

    def close():
        caller.result(
            "POST",
            "/v5/order/create",
            LINEAR,
            symbol=BTC,
            side="Sell",
            orderType="Market",
            qty="0.1",
            positionIdx=1,
            reduceOnly=True,
        )

    rows = pages(caller, "/v5/position/list", OPEN, 1, close)
    assert [row["symbol"] for row in rows] == [BTC, ETH]


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("/v5/position/list", 2),
        ("/v5/order/realtime", 1),
        ("/v5/order/history", 2),
        ("/v5/execution/list", 2),
    ],
)
def test_v5_lists_are_narrowed_by_coins(path, count):
    caller = Caller()
    for side in ("Buy", "Sell"):
        opened(caller, "v5", symbol=ETH, side=side, orderType="Market", qty="0.1")
    price = str(caller.price(ETH))
    opened(caller, "v5", symbol=ETH, side="Buy", orderType="Limit", qty="0.1", price=price)

    def found(**coins):
        return len(caller.result("GET", path, LINEAR, **coins)["list"])

    assert found(settleCoin="USDT") == count
    assert found(baseCoin="ETH") == count
    assert found(settleCoin="USDT", baseCoin="ET") == 0
    assert found(settleCoin="USDC") == 0
