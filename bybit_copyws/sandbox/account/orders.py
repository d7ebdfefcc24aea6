"""The orders of the account: found by id, by link id, at work, or open as copy trades.

Keeps records and their indexes; knows neither statuses to come nor the market.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from .model import WORKING, ZERO, Order


class OrderStore:
    """All orders that are kept.

    Args:
        history: How many finished orders are kept; the oldest leave first.
    """

    def __init__(self, history: int) -> None:
        self._history = history
        self._orders: dict[str, Order] = {}
        self._by_link: dict[str, str] = {}
        # Ids in order of creation; dicts, because a set has no order and runs must repeat.
        self._live: dict[str, None] = {}
        self._open: dict[str, None] = {}
        self._finished: dict[str, None] = {}

    def put(self, order: Order) -> None:
        """Keep the new state of an order."""
        order_id = order.order_id
        self._orders[order_id] = order
        if order.order_link_id:
            self._by_link[order.order_link_id] = order_id
        _mark(self._live, order_id, present=order.live)
        _mark(self._open, order_id, present=order.open_qty > ZERO)
        if order_id not in self._live and order_id not in self._open:
            self._finished[order_id] = None
            if len(self._finished) > self._history:
                self._forget(next(iter(self._finished)))

    def _forget(self, order_id: str) -> None:
        del self._finished[order_id]
        order = self._orders.pop(order_id)
        self._by_link.pop(order.order_link_id, None)

    def get(self, order_id: str) -> Order:
        """Return the order with this id, which exists."""
        return self._orders[order_id]

    def find(self, order_id: str, order_link_id: str) -> Order | None:
        """Return the order with this id, else with this link id, else ``None``."""
        return self._orders.get(order_id or self._by_link.get(order_link_id, ""))

    def newest_first(self) -> Iterator[Order]:
        """Return all orders, the latest created one first."""
        return reversed(self._orders.values())

    def live(self, symbol: str, position_idx: int = 0) -> list[Order]:
        """Return the orders that can still be filled, oldest first (index 0: both sides)."""
        return self._select(self._live, symbol, position_idx)

    def parents(self, symbol: str, position_idx: int = 0) -> list[Order]:
        """Return the opening orders that are not closed again, oldest first."""
        return self._select(self._open, symbol, position_idx)

    def _select(self, index: dict[str, None], symbol: str, position_idx: int) -> list[Order]:
        return [
            order
            for order in map(self.get, index)
            if order.symbol == symbol and position_idx in (0, order.position_idx)
        ]

    def closers(self, symbol: str, position_idx: int) -> list[Order]:
        """Return the closing orders at work."""
        live = self.live(symbol, position_idx)
        return [order for order in live if not order.opens and order.status in WORKING]

    def children(self, parent: Order) -> list[Order]:
        """Return the closing orders at work for one opening order."""
        closers = self.closers(parent.symbol, parent.position_idx)
        return [order for order in closers if order.parent_order_id == parent.order_id]

    def closable(self, parent: Order) -> Decimal:
        """Return what of a parent is open and not yet spoken for by its own closing orders."""
        reserved = sum((child.leaves_qty for child in self.children(parent)), ZERO)
        return parent.open_qty - reserved


def _mark(index: dict[str, None], order_id: str, *, present: bool) -> None:
    if present:
        index[order_id] = None
    else:
        index.pop(order_id, None)
