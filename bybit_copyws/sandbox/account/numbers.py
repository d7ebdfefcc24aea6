"""How the exchange writes numbers. Knows no record."""

from __future__ import annotations

from decimal import Decimal


def plain(value: Decimal) -> str:
    """Write a number without exponent and trailing zeros, as REST and v5 do."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def as_is(value: Decimal) -> str:
    """Write a number with the decimals it has: those of the tick or the step."""
    return format(value, "f")


def like(value: Decimal, pattern: Decimal) -> str:
    """Write a number with the decimals of another."""
    return format(value.quantize(pattern), "f")


def padded(value: Decimal, places: int) -> str:
    """Write a number with at least ``places`` decimals: prices and sizes of the v3 stream."""
    exponent = value.as_tuple().exponent
    finest = -exponent if isinstance(exponent, int) else 0
    return f"{value:.{max(places, finest)}f}"


def rounded(value: Decimal) -> str:
    """Write a sum of money with eight decimals, as the v3 stream does."""
    return f"{value:.8f}"


def optional(value: Decimal) -> str:
    """Write a number, or nothing for zero."""
    return plain(value) if value else ""
