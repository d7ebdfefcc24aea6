"""Client-side frame reader of RFC 6455: bytes in, whole messages and control frames out.

It must not know where the bytes come from or what the messages mean: no socket, no thread,
no clock, no logging, no JSON. It sends nothing either; whoever owns the socket answers pings
and closes, and drops the connection after a :class:`Failure`.

A text message is handed out as a plain ``bytes`` object whose UTF-8 has been verified, because
an object per message would cost more than finding the message does. Every other item is a
small frozen class, so ``type(item) is bytes`` tells market data from all the rest.

The file is longer than most: the rules of one RFC section are easier to check in one place.
"""

from __future__ import annotations

from codecs import utf_8_decode
from dataclasses import dataclass
from io import BytesIO
from typing import TypeAlias

PROTOCOL_ERROR = 1002
INVALID_DATA = 1007
TOO_BIG = 1009

_CONTINUATION, _TEXT, _BINARY = 0x0, 0x1, 0x2
_CLOSE, _PING, _PONG = 0x8, 0x9, 0xA
_KNOWN_OPCODES = frozenset((_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG))
_MAX_CONTROL = 125
_BLOCK = 256 * 2**10
_BAD_TEXT = "a text message is not valid UTF-8"


@dataclass(frozen=True, slots=True)
class Binary:
    """A complete binary message (RFC 6455 section 5.6)."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping, to be answered by a pong with the same payload (RFC 6455 section 5.5.2)."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """A pong, asked for or not (RFC 6455 section 5.5.3)."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """The server's close frame; nothing after it is read (RFC 6455 section 5.5.1).

    Attributes:
        code: close code, or ``None`` when the frame was empty.
        reason: the server's text, not cleaned of control characters.
    """

    code: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Failure:
    """The server broke the protocol; nothing after it is read (RFC 6455 section 7.1.7).

    Attributes:
        code: close code to send: 1002, 1007 or 1009.
        reason: what was wrong, free of received text.
    """

    code: int
    reason: str


Item: TypeAlias = bytes | Binary | Ping | Pong | Close | Failure


class _Violation(Exception):
    """Carries a failure from where it is found to :meth:`FrameReader.feed`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.failure = Failure(code, reason)


class FrameReader:
    """Cut a byte stream into the messages and control frames of a server (RFC 6455 section 5).

    No extension is ever offered, so all reserved bits must be 0. Every limit is checked
    against the length that a header announces, before a byte of the payload is kept.

    Args:
        max_message_size: bytes of one message, all fragments together; more is a failure 1009.
        max_fragments: frames of one message; more is a failure 1009.
    """

    def __init__(self, *, max_message_size: int = 16 * 2**20, max_fragments: int = 131_072) -> None:
        self._max_size = max_message_size
        self._max_fragments = max_fragments
        self._over = False
        self._held = b""  # an unfinished header or control frame: never more than 126 bytes
        self._missing = 0  # payload bytes of the current data frame that have yet to come
        self._final = False  # the current data frame is the last one of its message
        self._reset_message()

    def _reset_message(self) -> None:
        """Forget the message; only the slow path begins one."""
        self._opcode = _CONTINUATION  # of the unfinished message; 0 means that there is none
        self._size = 0  # as announced so far
        self._fragments = 0
        self._undecided = b""  # the first bytes of a character that the data has cut in two
        # What has come of it: blocks, and the last one under way. BytesIO grows by a share of its
        # size and gives its buffer away without a copy, so small pieces cost little; a buffer
        # that grew to the size of the message might be moved, and then be there twice.
        self._blocks: list[bytes] = []
        self._block = BytesIO()

    @property
    def mid_frame(self) -> bool:
        """Whether a frame or its header has begun and not ended, so more bytes must come soon."""
        return self._missing > 0 or self._held != b""

    @property
    def mid_message(self) -> bool:
        """Whether a message has begun and not ended; between fragments it may pause at will."""
        return self._opcode != _CONTINUATION

    @property
    def over(self) -> bool:
        """Whether a :class:`Close` or :class:`Failure` has ended the stream."""
        return self._over

    # One loop with many branches: a call per frame would cost as much as all the rest of it.
    def feed(self, data: bytes | bytearray | memoryview) -> list[Item]:  # noqa: C901, PLR0912
        """Take all of ``data`` and give what it completes, in order (RFC 6455 section 5.2).

        What is wrong is never raised: the items before it are good, so it comes as the last
        item, a :class:`Failure`. After that, or after a :class:`Close`, everything is ignored.

        Args:
            data: bytes as received; the buffer may be reused as soon as this returns.

        Returns:
            ``bytes`` for each text message, and the other items.
        """
        items: list[Item] = []
        if self._over:
            return items
        stream = self._held + data if self._held else bytes(data)
        self._held = b""
        end = len(stream)
        limit = self._max_size
        append = items.append
        try:
            pos = self._payload(stream, 0, items) if self._missing else 0
            while pos < end:
                if not self._opcode:
                    # Whole text messages (0x81) of one frame, 7-bit or 16-bit length. All that
                    # is not plain leaves the loop with `pos` at its first byte.
                    try:
                        while pos < end:
                            if stream[pos] != 0x81:
                                break
                            size = stream[pos + 1]
                            start = pos + 2
                            if size > 125:
                                if size != 126:
                                    break
                                start = pos + 4
                                size = stream[pos + 2] << 8 | stream[pos + 3]
                                if size < 126:
                                    break
                            stop = start + size
                            if stop > end or size > limit:
                                break
                            payload = stream[start:stop]
                            if not payload.isascii():
                                payload.decode()
                            append(payload)
                            pos = stop
                        else:
                            break
                    except IndexError:
                        pass
                pos = self._frame(stream, pos, items)
        except UnicodeDecodeError:
            self._end()
            append(Failure(INVALID_DATA, _BAD_TEXT))
        except _Violation as violation:
            self._end()
            append(violation.failure)
        return items

    def _end(self) -> None:
        """Take nothing more, and keep nothing."""
        self._over = True
        self._held = b""
        self._missing = 0
        self._reset_message()

    def _frame(self, data: bytes, pos: int, items: list[Item]) -> int:
        """Take the frame at ``pos``, or what has come of it; give the position after it."""
        end = len(data)
        first = data[pos]
        opcode = first & 0x0F
        self._check_first_byte(first, opcode)
        if end - pos < 2:
            return self._hold(data, pos)
        size = data[pos + 1]
        if size & 0x80:
            raise _Violation(PROTOCOL_ERROR, "the server sent a masked frame")
        start = pos + 2
        if opcode & 0x08:
            if size > _MAX_CONTROL:
                raise _Violation(PROTOCOL_ERROR, "a control frame is longer than 125 bytes")
            if start + size > end:
                return self._hold(data, pos)
            items.append(self._control(opcode, data[start : start + size]))
            return end if self._over else start + size
        if size > 125:
            width = 2 if size == 126 else 8
            start += width
            if start > end:
                return self._hold(data, pos)
            size = _extended_length(data[start - width : start])
        self._begin(first, opcode, size)
        return self._payload(data, start, items)

    def _hold(self, data: bytes, pos: int) -> int:
        """Keep an unfinished header or control frame until more comes."""
        self._held = data[pos:]
        return len(data)

    def _check_first_byte(self, first: int, opcode: int) -> None:
        """Refuse what is wrong before the second byte is there (RFC 6455 sections 5.2, 5.4)."""
        if first & 0x70:
            raise _Violation(PROTOCOL_ERROR, "a reserved bit is set, but no extension is in use")
        if opcode not in _KNOWN_OPCODES:
            raise _Violation(PROTOCOL_ERROR, f"a frame has the reserved opcode {opcode}")
        if opcode & 0x08:
            if not first & 0x80:
                raise _Violation(PROTOCOL_ERROR, "a control frame is fragmented")
        elif opcode == _CONTINUATION:
            if not self._opcode:
                raise _Violation(PROTOCOL_ERROR, "a continuation frame continues no message")
        elif self._opcode:
            raise _Violation(PROTOCOL_ERROR, "a new message begins inside a fragmented one")

    def _begin(self, first: int, opcode: int, size: int) -> None:
        """Begin the payload of a data frame, if the message may be as large as it announces."""
        if opcode:
            self._opcode = opcode
        self._final = first & 0x80 != 0
        self._missing = size
        self._size += size
        self._fragments += 1
        if self._size > self._max_size:
            text = f"a message of at least {self._size} bytes exceeds the {self._max_size} allowed"
            raise _Violation(TOO_BIG, text)
        if self._fragments > self._max_fragments:
            text = f"a message has more than {self._max_fragments} fragments"
            raise _Violation(TOO_BIG, text)

    def _payload(self, data: bytes, pos: int, items: list[Item]) -> int:
        """Take what ``data`` holds of the current data frame; give the position after it."""
        chunk = data[pos : pos + self._missing]
        self._missing -= len(chunk)
        complete = self._final and not self._missing
        text = self._opcode == _TEXT
        if text:
            self._check_text(chunk, complete)
        if not complete:
            self._keep(chunk)
        else:
            payload = self._whole(chunk)
            items.append(payload if text else Binary(payload))
            self._reset_message()
        return pos + len(chunk)

    def _keep(self, chunk: bytes) -> None:
        """Keep a part of the message."""
        self._block.write(chunk)
        if self._block.tell() >= _BLOCK:
            self._blocks.append(self._block.getvalue())
            self._block = BytesIO()

    def _whole(self, last: bytes) -> bytes:
        """Put the message together; its parts go while it grows, so that it is not there twice."""
        if not self._blocks and not self._block.tell():
            return last
        self._block.write(last)
        if not self._blocks:
            return self._block.getvalue()
        parts = [self._block.getvalue(), *reversed(self._blocks)]
        self._reset_message()
        whole = BytesIO()
        while parts:
            whole.write(parts.pop())
        return whole.getvalue()

    def _check_text(self, chunk: bytes, complete: bool) -> None:
        """Refuse bytes that no UTF-8 text can hold, as early as they show (section 8.1).

        Only what arrives in pieces comes here, each byte once: at most three bytes, of a
        character that is cut in two, are looked at again.
        """
        if self._undecided:
            chunk = self._undecided + chunk
        elif chunk.isascii():
            return
        self._undecided = chunk[utf_8_decode(chunk, "strict", complete)[1] :]

    def _control(self, opcode: int, payload: bytes) -> Item:
        """Make the item of a whole control frame; a close frame ends the stream."""
        if opcode == _PING:
            return Ping(payload)
        if opcode == _PONG:
            return Pong(payload)
        close = _parse_close(payload)
        self._end()
        return close


def _extended_length(field: bytes) -> int:
    """Read a length of 2 or 8 bytes, which must be the shortest form (RFC 6455 section 5.2)."""
    size = int.from_bytes(field, "big")
    if size < (126 if len(field) == 2 else 2**16):
        raise _Violation(PROTOCOL_ERROR, "a frame's length is not in its shortest form")
    if size >> 63:
        raise _Violation(PROTOCOL_ERROR, "a frame's length has its highest bit set")
    return size


def _may_be_sent(code: int) -> bool:
    """Tell whether a close frame may carry ``code`` (RFC 6455 section 7.4, IANA registry)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def _parse_close(payload: bytes) -> Close:
    """Read the payload of a close frame (RFC 6455 section 5.5.1)."""
    if not payload:
        return Close(None, "")
    if len(payload) == 1:
        raise _Violation(PROTOCOL_ERROR, "a close frame holds half a close code")
    code = payload[0] << 8 | payload[1]
    if not _may_be_sent(code):
        raise _Violation(PROTOCOL_ERROR, f"a close frame holds the forbidden close code {code}")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError:
        raise _Violation(INVALID_DATA, "the reason of a close frame is not valid UTF-8") from None


def close_payload(code: int | None, reason: str = "") -> bytes:
    """Compose the payload of a close frame to send (RFC 6455 section 5.5.1).

    Args:
        code: close code, or ``None`` for a frame without one (then ``reason`` is left out).
        reason: text for the peer, cut between two characters so that the frame has room for it.

    Raises:
        ValueError: ``code`` may not be sent.
    """
    if code is None:
        return b""
    if not _may_be_sent(code):
        raise ValueError(f"close code {code} may not be sent")
    text = reason.encode("utf-8", "replace")[: _MAX_CONTROL - 2]
    return code.to_bytes(2, "big") + text[: utf_8_decode(text, "strict", False)[1]]
