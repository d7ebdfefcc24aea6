"""What only REST tells: contracts and transfers, as immutable models. Pure.

All else has the models of the streams, see :mod:`bybit_copyws.models`.
"""

# Without "from __future__ import annotations": the field tables are built from the evaluated
# annotations.

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from bybit_copyws.errors import ProtocolError
from bybit_copyws.fields import Model, field_table, json_object, parse_record, shortened

_FILTERS = ("leverageFilter", "priceFilter", "lotSizeFilter")


class Instrument(Model, frozen=True):
    """A contract and its rules; ``copy_trading`` is v5's only, where v3 lists no others.

    ``funding_interval`` is in minutes, times are in milliseconds.
    """

    symbol: str | None = None
    base_coin: str | None = None
    quote_coin: str | None = None
    settle_coin: str | None = None
    status: str | None = None
    contract_type: str | None = None
    copy_trading: str | None = None
    launch_time: int | None = None
    price_scale: int | None = None
    tick_size: Decimal | None = None
    min_price: Decimal | None = None
    max_price: Decimal | None = None
    qty_step: Decimal | None = None
    min_order_qty: Decimal | None = None
    max_order_qty: Decimal | None = None
    max_mkt_order_qty: Decimal | None = None
    min_notional_value: Decimal | None = None
    min_leverage: Decimal | None = None
    max_leverage: Decimal | None = None
    leverage_step: Decimal | None = None
    taker_fee: Decimal | None = None
    maker_fee: Decimal | None = None
    funding_interval: int | None = None


class Transfer(Model, frozen=True):
    """A transfer between two accounts of the user; its time is in milliseconds."""

    transfer_id: str | None = None
    coin: str | None = None
    amount: Decimal | None = None
    from_account_type: str | None = None
    to_account_type: str | None = None
    timestamp: int | None = None
    status: str | None = None
    copy_trade_type: int | None = None


_INSTRUMENT = field_table(
    Instrument, base_coin=("baseCoin", "baseCurrency"), quote_coin=("quoteCoin", "quoteCurrency")
)
_TRANSFER = field_table(Transfer)


def parse_instrument(record: Any) -> Instrument:
    """Make a model of a row; its filters are laid flat.

    Raises:
        ProtocolError: the row is not what is documented.
    """
    flat = dict(json_object("instruments", "Instrument", record))
    for name in _filters_of(flat):
        flat |= json_object("instruments", f"Instrument.{name}", flat.pop(name))
    return parse_record("instruments", Instrument, _INSTRUMENT, flat)


def _filters_of(row: dict[str, Any]) -> Iterable[str]:
    return [name for name in _FILTERS if row.get(name) is not None]


def parse_transfer(record: Any) -> Transfer:
    """Make a model of a row.

    Raises:
        ProtocolError: the row is not what is documented.
    """
    return parse_record("transfers", Transfer, _TRANSFER, record)


def server_time_ms(result: Any) -> float:
    """Read the answer to the question for the time.

    Raises:
        ProtocolError: it has none.
    """
    answer = json_object("server_time", "the result", result)
    try:
        if "timeNano" in answer:
            return int(answer["timeNano"]) / 1e6
        return int(answer["timeSecond"]) * 1000.0
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ProtocolError(f"server_time: there is no time in {shortened(answer)}") from None
