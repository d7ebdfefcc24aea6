"""Connections for urllib3 that keep to one deadline and can be stopped at any moment.

requests knows a timeout for connecting and one for each receive, but a server that sends a byte
now and then holds it for ever, and nothing ends a request that is under way. So the sockets are
opened and waited for as those of the streams are. The only module that knows urllib3.
"""

from __future__ import annotations

import io
import socket
import ssl
import threading
import time
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from bybit_copyws.rest.route import check_route
from bybit_copyws.stream.attempt import Attempt, PatientSocket
from bybit_copyws.stream.connector import Connector
from bybit_copyws.stream.endpoint import Endpoint
from bybit_copyws.stream.proxy import ProxyChoice, find_proxy
from bybit_copyws.stream.tls import Tls

_RECEIVE_SIZE = 65_536


class Flight(Attempt):
    """One request that is under way, in the thread that makes it.

    Args:
        endpoint: where it goes.
        deadline: monotonic time by which all must be done.
        stopped: ends it at once when set.

    Attributes:
        sent: whether a byte of the request may have left.
        limit: the option whose time runs, for errors.
    """

    def __init__(self, endpoint: Endpoint, deadline: float, stopped: threading.Event) -> None:
        super().__init__(endpoint.name, deadline, stopped)
        self.sent = False
        self.limit = ""
        self._whole = deadline
        self.stop_event = stopped

    def allow(self, seconds: float, option: str) -> None:
        """Give the next step some seconds, but no more than are left for the whole."""
        end = time.monotonic() + seconds
        self.deadline = min(end, self._whole)
        self.limit = option if end <= self._whole else "total_timeout"


class Dialler:
    """Opens connections to one endpoint, and knows for which request each thread uses them.

    Args:
        endpoint: where to.
        context: TLS settings, or ``None`` for Python's defaults.
        proxy: the user's choice.
        connect_timeout: seconds for name look-up, TCP, proxy and TLS together.
        read_timeout: seconds that the exchange may be silent.
        guarded: whether signed requests may come: then no connection is opened that others can
            read, for whatever request, because another one will use it again.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        context: ssl.SSLContext | None,
        proxy: ProxyChoice,
        connect_timeout: float,
        read_timeout: float,
        *,
        guarded: bool,
    ) -> None:
        self.read_timeout = read_timeout
        self.endpoint = endpoint
        self._context = context
        self._proxy = proxy
        self._guarded = guarded
        self._connect_timeout = connect_timeout
        self._current = threading.local()

    def begin(self, flight: Flight) -> None:
        """Let what this thread does from now on be done for a request."""
        self._current.flight = flight

    @property
    def flight(self) -> Flight:
        """The request that this thread makes."""
        flight: Flight = self._current.flight
        return flight

    def dial(self) -> Line:
        """Open a connection.

        Raises:
            ConnectFailed: it could not be opened.
            ConfigurationError: the environment names a proxy that cannot be used, or with which a
                signature would go in clear.
        """
        flight = self.flight
        flight.allow(self._connect_timeout, "connect_timeout")
        proxy = find_proxy(self._proxy, self.endpoint)
        if self._guarded:
            check_route(self.endpoint, self._context, proxy)
        connector = Connector(
            self.endpoint, flight.deadline, flight.stop_event, self._context, proxy
        )
        return Line(*connector.open(), self)


class Line:
    """What urllib3 takes for a socket.

    Args:
        sock: connected, non-blocking.
        tls: its TLS, or ``None``.
        dialler: knows the request it is used for.
    """

    def __init__(self, sock: socket.socket, tls: Tls | None, dialler: Dialler) -> None:
        self._sock = sock
        self._tls = tls
        self._dialler = dialler
        # http.client may close its socket while a reply is still to be read from the file.
        self._users = 1

    def sendall(self, data: bytes) -> None:
        """Send all of it, within the patience of the request."""
        flight = self._dialler.flight
        flight.allow(self._dialler.read_timeout, "read_timeout")
        flight.sent = True
        encrypted = data if self._tls is None else self._tls.encrypt(bytes(data))
        PatientSocket(self._sock, flight, "sending").sendall(encrypted)

    def receive_into(self, view: memoryview) -> int:
        """Receive at least a byte into a buffer; 0 at the end."""
        flight, tls = self._dialler.flight, self._tls
        flight.allow(self._dialler.read_timeout, "read_timeout")
        sock = PatientSocket(self._sock, flight, "waiting for the reply")
        if tls is None:
            data = sock.recv(len(view))
            view[: len(data)] = data
            return len(data)
        while True:
            got = tls.read_into(view)
            if tls.wants_to_send:  # new keys, or an alert
                sock.sendall(tls.take_outgoing())
            if got or tls.over:
                return got
            tls.feed(sock.recv(_RECEIVE_SIZE))

    def makefile(self, *_: object, **__: object) -> io.BufferedReader:
        """Return the replies as a file."""
        self._users += 1
        return io.BufferedReader(_Incoming(self), _RECEIVE_SIZE)

    def settimeout(self, _: float | None) -> None:
        """Do nothing: the request has a deadline."""

    def fileno(self) -> int:
        """Return the descriptor, which urllib3 polls for an end that has come meanwhile."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the socket when its last user has left."""
        self._users -= 1
        if self._users <= 0:
            self._sock.close()


class _Incoming(io.RawIOBase):
    """The incoming side of a line."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._line.receive_into(memoryview(buffer).cast("B"))

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._line.close()


def make_pool(dialler: Dialler, lines: int) -> HTTPConnectionPool:
    """Return what keeps connections made by a dialler.

    Args:
        dialler: opens them.
        lines: how many are kept open.
    """
    endpoint = dialler.endpoint

    class Plain(HTTPConnection):
        def connect(self) -> None:
            self.sock = dialler.dial()

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            self.sock = dialler.dial()
            self.is_verified = True  # by the dialler, as far as its context wants it

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    kind = SecurePool if endpoint.secure else PlainPool
    return kind(endpoint.host, endpoint.port, maxsize=lines)
