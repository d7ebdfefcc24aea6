"""Tests of the example bot, with the fixture that the package brings."""

from __future__ import annotations

import queue
import random
import threading
import time
from decimal import Decimal
from typing import Any

import pytest
from follower import Follower, main

from bybit_copyws import Backoff, CopyTradingClient
from bybit_copyws.events import Blind, Sighted


def execution(number: int, quantity: str, side: str = "Buy") -> dict[str, Any]:
    return {
        "topic": "copyTradeExecution",
        "data": [
            {
                "symbol": "BTCUSDT",
                "side": side,
                "execId": f"e-{number}",
                "execQty": quantity,
                "price": "65000",
            }
        ],
    }


@pytest.fixture
def placed() -> Any:
    return queue.SimpleQueue()


def executed(exchange: Any) -> list[str]:
    """Return what the exchange's own account executed, oldest first."""
    return exchange.call(
        lambda inside: [
            each.exec_id
            for each in reversed(list(inside.account.executions))
            if each.exec_type == "Trade"
        ]
    )


@pytest.fixture
def client(bybit_sandbox: Any) -> Any:
    return CopyTradingClient(
        bybit_sandbox.api_key,
        bybit_sandbox.api_secret,
        environment=bybit_sandbox.environment,
        backoff=Backoff(good_after=0.0),
    )


@pytest.fixture
def follower(client: Any, placed: Any) -> Any:
    bot = Follower(client, lambda *order: placed.put(order), Decimal("0.5"))
    with client:
        client.wait_until_ready()
        yield bot


@pytest.mark.bybit_sandbox(trading=False)
def test_half_of_each_execution_is_mirrored(bybit_sandbox: Any, follower: Any, placed: Any) -> None:
    bybit_sandbox.push_topic(execution(1, "0.10"))
    assert placed.get(timeout=5) == ("BTCUSDT", "Buy", Decimal("0.05"))
    assert follower.mirrored == 1


@pytest.mark.usefixtures("follower")
@pytest.mark.bybit_sandbox(trading=False)
def test_what_is_too_small_is_kept(bybit_sandbox: Any, placed: Any) -> None:
    for number in (1, 2, 3):
        bybit_sandbox.push_topic(execution(number, "0.0014"))
    assert placed.get(timeout=5) == ("BTCUSDT", "Buy", Decimal("0.001"))
    assert placed.get(timeout=5) == ("BTCUSDT", "Buy", Decimal("0.001"))


@pytest.mark.usefixtures("follower")
@pytest.mark.bybit_sandbox(trading=False)
def test_an_execution_that_comes_twice_is_mirrored_once(bybit_sandbox: Any, placed: Any) -> None:
    bybit_sandbox.fault("duplicate", topic="copyTradeExecution")
    bybit_sandbox.push_topic(execution(1, "0.10"))
    bybit_sandbox.push_topic(execution(2, "0.20", "Sell"))
    assert placed.get(timeout=5) == ("BTCUSDT", "Buy", Decimal("0.05"))
    assert placed.get(timeout=5) == ("BTCUSDT", "Sell", Decimal("0.10"))


@pytest.mark.usefixtures("follower")
@pytest.mark.bybit_sandbox(trading=False)
def test_it_goes_on_after_a_disconnect(bybit_sandbox: Any, placed: Any) -> None:
    bybit_sandbox.drop(how="rst")
    bybit_sandbox.wait_for(lambda exchange: any(c.topics for c in exchange.connections))
    bybit_sandbox.push_topic(execution(1, "0.10"))
    assert placed.get(timeout=5) == ("BTCUSDT", "Buy", Decimal("0.05"))


@pytest.mark.bybit_sandbox(trading=False)
def test_while_the_leader_cannot_be_seen_nothing_is_placed(
    bybit_sandbox: Any, follower: Any, placed: Any
) -> None:
    follower.on_trust(Blind(time=0.0, connection="private", seconds=10.0, reason="test"))
    bybit_sandbox.push_topic(execution(1, "0.10"))
    bybit_sandbox.push_topic(execution(2, "0.10"))
    deadline = time.monotonic() + 5
    while follower.mirrored < 2 and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert placed.empty()
    follower.on_trust(Sighted(time=0.0, connection="private"))
    assert placed.get(timeout=5) == ("BTCUSDT", "Buy", Decimal("0.10"))


@pytest.mark.bybit_sandbox(trading=False)
def test_every_symbol_has_its_own_step(bybit_sandbox: Any, follower: Any, placed: Any) -> None:
    trade = execution(1, "0.17")
    trade["data"][0]["symbol"] = "SOLUSDT"
    bybit_sandbox.push_topic(trade)
    bybit_sandbox.push_topic(execution(2, "0.10"))
    assert placed.get(timeout=5) == ("BTCUSDT", "Buy", Decimal("0.05"))
    trade["data"][0]["execId"] = "e-3"
    bybit_sandbox.push_topic(trade)
    assert placed.get(timeout=5) == ("SOLUSDT", "Buy", Decimal("0.1"))
    assert follower.mirrored == 3


@pytest.mark.bybit_sandbox(speed=0, activity=5.0)
def test_every_execution_is_mirrored_once_through_random_disconnects(
    bybit_sandbox: Any, follower: Any, client: Any
) -> None:
    rng = random.Random(1)
    client.account.wait_for(lambda view: view.live)
    before = len(executed(bybit_sandbox))
    for _ in range(15):  # the exchange's time stands still until it is told to go on
        bybit_sandbox.step(rng.uniform(0.0, 5.0))
        bybit_sandbox.drop("private", how=rng.choice(("rst", "fin", "close")))
        bybit_sandbox.step(rng.uniform(0.0, 5.0))
        client.account.wait_for(lambda view: view.live)
    expected = executed(bybit_sandbox)[before:]
    client.account.wait_for(lambda view: len(view.executions) >= len(expected))
    deadline = time.monotonic() + 5
    while follower.mirrored < len(expected) and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert follower.mirrored == len(expected) > 20


def test_it_follows_a_leader_who_really_trades(capsys: Any) -> None:
    main(orders=3)
    out = capsys.readouterr().out
    assert out.count("mirror: ") == 3
    assert "the leader holds" in out
