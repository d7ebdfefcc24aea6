"""Buckets, limits and the clock: plain calls, against the rolling windows of the local exchange."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws import ProtocolError
from bybit_copyws.policy.server_clock import ServerClock
from bybit_copyws.rest.buckets import Bucket
from bybit_copyws.rest.dialects import find_dialect
from bybit_copyws.rest.endpoints import Budget
from bybit_copyws.rest.limits import BAN, Limits
from bybit_copyws.rest.records import server_time_ms
from bybit_copyws.rest.replies import Reply
from bybit_copyws.rest.retries import Failure, Kind
from bybit_copyws.sandbox.rest import Limit
from bybit_copyws.sandbox.rest.limits import Window

ORDERS, POSITIONS = (find_dialect("v3").endpoint(name) for name in ("orders", "positions"))


@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.floats(0, 2), st.floats(0, 0.5), st.floats(0, 0.5)), max_size=40),
)
def test_the_exchange_never_refuses(limit: int, calls: list[tuple[float, float, float]]) -> None:
    """However long requests and replies are under way, no call comes too early."""
    bucket, window = Bucket(Budget("b", limit, 2.0)), Window()
    now = 50.0
    for idle, there, back in calls:
        now += idle + bucket.wait(now + idle)
        now += bucket.wait(now)  # what floats are short of
        assert bucket.wait(now) == 0.0
        bucket.take()
        # Rounded to the disadvantage of the bucket.
        allowance = window.admit(Limit(limit, 2.0), math.ceil((now + there) * 1000) - 1)
        assert allowance.passed
        now += there + back
        bucket.settle(now, limit=allowance.limit, left=allowance.left)


@given(st.lists(st.sampled_from(["take", "settle", "idle", "others"]), max_size=60))
def test_a_bucket_never_gives_more_than_it_has(steps: list[str]) -> None:
    bucket, now, out, done = Bucket(Budget("b", 3, 5.0)), 0.0, 0, [-99.0]
    for step in steps:
        if step == "take" and bucket.wait(now) == 0.0:
            bucket.take()
            out += 1
        elif step == "settle" and out:
            bucket.settle(now)
            done.append(now)
            out -= 1
        elif step == "others" and out:
            bucket.settle(now, left=0)
            out -= 1
            assert bucket.free(now) <= 0
            assert bucket.wait(now) > 0
        else:
            now += 1.0
        assert out + sum(when > now - 5.0 for when in done) <= 3


def test_a_bucket_says_how_long() -> None:
    bucket = Bucket(Budget("b", 2, 10.0))
    for now in (0.0, 4.0):
        bucket.take()
        bucket.settle(now)
    assert bucket.wait(5.0) == 5.0
    assert bucket.wait(10.0) == 0.0
    assert bucket.free(10.0) == 1
    bucket.hold(12.0)
    bucket.hold(11.0)
    assert bucket.wait(10.0) == 2.0


def test_calls_under_way_are_looked_for_again_soon() -> None:
    bucket = Bucket(Budget("b", 1, 10.0))
    bucket.take()
    assert 0 < bucket.wait(0.0) < 0.1


def test_what_others_used_counts() -> None:
    bucket = Bucket(Budget("b", 75, 60.0))
    bucket.take()
    bucket.settle(0.0, limit=10, left=2)
    assert bucket.free(0.0) == 2
    assert bucket.limit == 10
    bucket.take()
    bucket.settle(1.0, limit=0, left=50)  # an older reply that came late gives nothing back
    assert bucket.free(1.0) == 1
    assert bucket.limit == 10


def test_budgets_of_the_same_name_are_one() -> None:
    limits, leverage = Limits(), find_dialect("v3").endpoint("set_leverage")
    for _ in range(75):
        limits.take(leverage)
        limits.settle(leverage, None, 0.0)
    assert limits.wait(POSITIONS, 6.0) == 54.0
    assert limits.wait(ORDERS, 6.0) == 0.0


def limited(ret_code: int | None, **more: float | int) -> Failure:
    return Failure(Kind.LIMITED, ret_code=ret_code, **more)


@pytest.mark.parametrize(
    ("failure", "server_ms", "wait", "others"),
    [
        (limited(10006, reset_ms=5_000), 3_000, 2.0, 0.0),
        (limited(10006, reset_ms=999_000_000), 3_000, 60.0, 0.0),
        (limited(10006, reset_ms=5_000), None, 0.6, 0.0),
        (limited(10006), 3_000, 0.6, 0.0),
        (limited(10006, reset_ms=1_000), 3_000, 0.6, 0.0),
        (limited(10006, retry_after=7.0), 3_000, 7.0, 0.0),
        (limited(10018), 3_000, 5.0, 5.0),
        (limited(None, retry_after=9.0), 3_000, 9.0, 9.0),
        (Failure(Kind.REFUSED, retry_after=9.0), 3_000, 0.0, 0.0),
    ],
)
def test_who_keeps_back(
    failure: Failure, server_ms: int | None, wait: float, others: float
) -> None:
    limits = Limits()
    limits.heed(ORDERS, failure, 0.0, server_ms)
    assert limits.wait(ORDERS, 0.0) == pytest.approx(wait)
    assert limits.wait(POSITIONS, 0.0) == pytest.approx(others)


@pytest.mark.parametrize(("asked", "seconds"), [(None, BAN), (60.0, 60.0)])
def test_a_ban(asked: float | None, seconds: float) -> None:
    limits = Limits()
    assert limits.banned(0.0) == 0.0
    limits.heed(ORDERS, Failure(Kind.BANNED, status=403, retry_after=asked), 0.0, None)
    assert limits.banned(1.0) == seconds - 1.0
    assert limits.banned(seconds) == 0.0


def test_headers_reach_the_bucket() -> None:
    limits = Limits()
    limits.take(ORDERS)
    headers = {"x-bapi-limit": "100", "x-bapi-limit-status": "0"}
    limits.settle(ORDERS, Reply(200, headers, b""), 0.0)
    assert limits.wait(ORDERS, 0.0) == pytest.approx(0.6)  # 99 of others, who knows since when


@given(
    st.floats(-1e6, 1e6), st.floats(0, 5), st.floats(0, 5), st.floats(0, 1e5), st.floats(-1e4, 1e4)
)
def test_the_clock(offset: float, there: float, back: float, later: float, drift: float) -> None:
    """It is known within half of what the question took, and replies keep it in bounds."""
    clock, sent = ServerClock(), 1000.0
    assert not clock.known
    clock.correct(0.0, 1.0, 5.0)
    assert not clock.known
    received = sent + there + back
    clock.measure(sent, received, (sent + there + offset) * 1000.0)
    assert abs(clock.now_ms(sent) - (sent + offset) * 1000.0) <= clock.error_ms + 1.1
    then = sent + later
    truth = (then + there + offset + drift) * 1000.0  # the clocks have drifted apart
    clock.correct(then, then + there + back, truth)
    off = clock.now_ms(then) - (then + offset + drift) * 1000.0
    assert abs(off) <= (there + back) * 1000.0 + 2.5


@pytest.mark.parametrize(
    ("result", "ms"),
    [
        ({"timeSecond": "1700000000", "timeNano": "1700000000123456789"}, 1_700_000_000_123.4568),
        ({"timeSecond": "1700000000"}, 1_700_000_000_000.0),
    ],
)
def test_the_answer_with_the_time(result: object, ms: float) -> None:
    assert server_time_ms(result) == pytest.approx(ms, abs=0.001)


@pytest.mark.parametrize("result", [None, {}, [], {"timeNano": "soon"}, {"timeSecond": []}])
def test_an_answer_without_a_time(result: object) -> None:
    with pytest.raises(ProtocolError):
        server_time_ms(result)
