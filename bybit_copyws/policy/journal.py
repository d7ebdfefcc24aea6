"""What has been passed on of a topic without numbers: trades, candles, liquidations, others.

All connections carry the same items in the same order, so the journal lists what was passed and
each connection has a position in it. It must not know the other connections.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Hashable, Iterator, Sequence
from itertools import islice, takewhile

from bybit_copyws.policy.identity import Item
from bybit_copyws.policy.ledger import Ledger, Place, Verdict, newer

DISAGREE = "the connections disagree: this one brought it after another had gone on"


class JournalPlace(Place):
    """A position in the journal.

    Attributes:
        position: where the next item of the connection belongs.
        known_from: what belongs before this position is old, whatever it is.
        skipped: what was passed but did not come on this connection; if it comes late, it is old.
        queued: keys of the queue, in its order, while the place is unknown.
        lookup: the same as a set.
        looked_at: the end of the journal when it was last compared with them.
        unsure: whether they fitted in several places then.
    """

    __slots__ = ("known_from", "looked_at", "lookup", "position", "queued", "skipped", "unsure")

    def __init__(self) -> None:
        super().__init__()
        self.position = self.known_from = 0
        self.skipped: Counter[Hashable] = Counter()
        self.queued: list[Hashable] = []
        self.lookup: set[Hashable] = set()
        self.looked_at = 0
        self.unsure = False

    def put(self, position: int, known_from: int) -> None:
        """Take a place that was found."""
        self.synced = True
        self.position, self.known_from = position, known_from
        self.skipped.clear()
        self.forget_queue()

    def forget_queue(self) -> None:
        """Begin anew with comparing the queue."""
        self.queued.clear()
        self.lookup.clear()
        self.looked_at = 0
        self.unsure = False


class Journal(Ledger[JournalPlace]):
    """The list of what was passed, and where each key stands in it.

    Args:
        unique: see :class:`~bybit_copyws.policy.identity.Rule`.
        remembered: items that are kept.
    """

    def __init__(self, unique: bool, remembered: int) -> None:
        self._unique = unique
        self._remembered = remembered
        self._start = self._end = 0
        self._begun = False  # a connection carries the topic, though it has sent nothing yet
        self._holes: deque[int] = deque()  # before which positions something may be missing
        self._ts: int | None = None
        self._keys: dict[int, Hashable] = {}
        self._positions: dict[Hashable, list[int]] = {}
        self._late: deque[tuple[int, Hashable]] = deque()  # passed out of order, not in _keys

    def place(self) -> JournalPlace:
        """Return the place of a connection of which nothing is known yet."""
        return JournalPlace()

    def covers(self, place: JournalPlace) -> bool:
        """Return whether a place is known, and what follows it is remembered."""
        return place.synced and place.position >= self._start

    def vouch(self, place: JournalPlace) -> None:
        """Put a connection that has sent nothing yet at the end of what was passed."""
        self._begun = True
        place.put(self._end, 0)

    def judge(self, place: JournalPlace, queue: deque[Item]) -> Verdict:
        """Return what the first item of a connection's queue is."""
        if not self._end:
            return Verdict.NEXT if place.synced or not self._begun else Verdict.WAIT
        if place.synced and place.known_from <= place.position < self._start:
            place.synced = False  # too far behind: it may send what has been forgotten
        if not place.synced and not self._find(place, queue):
            return Verdict.WAIT
        key = queue[0].key
        if place.position < place.known_from or self._passed_at(place, key) is not None:
            return Verdict.OLD
        if place.skipped[key]:
            return Verdict.OLD
        # What is missing at a hole comes too late once the hole was announced.
        at_hole = place.position < self._end and place.position in self._holes
        return Verdict.OLD if at_hole else Verdict.NEXT

    def drop(self, place: JournalPlace, item: Item) -> None:
        """Note that an old item was taken out of the queue."""
        if place.position < place.known_from:
            place.position += 1
            return
        passed_at = self._passed_at(place, item.key)
        if passed_at is None:
            place.skipped -= Counter((item.key,))
        elif passed_at >= place.position:
            if not self._unique:
                self._skip(place, passed_at)
            place.position = passed_at + 1

    def record(self, place: JournalPlace, item: Item) -> str | None:
        """Note that an item is passed on; tell if it comes out of order."""
        broken = bool(self._holes) and self._holes[-1] == self._end
        if place.synced and place.position < self._end:
            if not broken:
                # Not listed, for it has no place in the order of the others; but it was passed.
                self._positions.setdefault(item.key, []).append(self._end - 1)
                self._late.append((self._end - 1, item.key))
                return DISAGREE
            self._skip(place, self._end)
        self._positions.setdefault(item.key, []).append(self._end)
        self._keys[self._end] = item.key
        self._ts = item.ts
        self._end += 1
        if place.synced:
            place.position = self._end
        else:
            place.put(self._end, 0)
        if self._end - self._start > self._remembered:
            self._forget()
        return None

    def broke(self) -> None:
        """Note that something may be missing before the item that is recorded next."""
        self._holes.append(self._end)

    def leads(self, place: JournalPlace) -> bool:  # noqa: ARG002
        """Return ``False``: what is sent again is known to be the same."""
        return False

    def continues(self, item: Item) -> bool:  # noqa: ARG002
        """Return ``False``: an opaque key proves nothing by itself."""
        return False

    def stale(self, place: JournalPlace, queue: deque[Item]) -> int:
        """Return how many at the head of a queue are older, by time, than what was passed."""
        count = sum(1 for _ in takewhile(lambda item: newer(self._ts, item.ts), queue))
        if count:
            place.forget_queue()
        return count

    def adopt(self, place: JournalPlace, queue: deque[Item]) -> bool:
        """Take a place where a queue may fit: rather miss something than repeat it.

        The caller announces a hole in any case.
        """
        for position in self._fitting([item.key for item in queue], common=1):
            place.put(position, self._floor)
            return True
        return False

    # Inside

    @property
    def _floor(self) -> int:
        """From where on the journal is a copy of what the exchange sent."""
        return max(self._start, self._holes[-1] if self._holes else 0)

    def _forget(self) -> None:
        oldest = self._start
        self._start += 1
        self._unlist(self._keys.pop(oldest))
        if self._holes and self._holes[0] <= oldest:
            self._holes.popleft()
        while self._late and self._late[0][0] <= oldest:
            self._unlist(self._late.popleft()[1])

    def _unlist(self, key: Hashable) -> None:
        positions = self._positions[key]
        del positions[0]
        if not positions:
            del self._positions[key]

    def _skip(self, place: JournalPlace, passed_at: int) -> None:
        skipped = range(place.position, passed_at)
        place.skipped.update(self._keys[position] for position in skipped)
        if len(place.skipped) > self._remembered:
            place.skipped.clear()

    def _passed_at(self, place: JournalPlace, key: Hashable) -> int | None:
        """Return where an item of a connection was passed, if it was."""
        positions = self._positions.get(key)
        if not positions:
            return None
        if self._unique:
            return positions[-1]
        index = bisect_left(positions, place.position)
        return positions[index] if index < len(positions) else None

    def _find(self, place: JournalPlace, queue: deque[Item]) -> bool:
        """Find the place of a connection by what its queue has in common with the journal."""
        if not self._news(place, queue):
            return False
        if self._unique:
            index = next(i for i, key in enumerate(place.queued) if key in self._positions)
            position = self._positions[place.queued[index]][-1]
            place.put(position - index, position)
            return True
        # Items that may come again prove a place only if there is a change between them: of a
        # few equal ones, it is unknown how many came before this connection began.
        found = list(islice(self._fitting(place.queued, common=2), 2))
        place.unsure = len(found) > 1
        if len(found) != 1:
            return False
        place.put(found[0], self._floor)
        return True

    def _news(self, place: JournalPlace, queue: deque[Item]) -> bool:
        """Return whether it is worth comparing a queue with the journal (again)."""
        fresh = [item.key for item in islice(reversed(queue), len(queue) - len(place.queued))]
        fresh.reverse()
        place.queued += fresh
        place.lookup.update(fresh)
        passed = range(max(place.looked_at, self._start), self._end)
        place.looked_at = self._end
        return (
            place.unsure
            or any(key in self._positions for key in fresh)
            or any(self._keys[position] in place.lookup for position in passed)
        )

    def _fitting(self, keys: Sequence[Hashable], common: int) -> Iterator[int]:
        """Yield each position at which keys agree with the journal wherever they overlap.

        Args:
            keys: of a queue.
            common: 1 if one key must be common, 2 if two neighbours that differ must be.
        """
        floor, tried = self._floor, set()
        for index, key in enumerate(keys):
            if common == 2 and (not index or keys[index - 1] == key):
                continue
            for position in self._positions.get(key, ()):
                start = position - index
                if start in tried or position - common + 1 < floor:
                    continue
                tried.add(start)
                overlap = range(max(floor, start), min(self._end, start + len(keys)))
                if all(self._keys[each] == keys[each - start] for each in overlap):
                    yield start
