"""In which words the exchange speaks of an account: topics, keys and statuses, as frozen data.

One :class:`AccountDialect` per API generation, like the profiles of the wire. It must not know who
asks, nor what is done with the rows.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.fields import Model, json_array, json_object
from bybit_copyws.messages import Message
from bybit_copyws.models import parse_executions, parse_orders, parse_positions, parse_wallet

Row: TypeAlias = dict[str, Any]
"""One record of a topic, by the stream's keys; never changed."""


class Kind(enum.Enum):
    """What a row tells of; the value is what the REST calls and v5's topics are named after."""

    POSITION = "position"
    ORDER = "order"
    EXECUTION = "execution"
    WALLET = "wallet"


PARSERS: Mapping[Kind, Callable[[Message], tuple[Model, ...]]] = MappingProxyType(
    {
        Kind.POSITION: parse_positions,
        Kind.ORDER: parse_orders,
        Kind.EXECUTION: parse_executions,
        Kind.WALLET: parse_wallet,
    }
)
"""What makes the typed models of a topic's data."""

_LINEAR = "linear"


@dataclass(frozen=True)
class AccountDialect:
    """How one API generation speaks of an account.

    Attributes:
        topics: the wire's topic of each kind.
        ended: order statuses after which nothing happens to an order any more.
        renamed: REST's key to the stream's, where they differ.
        whole: REST's keys whose values are text there and whole numbers on the stream.
        bare: kinds whose ``data`` is one object and not an array.
        lookups: the calls that know an order by its id, the quicker one first.
        by_symbol: whether executions can only be asked for symbol by symbol.
        order_tells_trade: whether the status of an opening order follows its copy trade to the end.
    """

    topics: Mapping[Kind, str]
    ended: frozenset[str]
    renamed: Mapping[Kind, Mapping[str, str]] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()
    bare: frozenset[Kind] = frozenset()
    lookups: tuple[str, ...] = ("orders",)
    by_symbol: bool = False
    order_tells_trade: bool = False

    def kind_of(self, topic: str) -> Kind | None:
        """Return what a topic tells of; ``None`` if it is none of an account's.

        ``execution.fast`` is none: it repeats, with less in it, what ``execution`` sends.

        Args:
            topic: the wire's name or an alias, with or without the category ``linear``.
        """
        return _KINDS.get(topic.removesuffix(f".{_LINEAR}"))

    def from_rest(self, kind: Kind, row: Mapping[str, Any]) -> Row:
        """Return a row of a REST answer by the stream's keys."""
        names = self.renamed.get(kind, {})
        return {
            names.get(key, key): _whole(value) if key in self.whole else value
            for key, value in row.items()
        }

    def parse(self, kind: Kind, row: Row) -> Model:
        """Return the model of one row.

        Raises:
            ProtocolError: a value is not what the exchange documents.
        """
        topic = self.topics[kind]
        record = json_object(topic, "a row", row)
        data = record if kind in self.bare else [record]
        (model,) = PARSERS[kind](Message(topic, None, None, data, 0, b""))
        return model

    def rows_of(self, kind: Kind, data: Any) -> list[Any] | tuple[Any, ...]:
        """Return the rows of a message's ``data``, as sent.

        Raises:
            ProtocolError: it is neither an object nor an array.
        """
        return [data] if isinstance(data, dict) else json_array(self.topics[kind], "data", data)

    def data_of(self, kind: Kind, rows: Sequence[Row]) -> Any:
        """Return rows as the ``data`` of a message."""
        return rows[-1] if kind in self.bare else list(rows)


_KEYS = {
    Kind.POSITION: ("symbol", "positionIdx"),
    Kind.ORDER: ("orderId",),
    Kind.EXECUTION: ("execId",),
    Kind.WALLET: ("accountType",),
}


def name_of(kind: Kind, row: Row) -> tuple[str, ...]:
    """Return which position, order, execution or wallet a row tells of; never raises."""
    return (kind.value, *(str(row.get(key)) for key in _KEYS[kind]))


def is_foreign(row: Row) -> bool:
    """Return whether a row belongs to another market than USDT perpetuals.

    v5's bare topics carry those of every category.
    """
    return row.get("category") not in (None, "", _LINEAR)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


_V3_TOPICS = {
    Kind.POSITION: "copyTradePosition",
    Kind.ORDER: "copyTradeOrder",
    Kind.EXECUTION: "copyTradeExecution",
    Kind.WALLET: "copyTradeWallet",
}
_V5_TOPICS = {kind: kind.value for kind in Kind}
_KINDS = {
    topic: kind for topics in (_V3_TOPICS, _V5_TOPICS) for kind, topic in topics.items()
}  # each generation's names are aliases in the other

# Sources: Bybit's v3 copy-trading pages "Order", "Execution", "Position", "Wallet" (withdrawn in
# 2024), each in its WebSocket and its REST form; v5 pages "Position", "Order", "Execution",
# "Wallet" and "Enums Definitions".
ACCOUNT_DIALECTS: Mapping[str, AccountDialect] = MappingProxyType(
    {
        "v3": AccountDialect(
            topics=_V3_TOPICS,
            ended=frozenset({"OpenOrderClosedFilled", "CloseOrderFilled", "Cancelled"}),
            renamed={
                Kind.ORDER: {"createdTime": "createTime", "updatedTime": "updateTime"},
                Kind.EXECUTION: {"execTime": "tradeTime", "execPrice": "price"},
            },
            whole=frozenset({"createdTime", "updatedTime", "execTime"}),
            bare=frozenset({Kind.WALLET}),
            by_symbol=True,
            order_tells_trade=True,
        ),
        "v5": AccountDialect(
            topics=_V5_TOPICS,
            ended=frozenset(
                {"Filled", "Cancelled", "PartiallyFilledCanceled", "Rejected", "Deactivated"}
            ),
            renamed={
                Kind.POSITION: {"avgPrice": "entryPrice", "mmrSysUpdateTime": "mmrSysUpdatedTime"}
            },
            lookups=("orders", "order_history"),
        ),
    }
)
"""By the name of the profile."""


def find_account_dialect(profile: str) -> AccountDialect:
    """Return how the exchange speaks of an account in a profile.

    Raises:
        ConfigurationError: the profile is unknown.
    """
    try:
        return ACCOUNT_DIALECTS[profile]
    except KeyError:
        raise ConfigurationError(
            f"profile {profile!r} has no account here; {', '.join(ACCOUNT_DIALECTS)} have one"
        ) from None
