"""When a list is asked for: at first use, from time to time, and sooner after a failure. Pure.

::

    IDLE ──want──> DUE ──ask──> ASKING ──got──> FRESH ──ask──> ASKING
                                   └──failed──> LATE ──ask──> ASKING
    any of them ──end──> ENDED

Whatever happens, an old list stays in use; that is the business of whoever holds it.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Mapping

from bybit_copyws.policy.backoff import Backoff

RETRIES = Backoff(base=1.0, cap=60.0)
"""Waits after failures, each of which has had the retries of its REST call behind it."""


class Phase(enum.Enum):
    """Where a list is in its life."""

    IDLE = "idle"  # nobody needs it
    DUE = "due"
    ASKING = "asking"
    FRESH = "fresh"
    LATE = "late"  # the last try failed
    ENDED = "ended"


class Move(enum.Enum):
    """What can happen to it."""

    WANT = "want"
    ASK = "ask"
    GOT = "got"
    FAILED = "failed"
    END = "end"


MOVES: Mapping[Phase, Mapping[Move, Phase]] = {
    Phase.IDLE: {Move.WANT: Phase.DUE, Move.END: Phase.ENDED},
    Phase.DUE: {Move.WANT: Phase.DUE, Move.ASK: Phase.ASKING, Move.END: Phase.ENDED},
    Phase.ASKING: {
        Move.WANT: Phase.ASKING,
        Move.GOT: Phase.FRESH,
        Move.FAILED: Phase.LATE,
        Move.END: Phase.ENDED,
    },
    Phase.FRESH: {Move.WANT: Phase.FRESH, Move.ASK: Phase.ASKING, Move.END: Phase.ENDED},
    Phase.LATE: {Move.WANT: Phase.LATE, Move.ASK: Phase.ASKING, Move.END: Phase.ENDED},
    # The answer to a question may come after the end.
    Phase.ENDED: dict.fromkeys(Move, Phase.ENDED),
}


class Refresh:
    """The timing of one list. Not safe for threads: its owner has a lock.

    Args:
        every: seconds between two times that a list is asked for.
        rng: source of the jitter after failures.
        retries: waits after failures; never longer than ``every``.

    Attributes:
        phase: where it is.
        trouble: why the last try failed, in words; ``None`` if it did not.
    """

    def __init__(self, every: float, rng: random.Random, retries: Backoff = RETRIES) -> None:
        self.phase = Phase.IDLE
        self.trouble: str | None = None
        self._every = every
        self._rng = rng
        self._retries = retries
        self._failures = 0
        self._next = 0.0  # monotonic time of the next question, where one is planned

    def want(self) -> None:
        """Note that somebody needs the list, and from now on its changes too."""
        self._move(Move.WANT)

    def ask(self) -> None:
        """Note that the list, which somebody needs, is being asked for, whoever does it."""
        self._move(Move.ASK)

    def got(self, now: float) -> None:
        """Note that it came, at a monotonic time."""
        self._move(Move.GOT)
        self.trouble = None
        self._failures = 0
        self._next = now + self._every

    def failed(self, reason: str, now: float) -> bool:
        """Note that it did not come, at a monotonic time.

        Returns:
            Whether this is the first failure in a row, and so worth telling; not after the end.
        """
        self._move(Move.FAILED)
        self.trouble = reason
        self._failures += 1
        # No headroom: that is for links that were good, and a failed question never was.
        delay = self._retries.delay(self._failures, 0.0, self._rng)
        self._next = now + min(self._every, delay)
        return self._failures == 1 and self.phase is Phase.LATE

    def end(self) -> None:
        """Note that nothing is asked for any more."""
        self._move(Move.END)

    def wait(self, now: float) -> float | None:
        """Return seconds until the list has to be asked for, at a monotonic time.

        Returns:
            0 for now; ``None`` if nothing is planned: nobody needs it, it is being asked for, or
            all has ended.
        """
        if self.phase is Phase.DUE:
            return 0.0
        if self.phase in (Phase.FRESH, Phase.LATE):
            return max(0.0, self._next - now)
        return None

    def _move(self, move: Move) -> None:
        self.phase = MOVES[self.phase][move]
