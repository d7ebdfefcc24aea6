"""How long to wait before the next attempt.

Pure: the random source is an argument, and nothing is remembered here.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from bybit_copyws.errors import ConfigurationError


@dataclass(frozen=True)
class Backoff:
    """Full jitter, doubling, with a cap; none at all after the loss of a good link.

    Args:
        base: upper end of the first wait, in seconds.
        cap: upper end of any wait, in seconds.
        good_after: a link that was active for so many seconds counts as good.
        refused: seconds to wait at least after HTTP 403 (banned) or 429 (too many requests).

    Raises:
        ConfigurationError: a value is not positive, or the cap is below the base.
    """

    base: float = 1.0
    cap: float = 30.0
    good_after: float = 10.0
    refused: float = 60.0

    def __post_init__(self) -> None:
        """Refuse values that would make a storm or no retry at all."""
        if not 0 < self.base <= self.cap or not (self.good_after >= 0 and self.refused >= 0):
            raise ConfigurationError(
                "backoff needs 0 < base <= cap, good_after >= 0 and refused >= 0, not "
                f"base={self.base}, cap={self.cap}, good_after={self.good_after}, "
                f"refused={self.refused}"
            )

    def delay(self, attempt: int, headroom: float, rng: random.Random) -> float:
        """Return the seconds to wait.

        Args:
            attempt: losses in a row without a good link; 0 if the lost link was good.
            headroom: the part of the host's connection budget that is free, 0 to 1.
            rng: source of the jitter.
        """
        if attempt == 0 and headroom > 0.5:
            return 0.0
        # The exponent is bounded so that a month of failures cannot overflow a float.
        return rng.uniform(0.0, min(self.cap, self.base * 2.0 ** min(max(attempt - 1, 0), 60)))
