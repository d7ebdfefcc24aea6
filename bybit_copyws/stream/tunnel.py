"""Opens a tunnel through a proxy on a connected socket: HTTP CONNECT by us, SOCKS by python-socks.

All of it within the patience of the attempt. Must not know what goes through.
"""

from __future__ import annotations

import socket

from bybit_copyws.stream.attempt import Attempt, PatientSocket
from bybit_copyws.stream.proxy import Proxy
from bybit_copyws.wire.http_head import HandshakeRefused, printable
from bybit_copyws.wire.tunnel import TunnelReader, connect_request

_STEP = "waiting for the proxy"
_RECEIVE_SIZE = 4096


def open_tunnel(sock: socket.socket, proxy: Proxy, host: str, port: int, attempt: Attempt) -> None:
    """Ask a proxy for a tunnel.

    Args:
        sock: connected to the proxy, non-blocking; closed by the caller if this fails.
        proxy: what it speaks, and who we are to it.
        host: where the tunnel shall lead: a name if the proxy looks up names, else an address.
        port: the port there.
        attempt: how long it may take.

    Raises:
        ConnectFailed: there will be no tunnel.
    """
    patient = PatientSocket(sock, attempt, _STEP)
    try:
        if proxy.scheme == "http":
            _ask_http(patient, proxy, host, port)
        else:
            _ask_socks(patient, proxy, host, port)
    except HandshakeRefused as refused:
        raise attempt.failed(f"the proxy {proxy.name} refused: {refused}") from None
    except OSError as error:
        raise attempt.failed(f"the connection to the proxy {proxy.name} broke ({error})") from error


def _ask_http(sock: PatientSocket, proxy: Proxy, host: str, port: int) -> None:
    sock.sendall(connect_request(host, port, proxy.user, proxy.password))
    # Who was told a password may send it back: then nothing that the proxy writes is quoted.
    reader = TunnelReader(quoting=not proxy.has_login)
    while True:
        data = sock.recv(_RECEIVE_SIZE)
        if not data:
            raise reader.cut()
        if reader.feed(data):
            return


class _Connected:
    """What python-socks takes for a further proxy in front of the first: our own connection."""

    def __init__(self, sock: PatientSocket) -> None:
        self._sock = sock

    def connect(self, **_: object) -> PatientSocket:
        """Return the socket that is connected already."""
        return self._sock


def _ask_socks(sock: PatientSocket, proxy: Proxy, host: str, port: int) -> None:
    # Imported only now: an extra that few need.
    import python_socks  # noqa: PLC0415
    from python_socks.sync import Proxy as Socks  # noqa: PLC0415

    kind = python_socks.ProxyType.SOCKS5 if "5" in proxy.scheme else python_socks.ProxyType.SOCKS4
    try:
        Socks(
            kind,
            proxy.host,
            proxy.port,
            proxy.user or None,
            proxy.password or None,
            rdns=True,  # never by python-socks: its look-up knows no deadline
            forward=_Connected(sock),  # type: ignore[arg-type] # all it uses of one
        ).connect(host, port)
    except (python_socks.ProxyError, ValueError) as error:
        # A ValueError (of a name or password that SOCKS cannot carry) would quote it.
        text = "" if isinstance(error, ValueError) else f": {printable(str(error))}"
        raise HandshakeRefused(f"SOCKS{text}") from None
