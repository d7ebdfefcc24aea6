"""Opens a TCP or TLS connection under one deadline, stoppable at any moment.

Name look-up, all addresses and the TLS handshake share the deadline. Must not know WebSocket.
"""

from __future__ import annotations

import errno
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from bybit_copyws.errors import ConnectFailed
from bybit_copyws.stream.poller import Poller

_PORTS = {"ws": 80, "wss": 443}
_GLANCE = 0.05  # seconds between two looks at `stopped`
_IN_PROGRESS = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN)

Address = tuple[Any, ...]


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
        failures = []
        for family, kind, proto, _, address in self._resolve():
            sock = socket.socket(family, kind, proto)
            try:
                self._connect(sock, address)
                return self._wrap(sock)
            except ConnectFailed as error:
                sock.close()
                failures.append(f"{address[0]}: {error.reason}")
            except BaseException:
                sock.close()
                raise
            self._remaining("connecting")
        raise self._failed("; ".join(failures) or "the name has no address")

    def _resolve(self) -> list[Any]:
        host, port = self._endpoint.host, self._endpoint.port
        try:
            ip_address(host)
        except ValueError:
            return self._look_up(host, port)
        return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)

    def _look_up(self, host: str, port: int) -> list[Any]:
        """Resolve in another thread: ``getaddrinfo`` knows no timeout and cannot be stopped."""
        answers: queue.SimpleQueue[list[Any] | OSError | UnicodeError] = queue.SimpleQueue()

        def resolve() -> None:
            try:
                answers.put(socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM))
            except (OSError, UnicodeError) as error:
                answers.put(error)

        threading.Thread(target=resolve, name="bybit-copyws:resolver", daemon=True).start()
        while True:
            left = self._remaining("looking up the name")
            try:
                answer = answers.get(timeout=min(left, _GLANCE))
            except queue.Empty:
                continue
            if isinstance(answer, list):
                return answer
            raise self._failed(f"the name cannot be resolved ({answer})") from answer

    def _connect(self, sock: socket.socket, address: Address) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        code = sock.connect_ex(address)
        if code not in _IN_PROGRESS:
            raise self._os_failed(code)
        self._wait(Poller(sock).writable, "connecting")
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise self._os_failed(code)

    def _wrap(self, sock: socket.socket) -> socket.socket:
        if not self._endpoint.secure:
            return sock
        context = self._context or ssl.create_default_context()
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
        return self._failed(errno.errorcode.get(code, str(code)).removeprefix("E").lower())

    def _failed(self, reason: str) -> ConnectFailed:
        return ConnectFailed(self._endpoint.name, reason)
