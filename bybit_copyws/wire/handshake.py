"""Check of the server's reply to the HTTP upgrade request (RFC 6455 section 4.1).

It must not know how the bytes travel or what is done about a refusal: no socket, no clock, no
retry. Nothing of a refused reply is obeyed: no redirect, no cookie, no extension.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from bybit_copyws.wire.http_head import HandshakeRefused, Head, HeadReader, quote

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3

_KEY = re.compile(
    rb"\r\nsec-websocket-key:[ \t]*([A-Za-z0-9+/]{22}==)[ \t]*(?=\r\n)", re.IGNORECASE
)
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_SECONDS = re.compile(r"[0-9]{1,9}")
_LONGEST_DATE = 64
_ENDS_OF_A_DATE = ("GMT", *"0123456789")

_KEPT = frozenset(
    (
        "connection",
        "location",
        "retry-after",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
        "upgrade",
    )
)

_LASTING = (401, 404)  # not 403: a ban ends after half an hour
_MEANINGS = {
    401: "The path wants a login over HTTP: check the URL",
    403: "Most likely this address is banned for too many connections, often for 30 minutes, or "
    "its region is blocked",
    404: "There is no such stream: check the URL and the environment",
    429: "Too many connections: slow down",
    502: "A gateway cannot reach the exchange: this passes",
    503: "The exchange is busy or in maintenance: this passes",
    504: "A gateway cannot reach the exchange: this passes",
}


@dataclass(frozen=True, slots=True)
class UpgradeReply:
    """A checked reply that opens the WebSocket.

    Attributes:
        accept: value of ``Sec-WebSocket-Accept``.
        rest: bytes after the head; they already belong to the frames.
    """

    accept: str
    rest: bytes

    def clean_reply(self) -> bytes:
        """Compose the same reply without cookies or any other header (RFC 6455 section 1.3)."""
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + self.accept.encode("ascii") + b"\r\n\r\n"
        )


class HandshakeReader:
    """Read the head of one reply piece by piece and judge it (RFC 6455 section 4.1).

    Args:
        key: the ``Sec-WebSocket-Key`` that was sent, see :func:`request_key`.
    """

    def __init__(self, key: str) -> None:
        self._accept = accept_for(key)
        self._head = HeadReader(_KEPT)

    def feed(self, data: bytes | bytearray | memoryview, *, now: float) -> UpgradeReply | None:
        """Take the next bytes; give the checked reply once its head is complete.

        Args:
            data: bytes as received.
            now: wall clock in seconds since 1970, for a ``Retry-After`` that is a date.

        Raises:
            HandshakeRefused: the reply is not a proper 101; nothing more may be fed.
            ValueError: the reply was complete or refused before.
        """
        head = self._head.feed(data)
        return None if head is None else self._judge(head, now)

    def cut(self) -> HandshakeRefused:
        """Make the error for a connection that ended, or a deadline that passed, before a reply."""
        return self._head.cut()

    def _judge(self, head: Head, now: float) -> UpgradeReply:
        """Accept a proper 101, refuse all else (RFC 6455 section 4.1, the list of six checks)."""
        if head.status != 101:
            raise _other_status(head, now)
        reason = self._fault_of(head)
        if reason:
            raise HandshakeRefused(f"the 101 reply {reason}", 101)
        return UpgradeReply(self._accept, head.rest)

    def _fault_of(self, head: Head) -> str:
        if not head.minor:
            return "is HTTP/1.0, which cannot upgrade"
        upgrades = head.values("upgrade")
        if not upgrades or any(value.lower() != "websocket" for value in upgrades):
            return "does not upgrade to websocket"
        if "upgrade" not in head.tokens("connection"):
            return "has no 'Connection: Upgrade'"
        accepts = head.values("sec-websocket-accept")
        if not accepts:
            return "has no Sec-WebSocket-Accept"
        expected = self._accept.encode("ascii")
        if not all(hmac.compare_digest(value.encode("latin-1"), expected) for value in accepts):
            return "has a wrong Sec-WebSocket-Accept, so it answers another request"
        for name in ("extensions", "protocol"):
            if head.values(f"sec-websocket-{name}"):
                return f"has a Sec-WebSocket-{name.title()} not asked for"
        return ""


def _other_status(head: Head, now: float) -> HandshakeRefused:
    """Say what came instead of a 101, quoting what has arrived of the body."""
    text = head.what
    location = None
    if 300 <= head.status < 400:
        location = _host_of((head.values("location") or [""])[0])
        text += f", a redirect to {location or 'an unnamed host'}, which is never followed"
    waits = [_seconds_until(value, now) for value in head.values("retry-after")]
    retry_after = max((wait for wait in waits if wait is not None), default=None)
    if head.rest:
        text += f": {quote(head.rest)}"
    return HandshakeRefused(text, head.status, retry_after, location)


def accept_for(key: str) -> str:
    """Compute the ``Sec-WebSocket-Accept`` that answers ``key`` (RFC 6455 section 4.2.2)."""
    digest = hashlib.sha1(key.encode("ascii") + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode("ascii")


def request_key(request: bytes) -> str:
    """Find the ``Sec-WebSocket-Key`` in an upgrade request (RFC 6455 section 4.1).

    Args:
        request: the request as it was written, its head complete.

    Raises:
        ValueError: there is not exactly one key of 16 bytes.
    """
    head, end, _ = request.partition(b"\r\n\r\n")
    keys = _KEY.findall(head + end)
    if len(keys) != 1:
        raise ValueError(f"an upgrade request with {len(keys)} valid Sec-WebSocket-Key headers")
    return str(keys[0], "ascii")


def is_lasting(status: int | None) -> bool:
    """Return whether a refusal with this HTTP status will hardly pass by itself soon."""
    return status in _LASTING


def explain_status(status: int | None) -> str:
    """Return what the refusal of a handshake most likely means; ``""`` if it is not known."""
    return _MEANINGS.get(status, "") if status is not None else ""


def _host_of(location: str) -> str | None:
    """Find the host (and port) of a redirect; no path, no query, no user name."""
    try:
        parts = urlsplit(location)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if not _HOST.fullmatch(host):
        return None
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


def _seconds_until(value: str, now: float) -> float | None:
    """Read a ``Retry-After`` (RFC 9110 section 10.2.3)."""
    if _SECONDS.fullmatch(value):
        return float(value)
    # All forms are in UTC: two say so, that of asctime() ends with the year.
    if len(value) > _LONGEST_DATE or not value.endswith(_ENDS_OF_A_DATE):
        return None
    try:
        then = parsedate_to_datetime(value).replace(tzinfo=timezone.utc)
        return max(0.0, then.timestamp() - now)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
