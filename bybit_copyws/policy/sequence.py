"""Finds lost order book updates by their numbers. Pure; keeps no book."""

from __future__ import annotations

from typing import Any

from bybit_copyws.wire.topics import Topic


class BookSequence:
    """The numbers of one order book's messages.

    A book deeper than one level comes as a snapshot and deltas, each delta numbered one higher
    (``u``) than the message before. A snapshot may come at any time and with any number, such as
    1 after a restart of the service; it makes everything before it unimportant. Documented for v3,
    kept up in v5 (see the page of protocol traps).
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: int | None = None

    @staticmethod
    def suits(topic: Topic) -> bool:
        """Return whether the messages of a topic are numbered without holes."""
        if topic.spec.channel != "orderbook":
            return False
        return topic.wire.split(".")[1] != "1"  # one level comes as snapshots; numbers jump

    def reset(self) -> None:
        """Forget the numbers: a new subscription begins with a snapshot."""
        self._last = None

    def missing_before(self, kind: str | None, data: Any) -> str | None:
        """Take the next message; say what is missing directly before it, if anything is.

        Args:
            kind: ``"snapshot"`` or ``"delta"``.
            data: as decoded; one of an unexpected shape is passed over.
        """
        number = data.get("u") if type(data) is dict else None
        if type(number) is not int:
            return None
        last, self._last = self._last, number
        if kind != "delta" or last is None or last <= number <= last + 1:
            return None
        return f"the order book's numbers jump from {last} to {number}"
