"""Feeds: one topic each, its messages in order, for all who subscribe to it.

A feed pushes at instants of simulated time; ``poll`` hands over what has been pushed. Knows no
connection. Messages are shared by all subscribers: nobody may change them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from .candles import Candle, span
from .engine import NEVER, Engine
from .flow import Liquidation
from .tape import Trade

Message = dict[str, Any]

#: The exchange puts no more trades than this into one frame.
MOST_TRADES = 1024


class Feed(ABC):
    """One topic of one profile.

    Args:
        engine: The market of the topic's symbol.
        topic: The topic as subscribed.
        profile: ``v3`` or ``v5``.
    """

    #: Pushes fall on multiples of this, and no two lie closer.
    cadence_ms = 1

    def __init__(self, engine: Engine, topic: str, profile: str) -> None:
        self.topic = topic
        self.profile = profile
        self.due_ms = NEVER
        self._engine = engine
        self._symbol = engine.instrument.symbol
        self._out: list[Message] = []
        self._pushed_ms = -self.cadence_ms

    # What subscribers use

    def snapshot(self, now_ms: int) -> Message | None:
        """Return the first message of a new subscriber, or ``None`` if it gets none.

        It shows the state as of the last message that ``poll`` handed over, so that the next one
        continues it.
        """
        del now_ms
        return None

    def poll(self, now_ms: int) -> list[Message]:
        """Bring the symbol to ``now_ms`` and return the messages pushed since the last poll."""
        if now_ms >= self._engine.now_ms:
            self._engine.run_to(now_ms)
        out, self._out = self._out, []
        return out

    @property
    def next_due_ms(self) -> int:
        """When ``poll`` may next return something, if no one else touches the symbol before."""
        if self._out:
            return self._engine.now_ms
        return min(self.due_ms, self._slot(self._engine.next_change_ms))

    def book(self) -> tuple[list[list[str]], list[list[str]]]:
        """Return bids and asks as of the last message handed over; only order books have them.

        Raises:
            TypeError: The topic is not an order book.
        """
        raise TypeError(f"{self.topic} is not an order book")

    # What the engine uses

    def notice(self, now_ms: int) -> None:
        """Set the time of the next push if there is anything to tell."""
        if self._news():
            self.due_ms = min(self.due_ms, self._slot(now_ms))

    def minute(self, ended: dict[str, Candle], now_ms: int) -> None:  # noqa: B027 (most feeds pass)
        """Hear of the end of a minute; most feeds do not care."""

    def tick(self, now_ms: int) -> None:
        """Push what there is to tell."""
        self.due_ms = NEVER
        self._pushed_ms = now_ms
        self._push(now_ms)

    def close(self) -> None:
        """Leave the engine and forget what was not handed over."""
        self.due_ms = NEVER
        self._out = []

    # What each kind of feed fills in

    def _slot(self, now_ms: int) -> int:
        cadence = self.cadence_ms
        return max(-(-now_ms // cadence) * cadence, self._pushed_ms + cadence)

    @abstractmethod
    def _news(self) -> bool:
        """Tell whether anything has changed since the last push."""

    @abstractmethod
    def _push(self, now_ms: int) -> None:
        """Put the messages of one push out."""


class TradeFeed(Feed):
    """``publicTrade``: every trade, a moment after it happened."""

    _LATE_MS = 2

    def __init__(self, engine: Engine, topic: str, profile: str) -> None:
        super().__init__(engine, topic, profile)
        self._trades: list[Trade] = []
        engine.tape.watchers.append(self._trades)

    def _slot(self, now_ms: int) -> int:
        return now_ms + self._LATE_MS

    def _news(self) -> bool:
        return bool(self._trades)

    def _push(self, now_ms: int) -> None:
        rows = [self._row(trade) for trade in self._trades]
        self._trades.clear()
        for first in range(0, len(rows), MOST_TRADES):
            self._out.append(
                {
                    "topic": self.topic,
                    "type": "snapshot",
                    "ts": now_ms,
                    "data": rows[first : first + MOST_TRADES],
                }
            )

    def _row(self, trade: Trade) -> Message:
        book = self._engine.book
        row: Message = {
            "T": trade.time_ms,
            "s": self._symbol,
            "S": trade.side,
            "v": book.size.text(trade.size),
            "p": book.price.text(trade.price),
            "L": trade.direction,
            "i": self._engine.tape.trade_id(trade),
            "BT": False,
        }
        if self.profile == "v5":
            row["seq"] = trade.sequence
            row["RPI"] = False
        return row

    def close(self) -> None:
        """Leave the tape."""
        super().close()
        watchers = self._engine.tape.watchers
        # By identity: two empty lists are equal.
        watchers[:] = [watcher for watcher in watchers if watcher is not self._trades]


class KlineFeed(Feed):
    """``kline``: the running candle, at most once a second, and once more when it has ended."""

    cadence_ms = 1000

    def __init__(self, engine: Engine, topic: str, profile: str, interval: str) -> None:
        super().__init__(engine, topic, profile)
        self._interval = interval
        self._shown = engine.tape.turnover

    def snapshot(self, now_ms: int) -> Message:
        """Return the running candle."""
        engine = self._engine
        start = span(self._interval, engine.now_ms)[0]
        return self._message(engine.candles.current(self._interval), start, now_ms, confirm=False)

    def _news(self) -> bool:
        return self._engine.tape.turnover != self._shown

    def _push(self, now_ms: int) -> None:
        self._shown = self._engine.tape.turnover
        self._out.append(self.snapshot(now_ms))

    def minute(self, ended: dict[str, Candle], now_ms: int) -> None:
        """Push the candle that has ended."""
        candle = ended.get(self._interval)
        if candle is not None:
            self.due_ms = NEVER
            self._pushed_ms = now_ms
            self._shown = self._engine.tape.turnover
            start = span(self._interval, now_ms - 1)[0]
            self._out.append(self._message(candle, start, now_ms, confirm=True))

    def _message(self, candle: Candle, start: int, now_ms: int, *, confirm: bool) -> Message:
        book = self._engine.book
        price = book.price.plain
        row = {
            "start": start,
            "end": span(self._interval, start)[1] - 1,
            "interval": self._interval,
            "open": price(candle.open),
            "close": price(candle.close),
            "high": price(candle.high),
            "low": price(candle.low),
            "volume": book.size.plain(candle.volume),
            "turnover": self._engine.turnover.plain(candle.turnover),
            "confirm": confirm,
            "timestamp": candle.time_ms or now_ms,
        }
        return {"topic": self.topic, "data": [row], "ts": now_ms, "type": "snapshot"}


class LiquidationFeed(Feed):
    """``liquidation`` (v3): one message each. ``allLiquidation`` (v5): half a second in one."""

    def __init__(self, engine: Engine, topic: str, profile: str) -> None:
        self.cadence_ms = 500 if profile == "v5" else 1
        super().__init__(engine, topic, profile)
        self._events: list[Liquidation] = []
        engine.liquidations.append(self._events)

    def _news(self) -> bool:
        return bool(self._events)

    def _push(self, now_ms: int) -> None:
        if self.profile == "v5":
            rows = [self._v5_row(event) for event in self._events]
            self._out.append({"topic": self.topic, "type": "snapshot", "ts": now_ms, "data": rows})
        else:
            for event in self._events:
                self._out.append(
                    {
                        "data": self._v3_row(event),
                        "topic": self.topic,
                        "ts": now_ms,
                        "type": "snapshot",
                    }
                )
        self._events.clear()

    def _v3_row(self, event: Liquidation) -> Message:
        book = self._engine.book
        return {
            "price": book.price.text(event.price),
            "side": event.side,
            "size": book.size.text(event.size),
            "symbol": self._symbol,
            "updatedTime": event.time_ms,
        }

    def _v5_row(self, event: Liquidation) -> Message:
        book = self._engine.book
        return {
            "T": event.time_ms,
            "s": self._symbol,
            "S": event.side,
            "v": book.size.text(event.size),
            "p": book.price.text(event.price),
        }

    def close(self) -> None:
        """Leave the engine's list of liquidations."""
        super().close()
        watchers = self._engine.liquidations
        watchers[:] = [watcher for watcher in watchers if watcher is not self._events]
