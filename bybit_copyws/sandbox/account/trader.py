"""A leader who trades at random, so that an account has activity by itself.

Pure: every choice comes from the given rng, every step is at most one command. Asks only for what
the account can do; has no opinion on the market.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from decimal import Decimal

from .account import Account
from .market import Instrument, Market
from .model import BUY, SELL, ZERO, Order

#: Part of the available balance that one order may hold as margin.
_STAKE = Decimal("0.02")
#: How many copy trades and resting orders of a symbol are kept open.
_MAX_TRADES = 4
_MAX_RESTING = 4


class RandomTrader:
    """Opens, closes, cancels and protects copy trades.

    Args:
        account: The account it trades on.
        market: The market of the account, for prices.
        symbols: What it trades.
        rng: Where all its choices come from.

    Attributes:
        avoided: Symbols in which it begins nothing new.
    """

    def __init__(
        self, account: Account, market: Market, symbols: Sequence[str], rng: random.Random
    ) -> None:
        self._account = account
        self._market = market
        self._symbols = tuple(symbols)
        self._rng = rng
        self.avoided: set[str] = set()

    def step(self, now_ms: int) -> str:
        """Do one thing.

        Returns:
            What it was: ``open``, ``rest``, ``close``, ``cancel``, ``protect``, or ``wait`` if it
            could not be done.
        """
        symbol = self._rng.choice(self._symbols)
        actions: dict[str, Callable[[str, int], bool]] = {
            "open": self._open,
            "rest": self._rest,
            "close": self._close,
            "cancel": self._cancel,
            "protect": self._protect,
        }
        name = self._rng.choice(tuple(actions))
        return name if actions[name](symbol, now_ms) else "wait"

    def _open(self, symbol: str, now_ms: int) -> bool:
        """Open a copy trade at the market."""
        if symbol in self.avoided or len(self._account.open_trades(symbol)) >= _MAX_TRADES:
            return False
        return self._order(symbol, "Market", ZERO, now_ms)

    def _rest(self, symbol: str, now_ms: int) -> bool:
        """Lay a limit order a little away from the price."""
        if symbol in self.avoided or len(self._account.live_orders(symbol)) >= _MAX_RESTING:
            return False
        return self._order(symbol, "Limit", self._little(), now_ms)

    def _order(self, symbol: str, order_type: str, away: Decimal, now_ms: int) -> bool:
        rules = self._account.instrument(symbol)
        side = self._rng.choice((BUY, SELL))
        last = self._market.last_price(symbol)
        price = _to_tick(rules, last * (1 - away if side == BUY else 1 + away))
        qty = self._size(symbol, rules, side, price, now_ms)
        if not qty or not price:
            return False
        self._account.create_order(
            symbol,
            side,
            order_type,
            qty,
            price if order_type == "Limit" else None,
            now_ms=now_ms,
        )
        return True

    def _size(
        self, symbol: str, rules: Instrument, side: str, price: Decimal, now_ms: int
    ) -> Decimal:
        """Return a size the account can pay for, or zero."""
        leverage = self._account.position(symbol, 1 if side == BUY else 2, now_ms).leverage
        stake = self._account.wallet.available_balance * _STAKE
        share = Decimal(self._rng.randint(1, 100)) / 100
        steps = stake * share * leverage / max(price, rules.tick_size) // rules.qty_step
        qty = min(steps * rules.qty_step, rules.max_qty)
        return qty if qty >= rules.min_qty else ZERO

    def _close(self, symbol: str, now_ms: int) -> bool:
        """Close one copy trade."""
        trades = [trade for trade in self._account.open_trades(symbol) if not trade.closing]
        if not trades:
            return False
        self._account.close_order(parent_order_id=self._rng.choice(trades).order_id, now_ms=now_ms)
        return True

    def _cancel(self, symbol: str, now_ms: int) -> bool:
        """Cancel one resting order."""
        live = self._account.live_orders(symbol)
        if not live:
            return False
        self._account.cancel_order(order_id=self._rng.choice(live).order_id, now_ms=now_ms)
        return True

    def _protect(self, symbol: str, now_ms: int) -> bool:
        """Set take profit and stop loss of one copy trade."""
        trades = self._account.open_trades(symbol)
        if not trades:
            return False
        trade = self._rng.choice(trades)
        profit, loss = self._levels(symbol, trade)
        present = trade.protection
        if not (profit and loss) or (present.take_profit, present.stop_loss) == (profit, loss):
            return False
        self._account.set_trading_stop(
            symbol,
            parent_order_id=trade.order_id,
            take_profit=profit,
            stop_loss=loss,
            now_ms=now_ms,
        )
        return True

    def _levels(self, symbol: str, trade: Order) -> tuple[Decimal, Decimal]:
        rules = self._account.instrument(symbol)
        last = self._market.last_price(symbol)
        direction = 1 if trade.side == BUY else -1
        # At least a tick away: a cheap coin's tick may be more than the chosen part of its price.
        ahead = max(_to_tick(rules, last * self._little()), rules.tick_size) * direction
        behind = max(_to_tick(rules, last * self._little()), rules.tick_size) * direction
        base = _to_tick(rules, last)
        return max(base + ahead, ZERO), max(base - behind, ZERO)

    def _little(self) -> Decimal:
        """Return between 0.05 % and 1 %."""
        return Decimal(self._rng.randint(5, 100)) / 10_000


def _to_tick(rules: Instrument, price: Decimal) -> Decimal:
    return (price / rules.tick_size).to_integral_value() * rules.tick_size
