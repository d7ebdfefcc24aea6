"""One side of an order book: its levels, keyed by the number that a price is.

Knows nothing of messages, update ids or the other side.
"""

from __future__ import annotations

from bisect import bisect_left
from decimal import Context, Decimal, InvalidOperation
from itertools import islice
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
_ZEROS = frozenset("0." + "0" * places for places in range(1, 9))
_SLACK = 16  # levels without size that may lie above the best one: most of them come back


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
        best: the key of the best level, or ``None`` without any.
    """

    __slots__ = ("_at", "_depth", "_keys", "_live", "_most", "_prices", "_sign", "_sizes", "best")

    def __init__(self, sign: int, depth: int) -> None:
        self._sign = sign
        self._depth = depth
        # The levels in two lists of one order, the best near the end: the price as a number, with
        # the sign of the side, and as the exchange wrote it last.
        self._keys: list[int] = []
        self._prices: list[str] = []
        self._sizes: dict[str, str] = {}  # by price as written; empty for a level that is gone
        self._live = 0  # how many levels have a size
        self._most = 2 * depth + _SLACK  # when to forget those without
        self.best: int | None = None
        self._at = -1  # where the best level is, from the end

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
        sizes, live = self._sizes, self._live
        for row in rows:
            if row.__class__ is not list:  # a text or an object of two would unpack, too
                raise ValueError(f"a level is an array, not {type(row).__name__}")
            price, size = row
            old = sizes.get(price)
            if old is None:
                old = self._learn(price)
            if size == "0" or not (
                (size.strip(_DIGITS) in _PLAIN and size.strip("0.")) or _is_above_zero(size)
            ):
                if old:
                    sizes[price] = ""
                    live -= 1
            else:
                sizes[price] = size
                if not old:
                    live += 1
        self._live = live
        if live > self._depth:
            self._trim()
        if not live:
            self.best = None
        elif sizes[self._prices[-1]]:
            self.best = self._keys[-1]
            self._at = -1
        else:
            self._descend()

    def replace(self, rows: list[Any]) -> None:
        """Set levels, and delete all others. Raises what :meth:`update` does."""
        self._sizes.update(dict.fromkeys(self._prices, ""))
        self._live = 0
        self.update(rows)

    def clear(self) -> None:
        """Forget every level."""
        self._keys.clear()
        self._prices.clear()
        self._sizes.clear()
        self._live = 0
        self._most = 2 * self._depth + _SLACK
        self.best = None

    def top(self) -> Row | None:
        """Return the best level, or ``None`` without any."""
        if self.best is None:
            return None
        price = self._prices[self._at]
        return price, self._sizes[price]

    def rows(self, n: int | None = None) -> list[Row]:
        """Return the best ``n`` levels, or all, the best one first."""
        sizes, prices = self._sizes, reversed(self._prices)
        if n is None:
            return [(price, size) for price in prices if (size := sizes[price])]
        return list(islice(((price, size) for price in prices if (size := sizes[price])), n))

    def _learn(self, price: Any) -> str:
        """Enter a price that is new, or written in a new way; return the size there."""
        key = self._sign * _whole(price)
        if len(self._keys) >= self._most:
            self._purge()
        keys, prices, sizes = self._keys, self._prices, self._sizes
        at = bisect_left(keys, key)
        if at < len(keys) and keys[at] == key:
            size = sizes.pop(prices[at])
            prices[at] = price
        else:
            size = ""
            keys.insert(at, key)
            prices.insert(at, price)
        sizes[price] = size
        return size

    def _descend(self) -> None:
        """Find the best level where the last one has no size; there is one."""
        prices, sizes = self._prices, self._sizes
        at = -2
        while not sizes[prices[at]]:
            at -= 1
        self.best = self._keys[at]
        if at < -_SLACK:
            self._forget(slice(at + 1, None))
            at = -1
        self._at = at

    def _trim(self) -> None:
        """Drop the worst levels, as many as there are too many."""
        at = 0
        while self._live > self._depth:
            self._live -= bool(self._sizes[self._prices[at]])
            at += 1
        self._forget(slice(at))

    def _forget(self, part: slice) -> None:
        """Drop a part of the levels, whether they have a size or not."""
        for price in self._prices[part]:
            del self._sizes[price]
        del self._keys[part], self._prices[part]

    def _purge(self) -> None:
        """Forget the levels without a size."""
        keys, prices, sizes = self._keys, self._prices, self._sizes
        keys[:] = [key for key, price in zip(keys, prices, strict=True) if sizes[price]]
        for price in prices:
            if not sizes[price]:
                del sizes[price]
        prices[:] = [price for price in prices if price in sizes]
        # A message may bring any number of levels: next time there must be twice as many.
        self._most = 2 * max(self._depth, len(keys)) + _SLACK


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
