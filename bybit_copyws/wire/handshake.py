"""Check of the server's reply to the HTTP upgrade request (RFC 6455 section 4.1).

It must not know how the bytes travel or what is done about a refusal: no socket, no clock, no
retry. Everything that a server can make large is bounded, nothing of a refused reply is obeyed
(no redirect, no cookie, no extension), and only a short printable excerpt of it is ever quoted.
Header values appear in no error text, because a server may echo secrets in them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from urllib.parse import urlsplit

MAX_HEAD = 64 * 2**10
MAX_LINE = 8 * 2**10
MAX_HEADERS = 128
MAX_QUOTE = 200
_SHORT_QUOTE = 60

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_HTTP = b"HTTP/"
_TLS_RECORDS = (b"\x15", b"\x16")  # alert, handshake; no text begins so

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)")
_KEY = re.compile(
    rb"\r\nsec-websocket-key:[ \t]*([A-Za-z0-9+/]{22}==)[ \t]*(?=\r\n)", re.IGNORECASE
)
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_IMF_DATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4})"
    r" ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
_SECONDS = re.compile(r"[0-9]{1,9}")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# All others are checked for form and dropped, Set-Cookie among them.
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
_PRINTABLE = bytes(byte if 32 <= byte < 127 else ord(".") for byte in range(256))


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


class HandshakeRefused(Exception):
    """The server's reply does not open a WebSocket.

    Attributes:
        reason: what came, in one line of printable ASCII.
        status: HTTP status, if the reply got as far as that; 101 when the rest of it is wrong.
        retry_after: seconds that the server asked to wait, else ``None``.
        location: host that a redirect points to (never followed), else ``None``.
    """

    def __init__(
        self,
        reason: str,
        status: int | None = None,
        retry_after: float | None = None,
        location: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.retry_after = retry_after
        self.location = location


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

    Each line is judged when it is complete, and the limits as soon as they are passed, so what
    is refused does not depend on how the bytes were cut, except for the length of a quotation.

    Args:
        key: the ``Sec-WebSocket-Key`` that was sent, see :func:`request_key`.
    """

    def __init__(self, key: str) -> None:
        self._accept = accept_for(key)
        self._buffer = bytearray()
        self._line = 0  # where the current line begins
        self._headers: dict[str, list[str]] = {}
        self._count = 0
        self._status: int | None = None
        self._version = b""
        self._what = ""  # status and reason phrase, fit to be shown
        self._over = False

    def feed(self, data: bytes | bytearray | memoryview, *, now: float) -> UpgradeReply | None:
        """Take the next bytes; give the checked reply once its head is complete.

        Args:
            data: bytes as received.
            now: wall clock in seconds since 1970, for a ``Retry-After`` that is a date.

        Raises:
            HandshakeRefused: the reply is not a proper 101; nothing more may be fed.
            ValueError: the reply was complete or refused before.
        """
        if self._over:
            raise ValueError("the reply has been judged already")
        try:
            reply = self._feed(data, now)
        except HandshakeRefused:
            self._forget()
            raise
        if reply is not None:
            self._forget()
        return reply

    def cut(self) -> HandshakeRefused:
        """Make the error for a connection that ended, or a deadline that passed, before a reply."""
        if self._status is not None:
            text = f"the reply {self._what} broke off in its head"
        elif self._buffer:
            text = f"only a part of a reply came: {_quote(self._buffer, _SHORT_QUOTE)}"
        else:
            text = "no reply came"
        return self._refuse(text)

    def _forget(self) -> None:
        """Keep nothing of what came: there may be cookies in it."""
        self._over = True
        self._buffer.clear()
        self._headers.clear()

    def _feed(self, data: bytes | bytearray | memoryview, now: float) -> UpgradeReply | None:
        searched = max(self._line, len(self._buffer) - 1)  # a CR may wait for its LF
        buffer = self._buffer
        buffer += data
        if buffer[: len(_HTTP)] != _HTTP[: len(buffer)]:
            raise _not_http(buffer)
        while True:
            stop = buffer.find(b"\r\n", searched)
            if (stop if stop >= 0 else len(buffer) - 1) - self._line > MAX_LINE:
                raise self._refuse(f"a line of the reply is longer than {MAX_LINE} bytes")
            if (stop + 2 if stop >= 0 else len(buffer)) > MAX_HEAD:
                raise self._refuse(f"the head of the reply is longer than {MAX_HEAD} bytes")
            if stop < 0:
                return None
            line = bytes(buffer[self._line : stop])
            self._line = searched = stop + 2
            if self._status is None:
                self._take_status(line)
            elif line:
                self._take_header(line)
            else:
                return self._judge(bytes(buffer[searched:]), now)

    def _refuse(self, reason: str) -> HandshakeRefused:
        return HandshakeRefused(reason, self._status)

    def _take_status(self, line: bytes) -> None:
        """Read the status line (RFC 9112 section 4)."""
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise HandshakeRefused(f"not a status line of HTTP/1: {_quote(line, _SHORT_QUOTE)}")
        self._version = match[1]
        self._status = int(match[2])
        phrase = _clean(match[3] or b"", _SHORT_QUOTE)
        self._what = f"HTTP {self._status} {phrase}".rstrip()

    def _take_header(self, line: bytes) -> None:
        """Read a header line (RFC 9112 section 5); folded lines are long obsolete."""
        self._count += 1
        if self._count > MAX_HEADERS:
            raise self._refuse(f"the reply has more than {MAX_HEADERS} headers")
        match = _HEADER.fullmatch(line)
        if match is None:
            raise self._refuse(f"header {self._count} of the reply is malformed")
        name = match[1].decode("ascii").lower()
        if name in _KEPT:
            self._headers.setdefault(name, []).append(match[2].decode("latin-1").strip(" \t"))

    def _judge(self, rest: bytes, now: float) -> UpgradeReply:
        """Accept a proper 101, refuse all else (RFC 6455 section 4.1, the list of six checks)."""
        if self._status != 101:
            raise self._other_status(rest, now)
        if self._version != b"1":
            raise self._refuse("the 101 reply is HTTP/1.0, which cannot upgrade")
        upgrades = self._headers.get("upgrade", [])
        if not upgrades or any(value.lower() != "websocket" for value in upgrades):
            raise self._refuse("the 101 reply does not upgrade to websocket")
        tokens = ",".join(self._headers.get("connection", [])).lower().split(",")
        if "upgrade" not in (token.strip(" \t") for token in tokens):
            raise self._refuse("the 101 reply has no 'Connection: Upgrade'")
        accepts = self._headers.get("sec-websocket-accept", [])
        if not accepts:
            raise self._refuse("the 101 reply has no Sec-WebSocket-Accept")
        expected = self._accept.encode("ascii")
        if not all(hmac.compare_digest(value.encode("latin-1"), expected) for value in accepts):
            text = "the 101 reply has a wrong Sec-WebSocket-Accept, so it answers another request"
            raise self._refuse(text)
        for name in ("extensions", "protocol"):
            if f"sec-websocket-{name}" in self._headers:
                raise self._refuse(
                    f"the 101 reply has a Sec-WebSocket-{name.title()} not asked for"
                )
        return UpgradeReply(self._accept, rest)

    def _other_status(self, body: bytes, now: float) -> HandshakeRefused:
        """Say what came instead of a 101, quoting what has arrived of the body."""
        status = self._status
        text = self._what
        location = None
        if status is not None and 300 <= status < 400:
            location = _host_of(self._headers.get("location", [""])[0])
            text += f", a redirect to {location or 'an unnamed host'}, which is never followed"
        waits = [_seconds_until(value, now) for value in self._headers.get("retry-after", [])]
        retry_after = max((wait for wait in waits if wait is not None), default=None)
        if body:
            text += f": {_quote(body, MAX_QUOTE)}"
        return HandshakeRefused(text, status, retry_after, location)


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


def _not_http(data: bytes | bytearray) -> HandshakeRefused:
    """Say what speaks at the other end, if it is not HTTP."""
    if data.startswith(_TLS_RECORDS):
        text = "not HTTP but what looks like a TLS record: does the port want wss://, not ws://?"
        return HandshakeRefused(text)
    return HandshakeRefused(f"not HTTP: {_quote(data, _SHORT_QUOTE)}")


def explain_status(status: int | None) -> str:
    """Return what the refusal of a handshake most likely means; ``""`` if it is not known."""
    return _MEANINGS.get(status, "") if status is not None else ""


def printable(text: str) -> str:
    """Return a server's text in one line of printable ASCII, not too long."""
    return _clean(text.encode(), MAX_QUOTE)


def _clean(data: bytes | bytearray, most: int) -> str:
    """Make received bytes fit for an error text: ASCII, one line, at most ``most`` characters."""
    text = b" ".join(bytes(data[: 4 * most]).split())
    return text[:most].translate(_PRINTABLE).decode("ascii")


def _quote(data: bytes | bytearray, most: int) -> str:
    """Quote at most ``most`` characters of received bytes."""
    return f"'{_clean(data, most)}'"


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
    """Read a ``Retry-After`` (RFC 9110 section 10.2.3), without the dates of before 1994."""
    if _SECONDS.fullmatch(value):
        return float(value)
    match = _IMF_DATE.fullmatch(value)
    if match is None or match[2] not in _MONTHS:
        return None
    day, year, hour, minute, second = (int(match[group]) for group in (1, 3, 4, 5, 6))
    month = _MONTHS.index(match[2]) + 1
    try:
        then = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    except ValueError:
        return None
    return max(0.0, then.timestamp() - now)
