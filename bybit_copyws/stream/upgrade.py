"""What websocket-client is given as its socket.

During the HTTP upgrade it reads and checks the server's reply itself, under a deadline and with
limits, and lets only a clean 101 through: so no redirect is followed, no cookie kept or sent, no
extension accepted, whatever websocket-client would do.
"""

from __future__ import annotations

import time

from bybit_copyws.stream.link import Link
from bybit_copyws.wire.handshake import HandshakeReader, UpgradeReply, request_key
from bybit_copyws.wire.http_head import HandshakeRefused

_HEAD_BUFFER = 4096


class UpgradeSocket:
    """Enough of a socket for websocket-client's handshake.

    Args:
        link: the connection.
        deadline: monotonic time by which the reply must be complete.

    Attributes:
        surplus: bytes that came behind the reply: the first frames.
    """

    def __init__(self, link: Link, deadline: float) -> None:
        self.surplus = b""
        self._link = link
        self._deadline = deadline
        self._key: str | None = None
        self._reply: bytes | None = None
        self._read = 0

    def send(self, data: bytes) -> int:
        """Take the upgrade request; what comes later is left out. Never blocks.

        Frames are sent by the transport itself; the only one that websocket-client would add is a
        close frame behind the end.
        """
        if self._key is None:
            self._key = request_key(data)
            self._link.send(_without_cookies(data))
        return len(data)

    def recv(self, size: int) -> bytes:
        """Return the checked reply, ``size`` bytes at a time.

        Raises:
            HandshakeRefused: the reply is not a proper 101, or did not come in time.
        """
        if self._reply is None:
            checked = self._shake_hands()
            self.surplus = checked.rest
            self._reply = checked.clean_reply()
        part = self._reply[self._read : self._read + size]
        self._read += len(part)
        return part

    def _shake_hands(self) -> UpgradeReply:
        reader = HandshakeReader(self._key or "")
        view = memoryview(bytearray(_HEAD_BUFFER))
        while True:
            try:
                size = self._link.receive(view, self._deadline)
            except TimeoutError:
                raise HandshakeRefused(
                    "open_timeout passed before the server answered the WebSocket handshake"
                ) from None
            except OSError as error:
                raise HandshakeRefused(
                    f"the connection broke in the WebSocket handshake ({error})"
                ) from error
            if not size:
                raise reader.cut()
            reply = reader.feed(view[:size], now=time.time())
            if reply is not None:
                return reply

    # websocket-client sets and reads a timeout and closes what it was given; all of that is ours.

    def settimeout(self, timeout: float | None) -> None:
        """Change nothing: deadlines are the link's."""

    def gettimeout(self) -> float | None:
        """Return 0, which makes websocket-client call ``send`` and ``recv`` directly."""
        return 0

    def shutdown(self, how: int) -> None:
        """Change nothing: the transport ends the link."""

    def close(self) -> None:
        """Change nothing: the transport closes the link."""


def _without_cookies(request: bytes) -> bytes:
    """Drop what websocket-client's process-wide cookie jar may have put into the request."""
    lines = request.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.lower().startswith(b"cookie:"))
