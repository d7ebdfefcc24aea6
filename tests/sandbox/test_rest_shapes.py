"""Every reply has the keys of the exchange's own samples."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from rest_caller import BTC, COPY, ETH, LINEAR, OPEN, V3_TRANSFERS, Caller

from bybit_copyws.sandbox.rest import ENDPOINTS

SAMPLES = Path(__file__).resolve().parents[2].parent / "shared" / "samples"
V3 = "v3-copy-trade/rest-trade"
MARKET = {"symbol": ETH, "side": "Buy", "orderType": "Market", "qty": "0.1"}
LEVERAGE = {"symbol": ETH, "buyLeverage": "5", "sellLeverage": "5"}
TRANSFER = {
    "transferId": "t-9",
    "coin": "USDT",
    "amount": "10",
    "fromAccountType": "FUND",
    "toAccountType": "UNIFIED",
}
STOP = {"symbol": BTC, "takeProfit": "1000000"}
#: Sample, endpoint, parameters.
SHAPES = [
    (
        "v3-copy-trade/rest-public/symbol-info",
        *("GET", "/contract/v3/public/copytrading/symbol/list", {}),
    ),
    (f"{V3}/position/position-info", "GET", f"{COPY}/position/list", {}),
    (f"{V3}/position/set-leverage", "POST", f"{COPY}/position/set-leverage", LEVERAGE),
    (
        f"{V3}/position/close-position",
        *("POST", f"{COPY}/position/close", {"symbol": BTC, "positionIdx": "1"}),
    ),
    (f"{V3}/position/execution", "GET", f"{COPY}/execution/list", {"symbol": BTC, "limit": "1"}),
    (f"{V3}/order/order-list", "GET", f"{COPY}/order/list", {"orderLinkId": "resting"}),
    (f"{V3}/order/place-order", "POST", f"{COPY}/order/create", {**MARKET, "orderLinkId": "x"}),
    (
        f"{V3}/order/cancel-order",
        *("POST", f"{COPY}/order/cancel", {"symbol": BTC, "orderLinkId": "resting"}),
    ),
    (
        f"{V3}/order/close-order",
        *("POST", f"{COPY}/order/close", {"symbol": BTC, "parentOrderLinkId": "open"}),
    ),
    (
        f"{V3}/order/set-trading-stop",
        *("POST", f"{COPY}/order/trading-stop", {**STOP, "parentOrderLinkId": "open"}),
    ),
    (f"{V3}/account/wallet", "GET", f"{COPY}/wallet/balance", {}),
    (f"{V3}/account/transfer", "POST", f"{COPY}/wallet/transfer", TRANSFER),
    (f"{V3}/account/transfer-list", "GET", V3_TRANSFERS, {"limit": "1"}),
    ("v5/market/time", "GET", "/v5/market/time", {}),
    ("v5/market/time", "GET", "/v3/public/time", {}),
    ("v5/market/instrument", "GET", "/v5/market/instruments-info", LINEAR),
    ("v5/market/orderbook", "GET", "/v5/market/orderbook", {**LINEAR, "symbol": BTC}),
    ("v5/market/recent-trade", "GET", "/v5/market/recent-trade", {**LINEAR, "symbol": BTC}),
    ("v5/position/position", "GET", "/v5/position/list", OPEN),
    ("v5/position/leverage", "POST", "/v5/position/set-leverage", {**LINEAR, **LEVERAGE}),
    (
        "v5/position/trading-stop",
        *("POST", "/v5/position/trading-stop", {**LINEAR, **STOP, "positionIdx": 1}),
    ),
    ("v5/order/create-order", "POST", "/v5/order/create", {**LINEAR, **MARKET, "positionIdx": 1}),
    (
        "v5/order/cancel-order",
        *("POST", "/v5/order/cancel", {**LINEAR, "symbol": BTC, "orderLinkId": "resting"}),
    ),
    ("v5/order/open-order", "GET", "/v5/order/realtime", {**OPEN, "limit": "1"}),
    ("v5/order/order-list", "GET", "/v5/order/history", {**LINEAR, "limit": "1"}),
    ("v5/order/execution", "GET", "/v5/execution/list", {**LINEAR, "limit": "1"}),
    (
        "v5/account/wallet-balance",
        *("GET", "/v5/account/wallet-balance", {"accountType": "UNIFIED"}),
    ),
    ("v5/account/account-info", "GET", "/v5/account/info", {}),
]
#: Endpoints whose page has no sample here: the mode switch is always refused, tickers are those
#: of the stream, the others are looked at in test_rest_commands.
UNSAMPLED = {
    "/derivatives/v3/public/tickers",
    "/v5/market/tickers",
    "/v5/position/switch-mode",
    "/v5/asset/transfer/inter-transfer",
    "/v5/asset/transfer/query-inter-transfer-list",
}


@pytest.fixture
def lived():
    """Return a caller to an account with everything that can be listed."""
    caller = Caller()
    opened = {**MARKET, "symbol": BTC, "qty": "0.01"}
    caller.result("POST", f"{COPY}/order/create", opened, orderLinkId="open")
    caller.result("POST", f"{COPY}/order/create", opened)
    for link in ("resting", "too"):
        price = str(caller.price(BTC))
        limit = {**opened, "orderType": "Limit", "price": price, "orderLinkId": link}
        caller.result("POST", f"{COPY}/order/create", limit)
    for transfer_id in ("t-1", "t-2"):
        transfer = {**TRANSFER, "transferId": transfer_id, "toAccountType": "COPYTRADE"}
        caller.result("POST", f"{COPY}/wallet/transfer", transfer)
    return caller


def sample(name):
    path = SAMPLES / f"{name}.rest.jsonl"
    if not path.exists():
        pytest.skip(f"the exchange's samples are not here: {name}")
    return json.loads(path.read_text(encoding="utf-8").splitlines()[0])


def kind(value):
    if isinstance(value, str):
        return "number" if re.fullmatch(r"-?\d+(\.\d+)?", value) else "text"
    return type(value).__name__


# Of these only the presence counts: a dictionary by coin, and ids, which are numbers in the
# samples that come from spot.
OPEN_ENDED = {"cumFeeDetail", "orderId", "execId"}


def compare(ours, theirs, path=""):
    """Compare keys, and the sort of every value that neither side leaves empty."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        assert set(ours) == set(theirs), path
        for key in set(theirs) - OPEN_ENDED:
            compare(ours[key], theirs[key], f"{path}.{key}")
    elif isinstance(theirs, list) and isinstance(ours, list):
        assert ours, path
        for entry in ours:
            compare(entry, theirs[0], f"{path}[]")
    elif "" in (ours, theirs):
        assert type(ours) is type(theirs), path
    else:
        assert kind(ours) == kind(theirs), (path, ours, theirs)


@pytest.mark.parametrize(
    ("name", "method", "path", "params"), SHAPES, ids=[shape[2] for shape in SHAPES]
)
def test_a_reply_has_the_shape_of_its_sample(lived, name, method, path, params):
    theirs = sample(name)
    ours = (lived.get if method == "GET" else lived.post)(path, params)
    assert ours["retCode"] == 0, ours
    # Some samples lack the last two, but their pages name them.
    assert set(theirs) <= set(ours) == {"retCode", "retMsg", "result", "retExtInfo", "time"}
    if path != "/v3/public/time":
        assert ours["retMsg"] == theirs["retMsg"]
    compare(ours["result"], theirs["result"])


def test_every_endpoint_is_compared():
    compared = {(method, path) for _, method, path, _ in SHAPES}
    assert {path for _, path in set(ENDPOINTS) - compared} == UNSAMPLED
    assert compared <= set(ENDPOINTS)


#: The same without the samples: what a client reads first.
FRAMES = [
    (f"{COPY}/position/list", {}, {"list"}),
    (f"{COPY}/order/list", {}, {"list"}),
    (f"{COPY}/execution/list", {"symbol": BTC}, {"list", "nextPageCursor"}),
    (V3_TRANSFERS, {}, {"list", "nextPageCursor"}),
    ("/contract/v3/public/copytrading/symbol/list", {}, {"list"}),
    ("/v5/market/instruments-info", LINEAR, {"category", "list", "nextPageCursor"}),
    ("/v5/market/recent-trade", {**LINEAR, "symbol": BTC}, {"category", "list"}),
    ("/v5/position/list", OPEN, {"category", "list", "nextPageCursor"}),
    ("/v5/order/realtime", OPEN, {"category", "list", "nextPageCursor"}),
    ("/v5/order/history", LINEAR, {"category", "list", "nextPageCursor"}),
    ("/v5/execution/list", LINEAR, {"category", "list", "nextPageCursor"}),
    ("/v5/account/wallet-balance", {"accountType": "CONTRACT"}, {"list"}),
    ("/v5/asset/transfer/query-inter-transfer-list", {}, {"list", "nextPageCursor"}),
]


@pytest.mark.parametrize(("path", "params", "keys"), FRAMES, ids=[frame[0] for frame in FRAMES])
def test_every_list_has_its_frame_and_an_entry(lived, path, params, keys):
    result = lived.result("GET", path, params)
    assert set(result) == keys
    assert result["list"]
