"""The order-book topics: a window of the full book, told by its changes.

A push looks at the levels that changed and at those that moved across the window's edge, never at
the whole book.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from .book import FAR
from .engine import Engine
from .feeds import Feed, Message

#: The push cadence of each depth, in milliseconds.
CADENCE_MS = {1: 10, 50: 20, 200: 100, 1000: 200}
#: A best level that has not changed is repeated after this time.
REPEAT_MS = 3000


class _Stamp(NamedTuple):
    """What a message says of its place in the order of things."""

    update_id: int
    sequence: int
    changed_ms: int


class BookFeed(Feed):
    """``orderbook`` of depth 50 and more: one snapshot, then deltas.

    Args:
        engine: The market of the topic's symbol.
        topic: The topic as subscribed.
        profile: ``v3`` or ``v5``.
        depth: How many levels a side the window shows.
        every_change: Push each change of the book at once, whatever the cadence.
    """

    def __init__(
        self, engine: Engine, topic: str, profile: str, depth: int, *, every_change: bool = False
    ) -> None:
        self.depth = depth
        self.every_change = every_change
        self.cadence_ms = CADENCE_MS[depth]
        super().__init__(engine, topic, profile)
        self._shown: dict[int, int] = {}
        self._bid_edge = self._ask_edge = FAR
        self._restarting = False
        # What each message not yet handed over has changed: the way back to what subscribers have.
        self._undo: list[tuple[list[tuple[int, int | None]], _Stamp]] = []
        book = engine.book
        self._dirty: set[int] = set(book.sizes)
        book.watchers.append(self._dirty)
        self._changes()
        self._stamp = _Stamp(engine.first_update_id, book.sequence, book.changed_ms)

    # What subscribers use

    def snapshot(self, now_ms: int) -> Message:
        """Return the window as of the last message handed over."""
        shown, stamp = self._handed_over()
        return self._message("snapshot", *self._rows(shown), now_ms, stamp)

    def poll(self, now_ms: int) -> list[Message]:
        """Bring the symbol to ``now_ms`` and return the messages pushed since the last poll."""
        out = super().poll(now_ms)
        self._undo.clear()
        return out

    def book(self) -> tuple[list[list[str]], list[list[str]]]:
        """Return bids and asks as of the last message handed over, best first."""
        return self._rows(self._handed_over()[0])

    @property
    def update_id(self) -> int:
        """The update id of the last push."""
        return 0 if self._restarting else self._stamp.update_id

    def continue_from(self, update_id: int | None) -> None:
        """Count on from where an earlier feed of the topic stopped, if there was one."""
        if update_id is not None:
            self._stamp = self._stamp._replace(update_id=update_id + 1)

    def restart(self) -> None:
        """Let the next message be a snapshot with the update id 1."""
        self._restarting = True
        self.due_ms = self._slot(self._engine.now_ms)

    # What the engine uses

    def notice(self, now_ms: int) -> None:
        """Set the time of the next push, or push now if every change counts."""
        if self.every_change and self._dirty:
            self.tick(now_ms)
        else:
            super().notice(now_ms)

    def close(self) -> None:
        """Leave the book."""
        super().close()
        watchers = self._engine.book.watchers
        # By identity: two sets may be equal.
        watchers[:] = [watcher for watcher in watchers if watcher is not self._dirty]

    # How a push is made

    def _push(self, now_ms: int) -> None:
        changes = self._changes()
        if not changes and not self._restarting:
            return
        before, book = self._stamp, self._engine.book
        update_id = 1 if self._restarting else before.update_id + 1
        self._stamp = stamp = _Stamp(update_id, book.sequence, book.changed_ms)
        self._undo.append((changes, before))
        if self._restarting or self.depth == 1:
            self._restarting = False
            message = self._message("snapshot", *self._rows(self._shown), now_ms, stamp)
        else:
            bids, asks = self._delta_rows(changes)
            message = self._message("delta", bids, asks, now_ms, stamp)
        self._out.append(message)

    def _changes(self) -> list[tuple[int, int | None]]:
        """Bring the window up to date; return each changed key, best first, with its old size."""
        book, dirty, shown = self._engine.book, self._dirty, self._shown
        bid_edge, ask_edge = self._edge(book.bids), self._edge(book.asks)
        if bid_edge != self._bid_edge:
            self._crossed(book.bids, self._bid_edge)
            self._bid_edge = bid_edge
        if ask_edge != self._ask_edge:
            self._crossed(book.asks, self._ask_edge)
            self._ask_edge = ask_edge
        changes: list[tuple[int, int | None]] = []
        sizes = book.sizes
        for key in sorted(dirty):
            inside = key <= (bid_edge if key < 0 else ask_edge)
            new = sizes.get(key) if inside else None
            old = shown.get(key)
            if new == old:
                continue
            changes.append((key, old))
            if new is None:
                del shown[key]
            else:
                shown[key] = new
        dirty.clear()
        return changes

    def _edge(self, keys: list[int]) -> int:
        return keys[self.depth - 1] if len(keys) >= self.depth else FAR

    def _crossed(self, keys: list[int], old_edge: int) -> None:
        """Add the levels between the old edge of the window and the new one to the changed ones."""
        at, depth = bisect_right(keys, old_edge), self.depth
        self._dirty.update(keys[at:depth] if at < depth else keys[depth:at])

    def _delta_rows(
        self, changes: list[tuple[int, int | None]]
    ) -> tuple[list[list[str]], list[list[str]]]:
        book, shown = self._engine.book, self._shown
        price, size = book.price.text, book.size.text
        bids: list[list[str]] = []
        asks: list[list[str]] = []
        for key, _ in changes:
            new = shown.get(key)
            text = "0" if new is None else size(new)
            if key < 0:
                bids.append([price(-key), text])
            else:
                asks.append([price(key), text])
        return bids, asks

    def _handed_over(self) -> tuple[dict[int, int], _Stamp]:
        if not self._undo:
            return self._shown, self._stamp
        shown = dict(self._shown)
        for changes, _ in reversed(self._undo):
            for key, old in changes:
                if old is None:
                    del shown[key]
                else:
                    shown[key] = old
        return shown, self._undo[0][1]

    def _rows(self, shown: dict[int, int]) -> tuple[list[list[str]], list[list[str]]]:
        book = self._engine.book
        price, size = book.price.text, book.size.text
        keys = sorted(shown)
        bids = [[price(-key), size(shown[key])] for key in keys if key < 0]
        asks = [[price(key), size(shown[key])] for key in keys if key > 0]
        return bids, asks

    def _message(
        self, kind: str, bids: list[list[str]], asks: list[list[str]], now_ms: int, stamp: _Stamp
    ) -> Message:
        message: Message = {
            "topic": self.topic,
            "type": kind,
            "ts": now_ms,
            "data": {
                "s": self._symbol,
                "b": bids,
                "a": asks,
                "u": stamp.update_id,
                "seq": stamp.sequence,
            },
        }
        if self.profile == "v5":
            message["cts"] = stamp.changed_ms
        return message

    def _news(self) -> bool:
        return bool(self._dirty)


class TopFeed(BookFeed):
    """``orderbook.1``: every change is a snapshot, and one without change is repeated."""

    def __init__(
        self, engine: Engine, topic: str, profile: str, depth: int, *, every_change: bool = False
    ) -> None:
        super().__init__(engine, topic, profile, depth, every_change=every_change)
        self._told_ms = engine.now_ms
        self.due_ms = self._told_ms + REPEAT_MS

    def tick(self, now_ms: int) -> None:
        """Push a change of the best levels, or repeat them, and set the time of the repetition."""
        pushed = len(self._out)
        super().tick(now_ms)
        if len(self._out) == pushed and now_ms >= self._told_ms + REPEAT_MS:
            # The update id stays: nothing has changed.
            self._out.append(
                self._message("snapshot", *self._rows(self._shown), now_ms, self._stamp)
            )
        if len(self._out) > pushed:
            self._told_ms = now_ms
        self.due_ms = self._told_ms + REPEAT_MS
