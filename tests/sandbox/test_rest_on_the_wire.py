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

from bybit_copyws.sandbox import ForcedReply, Limit, Sandbox


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


V3_WALLET = "/contract/v3/private/copytrading/wallet/balance"


def test_too_many_visits_of_a_key_are_refused_with_the_time_when_it_goes_on(
    quiet: Sandbox,
) -> None:
    quiet.rest_rules.limits["v3 wallet"] = Limit(1, 60.0)
    first, second = (call(quiet, "GET", V3_WALLET, {}) for _ in range(2))
    assert (first.status_code, first.json()["retCode"]) == (200, 0)
    assert first.headers["X-Bapi-Limit-Status"] == "0"
    assert (second.status_code, second.json()["retCode"]) == (200, 10006)
    assert second.headers["X-Bapi-Limit"] == "1"
    wait_ms = int(second.headers["X-Bapi-Limit-Reset-Timestamp"]) - quiet.time_ms
    assert 0 < wait_ms <= 60_000


def test_an_address_that_asks_too_often_is_banned(quiet: Sandbox) -> None:
    quiet.rest_rules.address_limit = Limit(1, 60.0)
    assert call(quiet, "GET", V3_WALLET, {}).status_code == 200
    banned = call(quiet, "GET", V3_WALLET, {})
    assert (banned.status_code, banned.text) == (403, "access too frequent")
    # The ban is of the address, not of the key.
    time_url = quiet.environment.rest + "/v5/market/time"
    assert requests.get(time_url, timeout=5).status_code == 403


def test_a_reply_can_be_lost_although_the_order_was_made(quiet: Sandbox) -> None:
    create, order, _, _ = ORDERS["v5"]
    quiet.rest_rules.forced.append(ForcedReply(create, status=502, body="bad", executed=True))
    assert call(quiet, "POST", create, order).status_code == 502
    again = call(quiet, "POST", create, order).json()
    assert again["retCode"] == 110072  # its orderLinkId is taken: the first one was carried out
