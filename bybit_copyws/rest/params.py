"""Arguments of a call into what stands on the wire, checked by name. Pure.

Prices and sizes go in as ``Decimal``, ``int`` or text and out as the same digits; a ``float`` is
refused, because its digits are not those that were meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

import msgspec

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.fields import camel_case
from bybit_copyws.rest.endpoints import Dialect, Endpoint

Number: TypeAlias = Decimal | int | str
"""A price or size, in exact digits."""

_SYMBOL = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LINK_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")
_WORD = re.compile(r"[!-~]{1,1000}")
_DIGITS = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?")


def number(name: str, value: object) -> str:
    """Return the digits of a number from zero on, without an exponent.

    Raises:
        ConfigurationError: it is none, or a ``float``.
    """
    if isinstance(value, bool) or not isinstance(value, (Decimal, int, str)):
        raise ConfigurationError(
            f"{name} must be a Decimal, an int or a str of digits, not {type(value).__name__}"
        )
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return value
    try:
        exact = Decimal(value)
    except InvalidOperation:
        exact = Decimal("NaN")
    if not exact.is_finite() or exact.is_signed() or abs(exact.adjusted()) > 30:
        raise ConfigurationError(f"{name} must be a number from 0 on, not {_shown(value)}")
    return f"{exact:f}"


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**18:
        raise ConfigurationError(f"{name} must be a whole number from 0 on, not {_shown(value)}")
    return value


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} must be True or False, not {_shown(value)}")
    return value


def _text(pattern: re.Pattern[str], form: str) -> Callable[[str, object], str]:
    def check(name: str, value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ConfigurationError(f"{name} must be {form}, not {_shown(value)}")
        return value

    return check


def _shown(value: object) -> str:
    return repr(value)[:80]


_word = _text(_WORD, "printable text without spaces")
_link_id = _text(_LINK_ID, "1 to 36 letters, digits, dashes and underscores")
_KINDS: Mapping[str, Callable[[str, object], Any]] = {
    "symbol": _text(_SYMBOL, "a symbol such as 'BTCUSDT'"),
    "order_link_id": _link_id,
    "parent_order_link_id": _link_id,
    **dict.fromkeys(("position_idx", "limit", "start_time", "end_time"), _whole),
    **dict.fromkeys(("trigger_direction", "open_only"), _whole),
    **dict.fromkeys(("qty", "price", "take_profit", "stop_loss", "trigger_price"), number),
    **dict.fromkeys(("buy_leverage", "sell_leverage", "amount"), number),
    **dict.fromkeys(("reduce_only", "close_on_trigger"), _flag),
}
"""How a parameter is checked, where it is more than a word."""


def wire_params(dialect: Dialect, endpoint: Endpoint, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a call sends, by the wire's names; what is ``None`` is left out.

    Raises:
        ConfigurationError: a parameter is unknown to the endpoint, missing or malformed.
    """
    values = {name: value for name, value in given.items() if value is not None}
    for name in values:
        if name not in endpoint.params:
            known = ", ".join(endpoint.params) or "none"
            raise ConfigurationError(f"{endpoint.name} has no parameter {name}; it has {known}")
    for name in endpoint.needs:
        if name not in values:
            raise ConfigurationError(f"{endpoint.name} needs {name}")
    if endpoint.one_of and not any(name in values for name in endpoint.one_of):
        raise ConfigurationError(f"{endpoint.name} needs {' or '.join(endpoint.one_of)}")
    params = dict(endpoint.fixed)
    for name, value in values.items():
        checked = _KINDS.get(name, _word)(name, value)
        as_text = dialect.whole_as_text and type(checked) is int
        params[camel_case(name)] = str(checked) if as_text else checked
    return params


def query_of(params: Mapping[str, Any]) -> str:
    """Return the query of a GET request, in the form in which it is signed and sent."""
    return urlencode(params, quote_via=quote, safe="")


def body_of(params: Mapping[str, Any]) -> bytes:
    """Return the body of a POST request, in the form in which it is signed and sent."""
    return msgspec.json.encode(params)
