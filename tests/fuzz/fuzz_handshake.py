"""Any reply to the HTTP upgrade, cut anywhere: the same verdict, and no other exception."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports():
    from bybit_copyws.wire.handshake import HandshakeReader, accept_for
    from bybit_copyws.wire.http_head import HandshakeRefused

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GOOD = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + accept_for(KEY).encode() + b"\r\n"
)


def judge(pieces: list[bytes]) -> object:
    reader = HandshakeReader(KEY)
    rest = b""
    reply = None
    for piece in pieces:
        if reply is not None:
            rest += piece
            continue
        try:
            reply = reader.feed(piece, now=0.0)
        except HandshakeRefused as refusal:
            assert refusal.reason.isascii()
            assert refusal.reason.isprintable()
            return refusal.status
    return None if reply is None else reply.rest + rest


def look(data: bytes) -> None:
    provider = atheris.FuzzedDataProvider(data)
    cut = provider.ConsumeIntInRange(0, 400)
    begin = GOOD if provider.ConsumeBool() else b""
    stream = begin + provider.ConsumeBytes(provider.remaining_bytes())
    assert judge([stream[:cut], stream[cut:]]) == judge([stream])


if __name__ == "__main__":
    atheris.Setup(sys.argv, look)
    atheris.Fuzz()
