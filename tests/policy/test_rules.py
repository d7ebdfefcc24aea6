"""Backoff, budget, liveness, the state table, matching of replies: plain calls."""

from __future__ import annotations

import random
from collections import deque
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.events import State
from bybit_copyws.policy.backoff import Backoff
from bybit_copyws.policy.budget import ConnectionBudget
from bybit_copyws.policy.liveness import GRACE, LinkStatus, Pings, Suspicion
from bybit_copyws.policy.machine import TRANSITIONS, Signal, next_state
from bybit_copyws.policy.requests import PendingRequests, Request
from bybit_copyws.wire.replies import Ack

# Backoff


@given(attempt=st.integers(0, 10**6), headroom=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_a_wait_lies_between_nothing_and_its_cap(attempt: int, headroom: float, seed: int) -> None:
    delay = Backoff().delay(attempt, headroom, random.Random(seed))
    top = 1.0 if attempt < 2 else min(30.0, 2.0 ** min(attempt - 1, 10))
    assert 0.0 <= delay <= top
    if attempt == 0 and headroom > 0.5:
        assert delay == 0.0


def test_clients_that_lose_the_link_together_come_back_apart() -> None:
    delays = sorted(Backoff().delay(3, 1.0, random.Random(seed)) for seed in range(20))
    assert delays[-1] - delays[0] > 2.0
    assert len({round(delay, 2) for delay in delays}) > 15


@pytest.mark.parametrize(
    "options",
    [
        {"base": 0},
        {"base": 2, "cap": 1},
        {"good_after": -1},
        {"refused": -1},
        {"base": float("nan")},
    ],
)
def test_a_backoff_that_cannot_be_is_refused(options: Any) -> None:
    with pytest.raises(ConfigurationError, match="base <= cap"):
        Backoff(**options)


# Budget


@pytest.mark.parametrize("options", [{"limit": 0}, {"seconds": 0}, {"seconds": float("nan")}])
def test_a_budget_that_cannot_be_is_refused(options: Any) -> None:
    with pytest.raises(ConfigurationError, match="limit >= 1"):
        ConnectionBudget(**options)


@given(
    limit=st.integers(1, 5),
    seconds=st.integers(1, 20),
    steps=st.lists(st.integers(0, 6), max_size=80),
)
def test_no_window_ever_has_more_than_the_limit(limit: int, seconds: int, steps: list[int]) -> None:
    budget = ConnectionBudget(limit, seconds)
    taken: deque[int] = deque()
    now = 0
    for step in steps:
        now += step
        wait = budget.take("host", now)
        current = [at for at in taken if at > now - seconds]
        if wait == 0.0:
            assert len(current) < limit
            taken.append(now)
        else:
            assert wait == current[-limit] + seconds - now
        used = len([at for at in taken if at > now - seconds])
        assert budget.headroom("host", now) == pytest.approx(1 - used / limit)


def test_each_host_has_a_budget_of_its_own() -> None:
    budget = ConnectionBudget(1, 10)
    assert budget.take("a", 0) == 0
    assert budget.take("b", 0) == 0
    assert budget.take("a", 1) == 9
    assert budget.take("a", 10) == 0


# Liveness


def test_pings_keep_their_interval_and_one_answer_serves_all() -> None:
    pings = Pings(20.0, 10.0)
    assert not pings.take_due(0)
    assert pings.deadline() is None
    pings.start(0)
    assert pings.deadline() == 20
    assert not pings.take_due(19.9)
    assert pings.take_due(20)
    assert pings.deadline() == 30
    assert not pings.overdue(29.9)
    assert pings.overdue(30)
    assert pings.take_due(45)
    assert pings.overdue(45)  # counted from the first unanswered one
    pings.answered()
    assert not pings.overdue(1000)
    assert pings.deadline() == 65
    pings.stop()
    assert pings.deadline() is None


def test_a_suspicion_needs_an_idle_reader_for_a_moment() -> None:
    suspicion, idle, busy = Suspicion(), LinkStatus(), LinkStatus(idle=False, capacity=10)
    assert not suspicion.confirmed(False, idle, 0)
    assert suspicion.deadline() is None
    assert not suspicion.confirmed(True, idle, 1)
    assert suspicion.deadline() == 1 + GRACE
    assert not suspicion.confirmed(True, busy, 1 + GRACE)  # it may be reading the answer
    assert not suspicion.confirmed(True, idle, 2)
    assert suspicion.confirmed(True, idle, 2 + GRACE)
    assert not suspicion.confirmed(False, idle, 3)
    assert not suspicion.confirmed(True, idle, 4)


def test_a_suspicion_is_certain_when_all_that_could_lie_unread_was_read() -> None:
    suspicion = Suspicion()
    assert not suspicion.confirmed(True, LinkStatus(False, received=100, capacity=50), 0)
    assert not suspicion.confirmed(True, LinkStatus(False, received=149, capacity=50), 9)
    assert suspicion.confirmed(True, LinkStatus(False, received=150, capacity=50), 9)


# The state table


@pytest.mark.parametrize(("state", "signal"), list(product(State, Signal)))
def test_every_pair_is_in_the_table_or_a_bug(state: State, signal: Signal) -> None:
    if signal in TRANSITIONS[state]:
        assert next_state(state, signal) is TRANSITIONS[state][signal]
    else:
        with pytest.raises(
            ValueError, match=f"{signal.value} cannot happen in state {state.value}"
        ):
            next_state(state, signal)


def test_every_state_can_close_and_closed_is_the_end() -> None:
    for state in State:
        closing = next_state(state, Signal.CLOSE)
        assert closing in (State.CLOSING, State.CLOSED)
        assert next_state(closing, Signal.END) is State.CLOSED
    assert set(TRANSITIONS[State.CLOSED].values()) == {State.CLOSED}


# Replies and requests


def pending(*requests: Request) -> PendingRequests:
    waiting = PendingRequests()
    for request in requests:
        waiting.add(request)
    return waiting


ONE = Request("subscribe", ("a", "b"), "1", 1.0)
TWO = Request("subscribe", ("c",), "2", 2.0)
THREE = Request("unsubscribe", ("a",), "3", 3.0)


@pytest.mark.parametrize(
    ("ack", "found"),
    [
        (Ack("subscribe", True, req_id="2"), TWO),
        (Ack("subscribe", True, req_id="9"), None),
        (Ack("subscribe", True, args=("b", "a")), ONE),
        (Ack("subscribe", True, args=("a",)), None),
        (Ack("unsubscribe", True, args=("a",)), THREE),
        (Ack("subscribe", False, "error:handler not found,topic:c"), TWO),
        (Ack("subscribe", False, "error:handler not found,topic:z"), ONE),
        (Ack("subscribe", True), ONE),
        (Ack("unsubscribe", True), THREE),
        (Ack("", False, "error:invalid op"), ONE),
        (Ack("auth", True), None),
    ],
)
def test_a_reply_finds_its_request(ack: Ack, found: Request | None) -> None:
    waiting = pending(ONE, TWO, THREE)
    assert waiting.match(ack) == found
    assert waiting.oldest() == (TWO if found is ONE else ONE)
    if found is not None and (ack.req_id or ack.args):
        assert waiting.match(ack) is None  # a second answer finds nothing


def test_nothing_waits_after_the_end() -> None:
    waiting = pending(ONE)
    waiting.clear()
    assert waiting.oldest() is None
    assert waiting.match(Ack("subscribe", True)) is None
