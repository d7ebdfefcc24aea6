"""What must be asked of the exchange to know an account again, question by question. Pure.

One :class:`Reconciliation` is one walk through the questions: what is open, the balance, what
became of that which was open before, and the executions since. It must not know who asks, nor
what is done with the answers. Rules: Bybit's REST pages "Get Positions", "Order List", "Get Open &
Closed Orders", "Get Wallet Balance" and "Get Executions".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bybit_copyws.errors import ProtocolError
from bybit_copyws.fields import json_array, json_object
from bybit_copyws.state.account_dialects import AccountDialect, Kind, Row
from bybit_copyws.state.executions import read_execution
from bybit_copyws.state.orders import read_order
from bybit_copyws.state.positions import PositionKey, flat_row, read_position

_WINDOW_MS = 7 * 86_400_000 - 60_000  # v5 answers for seven days after the start, and no more
_MOST_PAGES = 1_000  # of one list: no account has so many


class Question(NamedTuple):
    """One call of ``RestClient.call``.

    Attributes:
        call: its name.
        params: its parameters.
    """

    call: str
    params: Mapping[str, Any]


class Known(NamedTuple):
    """What was open when the questions began.

    Attributes:
        positions: the keys of the positions.
        orders: the symbols of the orders, by their ids.
    """

    positions: frozenset[PositionKey]
    orders: Mapping[str, str | None]


@dataclass
class _Asked:
    """A list that is being asked for, page by page."""

    question: Question
    take: Callable[[list[Row]], None]
    cursors: set[str] = field(default_factory=set)


class Reconciliation:
    """The questions of one reconciliation and what was answered.

    Args:
        dialect: the words of the API generation.
        known: what was open before.
        since_ms: the exchange's time from which on executions may be missing.
        exchange_ms: the exchange's time now.

    Attributes:
        since_ms: see above.
        exchange_ms: see above.
        positions: the answered rows by key, by the stream's keys; flat ones of those only that
            were open.
        orders: the answered rows by id, likewise.
        wallets: the answered rows.
        executions: the answered rows, newer before older, list by list.
        unknown: ids of orders that were open and of which the exchange knows nothing.
    """

    def __init__(
        self, dialect: AccountDialect, known: Known, since_ms: int, exchange_ms: int
    ) -> None:
        self._dialect = dialect
        self._known = known
        self.since_ms = since_ms
        self.exchange_ms = exchange_ms
        self.positions: dict[PositionKey, Row] = {}
        self.orders: dict[str, Row] = {}
        self.wallets: list[Row] = []
        self.executions: list[Row] = []
        self.unknown: set[str] = set()
        self._todo: deque[_Asked] = deque()
        self._stages = deque([self._ask_what_is_open, self._ask_what_was_open, self._ask_the_past])
        self._go_on()

    @property
    def question(self) -> Question | None:
        """What to ask next; ``None`` once everything is answered."""
        return self._todo[0].question if self._todo else None

    def answer(self, result: Any) -> None:
        """Take the ``result`` of the present question, as the exchange sent it.

        Raises:
            ProtocolError: it is not what the exchange documents.
        """
        asked = self._todo[0]
        name = asked.question.call
        result = json_object(name, "the result", result)
        # v3 answers the wallet with the account itself.
        listed = [result] if name == "wallet" and "list" not in result else result.get("list")
        rows = [dict(json_object(name, "a row", row)) for row in json_array(name, "list", listed)]
        asked.take(rows)
        cursor = result.get("nextPageCursor")
        self._todo.popleft()
        # The last page may name a next one, which is empty. v3's lists of orders have no pages.
        if rows and cursor:
            self._turn(asked, cursor)
        self._go_on()

    def _turn(self, asked: _Asked, cursor: Any) -> None:
        name, params = asked.question
        cursors = asked.cursors
        if not isinstance(cursor, str) or cursor in cursors or len(cursors) >= _MOST_PAGES:
            raise ProtocolError(f"{name}: the pages go round in circles")
        cursors.add(cursor)
        question = Question(name, {**params, "cursor": cursor})
        self._todo.appendleft(_Asked(question, asked.take, cursors))

    def _go_on(self) -> None:
        while not self._todo and self._stages:
            self._stages.popleft()()

    def _ask(self, call: str, take: Callable[[list[Row]], None], **params: Any) -> None:
        self._todo.append(_Asked(Question(call, params), take))

    # The stages

    def _ask_what_is_open(self) -> None:
        self._ask("orders", self._take_orders)
        self._ask("positions", self._take_positions)
        self._ask("wallet", self._take_wallets)

    def _ask_what_was_open(self) -> None:
        """Ask what became of what the lists of open things leave out: by name, it is told."""
        for order_id in sorted(self._known.orders.keys() - self.orders.keys()):
            self._look_up(order_id, self._dialect.lookups)
        gone = self._known.positions - self.positions.keys()
        for symbol in sorted({symbol for symbol, _ in gone}):
            self._ask("positions", self._take_positions, symbol=symbol)

    def _look_up(self, order_id: str, calls: tuple[str, ...]) -> None:
        def take(rows: list[Row]) -> None:
            self._take_orders(rows)
            if order_id in self.orders:
                return
            if calls[1:]:
                self._look_up(order_id, calls[1:])
            else:
                self.unknown.add(order_id)

        self._ask(calls[0], take, symbol=self._known.orders[order_id], order_id=order_id)

    def _ask_the_past(self) -> None:
        # In one-way mode the exchange no longer lists the two sides that hedge mode had.
        for key in self._known.positions - self.positions.keys():
            self.positions[key] = flat_row(key)
        symbols: Iterable[str | None] = (None,)
        if self._dialect.by_symbol:
            symbols = sorted(self._symbols())
        for symbol in symbols:
            start = self.since_ms
            while start + _WINDOW_MS < self.exchange_ms:
                end = start + _WINDOW_MS
                self._ask_executions(symbol=symbol, start_time=start, end_time=end)
                start = end
            self._ask_executions(symbol=symbol, start_time=start)

    def _ask_executions(self, **params: Any) -> None:
        self._ask("executions", self._take_executions, **params)

    def _symbols(self) -> set[str]:
        """Return where there can have been executions.

        One belongs to an order, which changed with it, or (funding) to a position.
        """
        found = {symbol for symbol, _ in self.positions}
        found.update(symbol for symbol in self._known.orders.values() if symbol)
        for row in self.orders.values():
            _, order = read_order(self._dialect, row)
            if order.symbol and (order.updated_time or self.since_ms) >= self.since_ms:
                found.add(order.symbol)
        return found

    # The answers

    def _take_orders(self, rows: list[Row]) -> None:
        for each in rows:
            row = self._dialect.from_rest(Kind.ORDER, each)
            order_id, _ = read_order(self._dialect, row)
            self.orders[order_id] = row

    def _take_positions(self, rows: list[Row]) -> None:
        for each in rows:
            row = self._dialect.from_rest(Kind.POSITION, each)
            key, position = read_position(self._dialect, row)
            if position.size or key in self._known.positions:
                self.positions[key] = row

    def _take_wallets(self, rows: list[Row]) -> None:
        if not rows:
            raise ProtocolError("wallet: the answer lists no account")
        for row in rows:
            self._dialect.parse(Kind.WALLET, row)
        self.wallets = rows

    def _take_executions(self, rows: list[Row]) -> None:
        for each in rows:
            row = self._dialect.from_rest(Kind.EXECUTION, each)
            read_execution(self._dialect, row)
            self.executions.append(row)
