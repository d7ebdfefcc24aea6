"""One way of one connection: which of its bytes may leave when.

Pure: bytes, ends and the time come in by calls, pieces to send are taken out by calls. Knows
neither sockets nor clocks.
"""

from __future__ import annotations

import random
from collections import deque

from bybit_copyws.sandbox.proxy.faults import Faults

_MOST = 2**18  # bytes handed to the kernel in one call
_STEP = 0.01  # seconds' worth of bytes in one piece under a rate
_CATCH_UP = 0.05  # seconds of pause that a rate makes up for at most


class Lane:
    """The bytes of one way of one connection, from their coming in to their leaving.

    Args:
        faults: those of the direction; the armed ones are taken from it.
        number: of the connection; gives each one its own jitter.

    Attributes:
        received: bytes that came in.
        forwarded: bytes that left, all of them in order.
        held: nothing leaves, on this connection alone.
        ended: ``"fin"`` or ``"rst"``, once the speaker has said so.
        over: the hearer was told of the end.
    """

    def __init__(self, faults: Faults, number: int = 1) -> None:
        self.received = 0
        self.forwarded = 0
        self.held = False
        self.ended: str | None = None
        self.over = False
        self._faults = faults
        self._cuts = faults.draw_cuts()
        self._flips = faults.draw_flips()
        self._number = number
        self._chance: random.Random | None = None
        self._chance_seed: int | None = None
        self._dead = False
        self._waiting = bytearray()
        # Where each piece that came in ends, and when it may leave; both only grow.
        self._marks: deque[tuple[int, float]] = deque()
        self._last_due = 0.0
        self._end_due = 0.0
        # Bytes up to here are due; the first of them has been since then.
        self._ripe = 0
        self._since = 0.0
        self._free_at = 0.0  # when the rate lets the next piece begin

    # What comes in

    @property
    def waiting(self) -> int:
        """Bytes that came in and have not left."""
        return len(self._waiting)

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes from the speaker."""
        begin = self.received
        self.received += len(data)
        if self._dead:
            return
        self._waiting += data
        for offset in [each for each in self._flips if begin <= each < self.received]:
            self._waiting[offset - self.forwarded] ^= self._flips.pop(offset)
        self._marks.append((self.received, self._due(now)))

    def end(self, how: str, now: float) -> None:
        """Take the end, ``"fin"`` or ``"rst"``; it leaves behind the bytes."""
        self.ended = how
        self.over = False
        self._end_due = self._due(now)

    def discard(self) -> None:
        """Lose what waits and what will come: there is nobody any more to hear it."""
        self._dead = True
        self._waiting.clear()
        self._marks.clear()
        self._ripe = self.forwarded

    def heal(self) -> None:
        """Let everything leave at once, whatever was said before."""
        self.held = False
        self._cuts.clear()
        self._flips.clear()
        if self._marks:
            self._marks = deque([(self._marks[-1][0], 0.0)])
        self._last_due = self._end_due = self._free_at = 0.0

    def _due(self, now: float) -> float:
        faults = self._faults
        due = now + faults.delay
        if faults.jitter:
            if self._chance is None or self._chance_seed != faults.seed:
                # Not for secrets: the same seed must give the same times.
                self._chance = random.Random(f"{faults.seed}:{self._number}")  # noqa: S311
                self._chance_seed = faults.seed
            due += self._chance.uniform(0.0, faults.jitter)
        self._last_due = max(due, self._last_due)  # TCP keeps the order
        return self._last_due

    # What leaves

    @property
    def chunked(self) -> bool:
        """Whether each piece must be a segment of its own."""
        return self._faults.chunk is not None

    @property
    def _stopped(self) -> bool:
        return self.held or self._faults.held

    def reached(self) -> str | None:
        """Return how the connection is to be cut here and now, if it is.

        A cut of the kind ``"hold"`` is done here.
        """
        while self._cuts and self._cuts[0].offset == self.forwarded and not self._stopped:
            how = self._cuts.pop(0).how
            if how != "hold":
                return how
            self.held = True
        return None

    def piece(self, now: float) -> bytearray:
        """Return the next bytes to send; none when nothing may leave now."""
        at = self.ready_at(now)
        if at is None or at > now or self._ripe == self.forwarded:
            return bytearray()
        return self._waiting[: self._size()]

    def sent(self, size: int, now: float) -> None:
        """Take note that so many bytes of the piece have left."""
        if self._faults.rate is not None:
            planned = max(self._free_at, self._since) + size / self._faults.rate
            self._free_at = max(planned, now - _CATCH_UP)
        del self._waiting[:size]
        self.forwarded += size

    def ending(self, now: float) -> str | None:
        """Return the end if it is what leaves next, and now."""
        if self.ended is None or self.over or self._waiting:
            return None
        at = self.ready_at(now)
        return None if at is None or at > now else self.ended

    def ready_at(self, now: float) -> float | None:
        """Return when the next thing may leave; ``None`` if not before something else happens."""
        if self._stopped:
            return None
        while self._marks and self._marks[0][1] <= now:
            end, due = self._marks.popleft()
            if self._ripe == self.forwarded:
                self._since = due
            self._ripe = end
        if self._ripe > self.forwarded:
            rate = self._faults.rate
            return now if rate is None else max(self._free_at, self._since) + self._size() / rate
        if self._marks:
            return self._marks[0][1]
        return None if self.ended is None or self.over else self._end_due

    def _size(self) -> int:
        """Return how many bytes make the next piece."""
        limits = [self._ripe - self.forwarded, _MOST]
        if self._faults.chunk is not None:
            limits.append(self._faults.chunk)
        elif self._faults.rate is not None:
            limits.append(max(1, int(self._faults.rate * _STEP)))
        if self._cuts:
            limits.append(self._cuts[0].offset - self.forwarded)
        return min(limits)
