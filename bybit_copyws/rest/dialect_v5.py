"""The REST API of v5 for USDT perpetuals, as frozen data.

Sources: Bybit's v5 pages; limits as of "Rate Limit" for futures of a unified account.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from bybit_copyws.rest.endpoints import (
    IDS,
    LEVERAGE,
    ORDER,
    ORDER_NEEDS,
    PAGE,
    PROTECTION,
    TIMES,
    TRANSFER,
    TRANSFERS,
    Budget,
    Dialect,
    Endpoint,
)


def v5() -> Dialect:
    """Return it."""
    linear = {"category": "linear"}
    # Without a symbol the exchange wants to know which coin; with one, that counts.
    settled = {**linear, "settleCoin": "USDT"}

    def public(path: str, *params: str, **fixed: Any) -> Endpoint:
        return Endpoint("GET", f"/v5/market/{path}", params, fixed={**linear, **fixed})

    def read(path: str, params: tuple[str, ...], fixed: Mapping[str, Any]) -> Endpoint:
        return Endpoint("GET", path, params, fixed=fixed, budget=Budget(path, 50, 1.0))

    def command(
        path: str,
        params: tuple[str, ...],
        needs: tuple[str, ...],
        one_of: tuple[str, ...] = (),
        *,
        makes_order: bool = False,
        **fixed: Any,
    ) -> Endpoint:
        return Endpoint(
            "POST",
            path,
            params,
            needs,
            one_of,
            {**linear, **fixed},
            Budget(path, 10, 1.0),
            makes_order,
        )

    transfers = "/v5/asset/transfer"
    listing = f"{transfers}/query-inter-transfer-list"
    sending = f"{transfers}/inter-transfer"
    return Dialect(
        endpoints=MappingProxyType(
            {
                "server_time": Endpoint("GET", "/v5/market/time"),
                "instruments": public("instruments-info", "symbol", "status", *PAGE, limit=1000),
                "tickers": public("tickers", "symbol"),
                "positions": read(
                    "/v5/position/list", ("symbol", *PAGE), {**settled, "limit": 100}
                ),
                "orders": read(
                    "/v5/order/realtime",
                    ("symbol", *IDS, "open_only", *PAGE),
                    {**settled, "limit": 50},
                ),
                "order_history": read(
                    "/v5/order/history",
                    ("symbol", *IDS, "order_status", *TIMES, *PAGE),
                    {**settled, "limit": 50},
                ),
                "executions": read(
                    "/v5/execution/list",
                    ("symbol", *IDS, "exec_type", *TIMES, *PAGE),
                    {**linear, "limit": 100},
                ),
                "wallet": read(
                    "/v5/account/wallet-balance", ("account_type",), {"accountType": "UNIFIED"}
                ),
                "transfers": Endpoint(
                    "GET",
                    listing,
                    TRANSFERS,
                    fixed={"limit": 50},
                    budget=Budget(listing, 60, 60.0),
                ),
                "create_order": command(
                    "/v5/order/create",
                    (
                        *ORDER,
                        "position_idx",
                        "time_in_force",
                        "reduce_only",
                        "close_on_trigger",
                        "trigger_price",
                        "trigger_by",
                        "trigger_direction",
                        "tpsl_mode",
                    ),
                    (*ORDER_NEEDS, "position_idx"),
                    makes_order=True,
                ),
                "cancel_order": command("/v5/order/cancel", ("symbol", *IDS), ("symbol",), IDS),
                "set_trading_stop": command(
                    "/v5/position/trading-stop",
                    ("symbol", "position_idx", *PROTECTION),
                    ("symbol", "position_idx"),
                    tpslMode="Full",
                ),
                "set_leverage": command("/v5/position/set-leverage", LEVERAGE, LEVERAGE),
                "transfer": Endpoint(
                    "POST", sending, TRANSFER, TRANSFER, budget=Budget(sending, 60, 60.0)
                ),
            }
        )
    )
