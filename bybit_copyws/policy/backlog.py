"""A queue of messages that is bounded by count and by bytes, and what it does when it is full.

Pure: it neither waits nor calls anybody, and it needs no clock, since all times that it tells are
those of the messages. Not safe from several threads: whoever shares it brings a lock.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, TypeAlias

from bybit_copyws.health import QueueHealth
from bybit_copyws.messages import Message
from bybit_copyws.policy.channel import Handler
from bybit_copyws.policy.losses import Change, Losses

Overflow: TypeAlias = Literal["block", "drop_oldest", "latest"]


class _Entry:
    __slots__ = ("handler", "message")

    def __init__(self, handler: Handler, message: Message) -> None:
        self.handler = handler
        self.message = message


class Backlog:
    """The messages that wait for one callback, of one or more topics.

    Args:
        maxsize: messages that may wait.
        max_bytes: bytes that may wait (of ``Message.raw``); a larger message is taken when it is
            the only one.
        overflow: what to do with a message for which there is no room.
        callback: name of the callback, for the reasons of gaps.
    """

    def __init__(self, maxsize: int, max_bytes: int, overflow: Overflow, callback: str) -> None:
        self._maxsize = maxsize
        self._max_bytes = max_bytes
        self._blocks = overflow == "block"
        self._latest = overflow == "latest"
        slow = f"callback {callback} is too slow: its queue of"
        self._too_many = (
            f"{slow} {maxsize:,} {'message' if maxsize == 1 else 'messages'} overflowed"
        )
        self._too_big = f"{slow} {max_bytes:,} bytes overflowed"
        self._not_latest = f"callback {callback} takes only the latest message of a topic"
        self._queue: deque[_Entry] = deque()
        self._newest: dict[Handler, _Entry] = {}  # only for "latest": where it waits in the queue
        self._bytes = 0
        self._dropped = self._skipped = 0
        self._most_queued = self._most_bytes = 0
        self._losses = Losses()

    def put(self, handler: Handler, message: Message) -> bool:
        """Add a message, by the rule of overflow; what it costs is in :meth:`take_changes`.

        Returns:
            Whether it was taken. Only ``"block"`` refuses one, and nothing has changed then.
        """
        size = len(message.raw)
        if self._latest and self._renewed(handler, message, size):
            return True
        if not self._fits(size):
            if self._blocks:
                return False
            self._make_room(size)
        entry = _Entry(handler, message)
        self._queue.append(entry)
        if self._latest:
            self._newest[handler] = entry
        self._bytes += size
        self._mark()
        return True

    def take(self) -> tuple[Handler, Message] | None:
        """Return the next message and whom it is for, or ``None``; it says if any were lost."""
        if not self._queue:
            return None
        entry = self._queue.popleft()
        handler, message = entry.handler, entry.message
        self._bytes -= len(message.raw)
        if self._blocks:
            return handler, message  # nothing is ever lost
        self._newest.pop(handler, None)
        message = self._losses.delivered(handler, message)
        if self._losses.open and self._is_half_empty():
            self._losses.caught_up()
        return handler, message

    def take_changes(self) -> list[Change]:
        """Return what listeners shall hear of losses, in order, once."""
        return self._losses.take_changes() if self._losses.changed else []

    def forget_removed(self) -> None:
        """Drop what waits for handlers that are not active any more, and what they lost."""
        self._queue = deque(entry for entry in self._queue if entry.handler.active)
        self._bytes = sum(len(entry.message.raw) for entry in self._queue)
        for handler in self._losses.handlers | set(self._newest):
            if not handler.active:
                self._newest.pop(handler, None)
                self._losses.forget(handler)

    def clear(self) -> None:
        """Drop all that waits, and what is known of losses. The counts stay."""
        self._queue = deque()
        self._newest = {}
        self._bytes = 0
        self._losses = Losses()

    def figures(self) -> QueueHealth:
        """Return how it is doing. May be called beside a change: then some figures are older."""
        try:
            oldest_ns = self._queue[0].message.received_ns
        except IndexError:
            oldest_ns = None
        return QueueHealth(
            queued=len(self._queue),
            queued_bytes=self._bytes,
            losing=self._losses.open,
            dropped=self._dropped,
            skipped=self._skipped,
            most_queued=self._most_queued,
            most_bytes=self._most_bytes,
            oldest_ns=oldest_ns,
        )

    # Inside

    def _fits(self, size: int) -> bool:
        queued = len(self._queue)
        return not queued or (queued < self._maxsize and self._bytes + size <= self._max_bytes)

    def _is_half_empty(self) -> bool:
        return len(self._queue) * 2 <= self._maxsize and self._bytes * 2 <= self._max_bytes

    def _make_room(self, size: int) -> None:
        """Drop what has waited longest until a message of that size fits."""
        while not self._fits(size):
            full = len(self._queue) >= self._maxsize
            entry = self._queue.popleft()
            self._bytes -= len(entry.message.raw)
            self._newest.pop(entry.handler, None)
            self._dropped += 1
            reason = self._too_many if full else self._too_big
            self._losses.lost(entry.handler, entry.message, reason, told=True)

    def _renewed(self, handler: Handler, message: Message, size: int) -> bool:
        """Put a message in the place of the one of its topic that waits, if there is one.

        It inherits the place: at the end of the queue, a topic that is renewed all the time would
        never be served.
        """
        entry = self._newest.get(handler)
        if entry is None:
            return False
        old = len(entry.message.raw)
        self._skipped += 1
        self._losses.lost(handler, entry.message, self._not_latest, told=False)
        if len(self._queue) > 1 and self._bytes - old + size > self._max_bytes:
            # Others have to go; by the common rule the newest message is the last to be dropped.
            self._queue.remove(entry)
            del self._newest[handler]
            self._bytes -= old
            return False
        entry.message = message
        self._bytes += size - old
        self._mark()
        return True

    def _mark(self) -> None:
        self._most_queued = max(self._most_queued, len(self._queue))
        self._most_bytes = max(self._most_bytes, self._bytes)
