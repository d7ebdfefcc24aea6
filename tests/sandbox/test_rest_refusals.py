"""How commands and lists are refused over REST: by the name of what is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_caller import (
    BTC,
    COPY,
    LINEAR,
    MARKET,
    MODE,
    TRANSFER,
    V3_CREATE,
    V3_LEVERAGE,
    V3_STOP,
    V3_TRANSFER,
    V5_CREATE,
    V5_LEVERAGE,
    V5_MARKET,
    V5_STOP,
    V5_TRANSFER,
    Caller,
)

from bybit_copyws.sandbox.rest import ENDPOINTS, RestRules


@pytest.fixture
def caller():
    return Caller()


REQUIRED = {
    V3_CREATE: (MARKET, ("symbol", "side", "orderType", "qty")),
    f"{COPY}/order/cancel": ({"symbol": BTC, "orderId": "x"}, ("symbol",)),
    f"{COPY}/order/close": ({"symbol": BTC, "parentOrderId": "x"}, ("symbol",)),
    V3_STOP: ({"symbol": BTC, "parentOrderId": "x"}, ("symbol",)),
    V3_LEVERAGE: (
        {"symbol": BTC, "buyLeverage": "5", "sellLeverage": "5"},
        ("symbol", "buyLeverage", "sellLeverage"),
    ),
    f"{COPY}/position/close": ({"symbol": BTC, "positionIdx": "1"}, ("symbol", "positionIdx")),
    V3_TRANSFER: (TRANSFER, tuple(TRANSFER)),
    V5_TRANSFER: (TRANSFER, tuple(TRANSFER)),
    V5_CREATE: (V5_MARKET, ("symbol", "side", "orderType", "qty")),
    "/v5/order/cancel": ({**LINEAR, "symbol": BTC, "orderId": "x"}, ("symbol",)),
    V5_STOP: ({**LINEAR, "symbol": BTC, "positionIdx": 1}, ("symbol",)),
    V5_LEVERAGE: (
        {**LINEAR, "symbol": BTC, "buyLeverage": "5", "sellLeverage": "5"},
        ("symbol", "buyLeverage", "sellLeverage"),
    ),
    MODE: ({**LINEAR, "symbol": BTC, "mode": 3}, ("mode",)),
}


def test_every_command_is_looked_at():
    assert set(REQUIRED) == {path for method, path in ENDPOINTS if method == "POST"}


@pytest.mark.parametrize("path", REQUIRED)
@pytest.mark.parametrize("empty", ["", None, "missing"])
def test_a_missing_parameter_is_named(caller, path, empty):
    params, names = REQUIRED[path]
    for name in names:
        bad = {**params, name: empty}
        if empty == "missing":
            del bad[name]
        assert caller.refusal("POST", path, bad) == (10001, f"params error: {name} is required")
    if "category" in params:
        bad = {**params, "category": "inverse"}
        assert caller.refusal("POST", path, bad) == (10001, "params error: Category is invalid")


@pytest.mark.parametrize("path", REQUIRED)
@pytest.mark.parametrize("value", [["x"], {"x": 1}, True, "x" * 501])
def test_a_parameter_of_another_kind_is_named(caller, path, value):
    params, names = REQUIRED[path]
    for name in names:
        code, text = caller.refusal("POST", path, {**params, name: value})
        assert (code, text) == (10001, f"params error: {name} invalid")


@pytest.mark.parametrize(
    ("path", "params", "text"),
    [
        (f"{COPY}/order/cancel", {"symbol": BTC}, "orderId or orderLinkId is required"),
        (
            f"{COPY}/order/close",
            {"symbol": BTC},
            "parentOrderId or parentOrderLinkId is required",
        ),
        (V3_STOP, {"symbol": BTC}, "parentOrderId or parentOrderLinkId is required"),
        (MODE, {**LINEAR, "mode": 3}, "symbol or coin is required"),
        (V5_CREATE, {**V5_MARKET, "positionIdx": "one"}, "positionIdx invalid"),
        (V5_CREATE, {**V5_MARKET, "positionIdx": -1}, "positionIdx invalid"),
        (V5_CREATE, {**V5_MARKET, "positionIdx": 1.5}, "positionIdx invalid"),
        (V5_CREATE, {**V5_MARKET, "reduceOnly": 1.5}, "reduceOnly invalid"),
        (V5_CREATE, {**V5_MARKET, "orderLinkId": 7}, "orderLinkId invalid"),
        (V5_CREATE, {**V5_MARKET, "qty": "much"}, "qty invalid"),
        (V5_CREATE, {**V5_MARKET, "tpslMode": "Half"}, "tpslMode invalid"),
        (V5_CREATE, {**V5_MARKET, "tpOrderType": "Limit"}, "tpOrderType is not simulated"),
        (V5_CREATE, {**V5_MARKET, "slLimitPrice": "1"}, "slLimitPrice is not simulated"),
        (
            V5_STOP,
            {**LINEAR, "symbol": BTC, "positionIdx": 1, "trailingStop": "5"},
            "trailingStop is not simulated",
        ),
        (
            V5_STOP,
            {**LINEAR, "symbol": BTC, "positionIdx": 1, "tpslMode": "Partial"},
            "tpslMode Partial is not simulated",
        ),
        (f"{COPY}/position/close", {"symbol": BTC, "positionIdx": "x"}, "positionIdx invalid"),
    ],
)
def test_other_mistakes_are_named(caller, path, params, text):
    assert caller.refusal("POST", path, params) == (10001, f"params error: {text}")


def test_a_v5_order_without_a_position_is_for_another_mode(caller):
    order = {key: value for key, value in V5_MARKET.items() if key != "positionIdx"}
    for more in ({}, {"positionIdx": 0}):
        answer = caller.refusal("POST", V5_CREATE, {**order, **more})
        assert answer == (10001, "position idx not match position mode")


@pytest.mark.parametrize("body", ["[]", "nothing", "1", "[" * 100_000, '{"a":NaN}', '{"a":1', '""'])
def test_a_body_that_is_no_object_is_refused(caller, body):
    reply = caller.send("POST", V3_CREATE, body=body.encode(), headers=caller.sign(body))
    assert (reply["retCode"], reply["retMsg"]) == (
        *(10001,),
        "params error: the body is not a JSON object",
    )


def test_an_empty_body_has_no_parameters(caller):
    reply = caller.send("POST", V3_CREATE, headers=caller.sign(""))
    assert reply["retMsg"] == "params error: symbol is required"


def test_a_list_is_refused_by_the_name_of_its_parameter(caller):
    path = f"{COPY}/execution/list"
    assert caller.refusal("GET", path) == (10001, "params error: symbol is required")
    for bad in ({"limit": "101"}, {"startTime": "x"}, {"cursor": "x"}, {"endTime": "9" * 5000}):
        code, text = caller.refusal("GET", path, symbol=BTC, **bad)
        assert (code, next(iter(bad)) in text) == (10001, True)
    assert caller.refusal("GET", "/v5/order/realtime", LINEAR)[0] == 10001


NAMES = sorted({name for params, _ in REQUIRED.values() for name in params})
NAMES += ["price", "takeProfit", "triggerPrice", "limit", "cursor", "startTime", "settleCoin"]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["BTCUSDT", "linear", "Buy", "Limit", "0.01", "1e-999999999", "1e99", "USDT"]),
    st.decimals(allow_nan=True).map(str),
    st.lists(st.integers(), max_size=2),
)


@given(
    endpoint=st.sampled_from(list(ENDPOINTS.values())),
    params=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8),
)
def test_nothing_that_is_sent_breaks_it(endpoint, params):
    caller = Caller(RestRules(limits={}))
    if endpoint.method == "POST" and endpoint.path in REQUIRED:
        params = {**REQUIRED[endpoint.path][0], **params}
    ask = caller.get if endpoint.method == "GET" else caller.post
    reply = ask(endpoint.path, params)
    assert caller.reply.status == 200
    assert isinstance(reply["retCode"], int)
    assert (reply["result"] == {}) or reply["retCode"] == 0
