"""One socket of a proxied connection, non-blocking, with what can happen to it."""

from __future__ import annotations

import selectors
import socket

from bybit_copyws.sandbox.proxy import kernel

READ = 2**16  # bytes asked for in one call


class Side:
    """One socket of a connection, and what the selector is asked to tell about it."""

    def __init__(self, sock: socket.socket, selector: selectors.BaseSelector) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.ready = False  # something may be read
        self.blocked = False  # nothing more can be written before the selector says so
        self.broken = False  # the peer is gone
        self.resetting = False
        self.closed = False
        self._selector = selector
        self._events = 0

    def tell(self, events: int) -> None:
        """Take note of what the selector says."""
        self.ready = bool(events & selectors.EVENT_READ)
        if events & selectors.EVENT_WRITE:
            self.blocked = False

    def watch(self, *, read: bool) -> None:
        """Ask the selector for what matters now."""
        wanted = (selectors.EVENT_READ if read else 0) | (
            selectors.EVENT_WRITE if self.blocked else 0
        )
        if self.closed or wanted == self._events:
            return
        if not wanted:
            self._selector.unregister(self.sock)
        elif not self._events:
            self._selector.register(self.sock, wanted, self)
        else:
            self._selector.modify(self.sock, wanted, self)
        self._events = wanted

    def receive(self, room: int) -> bytes | None:
        """Read once: ``b""`` at the end, ``None`` if there is nothing now."""
        self.ready = False
        try:
            return self.sock.recv(min(room, READ))
        except BlockingIOError:
            return None
        except OSError:
            self.broken = True
            return b""

    def send(self, piece: bytearray) -> int:
        """Write what the kernel takes; return how much."""
        try:
            size = self.sock.send(piece)
        except BlockingIOError:
            size = 0
        except OSError:
            self.broken = True
            return 0
        self.blocked = size < len(piece)
        return size

    def failed(self) -> bool:
        """Look whether the peer has reset the connection."""
        if self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.broken = True
        return self.broken

    def shut(self) -> None:
        """Send a FIN behind what was written."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.broken = True

    def close(self, *, reset: bool = False) -> None:
        """Close the socket, with a FIN or an RST."""
        if self.closed:
            return
        self.closed = True
        if self._events:
            self._selector.unregister(self.sock)
        if reset:
            kernel.reset(self.sock)
        else:
            self.sock.close()
