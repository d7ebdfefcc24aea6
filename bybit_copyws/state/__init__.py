"""What single messages add up to: the order book and the ticker of a symbol, the account.

Pure: messages and ``now`` go in, live state comes out. It must not know connections, threads of
its own, clocks or callbacks; the stream feeds it and acts on what :class:`Result` says.
"""

from bybit_copyws.events import Status
from bybit_copyws.state.account import AccountState
from bybit_copyws.state.account_dialects import AccountDialect, Kind, find_account_dialect
from bybit_copyws.state.account_view import AccountView, Update
from bybit_copyws.state.life_cycle import (
    CopyTrade,
    OrderTrades,
    PositionTrades,
    TradeChange,
    TradeEvent,
    trades_of,
)
from bybit_copyws.state.order_book import BookSnapshot, OrderBook
from bybit_copyws.state.reading import Level, Sweep
from bybit_copyws.state.reconcile import Question
from bybit_copyws.state.status import Cause, Outcome, Result
from bybit_copyws.state.ticker import Ticker, TickerSnapshot

__all__ = [
    "AccountDialect",
    "AccountState",
    "AccountView",
    "BookSnapshot",
    "Cause",
    "CopyTrade",
    "Kind",
    "Level",
    "OrderBook",
    "OrderTrades",
    "Outcome",
    "PositionTrades",
    "Question",
    "Result",
    "Status",
    "Sweep",
    "Ticker",
    "TickerSnapshot",
    "TradeChange",
    "TradeEvent",
    "Update",
    "find_account_dialect",
    "trades_of",
]
