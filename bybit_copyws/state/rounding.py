"""Numbers to the multiples of a step, in exact arithmetic. Pure.

Works with whole numbers only, so that neither the precision nor the rounding of the thread's
``decimal`` context has a say.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Literal, TypeAlias, get_args

from bybit_copyws.errors import ConfigurationError

Number: TypeAlias = Decimal | int | str
"""A price or size, in exact digits."""

Rounding: TypeAlias = Literal["down", "up", "nearest"]
"""``nearest`` takes a value in the middle up."""

_MAGNITUDE = 30  # digits before the point, twice as many after it: far beyond all that is traded
_TEXT = re.compile(r"-?[0-9]{1,60}(\.[0-9]{1,60})?([eE][+-]?[0-9]{1,3})?")


def exact(name: str, value: object) -> Decimal:
    """Return the number that a value says.

    Args:
        name: what it is, for the error.
        value: a ``Decimal``, an ``int`` or a ``str`` of digits.

    Raises:
        ConfigurationError: it is none of these, not finite, or absurdly large or small; a
            ``float`` is refused, because its digits are not those that were meant.
    """
    if isinstance(value, bool) or not isinstance(value, (Decimal, int, str)):
        cure = f"; write Decimal({str(value)!r})" if isinstance(value, float) else ""
        raise ConfigurationError(
            f"{name} must be a Decimal, an int or a str of digits, not {type(value).__name__}{cure}"
        )
    try:
        if isinstance(value, int):
            # Compared first: to convert a giant takes long.
            number = Decimal(value) if abs(value) < 10**_MAGNITUDE else Decimal("Infinity")
        elif isinstance(value, str) and not _TEXT.fullmatch(value):
            number = Decimal("NaN")
        else:
            number = Decimal(value)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or not _is_sane(number):
        raise ConfigurationError(f"{name} must be a finite number, not {_shown(value)}")
    return number or Decimal(0)


def _shown(value: Decimal | int | str) -> str:
    if isinstance(value, int) and abs(value) >= 10**_MAGNITUDE:
        return f"one of {value.bit_length()} bits"  # Python refuses to write out a giant
    return repr(value)[:60]


def _is_sane(number: Decimal) -> bool:
    """Return whether it can be computed with as a whole number of its last digits."""
    if not number:
        return True
    return number.adjusted() < _MAGNITUDE and int(number.as_tuple().exponent) >= -2 * _MAGNITUDE


def round_to_step(value: Decimal, step: Decimal, how: Rounding) -> Decimal:
    """Return the multiple of a step that is next to a value, with the decimals of the step.

    Args:
        value: finite, from 0 on.
        step: finite, above 0.
        how: to which side.

    Raises:
        ConfigurationError: there is no such way to round.
    """
    check_rounding(how)
    places = max(0, -int(step.as_tuple().exponent))
    count = Fraction(value) / Fraction(step)
    whole = count.numerator // count.denominator
    rest = count - whole
    if rest and (how == "up" or (how == "nearest" and rest >= Fraction(1, 2))):
        whole += 1
    # The step is a whole number of its last decimals. Made of digits, not computed: exact.
    units = whole * int(Fraction(step) * 10**places)
    return Decimal((0, tuple(map(int, str(units))), -places))


def check_rounding(how: object) -> None:
    """Refuse a way to round that does not exist.

    Raises:
        ConfigurationError: it does not; the text names those that do.
    """
    if how not in get_args(Rounding):
        raise ConfigurationError(f"how must be one of {get_args(Rounding)}, not {repr(how)[:60]}")
