"""The account in the words of v3 copy trading: stream messages and REST lists.

Only names and number formats: the stream pads its numbers, REST does not, and their times have
other names.
"""

from __future__ import annotations

from typing import Any

from .model import Change, Execution, Order, Position, Transfer, Wallet
from .numbers import as_is, optional, padded, plain, rounded
from .wallet import bust_price, liq_price, occ_closing_fee, position_margin, position_value
from .wallet import unrealised_pnl as unrealised

_TIME_IN_FORCE = {
    "GTC": "GoodTillCancel",
    "IOC": "ImmediateOrCancel",
    "FOK": "FillOrKill",
    "PostOnly": "PostOnly",
}


def render_push(change: Change) -> dict[str, Any] | None:
    """Return the message of the private stream, or ``None`` if v3 does not push this."""
    if change.only not in ("", "v3"):
        return None
    state = change.state
    if isinstance(state, Wallet):
        # The one topic whose data is no array.
        return {"topic": "copyTradeWallet", "data": _pushed_wallet(state)}
    if isinstance(state, Order):
        return {"topic": "copyTradeOrder", "data": [_pushed_order(state)]}
    if isinstance(state, Execution):
        return {"topic": "copyTradeExecution", "data": [_pushed_execution(state)]}
    return {"topic": "copyTradePosition", "data": [_pushed_position(state)]}


def _pushed_order(order: Order) -> dict[str, Any]:
    guard = order.protection
    return {
        "orderId": order.order_id,
        "orderLinkId": order.order_link_id,
        "symbol": order.symbol,
        "orderType": order.order_type,
        "price": padded(order.price, 6),
        "qty": padded(order.qty, 6),
        "side": order.side,
        "positionIdx": str(order.position_idx),
        "cumExecFee": rounded(order.cum_exec_fee),
        "cumExecValue": rounded(order.cum_exec_value),
        "lastExecPrice": padded(order.last_exec_price, 6),
        "cumExecQty": padded(order.cum_exec_qty, 6),
        "takeProfit": optional(guard.take_profit),
        "stopLoss": optional(guard.stop_loss),
        "tpTriggerBy": guard.tp_trigger_by,
        "slTriggerBy": guard.sl_trigger_by,
        "createTime": order.created_time,
        "updateTime": order.updated_time,
        "copyTradeOrderStatus": order.copy_status,
    }


def _pushed_execution(execution: Execution) -> dict[str, Any]:
    return {
        "orderId": execution.order_id,
        "orderLinkId": execution.order_link_id,
        "symbol": execution.symbol,
        "side": execution.side,
        "execId": execution.exec_id,
        "execQty": padded(execution.exec_qty, 6),
        "execType": execution.exec_type,
        "execFee": rounded(execution.exec_fee),
        "price": padded(execution.exec_price, 6),
        "orderQty": padded(execution.order_qty, 6),
        "tradeTime": execution.exec_time,
    }


def _pushed_position(position: Position) -> dict[str, Any]:
    return {
        "symbol": position.symbol,
        "positionIdx": str(position.position_idx),
        "positionValue": rounded(position_value(position)),
        "riskId": 1,
        "leverage": padded(position.leverage, 6),
        "isIsolated": True,
        "side": position.side if position.size else "",
        "size": padded(position.size, 6),
        "unrealisedPnl": rounded(unrealised(position)),
        "liqPrice": padded(liq_price(position), 6),
        "bustPrice": padded(bust_price(position), 6),
        "entryPrice": rounded(position.entry_price),
        "positionMargin": rounded(position_margin(position)),
        "orderMargin": rounded(position.order_margin),
        "occClosingFee": rounded(occ_closing_fee(position)),
        "cumRealisedPnl": rounded(position.cum_realised_pnl),
        "positionStatus": position.status,
        "positionSeq": position.sequence,
    }


def _pushed_wallet(wallet: Wallet) -> dict[str, str]:
    return {
        "walletBalance": rounded(wallet.wallet_balance),
        "availableBalance": rounded(wallet.available_balance),
    }


def render_order(order: Order) -> dict[str, Any]:
    """Return one entry of the order list."""
    return {
        "orderId": order.order_id,
        "symbol": order.symbol,
        "orderLinkId": order.order_link_id,
        "side": order.side,
        "copyTradeOrderStatus": order.copy_status,
        "price": as_is(order.price),
        "qty": as_is(order.qty),
        "timeInForce": _TIME_IN_FORCE[order.time_in_force],
        "leavesQty": plain(order.leaves_qty),
        "isIsolated": True,
        "leavesValue": plain(order.leaves_qty * order.price),
        "leverage": plain(order.leverage),
        "cumExecValue": plain(order.cum_exec_value),
        "cumExecFee": plain(order.cum_exec_fee),
        "createdTime": str(order.created_time),
        "updatedTime": str(order.updated_time),
    }


def render_position(position: Position) -> dict[str, Any]:
    """Return one entry of the position list."""
    return {
        "symbol": position.symbol,
        "side": position.side if position.size else "",
        "size": plain(position.size),
        "positionValue": plain(position_value(position)),
        "entryPrice": plain(position.entry_price),
        "liqPrice": as_is(liq_price(position)),
        "bustPrice": as_is(bust_price(position)),
        "markPrice": as_is(position.mark_price),
        "leverage": plain(position.leverage),
        "isIsolated": True,
        "positionMargin": plain(position_margin(position)),
        "occClosingFee": plain(occ_closing_fee(position)),
        # Funding is settled at once here, so none is ever kept back.
        "occFundingFee": "0",
        "cumRealisedPnl": plain(position.cum_realised_pnl),
        "freeQty": plain(position.free_qty),
        "unrealisedPnl": plain(unrealised(position)),
        "positionIdx": str(position.position_idx),
        "createdTime": str(position.created_time),
        "updatedTime": str(position.updated_time),
    }


def render_execution(execution: Execution) -> dict[str, Any]:
    """Return one entry of the execution list."""
    return {
        "symbol": execution.symbol,
        "side": execution.side,
        "orderId": execution.order_id,
        "orderLinkId": execution.order_link_id,
        "orderPrice": as_is(execution.order_price),
        "orderQty": plain(execution.order_qty),
        "orderType": execution.order_type,
        "execFee": plain(execution.exec_fee),
        "execId": execution.exec_id,
        "execPrice": plain(execution.exec_price),
        "execQty": plain(execution.exec_qty),
        "execType": execution.exec_type,
        "execValue": plain(execution.exec_value),
        "feeRate": plain(execution.fee_rate),
        "lastLiquidityInd": _liquidity(execution),
        "isMaker": execution.is_maker,
        "leavesQty": plain(execution.leaves_qty),
        "closedSize": plain(execution.closed_size),
        "markPrice": plain(execution.mark_price),
        "execTime": str(execution.exec_time),
    }


def _liquidity(execution: Execution) -> str:
    if execution.exec_type == "Funding":
        return "LiquidityIndNA"
    return "AddedLiquidity" if execution.is_maker else "RemovedLiquidity"


def render_wallet(wallet: Wallet) -> dict[str, str]:
    """Return the wallet balance."""
    return {
        "availableBalance": plain(wallet.available_balance),
        "usedMargin": plain(wallet.used_margin),
        "orderMargin": plain(wallet.order_margin),
        "positionMargin": plain(wallet.position_margin),
        "walletBalance": plain(wallet.wallet_balance),
        "realisedPnl": plain(wallet.realised_pnl),
        "unrealisedPnl": plain(wallet.unrealised_pnl),
        "cumRealisedPnl": plain(wallet.cum_realised_pnl),
        "coin": "USDT",
        "equity": plain(wallet.equity),
    }


def render_transfer(transfer: Transfer) -> dict[str, Any]:
    """Return one entry of the transfer list."""
    return {
        "transferId": transfer.transfer_id,
        "coin": transfer.coin,
        "amount": plain(transfer.amount),
        "fromAccountType": transfer.from_account,
        "toAccountType": transfer.to_account,
        "timestamp": str(transfer.timestamp),
        "status": "SUCCESS",
        "copyTradeType": 1,
    }
