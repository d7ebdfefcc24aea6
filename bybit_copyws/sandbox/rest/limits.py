"""Who has asked too often: rolling windows per key and group, and per address.

Knows no endpoint. Times never go back, unless the exchange's clock is set back: then what
lies in the future is forgotten.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from .rules import Limit, RestRules


@dataclass(frozen=True)
class Allowance:
    """What a window says to one request.

    Attributes:
        passed: Whether it may pass; only then it counts.
        limit: How many pass in the window.
        left: How many more pass now.
        reset_ms: When the next one passes; the present if this one did (Bybit: "Rate Limit").
    """

    passed: bool
    limit: int
    left: int
    reset_ms: int

    def headers(self) -> dict[str, str]:
        """Return the headers that Bybit sends with it."""
        return {
            "X-Bapi-Limit": str(self.limit),
            "X-Bapi-Limit-Status": str(self.left),
            "X-Bapi-Limit-Reset-Timestamp": str(self.reset_ms),
        }


class Window:
    """The times of the requests that passed in the last window."""

    def __init__(self) -> None:
        self._times: deque[int] = deque()

    def admit(self, limit: Limit, now_ms: int) -> Allowance:
        """Let a request pass and count it, or not."""
        times, length = self._times, limit.window_ms
        while times and times[0] <= now_ms - length:
            times.popleft()
        while times and times[-1] > now_ms:
            times.pop()
        if len(times) < limit.requests:
            times.append(now_ms)
            return Allowance(True, limit.requests, limit.requests - len(times), now_ms)
        # The limit may be zero, or have been lowered: then more than the oldest must leave first.
        last_to_leave = times[-limit.requests] if limit.requests else now_ms
        return Allowance(False, limit.requests, 0, last_to_leave + length)


class KeyLimits:
    """The windows of every key and group.

    Args:
        rules: May change at any time.
    """

    def __init__(self, rules: RestRules) -> None:
        self._rules = rules
        self._windows: dict[tuple[str, str], Window] = {}

    def admit(self, api_key: str, group: str, now_ms: int) -> Allowance | None:
        """Count a request of a key, or refuse it; ``None`` if its group has no limit."""
        limit = self._rules.limits.get(group)
        if limit is None:
            return None
        return self._windows.setdefault((api_key, group), Window()).admit(limit, now_ms)


class AddressGate:
    """The windows and bans of every address.

    Args:
        rules: May change at any time.
    """

    def __init__(self, rules: RestRules) -> None:
        self._rules = rules
        self._windows: dict[str, Window] = {}
        # From when until when; requests during a ban do not make it longer.
        self._bans: dict[str, tuple[int, int]] = {}

    def admits(self, address: str, now_ms: int) -> bool:
        """Count a request of an address, and return whether it is answered at all."""
        since, until = self._bans.get(address, (0, 0))
        if since <= now_ms < until:
            return False
        limit = self._rules.address_limit
        if limit is None:
            return True
        if self._windows.setdefault(address, Window()).admit(limit, now_ms).passed:
            return True
        self._bans[address] = (now_ms, now_ms + round(self._rules.ban_seconds * 1000))
        # Whoever has sat out the ban begins anew.
        del self._windows[address]
        return False
