"""When to ask for a snapshot again that does not come, or does not help. Pure."""

from __future__ import annotations

_FREE = 3  # questions that leave at once
_FIRST, _MOST = 1.0, 30.0  # seconds between two of the later ones, doubled each time
_CALM = 60.0  # seconds without a question after which the next one is a first one


class Repeats:
    """Paces questions: the first few leave at once, the later ones at growing intervals."""

    def __init__(self) -> None:
        self._count = 0
        self._last = -_CALM
        self._next = 0.0

    def again(self, now: float, after: float = _FIRST) -> bool:
        """Return whether to ask again, as no answer has come; that counts as asked.

        Args:
            now: monotonic seconds.
            after: seconds that an answer may take.
        """
        return now >= self._last + after and self.ask(now)

    def ask(self, now: float) -> bool:
        """Return whether to ask now, for a new reason; that counts as asked.

        Args:
            now: monotonic seconds.
        """
        if now >= self._last + _CALM:
            self._count = 0
        elif now < self._next:
            return False
        self._count += 1
        self._last = now
        waits = self._count - _FREE
        self._next = now if waits < 0 else now + min(_FIRST * 2.0 ** min(waits, 10), _MOST)
        return True
