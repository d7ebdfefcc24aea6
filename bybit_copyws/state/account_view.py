"""What an account is at one moment, and one thing that changed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bybit_copyws.events import Status
from bybit_copyws.fields import Model
from bybit_copyws.messages import Message
from bybit_copyws.models import Execution, Order, Position, Wallet
from bybit_copyws.state.account_dialects import PARSERS, Kind
from bybit_copyws.state.positions import PositionKey

STREAM, SNAPSHOT, RECONCILE = "stream", "snapshot", "reconcile"


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account at one moment; it never changes.

    Attributes:
        status: whether the content can be trusted.
        reason: why not, in words; empty if it can.
        positions: the open ones, by symbol and ``position_idx``.
        orders: those to which something may still happen, by ``order_id``; in v3 an opening order
            stays here until its copy trade is closed.
        done_orders: the latest of the others, likewise.
        executions: the latest ones, in the order in which they were handed out.
        wallet: the balance; ``None`` before it is known. In v3 what only REST tells is of the last
            reconciliation.
    """

    status: Status
    reason: str
    positions: Mapping[PositionKey, Position]
    orders: Mapping[str, Order]
    done_orders: Mapping[str, Order]
    executions: tuple[Execution, ...]
    wallet: Wallet | None

    @property
    def live(self) -> bool:
        """Whether the content can be trusted."""
        return self.status is Status.LIVE

    def position(self, symbol: str, position_idx: int) -> Position | None:
        """Return one position; ``None`` if it is flat.

        Args:
            symbol: such as ``"BTCUSDT"``.
            position_idx: 1 for long, 2 for short; 0 in one-way mode.
        """
        return self.positions.get((symbol, position_idx))

    def order(self, order_id: str = "", *, order_link_id: str = "") -> Order | None:
        """Return one order, done or not, by the exchange's id or by the user's own."""
        for orders in (self.orders, self.done_orders):
            if order_id in orders:
                return orders[order_id]
            for order in orders.values() if order_link_id else ():
                if order.order_link_id == order_link_id:
                    return order
        return None


@dataclass(frozen=True, slots=True)
class Update:
    """What is to be handed to the callbacks of one topic.

    Attributes:
        kind: what it tells of.
        topic: the wire's name of the topic.
        source: ``"stream"``, ``"snapshot"`` (the first one) or ``"reconcile"``.
        data: the rows by the stream's keys, in the form of the topic's ``data``.
        models: what each row has made of the account: the merged position, order or wallet, or
            the execution.
        message: for what came by the stream, the message: as it came, or with those of its rows
            that are to be handed out.
    """

    kind: Kind
    topic: str
    source: str
    data: Any
    models: tuple[Model, ...]
    message: Message | None = None

    def as_message(self, received_ns: int) -> Message:
        """Return it as a callback gets it.

        Args:
            received_ns: wall clock in nanoseconds, for one that did not come by the stream.
        """
        if self.message is not None:
            return self.message
        return Message(
            self.topic,
            None,
            None,
            self.data,
            received_ns,
            b"",
            PARSERS[self.kind],
            source=self.source,
        )


_FACTS: Mapping[Kind, tuple[str, ...]] = {
    Kind.POSITION: (
        *("side", "size", "entry_price", "leverage", "position_margin", "is_isolated"),
        *("cum_realised_pnl", "take_profit", "stop_loss", "trailing_stop", "position_status"),
    ),
    Kind.ORDER: (
        *("status", "side", "price", "qty", "cum_exec_qty", "cum_exec_value", "cum_exec_fee"),
        *("take_profit", "stop_loss", "trigger_price"),
    ),
    Kind.WALLET: ("wallet_balance", "available_balance", "equity", "used_margin"),
}
"""What counts as a change: not what every tick of the market moves."""


def has_changed(kind: Kind, before: Model | None, after: Model) -> bool:
    """Return whether an answer of REST tells anything new.

    What an answer leaves out it does not tell; zero and nothing are the same.
    """
    if before is None:
        return True
    pairs = [(getattr(before, name), getattr(after, name)) for name in _FACTS[kind]]
    return any((old or 0) != (new or 0) for old, new in pairs if new is not None)
