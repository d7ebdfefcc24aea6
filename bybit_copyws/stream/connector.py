"""Opens a TCP or TLS connection under one deadline, stoppable at any moment.

Name look-up, all addresses and the TLS handshake share the deadline. Must not know WebSocket.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, ClassVar
from urllib.parse import urlsplit

from bybit_copyws.errors import ConnectFailed
from bybit_copyws.stream.poller import Poller

_PORTS = {"ws": 80, "wss": 443}
_GLANCE = 0.05  # seconds between two looks at `stopped`
_IN_PROGRESS = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN)

AddressInfo = tuple[Any, ...]
"""What ``getaddrinfo`` gives: family, kind, protocol, canonical name, address."""


@dataclass(frozen=True)
class Endpoint:
    """A parsed stream URL.

    Attributes:
        url: the whole of it.
        host: its host name.
        port: its port.
        secure: whether TLS is used.
    """

    url: str
    host: str
    port: int
    secure: bool

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Take a checked ``ws://`` or ``wss://`` URL apart."""
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
        return cls(url, parts.hostname or "", port, parts.scheme == "wss")

    @property
    def name(self) -> str:
        """Host, and port if it is not the default one: what budgets and errors name."""
        default = self.port == _PORTS["wss" if self.secure else "ws"]
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if default else f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine (127.0.0.0/8, ::1 or ``localhost``)."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


class LookUp:
    """A name look-up in a thread of its own: ``getaddrinfo`` knows no timeout, nor can it stop.

    An attempt that gives up leaves it running; the next one for the same host joins it, so that
    a dead name server costs one thread and not one for each attempt.

    Attributes:
        done: set when there is an answer.
        addresses: the answer.
        error: why there is none.
    """

    # Guards _running; held for a few steps, no other lock is taken inside.
    _lock = threading.Lock()
    _running: ClassVar[dict[tuple[str, int], LookUp]] = {}

    def __init__(self, host: str, port: int) -> None:
        self.done = threading.Event()
        self.addresses: list[AddressInfo] = []
        self.error: OSError | UnicodeError | None = None
        self._key = (host, port)

    @classmethod
    def of(cls, host: str, port: int) -> LookUp:
        """Return the look-up of a host that is under way, or begin one."""
        with cls._lock:
            look_up = cls._running.get((host, port))
            if look_up is None:
                look_up = cls(host, port)
                name = "bybit-copyws:resolver"
                threading.Thread(target=look_up._run, name=name, daemon=True).start()
                cls._running[host, port] = look_up
            return look_up

    def _run(self) -> None:
        try:
            self.addresses = socket.getaddrinfo(*self._key, 0, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self.error = error
        finally:
            with self._lock:
                del self._running[self._key]
            self.done.set()


def _default_context() -> ssl.SSLContext:
    """Return Python's defaults, but no key log: SSLKEYLOGFILE would give the session away."""
    context = ssl.create_default_context()
    context.keylog_filename = None  # type: ignore[assignment] # typeshed knows the getter only
    return context


class Connector:
    """One attempt to open a connection.

    Args:
        endpoint: where to.
        deadline: monotonic time by which it must be open.
        stopped: polled between steps; once set, the attempt fails at once.
        context: TLS settings, or ``None`` for those of :func:`ssl.create_default_context`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        deadline: float,
        stopped: threading.Event,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._deadline = deadline
        self._stopped = stopped
        self._context = context

    def open(self) -> socket.socket:
        """Return a connected, non-blocking socket.

        Raises:
            ConnectFailed: it could not be opened; the text says at which step and why.
        """
        failures: list[str] = []
        whole = self._deadline
        addresses = self._resolve()
        for place, address in enumerate(addresses):
            # An address that swallows everything must leave time for the next.
            now = time.monotonic()
            self._deadline = now + (whole - now) / (len(addresses) - place)
            try:
                return self._try(address)
            except ConnectFailed as error:
                failures.append(f"{address[4][0]}: {error.reason}")
            if self._stopped.is_set():
                break
        raise self._failed("; ".join(failures) or "the name has no address")

    def _try(self, address: AddressInfo) -> socket.socket:
        family, kind, proto, _, where = address
        try:
            sock = socket.socket(family, kind, proto)
        except OSError as error:
            raise self._failed(f"no socket can be made ({error})") from error
        try:
            self._connect(sock, where)
            return self._wrap(sock)
        except BaseException:
            sock.close()
            raise

    def _resolve(self) -> list[AddressInfo]:
        look_up = LookUp.of(self._endpoint.host, self._endpoint.port)
        while not look_up.done.wait(min(self._remaining("looking up the name"), _GLANCE)):
            pass
        if look_up.error is not None:
            raise self._failed(f"the name cannot be resolved ({look_up.error})")
        return look_up.addresses

    def _connect(self, sock: socket.socket, address: Any) -> None:
        sock.setblocking(False)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            code = sock.connect_ex(address)
        except OSError as error:
            raise self._failed(str(error)) from error
        if code not in _IN_PROGRESS:
            raise self._os_failed(code)
        self._wait(Poller(sock).writable, "connecting")
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise self._os_failed(code)

    def _wrap(self, sock: socket.socket) -> socket.socket:
        if not self._endpoint.secure:
            return sock
        context = self._context or _default_context()
        try:
            secure = context.wrap_socket(
                sock, server_hostname=self._endpoint.host, do_handshake_on_connect=False
            )
        except (OSError, ValueError) as error:
            raise self._failed(f"TLS cannot be set up ({error})") from error
        try:
            self._shake_hands(secure)
        except BaseException:
            secure.close()
            raise
        return secure

    def _shake_hands(self, sock: ssl.SSLSocket) -> None:
        poller = Poller(sock)
        while True:
            try:
                return sock.do_handshake()
            except ssl.SSLWantReadError:
                self._wait(poller.readable, "in the TLS handshake")
            except ssl.SSLWantWriteError:
                self._wait(poller.writable, "in the TLS handshake")
            except ssl.SSLCertVerificationError as error:
                raise self._failed(
                    f"the server's certificate is not valid: {error.verify_message}"
                ) from error
            except OSError as error:
                raise self._failed(f"the TLS handshake failed ({error})") from error

    def _wait(self, ready: Callable[[float], bool], step: str) -> None:
        while not ready(min(self._remaining(step), _GLANCE)):
            pass

    def _remaining(self, step: str) -> float:
        if self._stopped.is_set():
            raise self._failed("stopped by close()")
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._failed(f"open_timeout passed {step}")
        return left

    def _os_failed(self, code: int) -> ConnectFailed:
        return self._failed(os.strerror(code).lower())

    def _failed(self, reason: str) -> ConnectFailed:
        return ConnectFailed(self._endpoint.name, reason)
