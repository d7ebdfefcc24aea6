"""A connected socket with one reader and any number of senders.

A send never blocks: what does not fit is kept and tried again by :meth:`Link.flush`. Must not
know what the bytes mean.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from bybit_copyws.stream.poller import Poller
from bybit_copyws.stream.tls import Tls

_NOT_NOW = (BlockingIOError, InterruptedError)
_RECEIVE_SIZE = 65_536
# Where a send can be told not to block, the socket itself may: then a receive is one system call,
# and not a wait followed by a receive.
_NO_WAIT: int = getattr(socket, "MSG_DONTWAIT", 0)


class Link:
    """Owns a connected socket.

    Args:
        sock: the socket.
        tls: its TLS, the handshake done, or ``None``.

    Attributes:
        blocked_since: monotonic time since which something cannot be sent, or ``None``.
        received: bytes that were read from the socket so far.
    """

    def __init__(self, sock: socket.socket, tls: Tls | None = None) -> None:
        self.blocked_since: float | None = None
        self.received = 0
        self._sock = sock
        self._tls = tls
        self._encrypted = memoryview(bytearray(_RECEIVE_SIZE if tls is not None else 0))
        sock.setblocking(bool(_NO_WAIT))
        self._poller = Poller(sock)
        self._probe = Poller(sock)
        self._outbox: deque[bytes] = deque()
        self._waiting = False
        self._closed = False
        self._last_queued = False
        self._fault: OSError | None = None  # why TLS could not send
        # Keeps the order of what is encrypted and what is queued. Taken before the lock of `tls`.
        self._queue_lock = threading.Lock()
        # Held by the one thread that writes, for sends that never block.
        self._write_lock = threading.Lock()
        # Guards the descriptor against being closed under a probe or a shutdown.
        self._close_lock = threading.Lock()

    def receive(self, view: memoryview, deadline: float | None = None) -> int:
        """Fill ``view`` from the start and return the number of bytes; 0 at the end.

        Blocks until there is something. For one thread.

        Raises:
            OSError: the connection broke; ``TimeoutError`` if ``deadline`` (monotonic) passed.
        """
        tls = self._tls
        if tls is None:
            return self._receive(view, deadline)
        while True:
            try:
                size = tls.read_into(view)
            finally:
                if tls.wants_to_send:  # new keys; or an alert, which tells the server what is wrong
                    self._send_of_tls(tls.take_outgoing)
            if size or tls.over:
                return size
            encrypted = self._receive(self._encrypted, deadline)
            if not encrypted:
                if self._fault is not None:
                    raise self._fault
                return 0
            tls.feed(self._encrypted[:encrypted])

    def _receive(self, view: memoryview, deadline: float | None) -> int:
        self._waiting = True
        try:
            while True:
                if deadline is not None:
                    self._wait(deadline)
                try:
                    size = self._sock.recv_into(view)
                except _NOT_NOW:
                    self._wait(deadline)
                else:
                    self.received += size
                    return size
        finally:
            self._waiting = False

    def _wait(self, deadline: float | None) -> None:
        timeout = None if deadline is None else deadline - time.monotonic()
        # Looked at even if there is something to read: a server that drips keeps no deadline.
        if (timeout is not None and timeout <= 0) or not self._poller.readable(timeout):
            raise TimeoutError("nothing was received in time")

    @property
    def idle(self) -> bool:
        """Whether the reader waits and no bytes lie unread. From any thread."""
        if not self._waiting:
            return False
        with self._close_lock:
            return self._closed or not self._probe.readable(0.0)

    @property
    def capacity(self) -> int:
        """How many bytes may lie unread at most. From any thread."""
        with self._close_lock:
            if self._closed:
                return 0
            return self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    def send(self, data: bytes, *, last: bool = False) -> None:
        """Send, or keep for later what cannot leave now. Never blocks. From any thread.

        Args:
            data: what.
            last: whether all that comes later shall be left out.
        """
        tls = self._tls
        with self._queue_lock, self._whole():
            if self._last_queued:
                return
            self._last_queued = last
            try:
                self._outbox.append(data if tls is None else tls.encrypt(data))
            except ssl.SSLError as error:
                self._fault = error
                self.shutdown()  # the reader meets the end and reports it
        self.flush()

    def _send_of_tls(self, take: Callable[[], bytes]) -> None:
        """Send what TLS itself has to say."""
        with self._queue_lock, self._whole():
            data = take()
            if data:
                self._outbox.append(data)
        self.flush()

    def flush(self) -> None:
        """Try to send what was kept. Never blocks. From any thread."""
        if self._outbox:
            with self._write_lock, self._whole():
                self._write()

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """End the connection if what is inside is interrupted (Ctrl-C comes anywhere).

        A record may be lost or a part of it be sent twice then: nothing may follow it.
        """
        try:
            yield
        except BaseException:
            self.shutdown()
            raise

    def _write(self) -> None:
        """Write until all is out or the socket takes no more."""
        while self._outbox and not self._closed:
            data = self._outbox[0]
            try:
                sent = self._sock.send(data, _NO_WAIT)
            except _NOT_NOW:
                if self.blocked_since is None:
                    self.blocked_since = time.monotonic()
                return
            except OSError:
                self._outbox.clear()  # the reader meets the same end and reports it
                self.shutdown()
            else:
                if sent < len(data):
                    self._outbox[0] = data[sent:]
                    continue
                self._outbox.popleft()
            self.blocked_since = None

    def shutdown(self) -> None:
        """End the connection at once; a blocked reader returns within a millisecond."""
        with self._close_lock, contextlib.suppress(OSError):
            if not self._closed:
                self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptor back. To be called by the reader, when it has finished."""
        if self._tls is not None:
            self._send_of_tls(self._tls.take_goodbye)
        with self._write_lock, self._close_lock:
            self._closed = True
            self._outbox.clear()
            self._sock.close()
