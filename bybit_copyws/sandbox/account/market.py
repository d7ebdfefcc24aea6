"""What the simulated account needs from a market, and nothing more.

Knows no order of the account. Any object of these shapes serves; the tests use a small fake.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol


class Instrument(Protocol):
    """The trading rules of one USDT perpetual."""

    @property
    def tick_size(self) -> Decimal:
        """The step of every price."""

    @property
    def qty_step(self) -> Decimal:
        """The step of every size."""

    @property
    def min_qty(self) -> Decimal:
        """The smallest order."""

    @property
    def max_qty(self) -> Decimal:
        """The largest order."""

    @property
    def max_leverage(self) -> Decimal:
        """The highest leverage; the maintenance margin rate follows from it."""

    @property
    def maker_fee(self) -> Decimal:
        """The fee rate of a resting order; below zero it is a rebate."""

    @property
    def taker_fee(self) -> Decimal:
        """The fee rate of an order that takes."""


class Fill(Protocol):
    """One piece that the market gave to a taking order."""

    @property
    def price(self) -> Decimal:
        """The price of the piece."""

    @property
    def qty(self) -> Decimal:
        """The size of the piece: above zero, a multiple of the step."""


class Market(Protocol):
    """The side of the simulated market that the account trades against."""

    def instrument(self, symbol: str) -> Instrument:
        """Return the rules of ``symbol``; raise ``KeyError`` for an unknown one."""

    def last_price(self, symbol: str) -> Decimal:
        """Return the price of the latest trade."""

    def mark_price(self, symbol: str) -> Decimal:
        """Return the mark price."""

    def available(self, symbol: str, side: str, limit: Decimal) -> Decimal:
        """Return how much ``side`` could take now at ``limit`` or better, taking nothing."""

    def take(self, symbol: str, side: str, qty: Decimal, limit: Decimal | None) -> Sequence[Fill]:
        """Take up to ``qty`` at ``limit`` or better (``None``: any price), best price first."""
