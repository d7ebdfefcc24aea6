"""The life of an order: accepted, worked, filled, ended; and its effect on position and money.

Checks no user input (``checks.py`` does) and renders nothing.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from .books import Books
from .model import ZERO, Execution, Order, OrderStatus, Position
from .positions import opened, protected, realised, reduced
from .wallet import money


class Engine:
    """Moves orders, positions and money in the books it is given."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def place(self, order: Order, now_ms: int) -> None:
        """Take in a checked order."""
        order = self._books.put_order(order, now_ms, only="v3")
        if order.trigger_price:
            self._books.put_order(replace(order, status=OrderStatus.UNTRIGGERED), now_ms)
        else:
            self.accept(order, now_ms)

    def accept(self, order: Order, now_ms: int) -> None:
        """Bring an order to work."""
        reason = self._impossible(order)
        if reason:
            self.end(order, now_ms, reject_reason=reason)
            return
        order = self._books.put_order(replace(order, status=OrderStatus.NEW), now_ms)
        self._refresh_parent(order, now_ms)
        self._books.settle(order.symbol, order.position_idx, now_ms)
        self.work(order, now_ms)

    def _impossible(self, order: Order) -> str:
        """Return why the order dies at once (v5 ``rejectReason``), or an empty string."""
        if order.time_in_force not in ("PostOnly", "FOK"):
            return ""
        depth = self._books.market.available(order.symbol, order.side, order.price)
        if order.time_in_force == "PostOnly":
            return "EC_PostOnlyWillTakeLiquidity" if depth else ""
        return "" if depth >= order.qty else "EC_NoImmediateQtyToFill"

    def work(self, order: Order, now_ms: int) -> None:
        """Take from the market what the order may take now."""
        if order.time_in_force == "PostOnly":
            return
        wanted = next_piece(order)
        limit = order.price if order.order_type == "Limit" else None
        taken = ZERO
        for fill in self._books.market.take(order.symbol, order.side, wanted, limit):
            order = self.fill(order, fill.price, fill.qty, now_ms)
            taken += fill.qty
        if order.live and order.time_in_force != "GTC" and taken < wanted:
            self.end(order, now_ms, reject_reason="EC_NoImmediateQtyToFill")

    def end(
        self,
        order: Order,
        now_ms: int,
        *,
        cancel_type: str = "UNKNOWN",
        reject_reason: str = "EC_NoError",
        rejected: bool = False,
    ) -> None:
        """Cancel what is left of an order."""
        if rejected:
            status = OrderStatus.REJECTED
        elif order.status is OrderStatus.UNTRIGGERED:
            status = OrderStatus.DEACTIVATED
        elif order.cum_exec_qty:
            status = OrderStatus.PARTIALLY_FILLED_CANCELED
        else:
            status = OrderStatus.CANCELLED
        ended = replace(order, status=status, cancel_type=cancel_type, reject_reason=reject_reason)
        self._books.put_order(ended, now_ms)
        self._refresh_parent(ended, now_ms)
        self._books.settle(order.symbol, order.position_idx, now_ms)

    def fill(
        self,
        order: Order,
        price: Decimal,
        qty: Decimal,
        now_ms: int,
        *,
        is_maker: bool = False,
        exec_type: str = "Trade",
    ) -> Order:
        """Execute ``qty`` of an order; push order, execution, parents, position and wallet."""
        books = self._books
        rules = books.instrument(order.symbol)
        rate = rules.maker_fee if is_maker else rules.taker_fee
        fee = money(price * qty * rate)
        before = books.position(order.symbol, order.position_idx, now_ms)
        if order.opens:
            after, gain = opened(before, price, qty), ZERO
        else:
            after, gain = reduced(before, price, qty)
        order = books.put_order(_filled(order, price, qty, fee, gain), now_ms)
        books.put_execution(
            self._execution(
                order,
                before,
                price,
                qty,
                now_ms,
                exec_type=exec_type,
                fee=fee,
                fee_rate=rate,
                is_maker=is_maker,
                exec_pnl=gain,
            )
        )
        books.ledger.realise(gain - fee, now_ms)
        if not order.opens:
            self._close_parents(order, qty, now_ms)
        elif order.tpsl_mode == "Full" and order.protection:
            after = protected(after, order.protection)
        books.put_position(realised(after, gain - fee), now_ms)
        return order

    def _execution(
        self,
        order: Order,
        position: Position,
        price: Decimal,
        qty: Decimal,
        now_ms: int,
        *,
        exec_type: str,
        fee: Decimal,
        fee_rate: Decimal,
        is_maker: bool,
        exec_pnl: Decimal,
    ) -> Execution:
        return Execution(
            sequence=self._books.next_sequence(),
            exec_id=self._books.new_id(),
            exec_type=exec_type,
            order_id=order.order_id,
            order_link_id=order.order_link_id,
            symbol=order.symbol,
            side=order.side,
            position_idx=order.position_idx,
            order_type=order.order_type,
            order_price=order.price,
            order_qty=order.qty,
            exec_price=price,
            exec_qty=qty,
            exec_fee=fee,
            fee_rate=fee_rate,
            is_maker=is_maker,
            leaves_qty=order.leaves_qty,
            closed_size=ZERO if order.opens else qty,
            exec_pnl=exec_pnl,
            mark_price=position.mark_price,
            stop_order_type=order.stop_order_type,
            create_type=order.create_type,
            exec_time=now_ms,
        )

    def _close_parents(self, order: Order, qty: Decimal, now_ms: int) -> None:
        """Book a closing fill on the copy trades: its own one, else the oldest ones first."""
        store = self._books.orders
        if order.parent_order_id:
            shares = [(store.get(order.parent_order_id), qty)]
        else:
            shares = _oldest_first(
                [(parent, store.closable(parent)) for parent in self._parents(order)], qty
            )
        for parent, share in shares:
            closing = bool(store.children(parent))
            closed = parent.closed_qty + share
            self._books.put_parent(replace(parent, closed_qty=closed, closing=closing), now_ms)

    def _parents(self, order: Order) -> list[Order]:
        return self._books.orders.parents(order.symbol, order.position_idx)

    def _refresh_parent(self, order: Order, now_ms: int) -> None:
        """Let a copy trade show whether a closing order is at work for it."""
        if order.parent_order_id:
            parent = self._books.orders.get(order.parent_order_id)
            closing = bool(self._books.orders.children(parent))
            self._books.put_parent(replace(parent, closing=closing), now_ms)


def next_piece(order: Order) -> Decimal:
    """Return how much of an order may be filled at once."""
    return min(order.piece_qty, order.leaves_qty) if order.piece_qty else order.leaves_qty


def _filled(order: Order, price: Decimal, qty: Decimal, fee: Decimal, gain: Decimal) -> Order:
    done = order.cum_exec_qty + qty
    return replace(
        order,
        status=OrderStatus.FILLED if done == order.qty else OrderStatus.PARTIALLY_FILLED,
        cum_exec_qty=done,
        cum_exec_value=order.cum_exec_value + price * qty,
        cum_exec_fee=order.cum_exec_fee + fee,
        last_exec_price=price,
        closed_pnl=order.closed_pnl + gain,
    )


def _oldest_first(
    parents: list[tuple[Order, Decimal]], qty: Decimal
) -> list[tuple[Order, Decimal]]:
    shares = []
    for parent, closable in parents:
        share = min(closable, qty)
        qty -= share
        if share:
            shares.append((parent, share))
    return shares
