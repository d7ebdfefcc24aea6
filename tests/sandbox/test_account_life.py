"""The life of orders, copy trades and positions of the simulated account."""

from decimal import Decimal

import pytest
from test_account_market import BTC, ETH, NOW, move, new_account, statuses

from bybit_copyws.sandbox.account import OrderStatus, Refused

D = Decimal


@pytest.fixture
def pair():
    return new_account()


def kinds(account):
    return [change.kind for change in account.take_changes()]


def test_a_market_order_opens_a_copy_trade_and_pushes_every_step(pair):
    account, _ = pair
    order_id, link = account.create_order(
        BTC, "Buy", "Market", "0.1", order_link_id="mine", now_ms=NOW
    )
    changes = account.take_changes()
    assert link == "mine"
    assert statuses(changes) == ["PendingNew", "New", "OpenOrderFilled"]
    assert statuses(changes, copy=False) == ["New", "Filled"]
    assert [change.kind for change in changes] == [
        *("order", "order", "position", "wallet"),
        *("order", "execution", "position", "wallet"),
    ]
    order = account.find_order(order_link_id="mine")
    assert order.order_id == order_id
    assert (order.cum_exec_qty, order.cum_exec_value) == (D("0.1"), D(2000))
    assert order.cum_exec_fee == D("1.1")
    position = account.position(BTC, 1, NOW)
    assert (position.size, position.entry_price, position.side) == (D("0.1"), 20000, "Buy")
    assert account.wallet.wallet_balance == D("9998.9")
    assert account.take_changes() == []


def test_closing_a_copy_trade_moves_parent_and_closing_order(pair):
    account, market = pair
    parent, _ = account.create_order(BTC, "Sell", "Market", "0.1", now_ms=NOW)
    move(account, market, BTC, "19000.00")
    account.take_changes()
    closing, link = account.close_order(
        parent_order_id=parent, order_link_id="bye", symbol=BTC, now_ms=NOW + 1
    )
    changes = account.take_changes()
    assert link == "bye"
    assert statuses(changes, closing) == ["PendingNew", "New", "CloseOrderFilled"]
    assert statuses(changes, parent) == ["OpenOrderClosing", "OpenOrderClosedFilled"]
    # v5 knows no parents.
    assert statuses(changes, parent, copy=False) == []
    order = account.find_order(closing)
    assert (order.side, order.position_idx, order.closed_pnl) == ("Buy", 2, 100)
    position = account.position(BTC, 2, NOW)
    assert (position.size, position.entry_price) == (0, 0)
    assert position.cur_realised_pnl == account.wallet.cum_realised_pnl
    assert account.wallet.available_balance == account.wallet.wallet_balance
    with pytest.raises(Refused) as refusal:
        account.close_order(parent_order_id=parent, now_ms=NOW)
    assert refusal.value.ret_code == 110017


def test_a_limit_order_rests_until_the_price_trades_at_it(pair):
    account, market = pair
    order_id, _ = account.create_order(BTC, "Buy", "Limit", "0.1", "19900.0", now_ms=NOW)
    held = account.wallet
    assert held.order_margin > 199
    assert account.take_changes()[-1].kind == "wallet"
    move(account, market, BTC, "19900.10")
    assert account.find_order(order_id).copy_status == "New"
    move(account, market, BTC, "19899.00", NOW + 5)
    order = account.find_order(order_id)
    assert (order.copy_status, order.last_exec_price) == ("OpenOrderFilled", D("19900.0"))
    (execution,) = account.executions
    assert (execution.is_maker, execution.fee_rate) == (True, D("0.0002"))
    assert account.wallet.order_margin == 0


def test_a_sell_limit_order_fills_when_the_price_rises(pair):
    account, market = pair
    order_id, _ = account.create_order(BTC, "Sell", "Limit", "0.1", "20100.0", now_ms=NOW)
    move(account, market, BTC, "20099.90")
    assert account.find_order(order_id).live
    move(account, market, BTC, "20100.00")
    assert account.find_order(order_id).status is OrderStatus.FILLED


def test_a_crossing_limit_order_takes_what_is_there_and_rests(pair):
    account, market = pair
    market.depth = D("0.04")
    order_id, _ = account.create_order(BTC, "Buy", "Limit", "0.1", "20010.0", now_ms=NOW)
    order = account.find_order(order_id)
    assert (order.copy_status, order.leaves_qty) == ("OpenOrderPartiallyFilled", D("0.06"))
    account.cancel_order(order_id=order_id, symbol=BTC, now_ms=NOW)
    order = account.find_order(order_id)
    assert order.status is OrderStatus.PARTIALLY_FILLED_CANCELED
    # What was filled is an open copy trade.
    assert (order.copy_status, order.leaves_qty) == ("OpenOrderFilled", 0)
    market.depth = None
    account.close_order(parent_order_id=order_id, now_ms=NOW)
    assert account.find_order(order_id).copy_status == "OpenOrderClosedFilled"


def test_fills_can_be_made_to_come_in_pieces(pair):
    account, market = pair
    account.split_fills(3)
    order_id, _ = account.create_order(BTC, "Buy", "Market", "0.01", now_ms=NOW)
    changes = account.take_changes()
    assert statuses(changes) == ["PendingNew", "New", "OpenOrderPartiallyFilled"]
    assert account.find_order(order_id).cum_exec_qty == D("0.004")
    move(account, market, BTC, "20000.00")
    move(account, market, BTC, "20000.00")
    assert [e.exec_qty for e in account.executions] == [D("0.002"), D("0.004"), D("0.004")]
    assert account.find_order(order_id).copy_status == "OpenOrderFilled"

    closing, _ = account.close_order(parent_order_id=order_id, now_ms=NOW)
    assert account.find_order(order_id).copy_status == "OpenOrderClosing"
    assert account.find_order(closing).copy_status == "CloseOrderPartiallyFilled"
    with pytest.raises(Refused, match="110017"):
        account.close_order(parent_order_id=order_id, now_ms=NOW)
    account.cancel_order(order_id=closing, now_ms=NOW)
    assert account.find_order(closing).copy_status == "Cancelled"
    assert account.find_order(order_id).copy_status == "OpenOrderFilled"
    account.split_fills(1)
    account.close_order(parent_order_id=order_id, now_ms=NOW)
    assert account.find_order(order_id).copy_status == "OpenOrderClosedFilled"


def test_a_resting_order_in_pieces_fills_piece_by_piece(pair):
    account, market = pair
    account.split_fills(2)
    order_id, _ = account.create_order(BTC, "Buy", "Limit", "0.01", "19000.0", now_ms=NOW)
    move(account, market, BTC, "19000.00")
    assert account.find_order(order_id).cum_exec_qty == D("0.005")
    move(account, market, BTC, "19000.00")
    assert account.find_order(order_id).status is OrderStatus.FILLED


@pytest.mark.parametrize(("depth", "status"), [("0", "Cancelled"), ("0.05", "OpenOrderFilled")])
def test_a_market_order_ends_when_the_market_is_thin(pair, depth, status):
    account, market = pair
    market.depth = D(depth)
    order_id, _ = account.create_order(BTC, "Buy", "Market", "0.1", now_ms=NOW)
    order = account.find_order(order_id)
    assert (order.live, order.copy_status) == (False, status)
    assert order.reject_reason == "EC_NoImmediateQtyToFill"


def test_there_is_no_less_than_one_piece(pair):
    account, _ = pair
    with pytest.raises(ValueError, match="at least one"):
        account.split_fills(0)


def test_leverage_never_exceeds_that_of_the_symbol():
    account, _ = new_account(leverage=125)
    assert account.position(BTC, 1, NOW).leverage == 100


def test_a_fill_at_two_prices_is_two_executions(pair):
    account, market = pair
    market.levels = 2
    account.create_order(BTC, "Buy", "Market", "0.002", now_ms=NOW)
    assert account.position(BTC, 1, NOW).entry_price == D("20000.05")
    assert len(list(account.executions)) == 2


@pytest.mark.parametrize(
    ("time_in_force", "price", "depth", "expected"),
    [
        ("PostOnly", "20000.0", None, ("Cancelled", "EC_PostOnlyWillTakeLiquidity")),
        ("PostOnly", "19000.0", None, ("New", "EC_NoError")),
        ("FillOrKill", "20000.0", "0.05", ("Cancelled", "EC_NoImmediateQtyToFill")),
        ("FOK", "20000.0", "0.1", ("Filled", "EC_NoError")),
        ("IOC", "19000.0", None, ("Cancelled", "EC_NoImmediateQtyToFill")),
        ("ImmediateOrCancel", "20000.0", None, ("Filled", "EC_NoError")),
    ],
)
def test_time_in_force(pair, time_in_force, price, depth, expected):
    account, market = pair
    market.depth = depth and D(depth)
    order_id, _ = account.create_order(
        BTC, "Buy", "Limit", "0.1", price, time_in_force=time_in_force, now_ms=NOW
    )
    order = account.find_order(order_id)
    assert (order.status.value, order.reject_reason) == expected


def test_a_conditional_order_waits_triggers_and_fills(pair):
    account, market = pair
    order_id, _ = account.create_order(
        BTC, "Buy", "Market", "0.1", trigger_price="20500", now_ms=NOW
    )
    assert statuses(account.take_changes()) == ["PendingNew", "Untriggered"]
    assert account.wallet.order_margin == 0
    move(account, market, BTC, "20499.90")
    assert account.take_changes() == []
    move(account, market, BTC, "20500.00")
    changes = account.take_changes()
    assert statuses(changes, order_id) == ["Triggered", "New", "OpenOrderFilled"]


def test_a_conditional_order_by_the_mark_price_that_cannot_be_paid_is_rejected(pair):
    account, _ = pair
    order_id, _ = account.create_order(
        *(BTC, "Buy", "Limit", "0.1", "19000"),
        trigger_price="19500",
        trigger_by="MarkPrice",
        now_ms=NOW,
    )
    account.transfer(account.wallet.available_balance, "COPYTRADE", "UNIFIED", now_ms=NOW)
    account.on_trade(BTC, D(19000), NOW)
    assert account.find_order(order_id).status is OrderStatus.UNTRIGGERED
    account.on_mark(BTC, D(19500), NOW)
    order = account.find_order(order_id)
    assert (order.status, order.copy_status) == (OrderStatus.REJECTED, "Cancelled")


def test_a_cancelled_conditional_order_is_deactivated(pair):
    account, _ = pair
    order_id, _ = account.create_order(
        BTC, "Sell", "Market", "0.1", trigger_price="19000", now_ms=NOW
    )
    account.cancel_order(order_id=order_id, now_ms=NOW)
    order = account.find_order(order_id)
    assert (order.status, order.cancel_type) == (OrderStatus.DEACTIVATED, "CancelByUser")


@pytest.mark.parametrize("position", ["Buy", ""])
def test_a_conditional_closing_order_closes_what_there_is(pair, position):
    account, market = pair
    if position:
        account.create_order(BTC, "Buy", "Market", "0.05", now_ms=NOW)
    order_id, _ = account.create_order(
        *(BTC, "Sell", "Market", "0.1"),
        reduce_only=True,
        trigger_price="19900",
        now_ms=NOW,
    )
    move(account, market, BTC, "19900.00")
    order = account.find_order(order_id)
    if position:
        assert (order.status, order.qty) == (OrderStatus.FILLED, D("0.05"))
    else:
        assert order.status is OrderStatus.REJECTED


@pytest.mark.parametrize(
    ("side", "price", "kind"),
    [
        ("Buy", "21000.00", "TakeProfit"),
        ("Buy", "19000.00", "StopLoss"),
        ("Sell", "19000.00", "TakeProfit"),
        ("Sell", "21000.00", "StopLoss"),
    ],
)
def test_take_profit_and_stop_loss_of_a_copy_trade_close_that_trade(pair, side, price, kind):
    account, market = pair
    limits = {"take_profit": "21000", "stop_loss": "19000"}
    if side == "Sell":
        limits = {"take_profit": "19000", "stop_loss": "21000"}
    other, _ = account.create_order(BTC, side, "Market", "0.02", now_ms=NOW)
    parent, _ = account.create_order(BTC, side, "Market", "0.1", now_ms=NOW, **limits)
    move(account, market, BTC, price)
    assert account.find_order(parent).copy_status == "OpenOrderClosedFilled"
    assert account.find_order(other).copy_status == "OpenOrderFilled"
    closing = next(iter(account.orders))
    assert (closing.stop_order_type, closing.create_type) == (kind, f"CreateBy{kind}")
    assert closing.parent_order_id == parent


def test_full_take_profit_closes_the_whole_position(pair):
    account, market = pair
    first, _ = account.create_order(
        BTC, "Buy", "Market", "0.02", stop_loss="19000", tpsl_mode="Full", now_ms=NOW
    )
    account.create_order(
        BTC, "Buy", "Market", "0.1", take_profit="21000", tpsl_mode="Full", now_ms=NOW
    )
    position = account.position(BTC, 1, NOW)
    assert position.protection.take_profit == 21000
    assert position.protection.stop_loss == 19000
    resting, _ = account.create_order(
        BTC, "Sell", "Limit", "0.12", "22000", reduce_only=True, now_ms=NOW
    )
    move(account, market, BTC, "21000.00")
    # A resting closing order must not keep the position from being protected.
    assert account.find_order(resting).cancel_type == "CancelByReduceOnly"
    assert account.position(BTC, 1, NOW).size == 0
    assert not account.position(BTC, 1, NOW).protection
    assert account.find_order(first).copy_status == "OpenOrderClosedFilled"


def test_protection_by_the_mark_price_ignores_the_last_price(pair):
    account, _ = pair
    parent, _ = account.create_order(
        *(BTC, "Buy", "Market", "0.1"),
        stop_loss="19500",
        sl_trigger_by="MarkPrice",
        now_ms=NOW,
    )
    account.on_trade(BTC, D(19000), NOW)
    assert account.find_order(parent).copy_status == "OpenOrderFilled"
    account.on_mark(BTC, D(19500), NOW)
    assert account.find_order(parent).copy_status == "OpenOrderClosedFilled"


def test_a_stop_that_comes_in_pieces_fires_once(pair):
    account, market = pair
    trade, _ = account.create_order(BTC, "Buy", "Market", "0.1", stop_loss="19500", now_ms=NOW)
    account.create_order(ETH, "Buy", "Market", "1", now_ms=NOW)
    account.set_trading_stop(ETH, position_idx=1, stop_loss="1950", now_ms=NOW)
    account.split_fills(2)
    for _ in range(3):
        move(account, market, BTC, "19000.00")
        move(account, market, ETH, "1900.00")
    closing = [order for order in account.orders if order.stop_order_type == "StopLoss"]
    assert [order.status for order in closing] == [OrderStatus.FILLED] * 2
    assert account.find_order(trade).closed_qty == D("0.1")


def test_closing_one_trade_cancels_position_wide_closing_orders_in_its_way(pair):
    account, _ = pair
    parent, _ = account.create_order(BTC, "Buy", "Market", "0.1", now_ms=NOW)
    resting, _ = account.create_order(
        BTC, "Sell", "Limit", "0.1", "21000", reduce_only=True, now_ms=NOW
    )
    account.close_order(parent_order_id=parent, now_ms=NOW)
    assert account.find_order(resting).status is OrderStatus.CANCELLED
    assert account.position(BTC, 1, NOW).size == 0


def test_a_position_wide_close_lets_trades_at_work_alone_until_it_comes(pair):
    account, _ = pair
    first, _ = account.create_order(BTC, "Buy", "Market", "0.1", now_ms=NOW)
    second, _ = account.create_order(BTC, "Buy", "Market", "0.1", now_ms=NOW)
    account.create_order(BTC, "Sell", "Limit", "0.05", "21000", reduce_only=True, now_ms=NOW)
    account.split_fills(2)
    at_work, _ = account.close_order(parent_order_id=first, now_ms=NOW)
    resting, _ = account.create_order(
        BTC, "Sell", "Limit", "0.1", "21000", reduce_only=True, now_ms=NOW
    )
    account.split_fills(1)
    account.close_order(parent_order_id=second, now_ms=NOW)
    assert account.find_order(at_work).live
    assert not account.find_order(resting).live
    account.close_position(BTC, 1, now_ms=NOW)
    assert not account.find_order(at_work).live
    assert account.find_order(first).copy_status == "OpenOrderClosedFilled"


def test_reduce_only_orders_close_the_oldest_trades_first(pair):
    account, _ = pair
    first, _ = account.create_order(BTC, "Buy", "Market", "0.1", now_ms=NOW)
    second, _ = account.create_order(BTC, "Buy", "Market", "0.1", now_ms=NOW)
    account.take_changes()
    # By its position index, without saying reduce only: hedge mode.
    account.create_order(BTC, "Sell", "Market", "0.15", position_idx=1, now_ms=NOW)
    changes = account.take_changes()
    assert statuses(changes, first) == ["OpenOrderClosedFilled"]
    assert statuses(changes, second) == []
    assert account.find_order(second).closed_qty == D("0.05")
    account.create_order(BTC, "Sell", "Market", "0.15", reduce_only=True, now_ms=NOW)
    assert account.find_order(second).copy_status == "OpenOrderClosedFilled"
    assert account.position(BTC, 1, NOW).size == 0


def test_set_trading_stop_of_a_trade_and_of_a_position(pair):
    account, market = pair
    resting, _ = account.create_order(BTC, "Buy", "Limit", "0.1", "19000", now_ms=NOW)
    account.set_trading_stop(BTC, parent_order_id=resting, take_profit="19500", now_ms=NOW)
    trade, _ = account.create_order(BTC, "Buy", "Market", "0.1", order_link_id="t", now_ms=NOW)
    account.take_changes()
    account.set_trading_stop(BTC, parent_order_link_id="t", stop_loss="19500", now_ms=NOW)
    account.set_trading_stop(BTC, parent_order_id=trade, take_profit="20500", now_ms=NOW)
    guard = account.find_order(trade).protection
    assert (guard.stop_loss, guard.take_profit, guard.tp_trigger_by) == (19500, 20500, "LastPrice")
    assert kinds(account) == ["order", "order"]
    account.set_trading_stop(BTC, parent_order_id=trade, take_profit="0", now_ms=NOW)
    assert account.find_order(trade).protection.take_profit == 0
    account.set_trading_stop(BTC, position_idx=1, take_profit="22000", now_ms=NOW)
    assert account.position(BTC, 1, NOW).protection.take_profit == 22000
    assert kinds(account) == ["order", "position"]
    move(account, market, BTC, "22000.00")
    assert account.position(BTC, 1, NOW).size == 0


def test_leverage_changes_margin_and_is_pushed(pair):
    account, market = pair
    account.create_order(BTC, "Buy", "Market", "0.1", now_ms=NOW)
    before = account.wallet.position_margin
    account.take_changes()
    account.set_leverage(BTC, "20", "20", now_ms=NOW)
    assert account.wallet.position_margin < before
    assert kinds(account) == ["position", "wallet", "position"]
    with pytest.raises(Refused) as refusal:
        account.set_leverage(BTC, 20, 20, now_ms=NOW)
    assert refusal.value.ret_code == 110043
    account.transfer(account.wallet.available_balance, "UNIFIED", "FUND", now_ms=NOW)
    with pytest.raises(Refused, match="110007"):
        account.set_leverage(BTC, 1, 20, now_ms=NOW)
    assert account.position(BTC, 1, NOW).leverage == 20
    assert market.last[BTC] == 20000


@pytest.mark.parametrize(
    ("side", "idx", "liquidation", "bust"),
    [("Buy", 1, "18100.0", "18000.0"), ("Sell", 2, "21900.0", "22000.0")],
)
def test_liquidation_at_the_documented_prices(pair, side, idx, liquidation, bust):
    account, _ = pair
    parent, _ = account.create_order(BTC, side, "Market", "0.1", now_ms=NOW)
    account.split_fills(2)
    closing, _ = account.close_order(parent_order_id=parent, now_ms=NOW)
    assert account.find_order(parent).copy_status == "OpenOrderClosing"
    price = "21000" if side == "Buy" else "19000"
    waiting, _ = account.create_order(BTC, side, "Market", 1, trigger_price=price, now_ms=NOW)
    tick = D("0.1") if side == "Buy" else -D("0.1")
    account.on_mark(BTC, D(liquidation) + tick, NOW)
    assert account.position(BTC, idx, NOW).size == D("0.05")
    account.take_changes()
    account.on_mark(BTC, D(liquidation), NOW)
    changes = account.take_changes()
    position = [change.state.status for change in changes if change.kind == "position"]
    assert "Liq" in position
    assert position[-1] == "Normal"
    execution = next(iter(account.executions))
    assert (execution.exec_type, execution.exec_price) == ("BustTrade", D(bust))
    assert execution.exec_pnl == -100
    assert account.position(BTC, idx, NOW).size == 0
    assert account.find_order(parent).copy_status == "OpenOrderClosedFilled"
    assert account.find_order(closing).cancel_type == "CancelAllBeforeLiq"
    assert account.find_order(waiting).status is OrderStatus.DEACTIVATED


def test_a_long_position_without_leverage_is_never_bust_below_a_tick():
    account, _ = new_account(leverage=1, balance=D(10**6))
    account.create_order(BTC, "Buy", "Market", 1, now_ms=NOW)
    account.on_mark(BTC, D("0.1"), NOW)
    execution = next(iter(account.executions))
    assert execution.exec_price == D("0.1")


def test_funding_moves_money_from_one_side_to_the_other(pair):
    account, _ = pair
    account.create_order(BTC, "Buy", "Market", "0.1", now_ms=NOW)
    account.create_order(BTC, "Sell", "Market", "0.2", now_ms=NOW)
    account.close_position(BTC, 1, now_ms=NOW)
    balance = account.wallet.wallet_balance
    account.take_changes()
    account.funding(BTC, D("0.0001"), NOW)
    assert account.wallet.wallet_balance == balance + D("0.4")
    execution = next(iter(account.executions))
    assert (execution.exec_type, execution.side, execution.exec_fee) == (
        *("Funding", "Sell"),
        D("-0.4"),
    )
    assert kinds(account) == ["execution", "position", "wallet"]
    account.funding(ETH, D("0.0001"), NOW)
    assert kinds(account) == []


def test_transfers_move_the_balance(pair):
    account, _ = pair
    assert account.transfer("100", "UNIFIED", "COPYTRADE", "USDT", "a", now_ms=NOW) == "a"
    assert kinds(account) == ["wallet"]
    made = account.transfer(D("0.5"), "UNIFIED", "FUND", now_ms=NOW)
    assert account.wallet.wallet_balance == D("10099.5")
    assert [transfer.transfer_id for transfer in account.transfers] == [made, "a"]


def test_realised_pnl_is_of_the_day_and_the_sum_is_of_ever(pair):
    account, _ = pair
    account.create_order(BTC, "Buy", "Market", "0.1", now_ms=NOW)
    account.close_position(BTC, 1, now_ms=NOW + 86_400_000)
    assert account.wallet.realised_pnl == D("-1.1")
    assert account.wallet.cum_realised_pnl == D("-2.2")


def test_history_is_bounded_and_open_trades_stay():
    account, _ = new_account(history=2)
    kept, _ = account.create_order(BTC, "Buy", "Market", "0.01", order_link_id="k", now_ms=NOW)
    for number in range(4):
        order_id, _ = account.create_order(
            BTC, "Buy", "Limit", "0.01", "19000", order_link_id=str(number), now_ms=NOW
        )
        account.cancel_order(order_id=order_id, now_ms=NOW)
    assert [order.order_link_id for order in account.orders] == ["3", "2", "k"]
    assert account.find_order(kept).copy_status == "OpenOrderFilled"
    assert account.find_order(order_link_id="0") is None
    # Its link id is free again.
    account.create_order(BTC, "Buy", "Limit", "0.01", "19000", order_link_id="0", now_ms=NOW)


def test_an_order_that_fell_out_of_history_during_a_trade_is_skipped():
    account, market = new_account(history=1)
    parent, _ = account.create_order(BTC, "Buy", "Market", "0.1", stop_loss="19500", now_ms=NOW)
    account.create_order(BTC, "Sell", "Limit", "0.05", "21000", position_idx=1, now_ms=NOW)
    account.create_order(BTC, "Sell", "Limit", "0.05", "21000", position_idx=1, now_ms=NOW)
    move(account, market, BTC, "19000.00")
    assert account.position(BTC, 1, NOW).size == 0
    assert account.find_order(parent) is not None
