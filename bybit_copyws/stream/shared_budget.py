"""A connection budget that all processes of a machine share, through a file.

**What is in the file.** The times of the connections, for each host, in two copies: a writer
replaces the older one and leaves the other whole, so that one that is killed on the way loses
nothing but the connection that it did not open. A reader takes the times of both and of its own
memory together, because a time is never taken back, it only grows old. So a file that somebody
deleted is whole again as soon as each process has asked once.

**Which clock.** The monotonic one: Python documents it as one for the whole system, and nobody can
set it. It starts anew with the machine, and that errs on the safe side. A time from before is older
than the machine is up; if it is behind what the clock says now, it looks younger than that, and
if it is ahead, it counts as now. The wall clock would need a guard against jumps, which could only
be a monotonic clock.

**What is not done.** No sync to the disk: what was written outlives the process, and what a power
cut may lose is not worth a disk access for each connection.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.policy.budget import ConnectionBudget
from bybit_copyws.stream.budget_file import BudgetFile, Notes, OpenedFile
from bybit_copyws.stream.log import GuardedLogger

_log = GuardedLogger(__name__)

ALONE = 5.0
"""Seconds for which a process does not try a file again that it could not use."""
MOST_LIMIT = 1_000
"""So that the file stays small; the venue allows 500."""
MOST_SECONDS = 86_400.0
_AHEAD = 1.0  # seconds by which a time may be ahead of ours and still be of this machine's clock


class SharedConnectionBudget(ConnectionBudget):
    """At most ``limit`` connections in any ``seconds`` to each host, from all processes together.

    Give every program of the machine one with the same path, limit and seconds::

        budget = SharedConnectionBudget("~/.bybit-copyws-budget")
        client = CopyTradingClient(api_key, api_secret, connection_budget=budget)

    The file is made if it is not there, readable for its owner only; all programs run as one user.
    It may be deleted at any time. Programs with other values each keep their own ones over the
    connections of all. Among the connections of one process, who asked first is served first;
    between processes chance decides.

    A process that cannot use the file (a stuck one holds its lock, the disk is full) waits for it
    no longer than a quarter of a second. Then it logs a warning and counts alone, with half of the
    limit and what it knew of the others; every 5 s it tries again. If both copies in the file are
    damaged, all of the budget counts as spent. Safe from any thread, and in a child of ``os.fork``.

    Not for several machines: their clocks differ, so the file must not be on a network disk, and
    containers that share it need one time namespace. Windows was not tried.

    Args:
        path: of the file; ``~`` is the home directory.
        limit: connections, at most :data:`MOST_LIMIT`.
        seconds: length of the sliding window, at most a day.

    Raises:
        ConfigurationError: a value is out of range, or the path cannot be used: its directory does
            not exist, it is a link, it belongs to another user, it holds something else...
    """

    def __init__(
        self, path: str | os.PathLike[str], limit: int = 100, seconds: float = 300.0
    ) -> None:
        self._file = BudgetFile(path)
        super().__init__(limit, seconds)
        if limit > MOST_LIMIT or seconds > MOST_SECONDS:
            raise ConfigurationError(
                f"a shared connection budget needs limit <= {MOST_LIMIT} and seconds <= "
                f"{MOST_SECONDS:.0f}, not {limit} and {seconds}"
            )
        self._file.check()
        self._spent_at: float | None = None
        self._alone_until: float | None = None

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    def take(self, host: str, now: float, who: str = "") -> float:
        """Take one connection, or tell how long to wait; see :meth:`ConnectionBudget.take`.

        Waits for the lock of the file a quarter of a second at most.
        """
        return self._with_file(now, lambda limit: self._take(host, now, who, limit))

    def headroom(self, host: str, now: float) -> float:
        """Return the part of a host's budget that is free, 0 to 1.

        Waits for the lock of the file a quarter of a second at most.
        """
        return self._with_file(now, lambda limit: self._headroom(host, now, limit))

    def renew_after_fork(self) -> None:
        """Let a forked child go on, and leave the lock of the file to the parent."""
        super().renew_after_fork()
        self._file.leave_to_parent()

    def _take(self, host: str, now: float, who: str, limit: int) -> float:
        return self._spent_for(now) or super()._take(host, now, who, limit)

    def _headroom(self, host: str, now: float, limit: int) -> float:
        return 0.0 if self._spent_for(now) else super()._headroom(host, now, limit)

    def _spent_for(self, now: float) -> float:
        """Return the seconds until what a damaged file may have held is over."""
        return 0.0 if self._spent_at is None else max(0.0, self._spent_at + self.seconds - now)

    def _with_file(self, now: float, step: Callable[[int], float]) -> float:
        """Do a step on what all processes took, or else on what this one knows of it."""
        trouble: Exception | None = None
        damaged = False
        with self._lock:
            was_alone = self._alone_until is not None
            half = max(1, self.limit // 2)  # two processes that do not see each other keep within
            if self._alone_until is not None and now < self._alone_until:
                return step(half)
            try:
                with self._file.locked() as opened:
                    damaged = self._learn_from(opened, now)
                    result = step(self.limit)
                    trouble = self._share(opened)
            except (OSError, ConfigurationError) as error:
                trouble = error
                result = step(half)
            self._alone_until = None if trouble is None else now + ALONE
        # Here, because a handler of the log is code of the user.
        if damaged:
            text = "! the connection budget in %s was damaged: it counts as spent for %g s"
            _log.warning(text, self.path, self.seconds)
        if trouble is not None and not was_alone:
            text = (
                "! the connection budget in %s is not shared: %s; this process keeps to half of it"
            )
            _log.warning(text, self.path, trouble)
        elif trouble is None and was_alone:
            _log.info("= the connection budget in %s is shared again", self.path)
        return result

    def _learn_from(self, opened: OpenedFile, now: float) -> bool:
        """Take in what all processes wrote; return whether it was damaged."""
        copies, damaged = opened.read(self._kept)
        for notes in copies:
            self._learn(notes)
        if damaged:
            self._spent_at = now
        if self._pull_back(now):
            opened.distrust()
        return damaged

    def _share(self, opened: OpenedFile) -> OSError | None:
        """Write what the file does not say yet; return what went wrong."""
        notes = Notes(self._kept, self._spent_at, self._taken)
        if notes == opened.newest:
            return None
        try:
            opened.write(notes)
        except OSError as error:
            return error  # what was taken counts here, and is told with the next write
        return None

    def _learn(self, notes: Notes) -> None:
        """Take in what others wrote; the same times are the same connections."""
        self._kept = max(self._kept, min(notes.kept, MOST_SECONDS))
        if notes.spent_at is not None:
            self._spent_at = max(notes.spent_at, self._spent_at or 0.0)
        for host, times in notes.taken.items():
            known = self._taken.get(host, [])
            if times != known:
                self._taken[host] = sorted((Counter(known) | Counter(times)).elements())

    def _pull_back(self, now: float) -> bool:
        """Let what is ahead of the clock count as now; return whether there was something.

        It is from before the machine was started, or somebody's joke that would never grow old.
        """
        pulled = False
        if self._spent_at is not None and self._spent_at > now + _AHEAD:
            self._spent_at, pulled = now, True
        for host, times in self._taken.items():
            known = bisect_right(times, now + _AHEAD)
            if known < len(times):
                self._taken[host] = sorted(min(at, now) for at in times)
                pulled = True
        return pulled
