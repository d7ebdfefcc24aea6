"""The simulated market of the sandbox: order books, trades, candles and tickers from a seed. Pure.

Knows neither sockets nor threads nor the clock, and no account: it is told the time, it hands out
messages, and it lets an account trade in it.
"""

from .book import Book
from .candles import INTERVALS
from .engine import Fill, PublicTrade
from .feeds import Feed, Message
from .instruments import DEFAULT_INSTRUMENTS, Instrument, instrument
from .market import Market, UnknownSymbol
from .rest import list_tickers, order_book, recent_trades, server_time
from .topics import DEPTHS, UnknownTopic

__all__ = [
    "DEFAULT_INSTRUMENTS",
    "DEPTHS",
    "INTERVALS",
    "Book",
    "Feed",
    "Fill",
    "Instrument",
    "Market",
    "Message",
    "PublicTrade",
    "UnknownSymbol",
    "UnknownTopic",
    "instrument",
    "list_tickers",
    "order_book",
    "recent_trades",
    "server_time",
]
