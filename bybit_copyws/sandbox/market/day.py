"""The figures of the last hour and the last day of one symbol.

The simulation begins in the middle of a day that nobody saw; that day is drawn at the start. Knows
no message; counts ticks and lots.
"""

from __future__ import annotations

import random
from collections import deque

from .tape import Tape

# The unseen day had this many usual orders.
_ORDERS = 1_000_000


class Day:
    """What the tape says, with the unseen day added.

    Args:
        rng: The symbol's random source.
        tape: The symbol's tape, still empty.
        lot: What a usual order counts, in lots.
    """

    def __init__(self, rng: random.Random, tape: Tape, lot: int) -> None:
        self._tape = tape
        start = tape.last
        self._high = start + int(start * rng.uniform(0.002, 0.02))
        self._low = start - int(start * rng.uniform(0.002, 0.02))
        self._open = rng.randint(self._low, self._high)
        self._hour_ago = rng.randint(self._low, self._high)
        self._volume = lot * _ORDERS + rng.randrange(lot * _ORDERS)
        self._turnover = self._volume * ((self._high + self._low) // 2)
        self._closes: deque[int] = deque(maxlen=1440)

    def end_minute(self) -> None:
        """Remember the price at the end of a minute."""
        self._closes.append(self._tape.last)

    @property
    def high(self) -> int:
        """The highest price."""
        return max(self._high, self._tape.high)

    @property
    def low(self) -> int:
        """The lowest price."""
        return min(self._low, self._tape.low)

    @property
    def hour_ago(self) -> int:
        """The price of an hour ago."""
        closes = self._closes
        return closes[-60] if len(closes) >= 60 else self._hour_ago

    @property
    def day_ago(self) -> int:
        """The price of a day ago."""
        closes = self._closes
        return closes[0] if len(closes) == closes.maxlen else self._open

    @property
    def volume(self) -> int:
        """The traded lots."""
        return self._volume + self._tape.volume

    @property
    def turnover(self) -> int:
        """The traded lots times ticks."""
        return self._turnover + self._tape.turnover
