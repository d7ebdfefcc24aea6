"""What the simulated account looks like on the wire: stream messages and REST lists, v3 and v5."""

import json
import re
from pathlib import Path

import pytest
from test_account_market import BTC, ETH, NOW, move, new_account

from bybit_copyws.sandbox.account import Refused, render_push, render_result

SAMPLES = Path(__file__).resolve().parents[2].parent / "shared" / "samples"
V3_STREAM, V3_REST = "v3-copy-trade/wss-private", "v3-copy-trade/rest-trade"
LINEAR = {"category": "linear", "settleCoin": "USDT"}


@pytest.fixture
def lived():
    """Return an account with everything that can be listed, and all its changes."""
    account, market = new_account()
    account.create_order(
        *(ETH, "Sell", "Market", "0.50"),
        order_link_id="first",
        take_profit="1750",
        stop_loss="2200",
        now_ms=NOW,
    )
    account.create_order(
        *(ETH, "Sell", "Limit", "5.55", "4000"),
        order_link_id="resting",
        position_idx=2,
        take_profit="3900",
        tpsl_mode="Full",
        now_ms=NOW + 1,
    )
    account.create_order(BTC, "Buy", "Limit", "0.01", "19900", now_ms=NOW + 2)
    move(account, market, BTC, "19900.00", NOW + 3)
    account.close_position(BTC, 1, now_ms=NOW + 4)
    account.transfer("100", "UNIFIED", "COPYTRADE", transfer_id="t-1", now_ms=NOW + 5)
    account.transfer("50", "COPYTRADE", "UNIFIED", transfer_id="t-2", now_ms=NOW + 6)
    move(account, market, ETH, "2010.00", NOW + 7)
    account.funding(ETH, market.rules[ETH].taker_fee, NOW + 8)
    return account, account.take_changes()


def last(changes, kind, symbol=ETH):
    return next(
        change
        for change in reversed(changes)
        if change.kind == kind
        and change.only == ""
        and getattr(change.state, "symbol", symbol) == symbol
    )


def rest(account, profile, name, **params):
    return render_result(profile, name, account, params, NOW + 10)


# The v3 stream, to the letter


def test_v3_order_message(lived):
    _, changes = lived
    change = next(
        change
        for change in changes
        if change.kind == "order" and change.state.copy_status == "OpenOrderFilled"
    )
    assert render_push("v3", change, NOW) == {
        "topic": "copyTradeOrder",
        "data": [
            {
                "orderId": change.state.order_id,
                "orderLinkId": "first",
                "symbol": "ETHUSDT",
                "orderType": "Market",
                "price": "1900.000000",
                "qty": "0.500000",
                "side": "Sell",
                "positionIdx": "2",
                "cumExecFee": "0.55000000",
                "cumExecValue": "1000.00000000",
                "lastExecPrice": "2000.000000",
                "cumExecQty": "0.500000",
                "takeProfit": "1750",
                "stopLoss": "2200",
                "tpTriggerBy": "LastPrice",
                "slTriggerBy": "LastPrice",
                "createTime": NOW,
                "updateTime": NOW,
                "copyTradeOrderStatus": "OpenOrderFilled",
            }
        ],
    }


def test_v3_execution_message(lived):
    _, changes = lived
    change = last(changes, "execution")
    assert render_push("v3", change, NOW) == {
        "topic": "copyTradeExecution",
        "data": [
            {
                "orderId": change.state.order_id,
                "orderLinkId": "first",
                "symbol": "ETHUSDT",
                "side": "Sell",
                "execId": change.state.exec_id,
                "execQty": "0.500000",
                "execType": "Trade",
                "execFee": "0.55000000",
                "price": "2000.000000",
                "orderQty": "0.500000",
                "tradeTime": NOW,
            }
        ],
    }


def test_v3_position_message(lived):
    _, changes = lived
    change = last(changes, "position")
    assert render_push("v3", change, NOW) == {
        "topic": "copyTradePosition",
        "data": [
            {
                "symbol": "ETHUSDT",
                "positionIdx": "2",
                "positionValue": "1000.00000000",
                "riskId": 1,
                "leverage": "10.000000",
                "isIsolated": True,
                "side": "Sell",
                "size": "0.500000",
                "unrealisedPnl": "-5.00000000",
                "liqPrice": "2190.000000",
                "bustPrice": "2200.000000",
                "entryPrice": "2000.00000000",
                "positionMargin": "100.00000000",
                "orderMargin": "2245.64100000",
                "occClosingFee": "0.60500000",
                "cumRealisedPnl": "0.00275000",
                "positionStatus": "Normal",
                "positionSeq": change.state.sequence,
            }
        ],
    }


def test_v3_wallet_message_is_an_object_with_two_fields(lived):
    account, changes = lived
    assert render_push("v3", last(changes, "wallet"), NOW) == {
        "topic": "copyTradeWallet",
        "data": {
            "walletBalance": f"{account.wallet.wallet_balance:.8f}",
            "availableBalance": f"{account.wallet.available_balance:.8f}",
        },
    }


def test_a_flat_position_has_no_side(lived):
    _, changes = lived
    change = last(changes, "position", BTC)
    (old,) = render_push("v3", change, NOW)["data"]
    (new,) = render_push("v5", change, NOW)["data"]
    assert (old["side"], old["size"], old["liqPrice"]) == ("", "0.000000", "0.000000")
    assert (new["side"], new["size"], new["entryPrice"], new["bustPrice"]) == ("", "0", "0", "")


def test_each_profile_pushes_only_what_it_has(lived):
    _, changes = lived
    pending = next(change for change in changes if change.only == "v3")
    funding = next(change for change in changes if change.only == "v5")
    assert render_push("v3", pending, NOW)["data"][0]["copyTradeOrderStatus"] == "PendingNew"
    assert render_push("v5", pending, NOW) is None
    assert render_push("v3", funding, NOW) is None
    assert render_push("v5", funding, NOW)["data"][0]["execType"] == "Funding"
    assert render_push("v5", funding, NOW, fast=True) is None
    trade = last(changes, "execution")
    assert render_push("v3", trade, NOW, fast=True) is None
    assert render_push("v5", last(changes, "order"), NOW, fast=True) is None


def test_v5_ids_are_unique_and_repeat_with_the_run(lived):
    _, changes = lived
    messages = [render_push("v5", change, NOW) for change in changes]
    ids = [message["id"] for message in messages if message]
    assert len(ids) == len(set(ids))
    assert messages == [render_push("v5", change, NOW) for change in changes]


def test_negative_zero_is_never_written():
    account, market = new_account()
    account.create_order(BTC, "Sell", "Market", "0.1", now_ms=NOW)
    for change in account.take_changes():
        for profile in ("v3", "v5"):
            assert '"-0' not in json.dumps(render_push(profile, change, NOW))
    (position,) = rest(account, "v3", "positions")["list"]
    assert position["unrealisedPnl"] == "0"
    assert market.last[BTC] == 20000


# The shapes of the exchange's own samples

#: What a push or list of ours must look like: (sample, where the entry lies, ours).
STREAMS = [
    (f"{V3_STREAM}/order.stream.jsonl", "v3", "order", False),
    (f"{V3_STREAM}/execution.stream.jsonl", "v3", "execution", False),
    (f"{V3_STREAM}/position.stream.jsonl", "v3", "position", False),
    (f"{V3_STREAM}/wallet.stream.jsonl", "v3", "wallet", False),
    ("v5/websocket/private/order.stream.jsonl", "v5", "order", False),
    ("v5/websocket/private/execution.stream.jsonl", "v5", "execution", False),
    ("v5/websocket/private/fast-execution.stream.jsonl", "v5", "execution", True),
    ("v5/websocket/private/position.stream.jsonl", "v5", "position", False),
    ("v5/websocket/private/wallet.stream.jsonl", "v5", "wallet", False),
]
RESTS = [
    (f"{V3_REST}/position/position-info.rest.jsonl", "v3", "positions", {}),
    (f"{V3_REST}/order/order-list.rest.jsonl", "v3", "orders", {"symbol": ETH}),
    (f"{V3_REST}/position/execution.rest.jsonl", "v3", "executions", {"symbol": ETH}),
    (f"{V3_REST}/account/wallet.rest.jsonl", "v3", "wallet", {}),
    (f"{V3_REST}/account/transfer-list.rest.jsonl", "v3", "transfers", {"limit": "1"}),
    ("v5/position/position.rest.jsonl", "v5", "positions", LINEAR),
    ("v5/order/open-order.rest.jsonl", "v5", "orders", LINEAR),
    ("v5/order/execution.rest.jsonl", "v5", "executions", {**LINEAR, "execType": "Trade"}),
    ("v5/account/wallet-balance.rest.jsonl", "v5", "wallet", {"accountType": "UNIFIED"}),
]


def sample(name):
    path = SAMPLES / name
    if not path.exists():
        pytest.skip(f"the exchange's samples are not here: {name}")
    return json.loads(path.read_text().splitlines()[0])


def kind(value, *, places):
    """Return the sort of a value: with ``places`` the decimals of a number count."""
    if not isinstance(value, str):
        return type(value).__name__
    if re.fullmatch(r"-?\d+(\.\d+)?", value):
        return f"number/{len(value.partition('.')[2])}" if places else "number"
    return "text"


# Entries whose content depends on the account, so only their presence counts.
OPEN_ENDED = {"cumFeeDetail", "extraFees"}


def compare(ours, theirs, *, places, path=""):
    if isinstance(theirs, dict) and isinstance(ours, dict):
        assert set(ours) == set(theirs), path
        for key in set(theirs) - OPEN_ENDED:
            compare(ours[key], theirs[key], places=places, path=f"{path}.{key}")
    elif isinstance(theirs, list) and isinstance(ours, list):
        assert ours, path
        for entry in ours:
            compare(entry, theirs[0], places=places, path=f"{path}[]")
    elif "" in (ours, theirs):
        assert type(ours) is type(theirs), path
    else:
        assert kind(ours, places=places) == kind(theirs, places=places), (path, ours, theirs)


@pytest.mark.parametrize(("name", "profile", "what", "fast"), STREAMS)
def test_stream_messages_have_the_shape_of_the_samples(lived, name, profile, what, fast):
    theirs = sample(name)
    _, changes = lived
    ours = render_push(profile, last(changes, what), NOW, fast=fast)
    compare(ours, theirs, places=profile == "v3")
    assert ours["topic"] == theirs["topic"]


@pytest.mark.parametrize(("name", "profile", "what", "params"), RESTS)
def test_rest_lists_have_the_shape_of_the_samples(lived, name, profile, what, params):
    account, _ = lived
    theirs = sample(name)["result"]
    if what == "orders" and profile == "v5":
        # Shown as the sample is: one that has take profit and stop loss.
        params = {**params, "orderLinkId": "first"}
    compare(rest(account, profile, what, **params), theirs, places=False)


# The same shapes without the samples: what a client reads first


@pytest.mark.parametrize(
    ("profile", "name", "params", "keys"),
    [
        ("v3", "positions", {}, {"list"}),
        ("v3", "orders", {}, {"list"}),
        ("v3", "executions", {"symbol": ETH}, {"list", "nextPageCursor"}),
        ("v3", "transfers", {}, {"list", "nextPageCursor"}),
        ("v5", "positions", LINEAR, {"list", "nextPageCursor", "category"}),
        ("v5", "orders", LINEAR, {"list", "nextPageCursor", "category"}),
        ("v5", "executions", LINEAR, {"list", "nextPageCursor", "category"}),
        ("v5", "wallet", {"accountType": "CONTRACT"}, {"list"}),
        ("v5", "transfers", {}, {"list", "nextPageCursor"}),
    ],
)
def test_every_list_has_its_frame_and_an_entry(lived, profile, name, params, keys):
    account, _ = lived
    result = rest(account, profile, name, **params)
    assert set(result) == keys
    assert result["list"]


def test_rest_numbers_are_not_padded(lived):
    account, _ = lived
    (order,) = rest(account, "v3", "orders", orderLinkId="resting")["list"]
    assert (order["price"], order["qty"], order["leavesValue"]) == ("4000.00", "5.55", "22200")
    assert (order["timeInForce"], order["createdTime"]) == ("GoodTillCancel", str(NOW + 1))
    (position,) = rest(account, "v3", "positions")["list"]
    assert (position["size"], position["liqPrice"], position["markPrice"]) == (
        *("0.5", "2190.00"),
        "2010.00",
    )
    funding, trade = rest(account, "v3", "executions", symbol=ETH)["list"]
    assert (funding["execType"], funding["lastLiquidityInd"]) == ("Funding", "LiquidityIndNA")
    assert (funding["orderPrice"], funding["orderType"]) == ("0.00", "UNKNOWN")
    assert (trade["execPrice"], trade["lastLiquidityInd"]) == ("2000", "RemovedLiquidity")
    closed, opened = rest(account, "v3", "executions", symbol=BTC)["list"]
    assert (closed["closedSize"], opened["lastLiquidityInd"]) == ("0.01", "AddedLiquidity")


def test_the_v3_wallet_adds_up(lived):
    account, _ = lived
    wallet = rest(account, "v3", "wallet")
    assert wallet["coin"] == "USDT"
    assert wallet["realisedPnl"] == wallet["cumRealisedPnl"]
    assert wallet["walletBalance"] == f"{account.wallet.wallet_balance.normalize():f}"


def test_positions_of_one_symbol_show_both_sides(lived):
    account, _ = lived
    both = rest(account, "v3", "positions", symbol=BTC)["list"]
    assert [(p["positionIdx"], p["side"], p["size"]) for p in both] == [
        *(("1", "", "0"), ("2", "", "0")),
    ]
    assert len(rest(account, "v5", "positions", category="linear", symbol=ETH)["list"]) == 2
    with pytest.raises(Refused):
        rest(account, "v3", "positions", symbol="NOPE")


def test_order_filters(lived):
    account, _ = lived
    everything = rest(account, "v3", "orders")["list"]
    assert len(everything) == 4
    assert [o["createdTime"] for o in everything] == [str(NOW + n) for n in (4, 2, 1, 0)]
    (one,) = rest(account, "v3", "orders", orderId=everything[1]["orderId"])["list"]
    assert one == everything[1]
    (new,) = rest(account, "v3", "orders", copyTradeOrderType="New")["list"]
    assert new["orderLinkId"] == "resting"
    live = rest(account, "v5", "orders", **LINEAR)["list"]
    assert [order["orderStatus"] for order in live] == ["New"]
    assert len(rest(account, "v5", "orders", **LINEAR, openOnly="1")["list"]) == 4
    (named,) = rest(account, "v5", "orders", **LINEAR, orderLinkId="first")["list"]
    assert named["orderStatus"] == "Filled"


def test_execution_times_are_filtered(lived):
    account, _ = lived
    both = {"startTime": str(NOW), "endTime": str(NOW + 3)}
    found = rest(account, "v5", "executions", category="linear", **both)["list"]
    assert [e["execTime"] for e in found] == [str(NOW + 3), str(NOW)]


def test_pages_go_newest_first_and_are_not_moved_by_new_entries():
    account, _ = new_account()
    for number in range(5):
        account.create_order(BTC, "Buy", "Market", "0.001", now_ms=NOW + number)
    query = {"symbol": BTC, "limit": "2"}
    seen, cursor = [], ""
    while True:
        result = rest(account, "v3", "executions", **query, cursor=cursor)
        seen += [int(e["execTime"]) - NOW for e in result["list"]]
        cursor = result["nextPageCursor"]
        if not cursor:
            break
        account.create_order(BTC, "Buy", "Market", "0.001", now_ms=NOW + 99)
    assert seen == [4, 3, 2, 1, 0]


def test_an_empty_list_has_no_next_page():
    account, _ = new_account()
    assert rest(account, "v3", "executions", symbol=BTC) == {"nextPageCursor": "", "list": []}


@pytest.mark.parametrize(
    ("profile", "name", "params"),
    [
        ("v3", "executions", {}),
        ("v3", "executions", {"symbol": BTC, "limit": "0"}),
        ("v3", "executions", {"symbol": BTC, "limit": "101"}),
        ("v3", "executions", {"symbol": BTC, "limit": "ten"}),
        ("v3", "executions", {"symbol": BTC, "startTime": "2", "endTime": "1"}),
        ("v3", "executions", {"symbol": BTC, "cursor": "x"}),
        ("v3", "executions", {"symbol": BTC, "cursor": "\u00e9"}),
        ("v3", "executions", {"symbol": BTC, "cursor": "/w=="}),
        ("v3", "executions", {"symbol": BTC, "cursor": "bm9wZQ=="}),
        ("v5", "executions", {}),
        ("v5", "orders", {"category": "linear"}),
        ("v5", "positions", {"category": "inverse", "symbol": BTC}),
        ("v5", "wallet", {"accountType": "SPOT"}),
    ],
)
def test_bad_queries_are_refused(lived, profile, name, params):
    account, _ = lived
    with pytest.raises(Refused) as refusal:
        rest(account, profile, name, **params)
    assert refusal.value.ret_code == 10001


def test_v5_wallet_rates_of_a_lost_account_are_zero():
    account, market = new_account()
    account.create_order(BTC, "Buy", "Market", "0.1", now_ms=NOW)
    account.transfer(account.wallet.available_balance, "UNIFIED", "FUND", now_ms=NOW)
    market.last[BTC] = market.last[BTC] / 2
    account.close_position(BTC, 1, now_ms=NOW)
    (entry,) = rest(account, "v5", "wallet", accountType="UNIFIED")["list"]
    assert (entry["accountIMRate"], entry["totalAvailableBalance"]) == ("0", "0")
