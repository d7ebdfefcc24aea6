"""The table of all endpoints of both profiles.

``auth`` says whether a request must be signed; ``group`` which limit of
:attr:`RestRules.limits` it counts for; ``ok`` what the exchange writes under ``retMsg``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from . import calls, public, v3, v5
from .calls import Function, listing


class Endpoint(NamedTuple):
    """One row of the table."""

    method: str
    path: str
    auth: bool
    group: str
    function: Function
    ok: str = "OK"


_COPY = "/contract/v3/private/copytrading"


def _public(path: str, function: Function, ok: str = "OK") -> Endpoint:
    return Endpoint("GET", path, False, "", function, ok)


def _v3(method: str, path: str, group: str, function: Function, ok: str = "success") -> Endpoint:
    return Endpoint(method, path, True, f"v3 {group}", function, ok)


def _v5(method: str, path: str, function: Function) -> Endpoint:
    """Return a signed endpoint of v5: each has a limit of its own, named as its path."""
    return Endpoint(method, path, True, path, function)


_V3_TRANSFERS = "/asset/v3/private/transfer/copy-trading/list/query"
_V5_TRANSFERS = "/v5/asset/transfer"
_ROWS = (
    _public("/v3/public/time", public.server_time),
    _public("/contract/v3/public/copytrading/symbol/list", public.v3_symbols, "success"),
    _v3("GET", f"{_COPY}/position/list", "position", listing("v3", "positions")),
    _v3("POST", f"{_COPY}/position/set-leverage", "position", calls.set_leverage),
    _v3("POST", f"{_COPY}/position/close", "position", v3.close_position),
    _v3("GET", f"{_COPY}/order/list", "order", listing("v3", "orders")),
    _v3("POST", f"{_COPY}/order/create", "order", v3.create_order),
    _v3("POST", f"{_COPY}/order/cancel", "order", calls.cancel_order),
    _v3("POST", f"{_COPY}/order/close", "order", v3.close_order),
    _v3("POST", f"{_COPY}/order/trading-stop", "order", v3.set_trading_stop),
    _v3("GET", f"{_COPY}/execution/list", "execution", listing("v3", "executions")),
    _v3("GET", f"{_COPY}/wallet/balance", "wallet", listing("v3", "wallet"), "OK"),
    _v3("POST", f"{_COPY}/wallet/transfer", "wallet", v3.transfer, "OK"),
    _v3("GET", _V3_TRANSFERS, "wallet", listing("v3", "transfers")),
    _public("/derivatives/v3/public/tickers", public.tickers("v3")),
    _public("/v5/market/time", public.server_time),
    _public("/v5/market/instruments-info", public.instruments),
    _public("/v5/market/orderbook", public.order_book),
    _public("/v5/market/recent-trade", public.recent_trades),
    _public("/v5/market/tickers", public.tickers("v5")),
    _v5("GET", "/v5/position/list", listing("v5", "positions")),
    _v5("POST", "/v5/position/set-leverage", v5.set_leverage),
    _v5("POST", "/v5/position/trading-stop", v5.set_trading_stop),
    _v5("POST", "/v5/position/switch-mode", v5.switch_mode),
    _v5("POST", "/v5/order/create", v5.create_order),
    _v5("POST", "/v5/order/cancel", v5.cancel_order),
    _v5("GET", "/v5/order/realtime", listing("v5", "orders")),
    _v5("GET", "/v5/order/history", v5.order_history),
    _v5("GET", "/v5/execution/list", listing("v5", "executions")),
    _v5("GET", "/v5/account/wallet-balance", listing("v5", "wallet")),
    _v5("GET", "/v5/account/info", v5.account_info),
    _v5("POST", f"{_V5_TRANSFERS}/inter-transfer", v5.transfer),
    _v5("GET", f"{_V5_TRANSFERS}/query-inter-transfer-list", listing("v5", "transfers")),
)

#: By method and path.
ENDPOINTS: Mapping[tuple[str, str], Endpoint] = MappingProxyType(
    {(endpoint.method, endpoint.path): endpoint for endpoint in _ROWS}
)
