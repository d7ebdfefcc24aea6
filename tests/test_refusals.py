"""Refusals of every kind, through the socket: told by name, with the server's text and a cure."""

from __future__ import annotations

import queue
from typing import Any

import pytest
from exchange import held, ignore, make_client

from bybit_copyws import AuthenticationError, SubscriptionError
from bybit_copyws.events import SubscriptionRejected, UnsubscribeRejected
from bybit_copyws.sandbox import Sandbox

TRADES = "publicTrade.BTCUSDT"
LOGINS = [
    ("v3", "error:request expired", 2),
    ("v3", "error:invalid op", 1),
    ("v3", "error:USVC1111", 1),
    ("v5", "Params Error", 2),
    ("v5", "API key is invalid.", 1),
]
TOPICS = [
    f"error:handler not found,topic:{TRADES}",
    "error:handler not found",
    f"Invalid symbol :[{TRADES}]",
    "error:invalid op",
    "args size >10",
    "Failed to decode incoming data:op.CmdReq.Args: []string: not number or string",
]


@pytest.mark.parametrize(("profile", "text", "tries"), LOGINS)
def test_a_refused_login_says_what_the_exchange_said_and_what_it_means(
    quiet: Sandbox, profile: str, text: str, tries: int
) -> None:
    quiet.refuse_auth(text, times=tries)
    with make_client(quiet, profile=profile) as client:
        subscription = client.subscribe("copyTradeOrder", ignore)
        with pytest.raises(AuthenticationError) as caught:
            client.wait_until_ready(5)
        with pytest.raises(AuthenticationError):
            subscription.wait(5)
        with pytest.raises(AuthenticationError):
            client.subscribe("copyTradePosition", ignore)
    assert caught.value.ret_msg == text
    assert len(str(caught.value)) > len(text) + 20
    assert len(quiet.received) == tries


@pytest.mark.parametrize("op", ["subscribe", ""])
@pytest.mark.parametrize("text", TOPICS)
def test_a_refused_topic_is_told_with_the_text_and_what_it_means(
    quiet: Sandbox, text: str, op: str
) -> None:
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    quiet.rules.silent_ops.add("subscribe")
    with make_client(quiet) as client:
        client.listen(told.put, SubscriptionRejected)
        subscription = client.subscribe(TRADES, ignore)
        quiet.wait_for(lambda exchange: any(TRADES in each.text for each in exchange.received))
        quiet.push({"success": False, "ret_msg": text, "conn_id": "c", "req_id": "", "op": op})
        with pytest.raises(SubscriptionError) as caught:
            subscription.wait(5)
        event = told.get(timeout=5)
        assert client.health().connections["public"].state == "active"
    assert (caught.value.topics, caught.value.ret_msg) == ((TRADES,), text)
    assert (event.topics, event.ret_msg) == ((TRADES,), text)
    assert event.explanation
    assert event.explanation in str(caught.value)


def test_a_key_without_permission_for_a_topic_is_told_after_one_fresh_login(
    quiet: Sandbox,
) -> None:
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    quiet.rules.silent_ops.add("subscribe")
    refusal = {
        "success": False,
        "ret_msg": "error:topic:copyTradeOrder needs auth first",
        "conn_id": "c",
        "request": {"op": "subscribe", "args": ["copyTradeOrder"]},
    }
    with make_client(quiet) as client:
        client.listen(told.put, SubscriptionRejected)
        client.subscribe("copyTradeOrder", ignore)
        for attempt in (1, 2):
            quiet.wait_for(
                lambda exchange, n=attempt: (
                    sum('"subscribe"' in each.text for each in exchange.received) == n
                )
            )
            quiet.push(refusal, "private")
        assert told.get(timeout=5).ret_msg == refusal["ret_msg"]
    assert quiet.accepted == 2


def test_a_refused_unsubscribe_is_told_and_no_callback_runs_any_more(quiet: Sandbox) -> None:
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with make_client(quiet) as client:
        client.listen(told.put, UnsubscribeRejected)
        subscription = client.subscribe(TRADES, got.put)
        client.subscribe("tickers.BTCUSDT", got.put)
        client.wait_until_ready()
        quiet.rules.silent_ops.add("unsubscribe")
        subscription.unsubscribe()
        quiet.wait_for(lambda exchange: '"unsubscribe"' in exchange.received[-1].text)
        quiet.push({"success": False, "ret_msg": "no", "req_id": "", "op": "unsubscribe"})
        with pytest.raises(SubscriptionError, match="no"):
            subscription.wait(5)
        assert told.get(timeout=5).topics == (TRADES,)
        assert held(quiet)[TRADES] == 1
        quiet.push({"topic": TRADES, "type": "snapshot", "ts": 1, "data": []})
        quiet.push({"topic": "tickers.BTCUSDT", "type": "delta", "ts": 2, "data": {}})
        assert got.get(timeout=5).ts == 2
        assert got.empty()
