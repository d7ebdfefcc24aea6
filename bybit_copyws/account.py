"""The account that a client follows, as its user reads it.

What a message or an answer does to it is pure and elsewhere (:mod:`bybit_copyws.state`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from bybit_copyws.errors import StreamError
from bybit_copyws.events import Status
from bybit_copyws.models import Execution, Order, Position, Wallet
from bybit_copyws.options import check_callback, check_timeout
from bybit_copyws.policy.channel import Handler
from bybit_copyws.state.account_view import AccountView
from bybit_copyws.state.life_cycle import CopyTrade, TradeChange
from bybit_copyws.state.positions import PositionKey
from bybit_copyws.stream.private import PrivateStream


class Waiting(Protocol):
    """What the account needs of its client."""

    def wait_for(self, predicate: Callable[[], bool], timeout: float) -> bool:
        """Wait until something is true; return whether it became so in time."""

    def private_error(self) -> StreamError | None:
        """Return what ended the private connection for good, if anything."""

    def troubles(self) -> str:
        """Say why there are no links, to be put behind an error."""


class CopyTradeListener:
    """The handle that :meth:`Account.on_copy_trade` returns."""

    def __init__(self, handler: Handler, stream: PrivateStream) -> None:
        self._handler = handler
        self._stream = stream

    def remove(self) -> None:
        """End the listening; the function is not called again."""
        self._stream.unfollow_trades(self._handler)


class Account:
    """Positions, orders, executions and wallet of the key's account, kept up to date.

    Made by :attr:`CopyTradingClient.account`. Every attribute is of this moment; take :attr:`view`
    for several that belong together. Safe from any thread.
    """

    def __init__(self, stream: PrivateStream, client: Waiting) -> None:
        self._stream = stream
        self._desk = stream.desk
        self._client = client

    @property
    def view(self) -> AccountView:
        """All of it at one moment; it never changes."""
        return self._desk.state.view

    @property
    def status(self) -> Status:
        """Whether it can be trusted."""
        return self._desk.state.status

    @property
    def live(self) -> bool:
        """Whether it can be trusted: the same as ``status is Status.LIVE``."""
        return self.status is Status.LIVE

    @property
    def reason(self) -> str:
        """Why it cannot be trusted, in words; empty if it can."""
        return self._desk.state.reason

    def age(self) -> float:
        """Return the seconds since the exchange last confirmed it, by a message or an answer.

        An account in which nothing happens grows old and is still right.

        Returns:
            Infinity if nothing was ever confirmed.
        """
        return self._desk.state.age(time.monotonic())

    @property
    def positions(self) -> Mapping[PositionKey, Position]:
        """The open positions, by symbol and ``position_idx``."""
        return self.view.positions

    @property
    def orders(self) -> Mapping[str, Order]:
        """The orders to which something may still happen, by ``order_id``."""
        return self.view.orders

    @property
    def done_orders(self) -> Mapping[str, Order]:
        """The latest of the others, by ``order_id``."""
        return self.view.done_orders

    @property
    def executions(self) -> tuple[Execution, ...]:
        """The latest executions, in the order in which callbacks got them."""
        return self.view.executions

    @property
    def wallet(self) -> Wallet | None:
        """The balance; ``None`` before it is known."""
        return self.view.wallet

    @property
    def copy_trades(self) -> Mapping[Any, CopyTrade]:
        """The open copy trades: in v3 by ``order_id``, in v5 by symbol and ``position_idx``."""
        return self._desk.trades

    def position(self, symbol: str, position_idx: int) -> Position | None:
        """Return one position; ``None`` if it is flat. See :meth:`AccountView.position`."""
        return self.view.position(symbol, position_idx)

    def order(self, order_id: str = "", *, order_link_id: str = "") -> Order | None:
        """Return one order, done or not, by the exchange's id or by the user's own."""
        return self.view.order(order_id, order_link_id=order_link_id)

    def on_copy_trade(self, callback: Callable[[TradeChange], object]) -> CopyTradeListener:
        """Call a function when a copy trade is opened, increased, partly closed or closed.

        Args:
            callback: called with one :class:`TradeChange`, after the messages that told it, by the
                same thread.

        Returns:
            A handle; its ``remove()`` ends it.

        Raises:
            ConfigurationError: the callback is not callable.
        """
        check_callback(callback, "callback", "change of a copy trade")
        return CopyTradeListener(self._stream.follow_trades(callback), self._stream)

    def wait_for(
        self, predicate: Callable[[AccountView], object], timeout: float = 10.0
    ) -> AccountView:
        """Wait until something is true of the account.

        Args:
            predicate: called with a view after each change, in this thread; such as
                ``lambda view: view.live and not view.positions``.
            timeout: seconds.

        Returns:
            The view of which it is true.

        Raises:
            TimeoutError: it did not become true in time; the text says how the account is.
            AuthenticationError: the exchange refused the key.
            StreamClosed: the client was closed.
            ConfigurationError: this is a callback of the private connection, which would wait for
                itself.
        """
        check_timeout(timeout)
        deadline = time.monotonic() + timeout
        while True:
            view = self.view
            if predicate(view):
                return view
            error = self._client.private_error()
            if error is not None:
                raise error.again()
            left = max(0.0, deadline - time.monotonic())
            if not self._client.wait_for(partial(self._has_changed, view), left):
                why = f": {view.reason}" if view.reason else ""
                raise TimeoutError(
                    f"the account did not become what was waited for within {timeout:g} s; it is "
                    f"{view.status.value}{why}{self._client.troubles()}"
                )

    def _has_changed(self, view: AccountView) -> bool:
        return self.view is not view or self._client.private_error() is not None

    def __repr__(self) -> str:
        view = self.view
        return (
            f"<Account {view.status.value}: {len(view.positions)} positions, "
            f"{len(view.orders)} open orders>"
        )
