"""How often one may ask over REST: limits of key and group, bans of addresses, forced replies."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_caller import BTC, COPY, LINEAR, NOW, Caller

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.sandbox.rest import ENDPOINTS, ForcedReply, Limit, RestRules

WALLET = f"{COPY}/wallet/balance"
TIME = "/v5/market/time"


def limit_headers(caller):
    names = ("X-Bapi-Limit", "X-Bapi-Limit-Status", "X-Bapi-Limit-Reset-Timestamp")
    return tuple(int(caller.reply.headers[name]) for name in names)


# Limits of a key and group


def test_every_group_of_the_table_has_a_limit():
    limits = RestRules().limits
    assert set(limits) == {endpoint.group for endpoint in ENDPOINTS.values() if endpoint.auth}
    assert limits["v3 position"] == Limit(75, 60.0)
    assert limits["v3 order"] == Limit(100, 60.0)
    assert limits["v3 wallet"] == Limit(120, 60.0)


def test_the_headers_count_down_and_tell_when_it_goes_on():
    caller = Caller(RestRules(limits={"v3 wallet": Limit(2, 10.0)}))
    caller.get(WALLET)
    assert limit_headers(caller) == (2, 1, NOW)
    caller.now_ms += 1500
    caller.get(WALLET)
    assert limit_headers(caller) == (2, 0, NOW + 1500)
    caller.now_ms += 500
    assert caller.refusal("GET", WALLET) == (10006, "Too many visits!")
    assert limit_headers(caller) == (2, 0, NOW + 10_000)
    caller.now_ms = NOW + 9_999
    assert caller.get(WALLET)["retCode"] == 10006
    caller.now_ms = NOW + 10_000
    assert caller.get(WALLET)["retCode"] == 0
    assert limit_headers(caller) == (2, 0, NOW + 10_000)
    caller.get(WALLET)
    assert limit_headers(caller) == (2, 0, NOW + 11_500)


def test_a_group_has_one_limit_and_groups_do_not_touch_each_other():
    caller = Caller(RestRules(limits={"v3 order": Limit(1), "v3 wallet": Limit(1)}))
    assert caller.get(f"{COPY}/order/list")["retCode"] == 0
    assert caller.post(f"{COPY}/order/cancel", symbol=BTC, orderId="x")["retCode"] == 10006
    assert caller.get(WALLET)["retCode"] == 0
    assert caller.get(f"{COPY}/position/list")["retCode"] == 0
    assert "X-Bapi-Limit" not in caller.reply.headers


def test_a_refused_command_counts_and_shows_the_limit():
    caller = Caller()
    assert caller.post(f"{COPY}/order/cancel", symbol=BTC, orderId="x")["retCode"] == 110001
    assert limit_headers(caller) == (100, 99, NOW)


def test_a_request_beyond_the_limit_does_nothing():
    rules = RestRules()
    caller = Caller(rules)
    rules.limits["/v5/order/create"] = Limit(0, 1.0)
    order = {**LINEAR, "symbol": BTC, "side": "Buy", "orderType": "Market", "qty": "0.01"}
    assert caller.post("/v5/order/create", order, positionIdx=1)["retCode"] == 10006
    assert limit_headers(caller) == (0, 0, NOW + 1000)
    assert not list(caller.account.orders)
    rules.limits["/v5/order/create"] = None
    assert caller.post("/v5/order/create", order, positionIdx=1)["retCode"] == 0


def test_a_lowered_limit_waits_until_enough_have_left():
    rules = RestRules(limits={"v3 wallet": Limit(3, 10.0)})
    caller = Caller(rules)
    for _ in range(3):
        caller.get(WALLET)
        caller.now_ms += 1000
    rules.limits["v3 wallet"] = Limit(1, 10.0)
    assert caller.get(WALLET)["retCode"] == 10006
    assert limit_headers(caller) == (1, 0, NOW + 12_000)
    caller.now_ms = NOW + 11_999
    assert caller.get(WALLET)["retCode"] == 10006
    caller.now_ms = NOW + 12_000
    assert caller.get(WALLET)["retCode"] == 0


def test_a_clock_that_is_set_back_locks_nobody_out():
    caller = Caller(RestRules(limits={"v3 wallet": Limit(1)}))
    assert caller.get(WALLET)["retCode"] == 0
    caller.now_ms -= 3_600_000
    assert caller.get(WALLET)["retCode"] == 0
    assert caller.get(WALLET)["retCode"] == 10006


def test_counts_can_be_forgotten():
    rules = RestRules(limits={"v3 wallet": Limit(1)}, address_limit=Limit(2))
    caller = Caller(rules)
    assert [caller.get(WALLET)["retCode"] for _ in range(2)] == [0, 10006]
    caller.get(WALLET)
    assert caller.reply.status == 403
    caller.api.reset_limits()
    assert caller.get(WALLET)["retCode"] == 0


GAPS = st.lists(st.integers(0, 400), max_size=60)


@given(requests=st.integers(0, 5), window_ms=st.integers(1, 1000), gaps=GAPS)
def test_never_more_than_the_limit_pass_in_any_window(requests, window_ms, gaps):
    limit = Limit(requests, window_ms / 1000)
    assert limit.window_ms == window_ms
    caller = Caller(RestRules(limits={"v3 wallet": limit}))
    passed = []
    for gap in gaps:
        caller.now_ms += gap
        now_ms = caller.now_ms
        before = [time for time in passed if time > now_ms - window_ms]
        reply = caller.get(WALLET)
        _, left, reset_ms = limit_headers(caller)
        # Neither one too many, nor one too few.
        assert (reply["retCode"] == 0) == (len(before) < requests)
        if reply["retCode"] == 0:
            passed.append(now_ms)
            assert (left, reset_ms) == (requests - len(before) - 1, now_ms)
        else:
            assert (reply["retCode"], left) == (10006, 0)
            assert reset_ms > now_ms
            still = [time for time in passed if time > reset_ms - window_ms]
            assert len(still) < requests or not requests
            still = [time for time in passed if time > reset_ms - 1 - window_ms]
            assert len(still) >= requests


# Bans of an address


def test_an_address_that_asks_too_often_is_banned():
    caller = Caller(RestRules(address_limit=Limit(3, 60.0), ban_seconds=100.0))
    for path in (TIME, "/nowhere", TIME):
        caller.send("GET", path)
        assert caller.reply.status != 403
    text = caller.send("GET", TIME)
    assert (caller.reply.status, text) == (403, "access too frequent")
    # Whatever it asks, and for how long it asks.
    caller.now_ms += 50_000
    caller.get(WALLET)
    assert caller.reply.status == 403
    assert caller.send("GET", TIME, address="10.0.0.1")["retCode"] == 0
    caller.now_ms = NOW + 99_999
    caller.send("GET", TIME)
    assert caller.reply.status == 403
    caller.now_ms = NOW + 100_000
    for _ in range(3):
        assert caller.send("GET", TIME)["retCode"] == 0
    caller.send("GET", TIME)
    assert caller.reply.status == 403


def test_a_ban_does_not_outlive_a_clock_that_is_set_back():
    caller = Caller(RestRules(address_limit=Limit(0)))
    caller.send("GET", TIME)
    assert caller.reply.status == 403
    caller.now_ms -= 1
    caller.api.rules.address_limit = None
    assert caller.send("GET", TIME)["retCode"] == 0


@given(requests=st.integers(0, 5), window_ms=st.integers(1, 1000), gaps=GAPS)
def test_never_more_requests_of_an_address_pass_than_the_limit(requests, window_ms, gaps):
    ban_ms = 1000
    rules = RestRules(address_limit=Limit(requests, window_ms / 1000), ban_seconds=ban_ms / 1000)
    caller = Caller(rules)
    passed, banned_until = [], 0
    for gap in gaps:
        caller.now_ms += gap
        caller.send("GET", TIME)
        now_ms = caller.now_ms
        recent = [time for time in passed if time > now_ms - window_ms]
        if now_ms < banned_until:
            assert caller.reply.status == 403
        elif len(recent) < requests:
            assert caller.reply.status == 200
            passed.append(now_ms)
        else:
            assert caller.reply.status == 403
            banned_until = now_ms + ban_ms


# Forced replies


def test_a_forced_reply_comes_for_the_next_requests_to_a_path():
    rules = RestRules()
    caller = Caller(rules)
    rules.forced.append(ForcedReply(WALLET, times=2, ret_code=10016, ret_msg="Server error."))
    assert caller.get(TIME)["retCode"] == 0
    for _ in range(2):
        assert caller.refusal("GET", WALLET) == (10016, "Server error.")
    assert caller.get(WALLET)["retCode"] == 0
    assert limit_headers(caller) == (120, 119, NOW)
    assert rules.forced == []


def test_a_forced_reply_may_be_anything_that_http_knows():
    rules = RestRules(
        forced=[
            ForcedReply(None, status=502, body="<html>Bad Gateway</html>"),
            ForcedReply(TIME, status=503, ret_code=10000, headers={"Retry-After": "3"}),
            ForcedReply(None, method="GET", times=None),
        ]
    )
    caller = Caller(rules)
    assert caller.send("GET", "/nowhere") == "<html>Bad Gateway</html>"
    assert caller.reply.status == 502
    assert caller.send("GET", TIME)["retCode"] == 10000
    assert (caller.reply.status, caller.reply.headers["Retry-After"]) == (503, "3")
    for _ in range(3):
        assert caller.send("GET", TIME) == ""
        assert caller.reply.status == 200
    assert caller.post("/v5/order/cancel", LINEAR, symbol=BTC, orderId="x")["retCode"] == 110001


def test_a_request_may_be_carried_out_though_its_reply_is_lost():
    caller = Caller()
    path = "/v5/order/create"
    order = {**LINEAR, "symbol": BTC, "side": "Buy", "orderType": "Market", "qty": "0.01"}
    order = {**order, "positionIdx": 1, "orderLinkId": "mine"}
    caller.api.rules.forced.append(ForcedReply(path, status=504, body="late", executed=True))
    assert caller.post(path, order) == "late"
    assert caller.account.find_order(order_link_id="mine") is not None
    assert caller.post(path, order)["retCode"] == 110072
    caller.api.rules.forced.append(ForcedReply(path, status=504))
    caller.post(path, {**order, "orderLinkId": "other"})
    assert caller.account.find_order(order_link_id="other") is None


def test_a_forced_reply_has_the_envelope():
    caller = Caller(RestRules(forced=[ForcedReply(TIME, ret_code=1)]))
    caller.send("GET", TIME)
    assert list(json.loads(caller.reply.body)) == [
        *("retCode", "retMsg", "result", "retExtInfo", "time"),
    ]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Limit(-1),
        lambda: Limit(1, 0.0),
        lambda: Limit(1, float("nan")),
        lambda: Limit(1, float("inf")),
        lambda: ForcedReply(TIME, status=101),
        lambda: ForcedReply(TIME, status=600),
        lambda: ForcedReply(TIME, times=0),
    ],
)
def test_rules_that_make_no_sense_are_refused(make):
    with pytest.raises(ConfigurationError):
        make()
