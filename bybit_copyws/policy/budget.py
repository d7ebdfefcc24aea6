"""How many connections may be opened: a rule of the venue, which bans who breaks it.

Bybit allows 500 connections in 5 minutes ("Connect", WebSocket limits). The default keeps well
below, because other programs may share the address.

Pure: the caller passes the time. It knows nothing of files; ``stream.shared_budget`` adds one.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from bisect import bisect_right, insort

from bybit_copyws.errors import ConfigurationError

GRACE = 1.0
"""Seconds after its turn in which a waiting connection keeps its place in the queue."""
_MOST_WAITING = 1000  # names kept in a queue; who comes later is served without a place


class ConnectionBudget:
    """At most ``limit`` connections in any ``seconds`` to each host.

    Shared by all clients that are given the same object; a client that is given none uses the
    one of the process. Safe from any thread, and in a child of ``os.fork``, which goes on from a
    copy. A connection counts from the moment when the attempt begins, failed or not.

    Args:
        limit: connections.
        seconds: length of the sliding window.

    Raises:
        ConfigurationError: ``limit`` is no whole number above 0, or ``seconds`` none above 0.
    """

    def __init__(self, limit: int = 100, seconds: float = 300.0) -> None:
        if (
            not isinstance(limit, int)
            or not isinstance(seconds, (int, float))
            or limit < 1
            or not 0 < seconds < math.inf
        ):
            raise ConfigurationError(
                f"a connection budget needs limit >= 1 and seconds > 0, not {limit} and {seconds}"
            )
        self.limit = limit
        self.seconds = seconds
        # Guards all below; held only for the few steps of one call, no other lock is taken inside.
        self._lock = threading.Lock()
        self._kept = seconds  # how long a connection is remembered: the window, or longer
        self._taken: dict[str, list[float]] = {}  # by host, in order
        self._waiting: dict[str, dict[str, float]] = {}  # by host: name and turn, first come first
        _budgets.add(self)

    def take(self, host: str, now: float, who: str = "") -> float:
        """Take one connection from the budget, or tell how long to wait.

        Args:
            host: host and port; each has a budget of its own.
            now: monotonic seconds.
            who: a name of the connection, the same each time it asks and used by no other. It
                keeps a place in the queue: who asked first is served first, each is told its own
                turn, and none is passed by one that asks more often. Without a name there is no
                place, and the first to ask after a connection came free gets it.

        Returns:
            0.0 if the connection may be opened now (it is counted), else seconds to wait.
        """
        with self._lock:
            return self._take(host, now, who, self.limit)

    def headroom(self, host: str, now: float) -> float:
        """Return the part of a host's budget that is free, 0 to 1.

        Args:
            host: host and port.
            now: monotonic seconds.
        """
        with self._lock:
            return self._headroom(host, now, self.limit)

    def _take(self, host: str, now: float, who: str, limit: int) -> float:
        self._forget_old(now)
        queue = self._waiting.get(host, {})
        place = list(queue).index(who) if who in queue else len(queue)
        wait = self._wait(host, now, place, limit)
        if wait <= 0.0:
            queue.pop(who, None)
            insort(self._taken.setdefault(host, []), now)
            return 0.0
        if who and (who in queue or len(queue) < _MOST_WAITING):
            self._waiting.setdefault(host, {})[who] = now + wait
        return wait

    def _headroom(self, host: str, now: float, limit: int) -> float:
        self._forget_old(now)
        taken = self._taken.get(host, [])
        return max(0.0, 1.0 - (len(taken) - self._past(taken, now)) / limit)

    def _wait(self, host: str, now: float, place: int, limit: int) -> float:
        """Return the seconds until the turn of a place in the queue; the first is 0.

        Each connection comes free when its time is up. Those in front get the first ones; if
        there are more in front than connections, theirs must come free once more.
        """
        taken = self._taken.get(host, [])
        free = limit - (len(taken) - self._past(taken, now))
        rounds, nth = divmod(place, limit)
        # What is free is behind all that is past, so the index counts from the end of the list.
        wait = 0.0 if nth < free else taken[len(taken) - limit + nth] + self.seconds - now
        return wait + rounds * self.seconds

    def _past(self, taken: list[float], now: float) -> int:
        """Count the connections that are no longer inside the window."""
        # The same sum as for the wait: who has waited for it must find the connection free.
        return bisect_right(taken, now, key=lambda at: at + self.seconds)

    def _forget_old(self, now: float) -> None:
        """Drop what counts no longer, of all hosts, and who did not come when it was its turn."""
        for host, taken in list(self._taken.items()):
            del taken[: bisect_right(taken, now, key=lambda at: at + self._kept)]
            if not taken:
                del self._taken[host]
        for host, queue in list(self._waiting.items()):
            for who in [name for name, turn in queue.items() if turn + GRACE < now]:
                del queue[who]
            if not queue:
                del self._waiting[host]

    def renew_after_fork(self) -> None:
        """Let a forked child go on: no thread is left there that could release the lock."""
        self._lock = threading.Lock()
        self._waiting.clear()  # they wait in the parent


_budgets: weakref.WeakSet[ConnectionBudget] = weakref.WeakSet()


def _renew_all() -> None:
    for budget in list(_budgets):
        budget.renew_after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_renew_all)


PROCESS_BUDGET = ConnectionBudget()
"""What all clients of the process share unless they are given their own."""
