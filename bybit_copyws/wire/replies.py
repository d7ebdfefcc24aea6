"""What the exchange says that is not market data: acks, refusals and pongs, in every dialect.

Reads all the shapes that Bybit's sockets are known to send, on any socket: acks that name the
``op``, acks that quote the ``request``, four kinds of pong, the ``type`` of the unified
endpoints, ``retCode`` of the trade socket. The quoted ``args`` of an ``auth`` reply hold the key
and the signature; they are dropped here and go nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bybit_copyws.wire.operations import AUTH, PING, SUBSCRIBE, UNSUBSCRIBE

_TEXT_LIMIT = 4096  # who shows a text takes secrets out before cutting it shorter
_UNDECODED = "Failed to decode"


@dataclass(frozen=True)
class Pong:
    """The answer to an application ping.

    Attributes:
        time_ms: the exchange's clock, where it tells it, in milliseconds since 1970.
    """

    time_ms: int | None = None


@dataclass(frozen=True)
class Ack:
    """The outcome of an operation.

    Attributes:
        op: ``auth``, ``subscribe``, ``unsubscribe``; ``""`` if the reply does not tell.
        success: whether it was accepted.
        ret_msg: the server's text (shortened).
        req_id: the request's id if it came back, else ``""``.
        args: the topics quoted from the request, or ``None``; never those of ``auth``.
        failed: topics that a reply names as failed, where it lists them one by one.
    """

    op: str
    success: bool
    ret_msg: str = ""
    req_id: str = ""
    args: tuple[str, ...] | None = None
    failed: tuple[str, ...] = ()


def read_reply(reply: Mapping[str, Any]) -> Ack | Pong | None:
    """Classify a message without a topic.

    Returns:
        An ack, a pong, or ``None`` for something that is neither.
    """
    request = reply.get("request")
    quoted: Mapping[str, Any] = request if isinstance(request, Mapping) else {}
    op = _text(reply.get("op")) or _text(quoted.get("op"))
    ret_msg = _ret_msg(reply)
    success = _success(reply)
    if op == "pong" or (op == PING and success) or (op in (PING, "") and ret_msg == "pong"):
        return Pong(_time_ms(reply))
    if success is None:
        return Pong() if "pong" in reply else None
    if not op:
        op = _OPS_OF_TYPES.get(_text(reply.get("type")), "")
    if success and op not in _ASKED_FOR:
        return None  # a refusal may name any operation, a success only one that was asked for
    return Ack(
        op=op,
        success=success,
        ret_msg=ret_msg,
        req_id=_text(reply.get("req_id", reply.get("reqId"))),
        args=_words(quoted.get("args")) if _quotes_topics(op, quoted) else None,
        failed=_failed(reply.get("data")),
    )


def _time_ms(pong: Mapping[str, Any]) -> int | None:
    """Return the time in a pong: ``{"op":"pong","args":["1675418560633"]}``, or ``data``."""
    for key in ("args", "data"):
        values = pong.get(key)
        text = values[0] if isinstance(values, list) and len(values) == 1 else None
        if isinstance(text, str) and len(text) == _MS_DIGITS and text.isdecimal():
            return int(text)
    return None


_MS_DIGITS = 13  # from 2001 to 2286
_ASKED_FOR = (AUTH, SUBSCRIBE, UNSUBSCRIBE, "")

# The unified v3 sockets name the kind of reply instead of the op.
_OPS_OF_TYPES = {"AUTH_RESP": AUTH}


def _quotes_topics(op: str, quoted: Mapping[str, Any]) -> bool:
    """Return whether quoted ``args`` are topics: no other operation's are looked at."""
    return op in (SUBSCRIBE, UNSUBSCRIBE) and quoted.get("op") in (None, op)


def _ret_msg(reply: Mapping[str, Any]) -> str:
    for key in ("ret_msg", "retMsg", "desc"):
        if key in reply:
            # What could not be decoded is quoted after a bar: it may be our own login.
            text = _text(reply[key])
            return text.partition("|")[0].rstrip() if _UNDECODED in text else text
    return ""


def _success(reply: Mapping[str, Any]) -> bool | None:
    """Return whether an operation was accepted; ``None`` if the message does not say."""
    value = reply.get("success")
    if value is None:
        code = reply.get("retCode", reply.get("code"))
        return None if code is None else _word(code) == "0"
    return value is True or value == 1 or (isinstance(value, str) and value.lower() == "true")


def _text(value: object) -> str:
    return value[:_TEXT_LIMIT] if isinstance(value, str) else ""


def _word(value: object) -> str:
    """Return a string or a number as text: servers send either for the other."""
    return str(value) if type(value) is int else _text(value)


def _words(values: object) -> tuple[str, ...] | None:
    return tuple(map(_word, values)) if isinstance(values, list) else None


def _failed(data: object) -> tuple[str, ...]:
    return (_words(data.get("failTopics")) if isinstance(data, Mapping) else None) or ()


# Refusals name the first topic at fault as "...,topic:NAME" or "... :[NAME]".
_NAMED = re.compile(r"(?:topic:|:\[)([A-Za-z0-9._-]{1,64})")


def named_topic(ret_msg: str) -> str | None:
    """Return the topic that a refusal names as the one at fault, or ``None``."""
    found = _NAMED.search(ret_msg)
    return found.group(1) if found else None


def is_already_subscribed(ret_msg: str) -> bool:
    """Return whether a refusal says that the topic is active, which is what was wanted."""
    return "already subscribed" in ret_msg.lower()


def lacks_login(ret_msg: str) -> bool:
    """Return whether a refusal says that the connection is not (or no longer) authenticated."""
    text = ret_msg.lower()
    return "needs auth" in text or "not authorized" in text


def may_be_expired(ret_msg: str) -> bool:
    """Return whether a refused login may be cured by a fresh signature."""
    text = ret_msg.lower()
    return "request expired" in text or "params error" in text


_WRONG_KEY = (
    "The key is unknown here: keys of mainnet, testnet and demo are not interchangeable, and a "
    "key may be limited to other addresses or have expired; a secret that belongs to another key "
    "gives the same text"
)
_CLOCK_BEHIND = (
    "The signature was too old when it arrived: the clock of this machine is behind the "
    "exchange's, or the link is slow. Set the clock (NTP) or raise auth_expires"
)
_CLOCK_OR_ENVIRONMENT = (
    "Most likely the secret is not the key's own, the key belongs to another environment, or the "
    "clock of this machine is off: the exchange's text does not tell which. Check the secret, the "
    "environment, and the clock (NTP)"
)
_NO_SUCH_TOPIC = (
    "The exchange has no such topic on this socket: check symbol (upper case, listed as USDT "
    "perpetual), depth or interval"
)
_MEANINGS = (
    ("request expired", _CLOCK_BEHIND),
    ("params error", _CLOCK_OR_ENVIRONMENT),
    ("usvc1111", _WRONG_KEY),
    ("api key is invalid", _WRONG_KEY),
    ("invalid api", _WRONG_KEY),
    ("sign", "The secret does not belong to the key, or has a stray character from copying"),
    ("handler not found", _NO_SUCH_TOPIC),
    ("invalid symbol", "The exchange lists no such symbol; check its spelling"),
    ("already subscribed", "The topic is active on this connection already"),
    ("needs auth", "The connection is not authenticated"),
    ("not authorized", "The connection is not authenticated, or the key lacks the permission"),
    ("args size", "More topics in one request than the exchange takes"),
    ("invalid op", "The exchange does not know the operation, or did not like its arguments"),
    ("failed to decode", "The exchange could not read the request"),
)
"""Marks to look for, in this order and in lower case, with what they mean."""


def explain(ret_msg: str) -> str:
    """Return what a refusal most likely means and what to do; ``""`` if it is not known."""
    text = ret_msg.lower()
    return next((meaning for mark, meaning in _MEANINGS if mark in text), "")
