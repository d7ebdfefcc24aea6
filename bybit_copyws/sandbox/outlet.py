"""What leaves on one connection, and when: silence, a slow line, a stop in mid-frame. Pure.

Messages go in with their faults already planned; bytes come out. A message counts as sent when
its last byte has come out.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from typing import NamedTuple

from bybit_copyws.sandbox.faults import Outgoing, Planned


class Piece(NamedTuple):
    """Bytes that leave now.

    Attributes:
        data: the bytes.
        done: the message whose last byte is among them, or ``None``.
    """

    data: bytes
    done: Outgoing | None


class Outlet:
    """The line to one client."""

    def __init__(self) -> None:
        self._line: deque[Piece | None] = deque()  # None: here the line stops until released
        self._later: list[tuple[float, int, Planned]] = []
        self._order = itertools.count()
        self._size = 0
        self._held = False
        self._rate: float | None = None
        self._credit = 0.0
        self._since_ms = 0.0

    @property
    def plain(self) -> bool:
        """Whether a message may go straight to the socket."""
        return not (self._held or self._line or self._later or self._rate)

    @property
    def size(self) -> int:
        """Bytes that wait, delayed ones too."""
        return self._size

    def hold(self) -> None:
        """Let nothing leave until :meth:`release`; nothing is lost."""
        self._held = True

    def release(self) -> None:
        """Let everything go on, delayed messages too."""
        while self._later:
            self._append(heapq.heappop(self._later)[2])
        self._held = False
        while None in self._line:
            self._line.remove(None)

    def slow_down(self, bytes_per_second: float | None, now_ms: float) -> None:
        """Let only so many bytes leave in a second; ``None`` for any number."""
        self._rate, self._credit, self._since_ms = bytes_per_second, 0.0, now_ms

    def put(self, planned: Planned, now_ms: float) -> None:
        """Take a message."""
        self._size += len(planned.message.frame)
        if planned.delay_ms > 0:
            due = now_ms + planned.delay_ms
            heapq.heappush(self._later, (due, next(self._order), planned))
        else:
            self._append(planned)

    def take(self, now_ms: float) -> list[Piece]:
        """Return what leaves now, in order."""
        while self._later and self._later[0][0] <= now_ms:
            self._append(heapq.heappop(self._later)[2])
        if self._rate is not None:
            self._credit += max(0.0, now_ms - self._since_ms) / 1000 * self._rate
        self._since_ms = now_ms
        pieces: list[Piece] = []
        while self._line and not self._held:
            piece = self._line[0]
            if piece is None:
                self._line.popleft()
                self._held = True
            elif self._rate is None or len(piece.data) <= self._credit:
                self._line.popleft()
                self._size -= len(piece.data)
                self._credit -= len(piece.data) if self._rate is not None else 0
                pieces.append(piece)
            else:
                fits = int(self._credit)
                if fits:
                    pieces.append(Piece(piece.data[:fits], None))
                    self._line[0] = Piece(piece.data[fits:], piece.done)
                    self._credit -= fits
                    self._size -= fits
                break
        return pieces

    def _append(self, planned: Planned) -> None:
        message = planned.message
        if planned.cut_at is None:
            self._line.append(Piece(message.frame, message))
            return
        if planned.cut_at:
            self._line.append(Piece(message.frame[: planned.cut_at], None))
        self._line.append(None)
        self._line.append(Piece(message.frame[planned.cut_at :], message))
