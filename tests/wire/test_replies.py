"""Replies of every dialect, and envelopes of odd pushes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws.wire.envelope import decode_object, lenient_envelope
from bybit_copyws.wire.replies import (
    Ack,
    Pong,
    explain,
    is_already_subscribed,
    lacks_login,
    may_be_expired,
    named_topic,
    read_reply,
)


@pytest.mark.parametrize(
    "reply",
    [
        {"success": True, "ret_msg": "pong", "conn_id": "c", "req_id": "", "op": "ping"},
        {
            "success": True,
            "ret_msg": "pong",
            "conn_id": "c",
            "request": {"op": "ping", "args": None},
        },
        {"args": ["1672916271846"], "op": "pong"},
        {"req_id": "x", "op": "pong", "args": ["1"], "conn_id": "c"},
        {"pong": 1672916271846},
        {"success": True, "ret_msg": "pong"},
    ],
)
def test_pongs(reply: dict[str, Any]) -> None:
    assert isinstance(read_reply(reply), Pong)


@pytest.mark.parametrize(
    ("reply", "ack"),
    [
        (
            {"success": True, "ret_msg": "", "conn_id": "c", "req_id": "", "op": "subscribe"},
            Ack("subscribe", True, args=None),
        ),
        (
            {"success": True, "ret_msg": "", "request": {"op": "subscribe", "args": ["a", "b"]}},
            Ack("subscribe", True, args=("a", "b")),
        ),
        (
            {"success": True, "ret_msg": "", "request": {"op": "auth", "args": ["k", "1", "s"]}},
            Ack("auth", True, args=None),  # its args are secrets, and tie nothing
        ),
        (
            {"success": False, "ret_msg": "Params Error", "op": "auth", "conn_id": "c"},
            Ack("auth", False, "Params Error"),
        ),
        (
            {"success": False, "ret_msg": "error:invalid op", "request": {"op": "", "args": None}},
            Ack("", False, "error:invalid op"),
        ),
        ({"success": True, "ret_msg": "subscribe", "req_id": "7", "op": "subscribe"}, None),
        ({"retCode": 0, "retMsg": "OK", "op": "auth", "connId": "c"}, None),
        ({"retCode": 10003, "retMsg": "no", "op": "auth"}, Ack("auth", False, "no")),
        ({"code": "-10009", "desc": "Invalid period!"}, None),
        ({"success": "true", "op": "subscribe"}, None),
        ({"success": 0, "op": "subscribe"}, Ack("subscribe", False)),
        (
            {
                "success": True,
                "data": {"failTopics": ["a"], "successTopics": ["b"]},
                "type": "COMMAND_RESP",
            },
            None,
        ),
    ],
)
def test_acks(reply: dict[str, Any], ack: Ack | None) -> None:
    read = read_reply(reply)
    assert isinstance(read, Ack)
    if ack is not None:
        assert read == ack
    assert "k" not in (read.args or ())


def test_facts_of_odd_acks() -> None:
    listed = read_reply({"success": True, "data": {"failTopics": ["a"]}, "type": "COMMAND_RESP"})
    assert isinstance(listed, Ack)
    assert listed.failed == ("a",)
    trade = read_reply({"retCode": 0, "retMsg": "OK", "op": "auth", "reqId": "9"})
    assert isinstance(trade, Ack)
    assert (trade.success, trade.req_id) == (True, "9")
    assert read_reply({"success": "TRUE", "op": "subscribe"}) == Ack("subscribe", True)


@pytest.mark.parametrize("reply", [{}, {"hello": 1}, {"op": "hello"}, {"request": []}])
def test_what_is_no_reply(reply: dict[str, Any]) -> None:
    assert read_reply(reply) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
_KEYS = ("op", "success", "ret_msg", "req_id", "request", "args", "data", "type", "retCode", "code")


@given(st.dictionaries(st.sampled_from(_KEYS), _JSON))
def test_no_reply_makes_the_reader_fall_over(reply: dict[str, Any]) -> None:
    read = read_reply(reply)
    assert read is None or isinstance(read, (Ack, Pong))


@pytest.mark.parametrize(
    ("ret_msg", "topic"),
    [
        ("error:handler not found,topic:orderbook.30.BTCUSDT", "orderbook.30.BTCUSDT"),
        ("error:already subscribed,topic:tickers.X", "tickers.X"),
        ("error:topic:order needs auth first", "order"),
        ("Invalid symbol :[orderbook.50.NOSUCHSYM]", "orderbook.50.NOSUCHSYM"),
        ("error:handler not found", None),
    ],
)
def test_refusals_name_their_topic(ret_msg: str, topic: str | None) -> None:
    assert named_topic(ret_msg) == topic


def test_what_refusals_mean() -> None:
    assert is_already_subscribed("error:already subscribed,topic:x")
    assert lacks_login("error:topic:order needs auth first")
    assert lacks_login("Request not authorized")
    assert may_be_expired("error:request expired")
    assert may_be_expired("Params Error")
    assert not may_be_expired("error:USVC1111")
    assert "clock" in explain("error:request expired").lower()
    assert "environment" in explain("Params Error")
    assert explain("something new") == ""


def test_a_quoted_request_is_not_shown() -> None:
    text = "Failed to decode incoming data:near ...|{secret}|..., bigger context ...|{secret}|"
    reply = read_reply({"success": False, "ret_msg": text, "op": "auth"})
    assert isinstance(reply, Ack)
    assert "secret" not in reply.ret_msg
    assert "Failed to decode" in reply.ret_msg


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"hello", "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "a JSON list"),
        (b'{"a":}', "not valid JSON"),
    ],
)
def test_what_is_no_object(payload: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        decode_object(payload)


def test_an_object_is_decoded() -> None:
    assert decode_object(b'{"a":[1]}') == {"a": [1]}


def test_an_odd_envelope_keeps_what_is_sound() -> None:
    envelope = lenient_envelope({"topic": "t", "type": 1, "ts": "x", "creationTime": 5, "data": 2})
    assert (envelope.topic, envelope.type, envelope.ts) == ("t", None, None)
    assert (envelope.creationTime, envelope.data) == (5, 2)
    sound = lenient_envelope({"type": "delta", "ts": 3, "creationTime": "x"})
    assert (sound.topic, sound.type, sound.ts, sound.creationTime) == ("", "delta", 3, None)
    with pytest.raises(ValueError, match="the topic is a int"):
        lenient_envelope({"topic": 7})
