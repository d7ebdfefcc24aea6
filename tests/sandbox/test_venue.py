"""The rules of the exchange for one connection: every reply in every dialect, by plain calls."""

from __future__ import annotations

from typing import Any

import pytest

from bybit_copyws.sandbox.venue import Connection, HandshakeRefusal, Rules, Turnstile
from bybit_copyws.wire.profiles import COPY_TRADING_V3, V5, Profile
from bybit_copyws.wire.signing import Credentials, auth_text
from bybit_copyws.wire.topics import Scope

KEYS = Credentials("TheKey", "TheSecret")
NOW = 1_700_000_000_000
PUBLIC, PRIVATE = Scope.PUBLIC, Scope.PRIVATE
ORDER = {"v3": "copyTradeOrder", "v5": "order"}


def connect(profile: Profile, scope: Scope, rules: Rules | None = None) -> Connection:
    exists = {"tickers.A", "tickers.B", "tickers.C"}.__contains__
    return Connection(profile, scope, "conn-1", KEYS, rules or Rules(), exists)


def ask(connection: Connection, op: str, *args: Any, **more: Any) -> dict[str, Any]:
    reply = connection.operate({"op": op, "args": list(args), **more}, NOW).reply
    assert reply is not None
    return reply


def log_in(connection: Connection, expires: Any = NOW + 1, **spoil: str) -> dict[str, Any]:
    keys = Credentials(spoil.get("key", "TheKey"), spoil.get("secret", "TheSecret"))
    signature = keys.sign(auth_text(expires)) if isinstance(expires, int) else "x"
    return ask(connection, "auth", keys.api_key, expires, signature)


def test_acks_of_each_socket() -> None:
    public = connect(COPY_TRADING_V3, PUBLIC)
    assert ask(public, "subscribe", "tickers.A") == {
        "success": True,
        "ret_msg": "",
        "conn_id": "conn-1",
        "req_id": "",
        "op": "subscribe",
    }
    assert ask(connect(V5, PUBLIC), "subscribe", "tickers.A", req_id="7")["req_id"] == "7"
    private = connect(COPY_TRADING_V3, PRIVATE)
    login = log_in(private)
    assert login["request"]["op"] == "auth"
    assert login["request"]["args"][:2] == ["TheKey", str(NOW + 1)]  # strings, as Bybit sends them
    assert "op" not in login
    assert ask(private, "subscribe", "copyTradeOrder")["request"] == {
        "op": "subscribe",
        "args": ["copyTradeOrder"],
    }
    v5 = connect(V5, PRIVATE)
    assert log_in(v5) == {"success": True, "ret_msg": "", "op": "auth", "conn_id": "conn-1"}
    assert ask(v5, "subscribe", "order", req_id="9")["req_id"] == "9"
    assert "req_id" not in ask(v5, "unsubscribe", "order")


def test_pongs_of_each_socket() -> None:
    for profile in (COPY_TRADING_V3, V5):
        reply = ask(connect(profile, PUBLIC), "ping")
        assert (reply["ret_msg"], reply["op"]) == ("pong", "ping")
    v3 = ask(connect(COPY_TRADING_V3, PRIVATE), "ping")
    assert v3["request"] == {"op": "ping", "args": None}
    v5 = ask(connect(V5, PRIVATE), "ping", req_id="1")
    assert v5 == {"req_id": "1", "op": "pong", "args": [str(NOW)], "conn_id": "conn-1"}


@pytest.mark.parametrize(
    ("profile", "spoil", "ret_msg"),
    [
        (COPY_TRADING_V3, {"key": "Other"}, "error:USVC1111"),
        (COPY_TRADING_V3, {"secret": "Other"}, "error:USVC1111"),
        (COPY_TRADING_V3, {"expires": NOW}, "error:request expired"),
        (COPY_TRADING_V3, {"expires": "soon"}, "error:request expired"),
        (V5, {"key": "Other"}, "API key is invalid."),
        (V5, {"secret": "Other"}, "Params Error"),
        (V5, {"expires": NOW - 1}, "Params Error"),
    ],
)
def test_a_login_is_really_checked(profile: Profile, spoil: dict[str, Any], ret_msg: str) -> None:
    connection = connect(profile, PRIVATE)
    reply = log_in(connection, **spoil)
    assert (reply["success"], reply["ret_msg"]) == (False, ret_msg)
    assert not connection.authenticated
    assert log_in(connection)["success"]


def test_a_login_may_be_refused_with_any_text() -> None:
    rules = Rules(refuse_auth=["no", "not yet"])
    connection = connect(V5, PRIVATE, rules)
    assert [log_in(connection)["ret_msg"] for _ in range(3)] == ["no", "not yet", ""]


@pytest.mark.parametrize("args", [(), ("TheKey", 1), ("a", 1, "b", 2)])
def test_a_login_of_another_shape_is_no_operation(args: tuple[Any, ...]) -> None:
    assert ask(connect(V5, PRIVATE), "auth", *args)["ret_msg"] == "error:invalid op"
    assert log_in(connect(V5, PUBLIC))["ret_msg"] == "error:invalid op"


@pytest.mark.parametrize(
    ("profile", "text"),
    [
        (COPY_TRADING_V3, "error:topic:copyTradeOrder needs auth first"),
        (V5, "Request not authorized"),
    ],
)
def test_private_topics_need_a_login(profile: Profile, text: str) -> None:
    topic = ORDER[profile.name]
    assert ask(connect(profile, PRIVATE), "subscribe", topic, "x")["ret_msg"] == text


@pytest.mark.parametrize(
    ("topics", "named"),
    [
        (("tickers.A", "none", "worse"), "error:handler not found,topic:none"),
        (("tickers.A", "tickers.B"), "error:already subscribed,topic:tickers.B"),
        (("tickers.C", "tickers.C"), "error:already subscribed,topic:tickers.C"),
        ((), "error:handler not found"),
    ],
)
def test_one_bad_topic_refuses_the_whole_frame_and_is_named(
    topics: tuple[str, ...], named: str
) -> None:
    connection = connect(V5, PUBLIC)
    ask(connection, "subscribe", "tickers.B")
    assert ask(connection, "subscribe", *topics)["ret_msg"] == named
    assert list(connection.topics) == ["tickers.B"]


def test_limits_of_topics() -> None:
    connection = connect(V5, PUBLIC, Rules(max_args=1))
    assert ask(connection, "subscribe", "tickers.A", "tickers.B")["ret_msg"] == "args size >1"
    connection = connect(V5, PUBLIC, Rules(max_args_chars=20))
    assert ask(connection, "subscribe", "tickers.A")["success"]
    assert ask(connection, "subscribe", "tickers.B")["ret_msg"] == "error:args too long"


def test_private_topics_are_known_by_their_shape() -> None:
    connection = connect(V5, PRIVATE)
    log_in(connection)
    assert ask(connection, "subscribe", "order.linear", "execution.fast")["success"]
    assert "not found" in ask(connection, "subscribe", "order.linear.x")["ret_msg"]
    assert "not found" in ask(connection, "subscribe", "tickers.A")["ret_msg"]


def test_giving_up_a_topic_says_which_was_held() -> None:
    connection = connect(V5, PUBLIC)
    ask(connection, "subscribe", "tickers.A")
    outcome = connection.operate({"op": "unsubscribe", "args": ["tickers.A", "none"]}, NOW)
    assert outcome.reply is not None
    assert outcome.reply["success"]
    assert outcome.removed == ("tickers.A",)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ([1], "Failed to decode"),
        ({"op": "nope"}, "error:invalid op"),
        ({}, "error:invalid op"),
        ({"op": "subscribe"}, "Failed to decode"),
        ({"op": "subscribe", "args": [{"op": "x"}]}, "Failed to decode"),
    ],
)
@pytest.mark.parametrize("profile", [COPY_TRADING_V3, V5])
def test_what_is_no_operation_is_refused(profile: Profile, request_: Any, text: str) -> None:
    outcome = connect(profile, PRIVATE).operate(request_, NOW)
    assert outcome.reply is not None
    assert outcome.reply["ret_msg"].startswith(text)
    assert outcome.kind == "refusal"
    assert outcome.reply.get("op", outcome.reply.get("request", {}).get("op")) == ""


def test_text_that_is_no_json_is_refused() -> None:
    reply = connect(V5, PUBLIC).undecodable().reply
    assert reply is not None
    assert "readObjectStart" in reply["ret_msg"]


def test_silent_operations_are_neither_carried_out_nor_answered() -> None:
    connection = connect(V5, PUBLIC, Rules(silent_ops={"subscribe"}, req_id=False))
    assert connection.operate({"op": "subscribe", "args": ["tickers.A"]}, NOW).reply is None
    assert not connection.topics
    assert ask(connection, "ping", req_id="1")["req_id"] == ""


def test_the_turnstile_counts_by_address_and_path() -> None:
    turnstile = Turnstile(Rules(max_connections=2, connection_window=10))

    def enter(address: str, path: str, now: float) -> bool:
        return turnstile.refusal(PUBLIC, address, path, now) is None

    assert [enter("a", "/p", 0), enter("a", "/p", 1), enter("a", "/p", 2)] == [True, True, False]
    assert enter("b", "/p", 2)
    assert enter("a", "/q", 2)
    assert enter("a", "/p", 10)  # the first one is ten seconds old
    assert not enter("a", "/p", 10)


def test_refusals_of_handshakes_are_used_up() -> None:
    rules = Rules(handshake_refusals=[HandshakeRefusal(502, times=2, scope="public")])
    turnstile = Turnstile(rules)
    found = [turnstile.refusal(PUBLIC, "a", "/p", 0.0) for _ in range(3)]
    assert [each.status if each else None for each in found] == [502, 502, None]
    rules.handshake_refusals.append(HandshakeRefusal(503, times=None))
    assert all(turnstile.refusal(PRIVATE, "a", "/p", 0.0) for _ in range(5))
