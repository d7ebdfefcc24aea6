"""Messages of the stream that wait for a reconciliation, or that it must still be told of.

Bounded in number and bytes. It must not know what a message says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bybit_copyws.messages import Message
from bybit_copyws.state.account_dialects import Kind
from bybit_copyws.state.account_view import Update


@dataclass
class Entry:
    """One message.

    Attributes:
        kind: what it tells of.
        message: as it came.
        at: monotonic seconds of its coming.
        current: whether it came on the present link: what came before a later loss is older than
            any answer of the exchange.
        waits: whether it is still to be handed out.
        updates: what is to be handed out of it, once it is in the views.
    """

    kind: Kind
    message: Message
    at: float
    current: bool = True
    waits: bool = True
    updates: tuple[Update, ...] | None = None


class Waiting:
    """The messages, in the order of their coming.

    Args:
        most: how many.
        most_bytes: of their text.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._entries: list[Entry] = []
        self._bytes = 0

    def add(self, entry: Entry) -> None:
        """Take one more."""
        self._entries.append(entry)
        self._bytes += len(entry.message.raw)

    @property
    def full(self) -> bool:
        """Whether there are more than are kept."""
        return len(self._entries) > self._most or self._bytes > self._most_bytes

    def since(self) -> float | None:
        """Return since when the first of them waits; ``None`` if none does."""
        return next((entry.at for entry in self._entries if entry.waits), None)

    def drop_handed_out(self) -> None:
        """Forget those that wait no longer."""
        self._set([entry for entry in self._entries if entry.waits])

    def clear(self) -> None:
        """Forget all."""
        self._set([])

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def _set(self, entries: list[Entry]) -> None:
        self._entries = entries
        self._bytes = sum(len(entry.message.raw) for entry in entries)
