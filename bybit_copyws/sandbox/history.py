"""What was put on the wire, numbered: the truth that a checker holds a client against. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.sandbox.checker import fingerprint


class Sent(NamedTuple):
    """One message that was put on the wire as a whole.

    Attributes:
        number: counts all of them, from 1.
        conn_id: the connection.
        scope: ``"public"`` or ``"private"``.
        profile: ``"v3"`` or ``"v5"``.
        topic: empty for a reply or what a test pushed without one.
        payload: the bytes of the message, without its frame.
        time_ms: the exchange's clock.
    """

    number: int
    conn_id: str
    scope: str
    profile: str
    topic: str
    payload: bytes
    time_ms: int

    @property
    def fingerprint(self) -> int:
        """What stands for the payload in another process."""
        return fingerprint(self.payload)


@dataclass(frozen=True)
class Received:
    """A text frame that a client sent.

    Attributes:
        conn_id: the connection.
        scope: ``"public"`` or ``"private"``.
        profile: ``"v3"`` or ``"v5"``.
        text: what was sent.
        time: wall clock, seconds since the epoch.
    """

    conn_id: str
    scope: str
    profile: str
    text: str
    time: float


class History:
    """The last messages that were sent.

    Args:
        limit: how many are kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: deque[Sent] = deque(maxlen=limit)
        self.total = 0

    def add(
        self, conn_id: str, scope: str, profile: str, topic: str, payload: bytes, time_ms: int
    ) -> None:
        """Number a message and keep it; the oldest goes if there are too many."""
        self.total += 1
        self._kept.append(Sent(self.total, conn_id, scope, profile, topic, payload, time_ms))

    def __iter__(self) -> Iterator[Sent]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def after(self, number: int, limit: int | None = None) -> list[Sent]:
        """Return what was sent after a message, oldest first.

        Args:
            number: of the last message that is known; 0 for none.
            limit: at most so many.

        Raises:
            ConfigurationError: some of them are not kept any more.
        """
        if number < 0 or (limit is not None and limit < 0):
            raise ConfigurationError("number and limit must be 0 or more")
        first = self.total - len(self._kept) + 1
        if number + 1 < first:
            raise ConfigurationError(
                f"messages {number + 1} to {first - 1} are not kept any more: ask more often, or "
                f"give the sandbox a history above {self._limit:,}"
            )
        skip = number + 1 - first
        end = len(self._kept) if limit is None else min(len(self._kept), skip + limit)
        # From the end that is nearer: a deque finds an index from there.
        if skip > len(self._kept) // 2:
            tail = len(self._kept) - skip
            recent = [each for each, _ in zip(reversed(self._kept), range(tail), strict=False)]
            recent.reverse()
            return recent[: end - skip]
        return [self._kept[index] for index in range(skip, end)]
