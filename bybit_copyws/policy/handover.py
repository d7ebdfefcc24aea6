"""Where a new connection goes on after an old one has ended in good order. Pure.

For a while both carried the same topics. What the old one brought until its end was delivered; what
the new one brought was held. Both are parts of one sequence, so the end of the first is looked for
at the beginning of the second, and only what follows is delivered.

Messages are compared by what names an update (``u`` of a book, the id of a trade, ``cs`` of a
ticker, start and time of a kline), because the rest may differ from connection to connection.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import msgspec

SNAPSHOT_FIRST = ("orderbook", "tickers")
"""Channels whose subscription begins with a snapshot, which repeats what is known."""


class Copy(NamedTuple):
    """A message as one of the two connections brought it.

    Attributes:
        type: ``"snapshot"``, ``"delta"`` or ``None``.
        data: as decoded.
        cs: the ticker's number, or ``None``.
        ts: the exchange's time, or ``None``.
    """

    type: str | None
    data: Any
    cs: int | None
    ts: int | None


Names: TypeAlias = Callable[[Copy], list[Hashable]]
"""Gives what names an update: one name for a message, or one for each of its rows."""


class Rest(NamedTuple):
    """What is to be delivered of a held message.

    Attributes:
        place: which one, counted from 0.
        data: its data, or what is left of it.
    """

    place: int
    data: Any


class Continuation(NamedTuple):
    """How the new connection goes on.

    Attributes:
        rests: what is to be delivered, in order.
        hole: why something may be missing before it, or ``None``.
    """

    rests: list[Rest]
    hole: str | None


def go_on(
    channel: str, delivered: Sequence[Copy], held: Sequence[Copy], *, drained: bool = True
) -> Continuation:
    """Find what of the held messages was not delivered by the old connection.

    Args:
        channel: such as ``orderbook``.
        delivered: what the old connection brought since before the new one subscribed.
        held: all that the new one brought so far.
        drained: whether the old one brought everything until its end.
    """
    known_start = held and channel in SNAPSHOT_FIRST and drained and _reaches(delivered, held[0])
    first = 1 if known_start else 0
    names = _NAMES.get(channel, _by_content)
    old = [name for copy in delivered for name in names(copy)]
    # Each part of a message (a trade) with its place, since two may be cut differently.
    new = [
        (name, place, index)
        for place in range(first, len(held))
        for index, name in enumerate(names(held[place]))
    ]
    hole = None
    if channel == "kline":
        # The exchange may send one at a subscription, made for it alone.
        later = [each for each in new if _is_later(each[0], old)]
        return Continuation(_rests(held, later, names), hole)
    known = overlap(old, [name for name, _, _ in new])
    if not known and new and new[0][0] in set(old):
        # Both are not parts of one sequence: deliver what is new for certain, and say so.
        hole = "the new connection's messages do not follow those of the old one"
        seen = set(old)
        rest = [each for each in new if each[0] not in seen]
    else:
        rest = new[known:]
    return Continuation(_rests(held, rest, names), hole)


def _is_later(name: Any, old: Sequence[Any]) -> bool:
    """Return whether a kline is later than the last of others (they come in order)."""
    try:
        return not old or bool(name > old[-1])
    except TypeError:  # odd data: rather twice than never
        return True


def overlap(old: Sequence[Hashable], new: Sequence[Hashable]) -> int:
    """Return the most items that are both the end of one sequence and the beginning of another."""
    # Knuth, Morris, Pratt: how much of `new` the end of what was read of `old` matches.
    failure = [0] * len(new)
    for place in range(1, len(new)):
        length = failure[place - 1]
        while length and new[place] != new[length]:
            length = failure[length - 1]
        failure[place] = length + (new[place] == new[length])
    length = 0
    for item in old[-len(new) :] if new else ():
        while length and (length == len(new) or item != new[length]):
            length = failure[length - 1]
        length += item == new[length]
    return length


def _reaches(delivered: Sequence[Copy], snapshot: Copy) -> bool:
    """Return whether what was delivered goes as far as a snapshot (nothing: it was quiet)."""
    last, number = _number(delivered[-1]) if delivered else None, _number(snapshot)
    return last is None or number is None or last >= number


def _number(copy: Copy) -> int | None:
    number = copy.data.get("u") if isinstance(copy.data, dict) else None
    return number if type(number) is int else copy.cs


def _rests(
    held: Sequence[Copy], parts: Sequence[tuple[Hashable, int, int]], names: Names
) -> list[Rest]:
    """Put parts back into their messages."""
    wanted: dict[int, list[int]] = {}
    for _, place, index in parts:
        wanted.setdefault(place, []).append(index)
    rests = []
    for place, indices in wanted.items():
        data = held[place].data
        # Cut only what has a name for each row; all else is delivered as a whole.
        if isinstance(data, list) and len(names(held[place])) == len(data) > len(indices):
            data = [data[index] for index in indices]
        rests.append(Rest(place, data))
    return rests


def _by_content(copy: Copy) -> list[Hashable]:
    return [msgspec.json.encode(copy.data)]


def _book(copy: Copy) -> list[Hashable]:
    number = _number(copy)
    return _by_content(copy) if number is None else [(copy.type, number)]


def _each_row(key: str) -> Names:
    def names(copy: Copy) -> list[Hashable]:
        rows = copy.data
        if isinstance(rows, list) and all(isinstance(row, dict) and key in row for row in rows):
            return [str(row[key]) for row in rows]
        return _by_content(copy)

    return names


def _ticker(copy: Copy) -> list[Hashable]:
    return [(copy.type, copy.ts if copy.cs is None else copy.cs)]


def _kline(copy: Copy) -> list[Hashable]:
    rows = copy.data
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        return [tuple((row.get("start"), row.get("timestamp")) for row in rows)]
    return _by_content(copy)


_NAMES: Mapping[str, Names] = MappingProxyType(
    {
        "orderbook": _book,
        "publicTrade": _each_row("i"),
        "tickers": _ticker,
        "kline": _kline,
        "copyTradeExecution": _each_row("execId"),
        "execution": _each_row("execId"),
    }
)
