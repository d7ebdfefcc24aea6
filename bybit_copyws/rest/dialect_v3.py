"""The REST API of v3 copy trading, as frozen data.

Sources: Bybit's v3 copy-trading pages (withdrawn in 2024), for tickers its v3 derivatives pages.
"""

from __future__ import annotations

from types import MappingProxyType

from bybit_copyws.rest.endpoints import (
    IDS,
    LEVERAGE,
    ORDER,
    ORDER_NEEDS,
    PAGE,
    PARENT,
    PROTECTION,
    TIMES,
    TRANSFER,
    TRANSFERS,
    Budget,
    Dialect,
    Endpoint,
)


def v3() -> Dialect:
    """Return it."""
    position = Budget("position", 75, 60.0)
    order = Budget("order", 100, 60.0)
    wallet = Budget("wallet", 120, 60.0)
    execution = Budget("execution", 75, 60.0)  # none is stated: taken for that of positions
    base = "/contract/v3/private/copytrading"
    return Dialect(
        endpoints=MappingProxyType(
            {
                "server_time": Endpoint("GET", "/v3/public/time"),
                "instruments": Endpoint("GET", "/contract/v3/public/copytrading/symbol/list"),
                "tickers": Endpoint(
                    "GET",
                    "/derivatives/v3/public/tickers",
                    ("symbol",),
                    fixed={"category": "linear"},
                ),
                "positions": Endpoint("GET", f"{base}/position/list", ("symbol",), budget=position),
                "orders": Endpoint(
                    "GET",
                    f"{base}/order/list",
                    ("symbol", *IDS, "copy_trade_order_type"),
                    budget=order,
                ),
                "executions": Endpoint(
                    "GET",
                    f"{base}/execution/list",
                    ("symbol", *TIMES, *PAGE),
                    ("symbol",),
                    fixed={"limit": 100},
                    budget=execution,
                ),
                "wallet": Endpoint("GET", f"{base}/wallet/balance", budget=wallet),
                "transfers": Endpoint(
                    "GET",
                    "/asset/v3/private/transfer/copy-trading/list/query",
                    TRANSFERS,
                    fixed={"limit": 50},
                    budget=wallet,
                ),
                "create_order": Endpoint(
                    "POST",
                    f"{base}/order/create",
                    ORDER,
                    ORDER_NEEDS,
                    budget=order,
                    makes_order=True,
                ),
                "cancel_order": Endpoint(
                    "POST",
                    f"{base}/order/cancel",
                    ("symbol", *IDS),
                    ("symbol",),
                    IDS,
                    budget=order,
                ),
                "close_order": Endpoint(
                    "POST",
                    f"{base}/order/close",
                    ("symbol", *PARENT, "order_link_id"),
                    ("symbol",),
                    PARENT,
                    budget=order,
                    makes_order=True,
                ),
                "set_trading_stop": Endpoint(
                    "POST",
                    f"{base}/order/trading-stop",
                    ("symbol", *PARENT, *PROTECTION),
                    ("symbol",),
                    PARENT,
                    budget=order,
                ),
                "close_position": Endpoint(
                    "POST",
                    f"{base}/position/close",
                    ("symbol", "position_idx"),
                    ("symbol", "position_idx"),
                    budget=position,
                ),
                "set_leverage": Endpoint(
                    "POST", f"{base}/position/set-leverage", LEVERAGE, LEVERAGE, budget=position
                ),
                "transfer": Endpoint(
                    "POST", f"{base}/wallet/transfer", TRANSFER, TRANSFER, budget=wallet
                ),
            }
        ),
        whole_as_text=True,
    )
