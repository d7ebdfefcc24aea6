"""The orders of an account, each followed from one status to the next.

It must not know where a row comes from: late ones are told by what they say. Rules: Bybit's pages
"Order" of v3 copy trading and of v5.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, cast

from bybit_copyws.errors import ProtocolError
from bybit_copyws.models import Order
from bybit_copyws.state.account_dialects import AccountDialect, Kind, Row
from bybit_copyws.state.remembered import Remembered

_MOST_DONE = 1_000  # orders that stay readable after their end
_MOST_IDS = 50_000  # ids of orders that can never come back

# v3's stream and REST each leave out what the other sends. What does not change, or not without
# the user's doing, is kept; what a fill changes only while nothing was filled.
_KEPT = (
    *("orderLinkId", "orderType", "positionIdx", "timeInForce", "createTime", "isIsolated"),
    *("leverage", "takeProfit", "stopLoss", "tpTriggerBy", "slTriggerBy", "category"),
)
_KEPT_UNFILLED = ("cumExecQty", "lastExecPrice")

# Before its first fill an order goes through these, often within one millisecond.
_EARLY = {"Created": 0, "PendingNew": 0, "Untriggered": 1, "Triggered": 2, "New": 3}


class _Held(NamedTuple):
    row: Row
    model: Order


class Orders:
    """Orders by their ``order_id``.

    Args:
        dialect: the words of the API generation.

    Attributes:
        open: those to which something may still happen: in v3, a copy trade's order until the
            trade is closed. Replaced as a whole at each change, never changed.
        done: the latest of the others, likewise.
    """

    def __init__(self, dialect: AccountDialect) -> None:
        self._dialect = dialect
        self._open: dict[str, _Held] = {}
        self._done: dict[str, _Held] = {}
        self._ended = Remembered(_MOST_IDS)
        self.open: Mapping[str, Order] = MappingProxyType({})
        self.done: Mapping[str, Order] = MappingProxyType({})

    def get(self, order_id: str) -> Order | None:
        """Return an order that is known, open or done."""
        held = self._open.get(order_id) or self._done.get(order_id)
        return None if held is None else held.model

    def apply(self, row: Row) -> Order | None:
        """Take one row.

        Returns:
            The order as it is now; ``None`` if the row is older than what is known.

        Raises:
            ProtocolError: it is not what the exchange documents.
        """
        order_id, new = read_order(self._dialect, row)
        ends = new.status in self._dialect.ended
        held = self._open.get(order_id) or self._done.get(order_id)
        if order_id in self._ended and not ends:
            return None
        if held is not None:
            if _is_late(new, held.model):
                return None
            row = _merged(row, new, held)
            _, new = read_order(self._dialect, row)
        if ends:
            self._end(order_id, _Held(row, new))
        else:
            self._open[order_id] = _Held(row, new)
            self._show_open()
        return new

    def forget(self, order_id: str) -> None:
        """Take out an open order of which REST knows nothing; a row of it would bring it back."""
        if self._open.pop(order_id, None) is not None:
            self._show_open()

    def _end(self, order_id: str, held: _Held) -> None:
        self._ended.add(order_id)
        if self._open.pop(order_id, None) is not None:
            self._show_open()
        self._done[order_id] = held
        if len(self._done) > _MOST_DONE:
            del self._done[next(iter(self._done))]
        self.done = MappingProxyType({k: each.model for k, each in self._done.items()})

    def _show_open(self) -> None:
        self.open = MappingProxyType({k: each.model for k, each in self._open.items()})


def read_order(dialect: AccountDialect, row: Row) -> tuple[str, Order]:
    """Return the id and the model of one row by itself.

    Raises:
        ProtocolError: it is not what the exchange documents.
    """
    model = cast(Order, dialect.parse(Kind.ORDER, row))
    if model.order_id is None or model.status is None:
        raise ProtocolError("order: a row has no orderId or status")
    return model.order_id, model


def _merged(row: Row, new: Order, held: _Held) -> Row:
    names: tuple[str, ...] = _KEPT
    if new.cum_exec_value == held.model.cum_exec_value:
        names += _KEPT_UNFILLED
    return {**{name: held.row[name] for name in names if name in held.row}, **row}


def _is_late(new: Order, held: Order) -> bool:
    """Return whether a row is older than what is held.

    Its time decides; within one millisecond what is filled, which never shrinks, and then the
    statuses before the first fill. Two rows that say the same are in the order of their coming.
    """
    if None not in (new.updated_time, held.updated_time) and new.updated_time != held.updated_time:
        return new.updated_time < held.updated_time  # type: ignore[operator]
    filled, known = new.cum_exec_value or 0, held.cum_exec_value or 0
    if filled != known:
        return filled < known
    if new.status in _EARLY and held.status in _EARLY:
        return _EARLY[new.status] < _EARLY[held.status]
    return False
