"""The frame reader: every rule of RFC 6455 by table, then any stream, cut anywhere."""

import itertools
import tracemalloc

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode, ParseFailed

from bybit_copyws.wire import frames
from bybit_copyws.wire.frames import (
    Binary,
    Close,
    Failure,
    FrameReader,
    Ping,
    Pong,
    close_payload,
)

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode, payload=b"", *, fin=True, rsv=0, mask=False, width=None, size=None):
    """Compose a frame, wrong ones included; `width` forces a form of the length."""
    size = len(payload) if size is None else size
    if width is None:
        width = 0 if size < 126 else 2 if size < 2**16 else 8
    first = fin << 7 | rsv << 4 | opcode
    second = mask << 7 | {0: size, 2: 126, 8: 127}[width]
    length = size.to_bytes(width, "big") if width else b""
    return bytes((first, second)) + length + (b"\0" * 4 if mask else b"") + payload


def in_one(stream, **limits):
    return FrameReader(**limits).feed(stream)


def by_byte(stream, **limits):
    return in_pieces(stream, range(1, len(stream)), **limits)


def in_pieces(stream, cuts, **limits):
    reader = FrameReader(**limits)
    edges = [0, *cuts, len(stream)]
    return [
        item
        for start, stop in itertools.pairwise(edges)
        for item in reader.feed(stream[start:stop])
    ]


both_ways = pytest.mark.parametrize("read", [in_one, by_byte])


# What is good

GOOD = {
    "text": (frame(TEXT, b"abc"), [b"abc"]),
    "empty text": (frame(TEXT), [b""]),
    "text beyond ASCII": (frame(TEXT, "κόσμε 😀".encode()), ["κόσμε 😀".encode()]),
    "binary": (frame(BINARY, b"\xff\0"), [Binary(b"\xff\0")]),
    "empty binary": (frame(BINARY), [Binary(b"")]),
    "ping": (frame(PING, b"p" * 125), [Ping(b"p" * 125)]),
    "pong": (frame(PONG), [Pong(b"")]),
    "125 bytes": (frame(TEXT, b"a" * 125), [b"a" * 125]),
    "126 bytes": (frame(TEXT, b"a" * 126), [b"a" * 126]),
    "65535 bytes": (frame(TEXT, b"a" * 65535), [b"a" * 65535]),
    "65536 bytes": (frame(TEXT, b"a" * 65536), [b"a" * 65536]),
    "several": (frame(TEXT, b"a") + frame(PING) + frame(TEXT, b"b"), [b"a", Ping(b""), b"b"]),
    "fragments": (
        frame(TEXT, b"a", fin=False) + frame(CONT, b"b", fin=False) + frame(CONT, b"c"),
        [b"abc"],
    ),
    "binary fragments": (
        frame(BINARY, b"\xff", fin=False) + frame(CONT, b"\xfe"),
        [Binary(b"\xff\xfe")],
    ),
    "empty fragments": (frame(TEXT, fin=False) + frame(CONT, fin=False) + frame(CONT), [b""]),
    "last fragment empty": (frame(TEXT, b"a", fin=False) + frame(CONT), [b"a"]),
    "control frames between fragments": (
        frame(TEXT, b"a", fin=False) + frame(PING, b"1") + frame(PONG) + frame(CONT, b"b"),
        [Ping(b"1"), Pong(b""), b"ab"],
    ),
    "a character cut by a fragment": (
        frame(TEXT, "😀".encode()[:1], fin=False) + frame(PING) + frame(CONT, "😀".encode()[1:]),
        [Ping(b""), "😀".encode()],
    ),
    "fragments, then a whole message": (
        frame(TEXT, b"a", fin=False) + frame(CONT, b"b") + frame(TEXT, b"c"),
        [b"ab", b"c"],
    ),
    "close without a code": (frame(CLOSE), [Close(None, "")]),
    "close": (frame(CLOSE, b"\x03\xe8bye \xc3\xa9"), [Close(1000, "bye é")]),
    "close between fragments": (
        frame(TEXT, b"a", fin=False) + frame(CLOSE, b"\x03\xe9"),
        [Close(1001, "")],
    ),
    "data after a close": (frame(CLOSE) + frame(TEXT, b"late"), [Close(None, "")]),
    "nonsense after a close": (frame(CLOSE) + b"\xff\xff", [Close(None, "")]),
}


@both_ways
@pytest.mark.parametrize(("stream", "items"), GOOD.values(), ids=GOOD)
def test_good_streams(read, stream, items):
    assert read(stream) == items


def test_text_is_plain_bytes():
    for stream in (frame(TEXT, b"a"), frame(TEXT, b"a", fin=False) + frame(CONT, b"b")):
        assert [type(item) for item in in_one(stream)] == [bytes]


@pytest.mark.parametrize("wrap", [bytes, bytearray, lambda data: memoryview(bytearray(data))])
def test_any_buffer_is_taken_and_may_be_reused(wrap):
    stream = frame(TEXT, b"abc") + frame(TEXT, b"d" * 200) + frame(PING, b"ping")
    reader = FrameReader()
    items = []
    for cut in (slice(100), slice(100, 209), slice(209, None)):
        piece = wrap(stream[cut])
        items += reader.feed(piece)
        if not isinstance(piece, bytes):
            piece[:] = b"\xff" * len(piece)
    assert items == [b"abc", b"d" * 200, Ping(b"ping")]


# What is wrong

GOOD_CODES = [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
BAD_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]

WRONG = {
    "RSV1, as of compression": (frame(TEXT, b"a", rsv=4), 1002, "reserved bit"),
    "RSV2": (frame(TEXT, b"a", rsv=2), 1002, "reserved bit"),
    "RSV3": (frame(PING, rsv=1), 1002, "reserved bit"),
    "RSV on a continuation": (
        frame(TEXT, b"a", fin=False) + frame(CONT, b"b", rsv=4),
        1002,
        "reserved bit",
    ),
    **{
        f"opcode {code}": (frame(code), 1002, f"opcode {code}")
        for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    },
    "long ping": (frame(PING, b"a" * 126), 1002, "longer than 125"),
    "long close": (frame(CLOSE, b"\x03\xe8" + b"a" * 65536), 1002, "longer than 125"),
    "fragmented ping": (frame(PING, fin=False), 1002, "fragmented"),
    "fragmented close": (frame(CLOSE, fin=False), 1002, "fragmented"),
    "continuation of nothing": (frame(CONT, b"a"), 1002, "continues no message"),
    "first continuation": (frame(CONT, b"a", fin=False), 1002, "continues no message"),
    "continuation of a whole message": (
        frame(BINARY, b"a") + frame(CONT, b"a"),
        1002,
        "continues no message",
    ),
    "continuation of a finished message": (
        frame(TEXT, b"a", fin=False) + frame(CONT, b"a") + frame(CONT, b"a"),
        1002,
        "continues no message",
    ),
    "text inside a message": (
        frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"),
        1002,
        "inside a fragmented",
    ),
    "binary inside a message": (
        frame(BINARY, b"a", fin=False) + frame(BINARY, fin=False),
        1002,
        "inside a fragmented",
    ),
    "masked text": (frame(TEXT, b"a", mask=True), 1002, "masked"),
    "masked ping": (frame(PING, mask=True), 1002, "masked"),
    "long masked text": (frame(TEXT, b"a" * 70_000, mask=True), 1002, "masked"),
    "125 in 16 bits": (frame(TEXT, b"a" * 125, width=2), 1002, "shortest form"),
    "0 in 16 bits": (frame(BINARY, width=2), 1002, "shortest form"),
    "65535 in 64 bits": (frame(TEXT, b"a" * 65535, width=8), 1002, "shortest form"),
    "0 in 64 bits": (frame(TEXT, width=8), 1002, "shortest form"),
    "top bit": (frame(TEXT, size=2**63), 1002, "highest bit"),
    "all bits": (frame(BINARY, size=2**64 - 1), 1002, "highest bit"),
    "close of one byte": (frame(CLOSE, b"\x03"), 1002, "half a close code"),
    **{
        f"close code {code}": (frame(CLOSE, code.to_bytes(2, "big")), 1002, f"code {code}")
        for code in BAD_CODES
    },
    "close reason": (frame(CLOSE, b"\x03\xe8\xff"), 1007, "reason of a close"),
    "close reason cut in a character": (frame(CLOSE, b"\x03\xe8\xc3"), 1007, "reason of a close"),
    "2^62 bytes": (frame(TEXT, size=2**62), 1009, str(2**62)),
    "a byte too many": (frame(TEXT, b"a" * (16 * 2**20 + 1)), 1009, "16777216 allowed"),
}


@both_ways
@pytest.mark.parametrize(("stream", "code", "words"), WRONG.values(), ids=WRONG)
def test_wrong_streams(read, stream, code, words):
    stream = frame(TEXT, b"before") + stream[:70_100] + frame(TEXT, b"after")
    first, *_, failure = read(stream)
    assert first == b"before"
    assert type(failure) is Failure
    assert failure.code == code
    assert words in failure.reason


@pytest.mark.parametrize("code", GOOD_CODES)
def test_good_close_codes(code):
    assert in_one(frame(CLOSE, code.to_bytes(2, "big"))) == [Close(code, "")]


BAD_UTF8 = [
    b"\x80",
    b"\xbf",
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xe0\x80\x80",
    b"\xe0\x9f\xbf",
    b"\xed\xa0\x80",  # a surrogate
    b"\xed\xbf\xbf",
    b"\xf0\x80\x80\x80",
    b"\xf0\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80",  # beyond U+10FFFF
    b"\xf5\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xc3\x28",
    b"\xe2\x28\xa1",
    b"\xe2\x82\x28",
    b"\xf0\x9f\x98\x28",
    b"\xc3",  # the text ends inside a character
    b"\xe2\x82",
    b"\xf0\x9f\x98",
]


@both_ways
@pytest.mark.parametrize("bad", BAD_UTF8, ids=bytes.hex)
@pytest.mark.parametrize("cut", range(5))
def test_bad_utf8_in_one_frame_and_over_fragments(read, bad, cut):
    payload = "é".encode() + bad
    whole = frame(TEXT, payload)
    parts = frame(TEXT, payload[:cut], fin=False) + frame(PING) + frame(CONT, payload[cut:])
    for stream in (whole, parts):
        last = read(frame(TEXT, b"before") + stream)[-1]
        assert last == Failure(1007, "a text message is not valid UTF-8")


@pytest.mark.parametrize("bad", [bad for bad in BAD_UTF8[:18] if len(bad) > 1], ids=bytes.hex)
def test_bad_utf8_fails_before_its_frame_is_complete(bad):
    # Autobahn 6.4.3 and 6.4.4 send one frame in chops and want the failure at the bad one.
    text = "κόσμε".encode()
    stream = frame(TEXT, text + bad + b"more to come")
    reader = FrameReader()
    assert reader.feed(stream[: 2 + len(text)]) == []
    assert reader.feed(bad) == [Failure(1007, "a text message is not valid UTF-8")]


def test_bad_utf8_fails_before_its_message_is_complete():
    # Autobahn 6.4.1 and 6.4.2.
    reader = FrameReader()
    assert reader.feed(frame(TEXT, "κόσμε".encode() + b"\xf4", fin=False)) == []
    (failure,) = reader.feed(frame(CONT, b"\x90", fin=False))
    assert failure.code == 1007


def test_a_failure_in_the_middle_of_an_arrived_frame_comes_at_once():
    (failure,) = in_one(frame(TEXT, b"a\xff" + b"b" * 300)[:20])
    assert failure.code == 1007


@pytest.mark.parametrize("ending", [frame(CLOSE), frame(3), frame(TEXT, b"\xff")])
def test_nothing_is_read_after_the_end(ending):
    reader = FrameReader()
    assert not reader.over
    assert len(reader.feed(frame(TEXT, b"a") + ending + b"\x81")) == 2
    assert reader.over
    assert reader.feed(frame(TEXT, b"b")) == []
    assert not reader.mid_frame
    assert not reader.mid_message


# Limits


@both_ways
def test_the_size_limit_is_inclusive_and_counts_all_fragments(read):
    fits = frame(TEXT, b"a" * 6, fin=False) + frame(PING, b"p" * 50) + frame(CONT, b"b" * 4)
    over = frame(TEXT, b"a" * 6, fin=False) + frame(CONT, b"b" * 5)
    assert read(frame(TEXT, b"c" * 10), max_message_size=10) == [b"c" * 10]
    assert read(fits + fits, max_message_size=10)[1::2] == [b"aaaaaabbbb"] * 2
    text = "a message of at least 11 bytes exceeds the 10 allowed"
    for stream in (over, frame(TEXT, b"a" * 11), frame(BINARY, b"a" * 11)):
        assert read(stream, max_message_size=10) == [Failure(1009, text)]


@pytest.mark.parametrize("size", [127, 65_535, 65_536, 2**62])
def test_oversize_is_refused_when_the_header_is_there(size):
    reader = FrameReader(max_message_size=126)
    header = frame(TEXT, size=size)
    assert reader.feed(header[:-1]) == []
    (failure,) = reader.feed(header[-1:])
    assert failure.code == 1009


@both_ways
def test_the_fragment_limit_is_inclusive(read):
    begin, more, last = frame(TEXT, fin=False), frame(CONT, fin=False), frame(CONT)
    assert read((begin + more + last) * 3, max_fragments=3) == [b""] * 3
    (failure,) = read(begin + more + more + last, max_fragments=3)
    assert failure == Failure(1009, "a message has more than 3 fragments")


def test_four_mebibytes_in_pieces_of_64_bytes_pass():
    # Autobahn|Testsuite 9.3.1: 65,536 fragments and an empty last one.
    pieces = frame(TEXT, b"a" * 64, fin=False) + frame(CONT, b"a" * 64, fin=False) * 65_535
    assert FrameReader().feed(pieces + frame(CONT)) == [b"a" * 2**22]


def test_endless_empty_fragments_end():
    stream = frame(TEXT, fin=False) + frame(CONT, fin=False) * 131_072
    reader = FrameReader()
    assert reader.feed(stream[:-2]) == []
    assert reader.feed(stream[-2:])[0].code == 1009


def peak_of(action):
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_announcement_of_2_to_the_62_costs_no_memory():
    reader = FrameReader()
    flood = frame(BINARY, b"a" * 2**20, size=2**62)

    def attack():
        for _ in range(20):
            reader.feed(flood)

    assert peak_of(attack) < 100_000


def test_an_announcement_within_the_limit_reserves_nothing():
    reader = FrameReader()
    assert peak_of(lambda: reader.feed(frame(TEXT, b"a", size=16 * 2**20))) < 10_000


@pytest.mark.parametrize("size", [1, 2**18 - 1, 2**18, 2**18 + 1, 2**20])
@pytest.mark.parametrize("step", [1000, 65_536, 2**19])
def test_a_large_message_is_whole_however_it_comes(size, step):
    payload = bytes(97 + i % 26 for i in range(1000)) * (1 + size // 1000)
    payload = payload[:size]
    stream = frame(TEXT, payload) + frame(TEXT, b"next")
    reader, items = FrameReader(), []
    for at in range(0, len(stream), step):
        items += reader.feed(stream[at : at + step])
    assert items == [payload, b"next"]


def test_a_large_message_costs_little_more_than_itself():
    size = 4 * 2**20
    header, piece = frame(TEXT, size=size), b"a" * 4096
    reader = FrameReader()
    got = []

    def receive():
        reader.feed(header)
        for _ in range(size // len(piece)):
            got.extend(reader.feed(piece))

    assert peak_of(receive) < 1.5 * size
    assert got == [b"a" * size]


def test_fragments_by_the_ten_thousand_are_checked_once(monkeypatch):
    # Autobahn 9.3.1: 4 MiB in pieces of 64 bytes. Characters of three bytes are cut by most.
    text = ("€" * (4 * 2**20 // 3 + 1)).encode()[: 4 * 2**20 - 1]
    looked_at = 0

    def counted(data, *args):
        nonlocal looked_at
        looked_at += len(data)
        return decode(data, *args)

    decode = frames.utf_8_decode
    monkeypatch.setattr(frames, "utf_8_decode", counted)
    pieces = [text[start : start + 64] for start in range(0, len(text), 64)]
    reader = FrameReader()
    assert reader.feed(frame(TEXT, pieces[0], fin=False)) == []
    for piece in pieces[1:-1]:
        assert reader.feed(frame(CONT, piece, fin=False)) == []
    assert reader.feed(frame(CONT, pieces[-1])) == [text]
    assert looked_at <= len(text) + 3 * len(pieces)


# What the watchdog asks


def test_mid_frame_and_mid_message():
    def state():
        return reader.mid_frame, reader.mid_message

    reader = FrameReader()
    assert state() == (False, False)
    reader.feed(b"\x81")
    assert state() == (True, False)  # half a header: not even the length is known
    reader.feed(b"\x02")
    assert state() == (True, True)
    reader.feed(b"ab")
    assert state() == (False, False)
    reader.feed(frame(TEXT, b"a", fin=False))
    assert state() == (False, True)  # a pause between fragments is no stall of a frame
    reader.feed(frame(PING, b"ab")[:3])
    assert state() == (True, True)
    assert reader.feed(b"b") == [Ping(b"ab")]
    assert state() == (False, True)
    reader.feed(frame(CONT, b"b" * 300)[:5])
    assert state() == (True, True)
    assert reader.feed(b"b" * 299) == [b"a" + b"b" * 300]
    assert state() == (False, False)


# Composing a close frame


@pytest.mark.parametrize(
    ("code", "reason", "payload"),
    [
        (None, "left out", b""),
        (1000, "", b"\x03\xe8"),
        (4999, "é", b"\x13\x87\xc3\xa9"),
        (1002, "a" * 200, b"\x03\xea" + b"a" * 123),
        (1002, "a" + "😀" * 50, b"\x03\xea" + ("a" + "😀" * 30).encode()),
        (1000, "\ud800", b"\x03\xe8?"),
    ],
)
def test_close_payload(code, reason, payload):
    assert close_payload(code, reason) == payload
    (close,) = in_one(frame(CLOSE, payload))
    assert close.code == code


@pytest.mark.parametrize("code", BAD_CODES)
def test_close_payload_refuses_codes_that_may_not_be_sent(code):
    with pytest.raises(ValueError, match=str(code)):
        close_payload(code)


# Any stream, cut anywhere

payloads = st.one_of(
    st.text(max_size=20).map(str.encode),
    st.binary(max_size=10),
    st.sampled_from([b"a" * 125, b"b" * 126, b"\xc3\xa9" * 200, b"c" * 65_536]),
)


@st.composite
def messages(draw):
    """Draw the frames of one good message or control frame."""
    kind = draw(st.sampled_from([TEXT, TEXT, BINARY, PING, PONG]))
    payload = draw(st.text(max_size=100)).encode() if kind == TEXT else draw(payloads)
    if kind in (PING, PONG):
        return frame(kind, payload[:125])
    cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3)))
    edges = [0, *cuts, len(payload)]
    stream = b""
    for index, (start, stop) in enumerate(itertools.pairwise(edges)):
        stream += frame(CONT if index else kind, payload[start:stop], fin=index == len(cuts))
        if index < len(cuts) and draw(st.booleans()):
            stream += frame(PING, b"between")
    return stream


odd_frames = st.builds(
    frame,
    st.integers(0, 15),
    payloads,
    fin=st.booleans(),
    rsv=st.sampled_from([0, 0, 0, 0, 0, 1, 4]),
    mask=st.sampled_from([False] * 5 + [True]),
)
closes = st.builds(
    lambda code, reason: frame(CLOSE, code.to_bytes(2, "big") + reason),
    st.sampled_from(GOOD_CODES + BAD_CODES),
    st.text(max_size=10).map(str.encode) | st.binary(max_size=5),
)
good_streams = st.lists(messages(), max_size=6).map(b"".join)
odd_streams = st.lists(messages() | odd_frames | closes, max_size=8).map(b"".join)


@st.composite
def mutated_streams(draw):
    """Draw a stream in which a few bytes are not what they were."""
    stream = bytearray(draw(good_streams | odd_streams))
    if stream:
        places = st.tuples(st.integers(0, min(len(stream) - 1, 500)), st.integers(0, 255))
        for place, byte in draw(st.lists(places, max_size=3)):
            stream[place] = byte
    return bytes(stream)


any_streams = st.one_of(good_streams, odd_streams, mutated_streams(), st.binary(max_size=200))


@settings(deadline=None)
@given(stream=any_streams, data=st.data(), size=st.sampled_from([50, 16 * 2**20]))
def test_where_the_stream_is_cut_makes_no_difference(stream, data, size):
    whole = in_one(stream, max_message_size=size)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    assert in_pieces(stream, cuts, max_message_size=size) == whole
    if len(stream) < 2000:
        assert by_byte(stream, max_message_size=size) == whole


@settings(deadline=None)
@given(stream=good_streams)
def test_good_streams_end_at_rest(stream):
    reader = FrameReader()
    assert all(type(item) is not Failure for item in reader.feed(stream))
    assert not reader.mid_frame
    assert not reader.mid_message


@settings(deadline=None)
@given(pieces=st.lists(st.binary(max_size=50), max_size=50))
def test_random_bytes_neither_raise_nor_pile_up(pieces):
    reader = FrameReader(max_message_size=60, max_fragments=4)
    for piece in pieces:
        over = reader.over
        items = reader.feed(piece)
        assert not (over and items)
        assert len(reader._held) <= 126
        assert sum(map(len, reader._blocks)) + reader._block.tell() <= 60
        assert len(reader._undecided) <= 3


# Against another implementation


def wsproto_items(stream):
    """Read a stream with wsproto, in our words; the text of a failure is left out."""
    protocol = FrameProtocol(client=True, extensions=[])
    protocol.receive_bytes(stream)
    items, message = [], b""
    try:
        for got in protocol.received_frames():
            if got.opcode is Opcode.CLOSE:
                code, reason = got.payload
                items.append(Close(None if code == CloseReason.NO_STATUS_RCVD else code, reason))
            elif got.opcode in (Opcode.PING, Opcode.PONG):
                items.append((Ping if got.opcode is Opcode.PING else Pong)(bytes(got.payload)))
            else:
                text = got.opcode is Opcode.TEXT
                message += got.payload.encode() if text else got.payload
                if got.message_finished:
                    items.append(message if text else Binary(message))
                    message = b""
    except ParseFailed as failed:
        items.append(Failure(failed.code, ""))
    return items


@settings(deadline=None, max_examples=500)
@given(stream=any_streams)
def test_wsproto_agrees(stream):
    # Deliberate differences:
    # - Limits: wsproto has none, so ours are out of the way here.
    # - We refuse a frame at the first byte that is wrong, wsproto when its header and a byte of
    #   its payload are there. Padding lets it come so far, and us no further.
    # - Close code 1014 is registered at IANA, and unknown to wsproto.
    assume((1014).to_bytes(2, "big") not in stream)
    ours = in_one(stream, max_message_size=2**63, max_fragments=2**63)
    if ours and type(ours[-1]) is Failure:
        ours[-1] = Failure(ours[-1].code, "")
        stream += b"a" * 16
    assert ours == wsproto_items(stream)
