"""The simulated market: every symbol's engine, built when first needed, and the feeds on them.

Pure: the time is passed in, everything random follows from the seed. Knows neither connections nor
accounts; an account takes from the book and listens to trades and marks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Literal

from .book import Book
from .book_feeds import BookFeed
from .engine import Clock, Engine, Fill, Listeners, PublicTrade
from .feeds import Feed
from .flow import Liquidation
from .instruments import CLOSED, Instrument
from .topics import UnknownTopic, check, make_feed

# A symbol's trading begins at the start of the minute in which it is first needed. So whoever asks
# first within that minute finds the same path, and no one pays for hours that nobody saw.
_EPOCH_MS = 60_000


class UnknownSymbol(KeyError):
    """The market does not trade this symbol."""


class Market:
    """All symbols of one simulated exchange.

    Not safe for threads: one thread calls it.

    Args:
        instruments: What is traded.
        seed: Same seed, same calls, same messages.
        start_ms: The simulated time at the start.
        activity: Multiplies the pace of every symbol; zero gives books that stand still.
        cadence: ``documented`` pushes books as often as the exchange does, ``fast`` pushes every
            change.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        *,
        seed: int,
        start_ms: int,
        activity: float = 1.0,
        cadence: Literal["documented", "fast"] = "documented",
    ) -> None:
        self.instruments = {instrument.symbol: instrument for instrument in instruments}
        self._clock = Clock(start_ms)
        self._start_ms = start_ms
        self._seed = seed
        self._activity = activity
        self._every_change = cadence == "fast"
        self._engines: dict[str, Engine] = {}
        self._open: dict[tuple[str, str], Feed] = {}
        # The update ids that closed books have reached: a book goes on where it stopped.
        self._left_off: dict[tuple[str, str], int] = {}
        self._listeners = Listeners()

    # Time

    def advance(self, now_ms: int) -> None:
        """Bring every symbol that has been needed so far to ``now_ms``; it never goes back."""
        for engine in list(self._engines.values()):
            engine.run_to(now_ms)
        self._clock.now_ms = max(self._clock.now_ms, now_ms)

    @property
    def now_ms(self) -> int:
        """The simulated time."""
        return self._clock.now_ms

    def engine(self, symbol: str) -> Engine:
        """Return the market of one symbol, built when first needed.

        Raises:
            UnknownSymbol: It is not traded here.
        """
        engine = self._engines.get(symbol)
        if engine is None:
            instrument = self.instrument(symbol)
            birth_ms = self.now_ms - (self.now_ms - self._start_ms) % _EPOCH_MS
            engine = Engine(instrument, self._seed, birth_ms, self._activity, self._clock)
            # Nobody listens to what happened before: nobody had a position there.
            engine.run_to(self.now_ms)
            engine.listeners = self._listeners
            self._engines[symbol] = engine
        return engine

    # Looking

    def instrument(self, symbol: str) -> Instrument:
        """Return the rules of ``symbol``.

        Raises:
            UnknownSymbol: It is not traded here.
        """
        try:
            return self.instruments[symbol]
        except KeyError:
            raise UnknownSymbol(symbol) from None

    def enlist(self, instrument: Instrument) -> None:
        """Trade a contract from now on; one that was withdrawn goes on where it is."""
        self.instruments[instrument.symbol] = instrument

    def withdraw(self, symbol: str) -> None:
        """Close a contract: it is not listed any more, and has no topics.

        Its price goes on, so that an account can still get rid of what it holds.

        Raises:
            UnknownSymbol: It is not traded here.
        """
        closed = replace(self.instrument(symbol), status=CLOSED, copy_trading="none")
        self.instruments[symbol] = closed

    def book(self, symbol: str) -> Book:
        """Return the full book; it stays the same object and changes with the market."""
        return self.engine(symbol).book

    def last_price(self, symbol: str) -> Decimal:
        """Return the price of the latest trade."""
        engine = self.engine(symbol)
        return engine.book.price.decimal(engine.tape.last)

    def mark_price(self, symbol: str) -> Decimal:
        """Return the mark price."""
        engine = self.engine(symbol)
        return engine.to_price(engine.price.mark)

    def index_price(self, symbol: str) -> Decimal:
        """Return the index price."""
        engine = self.engine(symbol)
        return engine.to_price(engine.price.index)

    def available(self, symbol: str, side: str, limit: Decimal | None = None) -> Decimal:
        """Return how much ``side`` could take now at ``limit`` or better, taking nothing."""
        engine = self.engine(symbol)
        size = engine.book.depth_to(side, engine.limit_key(side, limit))
        return engine.book.size.decimal(size)

    # Acting

    def take(
        self, symbol: str, side: str, qty: Decimal, limit: Decimal | None = None
    ) -> list[Fill]:
        """Let an aggressive order eat the book, best price first, and print its trades.

        It happens at the time the symbol has been brought to: ``advance`` first. The listeners
        hear of it with the next ``advance`` or ``poll``, never inside this call.

        Args:
            symbol: What to trade.
            side: ``Buy`` or ``Sell``.
            qty: How much at most; what is no whole lot is left.
            limit: The worst price; ``None`` takes any.

        Returns:
            What was got; less than ``qty`` when the book or the limit ends.
        """
        return self.engine(symbol).take(side, qty, limit)

    def churn(self, symbol: str, count: int = 1) -> None:
        """Change the size of a best level ``count`` times, now."""
        engine = self.engine(symbol)
        for _ in range(count):
            engine.churn()

    def move(self, symbol: str, price: Decimal) -> None:
        """Let the market gap to ``price``: a new book there, one trade, mark and index too."""
        self.engine(symbol).move(price)

    def liquidate(self, symbol: str, side: str, qty: Decimal, price: Decimal | None = None) -> None:
        """Show a liquidation of somebody's position.

        Args:
            symbol: What was held.
            side: ``Buy`` for a long position.
            qty: The size.
            price: The bankruptcy price; ``None`` for the last price.
        """
        engine = self.engine(symbol)
        grid = engine.book.price
        ticks = engine.tape.last if price is None else grid.floor(price)
        size = engine.book.size.floor(qty)
        engine.liquidate(Liquidation(engine.now_ms, side, ticks, size))

    def restart(self, symbol: str | None = None) -> None:
        """Restart the service: every order book goes on with a snapshot of update id 1.

        Args:
            symbol: Whose books; ``None`` for all.
        """
        for key, feed in self._open.items():
            if isinstance(feed, BookFeed) and symbol in (None, key[1].rpartition(".")[2]):
                feed.restart()
        for key in self._left_off:
            if symbol in (None, key[1].rpartition(".")[2]):
                self._left_off[key] = 0

    # Listening

    def on_trade(self, listener: Callable[[PublicTrade], None]) -> None:
        """Call ``listener`` for every trade of every needed symbol; it may trade itself."""
        self._listeners.trade.append(listener)

    def on_mark(self, listener: Callable[[str, Decimal, int], None]) -> None:
        """Call ``listener(symbol, mark_price, now_ms)`` when a mark price has changed."""
        self._listeners.mark.append(listener)

    def on_funding(self, listener: Callable[[str, Decimal, int], None]) -> None:
        """Call ``listener(symbol, funding_rate, now_ms)`` when funding is due."""
        self._listeners.funding.append(listener)

    # Feeds

    def has_topic(self, profile: str, parts: tuple[str, ...]) -> bool:
        """Return whether there is such a topic; arguments as of :meth:`open_feed`."""
        try:
            check(profile, parts)
        except UnknownTopic:
            return False
        instrument = self.instruments.get(parts[-1])
        return instrument is not None and instrument.status != CLOSED

    def open_feed(self, profile: str, parts: tuple[str, ...]) -> Feed:
        """Return the feed of a topic; the same one for all who ask until it is closed.

        Args:
            profile: ``v3`` or ``v5``.
            parts: The topic split at its dots, such as ``("orderbook", "50", "BTCUSDT")``.

        Raises:
            UnknownTopic: There is no such topic.
        """
        topic = ".".join(parts)
        feed = self._open.get((profile, topic))
        if feed is None:
            if not self.has_topic(profile, parts):
                raise UnknownTopic(topic)
            engine = self.engine(parts[-1])
            feed = make_feed(engine, profile, parts, every_change=self._every_change)
            if isinstance(feed, BookFeed):
                feed.continue_from(self._left_off.pop((profile, topic), None))
            engine.feeds.append(feed)
            self._open[profile, topic] = feed
        return feed

    def close_feed(self, feed: Feed) -> None:
        """Stop a feed that has no subscriber left; the next ``open_feed`` makes a new one."""
        if self._open.get((feed.profile, feed.topic)) is not feed:
            return
        del self._open[feed.profile, feed.topic]
        self._engines[feed.topic.rpartition(".")[2]].feeds.remove(feed)
        if isinstance(feed, BookFeed):
            self._left_off[feed.profile, feed.topic] = feed.update_id
        feed.close()

    @property
    def feeds(self) -> Collection[Feed]:
        """The open feeds."""
        return self._open.values()
