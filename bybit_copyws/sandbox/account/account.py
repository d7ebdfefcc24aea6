"""The simulated copy-trading account of a leader: what can be read, and what moves it.

Pure and deterministic: the time is an argument of every command, ids come from a seed. Knows no
wire format (the renderers do), no thread, socket or clock. All prices and sizes are
decimals; commands take them as strings too.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from .books import Books
from .checks import Number
from .commands import Commands
from .market import Instrument, Market
from .model import Change, Execution, Order, Position, Transfer, Wallet
from .reactions import Reactions


class Account(Commands):
    """A hedge-mode, isolated-margin USDT account that trades against a market.

    Args:
        market: Where it trades; see ``Market`` for what is asked of it.
        seed: Where all ids come from: equal seeds and equal calls give equal outputs.
        balance: USDT at the start.
        leverage: Leverage of every symbol until it is set.
        history: How many finished orders, executions and transfers are kept.
    """

    def __init__(
        self,
        market: Market,
        *,
        seed: int,
        balance: Decimal = Decimal(10000),
        leverage: Number = 10,
        history: int = 10_000,
    ) -> None:
        self._market = market
        super().__init__(
            Books(market, seed=seed, balance=balance, leverage=Decimal(leverage), history=history)
        )
        self._reactions = Reactions(self._books, self._engine, self._closer)

    @property
    def wallet(self) -> Wallet:
        """The wallet as it stands."""
        return self._books.wallet()

    @property
    def executions(self) -> Iterable[Execution]:
        """The executions kept, newest first."""
        return reversed(self._books.executions)

    @property
    def orders(self) -> Iterable[Order]:
        """The orders kept, the latest created one first."""
        return self._books.orders.newest_first()

    @property
    def transfers(self) -> Iterable[Transfer]:
        """The transfers kept, newest first."""
        return reversed(self._books.transfers)

    @property
    def positions(self) -> list[Position]:
        """The positions that were ever used."""
        return list(self._books.positions.values())

    def position(self, symbol: str, position_idx: int, now_ms: int) -> Position:
        """Return one position, an empty one if it was never used.

        Raises:
            Refused: 10001, the symbol is unknown.
        """
        return self._books.position(symbol, position_idx, now_ms)

    def instrument(self, symbol: str) -> Instrument:
        """Return the rules of a symbol.

        Raises:
            Refused: 10001, the symbol is unknown.
        """
        return self._books.instrument(symbol)

    def find_order(self, order_id: str = "", order_link_id: str = "") -> Order | None:
        """Return the order with this id or link id."""
        return self._books.orders.find(order_id, order_link_id)

    def live_orders(self, symbol: str) -> list[Order]:
        """Return the orders that can still be filled, oldest first."""
        return self._books.orders.live(symbol)

    def open_trades(self, symbol: str) -> list[Order]:
        """Return the opening orders with a part that is filled and not closed, oldest first."""
        return self._books.orders.parents(symbol)

    def take_changes(self) -> list[Change]:
        """Return what is to be pushed since the last call, in order."""
        return self._books.take_changes()

    def split_fills(self, pieces: int) -> None:
        """Let each order from now on be filled in pieces: one at once, one more at every trade.

        So partial fills can be looked at, and cancelled. FOK orders, liquidations and orders made
        before are not split.

        Args:
            pieces: How many; 1 ends it.

        Raises:
            ValueError: ``pieces`` is below 1.
        """
        if pieces < 1:
            raise ValueError("an order is filled in at least one piece")
        self._books.pieces = pieces

    def on_trade(self, symbol: str, price: Decimal, now_ms: int) -> None:
        """Let a public trade fire last-price triggers and fill resting orders at it or better."""
        self._reactions.on_trade(symbol, price, now_ms)

    def on_mark(self, symbol: str, mark: Decimal, now_ms: int) -> None:
        """Mark the positions; fire triggers of the mark; liquidate what has lost its margin."""
        self._reactions.on_mark(symbol, mark, now_ms)

    def tick(self, symbol: str, now_ms: int) -> None:
        """Let the market's present last and mark price work."""
        self.on_trade(symbol, self._market.last_price(symbol), now_ms)
        self.on_mark(symbol, self._market.mark_price(symbol), now_ms)

    def funding(self, symbol: str, rate: Decimal, now_ms: int) -> None:
        """Settle funding: with a rate above zero Buy positions pay and Sell positions get."""
        self._reactions.funding(symbol, rate, now_ms)
