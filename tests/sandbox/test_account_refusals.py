"""Every command that the simulated account refuses, with code and text."""

from decimal import Decimal

import pytest
from test_account_market import BTC, NOW, new_account

from bybit_copyws.sandbox.account import Refused

D = Decimal


@pytest.fixture
def account():
    account, _ = new_account()
    account.create_order(BTC, "Buy", "Market", "0.1", order_link_id="taken", now_ms=NOW)
    account.take_changes()
    return account


def order(**changes):
    return {
        "symbol": BTC,
        "side": "Buy",
        "order_type": "Limit",
        "qty": "0.1",
        "price": "19000",
        "now_ms": NOW,
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"symbol": "NOPE"}, 10001, "symbol invalid NOPE"),
        ({"side": "buy"}, 10001, "side invalid"),
        ({"order_type": "Stop"}, 10001, "orderType invalid"),
        ({"qty": "0.0001"}, 10001, "below min limit"),
        ({"qty": ""}, 10001, "below min limit"),
        ({"qty": "100.001"}, 10001, "exceeds maximum"),
        ({"qty": "0.0015"}, 10001, "Qty invalid"),
        ({"qty": "much"}, 10001, "qty invalid"),
        ({"qty": "NaN"}, 10001, "qty invalid"),
        ({"qty": "-1"}, 10001, "qty invalid"),
        ({"price": "19000.05"}, 10001, "price invalid"),
        ({"price": None}, 10001, "price invalid"),
        ({"time_in_force": "Day"}, 10001, "timeInForce invalid"),
        ({"tpsl_mode": "Half"}, 10001, "tpslMode invalid"),
        ({"position_idx": 0}, 10001, "position idx"),
        ({"position_idx": 1, "reduce_only": True}, 110017, "same side"),
        ({"reduce_only": True}, 110017, "current position is zero"),
        ({"order_link_id": "taken"}, 110072, "duplicate"),
        ({"order_link_id": "x" * 37}, 10001, "orderLinkId"),
        ({"qty": "90"}, 110007, "ab not enough"),
        ({"side": "Sell", "qty": "90"}, 110007, "ab not enough"),
        ({"take_profit": "18000"}, 10001, "should be higher"),
        ({"stop_loss": "19000"}, 10001, "should be lower"),
        ({"side": "Sell", "stop_loss": "18000", "price": "21000"}, 10001, "should be higher"),
        ({"side": "Sell", "take_profit": "22000", "price": "21000"}, 10001, "should be lower"),
        ({"take_profit": "20000", "tp_trigger_by": "Price"}, 10001, "tpTriggerBy"),
        ({"trigger_price": "20000.05"}, 10001, "triggerPrice"),
        ({"trigger_price": "21000", "trigger_by": "No"}, 10001, "triggerBy"),
        ({"qty": "1e50"}, 10001, "qty invalid"),
        ({"price": ["1"]}, 10001, "price invalid"),
        ({"trigger_price": "19000", "trigger_direction": 1}, 110092, "expect Rising"),
        ({"trigger_price": "21000", "trigger_direction": 2}, 110093, "expect Falling"),
        ({"trigger_price": "20000"}, 110093, "expect Falling"),
        ({"trigger_price": "21000", "trigger_direction": 3}, 10001, "triggerDirection"),
    ],
)
def test_bad_orders(account, changes, code, text):
    before = account.wallet
    with pytest.raises(Refused) as refusal:
        account.create_order(**order(**changes))
    assert refusal.value.ret_code == code
    assert text in refusal.value.ret_msg
    assert account.wallet == before
    assert account.take_changes() == []


def test_a_closing_order_needs_no_protection(account):
    order_id, _ = account.create_order(
        **order(side="Sell", price="21000", reduce_only=True, take_profit="1")
    )
    assert not account.find_order(order_id).protection


def refuse(code, command, *args, **kwargs):
    with pytest.raises(Refused) as refusal:
        command(*args, now_ms=NOW, **kwargs)
    assert refusal.value.ret_code == code


def test_orders_that_are_not_there(account):
    taken = account.find_order(order_link_id="taken").order_id
    refuse(10001, account.cancel_order)
    refuse(110001, account.cancel_order, order_id="nope")
    refuse(110001, account.cancel_order, order_link_id="taken")
    refuse(110001, account.cancel_order, order_id=taken, symbol="ETHUSDT")
    refuse(110001, account.close_order, parent_order_id="nope")
    refuse(110072, account.close_order, parent_order_id=taken, order_link_id="taken")
    refuse(110001, account.set_trading_stop, BTC, parent_order_id="nope", take_profit=1)


def test_positions_that_are_not_there(account):
    refuse(110017, account.close_position, BTC, 2)
    refuse(10001, account.close_position, BTC, 0)
    refuse(10001, account.close_position, "NOPE", 1)
    refuse(10001, account.set_trading_stop, BTC, take_profit=1)
    refuse(10001, account.set_trading_stop, BTC, position_idx=2, take_profit=1)


def test_trading_stops_that_change_nothing_or_fire_at_once(account):
    refuse(34040, account.set_trading_stop, BTC, position_idx=1)
    refuse(10001, account.set_trading_stop, BTC, position_idx=1, stop_loss="20000")
    account.close_position(BTC, 1, now_ms=NOW)
    refuse(
        *(110001, account.set_trading_stop, BTC),
        parent_order_link_id="taken",
        take_profit="30000",
    )


def test_leverages_out_of_range(account):
    refuse(10001, account.set_leverage, BTC, "0.5", 10)
    refuse(110013, account.set_leverage, BTC, 10, 101)
    refuse(10001, account.set_leverage, "NOPE", 10, 10)


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("1", "UNIFIED", "UNIFIED"), 10001),
        (("1", "SPOT", "FUND"), 10001),
        (("1", "BANK", "UNIFIED"), 10001),
        (("0", "UNIFIED", "FUND"), 10001),
        (("1", "UNIFIED", "FUND", "BTC"), 10001),
        (("1", "UNIFIED", "FUND", "USDT", "id"), 131215),
        (("10000", "UNIFIED", "FUND"), 131212),
    ],
)
def test_bad_transfers(account, args, code):
    account.transfer(D(1), "FUND", "CONTRACT", transfer_id="id", now_ms=NOW)
    refuse(code, account.transfer, *args)
