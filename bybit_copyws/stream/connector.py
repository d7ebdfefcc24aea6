"""Opens a TCP or TLS connection under one deadline, stoppable at any moment.

Name look-up, all addresses, a proxy's tunnel and the TLS handshake share the deadline. Must not
know WebSocket.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import threading
import time
from typing import Any

from bybit_copyws.errors import ConnectFailed
from bybit_copyws.stream.attempt import Attempt, PatientSocket
from bybit_copyws.stream.endpoint import Endpoint
from bybit_copyws.stream.forked import parents_own
from bybit_copyws.stream.lookup import AddressInfo, LookUp
from bybit_copyws.stream.poller import Poller
from bybit_copyws.stream.proxy import Proxy
from bybit_copyws.stream.tls import Tls
from bybit_copyws.stream.tunnel import open_tunnel

_IN_PROGRESS = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN)
_HANDSHAKE_SIZE = 16_384
_MAX_HANDSHAKE = 2**20


def _default_context() -> ssl.SSLContext:
    """Return Python's defaults, but no key log: SSLKEYLOGFILE would give the session away."""
    context = ssl.create_default_context()
    context.keylog_filename = None  # type: ignore[assignment] # typeshed knows the getter only
    # TLS 1.2 only: it can make a send wait for the other side.
    context.options |= getattr(ssl, "OP_NO_RENEGOTIATION", 0)
    return context


class Connector:
    """One attempt to open a connection.

    Args:
        endpoint: where to.
        deadline: monotonic time by which it must be open.
        stopped: polled between steps; once set, the attempt fails at once.
        context: TLS settings, or ``None`` for those of :func:`ssl.create_default_context`.
        proxy: what to go through, or ``None``.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        deadline: float,
        stopped: threading.Event,
        context: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._attempt = Attempt(endpoint.name, deadline, stopped)
        self._context = context
        self._proxy = proxy

    def open(self) -> tuple[socket.socket, Tls | None]:
        """Return a connected, non-blocking socket, and its TLS if the endpoint is secure.

        Raises:
            ConnectFailed: it could not be opened; the text says at which step and why.
        """
        failures: list[ConnectFailed] = []
        attempt, first = self._attempt, self._proxy or self._endpoint
        whole = attempt.deadline
        addresses = self._resolve(first.host, first.port)
        for place, address in enumerate(addresses):
            # An address that swallows everything must leave time for the next.
            now = time.monotonic()
            attempt.deadline = now + (whole - now) / (len(addresses) - place)
            try:
                return self._try(address)
            except ConnectFailed as error:
                failures.append(
                    attempt.failed(f"{address[4][0]}: {error.reason}", lasting=error.lasting)
                )
            if attempt.stopped:
                break
        reasons = "; ".join(error.reason for error in failures)
        lasting = bool(failures) and all(error.lasting for error in failures)
        raise attempt.failed(reasons or "the name has no address", lasting=lasting)

    def _try(self, address: AddressInfo) -> tuple[socket.socket, Tls | None]:
        family, kind, proto, _, where = address
        try:
            sock = parents_own(socket.socket(family, kind, proto))
        except OSError as error:
            raise self._attempt.failed(f"no socket can be made ({error})") from error
        try:
            self._reach(sock, where)
            if self._proxy is not None:
                self._tunnel(sock, self._proxy)
            return sock, self._secure(sock) if self._endpoint.secure else None
        except BaseException:
            sock.close()
            raise

    def _reach(self, sock: socket.socket, address: Any) -> None:
        """Connect to the exchange, or to the proxy: then an error names that."""
        try:
            self._connect(sock, address)
        except ConnectFailed as error:
            if self._proxy is None:
                raise
            raise self._attempt.failed(
                f"the proxy {self._proxy.host}:{self._proxy.port} cannot be reached: {error.reason}"
            ) from error

    def _resolve(self, host: str, port: int) -> list[AddressInfo]:
        look_up = LookUp.of(host, port)
        self._attempt.wait(look_up.done.wait, "looking up the name")
        if look_up.error is not None:
            whose = "" if self._proxy is None else f" {host!r}"
            raise self._attempt.failed(f"the name{whose} cannot be resolved ({look_up.error})")
        return look_up.addresses

    def _connect(self, sock: socket.socket, address: Any) -> None:
        attempt = self._attempt
        sock.setblocking(False)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            code = sock.connect_ex(address)
        except OSError as error:
            raise attempt.failed(str(error)) from error
        if code not in _IN_PROGRESS:
            raise attempt.os_failed(code)
        attempt.wait(Poller(sock).writable, "connecting")
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise attempt.os_failed(code)

    def _tunnel(self, sock: socket.socket, proxy: Proxy) -> None:
        host, port = self._endpoint.host, self._endpoint.port
        if not proxy.resolves:
            # Only one can be asked for; a proxy is more likely to reach one of version 4.
            found = sorted(self._resolve(host, port), key=lambda each: each[0] != socket.AF_INET)
            if not found or (proxy.scheme == "socks4" and found[0][0] != socket.AF_INET):
                raise self._attempt.failed(f"{host} has no address that {proxy.scheme} can carry")
            host = found[0][4][0]
        open_tunnel(sock, proxy, host, port, self._attempt)

    def _secure(self, sock: socket.socket) -> Tls:
        attempt = self._attempt
        try:
            tls = Tls(self._context or _default_context(), self._endpoint.host)
        except (OSError, ValueError) as error:
            raise attempt.failed(f"TLS cannot be set up ({error})") from error
        try:
            self._shake_hands(tls, PatientSocket(sock, attempt, "in the TLS handshake"))
        except ssl.SSLCertVerificationError as error:
            reason = (
                f"the server's certificate is not valid: {error.verify_message} (behind an "
                "authority of your own, give ssl_context=ssl.create_default_context(cafile=...))"
            )
            raise attempt.failed(reason, lasting=True) from error
        except OSError as error:
            raise attempt.failed(f"the TLS handshake failed ({error})") from error
        return tls

    @staticmethod
    def _shake_hands(tls: Tls, sock: PatientSocket) -> None:
        done, received = False, 0
        while not done:
            try:
                done = tls.shake_hands()
            except ssl.SSLError:
                with contextlib.suppress(OSError, ConnectFailed):
                    sock.sendall(tls.take_outgoing())  # an alert tells the server why
                raise
            sock.sendall(tls.take_outgoing())
            if not done:
                data = sock.recv(_HANDSHAKE_SIZE)
                received += len(data)
                if received > _MAX_HANDSHAKE:
                    raise OSError("it has no end")
                tls.feed(data)
