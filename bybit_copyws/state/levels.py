"""One side of an order book: its levels, keyed by the number that a price is.

Knows nothing of messages, update ids or the other side.
"""

from __future__ import annotations

from bisect import bisect_left
from decimal import Context, Decimal, InvalidOperation
from itertools import islice
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec

Row: TypeAlias = tuple[str, str]
"""Price and size of a level, as the exchange wrote them."""

# A price's key is the price times ten to this power: a whole number, so that it is exact and all
# spellings of one price have one key. A float would need a proof for each price that no other one
# has the same key, and is no faster to look up.
_PLACES = 18
_MOST_TEXT = 40  # characters of a number that is not written in the plain way, and of any price
_MOST_POWER = 18  # the highest power of ten in it; above, what is sent is no price and no size

_WIDE = Context(prec=2 * _MOST_TEXT)  # the thread's own context is the user's, and may round

_DIGITS = "0123456789"
_PLAIN = frozenset(("", "."))  # what stripping the digits leaves of a number in the plain way
_ZEROS = frozenset("0." + "0" * places for places in range(1, 9))
_SLACK = 16  # levels without size that may lie above the best one: most of them come back


# Unknown to the garbage collector, which would look at each of the levels of hundreds of books.
class _Level(msgspec.Struct, gc=False):
    """A price, and the size there; without one the level is not in the book.

    Attributes:
        key: the price as a number, with the sign of its side.
        price: the price as the exchange wrote it last.
        size: the size as the exchange wrote it, or ``None``.
    """

    key: int
    price: str
    size: str | None = None


_key = attrgetter("key")


class Side:
    """The levels of one side, at most ``depth`` of them.

    A level that is deleted is kept for a while without a size. Near the top levels go and come
    back all the time, so that most changes are one look-up of the price as it is written and no
    search at all.

    Args:
        sign: 1 for bids, -1 for asks. Keys carry it, so that the best level of either side has
            the highest key, and changes, most of them near the top, are made near a list's end.
        depth: how many levels the topic shows.

    Attributes:
        best: the best level, or ``None`` without any.
    """

    __slots__ = ("_by_price", "_depth", "_live", "_most", "_order", "_sign", "best")

    def __init__(self, sign: int, depth: int) -> None:
        self._sign = sign
        self._depth = depth
        self._order: list[_Level] = []  # by key, ascending: the best is near the end
        self._by_price: dict[str, _Level] = {}  # the same levels, by their price as written
        self._live = 0  # how many of them have a size
        self._most = 2 * depth + _SLACK  # when to look for levels to forget
        self.best: _Level | None = None

    def update(self, rows: list[Any]) -> None:
        """Set levels, or delete those whose size is zero; one that is not there is no matter.

        What is beyond the depth afterwards is dropped: the exchange tells of no changes there,
        and sends a level anew when it comes into view again.

        Raises:
            TypeError, ValueError, AttributeError: the rows are not pairs of texts that are
                numbers. Some of them may have been set: :meth:`clear` is due.
        """
        # Runs for every level the exchange sends. Sizes hardly repeat, so each is checked; by
        # methods of str, because float() costs twice as much.
        by_price, live = self._by_price, self._live
        for row in rows:
            if row.__class__ is not list:  # a text or an object of two would unpack, too
                raise ValueError(f"a level is an array, not {type(row).__name__}")
            price, size = row
            level = by_price.get(price)
            if level is None:
                level = self._learn(price)
            if size == "0" or not (
                (size.strip(_DIGITS) in _PLAIN and size.strip("0.")) or _is_above_zero(size)
            ):
                if level.size is not None:
                    level.size = None
                    live -= 1
            else:
                if level.size is None:
                    live += 1
                level.size = size
        self._live = live
        if live > self._depth:
            self._trim()
        top = self._order[-1] if live else None
        self.best = self._highest() if top and top.size is None else top

    def replace(self, rows: list[Any]) -> None:
        """Set levels, and delete all others. Raises what :meth:`update` does."""
        for level in self._order:
            level.size = None
        self._live = 0
        self.update(rows)

    def clear(self) -> None:
        """Forget every level."""
        self._order.clear()
        self._by_price.clear()
        self._live = 0
        self._most = 2 * self._depth + _SLACK
        self.best = None

    def rows(self, n: int | None = None) -> list[Row]:
        """Return the best ``n`` levels, or all, the best one first."""
        levels = reversed(self._order)
        return list(islice(((level.price, size) for level in levels if (size := level.size)), n))

    def _learn(self, price: Any) -> _Level:
        """Find the level of a price that is new, or written in a new way."""
        key = self._sign * _whole(price)
        order = self._order
        if len(order) >= self._most:
            self._purge()
        at = bisect_left(order, key, key=_key)
        if at < len(order) and order[at].key == key:
            level = order[at]
            del self._by_price[level.price]
            level.price = price
        else:
            level = _Level(key, price)
            order.insert(at, level)
        self._by_price[price] = level
        return level

    def _highest(self) -> _Level:
        """Find the best level where the last one has no size; there is one."""
        order = self._order
        at = len(order) - 2
        while order[at].size is None:
            at -= 1
        best = order[at]
        if len(order) - at > _SLACK:
            self._forget(order[at + 1 :])
            del order[at + 1 :]
        return best

    def _trim(self) -> None:
        """Drop the worst levels, as many as there are too many."""
        order = self._order
        at = 0
        while self._live > self._depth:
            self._live -= order[at].size is not None
            at += 1
        self._forget(order[:at])
        del order[:at]

    def _purge(self) -> None:
        """Forget the levels without a size."""
        order = self._order
        self._forget([level for level in order if level.size is None])
        order[:] = [level for level in order if level.size is not None]
        # A message may bring any number of levels: the next search is when there are twice as many.
        self._most = 2 * max(self._depth, len(order)) + _SLACK

    def _forget(self, levels: list[_Level]) -> None:
        for level in levels:
            del self._by_price[level.price]


def _whole(price: Any) -> int:
    """Return a price as the whole number that is its key, without the sign of a side."""
    if price.__class__ is str and len(price) <= _MOST_TEXT:
        before, _, after = price.partition(".")
        # The plain way of writing it, which is the exchange's.
        if len(after) <= _PLACES and (digits := before + after.ljust(_PLACES, "0")).isdecimal():
            whole = int(digits)
            if whole:
                return whole
    scaled = _number(price, "price").scaleb(_PLACES, _WIDE)
    whole = int(scaled)
    if whole != scaled:
        raise ValueError(f"{price!r} is no price: it has more than {_PLACES} places")
    if whole <= 0:
        raise ValueError(f"{price!r} is no price: it is not above zero")
    return whole


def _is_above_zero(size: Any) -> bool:
    """Tell of a size that is not written in the plain way, or is a zero of some length."""
    return size not in _ZEROS and _number(size, "size") > 0


def _number(text: Any, what: str) -> Decimal:
    """Return what is written in a way that the exchange does not use, if it is a number at all."""
    if not isinstance(text, str):
        raise TypeError(f"a {what} is text, not {type(text).__name__}")
    if len(text) > _MOST_TEXT:
        raise ValueError(f"{text[:_MOST_TEXT]!r}... is no {what}: it is too long")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is no {what}") from None
    if number.is_zero():
        return Decimal(0)
    # Bounded before it is used: written out, the digits of 1e999999 would fill the memory.
    if not number.is_finite() or abs(number.adjusted()) > _MOST_POWER or number < 0:
        raise ValueError(f"{text!r} is no {what}")
    return number
