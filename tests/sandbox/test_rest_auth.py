"""Who is let in over REST: headers, time, key, signature, and what is answered to others."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_caller import BTC, COPY, NOW, Caller

from bybit_copyws.sandbox.rest import ENDPOINTS, Request

WALLET = f"{COPY}/wallet/balance"
SIGNED = [endpoint for endpoint in ENDPOINTS.values() if endpoint.auth]


@pytest.fixture
def caller():
    return Caller()


def ask(caller, headers, query="", body=b"", method="GET", path=WALLET):
    reply = caller.send(method, path, query, body, headers)
    assert caller.reply.status == 200
    return reply["retCode"], reply["retMsg"]


def test_a_signed_request_is_answered_in_the_envelope(caller):
    reply = caller.get(WALLET)
    assert list(reply) == ["retCode", "retMsg", "result", "retExtInfo", "time"]
    assert (reply["retCode"], reply["retMsg"], reply["retExtInfo"]) == (0, "OK", {})
    assert reply["time"] == NOW
    assert caller.reply.headers["Content-Type"] == "application/json; charset=utf-8"


def test_the_case_of_header_names_does_not_matter(caller):
    headers = {name.lower(): value for name, value in caller.sign("").items()}
    assert ask(caller, headers)[0] == 0


def test_sign_type_and_window_may_be_left_out(caller):
    headers = caller.sign("", recv_window="")
    del headers["X-BAPI-SIGN-TYPE"], headers["X-BAPI-RECV-WINDOW"]
    assert ask(caller, headers)[0] == 0


@pytest.mark.parametrize("endpoint", SIGNED, ids=lambda endpoint: endpoint.path)
def test_no_private_endpoint_answers_an_unsigned_request(caller, endpoint):
    code, text = ask(caller, {}, method=endpoint.method, path=endpoint.path)
    assert (code, text) == (10001, "empty value: apiTimestamp[] apiKey[] apiSignature[]")
    assert not any(name.startswith("X-Bapi") for name in caller.reply.headers)


@pytest.mark.parametrize("missing", ["X-BAPI-API-KEY", "X-BAPI-TIMESTAMP", "X-BAPI-SIGN"])
def test_a_missing_header_is_shown(caller, missing):
    headers = caller.sign("")
    del headers[missing]
    code, text = ask(caller, headers)
    assert code == 10001
    assert text.count("[]") == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-BAPI-TIMESTAMP", "soon"),
        ("X-BAPI-TIMESTAMP", f"-{NOW}"),
        ("X-BAPI-TIMESTAMP", "1" * 5000),
        ("X-BAPI-TIMESTAMP", "\u0661"),
        ("X-BAPI-RECV-WINDOW", "5s"),
        ("X-BAPI-SIGN-TYPE", "1"),
    ],
)
def test_a_bad_header_is_named(caller, name, value):
    assert ask(caller, {**caller.sign(""), name: value}) == (
        10001,
        f"params error: {name} invalid",
    )


@pytest.mark.parametrize(
    ("timestamp", "recv_window", "code"),
    [
        (NOW - 5000, "5000", 0),
        (NOW - 5001, "5000", 10002),
        (NOW - 5001, "5001", 0),
        (NOW, "0", 0),
        (NOW - 1, "0", 10002),
        (NOW + 999, "5000", 0),
        (NOW + 1000, "5000", 10002),
        (NOW + 1000, "60000", 10002),
        (0, "5000", 10002),
    ],
)
@pytest.mark.parametrize("path", [WALLET, "/v5/account/info"])
def test_the_time_window_has_its_documented_edges(caller, timestamp, recv_window, code, path):
    headers = caller.sign("", timestamp=timestamp, recv_window=recv_window)
    found, text = ask(caller, headers, path=path)
    assert found == code
    if code:
        assert text == (
            "invalid request, please check your server timestamp or recv_window param. "
            f"req_timestamp[{timestamp}],server_timestamp[{NOW}],recv_window[{recv_window}]"
        )


def test_another_key_is_refused(caller):
    assert ask(caller, caller.sign("", key="another")) == (10003, "API key is invalid.")
    assert ask(caller, caller.sign("", key="the-kez"))[0] == 10003


def test_the_query_is_signed_as_it_was_sent(caller):
    path = f"{COPY}/execution/list"
    for query in (f"symbol={BTC}&limit=5", f"limit=5&symbol={BTC}", f"symbol={BTC}&cursor=%41%3D"):
        assert ask(caller, caller.sign(query), query, path=path)[0] in (0, 10001)
    code, text = ask(
        caller, caller.sign(f"symbol={BTC}&limit=5"), f"limit=5&symbol={BTC}", path=path
    )
    assert code == 10004
    assert text == f"error sign! origin_string[{NOW}the-key5000limit=5&symbol={BTC}]"


def test_the_body_is_signed_byte_for_byte(caller):
    path = f"{COPY}/order/cancel"
    signed, sent = '{"symbol":"BTCUSDT","orderId":"x"}', b'{"symbol": "BTCUSDT","orderId":"x"}'
    headers = caller.sign(signed)
    assert ask(caller, headers, body=sent, method="POST", path=path)[0] == 10004
    assert ask(caller, headers, body=signed.encode(), method="POST", path=path)[0] == 110001
    # The query of a POST request is not part of it.
    reply = caller.send("POST", path, "a=b", signed.encode(), headers)
    assert reply["retCode"] == 110001


@pytest.mark.parametrize("signature", ["0" * 64, "x", "\u00fc", "\udcff"])
def test_a_wrong_signature_is_refused(caller, signature):
    assert ask(caller, {**caller.sign(""), "X-BAPI-SIGN": signature})[0] == 10004


def test_bytes_that_are_no_text_are_refused_not_stumbled_over(caller):
    assert ask(caller, caller.sign("?"), "\udcff")[0] == 0
    assert ask(caller, {**caller.sign(""), "X-BAPI-API-KEY": "\udcff"})[0] == 10003
    code, text = ask(
        caller, caller.sign(""), body=b"\xff", method="POST", path=f"{COPY}/order/cancel"
    )
    assert (code, text) == (10001, "params error: the body is not UTF-8")


def test_a_refused_request_counts_for_no_limit(caller):
    for _ in range(200):
        assert ask(caller, caller.sign("", key="another"))[0] == 10003
    assert ask(caller, caller.sign(""))[0] == 0
    assert caller.reply.headers["X-Bapi-Limit-Status"] == "119"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v5/nothing"),
        ("GET", "/v5/order/create"),
        ("POST", "/v5/market/time"),
        ("DELETE", WALLET),
        ("get", WALLET),
        ("GET", WALLET + "/"),
    ],
)
def test_unknown_paths_and_methods_are_not_found(caller, method, path):
    reply = caller.send(method, path, headers=caller.sign(""))
    assert (caller.reply.status, reply["retCode"]) == (404, 10017)


def test_it_knows_its_paths(caller):
    assert all(caller.api.knows(path) for _, path in ENDPOINTS)
    assert not caller.api.knows("/sandbox/state")


def test_no_text_of_a_request_shows_key_or_signature(caller):
    request = Request("GET", WALLET, "q=1", b"b", caller.sign(""))
    assert repr(request) == f"Request(method='GET', path={WALLET!r}, address='127.0.0.1')"


@given(
    method=st.sampled_from(["GET", "POST"]),
    endpoint=st.sampled_from(SIGNED),
    query=st.text(max_size=30),
    body=st.binary(max_size=30),
    headers=st.dictionaries(
        st.sampled_from(list(Caller().sign(""))), st.text(max_size=20), max_size=5
    ),
)
def test_nobody_gets_in_by_chance(method, endpoint, query, body, headers):
    caller = Caller()
    reply = caller.send(method, endpoint.path, query, body, headers)
    assert reply["retCode"] in (10001, 10002, 10003, 10004, 10017)
    assert reply["result"] == {}
    assert json.loads(caller.reply.body) == reply
