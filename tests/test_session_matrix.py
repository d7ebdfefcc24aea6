"""Logins and subscriptions under faults, with the checker: rows 34 and 37 of the fault matrix.

The other rows of a session are tested where the thing they are about is: 32 in
``test_fault_matrix.py``; 33 and 35 in ``test_client.py`` and ``test_refusals.py``; 36 in
``test_client.py`` and ``policy/test_session_machine.py``; 38 in
``policy/test_reconnect_simulation.py``; 43 in ``stream/test_link.py``; 44 to 46 in
``test_faults.py`` and ``test_client.py``; 48 in ``soak/``.
"""

from __future__ import annotations

import json
import time

import pytest
from exchange import PRIVATE, PROFILES
from watched import Watched

from bybit_copyws import Backoff, ConnectionBudget
from bybit_copyws.events import BudgetExhausted, SubscriptionRejected
from bybit_copyws.sandbox import FaultProxy, Sandbox

TOPICS = ("orderbook.50.BTCUSDT", "publicTrade.BTCUSDT")


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("how", ["rst", "fin"])
def test_row_34_a_cut_anywhere_in_the_login(profile: str, direction: str, how: str) -> None:
    # Through the end of the handshake, the login and the subscription.
    offsets = range(120, 420, 31)
    with (
        Sandbox(seed=3, activity=20.0, cadence="fast") as exchange,
        FaultProxy(exchange) as proxy,
        Watched(exchange, proxy, PRIVATE, profile=profile, reply_timeout=1.0) as watched,
    ):
        rejected: list[SubscriptionRejected] = []
        watched.client.listen(rejected.append, SubscriptionRejected)
        watched.settle(5)
        for offset in offsets:
            watched.client.wait_until_ready()
            before = len(watched.reasons)
            getattr(proxy, direction).cut_at(offset, how)
            exchange.drop("private", how="rst")
            watched.wait_for(lambda n=before: len(watched.reasons) >= n + 2, f"cut at {offset}")
        watched.settle(5)
        assert rejected == []
        _check_that_logins_came_first(exchange)


def _check_that_logins_came_first(exchange: Sandbox) -> None:
    first: dict[str, str] = {}
    for frame in exchange.received:
        first.setdefault(frame.conn_id, json.loads(frame.text)["op"])
    assert set(first.values()) == {"auth"}


def test_row_37_a_server_that_dies_at_once_gets_no_storm() -> None:
    # By the wall: a fraction of a second stands for a minute of it; a simulated day is in
    # policy/test_reconnect_simulation.py.
    budget = ConnectionBudget(20, 2.0)
    with (
        Sandbox(seed=3, activity=20.0, cadence="fast") as exchange,
        Watched(
            exchange,
            topics=TOPICS,
            connection_budget=budget,
            backoff=Backoff(base=0.01, cap=0.02, good_after=0.5),
        ) as watched,
    ):
        spent: list[BudgetExhausted] = []
        watched.client.listen(spent.append, BudgetExhausted)
        watched.settle()
        before, began = exchange.accepted, time.monotonic()
        while time.monotonic() < began + 3.0:
            exchange.drop(how="rst")
            exchange.wait_for(lambda each: bool(each.connections), timeout=5.0)
        seconds = time.monotonic() - began
        assert exchange.accepted - before <= 20 * (1 + seconds / 2.0)
        assert spent != []
