"""One reading of the two clocks, which every rule takes as an argument."""

from __future__ import annotations

from typing import NamedTuple


class Instant(NamedTuple):
    """Now, by both clocks.

    Attributes:
        mono: monotonic seconds; all deadlines are counted by it.
        wall: seconds since the epoch; only for signatures and for times shown to the user.
    """

    mono: float
    wall: float
