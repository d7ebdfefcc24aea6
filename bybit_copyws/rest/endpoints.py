"""What an endpoint of the REST API is, and the parameters that both generations share.

Must not know how a call is signed, sent or read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bybit_copyws.errors import ConfigurationError


@dataclass(frozen=True)
class Budget:
    """How many calls the exchange allows one key.

    Attributes:
        name: calls with budgets of the same name share one.
        limit: calls.
        seconds: in any such time.
    """

    name: str
    limit: int
    seconds: float


@dataclass(frozen=True)
class Endpoint:
    """One row of the REST API.

    Attributes:
        method: ``GET`` reads, ``POST`` changes something.
        path: behind the base URL.
        params: parameters it takes, in snake_case.
        needs: those it cannot do without.
        one_of: at least one of these must be given.
        fixed: what is sent with every call unless it is given, by the wire's names.
        budget: the limit it counts for; ``None`` for a public endpoint, which is not signed.
        makes_order: whether it makes an order, which ``order_link_id`` makes recognisable.
    """

    method: str
    path: str
    params: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    budget: Budget | None = None
    makes_order: bool = False

    @property
    def name(self) -> str:
        """What errors call it."""
        return f"{self.method} {self.path}"

    @property
    def reads(self) -> bool:
        """Whether it changes nothing, so that calling it twice does no harm."""
        return self.method == "GET"


@dataclass(frozen=True)
class Dialect:
    """The REST API of one generation.

    Attributes:
        endpoints: by the name of the call.
        whole_as_text: whether whole numbers are sent as text.
    """

    endpoints: Mapping[str, Endpoint]
    whole_as_text: bool = False

    def endpoint(self, name: str) -> Endpoint:
        """Return the endpoint of a call.

        Raises:
            ConfigurationError: this generation has no such call.
        """
        try:
            return self.endpoints[name]
        except KeyError:
            raise ConfigurationError(
                f"this profile has no call {name!r}; it has {', '.join(self.endpoints)}"
            ) from None


ADDRESS_BUDGET = Budget("address", 300, 5.0)
"""All calls together; Bybit bans an address after 600 in 5 s, which others may share."""

# Parameters that go together, in snake_case.
PROTECTION = ("take_profit", "stop_loss", "tp_trigger_by", "sl_trigger_by")
ORDER = ("symbol", "side", "order_type", "qty", "price", "order_link_id", *PROTECTION)
ORDER_NEEDS = ("symbol", "side", "order_type", "qty")
IDS = ("order_id", "order_link_id")
PARENT = ("parent_order_id", "parent_order_link_id")
PAGE = ("limit", "cursor")
TIMES = ("start_time", "end_time")
LEVERAGE = ("symbol", "buy_leverage", "sell_leverage")
TRANSFER = ("transfer_id", "coin", "amount", "from_account_type", "to_account_type")
TRANSFERS = ("transfer_id", "coin", "status", *TIMES, *PAGE)
