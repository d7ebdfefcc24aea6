"""The tape: every trade of one symbol in order, with its tick direction and id.

Knows neither who traded nor how trades are shown; it counts ticks and lots.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from .book import Book

_KEPT = 1000
# Odd, so that the multiples of it run through all 122 bits before one comes back.
_STRIDE = 0x1F3_9A7C_55D1_E60B_72C9_4AF3_8E15_D2B7
_BITS = 122

_SAME = {
    "PlusTick": "ZeroPlusTick",
    "ZeroPlusTick": "ZeroPlusTick",
    "MinusTick": "ZeroMinusTick",
    "ZeroMinusTick": "ZeroMinusTick",
}


class Trade(NamedTuple):
    """One print; ``side`` is the taker's, ``price`` in ticks, ``size`` in lots."""

    number: int
    time_ms: int
    side: str
    price: int
    size: int
    direction: str
    sequence: int


class Tape:
    """Records trades and what follows from them.

    Args:
        price: The price before the first trade, in ticks.
        salt: What makes the ids of this tape its own.
    """

    def __init__(self, price: int, salt: int) -> None:
        self.last = price
        self.direction = "ZeroPlusTick"
        self.volume = 0
        self.turnover = 0
        self.high = price
        self.low = price
        self.recent: deque[Trade] = deque(maxlen=_KEPT)
        self.watchers: list[list[Trade]] = []
        self._count = 0
        self._salt = salt

    def trade_id(self, trade: Trade) -> str:
        """Return the id of ``trade``: of the form of a UUID, and no two alike on this tape."""
        value = (trade.number * _STRIDE + self._salt) % (1 << _BITS)
        high, low = f"{value >> 62:015x}", f"{value & (1 << 62) - 1 | 1 << 63:016x}"
        return f"{high[:8]}-{high[8:12]}-5{high[12:]}-{low[:4]}-{low[4:]}"

    def record(self, side: str, price: int, size: int, time_ms: int, sequence: int) -> Trade:
        """Print one trade."""
        if price != self.last:
            self.direction = "PlusTick" if price > self.last else "MinusTick"
        else:
            self.direction = _SAME[self.direction]
        self.last = price
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.volume += size
        self.turnover += size * price
        self._count += 1
        trade = Trade(self._count, time_ms, side, price, size, self.direction, sequence)
        self.recent.append(trade)
        for watcher in self.watchers:
            watcher.append(trade)
        return trade


def match(book: Book, tape: Tape, side: str, size: int, limit: int) -> list[Trade]:
    """Let a taker eat the book, and print what it got; see ``Book.take``.

    The book is stamped before, for the time and the sequence of the trades.
    """
    return [
        tape.record(side, abs(key), piece, book.changed_ms, book.sequence)
        for key, piece in book.take(side, size, limit)
    ]
