"""A bounded memory of ids."""

from __future__ import annotations


class Remembered:
    """Ids that were seen; the oldest are forgotten first.

    Args:
        most: how many are kept.
    """

    __slots__ = ("_ids", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._ids: dict[str, None] = {}  # a dict keeps their order

    def add(self, id_: str) -> bool:
        """Remember an id; return whether it is new."""
        if id_ in self._ids:
            return False
        self._ids[id_] = None
        if len(self._ids) > self._most:
            del self._ids[next(iter(self._ids))]
        return True

    def __contains__(self, id_: object) -> bool:
        return id_ in self._ids

    def __len__(self) -> int:
        return len(self._ids)
