"""Requests and replies as values, and the envelope of every JSON reply.

Knows no endpoint and no server library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

_JSON = {"Content-Type": "application/json; charset=utf-8"}
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}


def _clean(text: str) -> str:
    """Return text that can be encoded: a server may hand undecodable bytes on as surrogates."""
    return text.encode("utf-8", "replace").decode()


@dataclass(frozen=True)
class Request:
    """One HTTP request.

    Args:
        method: In capital letters.
        path: Without the query.
        query: What stands after the question mark, exactly as sent: it is what was signed.
        body: Exactly as sent.
        headers: By name, in any case.
        address: Where it comes from; limits are counted by it.
    """

    method: str
    path: str
    query: str = field(default="", repr=False)
    body: bytes = field(default=b"", repr=False)
    # They hold key and signature.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    address: str = "127.0.0.1"

    def __post_init__(self) -> None:
        """Make header names comparable and all text encodable."""
        headers = {name.lower(): _clean(value) for name, value in self.headers.items()}
        object.__setattr__(self, "headers", headers)
        object.__setattr__(self, "query", _clean(self.query))

    def header(self, name: str) -> str:
        """Return a header, or an empty text."""
        return self.headers.get(name.lower(), "")


@dataclass(frozen=True)
class Reply:
    """One HTTP reply.

    Args:
        status: The HTTP status.
        headers: To send.
        body: To send.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def json_reply(
    ret_code: int,
    ret_msg: str,
    result: Mapping[str, Any],
    now_ms: int,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Return a reply in Bybit's envelope.

    The v3 samples of orders and symbols lack ``retExtInfo`` and ``time``, their pages name them:
    here every reply has both.
    """
    envelope = {
        "retCode": ret_code,
        "retMsg": ret_msg,
        "result": result,
        "retExtInfo": {},
        "time": now_ms,
    }
    return Reply(status, {**_JSON, **(headers or {})}, msgspec.json.encode(envelope))


def text_reply(status: int, text: str, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a reply that is no JSON, as proxies before the exchange send it."""
    return Reply(status, {**_TEXT, **(headers or {})}, text.encode())
