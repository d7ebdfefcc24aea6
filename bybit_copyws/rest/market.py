"""The calls that need no key: time, contracts, tickers."""

from __future__ import annotations

from collections.abc import Iterator

from bybit_copyws.models import TickerUpdate, parse_ticker
from bybit_copyws.rest.calls import Calls, as_message
from bybit_copyws.rest.records import server_time_ms
from bybit_copyws.state.instruments import NOT_COPIED, Instrument, parse_instrument


class MarketCalls(Calls):
    """Public data."""

    def server_time(self) -> int:
        """Return the exchange's time in milliseconds since 1970 ("Get Server Time").

        Raises:
            RestError: the call failed.
        """
        return int(server_time_ms(self.call("server_time")))

    def instruments(self, *, copy_trading: bool = True) -> Iterator[Instrument]:
        """Walk the contracts ("Copy Trading Symbol List", v5: "Get Instruments Info").

        Args:
            copy_trading: whether those are left out that leaders cannot trade; v3 lists no others.

        Raises:
            RestError: while walking: a call failed.
            ProtocolError: while walking: a row is not what is documented.
        """
        rows = self.rows("instruments")
        return (
            parse_instrument(row)
            for row in rows
            if not (copy_trading and row.get("copyTrading") == NOT_COPIED)
        )

    def tickers(self, symbol: str | None = None) -> Iterator[TickerUpdate]:
        """Walk the tickers of all USDT perpetuals, or one ("Get Tickers").

        Args:
            symbol: only this one.

        Raises:
            ConfigurationError: the symbol is malformed.
            RestError: while walking: the call failed.
            ProtocolError: while walking: a row is not what is documented.
        """
        rows = self.rows("tickers", symbol=symbol)
        return (parse_ticker(as_message("tickers", row, "snapshot")) for row in rows)
