"""One symbol's market: its book, tape and prices, and the order in which things happen to them.

Everything happens at an instant of simulated time that follows from the random source and the
calls, never from how the time is cut into ``run_to`` calls. Knows feeds only as things to be told.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from math import ceil
from typing import NamedTuple, Protocol

from .book import BUY, FAR, SELL, Book
from .candles import MINUTE_MS, Candle, Candles
from .day import Day
from .flow import Flow, Liquidation
from .instruments import Instrument
from .numbers import Grid
from .price import SECOND_MS, PriceModel
from .tape import Tape, Trade, match

#: A due time that does not come.
NEVER = 1 << 62
# A usual level of the book is worth about this much, in the quote coin.
_LEVEL_WORTH = 2000


class Fill(NamedTuple):
    """One piece that the market gave to a taking order."""

    price: Decimal
    qty: Decimal


class PublicTrade(NamedTuple):
    """One trade as listeners hear of it; ``side`` is the taker's."""

    symbol: str
    side: str
    price: Decimal
    qty: Decimal
    time_ms: int


@dataclass
class Clock:
    """The latest simulated time that any symbol has been brought to."""

    now_ms: int


@dataclass
class Listeners:
    """Who hears of trades, of new marks (symbol, mark, ms) and of fundings (symbol, rate, ms)."""

    trade: list[Callable[[PublicTrade], None]] = field(default_factory=list)
    mark: list[Callable[[str, Decimal, int], None]] = field(default_factory=list)
    funding: list[Callable[[str, Decimal, int], None]] = field(default_factory=list)


class Audience(Protocol):
    """What the engine asks of a feed."""

    #: When ``tick`` is wanted; ``NEVER`` while there is nothing to tell.
    due_ms: int

    def notice(self, now_ms: int) -> None:
        """Hear that something has changed."""

    def minute(self, ended: dict[str, Candle], now_ms: int) -> None:
        """Hear that a minute is over, and which candles have ended with it."""

    def tick(self, now_ms: int) -> None:
        """Push what is due."""


class Engine:
    """The market of one symbol.

    Args:
        instrument: Its rules.
        seed: The seed of the market; with the symbol it makes the random source.
        birth_ms: When this symbol's trading begins.
        activity: Multiplies the pace of the instrument; zero gives a market that stands still.
        clock: Is set to the time the symbol is brought to.
    """

    def __init__(
        self, instrument: Instrument, seed: int, birth_ms: int, activity: float, clock: Clock
    ) -> None:
        self.instrument = instrument
        self._clock = clock
        self._running = False
        self.now_ms = birth_ms
        self._rng = rng = random.Random(f"{seed}:{instrument.symbol}")  # noqa: S311 (a simulation)
        price, size = Grid(instrument.tick_size), Grid(instrument.qty_step)
        self.price = PriceModel(rng, instrument, price, birth_ms)
        self.book = Book(price, size, rng.randrange(10**9, 10**11))
        self.book.changed_ms = birth_ms
        self.first_update_id = rng.randrange(10**6, 10**8)
        start = int(self.price.fair)
        self.tape = Tape(start, rng.getrandbits(120))
        self.candles = Candles(start, birth_ms)
        lot = size.floor(_LEVEL_WORTH / instrument.start_price)
        self.flow = Flow(rng, self.book, self.tape, self.price, max(1, lot))
        self.liquidations: list[list[Liquidation]] = []
        self.day = Day(rng, self.tape, self.flow.lot)
        self.turnover = Grid(instrument.tick_size * instrument.qty_step)
        self.open_interest = self.flow.lot * rng.randrange(500_000, 1_500_000)
        #: Goes up with everything that a ticker may show.
        self.version = 0
        self.feeds: list[Audience] = []
        self.listeners = Listeners()
        self._unheard: deque[Trade] = deque()
        self._told_mark = self.price.mark
        self._fresh: list[Trade] = []
        self.tape.watchers.append(self._fresh)
        self._rate = instrument.pace * activity / 1000
        self._next_second = birth_ms - birth_ms % SECOND_MS + SECOND_MS
        self._exact = float(birth_ms)
        self._next_event = birth_ms
        self._schedule()

    def _schedule(self) -> None:
        wait = self._rng.expovariate(self._rate) if self._rate > 0 else NEVER
        self._exact += wait
        self._next_event = ceil(self._exact)

    @property
    def next_change_ms(self) -> int:
        """When something may happen of itself."""
        return min(self._next_event, self._next_second)

    def run_to(self, now_ms: int) -> None:
        """Let everything happen that is due until ``now_ms``; inside itself it does nothing."""
        if self._running:
            return
        self._running = True
        try:
            self._deliver()
            self._run_to(now_ms)
        finally:
            self._running = False
        self.now_ms = max(self.now_ms, now_ms)
        self._clock.now_ms = max(self._clock.now_ms, now_ms)

    def _run_to(self, now_ms: int) -> None:
        while True:
            feed_due = min((feed.due_ms for feed in self.feeds), default=NEVER)
            if self._next_second <= min(self._next_event, feed_due):
                if self._next_second > now_ms:
                    break
                self._second(self._next_second)
            elif self._next_event <= feed_due:
                if self._next_event > now_ms:
                    break
                self._event()
            else:
                if feed_due > now_ms:
                    break
                self.now_ms = max(self.now_ms, feed_due)
                self._tick(feed_due)

    def _tick(self, now_ms: int) -> None:
        for feed in self.feeds:
            if feed.due_ms <= now_ms:
                feed.tick(now_ms)

    def _event(self) -> None:
        self.now_ms = now_ms = self._next_event
        liquidation = self.flow.event(now_ms)
        self._schedule()
        if liquidation is not None:
            for watcher in self.liquidations:
                watcher.append(liquidation)
        self._changed()
        self._deliver()

    def _second(self, now_ms: int) -> None:
        """Do what happens once a second, and what happens once a minute."""
        self.now_ms = now_ms
        self._next_second += SECOND_MS
        self.price.second(self.middle)
        self.open_interest = max(
            0, self.open_interest + int(self._rng.gauss(0.0, 3.0 * self.flow.lot))
        )
        if now_ms % MINUTE_MS == 0:
            self.day.end_minute()
            ended = self.candles.end_minute(now_ms)
            for feed in self.feeds:
                feed.minute(ended, now_ms)
        if self.price.fund(now_ms):
            rate = Decimal(self.price.funding_rate).scaleb(-6)
            for listener in self.listeners.funding:
                listener(self.instrument.symbol, rate, now_ms)
        self._changed()
        self._deliver()

    @property
    def middle(self) -> float:
        """The middle of the book in ticks; the last price while a side is empty."""
        book = self.book
        if book.bids and book.asks:
            return (book.asks[0] - book.bids[0]) / 2
        return float(self.tape.last)

    def _changed(self) -> None:
        """Let candles and feeds know, after a change is complete."""
        self.version += 1
        if self._fresh:
            for trade in self._fresh:
                self.candles.minute.trade(trade.price, trade.size, trade.time_ms)
            if self.listeners.trade:
                self._unheard.extend(self._fresh)
            self._fresh.clear()
        now_ms = self.now_ms
        for feed in self.feeds:
            feed.notice(now_ms)

    def _deliver(self) -> None:
        """Tell the listeners.

        A listener may trade: what follows from that is told after it returns, not inside it.
        """
        while self._unheard:
            heard = self._public(self._unheard.popleft())
            for listener in self.listeners.trade:
                listener(heard)
        if self.price.mark != self._told_mark:
            self._told_mark = self.price.mark
            mark = self.to_price(self._told_mark)
            for mark_listener in self.listeners.mark:
                mark_listener(self.instrument.symbol, mark, self.now_ms)

    def to_price(self, fine: int) -> Decimal:
        """Return a mark or index as a ``Decimal``."""
        return Decimal(fine).scaleb(-self.book.price.decimals)

    def _public(self, trade: Trade) -> PublicTrade:
        price, size = self.book.price, self.book.size
        return PublicTrade(
            self.instrument.symbol,
            trade.side,
            price.decimal(trade.price),
            size.decimal(trade.size),
            trade.time_ms,
        )

    def limit_key(self, side: str, limit: Decimal | None) -> int:
        """Return the last key that a taker of ``side`` may touch at ``limit``.

        Raises:
            ValueError: ``side`` is neither ``Buy`` nor ``Sell``.
        """
        if side not in (BUY, SELL):
            raise ValueError(f"a side is 'Buy' or 'Sell', not {side!r}")
        if limit is None:
            return FAR
        price = self.book.price
        return price.floor(limit) if side == BUY else -price.ceil(limit)

    def take(self, side: str, qty: Decimal, limit: Decimal | None) -> list[Fill]:
        """Let the account's order eat the book now."""
        key = self.limit_key(side, limit)
        size, price = self.book.size, self.book.price
        self.book.stamp(self.now_ms)
        trades = match(self.book, self.tape, side, size.floor(qty), key)
        if trades:
            self._changed()
        return [Fill(price.decimal(trade.price), size.decimal(trade.size)) for trade in trades]

    def churn(self) -> None:
        """Change the size of the best bid or the best ask, in turn."""
        book = self.book
        book.stamp(self.now_ms)
        keys = book.bids if book.update_id % 2 or not book.asks else book.asks
        if keys:
            size = book.sizes[keys[0]]
            book.put(keys[0], size + 1 if book.update_id % 4 < 2 or size == 1 else size - 1)
        self._changed()

    def liquidate(self, liquidation: Liquidation) -> None:
        """Show one liquidation."""
        for watcher in self.liquidations:
            watcher.append(liquidation)
        self._changed()

    def move(self, price: Decimal) -> None:
        """Let the market gap to ``price``, with one trade there."""
        ticks = max(2, self.book.price.floor(price))
        side = BUY if ticks > self.tape.last else SELL
        self.price.jump(ticks, ticks - 0.5 if side == BUY else ticks + 0.5)
        self.book.stamp(self.now_ms)
        self.flow.build()
        match(self.book, self.tape, side, 1, FAR)
        self._changed()
