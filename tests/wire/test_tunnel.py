"""The request for a tunnel through an HTTP proxy, and what is made of its reply."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws.wire.http_head import HandshakeRefused
from bybit_copyws.wire.tunnel import TunnelReader, connect_request

GOOD = b"HTTP/1.1 200 Connection established\r\nVia: x\r\nSet-Cookie: a=b\r\n\r\n"


@pytest.mark.parametrize(
    ("host", "line"),
    [
        ("stream.bybit.com", b"stream.bybit.com:443"),
        ("2001:db8::1", b"[2001:db8::1]:443"),
        ("10.0.0.1", b"10.0.0.1:443"),
    ],
)
def test_the_request_names_the_destination_twice(host, line):
    expected = b"CONNECT " + line + b" HTTP/1.1\r\nHost: " + line + b"\r\n\r\n"
    assert connect_request(host, 443) == expected


def test_user_and_password_go_with_it():
    request = connect_request("h", 1, "user", "pä:ss")
    token = request.split(b"Proxy-Authorization: Basic ")[1].split(b"\r\n")[0]
    assert base64.b64decode(token).decode() == "user:pä:ss"


@given(st.text(), st.text())
def test_nothing_in_user_or_password_can_add_a_header(user, password):
    assert connect_request("h", 1, user, password).count(b"\r\n") == (4 if user or password else 3)


@given(st.lists(st.integers(0, len(GOOD)), max_size=5))
def test_a_good_reply_opens_it_however_it_comes(cuts):
    reader, start = TunnelReader(), 0
    for cut in sorted(cuts):
        assert reader.feed(GOOD[start:cut]) is (start < cut == len(GOOD))
        if cut == len(GOOD):
            return
        start = cut
    assert reader.feed(GOOD[start:])


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"HTTP/1.1 407 Need a password\r\n\r\n", "user name and a password"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "does not allow this destination"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "cannot reach the destination"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://evil\r\n\r\n", "HTTP 302 Found"),
        (b"HTTP/1.1 500 Oops\r\n\r\nbecause", "HTTP 500 Oops: 'because'"),
        (b"SSH-2.0-x\r\n", "not HTTP"),
        (GOOD + b"\x16\x03", "sent data before"),
        (b"HTTP/1.1 200 " + b"x" * 9_000, "longer than 8192 bytes"),
    ],
)
def test_any_other_reply_is_refused(reply, words):
    with pytest.raises(HandshakeRefused, match=words):
        TunnelReader().feed(reply)


def test_a_reply_that_breaks_off_is_told():
    reader = TunnelReader()
    assert not reader.feed(b"HTTP/1.1 200 OK\r\n")
    assert "broke off" in str(reader.cut())
