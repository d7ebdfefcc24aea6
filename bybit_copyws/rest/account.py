"""The calls that read the account."""

from __future__ import annotations

from collections.abc import Iterator

from bybit_copyws.errors import ProtocolError
from bybit_copyws.fields import json_object
from bybit_copyws.models import (
    Execution,
    Order,
    Position,
    Wallet,
    parse_executions,
    parse_orders,
    parse_positions,
    parse_wallet,
)
from bybit_copyws.rest.calls import Calls, as_message
from bybit_copyws.rest.records import Transfer, parse_transfer


class AccountCalls(Calls):
    """What the account holds and has done. All of it may be asked again without harm.

    Every iterator raises ``ConfigurationError`` at once, and ``RestError`` or ``ProtocolError``
    while it is walked.
    """

    def positions(self, symbol: str | None = None) -> Iterator[Position]:
        """Walk the positions: those that are open, or both sides of one symbol.

        Pages "Get Positions".

        Args:
            symbol: only of this one.

        Raises:
            ConfigurationError: the symbol is malformed, or there is no key.
        """
        return self._parsed("positions", self.rows("positions", symbol=symbol), parse_positions)

    def orders(
        self,
        symbol: str | None = None,
        *,
        order_id: str | None = None,
        order_link_id: str | None = None,
    ) -> Iterator[Order]:
        """Walk the orders: v3 lists open trades and what was done lately, v5 open orders.

        With an id v5 finds an order that was done lately, too. Pages "Order List" (v3), "Get Open
        & Closed Orders" (v5).

        Args:
            symbol: only of this one.
            order_id: only this one.
            order_link_id: only this one, by the user's own id.

        Raises:
            ConfigurationError: an argument is malformed, or there is no key.
        """
        rows = self.rows("orders", symbol=symbol, order_id=order_id, order_link_id=order_link_id)
        return self._parsed("orders", rows, parse_orders)

    def order_history(
        self,
        symbol: str | None = None,
        *,
        order_id: str | None = None,
        order_link_id: str | None = None,
        start_time: int | None = None,
        end_time: int | None = None,
    ) -> Iterator[Order]:
        """Walk the orders that are done, newest first (v5 only: "Get Order History").

        Args:
            symbol: only of this one.
            order_id: only this one.
            order_link_id: only this one, by the user's own id.
            start_time: created at or after, in milliseconds.
            end_time: created at or before.

        Raises:
            ConfigurationError: an argument is malformed, there is no key, or the profile has no
                such call.
        """
        rows = self.rows(
            "order_history",
            symbol=symbol,
            order_id=order_id,
            order_link_id=order_link_id,
            start_time=start_time,
            end_time=end_time,
        )
        return self._parsed("order_history", rows, parse_orders)

    def executions(
        self,
        symbol: str | None = None,
        *,
        start_time: int | None = None,
        end_time: int | None = None,
    ) -> Iterator[Execution]:
        """Walk the executions, newest first; v3 needs a symbol ("Get Executions").

        Args:
            symbol: only of this one.
            start_time: at or after, in milliseconds.
            end_time: at or before.

        Raises:
            ConfigurationError: an argument is malformed or missing, or there is no key.
        """
        rows = self.rows("executions", symbol=symbol, start_time=start_time, end_time=end_time)
        return self._parsed("executions", rows, parse_executions)

    def wallet(self, account_type: str | None = None) -> Wallet:
        """Return the balance ("Get Wallet Balance").

        Args:
            account_type: v5 only: ``"UNIFIED"``, which is the default, or ``"CONTRACT"``.

        Raises:
            ConfigurationError: the argument is malformed or unknown to the profile.
            RestError: the call failed.
            ProtocolError: the answer is not what is documented.
        """
        result = json_object("wallet", "the result", self.call("wallet", account_type=account_type))
        # v5 lists accounts, of which there is one; v3 answers with the account itself.
        wallets = parse_wallet(as_message("wallet", result.get("list", result)))
        if not wallets:
            raise ProtocolError("wallet: the answer lists no account")
        return wallets[0]

    def transfers(
        self,
        *,
        transfer_id: str | None = None,
        coin: str | None = None,
        status: str | None = None,
        start_time: int | None = None,
        end_time: int | None = None,
    ) -> Iterator[Transfer]:
        """Walk the transfers, newest first ("Query Transfer List").

        Args:
            transfer_id: only this one.
            coin: only of this one, such as ``"USDT"``.
            status: only with this one, such as ``"SUCCESS"``.
            start_time: at or after, in milliseconds.
            end_time: at or before.

        Raises:
            ConfigurationError: an argument is malformed, or there is no key.
        """
        rows = self.rows(
            "transfers",
            transfer_id=transfer_id,
            coin=coin,
            status=status,
            start_time=start_time,
            end_time=end_time,
        )
        return (parse_transfer(row) for row in rows)
