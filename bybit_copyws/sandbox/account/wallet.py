"""Money: margins, liquidation and bankruptcy prices, and the ledger of the wallet.

Knows formulas and sums; knows neither orders at work nor the market. The formulas are those of
Bybit's help pages for isolated USDT perpetuals:

* initial margin = size * entry / leverage
* bankruptcy price: long = entry * (1 - 1/leverage), short = entry * (1 + 1/leverage)
* liquidation price: long = entry * (1 - 1/leverage + mmr), short = entry * (1 + 1/leverage - mmr)
* fee kept to close the position = size * bankruptcy price * taker fee rate

The maintenance margin rate (mmr) is half the initial margin rate at the highest leverage: 0.5 % at
100x.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from .model import ZERO, Position, Wallet

_CENT = Decimal("0.00000001")
_DAY_MS = 86_400_000


def money(value: Decimal) -> Decimal:
    """Round to the eight places in which USDT is kept; what is booked is exact afterwards."""
    # Adding zero takes the sign off a negative zero.
    return value.quantize(_CENT) + ZERO


def maintenance_rate(max_leverage: Decimal) -> Decimal:
    """Return the maintenance margin rate of an instrument."""
    return 1 / (2 * max_leverage)


def position_value(position: Position) -> Decimal:
    """Return size times entry price."""
    return position.size * position.entry_price


def position_margin(position: Position) -> Decimal:
    """Return the initial margin that the position holds, without the fee to close it."""
    return money(position_value(position) / position.leverage)


def unrealised_pnl(position: Position) -> Decimal:
    """Return the gain at the mark price."""
    gain = (position.mark_price - position.entry_price) * position.size
    return money(gain * position.direction)


def maintenance_margin(position: Position) -> Decimal:
    """Return the margin below which the position is liquidated."""
    return money(position_value(position) * position.maintenance_rate)


def bust_price(position: Position) -> Decimal:
    """Return the price at which the whole margin is lost, to the tick on the account's side."""
    return _margin_price(position, 1 / position.leverage)


def liq_price(position: Position) -> Decimal:
    """Return the mark price at which the position is taken over, to the tick reached first."""
    return _margin_price(position, 1 / position.leverage - position.maintenance_rate)


def _margin_price(position: Position, distance: Decimal) -> Decimal:
    if not position.size:
        return ZERO
    price = position.entry_price * (1 - position.direction * distance)
    rounding = ROUND_CEILING if position.direction > 0 else ROUND_FLOOR
    ticks = (price / position.tick_size).to_integral_value(rounding)
    return max(ticks, Decimal(1)) * position.tick_size


def occ_closing_fee(position: Position) -> Decimal:
    """Return the fee kept back for closing the position at its bankruptcy price."""
    return money(position.size * bust_price(position) * position.taker_fee)


def order_cost(position: Position, qty: Decimal, price: Decimal) -> Decimal:
    """Return what an opening order holds: margin, fee to open, fee to close.

    Args:
        position: The position it would add to (its leverage and fee rate count, its size does not).
        qty: The part of the order that is not filled.
        price: The limit price, or the last price for a market order.
    """
    value = qty * price
    bust_value = value * (1 - position.direction / position.leverage)
    return money(value / position.leverage + (value + bust_value) * position.taker_fee)


class Ledger:
    """The sums that make the wallet balance: start, transfers, and realised gains less fees.

    Args:
        balance: The balance at the start.
    """

    def __init__(self, balance: Decimal) -> None:
        self._start = balance
        self._transferred = ZERO
        self._realised = ZERO
        self._day = 0
        self._realised_of_day = ZERO

    @property
    def balance(self) -> Decimal:
        """The wallet balance."""
        return self._start + self._transferred + self._realised

    def transfer(self, amount: Decimal) -> None:
        """Add ``amount`` (below zero: take it away)."""
        self._transferred += amount

    def realise(self, amount: Decimal, now_ms: int) -> None:
        """Book a gain or loss, a fee or a funding payment; v3 shows the UTC day's sum too."""
        day = now_ms // _DAY_MS
        if day != self._day:
            self._day, self._realised_of_day = day, ZERO
        self._realised += amount
        self._realised_of_day += amount

    def wallet(self, positions: Iterable[Position]) -> Wallet:
        """Return the wallet as it stands with these positions."""
        held = list(positions)
        return Wallet(
            wallet_balance=self.balance,
            position_margin=sum((position_margin(p) + occ_closing_fee(p) for p in held), ZERO),
            order_margin=sum((p.order_margin for p in held), ZERO),
            maintenance_margin=sum((maintenance_margin(p) for p in held), ZERO),
            unrealised_pnl=sum((unrealised_pnl(p) for p in held), ZERO),
            realised_pnl=self._realised_of_day,
            cum_realised_pnl=self._realised,
        )
