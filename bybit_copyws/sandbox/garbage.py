"""Bytes that no client should fall over, by name: bad JSON, bad text, bad frames. Pure data.

Each is a whole frame (or several) as it goes on the wire. Sources: RFC 6455 section 5 for the
frames, RFC 8259 for the JSON.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType

from bybit_copyws.errors import ConfigurationError

_TEXT, _BINARY, _CLOSE, _PING = 0x1, 0x2, 0x8, 0x9
_FIN = 0x80


def encode_frame(payload: bytes, opcode: int = _TEXT, *, final: bool = True) -> bytes:
    """Return an unmasked frame, as a server sends it (RFC 6455 section 5.2)."""
    first = (_FIN if final else 0) | opcode
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def _text(payload: str | bytes) -> Callable[[str], bytes]:
    data = payload.encode() if isinstance(payload, str) else payload
    return lambda _: encode_frame(data)


def _data(value: str) -> Callable[[str], bytes]:
    """Return a push of the topic whose data is a piece of JSON (or of what is none)."""
    return lambda topic: encode_frame(f'{{"topic":{json.dumps(topic)},"data":{value}}}'.encode())


def _raw(data: bytes) -> Callable[[str], bytes]:
    return lambda _: data


_MAKERS: Mapping[str, Callable[[str], bytes]] = MappingProxyType(
    {
        # Text that is no JSON object
        "not_json": _text("hello"),
        "empty": _text(""),
        "bom": _text(b"\xef\xbb\xbf{}"),
        "utf16": _text('{"topic":"order"}'.encode("utf-16-le")),
        "list": _text("[1,2,3]"),
        "null": _text("null"),
        "cut_json": _text('{"topic":"order","data":['),
        "binary": lambda _: encode_frame(b"\x00\x01\x02", _BINARY),
        # JSON that is hard to take
        "deep": _data("[" * 100_000 + "]" * 100_000),
        "huge_integer": _data("9" * 5_000),
        "integer_2_64": _data("18446744073709551616"),
        "float_1e400": _data("1e400"),
        "nan": _data("NaN"),
        "duplicate_keys": _data('1,"data":2'),
        "lone_surrogate": _data('"\\ud800"'),
        # JSON that means nothing
        "unknown_topic": _text('{"topic":"greeks.BTC","data":[]}'),
        "unknown_op": _text('{"op":"hello","success":true,"ret_msg":"","conn_id":"x"}'),
        "no_meaning": _text('{"hello":"world"}'),
        "number_topic": _text('{"topic":7,"data":[]}'),
        "missing_data": lambda topic: encode_frame(json.dumps({"topic": topic}).encode()),
        # Frames that break RFC 6455
        "bad_utf8": _text(b'{"topic":"\xff\xfe"}'),
        "reserved_bit": _raw(bytes((_FIN | 0x40 | _TEXT, 2)) + b"{}"),
        "reserved_opcode": _raw(bytes((_FIN | 0x3, 0))),
        "masked": _raw(bytes((_FIN | _TEXT, 0x80 | 2)) + b"\x00\x00\x00\x00{}"),
        "long_length": _raw(struct.pack("!BBH", _FIN | _TEXT, 126, 2) + b"{}"),
        "length_top_bit": _raw(struct.pack("!BBQ", _FIN | _TEXT, 127, 2**63 | 5)),
        "length_2_62": _raw(struct.pack("!BBQ", _FIN | _TEXT, 127, 2**62)),
        "lone_continuation": _raw(bytes((_FIN, 2)) + b"{}"),
        "interleaved": _raw(encode_frame(b"{", final=False) + encode_frame(b"{}")),
        "cut_control": _raw(bytes((_PING, 0))),
        "long_control": _raw(struct.pack("!BBH", _FIN | _PING, 126, 126) + b"x" * 126),
        "close_of_one_byte": _raw(encode_frame(b"\x03", _CLOSE)),
        "close_1005": _raw(encode_frame(struct.pack("!H", 1005), _CLOSE)),
        "data_after_close": lambda topic: (
            encode_frame(struct.pack("!H", 1000), _CLOSE) + _data("[]")(topic)
        ),
        "ping_flood": _raw(encode_frame(b"flood", _PING) * 10_000),
        "empty_fragments": _raw(
            encode_frame(b"", final=False) + encode_frame(b"", 0, final=False) * 10_000
        ),
    }
)

GARBAGE = tuple(_MAKERS)
"""The names of all kinds."""


def make_garbage(kind: str, topic: str = "order") -> bytes:
    """Return the bytes of one kind.

    Args:
        kind: one of :data:`GARBAGE`.
        topic: the topic that the kinds pretend which look like data.

    Raises:
        ConfigurationError: there is no such kind.
    """
    try:
        return _MAKERS[kind](topic)
    except KeyError:
        raise ConfigurationError(
            f"no garbage is called {kind!r}; known are {', '.join(GARBAGE)}"
        ) from None
