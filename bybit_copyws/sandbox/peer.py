"""One client's connection as the exchange holds it: what leaves, how it ends, what is silent.

Runs in the exchange's event loop. Rules are in ``venue``, faults in ``faults`` and ``outlet``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from dataclasses import dataclass

from aiohttp import web

from bybit_copyws.sandbox.faults import FaultList, Outgoing, Planned
from bybit_copyws.sandbox.history import History
from bybit_copyws.sandbox.outlet import Outlet
from bybit_copyws.sandbox.venue import Connection

_LOOK = 0.05  # seconds between two looks whether a silent connection has ended
_MAX_BUFFER = 8 * 2**20  # bytes that a client may lag behind before it is dropped


@dataclass(frozen=True)
class ConnectionInfo:
    """An open connection at one moment.

    Attributes:
        conn_id: its id, which the exchange also puts into its replies.
        scope: ``"public"`` or ``"private"``.
        profile: ``"v3"`` or ``"v5"``.
        authenticated: whether a login was accepted.
        topics: what it has subscribed.
        buffered: bytes that the client has not taken yet.
    """

    conn_id: str
    scope: str
    profile: str
    authenticated: bool
    topics: tuple[str, ...]
    buffered: int


class Peer:
    """An open WebSocket.

    Args:
        connection: the venue's view of it.
        ws: the socket.
        transport: what carries it.
        faults: hit messages before they leave; shared by all.
        history: is told what was put on the wire; shared by all.
        now_ms: the exchange's time at its beginning.
    """

    def __init__(
        self,
        connection: Connection,
        ws: web.WebSocketResponse,
        transport: asyncio.Transport,
        faults: FaultList,
        history: History,
        now_ms: int,
    ) -> None:
        self.connection = connection
        self.ws = ws
        self.outlet = Outlet()
        self.last_heard_ms = now_ms
        self.last_data_ms = now_ms
        self._going_on = asyncio.Event()  # cleared while it is silent
        self._going_on.set()
        self._transport = transport
        self._faults = faults
        self._history = history
        self._written = 0
        self._on_the_way: deque[tuple[int, Outgoing, int]] = deque()

    # What leaves

    def send(self, message: Outgoing, now_ms: int) -> None:
        """Let a message leave, as the faults allow."""
        if self._faults:
            conn_id, scope = self.connection.conn_id, self.connection.scope.value
            for planned in self._faults.apply(conn_id, scope, message):
                self.outlet.put(planned, now_ms)
        elif self.outlet.plain:
            self._write(message.frame, message, now_ms)
            return
        else:
            self.outlet.put(Planned(message), now_ms)
        self.pump(now_ms)

    def pump(self, now_ms: int) -> None:
        """Let out what is due, and note what has left completely."""
        if not self.outlet.plain:
            for piece in self.outlet.take(now_ms):
                self._write(piece.data, piece.done, now_ms)
            if self.outlet.size > _MAX_BUFFER:
                self.abort()
        if self._on_the_way:
            self._settle()

    def _write(self, data: bytes, done: Outgoing | None, now_ms: int) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(data)
        self._written += len(data)
        if done is not None:
            self._on_the_way.append((self._written, done, now_ms))
        if self.behind > _MAX_BUFFER:
            self.abort()
        self._settle()

    def _settle(self) -> None:
        """Note the messages whose last byte the system has taken."""
        waiting = self._waiting()
        if waiting is None:
            # It knows nothing of its buffer any more: what waits there is lost.
            self._on_the_way.clear()
            return
        out = self._written - waiting
        connection = self.connection
        while self._on_the_way and self._on_the_way[0][0] <= out:
            _, message, now_ms = self._on_the_way.popleft()
            if message.kind == "control":
                continue
            if message.topic:
                self.last_data_ms = now_ms
            self._history.add(
                connection.conn_id,
                connection.scope.value,
                connection.profile.name,
                message.topic,
                message.payload,
                now_ms,
            )

    # Silence and slowness

    def silence(self, direction: str) -> None:
        """Stop sending (``down``), reading (``up``), or both; the connection stays open."""
        self._going_on.clear()
        if direction in ("down", "both"):
            self.outlet.hold()
        if direction in ("up", "both"):
            self._transport.pause_reading()

    def slow_down(self, bytes_per_second: float, now_ms: int) -> None:
        """Let only so many bytes leave in a second."""
        self.outlet.slow_down(bytes_per_second, now_ms)

    def resume(self, now_ms: int) -> None:
        """End silence, stall and slowness; what was held back leaves."""
        self.outlet.release()
        self.outlet.slow_down(None, now_ms)
        self._transport.resume_reading()
        self._going_on.set()
        self.pump(now_ms)

    async def until_it_goes_on(self) -> None:
        """Wait for the end of the silence, or of the connection."""
        while not (self._going_on.is_set() or self._transport.is_closing()):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._going_on.wait(), _LOOK)

    # The end

    async def end(self, how: str, code: int, reason: str) -> None:
        """End the connection by a close frame, a FIN or an RST.

        A close frame cannot leave in the middle of another, nor from a line that is held: that
        ends with a FIN.
        """
        self._settle()
        self._going_on.set()
        if how == "close" and not self.outlet.plain:
            how = "fin"
        with contextlib.suppress(OSError):  # the client was faster
            if how == "close":
                await self.ws.close(code=code, message=reason.encode(), drain=False)
            elif how == "rst":
                sock = self._transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if how == "rst":
            self._transport.abort()
        elif how == "fin":
            self._transport.close()

    @property
    def behind(self) -> int:
        """Bytes that the system has not taken yet."""
        return self._waiting() or 0

    def _waiting(self) -> int | None:
        """Return how many bytes wait for the system, or nothing once the connection is over."""
        if self._transport.is_closing():
            return None
        try:
            return self._transport.get_write_buffer_size()
        except AttributeError:  # Python 3.10 over TLS: lost, but not yet called closing
            return None

    def abort(self) -> None:
        """End the connection at once; what was not sent is lost."""
        self._transport.abort()

    def info(self) -> ConnectionInfo:
        """Return what there is to know about it now."""
        connection = self.connection
        return ConnectionInfo(
            connection.conn_id,
            connection.scope.value,
            connection.profile.name,
            connection.authenticated,
            tuple(connection.topics),
            self.outlet.size + self.behind,
        )
