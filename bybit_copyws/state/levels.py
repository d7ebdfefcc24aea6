"""One side of an order book: its levels, keyed by the number that a price is.

Knows nothing of messages, update ids or the other side.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from decimal import Context, Decimal, InvalidOperation
from typing import Any, TypeAlias

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
_ZEROS = frozenset(("0", *("0." + "0" * places for places in range(1, 9))))


class Side:
    """The levels of one side, at most ``depth`` of them.

    Args:
        sign: 1 for bids, -1 for asks. Keys carry it, so that the best level of either side has
            the highest key, and changes, most of them near the top, are made near a list's end.
        depth: how many levels the topic shows.

    Attributes:
        order: the keys, ascending: the best is the last.
        rows: the levels by key.
    """

    __slots__ = ("_depth", "_keys", "_sign", "order", "rows")

    def __init__(self, sign: int, depth: int) -> None:
        self._sign = sign
        self._depth = depth
        self.order: list[int] = []
        self.rows: dict[int, Row] = {}
        # The keys of the spellings seen lately: each is turned into a number once.
        self._keys: dict[str, int] = {}

    def update(self, rows: list[Any]) -> None:
        """Set levels, or delete those whose size is zero; one that is not there is no matter.

        What is beyond the depth afterwards is dropped: the exchange tells of no changes there,
        and sends a level anew when it comes into view again.

        Raises:
            TypeError, ValueError, AttributeError: the rows are not pairs of texts that are
                numbers. Some of them may have been set.
        """
        # Runs for every level the exchange sends. Sizes hardly repeat, so each is checked; by
        # methods of str, because float() costs three times as much.
        keys, order, levels = self._keys, self.order, self.rows
        for row in rows:
            if row.__class__ is not list:  # a text or an object of two would unpack, too
                raise ValueError(f"a level is an array, not {type(row).__name__}")
            price, size = row
            key = keys.get(price)
            if key is None:
                key = self._learn(price)
            if size in _ZEROS:
                there = False
            elif size.strip(_DIGITS) in _PLAIN and size.strip("0."):
                there = True
            else:
                there = _number(size, "size") > 0
            if there:
                if key not in levels:
                    insort(order, key)
                levels[key] = (price, size)
            elif key in levels:
                del levels[key]
                del order[bisect_left(order, key)]
        if len(order) > self._depth:
            excess = len(order) - self._depth
            for key in order[:excess]:
                del levels[key]
            del order[:excess]

    def clear(self) -> None:
        """Drop every level."""
        self.order.clear()
        self.rows.clear()

    def best(self, n: int | None = None) -> list[Row]:
        """Return the best levels, the best one first; all of them without a number."""
        keys = self.order if n is None else self.order[-n:]
        rows = self.rows
        return [rows[key] for key in reversed(keys)]

    def _learn(self, price: Any) -> int:
        """Find the key of a price that is new, and remember it."""
        whole = _whole(price)
        if whole <= 0:
            raise ValueError(f"{price!r} is no price: it is not above zero")
        keys = self._keys
        if len(keys) > 4 * self._depth + 64:
            # The market has moved on: what is in the book stays, so that this is rarely done.
            keys.clear()
            keys.update({row[0]: key for key, row in self.rows.items()})
        key = keys[price] = self._sign * whole
        return key


def _whole(price: Any) -> int:
    """Return a price as the whole number that is its key, without the sign of a side."""
    if price.__class__ is str and len(price) <= _MOST_TEXT:
        before, _, after = price.partition(".")
        # The plain way of writing it, which is the exchange's.
        if len(after) <= _PLACES and (digits := before + after.ljust(_PLACES, "0")).isdecimal():
            return int(digits)
    scaled = _number(price, "price").scaleb(_PLACES, _WIDE)
    whole = int(scaled)
    if whole != scaled:
        raise ValueError(f"{price!r} is no price: it has more than {_PLACES} places")
    return whole


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
