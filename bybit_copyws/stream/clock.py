"""The clocks of the machine, in one place that a test can replace."""

from __future__ import annotations

import time

from bybit_copyws.policy.instant import Instant


class Clock:
    """Reads the monotonic and the wall clock."""

    def now(self) -> Instant:
        """Return both clocks."""
        return Instant(time.monotonic(), time.time())
