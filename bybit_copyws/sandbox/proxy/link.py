"""One connection through the proxy: the client's socket, the target's, and a lane each way.

Everything here is non-blocking and runs in the thread that calls :meth:`Link.step`; the time is
an argument.
"""

from __future__ import annotations

import enum
import errno
import selectors
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bybit_copyws.sandbox.proxy import kernel
from bybit_copyws.sandbox.proxy.lane import Lane
from bybit_copyws.sandbox.proxy.side import READ, Side
from bybit_copyws.sandbox.proxy.target import Address

_TURN = 64  # pieces sent in one turn, so that no connection holds up the others
_POLL = 0.001  # seconds between two looks at what the kernel does not tell by itself
_BROKEN = (errno.ECONNRESET, errno.EPIPE)  # it was open, and is no more
_RESET_POLL = 0.02  # seconds; the same, for an RST behind a FIN


@dataclass(frozen=True)
class ProxiedConnection:
    """What the proxy knows about one connection, at one moment.

    Attributes:
        number: the first one is 1.
        up: bytes forwarded to the target.
        down: bytes forwarded to the client.
        up_waiting: bytes of the client that are in the proxy.
        down_waiting: bytes of the target that are in the proxy.
        ended: ``None`` while it is open; else ``"closed"`` (both sides ended it), ``"reset"`` (one
            side reset it), ``"cut"`` (the proxy did), ``"unreachable"`` (there was no target),
            ``"given up"`` (the client left before anything was forwarded) or ``"stopped"`` (the
            proxy was closed).
    """

    number: int
    up: int
    down: int
    up_waiting: int
    down_waiting: int
    ended: str | None


class Phase(enum.Enum):
    """Where a connection is in its life."""

    SILENT = "silent"  # accepted, the target knows nothing of it
    CONNECTING = "connecting"  # to the target
    OPEN = "open"
    ENDING = "ending"  # nothing is forwarded any more; the sockets are being ended
    GONE = "gone"


class Link:
    """One connection: what comes in goes into a lane, what may leave is sent, ends included.

    Args:
        number: of the connection.
        client: the accepted socket.
        up: lane to the target.
        down: lane to the client.
        selector: tells which sockets are ready; its data is the :class:`Side`.
        buffer: bytes that may wait in a lane; with more, the speaker is not read.
    """

    def __init__(
        self,
        number: int,
        client: socket.socket,
        up: Lane,
        down: Lane,
        selector: selectors.BaseSelector,
        buffer: int,
    ) -> None:
        self.up, self.down = up, down
        self._phase = Phase.SILENT
        self._number = number
        self._ended: str | None = None
        self._client = Side(client, selector)
        self._target: Side | None = None
        self._addresses: list[Address] = []
        self._address: tuple[Any, ...] = ()
        self._selector = selector
        self._buffer = buffer

    def info(self) -> ProxiedConnection:
        """Return what there is to know about it."""
        up, down = self.up, self.down
        return ProxiedConnection(
            self._number, up.forwarded, down.forwarded, up.waiting, down.waiting, self._ended
        )

    @property
    def ended(self) -> bool:
        """Whether nothing is forwarded any more."""
        return self._ended is not None

    @property
    def silent(self) -> bool:
        """Whether the target knows nothing of it."""
        return self._phase is Phase.SILENT

    @property
    def gone(self) -> bool:
        """Whether its sockets are closed."""
        return self._phase is Phase.GONE

    # Getting to the target

    def connect(self, addresses: Iterable[Address]) -> None:
        """Begin to connect to the first address that takes it; without one, reset the client."""
        self._addresses = list(addresses)
        while self._addresses:
            family, self._address = self._addresses.pop(0)
            try:
                self._target = Side(socket.socket(family, socket.SOCK_STREAM), self._selector)
            except OSError:  # no descriptor is left
                break
            self._target.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer)
            self._target.blocked = True
            self._phase = Phase.CONNECTING
            try:
                self._target.sock.connect(self._address)
            except BlockingIOError:
                return
            except OSError:
                self._target.close()
            else:  # pragma: no cover (no known system connects at once)
                return
        self.cut("rst", "unreachable")

    def _try_open(self, target: Side) -> None:
        """Go on once the attempt has come to an end."""
        if target.blocked:
            return
        error = target.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        target.broken = error in _BROKEN
        # A socket can meet itself: the system gave it the very port on which nobody listens.
        if (error and not target.broken) or target.sock.getsockname() == self._address:
            target.close()
            self.connect(self._addresses)
        else:
            self._phase = Phase.OPEN

    # The life of the connection

    def step(self, now: float) -> float | None:
        """Do all that can be done now.

        Returns:
            When to be called again if the selector says nothing before, ``None`` for never.
        """
        if self._phase is Phase.CONNECTING and self._target is not None:
            self._try_open(self._target)
        times: list[float | None] = []
        if self._phase not in (Phase.ENDING, Phase.GONE):
            times = self._forward(now)
        if self._phase is Phase.ENDING:
            times = [self._wind_up(now)]
        self._watch()
        return min((each for each in times if each is not None), default=None)

    def _forward(self, now: float) -> list[float | None]:
        client, target, up, down = self._client, self._target, self.up, self.down
        self._read(client, up, now)
        if self._phase is Phase.SILENT and up.ended:
            self.cut("fin", "given up")
        if self._phase is not Phase.OPEN or target is None:
            return []
        self._read(target, down, now)
        times = [self._pump(up, target, now)]
        if self._phase is Phase.OPEN:
            times.append(self._pump(down, client, now))
        if up.over and down.over and self._phase is Phase.OPEN:
            self.stop("closed")
        if self._phase is Phase.OPEN:
            times += [self._look(client, up, now), self._look(target, down, now)]
        return times

    def _read(self, speaker: Side, lane: Lane, now: float) -> None:
        room = self._buffer - lane.waiting
        if not speaker.ready or room <= 0:
            return
        data = speaker.receive(room)
        if data:
            lane.receive(data, now)
        elif data is not None:
            lane.end("rst" if speaker.broken else "fin", now)

    def _look(self, speaker: Side, lane: Lane, now: float) -> float | None:
        """Look for an RST behind a FIN, of which no selector tells."""
        if lane.ended != "fin":
            return None
        if speaker.failed():
            lane.end("rst", now)
            return now
        return now + _RESET_POLL

    def _pump(self, lane: Lane, hearer: Side, now: float) -> float | None:
        """Send what may leave; return when there is more to do."""
        for _ in range(_TURN):
            how = lane.reached()
            if how is not None:
                self.cut(how)
                return None
            piece = lane.piece(now)
            if not piece:
                break
            if hearer.blocked:
                return None
            if lane.chunked and kernel.unsent(hearer.sock):
                return now + _POLL  # the kernel would join the two
            lane.sent(hearer.send(piece), now)
            if hearer.broken:
                lane.discard()
        else:
            return now
        end = lane.ending(now)
        if end == "rst":
            self.cut("rst", "reset")
        elif end == "fin":
            hearer.shut()
            lane.over = True
        return lane.ready_at(now)

    # The ends

    def cut(self, how: str, reason: str = "cut", *, at_once: bool = False) -> None:
        """End both sides; what waits is lost.

        Args:
            how: ``"rst"``, ``"fin"``, or ``"hold"``: end nothing, hold both ways.
            reason: for :attr:`ProxiedConnection.ended`.
            at_once: let an RST overtake what the kernel has not sent yet.
        """
        if how == "hold":
            self.up.held = self.down.held = True
            return
        if self._target is not None and self._phase is Phase.CONNECTING:
            self._target.close()
        self._phase, self._ended = Phase.ENDING, reason
        for side in self._open_sides():
            if how == "fin":
                side.shut()
            elif at_once:
                side.close(reset=True)
            else:
                side.resetting = True

    def stop(self, reason: str) -> None:
        """Close both sockets here and now."""
        self._phase, self._ended = Phase.GONE, self._ended or reason
        for side in self._open_sides():
            side.close()

    def _open_sides(self) -> list[Side]:
        sides = (self._client, self._target)
        return [side for side in sides if side is not None and not side.closed]

    def _wind_up(self, now: float) -> float | None:
        """Reset what is to be reset; throw away what still comes until the peers close."""
        again: float | None = None
        for side in self._open_sides():
            if side.resetting:
                if not side.failed() and kernel.unsent(side.sock):
                    again = now + _POLL
                else:
                    side.close(reset=True)
            elif side.ready and side.receive(READ) == b"":
                side.close()
        if not self._open_sides():
            self._phase = Phase.GONE
        return again

    def _watch(self) -> None:
        ending = self._phase is Phase.ENDING
        for side, lane in ((self._client, self.up), (self._target, self.down)):
            if side is not None:
                hears = lane.ended is None and lane.waiting < self._buffer
                side.watch(read=not side.resetting if ending else hears and self._opened(side))

    def _opened(self, side: Side) -> bool:
        return side is self._client or self._phase is Phase.OPEN
