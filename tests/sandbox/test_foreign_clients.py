"""Clients that others wrote understand the local exchange: pybit and the websockets library."""

from __future__ import annotations

import json
import queue
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import websockets.sync.client
from pybit import unified_trading
from raw_client import PATHS

from bybit_copyws.sandbox import Sandbox
from bybit_copyws.wire.operations import auth_request
from bybit_copyws.wire.signing import Credentials


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A lively exchange with TLS, to which pybit's addresses are turned."""
    with Sandbox(seed=4, tls=True) as sandbox:
        assert sandbox.ca_file is not None
        monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", sandbox.ca_file)
        public, private = PATHS["v5", "public"], PATHS["v5", "private"]
        monkeypatch.setattr(unified_trading, "PUBLIC_WSS", sandbox.url + public)
        monkeypatch.setattr(unified_trading, "PRIVATE_WSS", sandbox.url + private)
        # A network's way there and back: pybit notes a subscription, and its callback, only after
        # it has sent the request, and ends for good if the answer is quicker than that.
        sandbox.fault("delay", seconds=0.1, times=None)
        yield sandbox


def end(stream: Any) -> None:
    """End pybit's connection and its threads, which its own ``exit`` leaves behind."""
    stream.exit()
    stream.wst.join(1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_pybit_hears_book_and_trades(exchange: Sandbox) -> None:
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stream = unified_trading.WebSocket(testnet=True, channel_type="linear")
    stream.orderbook_stream(50, "BTCUSDT", got.put)
    stream.trade_stream("BTCUSDT", got.put)
    seen: dict[str, Any] = {}
    while len(seen) < 2:
        message = got.get(timeout=10)
        seen.setdefault(message["topic"], message)
    end(stream)
    book = seen["orderbook.50.BTCUSDT"]
    assert book["type"] == "snapshot"
    assert float(book["data"]["b"][0][0]) < float(book["data"]["a"][0][0])
    assert float(seen["publicTrade.BTCUSDT"]["data"][0]["p"]) > 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_pybit_logs_in_places_an_order_and_hears_of_its_position(exchange: Sandbox) -> None:
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()
    keys = {"api_key": exchange.api_key, "api_secret": exchange.api_secret}
    # Its login is good for one second as it comes, which a busy machine lets pass.
    stream = unified_trading.WebSocket(
        testnet=True, channel_type="private", private_auth_expire=30, **keys
    )
    stream.order_stream(got.put)
    stream.position_stream(got.put)
    exchange.wait_for(
        lambda sandbox: any({"order", "position"} <= set(c.topics) for c in sandbox.connections)
    )
    session = unified_trading.HTTP(testnet=True, **keys)
    session.endpoint = exchange.environment.rest
    session.client.verify = exchange.ca_file
    reply = session.place_order(
        category="linear",
        symbol="BTCUSDT",
        side="Buy",
        orderType="Market",
        qty="0.01",
        positionIdx=1,
        orderLinkId="from-pybit",
    )
    assert reply["retCode"] == 0
    topics: set[str] = set()
    mine = False
    while not (mine and topics == {"order", "position"}):
        message = got.get(timeout=10)
        topics.add(message["topic"])
        mine = mine or any(row.get("orderLinkId") == "from-pybit" for row in message["data"])
    positions = session.get_positions(category="linear", symbol="BTCUSDT")["result"]["list"]
    assert sum(float(each["size"]) for each in positions) > 0
    assert session.get_server_time()["retCode"] == 0
    session.client.close()
    end(stream)


def test_websockets_speaks_with_both_sockets_of_both_profiles(exchange: Sandbox) -> None:
    context = ssl.create_default_context(cafile=exchange.ca_file)
    credentials = Credentials(exchange.api_key, exchange.api_secret)
    for (profile, scope), path in PATHS.items():
        topic = {"v3": "copyTradeOrder", "v5": "order"}[profile]
        topic = topic if scope == "private" else "orderbook.1.BTCUSDT"
        with websockets.sync.client.connect(exchange.url + path, ssl=context) as stream:
            if scope == "private":
                stream.send(str(auth_request(credentials, int(time.time() * 1000) + 5000)))
                assert json.loads(stream.recv(5))["success"]
            stream.send(json.dumps({"op": "subscribe", "args": [topic]}))
            assert json.loads(stream.recv(5))["success"]
            while json.loads(stream.recv(10)).get("topic") != topic:
                pass
            assert stream.ping().wait(5)
    assert threading.active_count() < 50
