"""Bytes of a text message to its envelope: the one JSON decode of a message.

The typed decoder is the fast way and serves nearly every message; what it does not like is
looked at once more without types, to tell an odd but usable message from a bad one.
"""

from __future__ import annotations

from typing import Any

import msgspec

MAX_EXCERPT = 200


class Envelope(msgspec.Struct, gc=False):
    """What surrounds the data of a push; a control reply has no topic."""

    topic: str = ""
    type: str | None = None
    ts: int | None = None
    creationTime: int | None = None  # noqa: N815 (the exchange's name)
    cs: int | None = None
    data: Any = None


decode_envelope = msgspec.json.Decoder(Envelope).decode
"""Decode a push; raises ``ValueError`` or ``RecursionError`` on what is not plain."""

_decode_any = msgspec.json.Decoder().decode


def decode_object(payload: bytes) -> dict[str, Any]:
    """Decode any JSON object.

    Raises:
        ValueError: it is no JSON object; the text says why.
    """
    try:
        value = _decode_any(payload)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not valid JSON: {str(error)[:100]}") from None
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__} where an object was expected")
    return value


def lenient_envelope(message: dict[str, Any]) -> Envelope:
    """Return the envelope of a push whose fields have unexpected types; those become ``None``.

    Raises:
        ValueError: the topic itself is not a string.
    """
    topic = message.get("topic", "")
    if not isinstance(topic, str):
        raise ValueError(f"the topic is a {type(topic).__name__}, not a string")
    kind, *numbers = (message.get(key) for key in ("type", "ts", "creationTime", "cs"))
    ts, created, cs = (number if type(number) is int else None for number in numbers)
    return Envelope(
        topic=topic,
        type=kind if isinstance(kind, str) else None,
        ts=ts,
        creationTime=created,
        cs=cs,
        data=message.get("data"),
    )
