"""The checks of what a user gives; each says what would do."""

from __future__ import annotations

import math

from bybit_copyws.errors import ConfigurationError

_HOWS = ("rst", "fin", "hold")


def check_how(how: str) -> None:
    """Refuse an unknown way to cut."""
    if how not in _HOWS:
        raise ConfigurationError(f"how must be one of {', '.join(_HOWS)}, not {how!r}")


def check_integer(name: str, value: int, least: int | None = None, most: int | None = None) -> None:
    """Refuse what is no integer of a range."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(f"{name} must be an integer, not {value!r}")
    if (least is not None and value < least) or (most is not None and value > most):
        bounds = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ConfigurationError(f"{name} must be {bounds}, not {value!r}")


def check_number(name: str, value: float, *, above: float | None = None) -> None:
    """Refuse what is no finite number, or too small: below 0, or not above a bound."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigurationError(f"{name} must be a finite number, not {value!r}")
    if value < 0 or (above is not None and value <= above):
        bound = "0 or more" if above is None else f"above {above:g}"
        raise ConfigurationError(f"{name} must be {bound}, not {value!r}")


def check_times(times: int | None) -> int | None:
    """Refuse what is no count of connections; return it."""
    if times is not None:
        check_integer("times", times, 1)
    return times
