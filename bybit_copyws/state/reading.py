"""What a trader asks an order book: best prices, spread, depth, the price of a quantity.

Works on copies of the levels, so that it knows neither messages nor locks; the live book and its
snapshots answer alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import ROUND_HALF_EVEN, Context, Decimal, DecimalException
from itertools import accumulate, takewhile
from typing import NamedTuple, TypeAlias

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.state.levels import Row

Number: TypeAlias = Decimal | int | float | str

BUY, SELL = "Buy", "Sell"

# Contexts of our own: the thread's one belongs to the user, and may be set to round. Sums and
# products of what an exchange sends are exact in the first; a quotient has the usual 28 digits.
# Neither traps: reading a book never raises, however long its numbers are.
_EXACT = Context(prec=1000, rounding=ROUND_HALF_EVEN, traps=[])
_QUOTIENT = Context(prec=28, rounding=ROUND_HALF_EVEN, traps=[])
_HALF = Decimal("0.5")
_ZERO = Decimal(0)


class Level(NamedTuple):
    """One price level; ``str()`` of either number has the digits that the exchange sent."""

    price: Decimal
    size: Decimal


class Sweep(NamedTuple):
    """What a market order of some quantity would do to the levels that are known.

    Attributes:
        side: the order's side.
        quantity: the quantity asked for.
        filled: what the levels can give of it.
        value: price times size, summed up.
        price: the average price of what is filled, or ``None`` if nothing is.
        worst_price: the price of the last level that is needed, or ``None``.
    """

    side: str
    quantity: Decimal
    filled: Decimal
    value: Decimal
    price: Decimal | None
    worst_price: Decimal | None

    @property
    def complete(self) -> bool:
        """Whether the levels are deep enough for the whole quantity."""
        return self.filled == self.quantity


class Reading:
    """The questions that an order book answers. Each looks at one moment of the book."""

    __slots__ = ()

    def rows(self, n: int | None = None) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
        """Return bids and asks of one moment as the exchange wrote them, best first.

        Args:
            n: how many levels a side; all of them without it.

        Raises:
            ConfigurationError: ``n`` is not a whole number above zero.
        """
        raise NotImplementedError

    def best_rows(self) -> tuple[Row | None, Row | None]:
        """Return best bid and best ask of one moment as the exchange wrote them."""
        raise NotImplementedError

    @property
    def best_bid(self) -> Level | None:
        """The highest bid, or ``None`` if there is none."""
        return self.top()[0]

    @property
    def best_ask(self) -> Level | None:
        """The lowest ask, or ``None`` if there is none."""
        return self.top()[1]

    def top(self) -> tuple[Level | None, Level | None]:
        """Return best bid and best ask of one moment (the two properties look at two)."""
        bid, ask = self.best_rows()
        return _level(bid) if bid else None, _level(ask) if ask else None

    @property
    def spread(self) -> Decimal | None:
        """Best ask less best bid, or ``None`` if a side is empty."""
        bid, ask = self.top()
        return _EXACT.subtract(ask.price, bid.price) if bid and ask else None

    @property
    def mid(self) -> Decimal | None:
        """The middle between best bid and best ask, exact; ``None`` if a side is empty."""
        bid, ask = self.top()
        return _EXACT.multiply(_EXACT.add(bid.price, ask.price), _HALF) if bid and ask else None

    def bids(self, n: int | None = None) -> tuple[Level, ...]:
        """Return the bids, highest first; at most ``n`` of them."""
        return tuple([_level(row) for row in self.rows(n)[0]])

    def asks(self, n: int | None = None) -> tuple[Level, ...]:
        """Return the asks, lowest first; at most ``n`` of them."""
        return tuple([_level(row) for row in self.rows(n)[1]])

    def imbalance(self, n: int | None = None) -> Decimal | None:
        """Return (bid size - ask size) / (bid size + ask size) of the best ``n`` levels.

        From 1 (bids only) to -1 (asks only); ``None`` if the book is empty.
        """
        bid, ask = (_total(map(_level, side)) for side in self.rows(n))
        total = _EXACT.add(bid, ask)
        return _QUOTIENT.divide(_EXACT.subtract(bid, ask), total) if total else None

    def size_at(self, price: Number) -> Decimal:
        """Return the size of the level at a price, on whichever side; zero if there is none.

        Raises:
            ConfigurationError: the price is not a number above zero.
        """
        wanted = _positive("price", price)
        for side in self.rows():
            for level in map(_level, side):
                if level.price == wanted:
                    return level.size
        return _ZERO

    def volume_to(self, side: str, price: Number) -> Decimal:
        """Return what an order could get at once with ``price`` as its limit.

        Args:
            side: the order's side: ``"Buy"`` meets asks up to the price, ``"Sell"`` bids down to
                it.
            price: the limit, included.

        Raises:
            ConfigurationError: the side is another word, or the price is not a number above zero.
        """
        limit = _positive("price", price)
        levels = self._met_by(side)
        if side == BUY:
            return _total(takewhile(lambda level: level.price <= limit, levels))
        return _total(takewhile(lambda level: level.price >= limit, levels))

    def vwap(self, side: str, quantity: Number) -> Sweep:
        """Return the average price at which a market order would be filled now.

        Args:
            side: the order's side: ``"Buy"`` meets asks, ``"Sell"`` bids.
            quantity: its size, in units of the base coin.

        Returns:
            A :class:`Sweep`; look at its ``complete``: the book may not be deep enough.

        Raises:
            ConfigurationError: the side is another word, or the quantity is not a number above
                zero.
        """
        wanted = left = _positive("quantity", quantity)
        value, worst = _ZERO, None
        for price, size in self._met_by(side):
            piece = min(size, left)
            left = _EXACT.subtract(left, piece)
            value = _EXACT.add(value, _EXACT.multiply(price, piece))
            worst = price
            if not left:
                break
        filled = _EXACT.subtract(wanted, left)
        average = _QUOTIENT.divide(value, filled) if filled else None
        return Sweep(side, wanted, filled, value, average, worst)

    def _met_by(self, side: str) -> Iterator[Level]:
        """Return the levels that an order of a side meets, best first."""
        if side not in (BUY, SELL):
            raise ConfigurationError(f"side {side!r} is unknown; write 'Buy' or 'Sell'")
        bids, asks = self.rows()
        return map(_level, asks if side == BUY else bids)


def checked_count(n: int | None) -> None:
    """Refuse what cannot be a number of levels."""
    if n is not None and (type(n) is not int or n < 1):
        raise ConfigurationError(
            f"n is {n!r}; write a whole number above zero, or leave it out for all levels"
        )


def _level(row: Row) -> Level:
    return Level(Decimal(row[0]), Decimal(row[1]))


def _total(levels: Iterable[Level]) -> Decimal:
    *_, total = accumulate((level.size for level in levels), _EXACT.add, initial=_ZERO)
    return total


def _positive(what: str, value: Number) -> Decimal:
    """Return a user's number; a float counts as the digits that it prints as."""
    if isinstance(value, (Decimal, int, float, str)) and not isinstance(value, bool):
        try:
            number = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
        except (DecimalException, ValueError):
            number = _ZERO
        if number.is_finite() and number > 0:
            return number
    raise ConfigurationError(
        f"{what} is {value!r}; write a number above zero, best as text or Decimal: '0.5'"
    )
