"""Whether private data can be trusted: the dead man's switch of a bot. Pure."""

from __future__ import annotations

from bybit_copyws.policy.instant import Instant


class Trust:
    """Counts for how long something could not be trusted.

    Args:
        limit: seconds after which that is told.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._doubted_since: float | None = None
        self._blind = False

    def look(self, doubt: float | None, now: Instant, *, for_ever: bool = False) -> float | None:
        """Take the present state; return for how long there was no trust, if that is to be told.

        Args:
            doubt: monotonic time since which there is a reason for doubt, or ``None``.
            now: the time.
            for_ever: whether it will never end, so that there is nothing to wait for.

        Returns:
            Seconds, once, when the limit is reached; -1.0 when trust is back after that; else
            ``None``.
        """
        if doubt is None:
            self._doubted_since = None
            was_blind, self._blind = self._blind, False
            return -1.0 if was_blind else None
        if self._doubted_since is None:
            self._doubted_since = doubt
        seconds = now.mono - self._doubted_since
        if self._blind or (seconds < self._limit and not for_ever):
            return None
        self._blind = True
        return seconds

    def deadline(self) -> float | None:
        """Return when to look next, in monotonic seconds; ``None`` if nothing is due."""
        if self._doubted_since is None or self._blind:
            return None
        return self._doubted_since + self._limit
