"""What a server can do to a request: byte by byte, and what is told about it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from proxies import RelayingProxy
from raw_server import Peer, RawServer
from rest_tools import (
    KEY,
    ORDER,
    QUICK,
    SECRET,
    TIME,
    answering,
    envelope,
    http,
    make_rest,
    raw_rest,
    read_whole,
)

from bybit_copyws import ConfigurationError, Environment
from bybit_copyws.errors import ApiError, HttpStatusError, RestError
from bybit_copyws.rest import RestClient
from bybit_copyws.sandbox import Sandbox
from bybit_copyws.wire.signing import Credentials

SYMBOLS = http(envelope({"list": []}))
CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def then_close(reply: bytes) -> Callable[[Peer], None]:
    """Send a reply, or a part of it, and end the connection."""

    def act(peer: Peer) -> None:
        peer.sock.sendall(reply)
        peer.sock.shutdown(socket.SHUT_RDWR)

    return act


def silent(peer: Peer) -> None:
    """Answer nothing until the client has gone."""
    while peer.sock.recv(4096):
        pass


def endless(head: str, piece: bytes) -> Callable[[Peer], None]:
    """Send for ever."""

    def act(peer: Peer) -> None:
        peer.sock.sendall(head.encode())
        while True:
            peer.sock.sendall(piece)

    return act


def dripping(data: bytes) -> Callable[[Peer], None]:
    """Send a byte now and then, so that no receive ever waits long."""

    def act(peer: Peer) -> None:
        gone = threading.Event()
        for byte in data:
            peer.sock.sendall(bytes((byte,)))
            gone.wait(0.02)

    return act


def failing(script: Callable[[Peer], object], **options: Any) -> RestError:
    """Return what a public read raises."""
    options.setdefault("retries", 0)
    with raw_rest(script, **options) as (rest, _), pytest.raises(RestError) as caught:
        list(rest.instruments())
    return caught.value


# Requests


@pytest.mark.parametrize("profile", ["v3", "v5"])
def test_what_leaves(profile: str) -> None:
    with raw_rest(answering(TIME, http(envelope({"orderId": "1"}))), profile=profile) as (
        rest,
        server,
    ):
        assert rest.create_order(**ORDER, order_link_id="mine").order_id == "1"
        request = server.peers[0].request.decode()
    head, _, body = request.partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert first.startswith("POST /")
    assert first.endswith("/order/create HTTP/1.1")
    assert headers["accept-encoding"] == "identity"
    assert headers["content-type"] == "application/json"
    assert not {"cookie", "authorization", "referer"} & set(headers)
    text = headers["x-bapi-timestamp"] + KEY + headers["x-bapi-recv-window"] + body
    assert headers["x-bapi-sign"] == Credentials(KEY, SECRET).sign(text)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_queries_are_signed_as_they_are_sent(cursor: str) -> None:
    """A cursor may hold anything, and often is percent-encoded already."""
    reply = http(envelope({"list": []}))
    with raw_rest(answering(TIME, reply)) as (rest, server):
        list(rest.rows("executions", symbol="BTCUSDT", cursor=cursor))
        head = server.peers[0].request.decode().partition("\r\n\r\n")[0]
    target, *lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    query = target.split()[1].partition("?")[2]
    assert f"cursor={quote(cursor, safe='')}" in query
    text = headers["X-BAPI-TIMESTAMP"] + KEY + "5000" + query
    assert headers["X-BAPI-SIGN"] == Credentials(KEY, SECRET).sign(text)


def test_no_netrc_no_proxy_no_cookie(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    requests: list[bytes] = []

    def script(peer: Peer) -> None:
        for _ in range(2):
            peer.request = b""
            requests.append(read_whole(peer))
            peer.sock.sendall(http(envelope({"list": []}), "200 OK", "Set-Cookie: a=b; Path=/"))

    with raw_rest(script) as (rest, server):
        list(rest.instruments())
        list(rest.instruments())
        assert len(server.peers) == 1  # the connection is used again
    assert len(requests) == 2
    assert not any(b"ookie" in each or b"uthorization" in each for each in requests)


def test_an_environment_with_a_path() -> None:
    with RawServer(answering(SYMBOLS)) as server:
        url = server.url
        rest_url = url.replace("ws", "http") + "/prefix/"
        with RestClient(environment=Environment("raw", url, url, rest_url)) as rest:
            list(rest.instruments())
        assert server.peers[0].request.startswith(b"GET /prefix/contract/v3/public/")


# Replies


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (http("<html>Down</html>"), "no answer in JSON: '<html>Down</html>'"),
        (http('{"retCode":0'), "no answer in JSON"),
        (http(""), "no text"),
        (http(b"\xff\xfe"), "no answer in JSON"),
        (http("<html>", "502 Bad Gateway"), "HTTP 502"),
        (http("", "401 Unauthorized"), "HTTP 401"),
        (http("denied", "403 Forbidden"), "HTTP 403: 'denied'"),
        (http("", "429 Too Many", "Retry-After: 300"), "HTTP 429"),
        (http(envelope(ret_code=10017, ret_msg="Route not found."), "404 Not"), "Route not found"),
        (http("", "204 No Content"), "HTTP 204"),
        (http(envelope(), "200 OK", "Content-Encoding: gzip"), "no answer in JSON"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "no answer in JSON: 'hello'"),
    ],
)
def test_bad_replies(reply: bytes, says: str) -> None:
    assert says in str(failing(answering(then_close(reply))))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    with RawServer(answering(SYMBOLS)) as other:
        where = other.url.replace("ws", "http")
        # A body without an end: whoever would read it before looking would never come back.
        head = f"HTTP/1.1 {status} Moved\r\nLocation: {where}/x\r\nContent-Length: 5\r\n\r\nmoved"
        error = failing(answering(head.encode()), retries=3)
        assert isinstance(error, HttpStatusError)
        assert (error.status, other.peers) == (status, [])
    assert "redirect to 127.0.0.1" in str(error)


def test_redirects_without_an_end() -> None:
    head = "HTTP/1.1 302 Found\r\nLocation: /x\r\nTransfer-Encoding: chunked\r\n\r\n"
    script = answering(endless(head, b"1000\r\n" + b"x" * 4096 + b"\r\n"))
    assert "longer than" in str(failing(script, max_response_size=100_000))


@pytest.mark.parametrize(
    "script",
    [
        endless(CHUNKED, b"1000\r\n" + b" " * 4096 + b"\r\n"),
        endless("HTTP/1.1 200 OK\r\n\r\n", b" " * 4096),
        endless(f"HTTP/1.1 200 OK\r\nContent-Length: {2**62}\r\n\r\n", b" " * 4096),
    ],
)
def test_endless_bodies(script: Callable[[Peer], None]) -> None:
    error = failing(answering(script), max_response_size=100_000, retries=3)
    assert "longer than 100,000 bytes" in str(error)


@pytest.mark.parametrize(
    "script",
    [
        endless("HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        endless("HTTP/1.1 200 OK\r\nX-A: ", b"b" * 4096),
        endless("", b"HTTP/1.1 100 Continue\r\n\r\n"),
        endless(CHUNKED, b"0" * 4096),
    ],
)
def test_endless_heads(script: Callable[[Peer], None]) -> None:
    error = failing(answering(script), total_timeout=0.5)
    assert "broke" in str(error) or "total_timeout" in str(error)


def test_every_cut() -> None:
    """Whatever byte a reply ends after, a read tries again, and a command is uncertain."""
    whole = http(envelope({"list": []}))
    for cut in range(0, len(whole), 3):
        replies = iter([whole[:cut], whole])

        def script(peer: Peer, replies: Any = replies) -> None:
            read_whole(peer)
            then_close(next(replies))(peer)

        with raw_rest(script) as (rest, server):
            assert list(rest.instruments()) == []
            assert len(server.peers) == 2


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("cut", [0, 5, 40, -1])
def test_a_command_that_is_cut_off_is_uncertain(cut: int, reset: bool) -> None:
    whole = http(envelope({"orderId": "1"}))

    def act(peer: Peer) -> None:
        peer.sock.sendall(whole[:cut])
        if reset:
            peer.reset()
        else:
            peer.sock.shutdown(socket.SHUT_RDWR)

    with raw_rest(answering(TIME, act)) as (rest, server), pytest.raises(RestError) as caught:
        rest.create_order(**ORDER)
    assert caught.value.uncertain
    assert len(server.peers) == 1


@pytest.mark.parametrize(
    ("sent", "says"),
    [(b"", "RemoteDisconnected"), (b"HTT", "BadStatusLine"), (b"nonsense\r\n", "BadStatusLine")],
)
def test_how_a_connection_broke(sent: bytes, says: str) -> None:
    assert f"the connection broke ({says})" in str(failing(answering(then_close(sent))))


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environment = Environment("gone", "ws://x", "ws://x", f"http://127.0.0.1:{port}")
    with (
        RestClient(KEY, SECRET, environment=environment, backoff=QUICK) as rest,
        pytest.raises(RestError, match="refused") as caught,
    ):
        rest.create_order(**ORDER)
    assert not caught.value.uncertain


# Time


def test_silence() -> None:
    error = failing(answering(silent), read_timeout=0.1)
    assert "read_timeout passed waiting for the reply" in str(error)


def test_silence_in_the_middle() -> None:
    def act(peer: Peer) -> None:
        peer.sock.sendall(SYMBOLS[:-5])
        silent(peer)

    assert "read_timeout passed" in str(failing(answering(act), read_timeout=0.1))


def test_a_dripping_reply_ends_with_the_deadline() -> None:
    script = answering(dripping(http(" " * 10_000)))
    assert "total_timeout passed" in str(failing(script, total_timeout=0.3, retries=3))


def test_a_dripping_head_ends_with_the_deadline() -> None:
    script = answering(dripping(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10_000))
    assert "total_timeout passed" in str(failing(script, total_timeout=0.3))


def test_a_server_that_takes_nothing() -> None:
    def script(_: Peer) -> None:
        """Read nothing."""

    with raw_rest(script, total_timeout=0.5, read_timeout=0.2) as (rest, _):
        rest._caller._clock.measure(0.0, 0.0, 0.0)
        with pytest.raises(RestError, match="_timeout passed"):
            rest.call("create_order", **{**ORDER, "order_type": "M" * 1000})


def test_a_handshake_that_never_comes() -> None:
    with RawServer(silent) as server:
        url = server.url
        environment = Environment("raw", url, url, url.replace("ws", "https"))
        with (
            RestClient(environment=environment, connect_timeout=0.1, retries=0) as rest,
            pytest.raises(RestError, match="connect_timeout passed"),
        ):
            rest.server_time()


def test_close_ends_what_is_under_way(eventually: Callable[..., bool]) -> None:
    asked = threading.Event()

    def act(peer: Peer) -> None:
        asked.set()
        silent(peer)

    with raw_rest(answering(TIME, act)) as (rest, _), ThreadPoolExecutor(1) as pool:
        running = pool.submit(rest.create_order, **ORDER, order_link_id="mine")
        assert asked.wait(5)
        rest.close()
        with pytest.raises(RestError, match="closed") as caught:
            running.result(2)
    assert caught.value.uncertain


def test_close_ends_a_wait() -> None:
    refused = http("", "503 Busy", "Retry-After: 20")
    asked = threading.Event()

    def act(peer: Peer) -> None:
        peer.sock.sendall(refused)
        asked.set()

    with raw_rest(answering(act)) as (rest, _), ThreadPoolExecutor(1) as pool:
        running = pool.submit(rest.server_time)
        assert asked.wait(5)
        rest.close()
        with pytest.raises(RestError, match="closed"):
            running.result(2)


# Connections


def test_a_connection_that_was_closed_meanwhile_is_replaced() -> None:
    closed = threading.Event()

    def script(peer: Peer) -> None:
        read_whole(peer)
        then_close(SYMBOLS)(peer)
        closed.set()

    with raw_rest(script, retries=0) as (rest, server):
        for _ in range(3):
            closed.clear()
            list(rest.instruments())
            assert closed.wait(5)
        assert len(server.peers) == 3


def test_a_server_that_wants_to_close() -> None:
    reply = http(envelope({"list": []}), "200 OK", "Connection: close")
    with raw_rest(answering(reply)) as (rest, server):
        list(rest.instruments())
        list(rest.instruments())
        assert len(server.peers) == 2


@pytest.mark.parametrize("tls", [False, True])
def test_many_threads(tls: bool) -> None:
    with (
        Sandbox(market=False, trading=False, tls=tls) as exchange,
        make_rest(exchange, profile="v5") as rest,
        ThreadPoolExecutor(8) as pool,
    ):
        ids = [f"order-{number}" for number in range(10)]
        exchange.rest_rules.limits.clear()
        made = pool.map(lambda link: rest.create_order(**ORDER, order_link_id=link), ids)
        assert [order.order_link_id for order in made] == ids
        (position,) = rest.positions()
        assert position.size == Decimal("0.10")


def test_tls_in_every_cut() -> None:
    """A big reply over TLS comes in many records, which end anywhere."""
    authority = trustme.CA()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_context)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    rows = [{"symbol": f"S{number}USDT"} for number in range(5000)]
    big = http(envelope({"list": rows}))
    with RawServer(answering(big), server_context) as server:
        url = server.url
        environment = Environment("raw", url, url, url.replace("ws", "http"))
        with RestClient(environment=environment, ssl_context=context) as rest:
            assert len(list(rest.instruments())) == 5000
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) >= 1


# Pages


def test_pages_that_go_round_in_circles() -> None:
    pages = [http(envelope({"list": [{}], "nextPageCursor": name})) for name in ("a", "b", "a")]
    with raw_rest(answering(TIME, *pages)) as (rest, _):
        walk = rest.executions("BTCUSDT")
        for _ in range(3):
            next(walk)
        with pytest.raises(Exception, match="circles"):
            next(walk)


def test_the_last_page_may_be_empty() -> None:
    pages = [
        http(envelope({"list": [{"execId": "1"}], "nextPageCursor": "a%3D"})),
        http(envelope({"list": [], "nextPageCursor": "b"})),
    ]
    with raw_rest(answering(TIME, *pages)) as (rest, server):
        assert [each.exec_id for each in rest.executions("BTCUSDT")] == ["1"]
        assert b"cursor=a%253D" in server.peers[0].request


@pytest.mark.parametrize("result", [[], {"list": {}}, {"list": [1]}, {}])
def test_results_that_are_no_lists(result: Any) -> None:
    body = envelope().replace(b'"result": {}', b'"result": ' + str(result).encode())
    body = body.replace(b"'", b'"')
    with raw_rest(answering(http(body))) as (rest, _), pytest.raises(Exception, match="instrume"):
        list(rest.instruments())


def test_tickers() -> None:
    row = {"symbol": "BTCUSDT", "lastPrice": "68000.10", "bid1Price": "", "newThing": "1"}
    for profile in ("v3", "v5"):
        with raw_rest(answering(http(envelope({"list": [row]}))), profile=profile) as (
            rest,
            server,
        ):
            (ticker,) = rest.tickers("BTCUSDT")
            assert (ticker.symbol, ticker.last_price) == ("BTCUSDT", Decimal("68000.10"))
            assert ticker.extra == {"newThing": "1"}
            assert b"tickers?category=linear&symbol=BTCUSDT " in server.peers[0].request


# Ways


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1:1", True),
        ("http://[::1]:1", True),
        ("http://localhost:1", True),
        ("http://api.example", False),
        ("http://127.0.0.1.example", False),
        ("https://api.example", True),
    ],
)
def test_where_a_key_may_be_sent_in_clear(url: str, allowed: bool) -> None:
    environment = Environment("e", "wss://x", "wss://x", url)
    RestClient(environment=environment).close()
    refusal = (
        contextlib.nullcontext()
        if allowed
        else pytest.raises(ConfigurationError, match="use https://")
    )
    with refusal:
        RestClient(KEY, SECRET, environment=environment).close()


def test_a_context_that_checks_nothing() -> None:
    context = ssl._create_unverified_context()
    with pytest.raises(ConfigurationError, match="ssl_context does not check"):
        RestClient(KEY, SECRET, ssl_context=context)


@pytest.mark.parametrize("kind", ["http", "socks5h"])
def test_proxies(kind: str) -> None:
    with (
        Sandbox(market=False, trading=False, tls=True) as exchange,
        RelayingProxy(kind[:5].rstrip("5h"), "me:pass") as proxy,
        make_rest(exchange, proxy=f"{kind}://me:pass@{proxy.address}") as rest,
    ):
        assert rest.wallet().wallet_balance == 10_000
        assert len(proxy.asked) == 1


def test_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        Sandbox(market=False, trading=False) as exchange,
        RelayingProxy("http") as proxy,
        make_rest(exchange, proxy="environment") as rest,
    ):
        monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
        monkeypatch.setenv("no_proxy", "")
        assert rest.wallet().wallet_balance == 10_000
        assert len(proxy.asked) == 1


def test_a_proxy_elsewhere_must_not_see_a_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment("e", "ws://x", "ws://x", "http://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="in clear"):
        RestClient(KEY, SECRET, environment=environment, proxy="http://proxy.example")
    monkeypatch.setenv("http_proxy", "http://proxy.example")
    monkeypatch.setenv("no_proxy", "")
    with RestClient(KEY, SECRET, environment=environment, proxy="environment") as rest:
        # Not even an unsigned call: a signed one would use its connection again.
        for call in (rest.server_time, rest.wallet):
            with pytest.raises(ConfigurationError, match="in clear"):
                call()


def test_a_refused_call_says_what_it_was() -> None:
    refused = http(envelope(ret_code=10001, ret_msg="params error: symbol invalid"))
    with raw_rest(answering(TIME, refused)) as (rest, _), pytest.raises(ApiError) as caught:
        rest.set_leverage("BTCUSDT", 5)
    assert caught.value.call == "POST /contract/v3/private/copytrading/position/set-leverage"
