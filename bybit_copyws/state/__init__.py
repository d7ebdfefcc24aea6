"""What single messages add up to: the order book and the ticker of a symbol.

Pure: messages and ``now`` go in, live state comes out. It must not know connections, threads of
its own, clocks or callbacks; the stream feeds it and acts on what :class:`Result` says.
"""

from bybit_copyws.state.order_book import BookSnapshot, OrderBook
from bybit_copyws.state.reading import Level, Sweep
from bybit_copyws.state.status import Cause, Outcome, Result, Status
from bybit_copyws.state.ticker import Ticker, TickerSnapshot

__all__ = [
    "BookSnapshot",
    "Cause",
    "Level",
    "OrderBook",
    "Outcome",
    "Result",
    "Status",
    "Sweep",
    "Ticker",
    "TickerSnapshot",
]
