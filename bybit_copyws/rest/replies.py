"""What a reply of the REST API says: an answer, or a failure with its meaning. Pure.

Everything that comes may be wrong, and nothing of it reaches an error without being redacted: a
refused signature is answered with the text that was signed, key and all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from bybit_copyws.rest import meanings
from bybit_copyws.rest.retries import Failure, Kind
from bybit_copyws.wire.http_head import printable

KEPT_HEADERS = frozenset(
    (
        "content-encoding",
        "location",
        "retry-after",
        "x-bapi-limit",
        "x-bapi-limit-reset-timestamp",
        "x-bapi-limit-status",
    )
)
"""All that is looked at, in lower case."""

_KINDS = {
    **dict.fromkeys((10002, 10021), Kind.CLOCK),
    **dict.fromkeys((10006, 10018, 10429), Kind.LIMITED),
    **dict.fromkeys((10000, 10016), Kind.SERVER),
}
_LONGEST_WAIT = 86_400.0  # seconds; a server that asks for more is not believed
_EXCERPT = 2_000  # bytes of a reply that are looked at for an excerpt

Clean = Callable[[str], str]
"""Takes secrets out of a text."""


@dataclass(frozen=True)
class Reply:
    """One HTTP reply.

    Attributes:
        status: HTTP status.
        headers: those of :data:`KEPT_HEADERS` that came.
        body: the whole of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def number(self, name: str) -> int | None:
        """Return a header that is a whole number; ``None`` if it is none, or did not come."""
        text = self.headers.get(name, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


class Envelope(msgspec.Struct, frozen=True, rename="camel"):
    """What every answer of the exchange is wrapped in."""

    ret_code: int
    ret_msg: str | None = None
    result: Any = None
    time: int | None = None


_DECODER = msgspec.json.Decoder(Envelope)


def read_envelope(body: bytes) -> Envelope | None:
    """Decode an answer; ``None`` if it is none."""
    try:
        return _DECODER.decode(body)
    except (ValueError, RecursionError):  # what msgspec raises is a ValueError, as for bad UTF-8
        return None


def judge(reply: Reply, clean: Clean, now: float) -> Envelope | Failure:
    """Tell a success from all that is none.

    Args:
        reply: what came.
        clean: takes secrets out of what is quoted.
        now: wall clock in seconds, for a ``Retry-After`` that is a date.
    """
    status, retry_after = reply.status, _retry_after(reply, now)
    if 300 <= status < 400:
        return _redirected(reply)
    if status == 403:
        reason = f"HTTP 403{_excerpt(reply, clean)}"
        return Failure(Kind.BANNED, reason, meanings.BANNED, status=status, retry_after=retry_after)
    encoding = reply.headers.get("content-encoding", "identity").strip().lower()
    envelope = read_envelope(reply.body) if encoding in ("identity", "") else None
    if status < 500 and envelope is not None and envelope.ret_code:
        return _refused(reply, envelope, clean, retry_after)
    if status == 200 and envelope is not None:
        return envelope
    if 200 <= status < 300:
        what = "the reply is no answer in JSON" if status == 200 else f"HTTP {status}"
        reason = f"{what}{_excerpt(reply, clean)}"
        return Failure(Kind.LOST, reason, meanings.NOT_JSON)
    kind = Kind.SERVER if status >= 500 else Kind.LIMITED if status == 429 else Kind.REFUSED
    return Failure(
        kind,
        f"HTTP {status}{_excerpt(reply, clean)}",
        meanings.of_status(status),
        status=status,
        retry_after=retry_after,
    )


def _redirected(reply: Reply) -> Failure:
    try:
        host = urlsplit(reply.headers.get("location", "")).hostname
    except ValueError:
        host = None
    where = printable(host)[:80] if host else "an unnamed host"
    reason = f"HTTP {reply.status}, a redirect to {where}"
    return Failure(Kind.REFUSED, reason, meanings.REDIRECTED, status=reply.status)


def _refused(reply: Reply, envelope: Envelope, clean: Clean, retry_after: float | None) -> Failure:
    code, text = envelope.ret_code, printable(clean(envelope.ret_msg or ""))
    kind = _KINDS.get(code, Kind.REFUSED)
    reset_ms = reply.number("x-bapi-limit-reset-timestamp") if kind is Kind.LIMITED else None
    return Failure(
        kind,
        f"{code} {text!r}",
        meanings.of_code(code),
        ret_code=code,
        ret_msg=text,
        retry_after=retry_after,
        reset_ms=reset_ms,
    )


def _excerpt(reply: Reply, clean: Clean) -> str:
    """Quote the beginning of a reply; it is redacted before it is cut, or half a key would show."""
    text = reply.body[:_EXCERPT].decode("utf-8", "replace")
    if len(reply.body) > _EXCERPT:
        text = text[: text.rfind(" ")]
    shown = printable(clean(text))[:120]
    return f": {shown!r}" if shown else " and no text"


def _retry_after(reply: Reply, now: float) -> float | None:
    """Read a ``Retry-After`` (RFC 9110 section 10.2.3)."""
    text = reply.headers.get("retry-after", "")
    seconds: float | None = reply.number("retry-after")
    if seconds is None and text:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - now
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return None if seconds is None else min(max(seconds, 0.0), _LONGEST_WAIT)
