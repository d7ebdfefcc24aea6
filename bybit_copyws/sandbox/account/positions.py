"""What a fill does to a position: pure arithmetic on frozen records.

Knows nothing of orders, fees or the wallet.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from .market import Instrument
from .model import ZERO, Position, Protection
from .wallet import maintenance_rate, money


def flat(
    symbol: str,
    position_idx: int,
    rules: Instrument,
    *,
    leverage: Decimal,
    mark_price: Decimal,
    now_ms: int,
) -> Position:
    """Return an empty position."""
    return Position(
        symbol=symbol,
        position_idx=position_idx,
        leverage=leverage,
        taker_fee=rules.taker_fee,
        maintenance_rate=maintenance_rate(rules.max_leverage),
        tick_size=rules.tick_size,
        mark_price=mark_price,
        created_time=now_ms,
        updated_time=now_ms,
    )


def opened(position: Position, price: Decimal, qty: Decimal) -> Position:
    """Return the position with ``qty`` added at ``price``."""
    size = position.size + qty
    entry = money((position.size * position.entry_price + qty * price) / size)
    # The realised gain "of the current holding" starts anew with every holding.
    current = position.cur_realised_pnl if position.size else ZERO
    return replace(position, size=size, entry_price=entry, cur_realised_pnl=current)


def reduced(position: Position, price: Decimal, qty: Decimal) -> tuple[Position, Decimal]:
    """Return the position with ``qty`` closed at ``price``, and the gain before fees."""
    gain = money((price - position.entry_price) * qty * position.direction)
    size = position.size - qty
    if size:
        return replace(position, size=size), gain
    empty = replace(position, size=ZERO, entry_price=ZERO, protection=Protection(), status="Normal")
    return empty, gain


def realised(position: Position, amount: Decimal) -> Position:
    """Return the position with ``amount`` (gain less fee) booked."""
    return replace(
        position,
        cum_realised_pnl=position.cum_realised_pnl + amount,
        cur_realised_pnl=position.cur_realised_pnl + amount,
    )


def protected(position: Position, given: Protection) -> Position:
    """Return the position with the take profit and stop loss that are given; the other stays."""
    kept = position.protection
    if given.take_profit:
        profit, by_profit = given.take_profit, given.tp_trigger_by
    else:
        profit, by_profit = kept.take_profit, kept.tp_trigger_by
    if given.stop_loss:
        loss, by_loss = given.stop_loss, given.sl_trigger_by
    else:
        loss, by_loss = kept.stop_loss, kept.sl_trigger_by
    return replace(position, protection=Protection(profit, loss, by_profit, by_loss))
