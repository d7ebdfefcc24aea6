"""The order flow: what the crowd does to the book, event by event.

Draws from the symbol's random source only, and asks nothing of feeds, so that the path of the
price is the same whoever watches.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import accumulate, takewhile
from math import ceil, log
from typing import Final, NamedTuple

from .book import BUY, FAR, SELL, Book
from .price import PriceModel
from .tape import Tape, match

# A side is kept near this many levels, enough for the deepest window of the exchange.
_LEVELS: Final = 1100
_FEWEST: Final = 1050
_MOST: Final = 1150
_NO_END: Final = 1 << 40

# One random byte gives the distance to the next level, another the size: a book of 2200 levels
# is built in well under a millisecond.
_GAPS: Final = bytes((1,) * 160 + (2,) * 60 + (3,) * 24 + (5,) * 12)
_PRICE_EXISTS: Final = (0).__gt__
_SIZES: Final = tuple(-3.0 * log(1.0 - (n + 0.5) / 256) for n in range(256))


class Liquidation(NamedTuple):
    """One liquidated position; ``price`` in ticks, ``size`` in lots."""

    time_ms: int
    side: str
    price: int
    size: int


class Flow:
    """Changes one book.

    Args:
        rng: The symbol's random source.
        book: The book to change.
        tape: Where trades are printed.
        price: The walk that the flow follows.
        lot: What a usual order counts, in lots.
    """

    def __init__(
        self, rng: random.Random, book: Book, tape: Tape, price: PriceModel, lot: int
    ) -> None:
        self._random = rng.random
        self._rng = rng
        self._book = book
        self._tape = tape
        self._price = price
        self.lot = lot
        self._table = [1 + int(lot * size) for size in _SIZES]
        self.build()

    def _size(self) -> int:
        return 1 + int(-3.0 * self.lot * log(1.0 - self._random()))

    def build(self) -> None:
        """Fill the book anew around the walk."""
        middle = int(self._price.fair)
        levels: dict[int, int] = {}
        for best in (-middle, middle + 1):
            gaps, sizes = self._rng.randbytes(_LEVELS - 1), self._rng.randbytes(_LEVELS)
            keys: Iterable[int] = accumulate(map(_GAPS.__getitem__, gaps), initial=best)
            if best < 0:
                # A price of zero does not exist: the bids of a cheap contract end early.
                keys = takewhile(_PRICE_EXISTS, keys)
            levels.update(zip(keys, map(self._table.__getitem__, sizes), strict=False))
        self._book.fill(levels)

    def event(self, now_ms: int) -> Liquidation | None:
        """Let one thing happen: the walk moves, somebody trades, others quote.

        Returns:
            A liquidation, now and then.
        """
        self._book.stamp(now_ms)
        self._price.drift()
        self._trade()
        self._quote()
        self._change_levels()
        self._keep_depth(self._book.bids)
        self._keep_depth(self._book.asks)
        if self._random() >= 0.002:
            return None
        side = BUY if self._random() < 0.5 else SELL
        return Liquidation(now_ms, side, self._tape.last, self._size())

    def _trade(self) -> None:
        book, tape, fair = self._book, self._tape, self._price.fair
        if book.asks and book.asks[0] < fair:
            match(book, tape, BUY, _NO_END, int(fair))
        elif book.bids and -book.bids[0] > fair:
            match(book, tape, SELL, _NO_END, -ceil(fair))
        elif self._random() < 0.2:
            side = BUY if self._random() < 0.5 else SELL
            size = 1 + int(-self.lot * log(1.0 - self._random()) / 4)
            match(book, tape, side, size, FAR)

    def _quote(self) -> None:
        """Close the gap between a best level and the walk, most of the time."""
        book, fair, draw = self._book, int(self._price.fair), self._random
        if draw() < 0.8:
            bid = min(fair, book.asks[0] - 1) if book.asks else fair
            bid -= int(-0.7 * log(1.0 - draw()))
            if bid > 0 and (not book.bids or bid > -book.bids[0]):
                book.put(-bid, self._size())
        if draw() < 0.8:
            ask = max(fair + 1, 1 - book.bids[0]) if book.bids else fair + 1
            ask += int(-0.7 * log(1.0 - draw()))
            if not book.asks or ask < book.asks[0]:
                book.put(ask, self._size())

    def _change_levels(self) -> None:
        book, draw = self._book, self._random
        for _ in range(1 + int(draw() * 4)):
            keys = book.bids if draw() < 0.5 else book.asks
            if not keys:
                continue
            # Most of the life of a book is near its top.
            key = keys[int(draw() ** 3 * len(keys))]
            kind = draw()
            if kind < 0.55:
                book.put(key, self._size())
            elif kind < 0.8:
                book.put(key, 0)
            elif key + 1 and key + 1 not in book.sizes:
                book.put(key + 1, self._size())

    def _keep_depth(self, keys: list[int]) -> None:
        book = self._book
        while keys and len(keys) < _FEWEST:
            key = keys[-1] + 1 + int(self._random() * 2)
            if keys[-1] < 0 <= key:
                break
            book.put(key, self._size())
        while len(keys) > _MOST:
            book.put(keys[-1], 0)
