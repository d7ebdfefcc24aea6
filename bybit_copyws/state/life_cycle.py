"""Copy trades from their opening to their end, on top of an account's updates.

Feed :class:`OrderTrades` (v3: one trade for each of the leader's opening orders) or
:class:`PositionTrades` (v5: one for each symbol and ``position_idx``) with what
:class:`~bybit_copyws.state.account.AccountState` hands out; :func:`trades_of` picks the right one.
Pure: it must not know where the updates come from. Sources: Bybit's v3 page "Copy Trading Order",
its order statuses; v5 pages "Position" and "Execution".
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from bybit_copyws.models import Execution, Order, Position
from bybit_copyws.state.account_dialects import AccountDialect, Kind
from bybit_copyws.state.account_view import Update
from bybit_copyws.state.positions import PositionKey
from bybit_copyws.state.remembered import Remembered

_Side: TypeAlias = tuple[str, str]
"""A symbol, and the side that opens."""

_ZERO = Decimal(0)
_OPPOSITE = {"Buy": "Sell", "Sell": "Buy"}
_CLOSING, _OVER = "OpenOrderClosing", "OpenOrderClosedFilled"
_FUNDING = "Funding"
_MOST_IDS = 20_000  # of closing orders and of trades that are over


class TradeEvent(enum.Enum):
    """What happened to a copy trade."""

    OPENED = "opened"
    INCREASED = "increased"
    PARTLY_CLOSED = "partly closed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class CopyTrade:
    """One copy trade at one moment; it never changes.

    Attributes:
        symbol: such as ``BTCUSDT``.
        side: of the opening: ``"Buy"`` is long.
        position_idx: of its position; ``None`` if nothing told it yet (v3's REST does not).
        order_id: v3: the opening order; empty in v5.
        order_link_id: v3: the user's own id of it.
        status: v3: the order's, such as ``OpenOrderClosing``; empty in v5.
        opened_qty: what was opened of it.
        closed_qty: what was closed. In v3 no row tells which trade a closing order belongs to: it
            is booked on those that are being closed, the oldest first; exact while that is one, and
            again once the others are closed.
        entry_price: average price of the opening, if known.
        realised_pnl: v5: what the exchange says was realised of this holding; ``None`` in v3.
        fees: v5: fees and funding paid, of the executions told by then; ``None`` in v3.
        opened_time: the exchange's time of the first row that told of it, in milliseconds.
        closed_time: that of the row that told of its end.
    """

    symbol: str
    side: str
    position_idx: int | None
    opened_qty: Decimal
    closed_qty: Decimal = _ZERO
    entry_price: Decimal | None = None
    order_id: str = ""
    order_link_id: str = ""
    status: str = ""
    realised_pnl: Decimal | None = None
    fees: Decimal | None = None
    opened_time: int | None = None
    closed_time: int | None = None

    @property
    def open_qty(self) -> Decimal:
        """What is open of it."""
        return self.opened_qty - self.closed_qty


class TradeChange(NamedTuple):
    """One step in the life of a copy trade.

    Attributes:
        event: what happened.
        trade: the trade after it.
    """

    event: TradeEvent
    trade: CopyTrade


def trades_of(dialect: AccountDialect) -> OrderTrades | PositionTrades:
    """Return what follows the copy trades of an API generation."""
    return OrderTrades() if dialect.order_tells_trade else PositionTrades()


class OrderTrades:
    """v3: one trade for each opening order, by its ``order_id``.

    Attributes:
        view: the trades that are open; replaced as a whole at each change, never changed.
    """

    def __init__(self) -> None:
        self._open: dict[str, CopyTrade] = {}
        self._over = Remembered(_MOST_IDS)
        self._filled: dict[str, Decimal] = {}  # by each closing order, as far as is known
        # What was closed, by symbol and opening side, less all trades that are over: it belongs to
        # those that are open.
        self._closed: dict[_Side, Decimal] = {}
        self.view: Mapping[str, CopyTrade] = MappingProxyType({})

    def follow(self, updates: Iterable[Update]) -> list[TradeChange]:
        """Take updates of an account; return what happened to its trades, in order."""
        changes: list[TradeChange] = []
        for update in updates:
            if update.kind is not Kind.ORDER:
                continue
            touched: dict[_Side, None] = {}
            # All of an update before anything is booked: it may tell of a closing order and of
            # the trade that this one has closed, in whatever order.
            for order in update.models:
                if isinstance(order, Order) and order.symbol and order.side:
                    changes += self._order(order, touched)
            for side in touched:
                changes += self._book(side)
        self.view = MappingProxyType(dict(self._open))
        return changes

    def _order(self, order: Order, touched: dict[_Side, None]) -> list[TradeChange]:
        status, order_id = order.status or "", order.order_id or ""
        symbol, side = order.symbol or "", order.side or ""
        if status.startswith("CloseOrder"):
            key = symbol, _OPPOSITE.get(side, "")
            new = _filled(order) - self._filled.get(order_id, _ZERO)
            self._filled[order_id] = _filled(order)
            if len(self._filled) > _MOST_IDS:
                del self._filled[next(iter(self._filled))]
            self._closed[key] = self._closed.get(key, _ZERO) + new
            touched[key] = None
            return []
        if not status.startswith("OpenOrder") or order_id in self._over:
            return []
        touched[symbol, side] = None
        before = self._open.get(order_id)
        trade = CopyTrade(
            symbol=symbol,
            side=side,
            position_idx=order.position_idx,
            opened_qty=_filled(order),
            closed_qty=_ZERO if before is None else before.closed_qty,
            entry_price=_entry(order),
            order_id=order_id,
            order_link_id=order.order_link_id or "",
            status=status,
            opened_time=order.updated_time if before is None else before.opened_time,
        )
        changes = []
        if before is None:
            changes.append(TradeChange(TradeEvent.OPENED, trade))
        elif trade.opened_qty > before.opened_qty:
            changes.append(TradeChange(TradeEvent.INCREASED, trade))
        self._open[order_id] = trade
        if status == _OVER:
            changes.append(self._end(trade, order.updated_time))
        return changes

    def _end(self, trade: CopyTrade, at: int | None) -> TradeChange:
        self._over.add(trade.order_id)
        del self._open[trade.order_id]
        key = trade.symbol, trade.side
        self._closed[key] = self._closed.get(key, _ZERO) - trade.opened_qty
        over = replace(trade, closed_qty=trade.opened_qty, closed_time=at)
        return TradeChange(TradeEvent.CLOSED, over)

    def _book(self, side: _Side) -> list[TradeChange]:
        """Share out among the open trades of one side what was closed of them."""
        trades = [trade for trade in self._open.values() if (trade.symbol, trade.side) == side]
        # Less than nothing: closing orders were missed, or came before the first snapshot.
        left = self._closed[side] = max(self._closed.get(side, _ZERO), _ZERO)
        changes = []
        for trade in sorted(trades, key=lambda each: each.status != _CLOSING):
            share = min(left, trade.opened_qty)
            left -= share
            booked = replace(trade, closed_qty=share)
            self._open[trade.order_id] = booked
            # When nothing is left open, the status of the opening order will tell.
            if share > trade.closed_qty and booked.open_qty:
                changes.append(TradeChange(TradeEvent.PARTLY_CLOSED, booked))
        return changes


def _filled(order: Order) -> Decimal:
    """Return what an order has filled; v3's REST tells only what is left of one at work."""
    if order.cum_exec_qty is not None:
        return order.cum_exec_qty
    return (order.qty or _ZERO) - (order.leaves_qty or _ZERO)


def _entry(order: Order) -> Decimal | None:
    filled = _filled(order)
    return order.cum_exec_value / filled if order.cum_exec_value and filled else None


class PositionTrades:
    """v5: one trade for each position, by symbol and ``position_idx``, while it is open.

    Sizes, events and the realised gain come from the positions, fees from the executions. What
    was closed and opened again within a gap is told as what the sizes before and after make of it.

    Attributes:
        view: the trades that are open; replaced as a whole at each change, never changed.
    """

    def __init__(self) -> None:
        self._open: dict[PositionKey, CopyTrade] = {}
        self._early: dict[_Side, Decimal] = {}  # fees of what opens a position not yet told of
        self.view: Mapping[PositionKey, CopyTrade] = MappingProxyType({})

    def follow(self, updates: Iterable[Update]) -> list[TradeChange]:
        """Take updates of an account; return what happened to its trades, in order."""
        changes: list[TradeChange] = []
        for update in updates:
            for model in update.models:
                if isinstance(model, Position):
                    changes += self._position(model)
                elif isinstance(model, Execution):
                    self._execution(model)
        self.view = MappingProxyType(dict(self._open))
        return changes

    def _position(self, position: Position) -> list[TradeChange]:
        key = position.symbol or "", position.position_idx or 0
        size, before = position.size or _ZERO, self._open.get(key)
        changes = []
        # In one-way mode a position turns over without being flat in between.
        if before is not None and (not size or position.side != before.side):
            del self._open[key]
            over = replace(
                _told(before, position),
                closed_qty=before.opened_qty,
                closed_time=position.updated_time,
            )
            changes.append(TradeChange(TradeEvent.CLOSED, over))
            before = None
        if not size:
            return changes
        if before is None:
            side = position.side or ""
            fees = self._early.pop((key[0], side), _ZERO)
            opened_time = position.updated_time
            trade = CopyTrade(key[0], side, key[1], size, fees=fees, opened_time=opened_time)
            event = TradeEvent.OPENED
        elif size > before.open_qty:
            more = size - before.open_qty
            trade = replace(before, opened_qty=before.opened_qty + more)
            event = TradeEvent.INCREASED
        elif size < before.open_qty:
            trade = replace(before, closed_qty=before.opened_qty - size)
            event = TradeEvent.PARTLY_CLOSED
        else:
            self._open[key] = _told(before, position)
            return changes
        self._open[key] = trade = replace(_told(trade, position), entry_price=position.entry_price)
        changes.append(TradeChange(event, trade))
        return changes

    def _execution(self, execution: Execution) -> None:
        """Book a fee; v5 tells of which side an execution is, not of which position."""
        symbol, side, fee = execution.symbol or "", execution.side or "", execution.exec_fee
        closes = bool(execution.closed_size)
        if closes:
            side = _OPPOSITE.get(side, "")
        for key, trade in self._open.items():
            if (trade.symbol, trade.side) == (symbol, side):
                self._open[key] = replace(trade, fees=(trade.fees or _ZERO) + (fee or _ZERO))
                return
        if closes:  # what it closes came and went within a gap
            self._early.pop((symbol, side), None)
        elif execution.exec_type != _FUNDING:
            early = self._early.get((symbol, side), _ZERO)
            self._early[symbol, side] = early + (fee or _ZERO)


def _told(trade: CopyTrade, position: Position) -> CopyTrade:
    """Return a trade with the realised gain that the exchange tells of this holding."""
    return replace(trade, realised_pnl=position.cur_realised_pnl)
