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
        user: user name for the proxy (Basic, RFC 7617); nothing is sent if both are empty.
        password: password for the proxy.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
    if user or password:
        token = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
        lines.append(f"Proxy-Authorization: Basic {token}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


class TunnelReader:
    """Read the proxy's reply piece by piece and judge it.

    Args:
        quoting: whether a refusal may quote what the proxy wrote.
    """

    def __init__(self, *, quoting: bool = True) -> None:
        self._head = HeadReader(())
        self._quoting = quoting

    def feed(self, data: bytes | bytearray | memoryview) -> bool:
        """Take the next bytes; return whether the tunnel is open.

        Raises:
            HandshakeRefused: it will not be; nothing more may be fed.
        """
        try:
            opened = self._feed(data)
        except HandshakeRefused as error:
            refused = self._told(error)
        else:
            return opened
        raise refused

    def _feed(self, data: bytes | bytearray | memoryview) -> bool:
        head = self._head.feed(data)
        if head is None:
            return False
        if not 200 <= head.status < 300:
            text = head.what
            if head.status in _MEANINGS:
                text = _explain(head.status)
            elif head.rest:
                text += f": {quote(head.rest)}"
            raise HandshakeRefused(text, head.status)
        if head.rest:
            # The client speaks first, in TLS as in HTTP: nobody at the other end has said this.
            raise HandshakeRefused("it sent data before the tunnel was used", head.status)
        return True

    def cut(self) -> HandshakeRefused:
        """Make the error for a connection that ended before the reply."""
        return self._told(self._head.cut())

    def _told(self, refused: HandshakeRefused) -> HandshakeRefused:
        """Return a refusal as it may be shown."""
        if self._quoting:
            return HandshakeRefused(refused.reason, refused.status)
        return HandshakeRefused(_explain(refused.status), refused.status)


def _explain(status: int | None) -> str:
    """Say what a status most likely means, with nothing that the proxy has written itself."""
    if status is None:
        return "no proper reply came (not shown: the proxy knows a password)"
    meaning = _MEANINGS.get(status)
    return f"HTTP {status}: {meaning}" if meaning else f"HTTP {status}"
