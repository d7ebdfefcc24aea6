"""What a command must look like: every refusal of bad input, with the exchange's code and text.

Changes nothing. Codes and texts are those of v5, which the v3 endpoints are taken to share.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from .books import Books
from .market import Instrument
from .model import BUY, SELL, ZERO, Order, Position, Protection, Refused
from .wallet import order_cost

Number = Decimal | int | str

NOT_FOUND = "order not exists or too late to cancel"
#: Both spellings of ``timeInForce`` (v5, v3) and the one kept.
_TIME_IN_FORCE = {
    "": "GTC",
    "GTC": "GTC",
    "GoodTillCancel": "GTC",
    "IOC": "IOC",
    "ImmediateOrCancel": "IOC",
    "FOK": "FOK",
    "FillOrKill": "FOK",
    "PostOnly": "PostOnly",
}
_TRIGGERS = ("LastPrice", "MarkPrice", "IndexPrice")
_MAX_LINK_ID = 36
# Far above all that is traded, and far below what the decimal arithmetic can divide exactly.
_HIGHEST = Decimal(10**12)
_ACCOUNT_TYPES = ("COPYTRADE", "UNIFIED", "CONTRACT", "SPOT", "FUND")
# What the simulated account is called: on v3 always the first, on v5 one of the others.
_OWN_ACCOUNT_TYPES = _ACCOUNT_TYPES[:3]


def number(name: str, value: Number | None) -> Decimal:
    """Return a value of a request as a number; nothing and an empty string are zero.

    Raises:
        Refused: 10001, it is no number from zero to a sane maximum.
    """
    if value is None or value == "":
        return ZERO
    try:
        # By way of text: a float of JSON means the digits that were written.
        result = Decimal(str(value))
    except InvalidOperation:
        raise Refused(10001, f"params error: {name} invalid") from None
    if not result.is_finite() or not ZERO <= result <= _HIGHEST:
        raise Refused(10001, f"params error: {name} invalid")
    return result


def size(rules: Instrument, qty: Number) -> Decimal:
    """Return a valid order size, in the step's number of decimals.

    Raises:
        Refused: 10001, it is below the minimum, above the maximum or no multiple of the step.
    """
    value = number("qty", qty)
    if value < rules.min_qty:
        raise Refused(10001, "The number of contracts below min limit allowed")
    if value > rules.max_qty:
        raise Refused(10001, "The number of contracts exceeds maximum limit allowed")
    if value % rules.qty_step:
        raise Refused(10001, "Qty invalid")
    return value.quantize(rules.qty_step)


def on_tick(rules: Instrument, name: str, value: Number | None) -> Decimal:
    """Return a valid price in the tick's number of decimals; zero if there is none.

    Raises:
        Refused: 10001, it is off the tick.
    """
    price = number(name, value)
    if price % rules.tick_size:
        raise Refused(10001, f"params error: {name} invalid, not a multiple of the tick size")
    return price.quantize(rules.tick_size) if price else ZERO


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """Return ``value``.

    Raises:
        Refused: 10001, it is not one of ``allowed``.
    """
    if value not in allowed:
        raise Refused(10001, f"params error: {name} invalid")
    return value


def time_in_force(order_type: str, value: str) -> str:
    """Return the ``timeInForce`` that is kept; a market order is always IOC.

    Raises:
        Refused: 10001, the word is unknown.
    """
    one_of("timeInForce", value, tuple(_TIME_IN_FORCE))
    return "IOC" if order_type == "Market" else _TIME_IN_FORCE[value]


def trigger_by(name: str, value: str) -> str:
    """Return which price triggers, the last one by default.

    Raises:
        Refused: 10001, the word is unknown.
    """
    return one_of(name, value or "LastPrice", _TRIGGERS)


def position_idx(side: str, value: int | None, *, reduce_only: bool) -> int:
    """Return the position that an order works on, from the side where it is not told.

    Raises:
        Refused: 10001, it is not 1 or 2; 110017, a reduce-only order would add to it.
    """
    if value is None:
        return 1 if (side == BUY) != reduce_only else 2
    if value not in (1, 2):
        raise Refused(10001, "position idx not match position mode")
    if reduce_only and (side == BUY) == (value == 1):
        raise Refused(110017, "reduce-only order has same side with current position")
    return value


def link_id(books: Books, value: str) -> str:
    """Return an id given by the user.

    Raises:
        Refused: 10001, it is too long; 110072, it is taken.
    """
    if len(value) > _MAX_LINK_ID:
        raise Refused(10001, "params error: orderLinkId invalid, longer than 36 characters")
    if value and books.orders.find("", value) is not None:
        raise Refused(110072, "OrderLinkedID is duplicate")
    return value


def protection(given: Protection, side: str, base: Decimal) -> None:
    """Check that take profit and stop loss lie on their sides of a price.

    Raises:
        Refused: 10001, one of them would fire at once.
    """
    direction = 1 if side == BUY else -1
    above, below = ("higher", "lower") if side == BUY else ("lower", "higher")
    profit, loss = given.take_profit, given.stop_loss
    if profit and (profit - base) * direction <= ZERO:
        text = (
            f"TakeProfit:{profit} set for {side} position should be {above} than base_price:{base}"
        )
        raise Refused(10001, text)
    if loss and (base - loss) * direction <= ZERO:
        text = f"StopLoss:{loss} set for {side} position should be {below} than base_price:{base}"
        raise Refused(10001, text)


def affordable(books: Books, order: Order, position: Position) -> None:
    """Check that the account can pay for an opening order.

    Raises:
        Refused: 110007, it cannot.
    """
    price = order.price
    if order.side == SELL:
        # It may sell higher than asked, and margin goes by the price got.
        price = max(price, books.market.last_price(order.symbol))
    if order_cost(position, order.qty, price) > books.wallet().available_balance:
        raise Refused(110007, "ab not enough for new order")


def known(books: Books, order_id: str, order_link_id: str, symbol: str) -> Order:
    """Return the order that a command names.

    Raises:
        Refused: 10001, neither id is given; 110001, there is no such order (of this symbol).
    """
    if not (order_id or order_link_id):
        raise Refused(10001, "params error: orderId or orderLinkId is required")
    order = books.orders.find(order_id, order_link_id)
    if order is None or symbol not in ("", order.symbol):
        raise Refused(110001, NOT_FOUND)
    return order


def leverage(name: str, value: Number, highest: Decimal) -> Decimal:
    """Return a valid leverage.

    Raises:
        Refused: 10001, it is below 1; 110013, it is above the highest of the symbol.
    """
    result = number(name, value)
    if result < 1:
        raise Refused(10001, f"params error: {name} invalid")
    if result > highest:
        text = f"cannot set leverage [{result}] gt maxLeverage [{highest}] by risk limit"
        raise Refused(110013, text)
    return result


def transfer_sign(from_account: str, to_account: str) -> int:
    """Return 1 for a transfer to the simulated account, -1 for one from it.

    Raises:
        Refused: 10001, an account type is unknown, or neither or both are the simulated account.
    """
    for name in (from_account, to_account):
        one_of("accountType", name, _ACCOUNT_TYPES)
    if from_account != to_account:
        for own in _OWN_ACCOUNT_TYPES:
            if own in (from_account, to_account):
                return 1 if to_account == own else -1
    raise Refused(10001, "params error: accountType invalid")
