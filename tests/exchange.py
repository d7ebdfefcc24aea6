"""What tests need around a local exchange: a client that is quick to come back, and a view."""

from __future__ import annotations

from collections import Counter
from typing import Any

from bybit_copyws import Backoff, ConnectionBudget, CopyTradingClient
from bybit_copyws.sandbox import Sandbox

PROFILES = ("v3", "v5")
PUBLIC = ("orderbook.50.BTCUSDT", "publicTrade.BTCUSDT", "tickers.BTCUSDT")
PRIVATE = ("copyTradePosition", "copyTradeOrder", "copyTradeExecution", "copyTradeWallet")


def make_client(exchange: Any, **options: Any) -> CopyTradingClient:
    """Return a client that retries at once, with a budget of its own."""
    options.setdefault("backoff", Backoff(base=0.05, cap=0.1, good_after=0.0))
    options.setdefault("connection_budget", ConnectionBudget(100_000))
    options.setdefault("reconcile", False)  # what is sent is what is delivered
    for name in ("api_key", "api_secret"):
        if name not in options:
            options[name] = getattr(exchange, name)
    return CopyTradingClient(environment=exchange.environment, **options)


def ignore(_: object) -> None:
    """Take a message and do nothing."""


def held(exchange: Sandbox) -> Counter[str]:
    """Return how often the exchange holds each topic."""
    return Counter(topic for topics in exchange.subscriptions.values() for topic in topics)
