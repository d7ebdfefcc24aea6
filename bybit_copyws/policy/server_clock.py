"""The exchange's clock, as far as it can be told from here. Pure.

It is kept against the monotonic clock, so setting the clock of the machine changes nothing. A
suspend does: then a refused timestamp leads to a new measurement.
"""

from __future__ import annotations


class ServerClock:
    """Tells the exchange's time. Not safe for threads: its owner has a lock.

    Times of this machine are monotonic seconds, those of the exchange milliseconds since 1970.

    Attributes:
        known: whether it was measured.
        error_ms: by how much it may be wrong: half the time that the measurement took.
    """

    def __init__(self) -> None:
        self.known = False
        self.error_ms = 0.0
        self._offset_ms = 0.0

    def measure(self, sent: float, received: float, server_ms: float) -> None:
        """Take a measurement: a question sent, answered with a time, and received."""
        self._offset_ms = server_ms - (sent + received) * 500.0
        self.error_ms = (received - sent) * 500.0
        self.known = True

    def correct(self, sent: float, received: float, server_ms: float) -> None:
        """Keep within the bounds that a reply with a time sets: it was made while we waited."""
        if self.known:
            earliest, latest = server_ms - received * 1000.0, server_ms + 1.0 - sent * 1000.0
            self._offset_ms = min(max(self._offset_ms, earliest), latest)

    def now_ms(self, now: float) -> int:
        """Return the exchange's time at a monotonic time."""
        return int(now * 1000.0 + self._offset_ms)
