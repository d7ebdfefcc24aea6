"""Which topics the simulated exchange knows, and the feed behind each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .book_feeds import BookFeed, TopFeed
from .candles import INTERVALS
from .engine import Engine
from .feeds import Feed, KlineFeed, LiquidationFeed, TradeFeed
from .tickers import TickerFeed


class UnknownTopic(KeyError):
    """The exchange has no such topic: unknown channel, symbol, depth or interval.

    Args:
        topic: The topic as asked for.
    """

    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self.topic = topic


DEPTHS: Final = {"v3": (1, 50, 200), "v5": (1, 50, 200, 1000)}

_Plain = Callable[[Engine, str, str], Feed]

_PLAIN: Final[dict[tuple[str, str], _Plain]] = {
    ("v3", "publicTrade"): TradeFeed,
    ("v5", "publicTrade"): TradeFeed,
    ("v3", "tickers"): TickerFeed,
    ("v5", "tickers"): TickerFeed,
    ("v3", "liquidation"): LiquidationFeed,
    ("v5", "allLiquidation"): LiquidationFeed,
}


def check(profile: str, parts: tuple[str, ...]) -> None:
    """Raise ``UnknownTopic`` unless channel and argument are known; the symbol is not looked at."""
    known = False
    if len(parts) == 2:
        known = (profile, parts[0]) in _PLAIN
    elif len(parts) == 3 and parts[0] == "orderbook":
        known = parts[1] in map(str, DEPTHS.get(profile, ()))
    elif len(parts) == 3 and parts[0] == "kline":
        known = parts[1] in INTERVALS and profile in DEPTHS
    if not known:
        raise UnknownTopic(".".join(parts))


def make_feed(engine: Engine, profile: str, parts: tuple[str, ...], *, every_change: bool) -> Feed:
    """Return a new feed for a topic that ``check`` let pass.

    Args:
        engine: The market of the topic's symbol.
        profile: ``v3`` or ``v5``.
        parts: The topic, split at its dots.
        every_change: What order books are to do; see ``BookFeed``.
    """
    topic = ".".join(parts)
    if parts[0] == "orderbook":
        depth = int(parts[1])
        kind = TopFeed if depth == 1 else BookFeed
        return kind(engine, topic, profile, depth, every_change=every_change)
    if parts[0] == "kline":
        return KlineFeed(engine, topic, profile, parts[1])
    return _PLAIN[profile, parts[0]](engine, topic, profile)
