"""Which calls may be made now: the buckets of all budgets, and the ban of the address. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from bybit_copyws.rest.buckets import Bucket
from bybit_copyws.rest.endpoints import ADDRESS_BUDGET, Endpoint
from bybit_copyws.rest.replies import Reply
from bybit_copyws.rest.retries import Failure, Kind

BAN = 1800.0
"""Seconds for which an address is refused; Bybit: "Rate Limit"."""

_ADDRESS_PAUSE = 5.0  # seconds after which the calls of an address are counted anew
_LONGEST_HOLD = 60.0  # seconds; the longest window of a budget
_TOO_MANY_VISITS = 10006


class Limits:
    """What one client may send. Not safe for threads: its owner has a lock.

    Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._banned_until = float("-inf")
        self._address = Bucket(ADDRESS_BUDGET)
        self._buckets: dict[str, Bucket] = {}

    def banned(self, now: float) -> float:
        """Return for how many seconds the address is refused; 0.0 if it is not."""
        return max(0.0, self._banned_until - now)

    def wait(self, endpoint: Endpoint, now: float) -> float:
        """Return the seconds until a call may be made; 0.0 if it may now."""
        return max(bucket.wait(now) for bucket in self._of(endpoint))

    def take(self, endpoint: Endpoint) -> None:
        """Count a call that begins now."""
        for bucket in self._of(endpoint):
            bucket.take()

    def settle(self, endpoint: Endpoint, reply: Reply | None, now: float) -> None:
        """Count a call that has ended, and heed what its headers say.

        Args:
            endpoint: of the call.
            reply: what came, if anything.
            now: when.
        """
        self._address.settle(now)
        if endpoint.budget is not None:
            limit = left = None
            if reply is not None:
                limit, left = reply.number("x-bapi-limit"), reply.number("x-bapi-limit-status")
            self._bucket(endpoint).settle(now, limit=limit, left=left)

    def heed(self, endpoint: Endpoint, failure: Failure, now: float, server_ms: int | None) -> None:
        """Let other calls keep back for what one was refused for.

        Args:
            endpoint: of the call.
            failure: why it was refused.
            now: when.
            server_ms: the exchange's time, if it is known.
        """
        wait = failure.retry_after
        if failure.kind is Kind.BANNED:
            self._banned_until = now + (wait or BAN)
        if failure.kind is not Kind.LIMITED:
            return
        if wait is None and failure.reset_ms is not None and server_ms is not None:
            wait = min(max((failure.reset_ms - server_ms) / 1000.0, 0.0), _LONGEST_HOLD)
        if failure.ret_code == _TOO_MANY_VISITS and endpoint.budget is not None:
            # Without a hint: the time after which one more call passes on average.
            average = endpoint.budget.seconds / endpoint.budget.limit
            self._bucket(endpoint).hold(now + (wait or average))
        else:
            self._address.hold(now + (_ADDRESS_PAUSE if wait is None else wait))

    def _of(self, endpoint: Endpoint) -> Iterable[Bucket]:
        own = () if endpoint.budget is None else (self._bucket(endpoint),)
        return (self._address, *own)

    def _bucket(self, endpoint: Endpoint) -> Bucket:
        budget = endpoint.budget
        if budget is None:
            return self._address
        return self._buckets.setdefault(budget.name, Bucket(budget))
