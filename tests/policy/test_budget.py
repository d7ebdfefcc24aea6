"""The queue of the connection budget, its limits and its values: plain calls."""

from __future__ import annotations

import math
import os
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.policy.budget import GRACE, ConnectionBudget


@pytest.mark.parametrize(
    "options",
    [
        {"limit": math.nan},
        {"limit": math.inf},
        {"limit": 1.5},
        {"limit": "5"},
        {"limit": -1},
        {"seconds": math.inf},
        {"seconds": "300"},
        {"seconds": -1},
    ],
)
def test_what_would_switch_the_limit_off_is_refused(options: Any) -> None:
    with pytest.raises(ConfigurationError, match="limit >= 1"):
        ConnectionBudget(**options)


def test_who_asked_first_is_served_first_and_each_is_told_its_own_turn() -> None:
    budget = ConnectionBudget(2, 10)
    assert [budget.take("host", at) for at in (0, 4)] == [0, 0]
    assert [budget.take("host", 5, who) for who in "abcd"] == [5, 9, 15, 19]
    assert [budget.take("host", 6, who) for who in "dcba"] == [18, 14, 8, 4]  # asking is free
    assert budget.take("host", 10) == 20  # the next ones that come free are spoken for
    assert budget.take("host", 10, "b") == 4
    assert budget.take("host", 10, "a") == 0
    assert budget.take("host", 14, "b") == 0
    assert budget.take("host", 20, "c") == 0
    assert budget.take("host", 24, "d") == 0


def test_a_place_is_lost_some_time_after_the_turn() -> None:
    budget = ConnectionBudget(1, 10)
    budget.take("host", 0)
    assert budget.take("host", 1, "gone") == 9
    assert budget.take("host", 10 + GRACE, "late") > 0
    assert budget.take("host", 10.1 + GRACE, "late") == 0


def test_who_waits_in_vain_costs_the_others_no_more_than_a_turn() -> None:
    budget = ConnectionBudget(10, 10)
    for at in range(10):
        budget.take("host", at)
    waits = [budget.take("host", 9, who) for who in ("gone", "a", "b")]
    assert waits == [1, 2, 3]
    assert budget.take("host", 11, "a") == 0  # two are free, one of them for who is gone
    assert budget.take("host", 12, "b") == 0
    assert budget.take("host", 12) == 0


def test_hosts_have_queues_of_their_own() -> None:
    budget = ConnectionBudget(1, 10)
    for host in "ab":
        assert budget.take(host, 0) == 0
        assert budget.take(host, 1, "who") == 9
    assert budget.take("a", 10, "who") == 0
    assert budget.take("b", 10, "other") == 10
    assert budget.take("b", 10, "who") == 0


def test_times_out_of_order_are_counted() -> None:
    """Two threads may read the clock in one order and come in the other."""
    budget = ConnectionBudget(2, 10)
    assert budget.take("host", 1.0) == 0
    assert budget.take("host", 0.5) == 0
    assert budget.take("host", 0.9) == pytest.approx(9.6)
    assert budget.take("host", 10.5) == 0
    assert budget.take("host", 10.6) == pytest.approx(0.4)


@given(
    limit=st.integers(1, 4),
    seconds=st.floats(0.1, 10),
    calls=st.lists(
        st.tuples(st.floats(0, 3), st.sampled_from(["", "a", "b", "c", "d"])), max_size=60
    ),
)
def test_any_order_of_callers_keeps_the_limit_and_every_wait_ends(
    limit: int, seconds: float, calls: list[tuple[float, str]]
) -> None:
    budget = ConnectionBudget(limit, seconds)
    now, taken = 0.0, []
    for step, who in calls:
        now += step
        wait = budget.take("host", now, who)
        assert 0 <= wait <= seconds * (2 + 4 / limit)
        if wait == 0:
            taken.append(now)
        current = [at for at in taken if at + seconds > now]
        assert len(current) <= limit
        assert budget.headroom("host", now) == pytest.approx(1 - len(current) / limit)
    # Those in front who do not come any more cost it their turns, and no more.
    for _ in range(len(calls) + 2):
        wait = budget.take("host", now, "last")
        if wait == 0:
            break
        now += max(wait, GRACE)
    assert wait == 0


def test_nothing_is_kept_of_what_is_over() -> None:
    budget = ConnectionBudget(1, 10)
    for port in range(100):
        budget.take(f"host:{port}", port)
        budget.take(f"host:{port}", port, "who")
        budget.headroom(f"other:{port}", port)
        assert len(budget._taken) <= 10
        assert len(budget._waiting) <= 10 + GRACE + 1
    budget.headroom("host", 1_000)
    assert (budget._taken, budget._waiting) == ({}, {})


def test_the_queue_is_bounded() -> None:
    budget = ConnectionBudget(1, 10)
    budget.take("host", 0)
    for number in range(2_000):
        assert budget.take("host", 0, str(number)) > 0
    assert len(budget._waiting["host"]) == 1_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_can_use_it_though_a_thread_of_the_parent_held_its_lock() -> None:
    budget = ConnectionBudget(1, 10)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with budget._lock:
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    child = os.fork()
    if not child:
        os._exit(7 if budget.take("host", 0) == 0 and budget.take("host", 1) == 9 else 1)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert budget.take("host", 0) == 0
