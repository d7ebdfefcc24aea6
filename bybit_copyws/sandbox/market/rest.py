"""Results of the public REST endpoints that show the market: what stands under ``result``."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from .book import BUY, SELL
from .market import Market
from .tickers import ticker_row


def server_time(now_ms: int) -> dict[str, str]:
    """Return the result of the time endpoint."""
    return {"timeSecond": str(now_ms // 1000), "timeNano": str(now_ms * 1_000_000)}


def order_book(market: Market, symbol: str, limit: int, now_ms: int) -> dict[str, Any]:
    """Return the result of ``/v5/market/orderbook``.

    Args:
        market: The market.
        symbol: Whose book.
        limit: How many levels a side.
        now_ms: The time of the reply.

    Raises:
        UnknownSymbol: It is not traded here.
    """
    book = market.book(symbol)
    return {
        "s": symbol,
        "a": book.levels(SELL, limit),
        "b": book.levels(BUY, limit),
        "ts": now_ms,
        "u": book.update_id,
        "seq": book.sequence,
        "cts": book.changed_ms,
    }


def recent_trades(market: Market, symbol: str, limit: int) -> dict[str, Any]:
    """Return the result of ``/v5/market/recent-trade``: up to ``limit`` trades, newest first.

    Raises:
        UnknownSymbol: It is not traded here.
    """
    engine = market.engine(symbol)
    price, size = engine.book.price, engine.book.size
    rows = [
        {
            "execId": engine.tape.trade_id(trade),
            "symbol": symbol,
            "price": price.text(trade.price),
            "size": size.text(trade.size),
            "side": trade.side,
            "time": str(trade.time_ms),
            "isBlockTrade": False,
            "isRPITrade": False,
            "seq": str(trade.sequence),
        }
        for trade in islice(reversed(engine.tape.recent), limit)
    ]
    return {"category": "linear", "list": rows}


def list_tickers(market: Market, symbols: Iterable[str], profile: str) -> dict[str, Any]:
    """Return the result of ``tickers``: all figures of some symbols, as the stream has them.

    Raises:
        UnknownSymbol: One of them is not traded here.
    """
    rows = [ticker_row(market.engine(symbol), profile) for symbol in symbols]
    return {"category": "linear", "list": rows}
