"""The operations that a client sends, as JSON text.

Always through a JSON encoder, never by joining strings. Must not know when to send what.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from bybit_copyws.wire.signing import Credentials, auth_text

AUTH, SUBSCRIBE, UNSUBSCRIBE, PING = "auth", "subscribe", "unsubscribe", "ping"

PING_TEXT = '{"op":"ping"}'
"""The application ping, the same on every socket (Bybit: "How to Send the Heartbeat Packet")."""


class _Redacted(str):
    """Text that can be sent but does not show in a ``repr``, as of a traceback's variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'<auth request>'"


def auth_request(credentials: Credentials, expires_ms: int) -> str:
    """Return the ``auth`` operation, signed for one use.

    Args:
        credentials: the key pair.
        expires_ms: exchange time until which the server may accept it, in milliseconds.
    """
    signature = credentials.sign(auth_text(expires_ms))
    return _Redacted(_encode({"op": AUTH, "args": [credentials.api_key, expires_ms, signature]}))


def topic_request(op: str, topics: Sequence[str], req_id: str | None) -> str:
    """Return a ``subscribe`` or ``unsubscribe`` operation for one frame's topics."""
    request: dict[str, Any] = {"op": op, "args": list(topics)}
    if req_id is not None:
        request["req_id"] = req_id
    return _encode(request)


def args_size(topics: Sequence[str]) -> int:
    """Return how many characters topics take in ``args``, quotes and commas included."""
    return sum(len(topic) + 3 for topic in topics)


def _encode(request: dict[str, Any]) -> str:
    return msgspec.json.encode(request).decode()
