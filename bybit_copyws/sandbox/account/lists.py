"""The ``result`` of every REST list of the account, for both profiles.

Reads the account and changes nothing; the reply envelope around it is the server's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import render_v3, render_v5, render_v5_orders
from .account import Account
from .model import Execution, Order, Position, Refused, Transfer
from .paging import Params, fits_the_coins, in_time, matches, page

Result = dict[str, Any]


def render_result(profile: str, name: str, account: Account, params: Params, now_ms: int) -> Result:
    """Return the ``result`` of a list endpoint.

    Args:
        profile: ``v3`` or ``v5``.
        name: ``positions``, ``orders``, ``executions``, ``wallet`` or ``transfers``.
        account: The account.
        params: The query, as sent.
        now_ms: The time.

    Raises:
        Refused: 10001, the query is bad.
        KeyError: No such list.
    """
    return _LISTS[profile, name](account, params, now_ms)


def _positions(account: Account, params: Params, now_ms: int) -> list[Position]:
    """Return both sides of a symbol if one is asked for, else what was ever used."""
    symbol = params.get("symbol", "")
    if symbol:
        return [account.position(symbol, idx, now_ms) for idx in (1, 2)]
    return account.positions


def _position_fits(params: Params) -> Callable[[Position], bool]:
    named = bool(params.get("symbol"))
    return lambda position: named or position.size != 0


def _executions(account: Account, params: Params) -> tuple[list[Execution], str]:
    fits_time = in_time(params)
    fits_coins = fits_the_coins(params)

    def fits(execution: Execution) -> bool:
        return (
            matches(
                params,
                symbol=execution.symbol,
                orderId=execution.order_id,
                orderLinkId=execution.order_link_id,
                execType=execution.exec_type,
            )
            and fits_coins(execution.symbol)
            and fits_time(execution.exec_time)
        )

    return page(account.executions, fits, params, lambda execution: execution.exec_id, 50)


def _transfers(account: Account, params: Params) -> tuple[list[Transfer], str]:
    fits_time = in_time(params)

    def fits(transfer: Transfer) -> bool:
        return matches(
            params, transferId=transfer.transfer_id, coin=transfer.coin, status="SUCCESS"
        ) and fits_time(transfer.timestamp)

    return page(account.transfers, fits, params, lambda transfer: transfer.transfer_id, 20)


def _order_fits(params: Params) -> Callable[[Order], bool]:
    return lambda order: matches(
        params,
        symbol=order.symbol,
        orderId=order.order_id,
        orderLinkId=order.order_link_id,
        copyTradeOrderType=order.copy_status,
    )


def _v3_positions(account: Account, params: Params, now_ms: int) -> Result:
    found = filter(_position_fits(params), _positions(account, params, now_ms))
    return {"list": [render_v3.render_position(position) for position in found]}


def _v3_orders(account: Account, params: Params, _now_ms: int) -> Result:
    # v3 knows no pages here.
    found = filter(_order_fits(params), account.orders)
    return {"list": [render_v3.render_order(order) for order in found]}


def _v3_executions(account: Account, params: Params, _now_ms: int) -> Result:
    if not params.get("symbol"):
        raise Refused(10001, "params error: symbol is required")
    found, cursor = _executions(account, params)
    return {"nextPageCursor": cursor, "list": [render_v3.render_execution(e) for e in found]}


def _v3_wallet(account: Account, _params: Params, _now_ms: int) -> Result:
    return {**render_v3.render_wallet(account.wallet)}


def _v3_transfers(account: Account, params: Params, _now_ms: int) -> Result:
    found, cursor = _transfers(account, params)
    return {"list": [render_v3.render_transfer(t) for t in found], "nextPageCursor": cursor}


def _need_linear(params: Params, *, narrowed: bool) -> None:
    if params.get("category") != "linear":
        raise Refused(10001, "params error: Category is invalid")
    if narrowed and not any(params.get(name) for name in ("symbol", "settleCoin", "baseCoin")):
        raise Refused(10001, "params error: Missing some parameters: symbol or settleCoin")


def _v5_positions(account: Account, params: Params, now_ms: int) -> Result:
    _need_linear(params, narrowed=True)
    fits, fits_coins = _position_fits(params), fits_the_coins(params)
    shown, cursor = page(
        _positions(account, params, now_ms),
        lambda position: fits(position) and fits_coins(position.symbol),
        params,
        lambda position: f"{position.symbol},{position.position_idx}",
        20,
    )
    return {
        "list": [render_v5.render_position(position) for position in shown],
        "nextPageCursor": cursor,
        "category": "linear",
    }


def _v5_orders(account: Account, params: Params, _now_ms: int) -> Result:
    _need_linear(params, narrowed=True)
    # Done orders are shown if one is named or they are asked for; open ones always.
    done_too = any(params.get(name) for name in ("orderId", "orderLinkId"))
    done_too = done_too or params.get("openOnly") == "1"
    fits, fits_coins = _order_fits(params), fits_the_coins(params)
    shown, cursor = page(
        account.orders,
        lambda order: (order.live or done_too) and fits(order) and fits_coins(order.symbol),
        params,
        lambda order: order.order_id,
        20,
    )
    return {
        "list": [render_v5_orders.render_order(order) for order in shown],
        "nextPageCursor": cursor,
        "category": "linear",
    }


def _v5_executions(account: Account, params: Params, _now_ms: int) -> Result:
    _need_linear(params, narrowed=False)
    found, cursor = _executions(account, params)
    return {
        "nextPageCursor": cursor,
        "category": "linear",
        "list": [render_v5_orders.render_execution(execution) for execution in found],
    }


def _v5_wallet(account: Account, params: Params, _now_ms: int) -> Result:
    if params.get("accountType") not in ("UNIFIED", "CONTRACT"):
        raise Refused(10001, "params error: accountType invalid")
    return {"list": [render_v5.render_wallet(account.wallet)]}


def _v5_transfers(account: Account, params: Params, _now_ms: int) -> Result:
    found, cursor = _transfers(account, params)
    return {"list": [render_v5.render_transfer(t) for t in found], "nextPageCursor": cursor}


_LISTS: dict[tuple[str, str], Callable[[Account, Params, int], Result]] = {
    ("v3", "positions"): _v3_positions,
    ("v3", "orders"): _v3_orders,
    ("v3", "executions"): _v3_executions,
    ("v3", "wallet"): _v3_wallet,
    ("v3", "transfers"): _v3_transfers,
    ("v5", "positions"): _v5_positions,
    ("v5", "orders"): _v5_orders,
    ("v5", "executions"): _v5_executions,
    ("v5", "wallet"): _v5_wallet,
    ("v5", "transfers"): _v5_transfers,
}
