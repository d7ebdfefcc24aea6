"""What replies mean and what is tried again: plain calls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_tools import KEY, SECRET, envelope

from bybit_copyws.errors import ApiError, HttpStatusError, RestError
from bybit_copyws.rest.replies import Envelope, Reply, judge
from bybit_copyws.rest.retries import Failure, Kind, Step, next_step
from bybit_copyws.wire.signing import Credentials

CREDENTIALS = Credentials(KEY, SECRET)
NOW = 1_700_000_000.0


def verdict(body: bytes = b"", status: int = 200, **headers: str) -> Envelope | Failure:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return judge(Reply(status, named, body), CREDENTIALS.redact, NOW)


def failure(body: bytes = b"", status: int = 200, **headers: str) -> Failure:
    outcome = verdict(body, status, **headers)
    assert isinstance(outcome, Failure)
    return outcome


def test_success() -> None:
    assert verdict(envelope({"a": "1"}, time=5)) == Envelope(0, "OK", {"a": "1"}, 5)
    assert verdict(b'{"retCode":0,"retMsg":"success","result":{}}') == Envelope(0, "success", {})


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        (10002, Kind.CLOCK, "clock"),
        (10021, Kind.CLOCK, "clock"),
        (10003, Kind.REFUSED, "testnet"),
        (10004, Kind.REFUSED, "secret"),
        (10005, Kind.REFUSED, "permission"),
        (10006, Kind.LIMITED, "calls"),
        (10010, Kind.REFUSED, "address"),
        (10018, Kind.LIMITED, "address"),
        (10016, Kind.SERVER, "inside"),
        (10017, Kind.REFUSED, "v5"),
        (110072, Kind.REFUSED, "order_link_id"),
        (424242, Kind.REFUSED, ""),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 401, 404])
def test_refusals(code: int, kind: Kind, says: str, status: int) -> None:
    refused = failure(envelope(ret_code=code, ret_msg="no"), status)
    assert (refused.kind, refused.ret_code, refused.ret_msg) == (kind, code, "no")
    assert says in refused.explanation
    error = refused.error("GET /x", uncertain=False)
    assert isinstance(error, ApiError)
    assert (error.ret_code, error.ret_msg, error.uncertain) == (code, "no", False)
    assert str(error).startswith(f"GET /x: the exchange refused with {code} 'no'")


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (301, b"", Kind.REFUSED, "never followed"),
        (308, envelope(), Kind.REFUSED, "never followed"),
        (400, b"<html>", Kind.REFUSED, ""),
        (401, b"", Kind.REFUSED, "key"),
        (403, b"access too frequent", Kind.BANNED, "region"),
        (403, envelope(ret_code=10006), Kind.BANNED, "region"),
        (404, b"", Kind.REFUSED, "environment"),
        (407, b"", Kind.REFUSED, "proxy"),
        (429, b"", Kind.LIMITED, "calls"),
        (500, b"oops", Kind.SERVER, "passes"),
        (502, b"<html>", Kind.SERVER, "passes"),
        (503, envelope(ret_code=10016), Kind.SERVER, "passes"),
        (451, b"", Kind.REFUSED, "region"),
        (404, envelope(), Kind.REFUSED, "environment"),
    ],
)
def test_statuses(status: int, body: bytes, kind: Kind, says: str) -> None:
    bad = failure(body, status)
    assert bad.kind is kind
    assert says in bad.explanation
    error = bad.error("GET /x", uncertain=True)
    assert isinstance(error, HttpStatusError)
    assert error.status == status
    assert "not known whether" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><h1>Maintenance</h1></html>",
        b"[]",
        b"null",
        b"{}",
        b'{"retCode":"0"}',
        b'{"retCode":0',
        b'{"retCode":NaN}',
        b"\xff\xfe{\x00}\x00",
        b'\xef\xbb\xbf{"retCode":0}',
        b'{"retCode":0,"retMsg":"\xff"}',
        b'{"retCode":0,"result":' + b"[" * 100_000,
        b'{"retCode":0} {"retCode":0}',
    ],
)
def test_what_is_no_answer(body: bytes) -> None:
    lost = failure(body)
    assert lost.kind is Kind.LOST
    assert "JSON" in lost.reason
    assert len(lost.reason) < 200
    error = lost.error("GET /x", uncertain=False)
    assert type(error) is RestError


def test_what_was_packed_although_nobody_asked() -> None:
    assert failure(envelope(), content_encoding="gzip").kind is Kind.LOST


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0.0),
        ("99999999999", 86_400.0),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("9" * 400, None),
    ],
)
def test_how_long_to_wait(text: str, seconds: float | None) -> None:
    assert failure(b"", 503, retry_after=text).retry_after == seconds


@pytest.mark.parametrize("text", ["https://evil.example/a?b", "//evil.example", "http://[", ""])
def test_where_a_redirect_leads(text: str) -> None:
    reason = failure(b"", 302, location=text).reason
    assert ("evil.example" if "evil" in text else "unnamed") in reason
    assert "/a?b" not in reason


def test_what_a_refusal_quotes_is_redacted() -> None:
    signature = CREDENTIALS.sign("text")
    text = f"error sign! origin_string[1700000000000{KEY}5000] sign[{signature}]"
    for outcome in (
        failure(envelope(ret_code=10004, ret_msg=text)),
        failure(text.encode(), 403),
        failure(text.encode(), 500),
        failure(("x" * 100 + signature).encode()),
        failure((" " * 1990 + KEY * 9 + signature).encode()),
        failure((" " * 1990 + signature + "x" * 900).encode()),
    ):
        shown = repr(outcome) + str(outcome.error("GET /x", uncertain=True))
        assert KEY not in shown
        assert signature[:6] not in shown
        assert KEY[:6] not in shown


@given(st.binary(max_size=300), st.integers(200, 599), st.text(max_size=20))
def test_nothing_that_comes_can_break_it(body: bytes, status: int, header: str) -> None:
    verdict(body, status, retry_after=header, location=header, x_bapi_limit=header)


# What is tried again


def step(kind: Kind, **more: object) -> Step:
    given = {"repeatable": True, "attempts": 1, "retries": 3, "measured": False, **more}
    return next_step(Failure(kind), **given)


@pytest.mark.parametrize(
    ("kind", "repeatable", "other"),
    [
        (Kind.UNSENT, Step.BACK_OFF, Step.GIVE_UP),
        (Kind.LOST, Step.BACK_OFF, Step.GIVE_UP),
        (Kind.SERVER, Step.BACK_OFF, Step.GIVE_UP),
        (Kind.LIMITED, Step.AWAIT_BUDGET, Step.AWAIT_BUDGET),
        (Kind.CLOCK, Step.MEASURE_CLOCK, Step.MEASURE_CLOCK),
        (Kind.BANNED, Step.GIVE_UP, Step.GIVE_UP),
        (Kind.REFUSED, Step.GIVE_UP, Step.GIVE_UP),
    ],
)
def test_what_follows(kind: Kind, repeatable: Step, other: Step) -> None:
    assert step(kind) is repeatable
    assert step(kind, repeatable=False) is other
    assert step(kind, attempts=4) is Step.GIVE_UP
    assert step(kind, retries=0) is Step.GIVE_UP


@given(
    st.sampled_from(Kind),
    st.integers(1, 30),
    st.integers(0, 20),
    st.booleans(),
    st.booleans(),
)
def test_nothing_is_carried_out_twice(
    kind: Kind, attempts: int, retries: int, measured: bool, lasting: bool
) -> None:
    failed = Failure(kind, lasting=lasting)
    follows = next_step(
        failed, repeatable=False, attempts=attempts, retries=retries, measured=measured
    )
    assert follows is Step.GIVE_UP or not failed.may_be_done
    assert follows is Step.GIVE_UP or (attempts <= retries and not lasting)


def test_the_clock_is_measured_once() -> None:
    assert step(Kind.CLOCK, measured=True) is Step.GIVE_UP


def test_errors_can_be_raised_again() -> None:
    for made in (
        Failure(Kind.REFUSED, ret_code=1, ret_msg="no"),
        Failure(Kind.SERVER, "HTTP 500", status=500),
        Failure(Kind.LOST, "silence"),
    ):
        error = made.error("GET /x", uncertain=True, retry_after=3.0)
        twin = error.again()
        assert (type(twin), str(twin), vars(twin)) == (type(error), str(error), vars(error))
        assert (error.call, error.uncertain, error.retry_after) == ("GET /x", True, 3.0)
