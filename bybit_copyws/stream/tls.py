"""TLS between memory and memory: encrypted bytes go in and out, the socket is somebody else's.

One receive feeds many records, while ``SSLSocket.recv`` makes two system calls for each; and a
socket that TLS never touches can be read by one thread while another one writes to it. Measured
by ``benchmarks/compare.py --clients "TLS by SSLSocket" "TLS in memory"``.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Callable

_LONGEST_READ = 0.001
_clock = time.monotonic


class Tls:
    """The TLS of one connection. From any thread: no two are ever inside at once.

    Args:
        context: its settings.
        host: the name that the certificate must have.

    Attributes:
        over: whether the other side has said that it sends nothing more.
    """

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self.over = False
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._rest = False  # decrypted bytes may wait inside
        self._error: ssl.SSLError | None = None  # to be raised by the next read
        # Held for calls that never block: they work on memory. No other lock is taken inside.
        self._lock = threading.Lock()

    def shake_hands(self) -> bool:
        """Go on with the handshake as far as what came allows; return whether it is done.

        Raises:
            ssl.SSLError: it failed.
        """
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take encrypted bytes; none means that there are no more."""
        with self._lock:
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def read_into(self, view: memoryview) -> int:
        """Decrypt into a buffer as much as is there and fits; return how much.

        Leaves after a millisecond: beside a busy thread each record may cost a turn of the
        interpreter, and meanwhile nobody can send, nor see what is decrypted already.

        Raises:
            ssl.SSLError: what came is not what was sent.
        """
        with self._lock:
            if self._error is not None:
                raise self._error
            until = _clock() + _LONGEST_READ
            incoming = self._incoming
            read: Callable[[int, memoryview], int] = self._object.read  # type: ignore[assignment]
            room, got = len(view), 0
            # Without a look at `pending` each batch would end in an exception, which costs more
            # than a record.
            while incoming.pending or self._rest:
                try:
                    size = read(room - got, view[got:] if got else view)
                except ssl.SSLWantReadError:
                    self._rest = False
                    break
                except ssl.SSLZeroReturnError:
                    size = 0
                except ssl.SSLError as error:
                    if not got:
                        raise
                    self._error = error  # what came before it is good
                    break
                if not size:
                    self.over = True
                    break
                got += size
                # A whole record was handed out unless it met the end of the buffer.
                self._rest = got == room and self._object.pending() > 0
                if got == room or _clock() > until:
                    break
            return got

    def encrypt(self, data: bytes) -> bytes:
        """Return the records of some data.

        Raises:
            ssl.SSLError: TLS cannot send now.
        """
        with self._lock:
            self._object.write(data)
            return self._outgoing.read()

    def take_outgoing(self) -> bytes:
        """Return what TLS itself wants to send: parts of the handshake, new keys."""
        with self._lock:
            return self._outgoing.read()

    def take_goodbye(self) -> bytes:
        """Return what tells the other side that nothing more comes (RFC 8446 section 6.1)."""
        with self._lock, contextlib.suppress(ssl.SSLError, ValueError):
            # Raises in any case but one: the answer has not come, and nobody waits for it.
            self._object.unwrap()
        return self.take_outgoing()

    @property
    def wants_to_send(self) -> bool:
        """Whether TLS itself wants to send something."""
        return self._outgoing.pending > 0
