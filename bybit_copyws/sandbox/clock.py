"""The exchange's time: real, faster or slower, or moved by hand."""

from __future__ import annotations

import time

from bybit_copyws.errors import ConfigurationError

MAX_BEHIND_MS = 1_000
"""How much real time may lie between two looks; what passed beyond it (a suspend) is taken back."""
STEPPED_START_MS = 1_700_000_000_000
"""Where a clock that is moved by hand begins: always the same, so that bytes repeat."""


class VenueClock:
    """Tells the exchange's time in milliseconds since the epoch.

    Args:
        speed: how many seconds pass at the exchange in one real second; 0 for a clock that only
            :meth:`step` moves.

    Raises:
        ConfigurationError: the speed is negative or no number.
    """

    def __init__(self, speed: float = 1.0) -> None:
        if not 0 <= speed < float("inf"):
            raise ConfigurationError(f"speed must be 0 (stepped) or above, not {speed!r}")
        self.speed = speed
        self._offset_ms = 0.0
        self._began = time.monotonic()
        self._start_ms = float(STEPPED_START_MS) if speed == 0 else time.time() * 1000
        self._looked_ms = self._start_ms
        self._most_ms = float("inf") if speed == 0 else MAX_BEHIND_MS * max(1.0, speed)

    @property
    def stepped(self) -> bool:
        """Whether time only moves by :meth:`step`."""
        return self.speed == 0

    def now_ms(self) -> int:
        """Return the exchange's time: never less than before, nor far beyond the last look."""
        return int(min(self._raw_ms(), self._looked_ms + self._most_ms))

    def look(self) -> int:
        """Return the exchange's time, which what happens there has now reached."""
        behind = self._raw_ms() - self._looked_ms - self._most_ms
        if behind > 0:
            self._offset_ms -= behind
            self._looked_ms += self._most_ms
        else:
            self._looked_ms = self._raw_ms()
        return int(self._looked_ms)

    def _raw_ms(self) -> float:
        passed = (time.monotonic() - self._began) * 1000 * self.speed
        return self._start_ms + self._offset_ms + passed

    def step(self, seconds: float) -> None:
        """Let time pass at once.

        Raises:
            ConfigurationError: ``seconds`` is negative: time does not run backwards here.
        """
        if not 0 <= seconds < float("inf"):
            raise ConfigurationError(f"time can only go on: {seconds!r} s")
        self._offset_ms += seconds * 1000
