"""Which messages are passed on when several connections carry one topic.

Two connections for redundancy, or an old and a new one during a hand-over: whatever comes first
is passed, once, in order. A connection is called a *line* here and known by a number. It *carries*
the topic once it has overlapped with what was passed: all it sends from there on follows without
a hole. A line that has just joined may be ahead of the others; what it sends is held until they
have come as far, or are gone.

Pure: messages go in, messages to be passed on come out. It must not know what a line is, what a
subscription is, nor the time. Not thread-safe: the caller serializes the calls for one topic.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from bybit_copyws.policy.identity import Arrival, Item, Rule
from bybit_copyws.policy.journal import Journal
from bybit_copyws.policy.ledger import Ledger, NumberedLedger, Place, Verdict

_NEW = "the connection is new"
_LOST = "a message was lost on the connection"
_SILENT = "the other connections lag behind"


class Passed(NamedTuple):
    """A message to be passed on.

    Attributes:
        arrival: the message; if some of its entries were passed before, only the rest of its
            ``data`` (``raw`` stays as it was).
        hole: why something may be missing directly before it, or ``None``.
    """

    arrival: Arrival
    hole: str | None


class _Line:
    """One connection."""

    __slots__ = ("doubt", "lost", "number", "place", "queue", "waits_since")

    def __init__(self, number: int, ledger: Ledger[Any]) -> None:
        self.number = number
        self.place: Place = ledger.place()
        self.queue: deque[Item] = deque()
        self.lost = False  # something may be missing before its next message
        self.doubt = _NEW  # why its place is not known
        self.waits_since = 0  # items passed when the first of the queue began to wait


class TopicArbiter:
    """Decides, for one topic, what is passed on.

    Args:
        identity: the rule of the channel, from :func:`~bybit_copyws.policy.identity.rule_of`.
        max_held: items (messages, or trades) of one line that wait for another line at most.
        remembered: items passed that are known again; a line may lag that many behind.
    """

    def __init__(self, identity: Rule, *, max_held: int = 10_000, remembered: int = 20_000) -> None:
        self._rule = identity
        self._max_held = max_held
        self._ledger: Ledger[Any] = (
            NumberedLedger(identity.chained)
            if identity.numbered
            else Journal(identity.unique, remembered)
        )
        self._lines: dict[int, _Line] = {}
        self._out: list[tuple[Item, str | None]] = []
        self._hole: str | None = None  # to be said with the next item
        self._passed = 0
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Items not passed on, because another line brought them (or the memory was full)."""
        return self._dropped

    @property
    def held(self) -> int:
        """Items that wait for another line now."""
        return sum(len(line.queue) for line in self._lines.values())

    def join(self, line: int) -> None:
        """Note that a line will carry the topic; no effect if it is known."""
        if line not in self._lines:
            self._lines[line] = _Line(line, self._ledger)

    def take(self, line: int, arrival: Arrival) -> list[Passed]:
        """Take a message of a line (which joins by that) and return what is to be passed on."""
        self.join(line)
        its = self._lines[line]
        items = self._rule.cut(arrival)
        if its.lost:
            its.lost, its.doubt = False, _LOST
            if its.queue and not self._rule.numbered:
                self._start_anew(its)  # a queue with a hole in it has no place in a journal
            items[0].after_loss = True
        if not its.queue:
            its.waits_since = self._passed
        its.queue.extend(items)
        self._advance()
        if len(its.queue) > self._max_held:
            self._relieve(its)
        return self._collect()

    def lost(self, line: int) -> None:
        """Note that something may be missing before the next message of a line."""
        if line in self._lines:
            self._lines[line].lost = True

    def leave(self, line: int) -> list[Passed]:
        """Note that a line is gone, with all that it had on its way; return what is free now."""
        its = self._lines.pop(line, None)
        if its is not None:
            self._dropped += len(its.queue)
            self._advance()
        return self._collect()

    def covered(self, line: int) -> bool:
        """Return whether a line alone would go on without a hole if all others left now."""
        its = self._lines.get(line)
        return its is not None and self._covers(its)

    def vouch(self, line: int) -> None:
        """Count a silent line as one that carries the topic.

        For topics that are silent for long, where it would never overlap: to be called when all
        that was published before it joined must have come by the other lines. No effect on a
        line that has sent something, nor on channels that begin with a snapshot.
        """
        its = self._lines.get(line)
        if its is None or its.queue or its.lost or its.place.synced:
            return
        if not self._passed or any(map(self._covers, self._lines.values())):
            self._ledger.vouch(its.place)

    # Inside

    def _covers(self, line: _Line) -> bool:
        return not line.queue and not line.lost and self._ledger.covers(line.place)

    def _advance(self) -> None:
        """Pass on and drop all that can be."""
        while self._step():
            pass

    def _step(self) -> bool:
        moved = False
        waiting = []
        for line in self._lines.values():
            while line.queue and self._settle(line):
                moved = True
            if line.queue:
                waiting.append(line)
        if moved or not waiting:
            return moved
        if any(map(self._covers, self._lines.values())):
            return False  # that line may bring what is missing
        self._force(min(waiting, key=self._rank))
        return True

    def _settle(self, line: _Line) -> bool:
        """Pass on or drop the first item of a line's queue; return whether that was possible."""
        item = line.queue[0]
        if item.after_loss:
            item.after_loss = line.place.synced = False
        verdict = self._ledger.judge(line.place, line.queue)
        if verdict is Verdict.WAIT:
            return False
        alone = len(self._lines) == 1 and self._ledger.leads(line.place)
        if verdict is Verdict.NEXT or alone:  # nobody else can have brought it
            self._pass(line)
        elif item.snapshot and not line.place.synced and not self._carried():
            self._force(line)  # whoever begins anew needs it, even if nothing was missed
        else:
            self._ledger.drop(line.place, self._drop(line))
        return True

    def _carried(self) -> bool:
        return any(line.place.synced and not line.lost for line in self._lines.values())

    def _rank(self, line: _Line) -> tuple[bool, int, int]:
        """Return what decides whose item is passed if nobody can bring what comes before."""
        item = line.queue[0]
        return not line.place.synced, item.key if self._rule.numbered else item.ts or 0, line.number

    def _force(self, line: _Line, why: str | None = None) -> None:
        """Pass on the first item of a line's queue though something may be missing before it."""
        if not line.place.synced and not self._ledger.continues(line.queue[0]):
            self._hole = f"{why or line.doubt}, and no other one brought what came before"
            stale = self._ledger.stale(line.place, line.queue)
            for _ in range(stale):
                self._drop(line)
            if stale or self._ledger.adopt(line.place, line.queue):
                return
        self._pass(line)

    def _pass(self, line: _Line) -> None:
        hole, self._hole = self._hole, None
        if hole is not None:
            self._ledger.broke()
            # What this line sends counts from here on. Any other must overlap with it first.
            for other in self._lines.values():
                if other is not line:
                    other.place.forget()
        self._passed += 1
        item = self._pop(line)
        strange = self._ledger.record(line.place, item)
        self._out.append((item, hole or strange))

    def _drop(self, line: _Line) -> Item:
        self._dropped += 1
        return self._pop(line)

    def _pop(self, line: _Line) -> Item:
        line.waits_since = self._passed
        return line.queue.popleft()

    def _relieve(self, line: _Line) -> None:
        """Do something about a queue that is too long."""
        if self._passed > line.waits_since:
            self._start_anew(line)  # another line does bring the topic; this one does not fit
        else:
            self._force(line, _SILENT)
            self._advance()

    def _start_anew(self, line: _Line) -> None:
        self._dropped += len(line.queue)
        line.queue.clear()
        line.place = self._ledger.place()

    def _collect(self) -> list[Passed]:
        """Return what was let through, the items of one message together again."""
        passed: list[Passed] = []
        first = 0
        out, self._out = self._out, []
        for index, (item, _) in enumerate(out):
            following = out[index + 1] if index + 1 < len(out) else None
            if following and following[0].arrival is item.arrival and following[1] is None:
                continue
            parts = [each.part for each, _ in out[first : index + 1]]
            arrival = item.arrival
            if item.part is not None and len(parts) < len(arrival.data):
                arrival = arrival._replace(data=parts)
            passed.append(Passed(arrival, out[first][1]))
            first = index + 1
        return passed
