"""Parameters, payloads and signatures: plain calls."""

from __future__ import annotations

import hashlib
import hmac
import json
from decimal import Decimal
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_tools import KEY, ORDER, SECRET

from bybit_copyws import ConfigurationError
from bybit_copyws.rest.dialects import DIALECTS, find_dialect
from bybit_copyws.rest.params import body_of, number, query_of, wire_params
from bybit_copyws.rest.signing import signed_headers
from bybit_copyws.sandbox.rest import ENDPOINTS
from bybit_copyws.wire.signing import Credentials

V3, V5 = find_dialect("v3"), find_dialect("v5")


@pytest.mark.parametrize("profile", DIALECTS)
def test_the_local_exchange_has_every_endpoint(profile: str) -> None:
    ours = {(row.method, row.path): row for row in DIALECTS[profile].endpoints.values()}
    assert ours.keys() <= ENDPOINTS.keys()
    for key in ours:
        assert ENDPOINTS[key].auth == (ours[key].budget is not None), key


@given(st.decimals(min_value=0, max_value=10**20, allow_nan=False, allow_infinity=False, places=9))
def test_decimals_keep_their_digits(value: Decimal) -> None:
    text = number("qty", value)
    assert Decimal(text) == value
    assert "E" not in text
    assert number("qty", text) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0.010", "0.010"),
        ("00.1", "00.1"),
        (5, "5"),
        (Decimal("1E-7"), "0.0000001"),
        ("1e3", "1000"),
    ],
)
def test_numbers(value: object, text: str) -> None:
    assert number("qty", value) == text


@pytest.mark.parametrize(
    "value",
    [
        0.1,
        True,
        None,
        "",
        "abc",
        "-1",
        Decimal(-1),
        Decimal("NaN"),
        "Infinity",
        "1e999999",
        b"1",
        "\uff11",
    ],
)
def test_what_is_no_number(value: object) -> None:
    if value == "\uff11":  # a digit, though not of ASCII: sent as one of ASCII
        assert number("qty", value) == "1"
        return
    with pytest.raises(ConfigurationError, match="qty"):
        number("qty", value)


@given(
    st.dictionaries(
        st.text("abcXYZ", min_size=1, max_size=8),
        st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20),
        max_size=5,
    )
)
def test_a_query_says_what_was_put_in(params: dict[str, str]) -> None:
    query = query_of(params)
    assert dict(parse_qsl(query)) == params
    assert query.isascii()
    assert " " not in query


@given(
    st.integers(1, 10**13),
    st.integers(1, 60_000),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=50),
)
def test_the_signature_is_that_of_the_documentation(ts: int, window: int, payload: str) -> None:
    headers = signed_headers(Credentials(KEY, SECRET), ts, window, payload)
    text = f"{ts}{KEY}{window}{payload}"
    expected = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
    assert headers == {
        "X-BAPI-API-KEY": KEY,
        "X-BAPI-TIMESTAMP": str(ts),
        "X-BAPI-RECV-WINDOW": str(window),
        "X-BAPI-SIGN": expected,
        "X-BAPI-SIGN-TYPE": "2",
    }


def test_whole_numbers_are_text_on_v3_only() -> None:
    close = V3.endpoint("close_position")
    assert wire_params(V3, close, {"symbol": "BTCUSDT", "position_idx": 1}) == {
        "symbol": "BTCUSDT",
        "positionIdx": "1",
    }
    create = V5.endpoint("create_order")
    params = wire_params(V5, create, {**ORDER, "position_idx": 1, "reduce_only": True})
    assert json.loads(body_of(params)) == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "side": "Buy",
        "orderType": "Market",
        "qty": "0.01",
        "positionIdx": 1,
        "reduceOnly": True,
    }


def test_what_is_given_wins_over_what_is_fixed() -> None:
    executions = V5.endpoint("executions")
    assert wire_params(V5, executions, {"limit": 7, "symbol": None})["limit"] == 7


@pytest.mark.parametrize(
    ("name", "params", "named"),
    [
        ("executions", {}, "needs symbol"),
        ("cancel_order", {"symbol": "BTCUSDT"}, "order_id or order_link_id"),
        ("create_order", {**ORDER, "qty": 0.01}, "qty"),
        ("create_order", {**ORDER, "symbol": "BTC USDT"}, "symbol"),
        ("create_order", {**ORDER, "symbol": "x" * 65}, "symbol"),
        ("create_order", {**ORDER, "order_link_id": "x" * 37}, "order_link_id"),
        ("create_order", {**ORDER, "order_link_id": "a\r\nb"}, "order_link_id"),
        ("create_order", {**ORDER, "order_type": "Mar\nket"}, "order_type"),
        ("create_order", {**ORDER, "order_type": ""}, "order_type"),
        ("create_order", {**ORDER, "reduce_only": True}, "no parameter reduce_only"),
        ("executions", {"symbol": "BTCUSDT", "limit": "5"}, "limit"),
        ("executions", {"symbol": "BTCUSDT", "start_time": -1}, "start_time"),
        ("order_history", {}, "no call 'order_history'"),
    ],
)
def test_mistakes_name_what_is_wrong(name: str, params: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        wire_params(V3, V3.endpoint(name), params)


def test_a_flag_is_no_number() -> None:
    with pytest.raises(ConfigurationError, match="reduce_only"):
        wire_params(
            V5,
            V5.endpoint("create_order"),
            {**ORDER, "position_idx": 1, "reduce_only": 1},
        )


def test_a_profile_without_a_rest_api() -> None:
    with pytest.raises(ConfigurationError, match="v9"):
        find_dialect("v9")
