"""How many connections may be opened: a rule of the venue, which bans who breaks it.

Bybit allows 500 connections in 5 minutes ("Connect", WebSocket limits). The default keeps well
below, because other programs may share the address.
"""

from __future__ import annotations

import threading
from collections import deque

from bybit_copyws.errors import ConfigurationError


class ConnectionBudget:
    """At most ``limit`` connections in any ``seconds`` to each host.

    Shared by all clients that are given the same object; a client that is given none uses the
    one of the process. Safe from any thread.

    Args:
        limit: connections.
        seconds: length of the sliding window.

    Raises:
        ConfigurationError: a value is not positive.
    """

    def __init__(self, limit: int = 100, seconds: float = 300.0) -> None:
        if limit < 1 or not seconds > 0:
            raise ConfigurationError(
                f"a connection budget needs limit >= 1 and seconds > 0, not {limit} and {seconds}"
            )
        self.limit = limit
        self.seconds = seconds
        # Guards _taken; held only for the few steps of one call, no other lock is taken inside.
        self._lock = threading.Lock()
        self._taken: dict[str, deque[float]] = {}

    def take(self, host: str, now: float) -> float:
        """Take one connection from the budget, or tell how long to wait.

        Args:
            host: host and port; each has a budget of its own.
            now: monotonic seconds.

        Returns:
            0.0 if the connection may be opened now (it is counted), else seconds to wait.
        """
        with self._lock:
            taken = self._current(host, now)
            if len(taken) >= self.limit:
                return taken[0] + self.seconds - now
            taken.append(now)
            return 0.0

    def headroom(self, host: str, now: float) -> float:
        """Return the part of a host's budget that is free, 0 to 1."""
        with self._lock:
            return 1.0 - len(self._current(host, now)) / self.limit

    def _current(self, host: str, now: float) -> deque[float]:
        """Return the connections still inside the window; those of other hosts age out too."""
        for other in [name for name, times in self._taken.items() if self._aged(times, now)]:
            del self._taken[other]
        return self._taken.setdefault(host, deque())

    def _aged(self, taken: deque[float], now: float) -> bool:
        while taken and taken[0] + self.seconds <= now:
            taken.popleft()
        return not taken


PROCESS_BUDGET = ConnectionBudget()
"""What all clients of the process share unless they are given their own."""
