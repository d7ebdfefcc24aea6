"""Someone who calls the REST side of the exchange as a client on the network would."""

from __future__ import annotations

import json
from urllib.parse import urlencode

from bybit_copyws.sandbox.account import Account
from bybit_copyws.sandbox.market import Market, instrument
from bybit_copyws.sandbox.rest import Request, RestApi
from bybit_copyws.wire.signing import Credentials

NOW = 1_700_000_000_000
BTC, ETH = "BTCUSDT", "ETHUSDT"
COPY = "/contract/v3/private/copytrading"
V3_TRANSFERS = "/asset/v3/private/transfer/copy-trading/list/query"
LINEAR = {"category": "linear"}
OPEN = {"category": "linear", "settleCoin": "USDT"}
V3_CREATE, V5_CREATE = f"{COPY}/order/create", "/v5/order/create"
V3_STOP, V5_STOP = f"{COPY}/order/trading-stop", "/v5/position/trading-stop"
V3_LEVERAGE, V5_LEVERAGE = f"{COPY}/position/set-leverage", "/v5/position/set-leverage"
V3_TRANSFER, V5_TRANSFER = f"{COPY}/wallet/transfer", "/v5/asset/transfer/inter-transfer"
MODE = "/v5/position/switch-mode"
MARKET = {"symbol": BTC, "side": "Buy", "orderType": "Market", "qty": "0.01"}
V5_MARKET = {**LINEAR, **MARKET, "positionIdx": 1}
TRANSFER = {
    "transferId": "t-1",
    "coin": "USDT",
    "amount": "10",
    "fromAccountType": "UNIFIED",
    "toAccountType": "FUND",
}


class Caller:
    """An exchange with a still market, and the key to its account."""

    def __init__(self, rules=None, symbols=(BTC, ETH), instruments=None):
        self.credentials = Credentials("the-key", "the-secret")
        self.market = Market(
            instruments or [instrument(name) for name in symbols],
            seed=1,
            start_ms=NOW,
            activity=0.0,
        )
        self.account = Account(self.market, seed=1)
        self.market.on_trade(lambda t: self.account.on_trade(t.symbol, t.price, t.time_ms))
        self.market.on_mark(self.account.on_mark)
        self.market.on_funding(self.account.funding)
        self.api = RestApi(self.market, self.account, self.credentials, rules)
        self.now_ms = NOW
        self.reply = None

    def sign(self, payload, *, timestamp=None, recv_window="5000", key="the-key"):
        timestamp = str(self.now_ms if timestamp is None else timestamp)
        return {
            "X-BAPI-API-KEY": key,
            "X-BAPI-TIMESTAMP": timestamp,
            "X-BAPI-RECV-WINDOW": recv_window,
            "X-BAPI-SIGN": self.credentials.sign(timestamp + key + recv_window + payload),
            "X-BAPI-SIGN-TYPE": "2",
        }

    def send(self, method, path, query="", body=b"", headers=None, address="127.0.0.1"):
        """Send a request as it is; return the decoded reply."""
        request = Request(method, path, query, body, headers or {}, address)
        self.reply = self.api.handle(request, self.now_ms)
        content_type = self.reply.headers["Content-Type"]
        return json.loads(self.reply.body) if "json" in content_type else self.reply.body.decode()

    def get(self, path, params=None, **more):
        """Send a signed GET request."""
        query = urlencode({**(params or {}), **more})
        return self.send("GET", path, query, headers=self.sign(query))

    def post(self, path, params=None, **more):
        """Send a signed POST request."""
        body = json.dumps({**(params or {}), **more})
        return self.send("POST", path, body=body.encode(), headers=self.sign(body))

    def result(self, method, path, params=None, **more):
        """Return the result of a request that is not refused."""
        reply = (self.get if method == "GET" else self.post)(path, params, **more)
        assert reply["retCode"] == 0, reply
        return reply["result"]

    def refusal(self, method, path, params=None, **more):
        """Return code and text of a request that is refused."""
        reply = (self.get if method == "GET" else self.post)(path, params, **more)
        assert (reply["result"], self.reply.status) == ({}, 200)
        return reply["retCode"], reply["retMsg"]

    def move(self, symbol, price):
        """Let the market gap to a price, and whoever listens hear of it."""
        self.market.advance(self.now_ms)
        self.market.move(symbol, price)
        self.market.advance(self.now_ms)

    def price(self, symbol):
        """Return a price a little below the market, on the tick."""
        tick = self.market.instrument(symbol).tick_size
        return (self.market.last_price(symbol) * 9 / 10 // tick) * tick
