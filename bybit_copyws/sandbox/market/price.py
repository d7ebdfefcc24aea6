"""The price model of one symbol: the crowd's idea of the price, index, mark and funding rate.

Draws from the random source it is given and from nothing else. Knows no book and no trade.
"""

from __future__ import annotations

import random

from .instruments import Instrument
from .numbers import Grid

#: The index and the mark are worked out this often.
SECOND_MS = 1000


def _step(ticks: int) -> float:
    # A few ticks at most: the book follows level by level, as real ones do.
    return min(4.0, max(0.3, ticks * 4e-6))


class PriceModel:
    """A random walk and what hangs on it.

    Args:
        rng: The symbol's random source.
        instrument: Whose price it is.
        price: The grid of prices.
        now_ms: When the walk begins.
    """

    def __init__(
        self, rng: random.Random, instrument: Instrument, price: Grid, now_ms: int
    ) -> None:
        self._rng = rng
        start = price.floor(instrument.start_price)
        #: In ticks, with fractions. Bids stand below it, asks above, once the market has calmed.
        self.fair = start + 0.5
        self._lowest, self._highest = max(start / 4, 10.0), start * 4.0
        self._step = _step(start)
        #: In the last decimal of a price: finer than the tick where the tick is not 1, 0.1, ...
        self.fine = int(price.step.scaleb(price.decimals))
        self.index = self.mark = round(self.fair * self.fine)
        self._basis = 0.0
        self._noise = 0.0
        self._period_ms = instrument.funding_minutes * 60_000
        self._cap = int(instrument.funding_cap * 1_000_000)
        #: In millionths.
        self.funding_rate = 100
        self.next_funding_ms = self._following(now_ms)

    def _following(self, now_ms: int) -> int:
        return (now_ms // self._period_ms + 1) * self._period_ms

    def drift(self) -> None:
        """Take one step of the walk."""
        fair = self.fair + self._rng.gauss(0.0, self._step)
        self.fair = min(max(fair, self._lowest), self._highest)

    def second(self, middle: float) -> None:
        """Work out index, mark and funding rate anew.

        Args:
            middle: The middle of the book, in ticks.
        """
        self._noise = 0.9 * self._noise + self._rng.gauss(0.0, 0.5)
        index = self.fair + self._noise * self._step
        self._basis = 0.95 * self._basis + 0.05 * (middle - index)
        self.index = max(1, round(index * self.fine))
        self.mark = max(1, round((index + self._basis) * self.fine))
        premium = self._basis / self.fair * 1_000_000
        self.funding_rate = max(-self._cap, min(self._cap, round(100 + premium)))

    def fund(self, now_ms: int) -> bool:
        """Tell whether a funding is due at ``now_ms``, and set the next."""
        if now_ms < self.next_funding_ms:
            return False
        self.next_funding_ms = self._following(now_ms)
        return True

    def jump(self, ticks: int, fair: float) -> None:
        """Put the walk at ``fair``, the index and the mark at ``ticks``."""
        self.fair = fair
        self._step = _step(ticks)
        self._lowest, self._highest = min(self._lowest, self.fair), max(self._highest, self.fair)
        self._basis = self._noise = 0.0
        self.index = self.mark = ticks * self.fine
