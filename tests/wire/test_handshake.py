"""The check of the upgrade reply: what opens a WebSocket, and what is said of all the rest."""

import base64
import itertools
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.utilities import generate_accept_token, generate_nonce

from bybit_copyws.wire.handshake import (
    HandshakeReader,
    UpgradeReply,
    accept_for,
    explain_status,
    request_key,
)
from bybit_copyws.wire.http_head import (
    MAX_HEAD,
    MAX_HEADERS,
    MAX_LINE,
    HandshakeRefused,
    printable,
)

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the sample of RFC 6455 section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT

STATUS = "HTTP/1.1 101 Switching Protocols"
UPGRADE = "Upgrade: websocket"
CONNECTION = "Connection: Upgrade"
ACCEPTED = f"Sec-WebSocket-Accept: {ACCEPT}"
GOOD = (STATUS, UPGRADE, CONNECTION, ACCEPTED)


def head(*lines):
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")


def read(data, step=None, key=KEY):
    """Feed `data` whole or in steps, as far as the reader wants it."""
    reader = HandshakeReader(key)
    step = step or len(data) or 1
    for start in range(0, len(data), step):
        reply = reader.feed(data[start : start + step], now=NOW)
        if reply is not None:
            return UpgradeReply(reply.accept, reply.rest + data[start + step :])
    return None


def refusal(data, step=None):
    with pytest.raises(HandshakeRefused) as caught:
        read(data, step)
    refused = caught.value
    assert str(refused) == refused.reason
    assert refused.reason.isascii()
    assert refused.reason.isprintable()
    return refused


steps = pytest.mark.parametrize("step", [None, 1, 7])


# What opens a WebSocket

ACCEPTABLE = {
    "plain": GOOD,
    "no reason phrase": ("HTTP/1.1 101 ", *GOOD[1:]),
    "not even its space": ("HTTP/1.1 101", *GOOD[1:]),
    "a reason phrase beyond ASCII": ("HTTP/1.1 101 Protokoll gewechselt \xfc", *GOOD[1:]),
    "other case": (
        STATUS,
        "UPGRADE: WebSocket",
        "connection: uPGRADE",
        f"sec-websocket-ACCEPT:{ACCEPT}",
    ),
    "blanks around values": (
        STATUS,
        "Upgrade:\twebsocket  ",
        "Connection: \tUpgrade\t",
        f"Sec-WebSocket-Accept:  {ACCEPT} ",
    ),
    "list of tokens": (STATUS, UPGRADE, "Connection: keep-alive , Upgrade", ACCEPTED),
    "list over two headers": (
        STATUS,
        UPGRADE,
        "Connection: keep-alive",
        CONNECTION,
        ACCEPTED,
    ),
    "the same thing twice": (*GOOD, UPGRADE, ACCEPTED),
    "others, empty, odd and duplicate": (
        *GOOD,
        "Server: CloudFront",
        "X-Empty:",
        "X-Bytes: \xff\xe9\tend",
        "Server: nginx",
        "!#$%&'*+-.^_`|~09azAZ: fine",
    ),
    "cookie": (STATUS, "Set-Cookie: secret=1", *GOOD[1:]),
}


@steps
@pytest.mark.parametrize("lines", ACCEPTABLE.values(), ids=ACCEPTABLE)
def test_good_replies(lines, step):
    for rest in (b"", b"\x81\x02hi", b"\r\n\r\n"):
        assert read(head(*lines) + rest, step) == UpgradeReply(ACCEPT, rest)


def test_incomplete_heads_give_nothing():
    data = head(*GOOD)
    for stop in range(len(data)):
        assert read(data[:stop]) is None


def test_the_clean_reply_is_minimal_and_good():
    reply = read(head(STATUS, "Set-Cookie: secret=1", "Server: x", *GOOD[1:]) + b"rest")
    assert reply.clean_reply() == head(*GOOD)
    assert read(reply.clean_reply()) == UpgradeReply(ACCEPT, b"")


def test_nothing_is_kept_or_taken_after_the_verdict():
    reader = HandshakeReader(KEY)
    assert reader.feed(head(*GOOD, "Set-Cookie: secret=1"), now=NOW) is not None
    refuser = HandshakeReader(KEY)
    with pytest.raises(HandshakeRefused):
        refuser.feed(head("HTTP/1.1 403 Forbidden", "Set-Cookie: secret=1"), now=NOW)
    for judged in (reader, refuser):
        assert "secret" not in repr(vars(judged))
        with pytest.raises(ValueError, match="judged already"):
            judged.feed(b"more", now=NOW)


@pytest.mark.parametrize("wrap", [bytearray, memoryview])
def test_any_buffer_is_taken(wrap):
    assert HandshakeReader(KEY).feed(wrap(head(*GOOD) + b"x"), now=NOW).rest == b"x"


# What is wrong with a 101

WRONG_101 = {
    "HTTP/1.0": (("HTTP/1.0 101 Switching Protocols", *GOOD[1:]), "HTTP/1.0"),
    "no Upgrade": ((STATUS, CONNECTION, ACCEPTED), "does not upgrade"),
    "other Upgrade": ((STATUS, "Upgrade: h2c", CONNECTION, ACCEPTED), "does not upgrade"),
    "two Upgrades": ((*GOOD, "Upgrade: h2c"), "does not upgrade"),
    "list in Upgrade": (
        (STATUS, "Upgrade: websocket, h2c", CONNECTION, ACCEPTED),
        "does not upgrade",
    ),
    "no Connection": ((STATUS, UPGRADE, ACCEPTED), "Connection: Upgrade"),
    "other Connection": (
        (STATUS, UPGRADE, "Connection: keep-alive", ACCEPTED),
        "Connection: Upgrade",
    ),
    "part of a token": ((STATUS, UPGRADE, "Connection: Upgraded", ACCEPTED), "Connection: Upgrade"),
    "no Accept": ((STATUS, UPGRADE, CONNECTION), "no Sec-WebSocket-Accept"),
    "wrong Accept": (
        (STATUS, UPGRADE, CONNECTION, f"Sec-WebSocket-Accept: {'A' * 27}="),
        "wrong Sec-WebSocket-Accept",
    ),
    "Accept in other case": (
        (STATUS, UPGRADE, CONNECTION, f"Sec-WebSocket-Accept: {ACCEPT.lower()}"),
        "wrong Sec-WebSocket-Accept",
    ),
    "empty Accept": (
        (STATUS, UPGRADE, CONNECTION, "Sec-WebSocket-Accept:"),
        "wrong Sec-WebSocket-Accept",
    ),
    "Accept beyond ASCII": (
        (STATUS, UPGRADE, CONNECTION, "Sec-WebSocket-Accept: \xe9"),
        "wrong Sec-WebSocket-Accept",
    ),
    "two Accepts": ((*GOOD, "Sec-WebSocket-Accept: other"), "wrong Sec-WebSocket-Accept"),
    "extension": (
        (*GOOD, "Sec-WebSocket-Extensions: permessage-deflate"),
        "Sec-WebSocket-Extensions not asked for",
    ),
    "subprotocol": (
        (*GOOD, "Sec-WebSocket-Protocol: chat"),
        "Sec-WebSocket-Protocol not asked for",
    ),
    "folded line": ((*GOOD, "X: 1", " more"), "header 5 of the reply is malformed"),
    "folded by a tab": ((STATUS, "\tmore"), "header 1 of the reply is malformed"),
    "no colon": ((STATUS, "Upgrade websocket"), "header 1 of the reply is malformed"),
    "no name": ((STATUS, ": websocket"), "header 1 of the reply is malformed"),
    "blank before the colon": ((STATUS, "Upgrade : websocket"), "malformed"),
    "blank in a name": ((STATUS, "Up grade: websocket"), "malformed"),
    "name beyond ASCII": ((STATUS, "Upgr\xe4de: websocket"), "malformed"),
    "NUL": ((*GOOD, "X: a\0b"), "malformed"),
    "bare CR": ((*GOOD, "X: a\rb"), "malformed"),
    "bare LF": ((*GOOD, "X: a\nY: b"), "malformed"),
    "escape": ((*GOOD, "X: \x1b[31m"), "malformed"),
    "DEL": ((*GOOD, "X: \x7f"), "malformed"),
}


@steps
@pytest.mark.parametrize(("lines", "words"), WRONG_101.values(), ids=WRONG_101)
def test_wrong_101(lines, words, step):
    refused = refusal(head(*lines) + b"\x81\x02hi", step)
    assert words in refused.reason
    assert (refused.status, refused.retry_after, refused.location) == (101, None, None)


def test_header_values_are_not_quoted():
    for line in ("Set-Cookie secret", " secret", "Set-Cookie: secret\0"):
        assert "secret" not in refusal(head(STATUS, line)).reason


# What is no HTTP

NOT_HTTP = {
    "TLS alert": (b"\x15\x03\x01\x00\x02\x02\x50", "TLS record"),
    "TLS handshake": (b"\x16\x03\x03\x00\x10", "TLS record"),
    "banner": (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP: 'SSH-2.0-OpenSSH_9.2'"),
    "text": (b"too many  connections\n" + b"x" * 999, "not HTTP: 'too many connections xx"),
    "binary": (b"\x00\x1b[2J\xff", "not HTTP: '..[2J.'"),
    "lower case": (b"http/1.1 101\r\n", "not HTTP: 'http/1.1 101'"),
    "an early line end": (b"\r\nHTTP/1.1 101\r\n", "not HTTP: 'HTTP/1.1 101'"),
    "HTTP/2": (b"HTTP/2 101\r\n", "not a status line of HTTP/1: 'HTTP/2 101'"),
    "HTTP/1.2": (b"HTTP/1.2 101 X\r\n", "not a status line"),
    "no status": (b"HTTP/1.1\r\n", "not a status line"),
    "two digits": (b"HTTP/1.1 99 X\r\n", "not a status line"),
    "four digits": (b"HTTP/1.1 1010 X\r\n", "not a status line"),
    "leading zero": (b"HTTP/1.1 010 X\r\n", "not a status line"),
    "two blanks": (b"HTTP/1.1  101 X\r\n", "not a status line"),
    "control character": (b"HTTP/1.1 101 \x1b[31m\r\n", "'HTTP/1.1 101 .[31m'"),
    "bare LF": (b"HTTP/1.1 101 X\nUpgrade: websocket\n\n\r\n", "not a status line"),
    "long": (b"HTTP/1.1 " + b"x" * 500 + b"\r\n", "HTTP/1: 'HTTP/1.1 " + "x" * 51 + "'"),
}


@pytest.mark.parametrize(("data", "words"), NOT_HTTP.values(), ids=NOT_HTTP)
def test_not_http(data, words):
    refused = refusal(data)
    assert words in refused.reason
    assert len(refused.reason) < 100
    assert refused.status is None


def test_what_is_not_http_is_refused_at_its_first_wrong_byte():
    assert refusal(b"HTTQ", step=1).reason == "not HTTP: 'HTTQ'"


# Other statuses


@steps
def test_a_refusal_tells_its_status_and_some_of_the_body(step):
    data = head("HTTP/1.1 403 Forbidden", "Server: CloudFront", "Content-Length: 999")
    assert refusal(data, step).reason == "HTTP 403 Forbidden"
    refused = refusal(data + b"<h1>\x1b[31m Blocked\r\n\tcountry \xff</h1>" + b"z" * 999)
    assert refused.reason.startswith("HTTP 403 Forbidden: '<h1>.[31m Blocked country .</h1>zzz")
    assert len(refused.reason) == len("HTTP 403 Forbidden: ''") + 200
    assert (refused.status, refused.retry_after, refused.location) == (403, None, None)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("HTTP/1.0 404 Not Found", "HTTP 404 Not Found"),
        ("HTTP/1.1 200", "HTTP 200"),
        ("HTTP/1.1 503 \xff\tz", "HTTP 503 . z"),
        ("HTTP/1.1 500 " + "x" * 500, "HTTP 500 " + "x" * 60),
    ],
)
def test_status_lines(line, reason):
    refused = refusal(head(line))
    assert refused.reason == reason
    assert refused.status == int(reason[5:8])


@steps
def test_interim_replies_are_passed_over(step):
    interim = head("HTTP/1.1 100 Continue") + head("HTTP/1.1 103 Early Hints", "Upgrade: h2c")
    assert read(interim + head(*GOOD) + b"rest", step) == UpgradeReply(ACCEPT, b"rest")
    assert refusal(interim + head("HTTP/1.1 503 Busy"), step).status == 503
    assert "interim" in refusal(head("HTTP/1.1 100 Continue") * 9, step).reason


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("wss://evil.example/v5/private?token=secret", "evil.example"),
        ("ws://user:secret@evil.example:8080/", "evil.example:8080"),
        ("//other.example/x", "other.example"),
        ("https://[::1]:99/", "[::1]:99"),
        ("https://[::1]/", "[::1]"),
        ("/login", None),
        ("", None),
        ("https://[secret", None),
        ("https://a.example:99999/", None),
        ("https://a.example:x/", None),
        ("https://\xfc.example/secret", None),
        ("https://" + "a" * 254, None),
    ],
)
def test_redirects_name_the_host_only(status, location, host):
    refused = refusal(head(f"HTTP/1.1 {status} Moved", f"Location: {location}"))
    assert refused.location == host
    assert refused.reason == (
        f"HTTP {status} Moved, a redirect to {host or 'an unnamed host'}, which is never followed"
    )


def test_a_redirect_without_a_location():
    assert "an unnamed host" in refusal(head("HTTP/1.1 304 Not Modified")).reason


def test_only_a_redirect_has_a_location():
    assert refusal(head("HTTP/1.1 201 Created", "Location: https://a.example")).location is None


@pytest.mark.parametrize("status", [403, 429, 503])
@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ([], None),
        (["120"], 120.0),
        (["0"], 0.0),
        (["999999999"], 999_999_999.0),
        (["1" * 10], None),
        (["9" * 5000], None),
        (["-1"], None),
        (["1.5"], None),
        (["soon"], None),
        ([""], None),
        (["\xb2"], None),  # a digit to str.isdigit()
        (["5", "30", "x"], 30.0),
        (["Tue, 14 Nov 2023 22:15:20 GMT"], 120.0),
        (["Tue, 14 Nov 2023 22:13:20 GMT"], 0.0),
        (["Tue, 14 Nov 2023 21:00:00 GMT"], 0.0),
        (["Tue, 14 Nox 2023 22:15:20 GMT"], None),
        (["Tue, 31 Feb 2023 22:15:20 GMT"], None),
        (["Tue, 14 Nov 0000 22:15:20 GMT"], 0.0),
        (["Tue, 14 Nov 2023 25:15:20 GMT"], None),
        (["Tue, 14 Nov 2023 22:15:20 CET"], None),
        (["Tuesday, 14-Nov-23 22:15:20 GMT"], 120.0),  # obsolete
        (["Tue Nov 14 22:15:20 2023"], 120.0),  # obsolete
        (["Tue, 14 Nov 2023 22:15:20 GMT" + " " * 50 + "x"], None),
    ],
)
def test_retry_after(status, values, seconds):
    lines = [f"Retry-After: {value}" for value in values]
    assert refusal(head(f"HTTP/1.1 {status} Later", *lines)).retry_after == seconds


# Limits


@steps
def test_the_longest_line(step):
    fits = "X: " + "a" * (MAX_LINE - 3)
    assert read(head(*GOOD, fits), step) == UpgradeReply(ACCEPT, b"")
    for data in (head(*GOOD, fits + "a"), head(*GOOD)[:-2] + fits.encode() + b"aa"):
        assert "longer than 8192 bytes" in refusal(data, step).reason
    assert "longer than 8192 bytes" in refusal(b"HTTP/1.1 " + b"1" * MAX_LINE, step).reason


@steps
def test_the_longest_head(step):
    filler = ["X: " + "a" * (MAX_LINE - 5)] * 7
    used = len(head(*GOOD, *filler, "X: "))
    fits = head(*GOOD, *filler, "X: " + "a" * (MAX_HEAD - used))
    assert len(fits) == MAX_HEAD
    assert read(fits + b"z" * 5, step) == UpgradeReply(ACCEPT, b"z" * 5)
    over = head(*GOOD, *filler, "X: " + "a" * (MAX_HEAD - used + 1))
    for data in (over, over[:-2] + b"aa"):
        assert "longer than 65536 bytes" in refusal(data, step).reason


@steps
def test_the_most_headers(step):
    more = ["X: 1"] * (MAX_HEADERS - 3)
    assert read(head(*GOOD, *more), step) == UpgradeReply(ACCEPT, b"")
    assert "more than 128 headers" in refusal(head(*GOOD, *more, "X: 1"), step).reason


@pytest.mark.parametrize("line", [b"a" * 4096, b"X: " + b"a" * 4000 + b"\r\n", b"X:\r\n" * 100])
def test_an_endless_reply_ends_and_memory_is_bounded(line):
    reader = HandshakeReader(KEY)
    reader.feed(head(STATUS)[:-2], now=NOW)

    def flood():
        for _ in range(100):
            reader.feed(line, now=NOW)

    tracemalloc.start()
    try:
        with pytest.raises(HandshakeRefused):
            flood()
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_HEAD
    finally:
        tracemalloc.stop()


# A connection that ends, or a deadline that passes, too early


@pytest.mark.parametrize(
    ("data", "reason", "status"),
    [
        (b"", "no reply came", None),
        (b"HTTP/1.1 10", "only a part of a reply came: 'HTTP/1.1 10'", None),
        (
            b"HTTP/1.1 503 Busy\r\nSet-Cookie: secret",
            "the reply HTTP 503 Busy broke off in its head",
            503,
        ),
    ],
)
def test_a_cut_reply(data, reason, status):
    reader = HandshakeReader(KEY)
    reader.feed(data, now=NOW)
    refused = reader.cut()
    assert (refused.reason, refused.status) == (reason, status)


# The key


def test_the_sample_of_the_rfc():
    assert accept_for(KEY) == ACCEPT


@given(st.binary(min_size=16, max_size=16))
def test_wsproto_computes_the_same_accept(nonce):
    key = base64.b64encode(nonce)
    assert accept_for(key.decode()).encode() == generate_accept_token(key)


@pytest.mark.parametrize(
    "name", ["Sec-WebSocket-Key: ", "sec-websocket-key:", "SEC-WEBSOCKET-KEY:\t"]
)
def test_request_key(name):
    key = generate_nonce().decode()
    request = head("GET /v5/public HTTP/1.1", "Host: a", name + key + " ", "Origin: b")
    assert request_key(request) == key
    assert request_key(head("GET / HTTP/1.1", name + key)) == key


@pytest.mark.parametrize(
    "lines",
    [
        ["Host: a"],
        [f"Sec-WebSocket-Key: {KEY}", f"Sec-WebSocket-Key: {KEY}"],
        ["Sec-WebSocket-Key: c2hvcnQ="],
        [f"Sec-WebSocket-Key: {KEY}{KEY}"],
        [f"X-Sec-WebSocket-Key: {KEY}"],
        ["Host: a", "", f"Sec-WebSocket-Key: {KEY}"],
    ],
)
def test_request_without_exactly_one_key(lines):
    with pytest.raises(ValueError, match="valid Sec-WebSocket-Key headers"):
        request_key(head("GET / HTTP/1.1", *lines))


# Any bytes, cut anywhere


def presentable(refused):
    """Check the text of a refusal, and give what it says before it quotes anything."""
    assert refused.reason.isascii()
    assert refused.reason.isprintable()
    assert len(refused.reason) < 400
    return refused.reason.split(":")[0]


def outcome(data, cuts):
    """Say what came of `data` and, for a refusal, only what cannot depend on the cuts."""
    reader = HandshakeReader(KEY)
    edges = [0, *sorted(cuts), len(data)]
    for start, stop in itertools.pairwise(edges):
        try:
            reply = reader.feed(data[start:stop], now=NOW)
        except HandshakeRefused as refused:
            return presentable(refused), refused.status, refused.retry_after
        if reply is not None:
            return UpgradeReply(reply.accept, reply.rest + data[stop:])
    return reader.cut().reason


lines = st.sampled_from(
    [
        *GOOD,
        "Set-Cookie: a=b",
        "Retry-After: 5",
        "Location: https://a.example/",
        "",
        " folded",
        "HTTP/1.1 302 Found",
        "HTTP/1.1 429 Slow down",
    ]
)


@st.composite
def replies(draw):
    """Draw something like a reply, with up to two bytes changed, and bytes behind it."""
    first = draw(st.sampled_from([GOOD, GOOD[:1], ("HTTP/1.1 503 Busy",), ()]))
    data = bytearray(head(*first, *draw(st.lists(lines, max_size=5))) + draw(st.binary(max_size=9)))
    for place, byte in draw(
        st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=2)
    ):
        data[place] = byte
    return bytes(data)


@settings(deadline=None)
@given(data=replies() | st.binary(max_size=100), draw=st.data())
def test_where_the_reply_is_cut_makes_no_difference(data, draw):
    whole = outcome(data, [])
    cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=10))
    assert outcome(data, cuts) == whole


def test_a_status_is_explained_where_its_meaning_is_known():
    assert "banned" in explain_status(403)
    assert "slow down" in explain_status(429)
    assert explain_status(418) == explain_status(None) == ""


def test_a_text_of_the_server_becomes_one_printable_line():
    assert printable("bye\x1b[31m\r\nnow") == "bye.[31m now"
    assert len(printable("x" * 1000)) == 200
