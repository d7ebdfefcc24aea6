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
        refused: seconds to wait at least after HTTP 429 (too many requests) or 403 (banned), and
            after what is not likely to pass: HTTP 401 or 404, and a certificate that is not valid.
        give_up_after: a connection that was never open is given up after so many of the last in
            a row, with their error; 0 for never. One that was open once is never given up.

    Raises:
        ConfigurationError: a value is negative or no number, or the cap is below the base.
    """

    base: float = 1.0
    cap: float = 30.0
    good_after: float = 10.0
    refused: float = 60.0
    give_up_after: int = 5

    def __post_init__(self) -> None:
        """Refuse values that would make a storm or no retry at all."""
        others = (self.good_after, self.refused, self.give_up_after)
        if not 0 < self.base <= self.cap or not all(value >= 0 for value in others):
            raise ConfigurationError(
                "backoff needs 0 < base <= cap, and good_after, refused and give_up_after of 0 or "
                f"more, not {self}"
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
