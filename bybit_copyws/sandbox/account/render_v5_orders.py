"""Orders and executions in the words of v5, category linear.

Only names and number formats. Stream and REST differ in a few names and in how
they write what is not set.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .model import ZERO, Execution, Order, OrderStatus
from .numbers import as_is, like, optional, plain

# "PartiallyFilledCanceled: only spot has this order status"; of derivatives, "Cancelled" may have
# an executed qty (Bybit v5, "Enums", orderStatus).
_WRITTEN_AS = {OrderStatus.PARTIALLY_FILLED_CANCELED: OrderStatus.CANCELLED}


def _order(order: Order) -> dict[str, Any]:
    """Return what stream and REST have in common."""
    guard = order.protection
    return {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "side": order.side,
        "orderType": order.order_type,
        "cancelType": order.cancel_type,
        "price": as_is(order.price),
        "qty": as_is(order.qty),
        "orderIv": "",
        "timeInForce": order.time_in_force,
        "orderStatus": _WRITTEN_AS.get(order.status, order.status).value,
        "orderLinkId": order.order_link_id,
        "lastPriceOnCreated": "",
        "reduceOnly": order.reduce_only,
        "leavesQty": like(order.leaves_qty, order.qty),
        "leavesValue": plain(order.leaves_qty * order.price),
        "cumExecQty": like(order.cum_exec_qty, order.qty),
        "cumExecValue": plain(order.cum_exec_value),
        "blockTradeId": "",
        "positionIdx": order.position_idx,
        "cumExecFee": plain(order.cum_exec_fee),
        "createdTime": str(order.created_time),
        "updatedTime": str(order.updated_time),
        "rejectReason": order.reject_reason,
        "tpslMode": order.tpsl_mode if guard else "",
        "tpLimitPrice": "",
        "slLimitPrice": "",
        "triggerDirection": order.trigger_direction,
        "closeOnTrigger": False,
        "smpType": "None",
        "smpGroup": 0,
        "smpOrderId": "",
        "cumFeeDetail": {"USDT": plain(order.cum_exec_fee)} if order.cum_exec_qty else {},
    }


def pushed_order(order: Order) -> dict[str, Any]:
    """Return the data of the ``order`` topic."""
    guard = order.protection
    return {
        **_order(order),
        "avgPrice": optional(_average(order)),
        "closedPnl": plain(order.closed_pnl),
        "stopOrderType": order.stop_order_type,
        "triggerPrice": optional(order.trigger_price),
        "triggerBy": order.trigger_by,
        "takeProfit": optional(guard.take_profit),
        "stopLoss": optional(guard.stop_loss),
        "tpTriggerBy": guard.tp_trigger_by,
        "slTriggerBy": guard.sl_trigger_by,
        "category": "linear",
        "placeType": "",
        "feeCurrency": "",
        "rpiTakerAccess": False,
        "rpiMatchedQty": "0",
    }


def render_order(order: Order) -> dict[str, Any]:
    """Return one entry of the list of open orders, where what is not set is spelt out."""
    guard = order.protection
    return {
        **_order(order),
        "avgPrice": plain(_average(order)),
        "isLeverage": "",
        "stopOrderType": order.stop_order_type or "UNKNOWN",
        "triggerPrice": like(order.trigger_price, order.price),
        "triggerBy": order.trigger_by or "UNKNOWN",
        "takeProfit": like(guard.take_profit, order.price),
        "stopLoss": like(guard.stop_loss, order.price),
        "tpTriggerBy": guard.tp_trigger_by or "UNKNOWN",
        "slTriggerBy": guard.sl_trigger_by or "UNKNOWN",
        "placeType": "",
    }


def _average(order: Order) -> Decimal:
    average = order.avg_price
    return average.quantize(Decimal("0.00000001")) if average else ZERO


def _execution(execution: Execution) -> dict[str, Any]:
    """Return what stream and REST have in common."""
    return {
        "symbol": execution.symbol,
        "orderType": execution.order_type,
        "underlyingPrice": "",
        "orderLinkId": execution.order_link_id,
        "side": execution.side,
        "indexPrice": "",
        "orderId": execution.order_id,
        "stopOrderType": execution.stop_order_type or "UNKNOWN",
        "leavesQty": plain(execution.leaves_qty),
        "execTime": str(execution.exec_time),
        "isMaker": execution.is_maker,
        "execFee": plain(execution.exec_fee),
        "feeRate": plain(execution.fee_rate),
        "execId": execution.exec_id,
        "tradeIv": "",
        "blockTradeId": "",
        "markPrice": plain(execution.mark_price),
        "execPrice": plain(execution.exec_price),
        "markIv": "",
        "orderQty": plain(execution.order_qty),
        "orderPrice": plain(execution.order_price),
        "execValue": plain(execution.exec_value),
        "execType": execution.exec_type,
        "execQty": plain(execution.exec_qty),
        "closedSize": plain(execution.closed_size),
        "seq": execution.sequence,
    }


def pushed_execution(execution: Execution) -> dict[str, Any]:
    """Return the data of the ``execution`` topic."""
    return {
        **_execution(execution),
        "category": "linear",
        "isLeverage": "0",
        "marketUnit": "",
        "execPnl": plain(execution.exec_pnl),
        "createType": execution.create_type,
        "extraFees": [],
        "feeCurrency": "USDT",
    }


def render_execution(execution: Execution) -> dict[str, Any]:
    """Return one entry of the execution list."""
    return {**_execution(execution), "extraFees": "", "feeCurrency": ""}


def pushed_fast(execution: Execution) -> dict[str, Any]:
    """Return the data of the ``execution.fast`` topic."""
    return {
        "category": "linear",
        "symbol": execution.symbol,
        "execId": execution.exec_id,
        "execPrice": plain(execution.exec_price),
        "execQty": plain(execution.exec_qty),
        "orderId": execution.order_id,
        "isMaker": execution.is_maker,
        "orderLinkId": execution.order_link_id,
        "side": execution.side,
        "execTime": str(execution.exec_time),
        "seq": execution.sequence,
    }
