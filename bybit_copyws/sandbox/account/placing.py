"""From the words of a create-order request to a checked order.

Changes nothing in the books; the engine takes the order from there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from . import checks
from .books import Books
from .checks import Number
from .closing import market_order_price, piece_size
from .market import Instrument
from .model import ZERO, Order, Position, Protection, Refused

#: Take profit and stop loss of a request, and what triggers each.
Asked = tuple[Number | None, Number | None, str, str]


@dataclass(frozen=True)
class OrderRequest:
    """What a user asks for; the words of ``Account.create_order``."""

    symbol: str
    side: str
    order_type: str
    qty: Number
    price: Number | None
    order_link_id: str
    position_idx: int | None
    take_profit: Number | None
    stop_loss: Number | None
    tp_trigger_by: str
    sl_trigger_by: str
    tpsl_mode: str
    reduce_only: bool
    time_in_force: str
    trigger_price: Number | None
    trigger_by: str
    trigger_direction: int


def build_order(books: Books, request: OrderRequest, now_ms: int) -> Order:
    """Return the order that was asked for.

    Raises:
        Refused: The request is bad, or the account cannot pay for it.
    """
    rules = books.instrument(request.symbol)
    checks.one_of("side", request.side, ("Buy", "Sell"))
    checks.one_of("orderType", request.order_type, ("Market", "Limit"))
    idx = checks.position_idx(request.side, request.position_idx, reduce_only=request.reduce_only)
    position = books.position(request.symbol, idx, now_ms)
    last = books.market.last_price(request.symbol)
    trigger = checks.on_tick(rules, "triggerPrice", request.trigger_price)
    time_in_force = checks.time_in_force(request.order_type, request.time_in_force)
    qty = checks.size(rules, request.qty)
    order = Order(
        order_id="",
        order_link_id=checks.link_id(books, request.order_link_id),
        symbol=request.symbol,
        side=request.side,
        position_idx=idx,
        order_type=request.order_type,
        time_in_force=time_in_force,
        price=_price(rules, request, trigger or last),
        qty=qty,
        leverage=position.leverage,
        created_time=now_ms,
        updated_time=now_ms,
        reduce_only=request.reduce_only,
        tpsl_mode=checks.one_of("tpslMode", request.tpsl_mode, ("Full", "Partial")),
        trigger_price=trigger,
        trigger_by=checks.trigger_by("triggerBy", request.trigger_by) if trigger else "",
        trigger_direction=_direction(request.trigger_direction, trigger, last),
        stop_order_type="Stop" if trigger else "",
    )
    order = _admitted(books, _protected(rules, request, order, trigger or last), position)
    pieces = 1 if time_in_force == "FOK" else books.pieces
    return replace(order, order_id=books.new_id(), piece_qty=piece_size(order.qty, pieces, rules))


def _price(rules: Instrument, request: OrderRequest, last: Decimal) -> Decimal:
    if request.order_type == "Market":
        return market_order_price(last, request.side, rules.tick_size)
    price = checks.on_tick(rules, "price", request.price)
    if not price:
        raise Refused(10001, "params error: price invalid")
    return price


def _direction(given: int, trigger: Decimal, last: Decimal) -> int:
    if not trigger:
        return 0
    if given not in (0, 1, 2):
        raise Refused(10001, "params error: triggerDirection invalid")
    direction = given or (1 if trigger > last else 2)
    if direction == 1 and trigger <= last:
        raise Refused(110092, f"expect Rising, but trigger_price[{trigger}] <= current[{last}]")
    if direction == 2 and trigger >= last:
        raise Refused(110093, f"expect Falling, but trigger_price[{trigger}] >= current[{last}]")
    return direction


def _protected(rules: Instrument, request: OrderRequest, order: Order, last: Decimal) -> Order:
    """Add take profit and stop loss, which only an opening order can have."""
    asked = make_protection(
        rules,
        request.take_profit,
        request.stop_loss,
        request.tp_trigger_by,
        request.sl_trigger_by,
    )
    if not (asked and order.opens):
        return order
    checks.protection(asked, order.side, order.price if order.order_type == "Limit" else last)
    return replace(order, protection=asked)


def make_protection(
    rules: Instrument,
    take_profit: Number | None,
    stop_loss: Number | None,
    tp_trigger_by: str,
    sl_trigger_by: str,
) -> Protection:
    """Return take profit and stop loss, each with the price that triggers it.

    Raises:
        Refused: 10001, a price is off the tick or a trigger unknown.
    """
    profit = checks.on_tick(rules, "takeProfit", take_profit)
    loss = checks.on_tick(rules, "stopLoss", stop_loss)
    by_profit = checks.trigger_by("tpTriggerBy", tp_trigger_by)
    by_loss = checks.trigger_by("slTriggerBy", sl_trigger_by)
    return Protection(profit, loss, by_profit if profit else "", by_loss if loss else "")


def _admitted(books: Books, order: Order, position: Position) -> Order:
    """Return the order as the account can bear it: a closing one is cut to the free size."""
    if order.trigger_price:
        # Looked at again when it is triggered.
        return order
    if order.opens:
        checks.affordable(books, order, position)
        return order
    if position.free_qty <= ZERO:
        raise Refused(110017, "current position is zero, cannot fix reduce-only order qty")
    return replace(order, qty=min(order.qty, position.free_qty))


def amended(
    rules: Instrument,
    present: Protection,
    asked: Asked,
    side: str,
    base: Decimal,
) -> Protection:
    """Return take profit and stop loss after a set-trading-stop request.

    Args:
        rules: Of the symbol.
        present: What is set now.
        asked: The request; a price of ``None`` or an empty string stays as it was.
        side: The side of the trade or position.
        base: The price both must lie on their sides of.

    Raises:
        Refused: 10001, bad input; 34040, nothing changes.
    """
    profit, loss, by_profit, by_loss = asked
    wanted = make_protection(
        rules,
        present.take_profit if profit in (None, "") else profit,
        present.stop_loss if loss in (None, "") else loss,
        by_profit or present.tp_trigger_by,
        by_loss or present.sl_trigger_by,
    )
    if wanted == present:
        raise Refused(34040, "not modified")
    checks.protection(wanted, side, base)
    return wanted
