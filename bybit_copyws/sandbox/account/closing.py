"""Closing orders that the exchange makes itself: for a copy trade, a position, a liquidation.

Decides how much there is to close; the engine does the rest.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

from .books import Books
from .engine import Engine
from .market import Instrument
from .model import BUY, ZERO, Order, Position, opposite
from .wallet import bust_price

#: How far from the last price a market order is worked; the exchange shows that bound as its price.
_SLIPPAGE = Decimal("0.05")


def market_order_price(last: Decimal, side: str, tick_size: Decimal) -> Decimal:
    """Return the price shown for a market order."""
    bound = last * (1 + _SLIPPAGE if side == BUY else 1 - _SLIPPAGE)
    return (bound / tick_size).to_integral_value() * tick_size


def piece_size(qty: Decimal, pieces: int, rules: Instrument) -> Decimal:
    """Return the size of each fill of an order that comes in ``pieces``; zero for a single one."""
    if pieces == 1:
        return ZERO
    steps = (qty / pieces / rules.qty_step).to_integral_value(ROUND_CEILING)
    return steps * rules.qty_step


class Closer:
    """Makes closing orders in the books it is given."""

    def __init__(self, books: Books, engine: Engine) -> None:
        self._books = books
        self._engine = engine

    def close_parent(
        self,
        parent: Order,
        now_ms: int,
        *,
        order_link_id: str = "",
        stop_order_type: str = "",
        create_type: str = "CreateByUser",
    ) -> str:
        """Close what of one copy trade is not yet being closed, by a market order.

        Closing orders of the whole position that stand in the way are cancelled.

        Returns:
            The id of the closing order; empty if there is nothing to close.
        """
        qty = self._books.orders.closable(parent)
        if not qty:
            return ""
        position = self._books.position(parent.symbol, parent.position_idx, now_ms)
        if position.free_qty < qty:
            self._cancel_closers(position, now_ms, keep_children=True)
        order = self._order(
            position,
            qty,
            now_ms,
            order_link_id=order_link_id,
            parent_order_id=parent.order_id,
            stop_order_type=stop_order_type,
            create_type=create_type,
        )
        self._engine.place(order, now_ms)
        return order.order_id

    def close_position(
        self,
        position: Position,
        now_ms: int,
        *,
        stop_order_type: str = "",
        create_type: str = "CreateByUser",
    ) -> str:
        """Close all of a position by one market order; closing orders at work are cancelled."""
        self._cancel_closers(position, now_ms, keep_children=False)
        order = self._order(
            position,
            position.size,
            now_ms,
            stop_order_type=stop_order_type,
            create_type=create_type,
        )
        self._engine.place(order, now_ms)
        return order.order_id

    def _cancel_closers(self, position: Position, now_ms: int, *, keep_children: bool) -> None:
        for order in self._books.orders.closers(position.symbol, position.position_idx):
            if not (keep_children and order.parent_order_id):
                self._engine.end(order, now_ms, cancel_type="CancelByReduceOnly")

    def liquidate(self, position: Position, now_ms: int) -> None:
        """Take a position over at its bankruptcy price; all its orders are cancelled."""
        for order in self._books.orders.live(position.symbol, position.position_idx):
            # Read anew: ending a closing order may just have touched its parent.
            order = self._books.orders.get(order.order_id)  # noqa: PLW2901
            self._engine.end(order, now_ms, cancel_type="CancelAllBeforeLiq")
        self._books.set_status(position.symbol, position.position_idx, "Liq", now_ms)
        order = self._order(position, position.size, now_ms, create_type="CreateByLiq", pieces=1)
        order = self._books.put_order(order, now_ms, only="v3")
        price = bust_price(position)
        self._engine.fill(order, price, position.size, now_ms, exec_type="BustTrade")

    def _order(
        self,
        position: Position,
        qty: Decimal,
        now_ms: int,
        *,
        order_link_id: str = "",
        parent_order_id: str = "",
        stop_order_type: str = "",
        create_type: str = "CreateByUser",
        pieces: int | None = None,
    ) -> Order:
        books = self._books
        rules = books.instrument(position.symbol)
        side = opposite(position.side)
        last = books.market.last_price(position.symbol)
        return Order(
            order_id=books.new_id(),
            order_link_id=order_link_id,
            symbol=position.symbol,
            side=side,
            position_idx=position.position_idx,
            order_type="Market",
            time_in_force="IOC",
            price=market_order_price(last, side, rules.tick_size),
            qty=qty.quantize(rules.qty_step),
            leverage=position.leverage,
            created_time=now_ms,
            updated_time=now_ms,
            reduce_only=True,
            parent_order_id=parent_order_id,
            stop_order_type=stop_order_type,
            create_type=create_type,
            piece_qty=piece_size(qty, pieces or books.pieces, rules),
        )
