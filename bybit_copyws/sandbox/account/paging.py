"""Filters and pages of the REST lists: times, limit, opaque cursor.

Knows no record: it is told how to read one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeVar

from .model import Refused

T = TypeVar("T")

#: The query of a request.
Params = Mapping[str, str]

_MAX_LIMIT = 100
_SETTLE_COIN = "USDT"


def page(
    items: Iterable[T],
    fits: Callable[[T], bool],
    params: Params,
    ident: Callable[[T], str],
    default_limit: int,
) -> tuple[list[T], str]:
    """Cut the page out of a list that is asked for.

    The cursor names the last entry shown, so entries that are new at the front move nothing, nor
    does it matter whether that entry still fits: an order may be filled between two pages.

    Args:
        items: All entries, newest first.
        fits: Whether an entry is asked for.
        params: The query: ``limit`` (1-100) and ``cursor``.
        ident: Tells the unique id of an entry.
        default_limit: How many if no limit is given.

    Returns:
        The entries, and the cursor of the next page: empty on the last one.

    Raises:
        Refused: 10001, limit or cursor is bad.
    """
    limit = whole_number(params, "limit", default_limit)
    if not 1 <= limit <= _MAX_LIMIT:
        raise Refused(10001, "params error: limit invalid")
    rest = filter(fits, _after(iter(items), params.get("cursor", ""), ident))
    shown = list(islice(rest, limit))
    more = next(rest, None) is not None
    return shown, _encode(ident(shown[-1])) if more else ""


def _after(items: Iterator[T], cursor: str, ident: Callable[[T], str]) -> Iterator[T]:
    if not cursor:
        return items
    last = _decode(cursor)
    if not any(ident(item) == last for item in items):
        raise Refused(10001, "params error: cursor invalid")
    return items


def _encode(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


def _decode(cursor: str) -> str:
    try:
        return base64.urlsafe_b64decode(cursor.encode()).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Refused(10001, "params error: cursor invalid") from None


def whole_number(params: Params, name: str, default: int) -> int:
    """Return a whole number of the query.

    Raises:
        Refused: 10001, it is none.
    """
    text = params.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit():
        raise Refused(10001, f"params error: {name} invalid")
    return int(text)


def in_time(params: Params) -> Callable[[int], bool]:
    """Return whether a time lies between ``startTime`` and ``endTime``, both included.

    Raises:
        Refused: 10001, one is no number, or they are the wrong way round.
    """
    start = whole_number(params, "startTime", 0)
    end = whole_number(params, "endTime", 2**63)
    if start > end:
        raise Refused(10001, "params error: startTime should not be later than endTime")
    return lambda time: start <= time <= end


def matches(params: Params, **values: str) -> bool:
    """Return whether every value equals the parameter of its name, where the query has it."""
    return all(params.get(name, "") in ("", value) for name, value in values.items())


def fits_the_coins(params: Params) -> Callable[[str], bool]:
    """Return whether a symbol trades ``baseCoin`` and settles in ``settleCoin``, where given."""
    base, settle = params.get("baseCoin", ""), params.get("settleCoin", "")

    def fits(symbol: str) -> bool:
        # Every symbol of the account settles in USDT, and begins with the coin it trades.
        return settle in ("", _SETTLE_COIN) and base in ("", symbol.removesuffix(_SETTLE_COIN))

    return fits
