"""What two connections bring while one takes over from the other: noted, or held back.

A detour stands in front of a connection's dispatcher for that time only; otherwise the way of a
message does not know of it. Must not know sessions or callbacks.
"""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

from bybit_copyws.policy.handover import Copy
from bybit_copyws.wire.envelope import Envelope, decode_envelope
from bybit_copyws.wire.frames import Item

MAX_BYTES = 64 * 2**20
"""Held or noted at most; what is beyond that is told as a gap."""


class Held(NamedTuple):
    """A message of a topic.

    Attributes:
        envelope: what it says.
        received_ns: wall clock at arrival.
        raw: its bytes.
    """

    envelope: Envelope
    received_ns: int
    raw: bytes

    def copy(self) -> Copy:
        """Return it as something to compare."""
        envelope = self.envelope
        return Copy(envelope.type, envelope.data, envelope.cs, envelope.ts)


def _read(item: Item, received_ns: int) -> Held | None:
    """Return the message of a topic, or nothing for all else."""
    if type(item) is not bytes:
        return None
    try:
        envelope = decode_envelope(item)
    except (ValueError, RecursionError):
        return None
    return Held(envelope, received_ns, item) if envelope.topic else None


class Notes:
    """Notes what a connection brings, and lets it pass. For its run thread."""

    def __init__(self) -> None:
        self.size = 0
        self._items: list[Item] = []

    def __call__(self, items: list[Item]) -> list[Item]:
        """Note items and return them."""
        self.size += sum(len(item) for item in items if type(item) is bytes)
        if self.overflowed:
            self._items.clear()
        else:
            self._items += items
        return items

    @property
    def overflowed(self) -> bool:
        """Whether it was too much to be noted."""
        return self.size > MAX_BYTES

    def by_topic(self) -> dict[str, list[Copy]]:
        """Return what came, by wire topic."""
        found: dict[str, list[Copy]] = {}
        for item in self._items:
            held = _read(item, 0)
            if held is not None:
                found.setdefault(held.envelope.topic, []).append(held.copy())
        return found


class Hold:
    """Holds back the messages of topics, and lets all else pass, until it is opened."""

    def __init__(self) -> None:
        # Guards all below; held for a few steps only.
        self._lock = threading.Lock()
        self._held: list[Held] = []
        self._open = False
        self.overflowed = False
        self.size = 0
        self.topics: set[str] = set()

    def __call__(self, items: list[Item]) -> list[Item]:
        """Take what the connection brings, in its run thread; return what passes."""
        received_ns = time.time_ns()
        with self._lock:
            if self._open:
                return items
            passing: list[Item] = []
            for item in items:
                held = _read(item, received_ns)
                if held is None:
                    passing.append(item)
                else:
                    self.topics.add(held.envelope.topic)
                    if self.size + len(held.raw) > MAX_BYTES:
                        self.overflowed = True
                    else:
                        self.size += len(held.raw)
                        self._held.append(held)
            return passing

    def take(self) -> list[Held]:
        """Return what was held since the last call; with nothing left, everything passes."""
        with self._lock:
            held, self._held = self._held, []
            self.size = 0
            self._open = not held
            return held
