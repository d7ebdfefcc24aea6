"""The head of an HTTP/1 reply, read piece by piece and within limits (RFC 9112).

It must not know what the reply answers, how the bytes travel or what is done about a refusal: no
socket, no clock. Everything that a server can make large is bounded, and only a short printable
excerpt of what came is ever quoted. Header values appear in no error text, because a server may
echo secrets in them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

MAX_HEAD = 64 * 2**10
MAX_LINE = 8 * 2**10
MAX_HEADERS = 128
MAX_INTERIM = 8
MAX_QUOTE = 200
_SHORT_QUOTE = 60
_SWITCHING = 101

_HTTP = b"HTTP/"
_TLS_RECORDS = (b"\x15", b"\x16")  # alert, handshake; no text begins so

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)")
_PRINTABLE = bytes(byte if 32 <= byte < 127 else ord(".") for byte in range(256))


class HandshakeRefused(Exception):
    """The reply does not open what was asked for.

    Attributes:
        reason: what came, in one line of printable ASCII.
        status: HTTP status, if the reply got as far as that, even when the rest of it is wrong.
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
class Head:
    """The head of a reply, complete and well-formed.

    Attributes:
        status: HTTP status.
        minor: minor version of HTTP/1: 0 or 1.
        what: status and reason phrase, fit to be shown.
        headers: values of those headers that were asked for, by lower-case name.
        rest: the bytes after the head.
    """

    status: int
    minor: int
    what: str
    headers: Mapping[str, list[str]]
    rest: bytes

    def tokens(self, name: str) -> list[str]:
        """Return the comma-separated parts of a header, in lower case."""
        return [token.strip(" \t") for token in ",".join(self.values(name)).lower().split(",")]

    def values(self, name: str) -> list[str]:
        """Return the values of a header; none if it did not come."""
        return self.headers.get(name, [])


class HeadReader:
    """Read the head of one reply piece by piece.

    Each line is judged when it is complete, and the limits as soon as they are passed, so what
    is refused does not depend on how the bytes were cut, except for the length of a quotation.

    Args:
        kept: lower-case names of the headers that are wanted. All others are checked for form and
            dropped, Set-Cookie among them.
    """

    def __init__(self, kept: Collection[str]) -> None:
        self._kept = kept
        self._buffer = bytearray()
        self._line = 0  # where the current line begins
        self._headers: dict[str, list[str]] = {}
        self._count = 0
        self._interim = 0
        self._status: int | None = None
        self._minor = 0
        self._what = ""
        self._over = False

    def feed(self, data: bytes | bytearray | memoryview) -> Head | None:
        """Take the next bytes; give the head once it is complete.

        Raises:
            HandshakeRefused: this is no head, or a larger one than allowed; nothing more may be
                fed.
            ValueError: the head was complete or refused before.
        """
        if self._over:
            raise ValueError("the reply has been judged already")
        try:
            head = self._feed(data)
        except HandshakeRefused:
            self._forget()
            raise
        if head is not None:
            self._forget()
        return head

    def cut(self) -> HandshakeRefused:
        """Make the error for a connection that ended, or a deadline that passed, before a reply."""
        if self._status is not None:
            text = f"the reply {self._what} broke off in its head"
        elif self._buffer:
            text = f"only a part of a reply came: {quote(self._buffer, _SHORT_QUOTE)}"
        else:
            text = "no reply came"
        return self._refuse(text)

    def _forget(self) -> None:
        """Keep nothing of what came: there may be cookies in it."""
        self._over = True
        self._buffer.clear()
        self._headers = {}

    def _feed(self, data: bytes | bytearray | memoryview) -> Head | None:
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
                rest = bytes(buffer[searched:])
                head = Head(self._status, self._minor, self._what, self._headers, rest)
                if not self._is_interim(head):
                    return head
                self._pass_over()

    def _is_interim(self, head: Head) -> bool:
        """Return whether another reply follows (RFC 9110 section 15.2), as after "100 Continue"."""
        return 100 <= head.status < 200 and head.status != _SWITCHING

    def _pass_over(self) -> None:
        """Begin anew behind an interim reply. Lines and headers go on counting."""
        self._status = None
        self._headers = {}
        self._interim += 1
        if self._interim > MAX_INTERIM:
            raise HandshakeRefused(f"more than {MAX_INTERIM} interim replies came")

    def _refuse(self, reason: str) -> HandshakeRefused:
        return HandshakeRefused(reason, self._status)

    def _take_status(self, line: bytes) -> None:
        """Read the status line (RFC 9112 section 4)."""
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise HandshakeRefused(f"not a status line of HTTP/1: {quote(line, _SHORT_QUOTE)}")
        self._minor = int(match[1])
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
        if name in self._kept:
            self._headers.setdefault(name, []).append(match[2].decode("latin-1").strip(" \t"))


def printable(text: str) -> str:
    """Return a server's text in one line of printable ASCII, not too long."""
    return _clean(text.encode(), MAX_QUOTE)


def quote(data: bytes | bytearray, most: int = MAX_QUOTE) -> str:
    """Quote at most ``most`` characters of received bytes."""
    return f"'{_clean(data, most)}'"


def _clean(data: bytes | bytearray, most: int) -> str:
    """Make received bytes fit for an error text: ASCII, one line, at most ``most`` characters."""
    text = b" ".join(bytes(data[: 4 * most]).split())
    return text[:most].translate(_PRINTABLE).decode("ascii")


def _not_http(data: bytes | bytearray) -> HandshakeRefused:
    """Say what speaks at the other end, if it is not HTTP."""
    if data.startswith(_TLS_RECORDS):
        text = "not HTTP but what looks like a TLS record: does the port want wss://, not ws://?"
        return HandshakeRefused(text)
    return HandshakeRefused(f"not HTTP: {quote(data, _SHORT_QUOTE)}")
