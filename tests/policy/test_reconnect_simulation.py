"""Days of reconnecting in a moment: sessions, backoff and budget against a clock of our own."""

from __future__ import annotations

import heapq
import random
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit_copyws.errors import ConnectionLost
from bybit_copyws.events import BudgetExhausted, State, StateChanged
from bybit_copyws.policy.backoff import Backoff
from bybit_copyws.policy.budget import ConnectionBudget
from bybit_copyws.policy.instant import Instant
from bybit_copyws.policy.session import Session, SessionSettings
from bybit_copyws.wire.profiles import V5
from bybit_copyws.wire.topics import Scope

HOST = "stream.bybit.com"
DAY = 86_400.0
WALL = 1_700_000_000.0
GONE = ConnectionLost("the link is gone")
QUICK = Backoff(base=0.1, cap=0.1)
START = 10_000.0


class Client:
    """What a stream does in its run thread, without the thread."""

    def __init__(
        self, name: str, world: World, backoff: Backoff, lifetime: Callable[[], float | None]
    ) -> None:
        self.name = name
        self.world = world
        self.lifetime = lifetime
        self.opened: list[float] = []
        self.lost_at = START
        self.downtimes: list[float] = []
        self.told: list[tuple[float, float]] = []  # when, until
        self.asked = 0
        rng = random.Random(name)
        self.session = Session(Scope.PUBLIC, V5, SessionSettings(backoff=backoff), None, rng)
        self.session.registry.add([V5.topics.parse("tickers.AUSDT")], print)

    def attempt(self, now: Instant) -> None:
        """As ``Stream._next_attempt``, then the link at once."""
        session, world = self.session, self.world
        if session.state not in (State.IDLE, State.BACKOFF):
            return
        if session.state is State.BACKOFF and now.mono < session.retry_at:
            world.at(session.retry_at, self.attempt)
            return
        self.asked += 1
        who = self.name if world.queued else ""
        wait = world.budget.take(HOST, now.mono, who)
        if wait > 0:
            session.budget_spent(now, HOST, wait)
            self._note(now)
            world.at(now.mono + wait, self.attempt)
            return
        session.connecting(now)
        session.opened(now)
        self._note(now)
        assert session.state is State.ACTIVE
        world.connected.append(now.mono)
        self.opened.append(now.mono)
        self.downtimes.append(now.mono - self.lost_at)
        lifetime = self.lifetime()
        if lifetime is not None:
            world.at(now.mono + lifetime, self.lose)

    def lose(self, now: Instant) -> None:
        """As ``Stream._ended``."""
        if self.session.state is State.ACTIVE:
            self.session.ended(now, GONE, self.world.budget.headroom(HOST, now.mono), None)
            self._note(now)
            self.lost_at = now.mono
            self.world.at(self.session.retry_at, self.attempt)

    def _note(self, now: Instant) -> None:
        self.session.take_outgoing()
        for event in self.session.take_events():
            if isinstance(event, BudgetExhausted):
                self.told.append((now.mono, event.until - WALL))
            else:
                assert isinstance(event, StateChanged)


class World:
    """Time, and what happens in it; who has the same moment comes in any order."""

    def __init__(self, budget: ConnectionBudget, *, queued: bool = True, seed: int = 1) -> None:
        self.budget = budget
        self.queued = queued
        self.connected: list[float] = []
        self.rng = random.Random(seed)
        self._agenda: list[tuple[float, float, int, Callable[[Instant], None]]] = []
        self._number = 0

    def at(self, when: float, do: Callable[[Instant], None]) -> None:
        self._number += 1
        heapq.heappush(self._agenda, (when, self.rng.random(), self._number, do))

    def run(self, until: float) -> None:
        while self._agenda and self._agenda[0][0] <= until:
            when, _, _, do = heapq.heappop(self._agenda)
            do(Instant(when, WALL + when))

    def clients(
        self, count: int, backoff: Backoff, lifetime: Callable[[], float | None], name: str = "c"
    ) -> list[Client]:
        made = [Client(f"{name}{number}", self, backoff, lifetime) for number in range(count)]
        for each in made:
            self.at(START, each.attempt)
        return made

    def most_in_a_window(self) -> int:
        """Return the most connections in any window of the budget, open at its begin."""
        window: deque[float] = deque()
        most = 0
        for at in self.connected:
            window.append(at)
            while window[0] + self.budget.seconds <= at:
                window.popleft()
            most = max(most, len(window))
        return most


def forever() -> None:
    """How long a good link lives."""


def briefly() -> float:
    """How long a link lives of a server that dies at once."""
    return 0.05


def told_rightly(client: Client, end: float) -> bool:
    """Return whether each event named the moment at which the next link was opened."""
    for at, until in client.told:
        later = client.opened[bisect_right(client.opened, at) :]
        if not (later and abs(until - later[0]) < 1e-3) and until <= end:
            return False
    return True


# A server that dies every 50 ms, for a day


def test_a_day_of_a_dying_server_at_the_rate_that_the_budget_allows() -> None:
    world = World(ConnectionBudget(100, 300))
    (client,) = world.clients(1, QUICK, briefly)
    world.run(START + DAY)
    assert world.most_in_a_window() == 100
    windows = Counter(int((at - START) // 300) for at in world.connected)
    assert {windows[number] for number in range(int(DAY / 300))} == {100}
    # Told once for each wait, with the moment at which the next attempt did begin.
    assert client.asked == len(client.opened) + len(client.told)
    assert len(client.told) > 20_000
    assert told_rightly(client, START + DAY)


def test_a_day_of_a_dying_server_with_the_default_backoff_never_gets_near_the_limit() -> None:
    world = World(ConnectionBudget())
    (client,) = world.clients(1, Backoff(), briefly)
    world.run(START + DAY)
    assert world.most_in_a_window() < 50
    assert client.told == []
    assert 0.9 * DAY / 15 < len(client.opened) < 1.1 * DAY / 15  # half of the cap, on average
    assert max(client.downtimes) <= 30


def test_a_day_of_a_dying_server_and_twenty_clients_shares_the_budget_evenly() -> None:
    world = World(ConnectionBudget())
    clients = world.clients(20, Backoff(), briefly)
    world.run(START + DAY)
    assert world.most_in_a_window() == 100
    assert len(world.connected) > 0.99 * 100 * DAY / 300
    counts = [len(each.opened) for each in clients]
    assert min(counts) > 0.95 * max(counts)
    assert max(max(each.downtimes) for each in clients) <= 300 + 30
    assert all(told_rightly(each, START + DAY) for each in clients)


# Fifty clients that lose a good link at the same moment


@pytest.mark.parametrize(
    ("limit", "rounds"), [(500, 1), (100, 1), (60, 1), (50, 1), (49, 2), (20, 3), (5, 10), (1, 50)]
)
@pytest.mark.parametrize("queued", [True, False])
def test_all_are_back_as_soon_as_the_budget_allows(limit: int, rounds: int, queued: bool) -> None:
    world = World(ConnectionBudget(limit, 300), queued=queued)
    clients = world.clients(50, Backoff(), forever)
    lost = START + 20_000
    world.run(lost)
    assert len(world.connected) == 50
    for each in clients:
        world.at(lost, each.lose)
    world.run(lost + 20_000)
    back = sorted(each.opened[-1] - lost for each in clients)
    assert len(world.connected) == 100
    assert back[-1] <= 300 * (rounds - 1) + 1  # the second is the jitter of the first wait
    assert world.most_in_a_window() <= limit
    if queued:
        assert all(told_rightly(each, lost + 20_000) for each in clients)
        assert max(len(each.told) for each in clients) <= 2  # once at the start, once here
        assert sum(each.asked for each in clients) <= 100 + sum(len(each.told) for each in clients)


def test_jitter_spreads_those_for_whom_half_of_the_budget_is_not_enough() -> None:
    world = World(ConnectionBudget(60, 300))
    clients = world.clients(50, Backoff(), forever)
    world.run(START + 1_000)
    for each in clients:
        world.at(START + 1_000, each.lose)
    world.run(START + 2_000)
    back = Counter(round(each.opened[-1] - START - 1_000, 2) for each in clients)
    at_once = back.pop(0.0)
    assert 30 <= at_once < 45
    assert max(back) <= 1.0
    assert max(back.values()) <= 3


# One with a good link among those that try without a pause


@pytest.mark.parametrize("seed", range(3))
def test_nobody_is_passed_by_those_who_try_more_often(seed: int) -> None:
    world = World(ConnectionBudget(10, 300), seed=seed)
    (good,) = world.clients(1, Backoff(), forever, "good")
    world.run(START)
    greedy = world.clients(49, QUICK, briefly, "greedy")
    world.run(START + 1_000)
    world.at(START + 1_000, good.lose)
    world.run(START + 10_000)
    assert len(good.opened) == 2
    assert good.downtimes[-1] <= 5 * 300  # 49 in front of it, ten at a time
    assert len(good.told) == 1
    assert told_rightly(good, START + 10_000)
    assert max(max(each.downtimes) for each in greedy) <= 5 * 300 + 1
    assert world.most_in_a_window() == 10


# Any schedule


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(1, 8),
    seconds=st.floats(0.5, 60),
    backoff=st.sampled_from([QUICK, Backoff(), Backoff(base=5, cap=5, good_after=0)]),
    lifetimes=st.lists(
        st.lists(st.none() | st.floats(0, 40), min_size=1, max_size=6), min_size=1, max_size=6
    ),
    losses=st.lists(st.tuples(st.floats(0, 200), st.integers(0, 5)), max_size=30),
    queued=st.booleans(),
)
def test_no_schedule_of_losses_breaks_a_window(
    limit: int,
    seconds: float,
    backoff: Backoff,
    lifetimes: list[list[float | None]],
    losses: list[tuple[float, int]],
    queued: bool,
) -> None:
    world = World(ConnectionBudget(limit, seconds), queued=queued)
    clients = []
    for number, lives in enumerate(lifetimes):
        rest = iter(lives)
        clients += world.clients(1, backoff, lambda rest=rest: next(rest, None), f"c{number}")
    for at, which in losses:
        world.at(START + at, clients[which % len(clients)].lose)
    world.run(START + 50_000)
    assert world.most_in_a_window() <= limit
    assert all(each.session.state is State.ACTIVE for each in clients)  # nobody is forgotten
    if queued:
        assert all(told_rightly(each, START + 50_000) for each in clients)
