"""What the tests of the REST client need: quick clients, scripted carriers, raw replies."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

from raw_server import Peer, RawServer

from bybit_copyws import Backoff, Environment
from bybit_copyws.rest import RestClient
from bybit_copyws.rest.caller import Caller, CallSettings
from bybit_copyws.rest.dialects import find_dialect
from bybit_copyws.rest.replies import Reply
from bybit_copyws.rest.retries import Failure
from bybit_copyws.rest.transport import Outgoing
from bybit_copyws.wire.signing import Credentials

KEY, SECRET = "CanaryKey0123456789", "CanarySecret0123456789abcdefghijklm"
QUICK = Backoff(base=0.001, cap=0.002)
ORDER = {"symbol": "BTCUSDT", "side": "Buy", "order_type": "Market", "qty": "0.01"}
NOW_MS = 1_700_000_000_000


def make_rest(exchange: Any, **options: Any) -> RestClient:
    """Return a client of a local exchange that does not wait long."""
    options.setdefault("backoff", QUICK)
    options.setdefault("ssl_context", exchange.ssl_context)
    return RestClient(
        exchange.api_key, exchange.api_secret, environment=exchange.environment, **options
    )


def envelope(result: Any = None, ret_code: int = 0, ret_msg: str = "OK", **more: Any) -> bytes:
    """Return an answer of the exchange."""
    answer = {"retCode": ret_code, "retMsg": ret_msg, "result": result or {}, "retExtInfo": {}}
    return json.dumps({**answer, **more}).encode()


def http(
    body: bytes | str, status: str = "200 OK", *headers: str, length: int | None = None
) -> bytes:
    """Return an HTTP reply."""
    data = body.encode() if isinstance(body, str) else body
    size = len(data) if length is None else length
    head = [f"HTTP/1.1 {status}", f"Content-Length: {size}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + data


TIME = http(envelope({"timeSecond": str(NOW_MS // 1000), "timeNano": str(NOW_MS * 10**6)}))


def answering(*replies: bytes | Callable[[Peer], object]) -> Callable[[Peer], None]:
    """Return a script that answers one request of a connection after the other."""

    def script(peer: Peer) -> None:
        for reply in replies:
            peer.request = b""
            read_whole(peer)
            if callable(reply):
                reply(peer)
            else:
                peer.sock.sendall(reply)

    return script


def read_whole(peer: Peer) -> bytes:
    """Read a request with its body."""
    head = peer.read_request()
    _, _, body = head.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            while len(body) < int(line.split(b":")[1]):
                part = peer.sock.recv(4096)
                if not part:
                    raise EOFError
                peer.request += part
                body += part
    return peer.request


@contextlib.contextmanager
def raw_rest(
    script: Callable[[Peer], object], **options: Any
) -> Iterator[tuple[RestClient, RawServer]]:
    """Run a client against a script."""
    options.setdefault("backoff", QUICK)
    with RawServer(script) as server:
        url = server.url
        environment = Environment("raw", url, url, url.replace("ws", "http"))
        with RestClient(KEY, SECRET, environment=environment, **options) as rest:
            yield rest, server


class ScriptedCarrier:
    """Answers requests from a list, in a time that only waiting moves.

    Args:
        outcomes: what is handed back for each request that is not for the time.
        took: seconds that each request takes.
    """

    def __init__(self, *outcomes: Reply | Failure, took: float = 0.1) -> None:
        self.outcomes = list(outcomes)
        self.sent: list[Outgoing] = []
        self.waits: list[float] = []
        self.now = 100.0
        self.measured = 0
        self._took = took

    def send(self, outgoing: Outgoing, deadline: float) -> Any:
        self.now += self._took
        if outgoing.target.endswith("/time"):
            self.measured += 1
            nanos = (NOW_MS + self.now * 1000.0) * 1e6
            return Reply(200, {}, envelope({"timeNano": str(int(nanos))}))
        self.sent.append(outgoing)
        return self.outcomes.pop(0)

    def pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def make_caller(carrier: ScriptedCarrier, profile: str = "v3", **settings: Any) -> Caller:
    """Return a caller whose time is the carrier's."""
    given = {"total_timeout": 30.0, "recv_window": 5.0, "retries": 3, "backoff": Backoff(0.5, 4.0)}
    return Caller(
        find_dialect(profile),
        Credentials(KEY, SECRET),
        CallSettings(**{**given, **settings}),
        carrier,
        threading.Event(),
        now=lambda: carrier.now,
        pause=carrier.pause,
    )
