"""Numbers of the exchange: whole units of a step inside, strings and ``Decimal`` outside.

Counts in whole steps so that no sum is ever rounded. Knows no instrument and no message.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal


class Grid:
    """Turns multiples of one step (a tick, a lot) into text and back.

    Args:
        step: The step; its written decimals count, so ``0.10`` gives texts with two.
    """

    __slots__ = ("_factor", "decimals", "step")

    def __init__(self, step: Decimal) -> None:
        exponent = step.as_tuple().exponent
        self.step = step
        self.decimals = max(0, -exponent) if isinstance(exponent, int) else 0
        self._factor = int(step.scaleb(self.decimals))

    def text(self, units: int) -> str:
        """Return ``units`` steps, padded to the step's decimals."""
        decimals = self.decimals
        if not decimals:
            return str(units * self._factor)
        # Only sizes and prices come here, never below zero.
        digits = str(units * self._factor).zfill(decimals + 1)
        return f"{digits[:-decimals]}.{digits[-decimals:]}"

    def plain(self, units: int) -> str:
        """Return ``units`` steps without trailing zeros."""
        text = self.text(units)
        return text.rstrip("0").rstrip(".") if "." in text else text

    def decimal(self, units: int) -> Decimal:
        """Return ``units`` steps as a ``Decimal``, padded to the step's decimals."""
        return Decimal(units * self._factor).scaleb(-self.decimals)

    def floor(self, value: Decimal) -> int:
        """Return how many whole steps fit into ``value``."""
        return int((value / self.step).to_integral_value(ROUND_FLOOR))

    def ceil(self, value: Decimal) -> int:
        """Return how many whole steps cover ``value``."""
        return int((value / self.step).to_integral_value(ROUND_CEILING))


def plain_decimal(value: Decimal) -> str:
    """Return ``value`` without trailing zeros and without an exponent."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def micro(units: int) -> str:
    """Return ``units`` millionths with six decimals."""
    sign = "-" if units < 0 else ""
    whole, rest = divmod(abs(units), 1_000_000)
    return f"{sign}{whole}.{rest:06d}"


def next_sequence(sequence: int) -> int:
    """Return the sequence number after ``sequence``: higher, never by one, without a random source.

    A cross sequence counts the events of many books, so one book sees jumps.
    """
    return sequence + 2 + (sequence * 2_654_435_761 >> 16) % 23
