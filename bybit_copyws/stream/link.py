"""A non-blocking socket with one reader and any number of senders.

A send never blocks: what does not fit is kept and tried again by :meth:`Link.flush`. Over TLS no
two threads are ever inside one SSL object. Must not know what the bytes mean.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections import deque

from bybit_copyws.stream.poller import Poller

_NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Link:
    """Owns a connected, non-blocking socket.

    Args:
        sock: plain or TLS.

    Attributes:
        blocked_since: monotonic time since which something cannot be sent, or ``None``.
        received: bytes that were read so far.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.blocked_since: float | None = None
        self.received = 0
        self._sock = sock
        self._secure = isinstance(sock, ssl.SSLSocket)
        self._poller = Poller(sock)
        self._probe = Poller(sock)
        self._outbox: deque[bytes] = deque()
        self._drained = True  # the last read emptied the socket: wait before the next
        self._waiting = False
        self._closed = False
        # Guards the SSL object against use by two threads; held for non-blocking calls only.
        self._tls_lock = threading.Lock()
        # Held by the one thread that writes; others leave their data to it. Waited for only by
        # close(), as long as one non-blocking send.
        self._write_lock = threading.Lock()
        # Guards the descriptor against being closed under a probe or a shutdown.
        self._close_lock = threading.Lock()

    def receive(self, buffer: bytearray, deadline: float | None = None) -> int:
        """Fill ``buffer`` from the start and return the number of bytes; 0 at the end.

        Blocks until there is something. For one thread.

        Raises:
            OSError: the connection broke; ``TimeoutError`` if ``deadline`` (monotonic) passed.
        """
        while True:
            if self._drained:
                self._wait(deadline)
            try:
                if self._secure:
                    with self._tls_lock:
                        size = self._sock.recv_into(buffer)
                else:
                    size = self._sock.recv_into(buffer)
            except ssl.SSLWantWriteError:
                self._poller.writable(1.0)  # TLS wants to answer something of its own first
            except _NOT_NOW:
                self._drained = True
            else:
                # TLS hands out a record at a time, so only an empty read tells that it is drained.
                self._drained = not self._secure and size < len(buffer)
                self.received += size
                return size

    def _wait(self, deadline: float | None) -> None:
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        self._waiting = True
        ready = self._poller.readable(timeout)
        self._waiting = False
        if not ready:
            raise TimeoutError("nothing was received in time")
        self._drained = False

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

    def send(self, data: bytes) -> None:
        """Send, or keep for later what cannot leave now. Never blocks. From any thread."""
        self._outbox.append(data)
        self.flush()

    def flush(self) -> None:
        """Try to send what was kept. Never blocks. From any thread."""
        # Whoever holds the lock also sends what others append meanwhile: it looks at the outbox
        # again after the release, so nothing is left behind.
        while self._outbox and self._write_lock.acquire(blocking=False):
            try:
                if self._closed or not self._write():
                    return
            finally:
                self._write_lock.release()

    def _write(self) -> bool:
        """Write until all is out; return ``False`` if the socket takes no more."""
        while self._outbox:
            data = self._outbox[0]
            try:
                with self._tls_lock:
                    sent = self._sock.send(data)
            except _NOT_NOW:
                if self.blocked_since is None:
                    self.blocked_since = time.monotonic()
                return False
            except OSError:
                self._outbox.clear()  # the reader meets the same end and reports it
                self.blocked_since = None
                self.shutdown()
                return True
            if sent == len(data):
                self._outbox.popleft()
            else:
                self._outbox[0] = data[sent:]
        self.blocked_since = None
        return True

    def shutdown(self) -> None:
        """End the connection at once; a blocked reader returns within a millisecond."""
        with self._close_lock, contextlib.suppress(OSError):
            if not self._closed:
                # Not SSLSocket.shutdown: that would turn TLS off under the reader.
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptor back. To be called by the reader, when it has finished."""
        with self._write_lock, self._close_lock:
            self._closed = True
            self._outbox.clear()
            self._sock.close()
