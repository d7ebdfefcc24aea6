"""How calls are made, in a time that only waiting moves: nothing here opens a socket."""

from __future__ import annotations

from typing import Any

import pytest
from rest_tools import KEY, NOW_MS, ORDER, SECRET, ScriptedCarrier, envelope, make_caller

from bybit_copyws import ConfigurationError, ProtocolError
from bybit_copyws.errors import ApiError, HttpStatusError, RestError
from bybit_copyws.rest.caller import Caller
from bybit_copyws.rest.dialects import find_dialect
from bybit_copyws.rest.params import wire_params
from bybit_copyws.rest.replies import Reply
from bybit_copyws.rest.retries import Failure, Kind
from bybit_copyws.wire.signing import Credentials

V3 = find_dialect("v3")
LOST, UNSENT = Failure(Kind.LOST, "silence"), Failure(Kind.UNSENT, "no connection")


def ok(result: Any = None, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(200, named, envelope(result))


def refused(code: int, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(200, named, envelope(ret_code=code, ret_msg="no"))


def make(caller: Caller, name: str, **params: Any) -> Any:
    endpoint = V3.endpoint(name)
    return caller.call(endpoint, wire_params(V3, endpoint, params))


def test_the_clock_is_measured_once_and_used() -> None:
    carrier = ScriptedCarrier(ok(), ok())
    caller = make_caller(carrier)
    assert caller.server_ms() is None
    make(caller, "wallet")
    make(caller, "positions", symbol="BTCUSDT")
    assert carrier.measured == 1
    stamps = [int(each.headers["X-BAPI-TIMESTAMP"]) for each in carrier.sent]
    # Measured at 100.1 s, half way between question and answer at 100.05 s.
    assert stamps == [NOW_MS + 100_150, NOW_MS + 100_250]
    query = carrier.sent[1].target.partition("?")[2]
    text = f"{stamps[1]}{KEY}5000{query}"
    assert carrier.sent[1].headers["X-BAPI-SIGN"] == Credentials(KEY, SECRET).sign(text)


def test_public_calls_are_not_signed() -> None:
    carrier = ScriptedCarrier(ok())
    make(make_caller(carrier), "instruments")
    assert carrier.measured == 0
    assert carrier.sent[0].headers == {}


def test_a_refused_timestamp_is_measured_anew_once() -> None:
    carrier = ScriptedCarrier(refused(10002), ok({"a": 1}))
    caller = make_caller(carrier)
    # Nothing is repeatable about it, but the exchange has not looked at it.
    assert make(caller, "set_leverage", symbol="BTCUSDT", buy_leverage=2, sell_leverage=2) == {
        "a": 1
    }
    assert carrier.measured == 2
    carrier.outcomes = [refused(10002), refused(10002)]
    with pytest.raises(ApiError, match="clock") as caught:
        make(caller, "wallet")
    assert caught.value.ret_code == 10002
    assert carrier.measured == 3
    carrier.outcomes = [ok()]
    make(caller, "wallet")
    assert carrier.measured == 4  # what was refused is not believed any more


def test_replies_keep_the_clock_right() -> None:
    later = NOW_MS + 200_000
    carrier = ScriptedCarrier(Reply(200, {}, envelope(time=later)), ok())
    caller = make_caller(carrier)
    make(caller, "wallet")
    make(caller, "wallet")
    assert int(carrier.sent[1].headers["X-BAPI-TIMESTAMP"]) in range(later, later + 101)


def test_reads_are_tried_again() -> None:
    carrier = ScriptedCarrier(LOST, UNSENT, Reply(502, {}, b""), ok({"a": 1}))
    assert make(make_caller(carrier), "wallet") == {"a": 1}
    assert len(carrier.waits) == 3
    assert all(0 <= wait <= 2**place * 0.5 for place, wait in enumerate(carrier.waits))


def test_each_try_is_signed_anew() -> None:
    carrier = ScriptedCarrier(LOST, ok())
    make(make_caller(carrier), "wallet")
    first, second = carrier.sent
    assert first.headers["X-BAPI-SIGN"] != second.headers["X-BAPI-SIGN"]


def test_reads_are_given_up_in_the_end() -> None:
    carrier = ScriptedCarrier(*[LOST] * 4)
    with pytest.raises(RestError, match="silence") as caught:
        make(make_caller(carrier), "wallet")
    assert not caught.value.uncertain
    assert carrier.outcomes == []


def test_no_wait_passes_the_deadline() -> None:
    carrier = ScriptedCarrier(Reply(503, {"retry-after": "40"}, b""))
    with pytest.raises(HttpStatusError) as caught:
        make(make_caller(carrier), "wallet")
    assert caught.value.retry_after == 40.0
    assert carrier.waits == []


@pytest.mark.parametrize("failure", [LOST, Reply(500, {}, b""), Reply(200, {}, b"<html>")])
def test_a_command_is_not_sent_twice(failure: Reply | Failure) -> None:
    carrier = ScriptedCarrier(failure)
    with pytest.raises(RestError, match="not known whether") as caught:
        make(make_caller(carrier), "create_order", **ORDER)
    assert caught.value.uncertain
    assert len(carrier.sent) == 1


def test_a_command_that_never_left_is_not_uncertain() -> None:
    with pytest.raises(RestError, match="no connection") as caught:
        make(make_caller(ScriptedCarrier(UNSENT)), "create_order", **ORDER)
    assert not caught.value.uncertain


def test_an_order_with_an_id_is_sent_again_as_it_was() -> None:
    carrier = ScriptedCarrier(LOST, ok({"orderId": "1"}))
    result = make(make_caller(carrier), "create_order", **ORDER, order_link_id="mine")
    assert result == {"orderId": "1"}
    assert carrier.sent[0].body == carrier.sent[1].body


def test_uncertainty_stays() -> None:
    carrier = ScriptedCarrier(LOST, refused(110007))
    with pytest.raises(ApiError) as caught:
        make(make_caller(carrier), "create_order", **ORDER, order_link_id="mine")
    assert caught.value.uncertain


@pytest.mark.parametrize("name", ["cancel_order", "transfer"])
def test_an_id_of_something_else_allows_nothing(name: str) -> None:
    params = {
        "cancel_order": {"symbol": "BTCUSDT", "order_link_id": "mine"},
        "transfer": {
            "transfer_id": "t",
            "coin": "USDT",
            "amount": 1,
            "from_account_type": "A",
            "to_account_type": "B",
        },
    }[name]
    carrier = ScriptedCarrier(LOST)
    with pytest.raises(RestError):
        make(make_caller(carrier), name, **params)
    assert len(carrier.sent) == 1


def test_too_many_visits_are_waited_out() -> None:
    carrier = ScriptedCarrier(
        refused(10006, x_bapi_limit_reset_timestamp=str(NOW_MS + 103_000), x_bapi_limit_status="0"),
        ok({"a": 1}),
    )
    caller = make_caller(carrier, total_timeout=100.0)
    assert make(caller, "create_order", **ORDER) == {"a": 1}
    assert sum(carrier.waits) >= 2.0
    assert carrier.now >= 103.0


def test_too_many_visits_for_too_long() -> None:
    carrier = ScriptedCarrier(
        refused(10006, x_bapi_limit_reset_timestamp=str(NOW_MS + 160_000)),
    )
    with pytest.raises(ApiError, match="other programs") as caught:
        make(make_caller(carrier), "wallet")
    assert caught.value.retry_after is not None
    assert 50 < caught.value.retry_after < 60


def test_the_budget_is_kept_to_without_being_told() -> None:
    carrier = ScriptedCarrier(*[ok()] * 76, took=0.01)
    caller = make_caller(carrier, total_timeout=100.0)
    for _ in range(75):
        make(caller, "positions")
    assert carrier.waits == []
    make(caller, "positions")
    assert sum(carrier.waits) == pytest.approx(60.0, abs=1.0)


def test_a_budget_that_is_used_up_for_too_long() -> None:
    carrier = ScriptedCarrier(*[ok()] * 75, took=0.01)
    caller = make_caller(carrier)
    for _ in range(75):
        make(caller, "positions")
    with pytest.raises(RestError, match="not sent: the calls") as caught:
        make(caller, "positions")
    assert caught.value.retry_after == pytest.approx(60.0, abs=1.0)
    assert len(carrier.sent) == 75


def test_what_others_use_slows_down() -> None:
    carrier = ScriptedCarrier(ok(x_bapi_limit_status="0"), ok())
    caller = make_caller(carrier)
    make(caller, "positions")
    make(caller, "positions")
    assert sum(carrier.waits) == pytest.approx(60 / 75, abs=0.2)


def test_a_ban_is_waited_out_without_a_call() -> None:
    carrier = ScriptedCarrier(Reply(403, {}, b"access too frequent"), ok())
    caller = make_caller(carrier)
    with pytest.raises(HttpStatusError, match="access too frequent") as caught:
        make(caller, "wallet")
    assert caught.value.retry_after == pytest.approx(1800.0)
    with pytest.raises(HttpStatusError, match="not sent") as caught:
        make(caller, "instruments")
    assert caught.value.status == 403
    assert len(carrier.sent) == 1
    carrier.now += 1800.0
    make(caller, "instruments")


def test_without_a_key() -> None:
    caller = make_caller(ScriptedCarrier(ok()))
    caller._credentials = None
    with pytest.raises(ConfigurationError, match="api_key"):
        make(caller, "wallet")
    make(caller, "instruments")


def test_a_time_that_is_none() -> None:
    class Odd(ScriptedCarrier):
        def send(self, *_: Any, **__: Any) -> Any:
            return ok({"timeNano": "soon"})

    with pytest.raises(ProtocolError):
        make(make_caller(Odd()), "wallet")


def test_a_clock_that_cannot_be_measured() -> None:
    class Deaf(ScriptedCarrier):
        def send(self, *_: Any, **__: Any) -> Any:
            return UNSENT

    with pytest.raises(RestError, match=r"/v3/public/time, for the clock.: no") as raised:
        make(make_caller(Deaf()), "wallet")
    assert "/wallet/balance" in raised.value.call  # what was asked for


def test_a_client_that_is_closed() -> None:
    carrier = ScriptedCarrier()
    caller = make_caller(carrier)
    caller._stopped.set()
    with pytest.raises(RestError, match="closed"):
        make(caller, "instruments")


def test_a_forked_process(monkeypatch: pytest.MonkeyPatch) -> None:
    carrier = ScriptedCarrier()
    caller = make_caller(carrier)
    monkeypatch.setattr("os.getpid", lambda: -1)
    with pytest.raises(RestError, match="fork"):
        make(caller, "instruments")
    with pytest.raises(RestError, match="fork"):
        caller.measure_clock()
    assert carrier.measured == 0


def test_closing_ends_a_wait() -> None:
    carrier = ScriptedCarrier(LOST)
    caller = make_caller(carrier)
    caller._pause = lambda _: caller._stopped.set()
    with pytest.raises(RestError, match="closed") as caught:
        make(caller, "create_order", **ORDER, order_link_id="mine")
    assert caught.value.uncertain


def test_a_body_is_signed_as_it_is_sent() -> None:
    carrier = ScriptedCarrier(ok())
    make(make_caller(carrier), "create_order", **ORDER)
    (sent,) = carrier.sent
    text = sent.headers["X-BAPI-TIMESTAMP"] + KEY + "5000" + sent.body.decode()
    assert sent.headers["X-BAPI-SIGN"] == Credentials(KEY, SECRET).sign(text)
    assert "Canary" not in repr(sent)
