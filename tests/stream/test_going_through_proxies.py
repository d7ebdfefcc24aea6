"""Through proxies: which one, how it is asked, and what is said if it will not."""

from __future__ import annotations

import base64
import importlib.util
import queue
import re
import socket
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from exchange import make_client
from proxies import RelayingProxy
from raw_server import Peer, RawServer

from bybit_copyws import CopyTradingClient
from bybit_copyws.errors import ConfigurationError, ConnectFailed
from bybit_copyws.sandbox import Sandbox
from bybit_copyws.stream.connector import Connector
from bybit_copyws.stream.endpoint import Endpoint
from bybit_copyws.stream.proxy import Proxy, ProxyChoice, find_proxy, proxy_or_error
from bybit_copyws.wire.profiles import Environment

PATIENCE = 5.0
SHORT = 0.2
SECRET = "pr0xy-s3cret"
HOST = "exchange.test"
WSS = Endpoint.parse(f"wss://{HOST}/v5")
WS = Endpoint.parse(f"ws://{HOST}/v5")
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxy_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


# Which one


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://proxy.test:3128", Proxy("http", "proxy.test", 3128)),
        ("http://proxy.test", Proxy("http", "proxy.test", 80)),
        ("http://me:p%40ss@Proxy.test:1/", Proxy("http", "proxy.test", 1, "me", "p@ss")),
        ("socks5h://[::1]", Proxy("socks5h", "::1", 1080)),
        ("socks5://10.0.0.1:9", Proxy("socks5", "10.0.0.1", 9)),
        ("socks4://u@h", Proxy("socks4", "h", 1080, "u")),
        ("socks4a://h", Proxy("socks4a", "h", 1080)),
    ],
)
def test_a_url_is_understood(url: str, proxy: Proxy) -> None:
    assert proxy_or_error(url) == proxy


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("proxy.test:3128", "without a kind cannot be used"),
        (f"{SECRET}:x@proxy.test:3128", "without a kind cannot be used"),
        ("https://proxy.test:3128", "kind 'https' cannot be used"),
        (f"ftp://me:{SECRET}@proxy.test", "kind 'ftp' cannot be used"),
        ("http://", "no valid host"),
        (f"http://me:{SECRET}@", "no valid host"),
        (f"http://me:{SECRET}@h:99999", "no URL"),
        (f"http://me:{SECRET}@[::1", "no URL"),
        (f"http://me:{SECRET}@h/path", "more than a host and a port"),
        (f"http://m%3Ae:{SECRET}@h", "must not contain a colon"),
        (f"socks5h://me:{SECRET}ä@h", "of ASCII"),
        (f"socks5h://me:{SECRET}{'x' * 255}@h", "at most 255"),
        (f"socks5h://:{SECRET}@h", "both, user name and password"),
        (f"socks4://me:{SECRET}@h", "SOCKS4 knows no password"),
        (3128, "no URL"),
    ],
)
def test_what_is_no_proxy_is_refused_without_showing_it(url: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        CopyTradingClient(proxy=url)
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None
    # A traceback may be shown with the local variables of its frames.
    place = caught.tb.tb_next
    while place is not None:
        assert SECRET not in repr(place.tb_frame.f_locals)
        place = place.tb_next


def test_the_password_is_in_no_repr() -> None:
    proxy = Proxy.parse(f"http://me:{SECRET}@h:1")
    assert SECRET not in repr(proxy)
    assert proxy.name == "http://h:1"


def test_socks_without_its_extra_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'bybit_copyws\[proxy\]'"):
        CopyTradingClient(proxy="socks5h://h")
    CopyTradingClient(proxy="http://h")


@pytest.mark.parametrize(
    ("variables", "endpoint", "found"),
    [
        ({}, WSS, None),
        ({"https_proxy": "http://a:1"}, WSS, "http://a:1"),
        ({"HTTPS_PROXY": "http://a:1"}, WSS, "http://a:1"),
        ({"https_proxy": "http://a:1"}, WS, None),
        ({"http_proxy": "http://a:1"}, WS, "http://a:1"),
        ({"http_proxy": "http://a:1"}, WSS, None),
        ({"all_proxy": "socks5h://a:1"}, WSS, "socks5h://a:1"),
        ({"https_proxy": "http://b:1", "all_proxy": "http://a:1"}, WSS, "http://b:1"),
        ({"https_proxy": "a:1"}, WSS, "http://a:1"),
        ({"https_proxy": "http://a:1", "no_proxy": "exchange.test"}, WSS, None),
        ({"https_proxy": "http://a:1", "no_proxy": ".test"}, WSS, None),
        ({"https_proxy": "http://a:1", "no_proxy": "other.test"}, WSS, "http://a:1"),
        ({"https_proxy": "http://a:1", "no_proxy": "*"}, WSS, None),
    ],
)
def test_the_environment_is_read_as_other_programs_read_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], endpoint: Endpoint, found: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    proxy = find_proxy("environment", endpoint)
    assert (proxy and proxy.name) == found


def test_the_environment_is_read_only_if_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://a:1")
    assert find_proxy(None, WSS) is None


def test_what_the_environment_says_wrong_is_told_without_showing_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", f"ftp://me:{SECRET}@h")
    with pytest.raises(ConfigurationError, match="kind 'ftp'") as caught:
        CopyTradingClient(proxy="environment")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("proxy", ["http://10.0.0.1:3128", "http://proxy.test"])
def test_a_key_is_not_sent_in_clear_to_a_proxy_elsewhere(proxy: str) -> None:
    here = Environment("here", "ws://127.0.0.1:9", "ws://127.0.0.1:9", "http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match="must not be sent in clear"):
        CopyTradingClient("key", "secret", environment=here, proxy=proxy)
    CopyTradingClient("key", "secret", environment=here, proxy="http://127.0.0.1:3128")
    CopyTradingClient(environment=here, proxy=proxy)


# Through it

KINDS = [
    ("http", "http", ""),
    ("http", "http", "me:secret"),
    ("socks", "socks5h", ""),
    ("socks", "socks5h", "me:secret"),
    ("socks", "socks5", ""),
    ("socks", "socks4a", ""),
    ("socks", "socks4", ""),
]


@pytest.mark.parametrize(("kind", "scheme", "login"), KINDS)
@pytest.mark.parametrize("tls", [False, True])
def test_a_client_works_through_a_proxy(kind: str, scheme: str, login: str, tls: bool) -> None:
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with (
        RelayingProxy(kind, login) as proxy,
        Sandbox(seed=1, tls=tls) as exchange,
        make_client(
            exchange,
            proxy=f"{scheme}://{login}{'@' if login else ''}{proxy.address}",
            ssl_context=exchange.ssl_context,
        ) as client,
    ):
        client.subscribe("publicTrade.BTCUSDT", got.put)
        client.subscribe("copyTradePosition", got.put)
        client.wait_until_ready()
        assert got.get(timeout=PATIENCE).topic
        exchange.drop(how="rst")
        client.wait_until_ready()
        port = Endpoint.parse(exchange.url).port
        assert set(proxy.asked) == {f"127.0.0.1:{port}"}
        assert len(proxy.asked) >= 2


def open_through(
    proxy: ProxyChoice, url: str = f"ws://{HOST}:81", seconds: float = PATIENCE
) -> socket.socket:
    deadline = time.monotonic() + seconds
    assert isinstance(proxy, Proxy)
    return Connector(Endpoint.parse(url), deadline, threading.Event(), None, proxy).open()[0]


@pytest.mark.parametrize("scheme", ["http", "socks5h", "socks4a"])
def test_the_proxy_looks_up_the_name(scheme: str) -> None:
    with RawServer(Peer.read_request) as server:
        names = {HOST: Endpoint.parse(server.url).port}
        with RelayingProxy("http" if scheme == "http" else "socks", names=names) as proxy:
            open_through(Proxy.parse(f"{scheme}://{proxy.address}")).close()
            assert proxy.asked == [f"{HOST}:81"]


@pytest.mark.parametrize("scheme", ["socks5", "socks4"])
def test_we_look_up_the_name(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(Peer.read_request) as server, RelayingProxy("socks") as proxy:
        port = Endpoint.parse(server.url).port
        real = socket.getaddrinfo

        def look_up(host: str, *rest: Any) -> Any:
            return real("127.0.0.1" if host == HOST else host, *rest)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        open_through(Proxy.parse(f"{scheme}://{proxy.address}"), f"ws://{HOST}:{port}").close()
        assert proxy.asked == [f"127.0.0.1:{port}"]


def test_an_address_that_socks4_cannot_carry_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with RelayingProxy("socks") as proxy:
        with pytest.raises(ConnectFailed, match="no address that socks4 can carry"):
            open_through(Proxy.parse(f"socks4://{proxy.address}"), "ws://[::1]:81")
        assert proxy.asked == []


# If it will not


@pytest.mark.parametrize(
    ("kind", "url", "words"),
    [
        ("http", "http://", "HTTP 407: it wants a user name and a password"),
        ("http", f"http://me:{SECRET}@", "HTTP 407"),
        ("socks", "socks5h://", "refused: SOCKS: "),
        ("socks", f"socks5h://me:{SECRET}@", "refused: SOCKS: .*authentication failure"),
    ],
)
def test_a_wrong_password_is_told_and_not_shown(kind: str, url: str, words: str) -> None:
    with RelayingProxy(kind, "me:other") as proxy:
        with pytest.raises(ConnectFailed, match=words) as caught:
            open_through(Proxy.parse(url + proxy.address))
        assert proxy.address in str(caught.value)
        assert SECRET not in str(caught.value)
        assert HOST in caught.value.host
        assert proxy.asked == []


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 500 %s\r\n\r\n",
        b"HTTP/1.1 403 No\r\n\r\nYou sent %s",
        b"220 %s\r\n",
        b"HTTP%s",
    ],
)
def test_a_password_that_the_proxy_sends_back_is_not_quoted(reply: bytes) -> None:
    def echo(peer: Peer) -> None:
        request = peer.sock.recv(4096)
        token = re.search(rb"Basic (\S+)", request)
        assert token is not None
        peer.sock.sendall(reply % (token[1] + base64.b64decode(token[1])))

    with RawServer(echo) as server, pytest.raises(ConnectFailed) as caught:
        open_through(Proxy.parse(f"http://me:{SECRET}@{server.url.partition('//')[2]}"))
    shown = "".join(traceback.format_exception(caught.value))
    token = base64.b64encode(f"me:{SECRET}".encode()).decode()
    assert SECRET not in shown
    assert token[:10] not in shown
    assert caught.value.__context__ is None or SECRET not in str(caught.value.__context__)


def test_a_destination_that_the_proxy_cannot_reach_is_told() -> None:
    refused = pytest.raises(ConnectFailed, match="Connection refused by destination host")
    with RelayingProxy("socks") as proxy, refused:
        open_through(Proxy.parse(f"socks5h://{proxy.address}"), "ws://127.0.0.1:1")


def silent(peer: Peer) -> None:
    while peer.sock.recv(4096):
        pass


def drip(peer: Peer) -> None:
    peer.sock.recv(4096)
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100:
        peer.sock.sendall(bytes((byte,)))
        threading.Event().wait(0.02)


@pytest.mark.parametrize("script", [silent, drip])
@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_proxy_that_does_not_come_to_the_point_ends_at_the_deadline(
    script: Callable[[Peer], None], scheme: str
) -> None:
    with RawServer(script) as server:
        proxy = Proxy(scheme, "127.0.0.1", Endpoint.parse(server.url).port)
        started = time.monotonic()
        with pytest.raises(ConnectFailed, match=r"open_timeout passed waiting|SOCKS"):
            open_through(proxy, seconds=SHORT)
        assert time.monotonic() - started < PATIENCE


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_proxy_that_hangs_up_is_told(scheme: str) -> None:
    def hang_up(peer: Peer) -> None:
        peer.sock.recv(4096)
        peer.sock.close()

    with RawServer(hang_up) as server:
        proxy = Proxy(scheme, "127.0.0.1", Endpoint.parse(server.url).port)
        with pytest.raises(ConnectFailed, match=r"the proxy .* (refused|broke)"):
            open_through(proxy)


def test_closing_does_not_wait_for_a_proxy() -> None:
    arrived = threading.Event()

    def wait(peer: Peer) -> None:
        peer.sock.recv(4096)
        arrived.set()
        peer.sock.recv(4096)

    with RawServer(wait) as server:
        address = f"127.0.0.1:{Endpoint.parse(server.url).port}"
        environment = Environment("x", "wss://exchange.test", "wss://exchange.test", "https://x")
        client = CopyTradingClient(environment=environment, proxy=f"http://{address}")
        client.subscribe("publicTrade.BTCUSDT", print)
        client.start()
        assert arrived.wait(PATIENCE)
        started = time.monotonic()
        client.close()
        assert time.monotonic() - started < 1.0
