"""What an endpoint is given, and what the endpoints of both profiles share.

An endpoint returns its ``result`` or raises ``Refused``; key, signature and limits are behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bybit_copyws.sandbox.account import Account, render_result
from bybit_copyws.sandbox.market import Market

from .params import Params

Result = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One admitted request.

    Attributes:
        market: The market.
        account: The account of the key.
        params: What was sent.
        now_ms: The time of the exchange.
    """

    market: Market
    account: Account
    params: Params
    now_ms: int


Function = Callable[[Call], Result]


def listing(profile: str, name: str) -> Function:
    """Return the endpoint of a list of the account; names as of ``render_result``."""

    def show(call: Call) -> Result:
        return render_result(profile, name, call.account, call.params.values, call.now_ms)

    return show


def order_ids(ids: tuple[str, str]) -> Result:
    """Return the result of what makes or ends one order."""
    return {"orderId": ids[0], "orderLinkId": ids[1]}


def cancel_order(call: Call) -> Result:
    """Cancel an order."""
    params = call.params
    ids = call.account.cancel_order(
        symbol=params.required("symbol"),
        order_id=params.text("orderId"),
        order_link_id=params.text("orderLinkId"),
        now_ms=call.now_ms,
    )
    return order_ids(ids)


def set_leverage(call: Call) -> Result:
    """Set the leverage of both sides of a symbol."""
    params = call.params
    call.account.set_leverage(
        params.required("symbol"),
        params.required_number("buyLeverage"),
        params.required_number("sellLeverage"),
        now_ms=call.now_ms,
    )
    return {}


def transfer(call: Call) -> str:
    """Transfer USDT between two accounts; return the id, which the user must give."""
    params = call.params
    return call.account.transfer(
        params.required_number("amount"),
        _account_type(params.required("fromAccountType")),
        _account_type(params.required("toAccountType")),
        params.required("coin"),
        params.required("transferId"),
        now_ms=call.now_ms,
    )


def _account_type(name: str) -> str:
    # The v3 page of the transfer asks for COPYTRADING; its list, and the engine, say COPYTRADE.
    return "COPYTRADE" if name == "COPYTRADING" else name
