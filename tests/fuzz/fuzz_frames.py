"""Any bytes of a server, cut anywhere: the same items, no exception, nothing piling up."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports():
    from bybit_copyws.wire import frames
    from bybit_copyws.wire.frames import Failure, FrameReader, Item

frames._BLOCK = 50  # so that messages as small as these are kept in several

LIMITS = {"max_message_size": 300, "max_fragments": 5}
HELD = 126


def read(pieces: list[bytes]) -> list[tuple[type, object]]:
    reader = FrameReader(**LIMITS)
    items: list[Item] = []
    for piece in pieces:
        over = reader.over
        got = reader.feed(piece)
        assert not (over and got), "something came after the end"
        items += got
        assert len(reader._held) <= HELD, "an unfinished header piles up"
        kept = sum(map(len, reader._blocks)) + reader._block.tell()
        assert kept <= LIMITS["max_message_size"], "a message piles up"
    # What a failure says may depend on how much of a frame was there.
    return [(type(item), item.code if isinstance(item, Failure) else item) for item in items]


def look(data: bytes) -> None:
    provider = atheris.FuzzedDataProvider(data)
    sizes = provider.ConsumeIntListInRange(provider.ConsumeIntInRange(0, 8), 0, 200)
    stream = provider.ConsumeBytes(provider.remaining_bytes())
    pieces, start = [], 0
    for size in sizes:
        pieces.append(stream[start : start + size])
        start += size
    pieces.append(stream[start:])
    assert read(pieces) == read([stream]), "where the stream is cut makes a difference"


if __name__ == "__main__":
    atheris.Setup(sys.argv, look)
    atheris.Fuzz()
