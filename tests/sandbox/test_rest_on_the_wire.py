"""Orders over HTTP, what they push on the private socket, and what is refused."""

from __future__ import annotations

import hashlib
import hmac
import json
import queue
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from exchange import make_client

from bybit_copyws.sandbox import Sandbox


def call(
    exchange: Sandbox, method: str, path: str, fields: dict[str, Any], **spoil: str
) -> requests.Response:
    """Send a signed request, as Bybit documents it."""
    query = urlencode(fields) if method == "GET" else ""
    body = "" if method == "GET" else json.dumps(fields)
    timestamp = str(exchange.time_ms)
    text = timestamp + exchange.api_key + "5000" + (query or body)
    secret = spoil.get("secret", exchange.api_secret)
    headers = {
        "X-BAPI-API-KEY": exchange.api_key,
        "X-BAPI-TIMESTAMP": timestamp,
        "X-BAPI-RECV-WINDOW": "5000",
        "X-BAPI-SIGN": hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest(),
        "X-BAPI-SIGN-TYPE": "2",
        "Content-Type": "application/json",
    }
    url = exchange.environment.rest + path + (f"?{query}" if query else "")
    return requests.request(method, url, data=body or None, headers=headers, timeout=5)


ORDERS = {
    "v3": (
        "/contract/v3/private/copytrading/order/create",
        {
            "symbol": "BTCUSDT",
            "side": "Buy",
            "orderType": "Market",
            "qty": "0.01",
            "orderLinkId": "mine-1",
        },
        "/contract/v3/private/copytrading/position/list",
        {"symbol": "BTCUSDT"},
    ),
    "v5": (
        "/v5/order/create",
        {
            "category": "linear",
            "symbol": "BTCUSDT",
            "side": "Buy",
            "orderType": "Market",
            "qty": "0.01",
            "positionIdx": 1,
            "orderLinkId": "mine-1",
        },
        "/v5/position/list",
        {"category": "linear", "settleCoin": "USDT"},
    ),
}


@pytest.mark.parametrize("profile", ["v3", "v5"])
def test_an_order_is_pushed_filled_and_listed(profile: str) -> None:
    create, order, listing, query = ORDERS[profile]
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with (
        Sandbox(seed=2, trading=False) as exchange,
        make_client(exchange, profile=profile) as client,
    ):
        client.subscribe("copyTradeExecution", got.put)
        client.wait_until_ready()
        reply = call(exchange, "POST", create, order)
        assert reply.status_code == 200
        assert reply.json()["retCode"] == 0, reply.text
        assert "X-Bapi-Limit-Status" in reply.headers
        (execution, *_) = got.get(timeout=5).parse()
        assert (execution.symbol, execution.side) == ("BTCUSDT", "Buy")
        assert execution.order_id == reply.json()["result"]["orderId"]
        positions = call(exchange, "GET", listing, query).json()["result"]["list"]
    sizes = [float(each["size"]) for each in positions if each["symbol"] == "BTCUSDT"]
    assert sum(sizes) == pytest.approx(0.01)


def test_a_wrong_signature_is_refused(quiet: Sandbox) -> None:
    path = "/contract/v3/private/copytrading/wallet/balance"
    assert call(quiet, "GET", path, {}).json()["retCode"] == 0
    assert call(quiet, "GET", path, {}, secret="wrong").json()["retCode"] == 10004


@pytest.mark.parametrize("path", ["/v3/public/time", "/v5/market/time"])
def test_the_time_needs_no_key(quiet: Sandbox, path: str) -> None:
    reply = requests.get(quiet.environment.rest + path, timeout=5).json()
    assert abs(int(reply["result"]["timeSecond"]) * 1000 - quiet.time_ms) < 2000


def test_an_unknown_path_is_not_found(quiet: Sandbox) -> None:
    assert requests.get(quiet.environment.rest + "/v9/nothing", timeout=5).status_code == 404
