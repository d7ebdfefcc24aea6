"""When to ask for a snapshot again that does not come, or does not help. Pure."""

from __future__ import annotations

_FIRST, _MOST = 1.0, 30.0  # seconds between two questions, doubled each time
_CALM = 60.0  # seconds without a question after which the next one is a first one


class Repeats:
    """Paces questions: the first leaves at once, then at growing intervals."""

    def __init__(self) -> None:
        self._next = 0.0
        self._wait = _FIRST

    def ask(self, now: float) -> bool:
        """Return whether to ask now; that counts as asked.

        Args:
            now: monotonic seconds.
        """
        if now < self._next:
            return False
        if now >= self._next + _CALM:
            self._wait = _FIRST
        self._next = now + self._wait
        self._wait = min(2 * self._wait, _MOST)
        return True
