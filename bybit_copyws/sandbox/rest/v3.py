"""The commands of the v3 copy-trading pages ("Copy Trading", withdrawn in 2024).

Names of v3 in, calls of the account out: an opening order takes its position from its side, and is
closed as a trade of its own.
"""

from __future__ import annotations

from bybit_copyws.sandbox.account import Refused

from . import calls
from .calls import Call, Result, order_ids
from .params import Params


def create_order(call: Call) -> Result:
    """Open a copy trade."""
    params = call.params
    ids = call.account.create_order(
        params.required("symbol"),
        params.required("side"),
        params.required("orderType"),
        params.required_number("qty"),
        params.number("price"),
        order_link_id=params.text("orderLinkId"),
        take_profit=params.number("takeProfit"),
        stop_loss=params.number("stopLoss"),
        tp_trigger_by=params.text("tpTriggerBy"),
        sl_trigger_by=params.text("slTriggerBy"),
        now_ms=call.now_ms,
    )
    return order_ids(ids)


def close_order(call: Call) -> Result:
    """Close one copy trade by a market order."""
    params = call.params
    parent_id, parent_link_id = _parent(params)
    ids = call.account.close_order(
        symbol=params.required("symbol"),
        parent_order_id=parent_id,
        parent_order_link_id=parent_link_id,
        order_link_id=params.text("orderLinkId"),
        now_ms=call.now_ms,
    )
    return order_ids(ids)


def set_trading_stop(call: Call) -> Result:
    """Set take profit and stop loss of one copy trade."""
    params = call.params
    parent_id, parent_link_id = _parent(params)
    call.account.set_trading_stop(
        params.required("symbol"),
        parent_order_id=parent_id,
        parent_order_link_id=parent_link_id,
        take_profit=params.number("takeProfit"),
        stop_loss=params.number("stopLoss"),
        tp_trigger_by=params.text("tpTriggerBy"),
        sl_trigger_by=params.text("slTriggerBy"),
        now_ms=call.now_ms,
    )
    return {}


def _parent(params: Params) -> tuple[str, str]:
    ids = params.text("parentOrderId"), params.text("parentOrderLinkId")
    if not any(ids):
        raise Refused(10001, "params error: parentOrderId or parentOrderLinkId is required")
    return ids


def close_position(call: Call) -> Result:
    """Close all of a position."""
    params = call.params
    symbol = params.required("symbol")
    params.required_number("positionIdx")
    # What is no index of hedge mode is refused by the account.
    call.account.close_position(symbol, params.whole("positionIdx", 0), now_ms=call.now_ms)
    return {}


def transfer(call: Call) -> Result:
    """Transfer USDT to or from the copy-trading account."""
    return {"transferId": calls.transfer(call)}
