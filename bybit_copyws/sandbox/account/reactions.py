"""What the market does to the account: fills, triggers, marks, funding, liquidations.

Is told of prices, and starts nothing that the user did not set up, but for liquidations.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from .books import Books
from .closing import Closer
from .engine import Engine, next_piece
from .model import BUY, WORKING, ZERO, Execution, Order, OrderStatus, Position, Protection
from .positions import realised
from .wallet import liq_price, money, order_cost

_LAST = frozenset({"LastPrice"})
# There is no index in the simulation: the mark stands for it.
_MARK = frozenset({"MarkPrice", "IndexPrice"})


class Reactions:
    """Lets trades, marks and funding work on the books."""

    def __init__(self, books: Books, engine: Engine, closer: Closer) -> None:
        self._books = books
        self._engine = engine
        self._closer = closer

    def on_trade(self, symbol: str, price: Decimal, now_ms: int) -> None:
        """Fire what waits for the last price, then fill what rests at ``price`` or better."""
        resting = [o.order_id for o in self._books.orders.live(symbol) if o.status in WORKING]
        self._fire(symbol, _LAST, price, now_ms)
        for order_id in resting:
            # Read anew: whatever came before may have changed or ended it.
            order = self._books.orders.find(order_id, "")
            if order is not None and order.status in WORKING:
                self._touch(order, price, now_ms)

    def _touch(self, order: Order, price: Decimal, now_ms: int) -> None:
        if order.order_type == "Market" or order.time_in_force == "IOC":
            # Only an order that comes in pieces is still there: it goes on taking.
            self._engine.work(order, now_ms)
        elif price <= order.price if order.side == BUY else price >= order.price:
            piece = next_piece(order)
            self._engine.fill(order, order.price, piece, now_ms, is_maker=True)

    def on_mark(self, symbol: str, mark: Decimal, now_ms: int) -> None:
        """Mark the positions, fire what waits for the mark, liquidate what has lost its margin."""
        for position in self._held(symbol):
            self._books.mark(position, mark)
        self._fire(symbol, _MARK, mark, now_ms)
        for position in self._held(symbol):
            if position.size and (mark - liq_price(position)) * position.direction <= ZERO:
                self._closer.liquidate(position, now_ms)

    def _held(self, symbol: str) -> list[Position]:
        kept = self._books.positions
        return [kept[symbol, idx] for idx in (1, 2) if (symbol, idx) in kept]

    def funding(self, symbol: str, rate: Decimal, now_ms: int) -> None:
        """Let each side pay or get ``rate`` of its value at the mark (above zero: Buy pays)."""
        for position in self._held(symbol):
            if position.size:
                self._fund(position, rate * position.direction, now_ms)

    def _fund(self, position: Position, rate: Decimal, now_ms: int) -> None:
        books = self._books
        fee = money(position.size * position.mark_price * rate)
        sequence = books.next_sequence()
        books.put_execution(
            Execution(
                sequence=sequence,
                exec_id=books.new_id(),
                exec_type="Funding",
                order_id=f"{now_ms // 1000}-{position.symbol}-{sequence}-{position.side}",
                order_link_id="",
                symbol=position.symbol,
                side=position.side,
                position_idx=position.position_idx,
                order_type="UNKNOWN",
                order_price=ZERO.quantize(position.tick_size),
                order_qty=ZERO,
                exec_price=position.mark_price,
                exec_qty=position.size,
                exec_fee=fee,
                fee_rate=rate,
                is_maker=False,
                leaves_qty=ZERO,
                closed_size=ZERO,
                exec_pnl=ZERO,
                mark_price=position.mark_price,
                stop_order_type="UNKNOWN",
                create_type="",
                exec_time=now_ms,
            )
        )
        books.ledger.realise(-fee, now_ms)
        books.put_position(realised(position, -fee), now_ms)

    def _fire(self, symbol: str, kinds: frozenset[str], price: Decimal, now_ms: int) -> None:
        for order in self._books.orders.live(symbol):
            if order.status is OrderStatus.UNTRIGGERED and order.trigger_by in kinds:
                ahead = price - order.trigger_price
                if ahead >= ZERO if order.trigger_direction == 1 else ahead <= ZERO:
                    self._trigger(order, now_ms)
        for parent in self._books.orders.parents(symbol):
            direction = 1 if parent.side == BUY else -1
            hit = _hit(parent.protection, direction, kinds, price)
            if hit and parent.tpsl_mode == "Partial":
                create_type = f"CreateBy{hit}"
                self._closer.close_parent(
                    parent, now_ms, stop_order_type=hit, create_type=create_type
                )
        for position in self._held(symbol):
            hit = _hit(position.protection, position.direction, kinds, price)
            closers = self._books.orders.closers(symbol, position.position_idx)
            if hit and not any(order.stop_order_type for order in closers):
                create_type = f"CreateBy{hit}"
                self._closer.close_position(
                    position, now_ms, stop_order_type=hit, create_type=create_type
                )

    def _trigger(self, order: Order, now_ms: int) -> None:
        """Bring a conditional order to work, if the account can still afford it."""
        books = self._books
        order = books.put_order(replace(order, status=OrderStatus.TRIGGERED), now_ms)
        position = books.position(order.symbol, order.position_idx, now_ms)
        if order.opens:
            cost = order_cost(position, order.qty, order.price)
            possible = cost <= books.wallet().available_balance
        else:
            possible = position.free_qty > ZERO
            order = replace(order, qty=min(order.qty, position.free_qty) if possible else order.qty)
        if possible:
            self._engine.accept(order, now_ms)
        else:
            self._engine.end(order, now_ms, reject_reason="EC_Others", rejected=True)


def _hit(protection: Protection, direction: int, kinds: frozenset[str], price: Decimal) -> str:
    """Return which of the two prices is reached, or an empty string."""
    profit, loss = protection.take_profit, protection.stop_loss
    if loss and protection.sl_trigger_by in kinds and (price - loss) * direction <= ZERO:
        return "StopLoss"
    if profit and protection.tp_trigger_by in kinds and (price - profit) * direction >= ZERO:
        return "TakeProfit"
    return ""
