"""The request for a tunnel through an HTTP proxy, and the check of its reply (RFC 9110, 9.3.6).

Pure: bytes in, a verdict out. It must not know how they travel or what will go through the tunnel.
"""

from __future__ import annotations

import base64

from bybit_copyws.wire.http_head import HandshakeRefused, HeadReader, quote

_MEANINGS = {
    403: "it does not allow this destination",
    407: "it wants a user name and a password: put them into proxy='http://user:password@host:port'",
    502: "it cannot reach the destination",
    503: "it cannot reach the destination",
    504: "it cannot reach the destination",
}


def connect_request(host: str, port: int, user: str = "", password: str = "") -> bytes:
    """Compose the request for a tunnel.

    Args:
        host: where it shall lead; a name, or an address (an IPv6 one without brackets).
        port: the port there.
        user: user name for the proxy (Basic, RFC 7617); none is sent if it is empty.
        password: password for the proxy.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
    if user:
        token = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
        lines.append(f"Proxy-Authorization: Basic {token}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


class TunnelReader:
    """Read the proxy's reply piece by piece and judge it."""

    def __init__(self) -> None:
        self._head = HeadReader(())

    def feed(self, data: bytes | bytearray | memoryview) -> bool:
        """Take the next bytes; return whether the tunnel is open.

        Raises:
            HandshakeRefused: it will not be; nothing more may be fed.
        """
        head = self._head.feed(data)
        if head is None:
            return False
        if not 200 <= head.status < 300:
            meaning = _MEANINGS.get(head.status)
            text = f"{head.what}: {meaning}" if meaning else head.what
            if head.rest and not meaning:
                text += f": {quote(head.rest)}"
            raise HandshakeRefused(text, head.status)
        if head.rest:
            # The client speaks first, in TLS as in HTTP: nobody at the other end has said this.
            raise HandshakeRefused("it sent data before the tunnel was used", head.status)
        return True

    def cut(self) -> HandshakeRefused:
        """Make the error for a connection that ended before the reply."""
        return self._head.cut()
