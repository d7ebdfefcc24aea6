"""The internal state of the simulated account: frozen records, no rule and no wire format.

A change of state is a new record; whoever holds an old one (a queued push) has what was true then.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

ZERO = Decimal(0)

BUY = "Buy"
SELL = "Sell"


def opposite(side: str) -> str:
    """Return the other side."""
    return SELL if side == BUY else BUY


class Refused(Exception):
    """A command that the exchange answers with an error.

    Args:
        ret_code: The ``retCode`` of the reply.
        ret_msg: The ``retMsg`` of the reply.
    """

    def __init__(self, ret_code: int, ret_msg: str) -> None:
        super().__init__(f"{ret_msg} ({ret_code})")
        self.ret_code = ret_code
        self.ret_msg = ret_msg


class OrderStatus(str, Enum):
    """The v5 ``orderStatus``; ``CREATED`` is the moment before acceptance, which v5 never shows."""

    CREATED = "Created"
    NEW = "New"
    PARTIALLY_FILLED = "PartiallyFilled"
    FILLED = "Filled"
    CANCELLED = "Cancelled"
    PARTIALLY_FILLED_CANCELED = "PartiallyFilledCanceled"
    REJECTED = "Rejected"
    UNTRIGGERED = "Untriggered"
    TRIGGERED = "Triggered"
    DEACTIVATED = "Deactivated"


LIVE = frozenset(
    {
        OrderStatus.CREATED,
        OrderStatus.NEW,
        OrderStatus.PARTIALLY_FILLED,
        OrderStatus.UNTRIGGERED,
        OrderStatus.TRIGGERED,
    }
)
#: Orders that can be filled at once.
WORKING = frozenset({OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED})

# The statuses that opening and closing orders share.
_COPY_STATUS = {
    OrderStatus.CREATED: "PendingNew",
    OrderStatus.NEW: "New",
    OrderStatus.UNTRIGGERED: "Untriggered",
    OrderStatus.TRIGGERED: "Triggered",
    OrderStatus.CANCELLED: "Cancelled",
    OrderStatus.REJECTED: "Cancelled",
    OrderStatus.DEACTIVATED: "Cancelled",
}


@dataclass(frozen=True)
class Protection:
    """Take profit and stop loss of a copy-trade order or of a position; zero means none."""

    take_profit: Decimal = ZERO
    stop_loss: Decimal = ZERO
    tp_trigger_by: str = ""
    sl_trigger_by: str = ""

    def __bool__(self) -> bool:
        return bool(self.take_profit or self.stop_loss)


@dataclass(frozen=True)
class Order:
    """One order: opening (the parent of a copy trade) or closing.

    ``closed_qty`` and ``closing`` tell of a parent how much of it is closed, and whether a closing
    order is at work; ``piece_qty`` bounds each fill (zero: no bound).
    """

    order_id: str
    order_link_id: str
    symbol: str
    side: str
    position_idx: int
    order_type: str
    time_in_force: str
    price: Decimal
    qty: Decimal
    leverage: Decimal
    created_time: int
    updated_time: int
    status: OrderStatus = OrderStatus.CREATED
    reduce_only: bool = False
    parent_order_id: str = ""
    protection: Protection = Protection()
    tpsl_mode: str = "Partial"
    trigger_price: Decimal = ZERO
    trigger_by: str = ""
    trigger_direction: int = 0
    stop_order_type: str = ""
    create_type: str = "CreateByUser"
    cancel_type: str = "UNKNOWN"
    reject_reason: str = "EC_NoError"
    piece_qty: Decimal = ZERO
    cum_exec_qty: Decimal = ZERO
    cum_exec_value: Decimal = ZERO
    cum_exec_fee: Decimal = ZERO
    last_exec_price: Decimal = ZERO
    closed_pnl: Decimal = ZERO
    closed_qty: Decimal = ZERO
    closing: bool = False

    @property
    def opens(self) -> bool:
        """Whether the order adds to its position."""
        return (self.side == BUY) == (self.position_idx == 1)

    @property
    def live(self) -> bool:
        """Whether the order can still be filled or cancelled."""
        return self.status in LIVE

    @property
    def leaves_qty(self) -> Decimal:
        """What can still be filled; zero once the order is done."""
        return self.qty - self.cum_exec_qty if self.live else ZERO

    @property
    def avg_price(self) -> Decimal:
        """The average price of the executions so far, or zero."""
        return self.cum_exec_value / self.cum_exec_qty if self.cum_exec_qty else ZERO

    @property
    def open_qty(self) -> Decimal:
        """What of an opening order is filled and not closed again."""
        return self.cum_exec_qty - self.closed_qty if self.opens else ZERO

    @property
    def copy_status(self) -> str:
        """The ``copyTradeOrderStatus`` of v3."""
        common = _COPY_STATUS.get(self.status)
        if common is not None:
            return common
        if not self.opens:
            return _closing_copy_status(self.status)
        if self.status is OrderStatus.PARTIALLY_FILLED:
            return "OpenOrderPartiallyFilled"
        # v3 has no word for "partly filled, rest cancelled": the filled part is an opened trade.
        if self.closed_qty == self.cum_exec_qty:
            return "OpenOrderClosedFilled"
        return "OpenOrderClosing" if self.closing else "OpenOrderFilled"


def _closing_copy_status(status: OrderStatus) -> str:
    if status is OrderStatus.PARTIALLY_FILLED:
        return "CloseOrderPartiallyFilled"
    return "CloseOrderFilled" if status is OrderStatus.FILLED else "Cancelled"


@dataclass(frozen=True)
class Execution:
    """One fill, liquidation or funding payment; a fee below zero was got, not paid."""

    sequence: int
    exec_id: str
    exec_type: str
    order_id: str
    order_link_id: str
    symbol: str
    side: str
    position_idx: int
    order_type: str
    order_price: Decimal
    order_qty: Decimal
    exec_price: Decimal
    exec_qty: Decimal
    exec_fee: Decimal
    fee_rate: Decimal
    is_maker: bool
    leaves_qty: Decimal
    closed_size: Decimal
    exec_pnl: Decimal
    mark_price: Decimal
    stop_order_type: str
    create_type: str
    exec_time: int

    @property
    def exec_value(self) -> Decimal:
        """Price times size."""
        return self.exec_price * self.exec_qty


@dataclass(frozen=True)
class Position:
    """One side of a symbol in hedge mode (``position_idx`` 1 is Buy, 2 is Sell), isolated margin.

    ``taker_fee``, ``maintenance_rate`` and ``tick_size`` are the instrument's, kept here so that
    every figure follows from the record alone.
    """

    symbol: str
    position_idx: int
    leverage: Decimal
    taker_fee: Decimal
    maintenance_rate: Decimal
    tick_size: Decimal
    mark_price: Decimal
    created_time: int
    updated_time: int
    size: Decimal = ZERO
    entry_price: Decimal = ZERO
    order_margin: Decimal = ZERO
    free_qty: Decimal = ZERO
    cum_realised_pnl: Decimal = ZERO
    cur_realised_pnl: Decimal = ZERO
    protection: Protection = Protection()
    status: str = "Normal"
    sequence: int = 0

    @property
    def side(self) -> str:
        """The side that opens the position."""
        return BUY if self.position_idx == 1 else SELL

    @property
    def direction(self) -> int:
        """``1`` if the position gains when the price rises, else ``-1``."""
        return 1 if self.position_idx == 1 else -1


@dataclass(frozen=True)
class Wallet:
    """The USDT wallet of the account."""

    wallet_balance: Decimal
    position_margin: Decimal
    order_margin: Decimal
    maintenance_margin: Decimal
    unrealised_pnl: Decimal
    realised_pnl: Decimal
    cum_realised_pnl: Decimal

    @property
    def used_margin(self) -> Decimal:
        """What positions and resting orders hold."""
        return self.position_margin + self.order_margin

    @property
    def available_balance(self) -> Decimal:
        """What can be used; zero where slippage or funding has eaten into the margins."""
        return max(ZERO, self.wallet_balance - self.used_margin)

    @property
    def equity(self) -> Decimal:
        """Balance plus what the open positions have gained or lost."""
        return self.wallet_balance + self.unrealised_pnl


@dataclass(frozen=True)
class Transfer:
    """One transfer to or from the account."""

    transfer_id: str
    coin: str
    amount: Decimal
    from_account: str
    to_account: str
    timestamp: int


@dataclass(frozen=True)
class Change:
    """One thing to push: ``kind`` is ``order``, ``execution``, ``position`` or ``wallet``.

    ``only`` names the one profile that shows it; empty means both do. ``sequence`` counts changes.
    """

    sequence: int
    kind: str
    state: Order | Execution | Position | Wallet
    only: str = ""
