"""The listening socket and all connections of the proxy, driven by one loop.

Has no thread of its own and no lock: everything but :meth:`Engine.wake` belongs to the one thread
that repeats ``wait()``, ``accept_pending()``, ``advance()``.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.sandbox.proxy import kernel
from bybit_copyws.sandbox.proxy.faults import Faults
from bybit_copyws.sandbox.proxy.lane import Lane
from bybit_copyws.sandbox.proxy.link import Link, ProxiedConnection
from bybit_copyws.sandbox.proxy.target import Address

_HISTORY = 10_000  # ended connections that are remembered
_BREATH = 0.05  # seconds until the next try when a connection could not be accepted

_Socket = TypeVar("_Socket", bound="socket.socket | None")


class Engine:
    """Accepts clients, connects each to the target, and moves the bytes as the faults allow.

    Args:
        addresses: of the target; the first one that takes a connection gets it.
        host: address to listen on.
        port: port to listen on; 0 for a free one.
        buffer: bytes that may wait in each direction of each connection.

    Attributes:
        port: the port listened on.
        up: faults of the direction to the target.
        down: faults of the direction to the client.
        links: the connections.
        ended: what there was to know about those that have ended, oldest first.
        accepted: connections so far.

    Raises:
        ConfigurationError: the port cannot be had.
    """

    def __init__(self, addresses: Sequence[Address], host: str, port: int, buffer: int) -> None:
        self.up, self.down = Faults(), Faults()
        self.links: list[Link] = []
        self.ended: deque[ProxiedConnection] = deque(maxlen=_HISTORY)
        self.accepted = 0
        self.port = port
        self._addresses = addresses
        self._host = host
        self._buffer = buffer
        # The listening socket, while connections are not refused.
        self._listener: socket.socket | None = None
        self._accept_at: float | None = None
        self._silent = False
        self._fading: list[Link] = []  # ended, but their sockets are not closed yet
        self._next: float | None = None
        self._seen: tuple[object, ...] = ()
        with contextlib.ExitStack() as stack:
            self._selector = stack.enter_context(selectors.DefaultSelector())
            self._wake, self._waker = map(stack.enter_context, socket.socketpair())
            self._wake.setblocking(False)
            self._waker.setblocking(False)
            self._selector.register(self._wake, selectors.EVENT_READ)
            reserve = self._take_port(kernel.reserve)
            if reserve is not None:
                stack.enter_context(reserve)
            self._listen()
            self._sockets = stack.pop_all()

    def close(self) -> None:
        """Close every socket. Twice does nothing."""
        for link in (*self.links, *self._fading):
            link.stop("stopped")
        self._file()
        self.refuse()
        self._sockets.close()

    def _take_port(self, bind: Callable[[int, str, int], _Socket]) -> _Socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            sock = bind(family, self._host, self.port)
        except OSError as error:
            raise ConfigurationError(
                f"the proxy cannot listen on {self._host}:{self.port} ({error}): give an address "
                "of this machine as host, and as port a free one, or 0 to get one"
            ) from None
        if sock is not None:
            self.port = sock.getsockname()[1]
        return sock

    # The three steps of the loop

    def wake(self) -> None:
        """Make :meth:`wait` return soon. Safe from any thread."""
        try:
            self._waker.send(b"\0")
        except OSError:
            return  # full: it wakes up anyway; closed: there is nothing to wake

    def wait(self) -> None:
        """Wait until there is something to do, and take note of it."""
        times = [each for each in (self._next, self._accept_at) if each is not None]
        self.look(max(0.0, min(times) - time.monotonic()) if times else None)

    def look(self, timeout: float | None = 0.0) -> None:
        """Take note of what the sockets have to say, within ``timeout`` seconds."""
        for key, events in self._selector.select(timeout):
            if key.data is not None:
                key.data.tell(events)
            elif key.fileobj is self._wake:
                self._wake.recv(4096)

    def accept_pending(self) -> None:
        """Accept everybody who has connected by now."""
        while self._listener is not None:
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                if self._accept_at is not None:
                    self._accept_at = None
                    self._selector.register(self._listener, selectors.EVENT_READ)
                return
            except OSError:  # no descriptor is left, or the client has gone again
                if self._accept_at is None:
                    self._selector.unregister(self._listener)
                self._accept_at = time.monotonic() + _BREATH
                return
            self._admit(client)

    def advance(self) -> bool:
        """Do all that can be done now; return whether anything has changed."""
        now = time.monotonic()
        times = [link.step(now) for link in (*self.links, *self._fading)]
        self._next = min((each for each in times if each is not None), default=None)
        self._file()
        seen = (self.accepted, *(link.info() for link in self.links))
        changed, self._seen = seen != self._seen, seen
        return changed

    def _admit(self, client: socket.socket) -> None:
        self.accepted += 1
        number = self.accepted
        up, down = Lane(self.up, number), Lane(self.down, number)
        link = Link(number, client, up, down, self._selector, self._buffer)
        self.links.append(link)
        if not self._silent:
            link.connect(self._addresses)

    def _file(self) -> None:
        """Move the connections that have ended to where they belong."""
        for link in self.links:
            if link.ended:
                self.ended.append(link.info())
                self._fading.append(link)
        self.links = [link for link in self.links if not link.ended]
        self._fading = [link for link in self._fading if not link.gone]

    # What it is told

    def refuse(self) -> None:
        """Refuse new connections."""
        if self._listener is not None:
            if self._accept_at is None:
                self._selector.unregister(self._listener)
            self._listener.close()
        self._listener = self._accept_at = None

    def accept(self, *, silent: bool = False) -> None:
        """Accept new connections, and forward them unless ``silent``.

        Raises:
            ConfigurationError: another program has taken the port.
        """
        if self._listener is None:
            self._listen()
        self._silent = silent
        for link in self.links:
            if link.silent and not silent:
                link.connect(self._addresses)

    def heal(self) -> None:
        """Put an end to all faults."""
        for faults in (self.up, self.down):
            faults.heal()
        for link in self.links:
            link.up.heal()
            link.down.heal()
        self.accept()

    def cut(self, how: str) -> int:
        """End all connections now; return how many."""
        for link in self.links:
            link.cut(how, at_once=True)
        return len(self.links)

    def _listen(self) -> None:
        self._listener = self._take_port(partial(kernel.listen, buffer=self._buffer))
        self._selector.register(self._listener, selectors.EVENT_READ)
