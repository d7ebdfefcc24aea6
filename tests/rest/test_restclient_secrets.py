"""Key, secret, signatures and a proxy's password reach no log, repr, exception or traceback."""

from __future__ import annotations

import json
import logging
import pickle
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from raw_server import Peer, RawServer
from rest_tools import KEY, ORDER, QUICK, SECRET, TIME, answering, envelope, http, read_whole

from bybit_copyws import ConfigurationError, Environment
from bybit_copyws.errors import BybitCopyWSError
from bybit_copyws.rest import RestClient
from bybit_copyws.rest import connection as rest_connection
from bybit_copyws.sandbox import ForcedReply, Limit, Sandbox


class Ears:
    """Hears what a user, a log file or an error reporter could, and what was really sent."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self._heard: list[str] = []
        self.signatures: set[str] = set()

    def hear(self, *things: object) -> None:
        for thing in things:
            self._heard += [repr(thing), str(thing)]
            if isinstance(thing, BaseException):
                self._heard += _library_frames(thing)

    def text(self) -> str:
        for record in self._caplog.records:
            self._heard.append(repr(vars(record)))
            if record.exc_info and record.exc_info[1]:
                self._heard += _library_frames(record.exc_info[1])
        return "\n".join([*self._heard, self._caplog.text])

    def assert_silent(self) -> None:
        text = self.text()
        assert text
        assert self.signatures
        for secret in (KEY, SECRET, "ProxyPassword", *self.signatures):
            assert secret not in text


def _library_frames(error: BaseException) -> Iterator[str]:
    """Show an exception with the local variables of its frames, but for those of the test."""
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    while trace is not None:
        yield from trace.format_exception_only()
        for frame in trace.stack:
            if "/tests/" not in frame.filename:
                yield f"{frame} {frame.locals}"
        following = trace.__cause__ or trace.__context__
        trace = following  # type: ignore[assignment]


@pytest.fixture
def ears(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Ears:
    caplog.set_level(logging.DEBUG)
    heard = Ears(caplog)
    sendall = rest_connection.Line.sendall

    def listening(line: Any, data: bytes) -> None:
        for part in data.split(b"\r\n"):
            if part.lower().startswith(b"x-bapi-sign:"):
                heard.signatures.add(part.split(b":")[1].strip().decode())
        sendall(line, data)

    monkeypatch.setattr(rest_connection.Line, "sendall", listening)
    return heard


@pytest.mark.parametrize("profile", ["v3", "v5"])
def test_a_whole_life_with_faults(ears: Ears, profile: str) -> None:
    with Sandbox(market=False, trading=False, api_key=KEY, api_secret=SECRET) as exchange:
        options: dict[str, Any] = {
            "environment": exchange.environment,
            "profile": profile,
            "backoff": QUICK,
            "retries": 1,
        }
        with RestClient(KEY, SECRET, **options) as rest:
            path = rest._dialect.endpoint("create_order").path
            quoting = f"quoted {KEY} {SECRET[:0]}{'f' * 64}"
            for forced in (
                ForcedReply(path, status=502, body=f"<html>{quoting}"),
                ForcedReply(path, status=200, body=f"<html>{quoting}"),
                ForcedReply(path, status=302, headers={"Location": "https://other.example"}),
                ForcedReply(path, ret_code=10004, ret_msg=f"origin_string[{quoting}]"),
                ForcedReply(path, ret_code=10002, ret_msg="timestamp", times=2),
                ForcedReply(path, status=429, headers={"Retry-After": "500"}),
            ):
                exchange.rest_rules.forced.append(forced)
                with pytest.raises(BybitCopyWSError) as caught:
                    rest.create_order(**ORDER)
                ears.hear(caught.value)
            ears.hear(rest, vars(rest), vars(rest._caller), vars(rest._transport))
        with RestClient(KEY, SECRET + "x", **options) as wrong:
            with pytest.raises(BybitCopyWSError) as caught:
                wrong.wallet()
            ears.hear(caught.value)
        with RestClient(KEY, SECRET, **options) as rest:
            rest.wallet()
            exchange.rest_rules.address_limit = Limit(0, 60.0)
            with pytest.raises(BybitCopyWSError) as caught:
                rest.wallet()
            ears.hear(caught.value)
    ears.assert_silent()


def _cut(peer: Peer) -> None:
    peer.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-")
    peer.sock.shutdown(socket.SHUT_RDWR)


def _echo(peer: Peer) -> None:
    """Send the request back, as a broken proxy may."""
    peer.sock.sendall(http(peer.request))


def _echo_first(peer: Peer) -> None:
    peer.sock.sendall(peer.request.replace(b"\r\n", b" "))
    peer.sock.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "act",
    [
        _cut,
        _echo,
        _echo_first,
        lambda peer: peer.reset(),
        lambda peer: peer.sock.shutdown(socket.SHUT_RDWR),
        lambda peer: peer.sock.recv(1),  # silence
        http(envelope({"list": "what"})),
    ],
)
def test_broken_connections(ears: Ears, act: Callable[[Peer], object] | bytes) -> None:
    with RawServer(answering(TIME, act)) as server:
        url = server.url
        environment = Environment("raw", url, url, url.replace("ws", "http"))
        with RestClient(KEY, SECRET, environment=environment, retries=0, read_timeout=0.2) as rest:
            with pytest.raises(BybitCopyWSError) as caught:
                list(rest.positions())
            ears.hear(caught.value, vars(caught.value))
            assert caught.value.__context__ is None
    ears.assert_silent()


def test_ctrl_c(ears: Ears, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    def act(peer: Peer) -> None:
        peer.sock.recv(1)

    with RawServer(answering(TIME, act)) as server:
        url = server.url
        environment = Environment("raw", url, url, url.replace("ws", "http"))
        with RestClient(KEY, SECRET, environment=environment) as rest:
            rest.clock_offset()
            monkeypatch.setattr(rest_connection.Line, "receive_into", interrupted)
            with pytest.raises(KeyboardInterrupt) as caught:
                rest.wallet()
            ears.hear(caught.value)
            assert any("caller.py" in line for line in _library_frames(caught.value))
    ears.assert_silent()


def test_a_bug_inside(ears: Ears, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise ZeroDivisionError(KEY)

    with RawServer(answering(TIME, read_whole)) as server:
        url = server.url
        environment = Environment("raw", url, url, url.replace("ws", "http"))
        with RestClient(KEY, SECRET, environment=environment, retries=0) as rest:
            rest.clock_offset()
            monkeypatch.setattr(rest_connection.Line, "receive_into", broken)
            with pytest.raises(BybitCopyWSError, match="ZeroDivisionError") as caught:
                rest.wallet()
            ears.hear(caught.value)
    ears.assert_silent()


def test_a_proxy_with_a_password(ears: Ears, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    proxy = f"http://me:ProxyPassword@127.0.0.1:{port}"
    environment = Environment("e", "ws://x", "ws://x", "http://127.0.0.1:1")
    ears.signatures.add("none was sent")
    with RestClient(KEY, SECRET, environment=environment, proxy=proxy, retries=0) as rest:
        with pytest.raises(BybitCopyWSError) as caught:
            rest.server_time()
        ears.hear(caught.value, rest, vars(rest._transport), vars(rest._transport._dialler))
    monkeypatch.setenv("http_proxy", "ftp://me:ProxyPassword@127.0.0.1")
    monkeypatch.setenv("no_proxy", "")
    with RestClient(KEY, SECRET, environment=environment, proxy="environment") as rest:
        with pytest.raises(ConfigurationError, match="cannot be used") as mistake:
            rest.server_time()
        ears.hear(mistake.value)
    ears.assert_silent()


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": KEY, "api_secret": SECRET + "\n"},
        {"api_key": KEY + " ", "api_secret": SECRET},
        {"api_secret": SECRET},
        {"api_key": KEY, "api_secret": SECRET, "environment": "nowhere"},
        {"api_key": KEY, "api_secret": SECRET, "profile": "v9"},
        {"api_key": KEY, "api_secret": SECRET, "retries": -1},
        {"api_key": KEY, "api_secret": SECRET, "proxy": "ftp://me:ProxyPassword@x"},
        {
            "api_key": KEY,
            "api_secret": SECRET,
            "environment": Environment("far", "ws://a", "ws://a", "http://a.example"),
        },
    ],
)
def test_a_mistake_in_the_constructor(ears: Ears, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RestClient(**options)
    ears.hear(caught.value)
    ears.signatures.add("none was sent")
    ears.assert_silent()


def test_it_cannot_be_pickled() -> None:
    with RestClient(KEY, SECRET) as rest, pytest.raises(TypeError):
        pickle.dumps(rest)


def test_what_is_imported() -> None:
    """The streams do without requests; the REST client needs no WebSocket."""
    program = (
        "import json, sys, bybit_copyws\n"
        "before = sorted(sys.modules)\n"
        "import bybit_copyws.rest\n"
        "print(json.dumps([before, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    before, after = json.loads(done.stdout)
    assert not {"requests", "urllib3", "bybit_copyws.rest"} & set(before)
    assert {"requests", "urllib3"} <= set(after)
