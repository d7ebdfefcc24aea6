"""What only REST tells: transfers, as immutable models, and the time. Pure.

Contracts are in :mod:`bybit_copyws.state.instruments`; all else has the models of the streams, see
:mod:`bybit_copyws.models`.
"""

# Without "from __future__ import annotations": the field tables are built from the evaluated
# annotations.

from decimal import Decimal
from typing import Any

from bybit_copyws.errors import ProtocolError
from bybit_copyws.fields import Model, field_table, json_object, parse_record, shortened


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


_TRANSFER = field_table(Transfer)


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
