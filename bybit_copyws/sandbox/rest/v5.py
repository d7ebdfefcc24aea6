"""The commands of v5, category linear, for the account of a copy-trading leader.

Names of v5 in, calls of the account out. What Bybit can do and the simulated account cannot is
refused by name, never silently left out.
"""

from __future__ import annotations

from bybit_copyws.sandbox.account import Order, Refused
from bybit_copyws.sandbox.account.checks import number
from bybit_copyws.sandbox.account.paging import fits_the_coins, in_time, matches, page
from bybit_copyws.sandbox.account.render_v5_orders import render_order

from . import calls
from .calls import Call, Result, order_ids
from .params import Params

#: Parameters the account has no part for, each with what may be sent as it changes nothing.
_UNSUPPORTED = {
    "tpOrderType": "Market",
    "slOrderType": "Market",
    "tpLimitPrice": "",
    "slLimitPrice": "",
    "tpSize": "",
    "slSize": "",
    "trailingStop": "",
    "activePrice": "",
}
_HEDGE_MODE = 3
# When the account was set up; a fixed time, so that runs repeat.
_ACCOUNT_UPDATED_MS = 1_697_078_946_000


def create_order(call: Call) -> Result:
    """Place an order; without ``positionIdx`` it is for one-way mode, which there is not here."""
    params = call.params
    _check(params)
    symbol, side = params.required("symbol"), params.required("side")
    position_idx = params.whole("positionIdx", 0)
    closes = params.flag("closeOnTrigger")
    qty = params.required_number("qty")
    if closes and not number("qty", qty) and position_idx in (1, 2):
        # "If you pass qty="0" and specify reduceOnly=true&closeOnTrigger=true, you can close the
        # position" (Bybit v5, "Place Order").
        qty = str(call.account.position(symbol, position_idx, call.now_ms).size)
    ids = call.account.create_order(
        symbol,
        side,
        params.required("orderType"),
        qty,
        params.number("price"),
        order_link_id=params.text("orderLinkId"),
        position_idx=position_idx,
        take_profit=params.number("takeProfit"),
        stop_loss=params.number("stopLoss"),
        tp_trigger_by=params.text("tpTriggerBy"),
        sl_trigger_by=params.text("slTriggerBy"),
        tpsl_mode=params.text("tpslMode", "Full"),
        # Of both flags: "it can only reduce your position, not increase it".
        reduce_only=params.flag("reduceOnly") or closes,
        time_in_force=params.text("timeInForce"),
        trigger_price=params.number("triggerPrice"),
        trigger_by=params.text("triggerBy"),
        trigger_direction=params.whole("triggerDirection", 0),
        now_ms=call.now_ms,
    )
    return order_ids(ids)


def _check(params: Params) -> None:
    """Check the category, and that nothing is asked that is not simulated."""
    params.need_linear()
    for name, harmless in _UNSUPPORTED.items():
        if params.values.get(name) not in (None, "", "0", 0, harmless):
            raise Refused(10001, f"params error: {name} is not simulated")


def cancel_order(call: Call) -> Result:
    """Cancel an order."""
    call.params.need_linear()
    return calls.cancel_order(call)


def order_history(call: Call) -> Result:
    """List orders that are done, the latest created one first."""
    params = call.params.values
    call.params.need_linear()
    fits_time, fits_coins = in_time(params), fits_the_coins(params)
    status = call.params.text("orderStatus")

    def fits(order: Order) -> bool:
        return (
            not order.live
            and fits_time(order.created_time)
            and matches(
                params,
                symbol=order.symbol,
                orderId=order.order_id,
                orderLinkId=order.order_link_id,
            )
            and fits_coins(order.symbol)
            # Only now: writing an order down takes longer than all of the above.
            and (not status or render_order(order)["orderStatus"] == status)
        )

    shown, cursor = page(call.account.orders, fits, params, lambda order: order.order_id, 20)
    return {
        "list": [_history_row(order) for order in shown],
        "nextPageCursor": cursor,
        "category": "linear",
    }


def _history_row(order: Order) -> Result:
    return {
        **render_order(order),
        "slippageToleranceType": "UNKNOWN",
        "slippageTolerance": "",
        "extraFees": "",
        "rpiTakerAccess": False,
        "rpiMatchedQty": "0",
    }


def set_trading_stop(call: Call) -> Result:
    """Set take profit and stop loss of a position."""
    params = call.params
    _check(params)
    if params.text("tpslMode", "Full") != "Full":
        raise Refused(10001, "params error: tpslMode Partial is not simulated")
    call.account.set_trading_stop(
        params.required("symbol"),
        position_idx=params.whole("positionIdx", 0),
        take_profit=params.number("takeProfit"),
        stop_loss=params.number("stopLoss"),
        tp_trigger_by=params.text("tpTriggerBy"),
        sl_trigger_by=params.text("slTriggerBy"),
        now_ms=call.now_ms,
    )
    return {}


def set_leverage(call: Call) -> Result:
    """Set the leverage of both sides of a symbol."""
    call.params.need_linear()
    return calls.set_leverage(call)


def switch_mode(call: Call) -> Result:
    """Refuse to switch the position mode: the account is always in hedge mode."""
    params = call.params
    params.need_linear()
    if not params.text("symbol") and not params.text("coin"):
        raise Refused(10001, "params error: symbol or coin is required")
    params.required_number("mode")
    if params.whole("mode", 0) == _HEDGE_MODE:
        raise Refused(110025, "Position mode is not modified")
    raise Refused(10001, "params error: mode invalid, a copy-trading account is in hedge mode")


def account_info(_: Call) -> Result:
    """Describe the account: a leader's, with isolated margin."""
    return {
        "marginMode": "ISOLATED_MARGIN",
        "updatedTime": str(_ACCOUNT_UPDATED_MS),
        "unifiedMarginStatus": 4,
        "dcpStatus": "OFF",
        "timeWindow": 10,
        "smpGroup": 0,
        "isMasterTrader": True,
        "spotHedgingStatus": "OFF",
    }


def transfer(call: Call) -> Result:
    """Transfer USDT to or from the account."""
    return {"transferId": calls.transfer(call), "status": "SUCCESS"}
