"""How many calls may be made: buckets of tokens that obey the headers of the exchange. Pure.

A bucket that refills evenly lets through nearly twice its limit in one window, and the exchange
counts by rolling windows. So here each token comes back by itself, a window after the reply to
its call: by then the exchange has forgotten the call, however long it was under way.
"""

from __future__ import annotations

from collections import deque

from bybit_copyws.rest.endpoints import Budget

_IN_FLIGHT = 0.05  # seconds between two looks while all tokens are out with calls under way


class Bucket:
    """The tokens of one budget. Not safe for threads: its owner has a lock.

    Times are monotonic seconds.

    Args:
        budget: how many tokens there are, and for how long a used one stays away.
    """

    def __init__(self, budget: Budget) -> None:
        self.limit = budget.limit
        self.seconds = budget.seconds
        self._used: deque[float] = deque()
        self._in_flight = 0
        self._held_until = float("-inf")

    def free(self, now: float) -> int:
        """Return how many tokens are there."""
        while self._used and self._used[0] + self.seconds <= now:
            self._used.popleft()
        return self.limit - len(self._used) - self._in_flight

    def wait(self, now: float) -> float:
        """Return the seconds until there is a token; 0.0 if there is one now."""
        if self._held_until > now:
            return self._held_until - now
        missing = 1 - self.free(now)
        if missing <= 0:
            return 0.0
        if missing > len(self._used):
            return _IN_FLIGHT
        return self._used[missing - 1] + self.seconds - now

    def take(self) -> None:
        """Take a token for a call that begins now; ask :meth:`wait` before."""
        self._in_flight += 1

    def settle(self, now: float, *, limit: int | None = None, left: int | None = None) -> None:
        """Count a call that has ended.

        Args:
            now: when.
            limit: how many calls the exchange said that it allows.
            left: how many more it said would pass. Others may use the same key: when they used
                what is missing is not known, so it comes back evenly.
        """
        self._in_flight -= 1
        self._used.append(now)
        if limit is not None and limit > 0:
            self.limit = limit
        missing = 0 if left is None else self.free(now) - max(left, 0)
        if missing > 0:
            pace = self.seconds / (missing + 1)
            others = [now - pace * (place + 1) for place in range(missing)]
            self._used = deque(sorted([*self._used, *others]))

    def hold(self, until: float) -> None:
        """Give out no token before a time."""
        self._held_until = max(self._held_until, until)
