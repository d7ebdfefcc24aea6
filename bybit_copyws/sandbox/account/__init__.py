"""A simulated copy-trading account: pure, deterministic, for the local exchange.

Commands and market input go in, changes to push and REST lists come out. Knows no thread, socket or
clock.
"""

from .account import Account
from .lists import render_result
from .market import Fill, Instrument, Market
from .model import (
    Change,
    Execution,
    Order,
    OrderStatus,
    Position,
    Protection,
    Refused,
    Transfer,
    Wallet,
)
from .pushes import render_push
from .trader import RandomTrader

__all__ = [
    "Account",
    "Change",
    "Execution",
    "Fill",
    "Instrument",
    "Market",
    "Order",
    "OrderStatus",
    "Position",
    "Protection",
    "RandomTrader",
    "Refused",
    "Transfer",
    "Wallet",
    "render_push",
    "render_result",
]
