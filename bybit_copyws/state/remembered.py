"""A bounded memory of ids."""

from __future__ import annotations

from collections import deque


class Remembered:
    """Ids that were seen; the oldest are forgotten first.

    Args:
        most: how many are kept.
    """

    __slots__ = ("_ids", "_most", "_order")

    def __init__(self, most: int) -> None:
        self._most = most
        # Not one dictionary: to find its oldest entry takes the longer the more were deleted.
        self._ids: set[str] = set()
        self._order: deque[str] = deque()

    def add(self, id_: str) -> bool:
        """Remember an id; return whether it is new."""
        if id_ in self._ids:
            return False
        self._ids.add(id_)
        self._order.append(id_)
        if len(self._order) > self._most:
            self._ids.discard(self._order.popleft())
        return True

    def __contains__(self, id_: object) -> bool:
        return id_ in self._ids

    def __len__(self) -> int:
        return len(self._order)
