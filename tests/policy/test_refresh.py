"""When a list is asked for: plain calls, the time is an argument."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws.policy.backoff import Backoff
from bybit_copyws.policy.refresh import MOVES, Move, Phase, Refresh

EVERY = 600.0


def make(every: float = EVERY, seed: int = 1) -> Refresh:
    return Refresh(every, random.Random(seed))


def test_nothing_is_asked_for_until_somebody_needs_it() -> None:
    refresh = make()
    assert refresh.wait(0.0) is None
    refresh.want()
    assert refresh.wait(0.0) == 0.0


def test_a_list_is_asked_for_from_time_to_time() -> None:
    refresh = make()
    refresh.want()
    refresh.ask()
    assert refresh.wait(5.0) is None  # while it is under way
    refresh.got(10.0)
    assert refresh.wait(10.0) == EVERY
    assert refresh.wait(600.0) == 10.0
    assert refresh.wait(9999.0) == 0.0


def test_a_second_who_needs_it_changes_nothing() -> None:
    refresh = make()
    refresh.want()
    refresh.ask()
    refresh.want()
    assert refresh.phase is Phase.ASKING
    refresh.got(0.0)
    refresh.want()
    assert refresh.wait(0.0) == EVERY


def test_only_the_first_failure_in_a_row_is_worth_telling() -> None:
    refresh = make()
    refresh.want()
    told = []
    for reason in ("first", "second", "third"):
        refresh.ask()
        told.append(refresh.failed(reason, 0.0))
        assert refresh.trouble == reason
    assert told == [True, False, False]
    refresh.ask()
    refresh.got(0.0)
    assert refresh.trouble is None
    refresh.ask()
    assert refresh.failed("again", 0.0)


@given(failures=st.integers(1, 40), seed=st.integers(0, 2**32), every=st.sampled_from([0.5, 600.0]))
def test_after_a_failure_it_is_asked_for_sooner_and_ever_more_slowly(
    failures: int, seed: int, every: float
) -> None:
    refresh = make(every, seed)
    refresh.want()
    for _ in range(failures):
        refresh.ask()
        refresh.failed("no answer", 100.0)
    wait = refresh.wait(100.0)
    assert wait is not None
    assert 0.0 <= wait <= min(every, 60.0, 2.0 ** min(failures - 1, 10))


def test_waits_double() -> None:
    """With no jitter but the upper end: what the backoff allows is used."""

    class Top(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    refresh = Refresh(EVERY, Top(), Backoff(base=1.0, cap=8.0))
    refresh.want()
    waits = []
    for _ in range(6):
        refresh.ask()
        refresh.failed("no answer", 0.0)
        waits.append(refresh.wait(0.0))
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


@pytest.mark.parametrize("moves", [(), (Move.WANT,), (Move.WANT, Move.ASK)])
def test_after_the_end_nothing_is_asked_for(moves: tuple[Move, ...]) -> None:
    refresh = make()
    if Move.WANT in moves:
        refresh.want()
    if Move.ASK in moves:
        refresh.ask()
    refresh.end()
    refresh.want()
    assert refresh.wait(0.0) is None
    refresh.got(0.0)  # the answer to a question that was under way
    assert refresh.phase is Phase.ENDED
    assert refresh.wait(10**6) is None


def test_every_phase_can_end_and_no_answer_comes_unasked() -> None:
    for phase, moves in MOVES.items():
        assert moves[Move.END] is Phase.ENDED
        if phase not in (Phase.ASKING, Phase.ENDED):
            assert Move.GOT not in moves
            assert Move.FAILED not in moves
