"""What has been passed on of a topic whose updates are numbered: order books and tickers.

A :class:`Place` is where one connection stands in the common sequence. The ledger tells whether
its next item was passed, comes next or must wait; it must not know the other connections.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections import deque
from typing import Generic, TypeVar

from bybit_copyws.policy.identity import Item


class Verdict(enum.Enum):
    """What an item is to the ledger."""

    OLD = "old"  # was passed, or belongs before what was
    NEXT = "next"  # follows what was passed, without a hole
    WAIT = "wait"  # something that comes before it may still be on its way


class Place:
    """Where a connection stands.

    Attributes:
        synced: whether all it sends from here on follows, without a hole, on something passed.
    """

    __slots__ = ("synced",)

    def __init__(self) -> None:
        self.synced = False

    def forget(self) -> None:
        """Make the place unknown."""
        self.synced = False


PlaceT = TypeVar("PlaceT", bound=Place)


class Ledger(ABC, Generic[PlaceT]):
    """What has been passed on."""

    @abstractmethod
    def place(self) -> PlaceT:
        """Return the place of a connection of which nothing is known yet."""

    @abstractmethod
    def judge(self, place: PlaceT, queue: deque[Item]) -> Verdict:
        """Return what the first item of a connection's queue is; again at each change."""

    @abstractmethod
    def drop(self, place: PlaceT, item: Item) -> None:
        """Note that an old item was taken out of the queue."""

    @abstractmethod
    def record(self, place: PlaceT, item: Item) -> str | None:
        """Note that an item is passed on; return what is strange about it."""

    @abstractmethod
    def broke(self) -> None:
        """Note that something may be missing before the item that is recorded next."""

    @abstractmethod
    def covers(self, place: PlaceT) -> bool:
        """Return whether a place is known and still remembered."""

    @abstractmethod
    def leads(self, place: PlaceT) -> bool:
        """Return whether a connection brought what was passed last and may be taken as it is."""

    @abstractmethod
    def continues(self, item: Item) -> bool:
        """Return whether an item proves by itself that nothing is missing before it."""

    @abstractmethod
    def stale(self, place: PlaceT, queue: deque[Item]) -> int:
        """Return how many at the head of a queue are older, by their times, than what was passed.

        Asked if nothing else can settle the queue; so many are then taken out of it.
        """

    @abstractmethod
    def adopt(self, place: PlaceT, queue: deque[Item]) -> bool:
        """Take the likeliest place for a queue that nothing else can settle, if there is one."""

    @abstractmethod
    def vouch(self, place: PlaceT) -> None:
        """Put a connection that has sent nothing yet at the end of what was passed."""


class NumberedPlace(Place):
    """A place in a numbered sequence: the last item of the connection, ``None`` if unknown."""

    __slots__ = ("count", "epoch", "number", "ts")

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0
        self.number: int | None = None
        self.count = 0  # how many items of this number in a row
        self.ts: int | None = None

    def forget(self) -> None:
        """Make the place unknown, the epoch too."""
        self.synced, self.number = False, None


class NumberedLedger(Ledger[NumberedPlace]):
    """Items in the order of their numbers; equal ones in a row are counted.

    A connection on which the numbers go back has come to a new *epoch* (the service restarted).
    Epochs are counted along each connection; only where that cannot be done times tell.

    Args:
        chained: see :class:`~bybit_copyws.policy.identity.Rule`.
    """

    def __init__(self, chained: bool) -> None:
        self._chained = chained
        self._deltas = False  # level 1 has none, and its numbers are not consecutive
        self._epoch = 0
        self._epoch_ts: int | None = None
        self._epoch_sure = True  # its first item was passed, not one amid it after a hole
        self._number: int | None = None
        self._count = 0
        self._ts: int | None = None
        # A connection whose first item this number was: nobody else can tell how many came before.
        self._starter: NumberedPlace | None = None

    def place(self) -> NumberedPlace:
        """Return the place of a connection of which nothing is known yet."""
        return NumberedPlace()

    def covers(self, place: NumberedPlace) -> bool:
        """Return whether a place is known: numbers need no memory."""
        in_epoch = self._epoch_sure or place.epoch == self._epoch
        return place.synced and in_epoch and self._starter in (None, place)

    def judge(self, place: NumberedPlace, queue: deque[Item]) -> Verdict:
        """Return what the first item of a connection's queue is."""
        item, last = queue[0], self._number
        if last is None:
            return Verdict.NEXT
        epoch = self._epoch_of(place, item)
        if epoch < self._epoch:
            return Verdict.OLD
        if epoch > self._epoch:
            return Verdict.NEXT if place.synced else Verdict.WAIT
        if item.key < last:
            return Verdict.OLD
        if item.key == last:
            return self._judge_equal(place, item)
        if self._chained and not item.snapshot and item.key == last + 1:
            return Verdict.NEXT  # proves by itself that nothing is missing
        if place.synced and (not self._deltas or item.key == last + 1):
            return Verdict.NEXT
        return Verdict.WAIT

    def drop(self, place: NumberedPlace, item: Item) -> None:
        """Note that an old item was taken out; its connection is known to overlap from here on."""
        epoch = self._epoch_of(place, item)
        if not place.synced:
            place.synced = True
            # A first snapshot stands for all repetitions so far.
            at_end = epoch == self._epoch and item.key == self._number
            place.count = self._count if at_end else 1
        elif epoch != place.epoch or place.number is None or item.key > place.number:
            place.count = 1
        elif item.key == place.number:
            place.count += 1
        else:
            return  # behind its own connection, and older
        place.epoch, place.number, place.ts = epoch, item.key, item.ts

    def record(self, place: NumberedPlace, item: Item) -> str | None:
        """Note that an item is passed on."""
        last = self._number
        if not self._chained and not place.synced:
            self._starter = place
        elif item.key != last:
            self._starter = None
        restarted = last is not None and (
            item.key < last or self._epoch_of(place, item) > self._epoch
        )
        if restarted or last is None:
            self._epoch += restarted
            self._epoch_ts = item.ts
            self._epoch_sure = place.synced or last is None
        self._count = self._count + 1 if item.key == last and not restarted else 1
        self._number, self._ts = item.key, item.ts
        self._deltas |= self._chained and not item.snapshot
        place.synced = True
        place.epoch, place.number = self._epoch, item.key
        place.count, place.ts = self._count, item.ts
        return None

    def leads(self, place: NumberedPlace) -> bool:
        """Return whether a connection brought what was passed last."""
        at = (place.epoch, place.number, place.count)
        return place.synced and at == (self._epoch, self._number, self._count)

    def broke(self) -> None:
        """Do nothing: what is missing shows in the numbers."""

    def stale(self, place: NumberedPlace, queue: deque[Item]) -> int:  # noqa: ARG002
        """Return 0: numbers tell what is older."""
        return 0

    def adopt(self, place: NumberedPlace, queue: deque[Item]) -> bool:  # noqa: ARG002
        """Return ``False``: numbers leave no choice of places."""
        return False

    def vouch(self, place: NumberedPlace) -> None:
        """Do nothing: these channels begin with a snapshot, which tells the place."""

    def continues(self, item: Item) -> bool:
        """Return whether the number of an item is the last one or follows it directly."""
        last = self._number
        return self._chained and last is not None and item.key in (last, last + 1)

    def _judge_equal(self, place: NumberedPlace, item: Item) -> Verdict:
        place.synced = place.synced and self._starter in (None, place)
        if not place.synced:
            # Where equal numbers are different updates, it is unknown which of them this is.
            return Verdict.OLD if self._chained else Verdict.WAIT
        count = place.count + 1 if item.key == place.number else 1
        return Verdict.NEXT if count > self._count else Verdict.OLD

    def _epoch_of(self, place: NumberedPlace, item: Item) -> int:
        if place.number is not None:
            epoch = place.epoch + _went_back(place, item)
            if epoch >= self._epoch or not newer(item.ts, self._epoch_ts):
                return epoch
            # Younger than the restart that it should come before: the count does not hold here.
            place.forget()
        last = self._number or 0
        if (self._epoch or item.key > last) and newer(self._epoch_ts, item.ts):
            return self._epoch - 1
        if self._chained and item.key < last:
            # Either this connection is beyond a restart, or it is late. The next message of
            # another one tells: what is younger than this and not restarted means it was late.
            return self._epoch + newer(item.ts, self._ts)
        return self._epoch


def newer(ts: int | None, other: int | None) -> bool:
    """Return whether a time is later than another one, both known."""
    return ts is not None and other is not None and ts > other


def _went_back(place: NumberedPlace, item: Item) -> bool:
    """Return whether a connection has come to a new epoch with an item."""
    if place.number is None or item.key >= place.number:
        return False
    return (item.snapshot and item.key == 1) or not newer(place.ts, item.ts)
