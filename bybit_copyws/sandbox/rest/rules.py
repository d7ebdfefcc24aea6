"""What a test may change about the REST side while it runs: limits, bans, forced replies.

Knows no endpoint but by its path or the name of its limit group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bybit_copyws.errors import ConfigurationError

from .messages import Reply, Request, json_reply, text_reply


@dataclass(frozen=True)
class Limit:
    """How many requests pass in any window of some length.

    Args:
        requests: How many.
        seconds: The length of the window.

    Raises:
        ConfigurationError: No such limit can be kept.
    """

    requests: int
    seconds: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if self.requests < 0 or not 0.001 <= self.seconds < float("inf"):
            raise ConfigurationError(f"no such limit: {self.requests} in {self.seconds} seconds")

    @property
    def window_ms(self) -> int:
        """The length of the window in milliseconds."""
        return round(self.seconds * 1000)


@dataclass
class ForcedReply:
    """What a request gets instead of its own reply.

    Args:
        path: Of which endpoint; ``None`` for any path.
        times: How many requests; ``None`` for all from now on.
        method: Of which method; ``None`` for any.
        status: The HTTP status.
        ret_code: The ``retCode`` of an envelope; ``None`` sends ``body`` instead.
        ret_msg: The ``retMsg`` of the envelope.
        body: Text that is no envelope.
        headers: More headers, such as ``Retry-After``.
        executed: Whether the request is carried out all the same, so that only its reply is lost.

    Raises:
        ConfigurationError: The status is none with which a reply ends, or it is for no request.
    """

    path: str | None
    times: int | None = 1
    method: str | None = None
    status: int = 200
    ret_code: int | None = None
    ret_msg: str = ""
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    executed: bool = False

    def __post_init__(self) -> None:
        """Refuse what no server answers."""
        if not 200 <= self.status <= 599:
            raise ConfigurationError(f"status must be one of HTTP, not {self.status!r}")
        if self.times is not None and self.times < 1:
            raise ConfigurationError(f"times must be at least 1 or None, not {self.times!r}")

    def fits(self, request: Request) -> bool:
        """Return whether it is meant for a request."""
        return self.path in (None, request.path) and self.method in (None, request.method)

    def reply(self, now_ms: int) -> Reply:
        """Return what is sent."""
        if self.ret_code is None:
            return text_reply(self.status, self.body, self.headers)
        return json_reply(
            self.ret_code, self.ret_msg, {}, now_ms, status=self.status, headers=self.headers
        )


# v3: what protocol and pages state per minute, executions as the position group.
# v5: Bybit's table for futures of a unified account, per second; per minute for transfers.
_BUDGETS = {
    Limit(75): ("v3 position", "v3 execution"),
    Limit(100): ("v3 order",),
    Limit(120): ("v3 wallet",),
    Limit(10, 1.0): (
        "/v5/order/create",
        "/v5/order/cancel",
        "/v5/position/set-leverage",
        "/v5/position/switch-mode",
        "/v5/position/trading-stop",
    ),
    Limit(50, 1.0): (
        "/v5/order/realtime",
        "/v5/order/history",
        "/v5/execution/list",
        "/v5/position/list",
        "/v5/account/wallet-balance",
        "/v5/account/info",
    ),
    Limit(60): (
        "/v5/asset/transfer/inter-transfer",
        "/v5/asset/transfer/query-inter-transfer-list",
    ),
}


def default_limits() -> dict[str, Limit | None]:
    """Return Bybit's limit of every group, fresh: a test may change it."""
    return {group: limit for limit, groups in _BUDGETS.items() for group in groups}


@dataclass
class RestRules:
    """What a test may change while the exchange runs.

    Attributes:
        limits: Per key and group (see the endpoints' table); ``None`` or no entry is no limit.
        address_limit: Requests of one address, whatever they ask for; above, the address is
            banned. Bybit states 600 in 5 seconds; by the minute, the bursts of a fast test pass.
        ban_seconds: How long every request of a banned address gets HTTP 403.
        forced: Replies that come before all else, the first that fits.
    """

    limits: dict[str, Limit | None] = field(default_factory=default_limits)
    address_limit: Limit | None = field(default_factory=lambda: Limit(7200, 60.0))
    ban_seconds: float = 1800.0
    forced: list[ForcedReply] = field(default_factory=list)

    def take_forced(self, request: Request) -> ForcedReply | None:
        """Return what is forced on a request, if anything, and count it."""
        for forced in self.forced:
            if forced.fits(request):
                if forced.times is not None:
                    forced.times -= 1
                    if forced.times <= 0:
                        self.forced.remove(forced)
                return forced
        return None
