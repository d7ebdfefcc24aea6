"""The candles of one symbol, every interval at once.

A trade touches the candle of its minute only; longer candles take a minute in when it ends. Knows
no message; counts ticks and lots.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Final

MINUTE_MS: Final = 60_000
_WEEK_MS: Final = 7 * 1440 * MINUTE_MS
# The epoch was a Thursday; weeks begin on Monday.
_MONDAY_MS: Final = 4 * 1440 * MINUTE_MS

_MINUTES: Final = {
    "1": 1,
    "3": 3,
    "5": 5,
    "15": 15,
    "30": 30,
    "60": 60,
    "120": 120,
    "240": 240,
    "360": 360,
    "720": 720,
    "D": 1440,
}
#: Every interval of the kline topic.
INTERVALS: Final = (*_MINUTES, "W", "M")


def span(interval: str, now_ms: int) -> tuple[int, int]:
    """Return the first millisecond of the candle at ``now_ms``, and of the one after it."""
    if interval == "M":
        day = datetime.fromtimestamp(now_ms // 1000, tz=timezone.utc)
        first = day.replace(day=1, hour=0, minute=0, second=0)
        following = (first + timedelta(days=32)).replace(day=1)
        return int(first.timestamp()) * 1000, int(following.timestamp()) * 1000
    if interval == "W":
        start = now_ms - (now_ms - _MONDAY_MS) % _WEEK_MS
        return start, start + _WEEK_MS
    length = _MINUTES[interval] * MINUTE_MS
    start = now_ms - now_ms % length
    return start, start + length


class Candle:
    """Prices in ticks, volume in lots, turnover in both; ``time_ms`` is of the last trade.

    Args:
        price: Where the last trade before it stood: a candle without trades is flat there.
    """

    __slots__ = ("close", "high", "low", "open", "time_ms", "turnover", "volume")

    def __init__(self, price: int) -> None:
        self.open = self.high = self.low = self.close = price
        self.volume = 0
        self.turnover = 0
        self.time_ms = 0

    def trade(self, price: int, size: int, time_ms: int) -> None:
        """Take one trade in."""
        if not self.volume:
            self.open = self.high = self.low = price
        elif price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.close = price
        self.volume += size
        self.turnover += size * price
        self.time_ms = time_ms

    def extended(self, later: Candle) -> Candle:
        """Return this candle and the one ``later`` in one."""
        if not later.volume:
            return self
        if not self.volume:
            return later
        both = Candle(self.open)
        both.high = max(self.high, later.high)
        both.low = min(self.low, later.low)
        both.close = later.close
        both.volume = self.volume + later.volume
        both.turnover = self.turnover + later.turnover
        both.time_ms = later.time_ms
        return both


class Candles:
    """The running candle of every interval.

    Args:
        price: The last price, in ticks.
        now_ms: When the first candles begin to count.
    """

    def __init__(self, price: int, now_ms: int) -> None:
        self.minute = Candle(price)
        self._past = {interval: Candle(price) for interval in INTERVALS}
        self._ends = {interval: span(interval, now_ms)[1] for interval in INTERVALS}

    def current(self, interval: str) -> Candle:
        """Return the running candle of ``interval``."""
        return self._past[interval].extended(self.minute)

    def end_minute(self, now_ms: int) -> dict[str, Candle]:
        """Begin a new minute at ``now_ms``, its first millisecond.

        Returns:
            The candles that have ended, by interval.
        """
        ended: dict[str, Candle] = {}
        price = self.minute.close
        for interval, end in self._ends.items():
            whole = self.current(interval)
            if now_ms < end:
                self._past[interval] = whole
            else:
                ended[interval] = whole
                self._past[interval] = Candle(price)
        for interval in ended:
            self._ends[interval] = span(interval, now_ms)[1]
        self.minute = Candle(price)
        return ended
