"""The endpoints that need no key: time, contracts, order book, trades.

Knows no account.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from bybit_copyws.sandbox import market as markets
from bybit_copyws.sandbox.account import Refused
from bybit_copyws.sandbox.market import Instrument, UnknownSymbol

from .calls import Call, Function, Result

#: Which contracts the accounts of v3 copy trading may trade; ``utaOnly`` came with v5.
_V3_COPY_TRADING = ("both", "normalOnly")


def server_time(call: Call) -> Result:
    """Tell the time of the exchange."""
    return {**markets.server_time(call.now_ms)}


def v3_symbols(call: Call) -> Result:
    """List the contracts of v3 copy trading."""
    rows = [
        instrument.v3_row()
        for instrument in call.market.instruments.values()
        if instrument.copy_trading in _V3_COPY_TRADING
    ]
    return {"list": rows}


def instruments(call: Call) -> Result:
    """List contracts by name, in pages; without a status, those in trading."""
    params = call.params
    params.need_linear()
    if params.text("symbol"):
        _instrument(call, params.text("symbol"))
    limit = params.limit(500, 1000)
    last = _read_cursor(params.text("cursor"))
    filters = {
        "symbol": params.text("symbol"),
        "base_coin": params.text("baseCoin"),
        "status": params.text("status", "Trading"),
    }
    found = [
        instrument
        for name, instrument in sorted(call.market.instruments.items())
        if name > last
        and all(value in ("", getattr(instrument, key)) for key, value in filters.items())
    ]
    shown = found[:limit]
    return {
        "category": "linear",
        "list": [instrument.v5_row() for instrument in shown],
        "nextPageCursor": _cursor(shown) if len(found) > limit else "",
    }


def _cursor(shown: list[Instrument]) -> str:
    """Name the ends of a page, percent-encoded already, as Bybit does."""
    return quote(f"first={shown[0].symbol}&last={shown[-1].symbol}", safe="")


def _read_cursor(cursor: str) -> str:
    """Return the last symbol of the page before, or an empty text.

    Clients send a cursor as it is or encode it once more: both arrive here.
    """
    if not cursor:
        return ""
    first, found, last = unquote(cursor).partition("&last=")
    if not (found and first.startswith("first=")):
        raise Refused(10001, "params error: cursor invalid")
    return last


def order_book(call: Call) -> Result:
    """Show the best levels of an order book."""
    params = call.params
    params.need_linear()
    symbol = _instrument(call, params.required("symbol")).symbol
    return markets.order_book(call.market, symbol, params.limit(25, 1000), call.now_ms)


def recent_trades(call: Call) -> Result:
    """List the latest trades of a contract."""
    params = call.params
    params.need_linear()
    symbol = _instrument(call, params.required("symbol")).symbol
    return markets.recent_trades(call.market, symbol, params.limit(500, 1000))


def tickers(profile: str) -> Function:
    """Return what lists the tickers of all contracts in trading, or of one."""

    def function(call: Call) -> Result:
        call.params.need_linear()
        named = call.params.text("symbol")
        trading = (
            each.symbol for each in call.market.instruments.values() if each.status == "Trading"
        )
        symbols = [_instrument(call, named).symbol] if named else sorted(trading)
        return markets.list_tickers(call.market, symbols, profile)

    return function


def _instrument(call: Call, symbol: str) -> Instrument:
    try:
        return call.market.instrument(symbol)
    except UnknownSymbol:
        raise Refused(10001, f"params error: symbol invalid {symbol}") from None
