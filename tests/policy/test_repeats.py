"""When to ask again for a snapshot that does not come, or does not help."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws.policy.repeats import Repeats

BEGIN = 1_000.0  # seconds, of any monotonic clock


def asked(repeats: Repeats, until: float, step: float = 0.5) -> list[float]:
    """Return when a question left, if there is a reason for one all the time."""
    times = [BEGIN + number * step for number in range(int(until / step))]
    return [now - BEGIN for now in times if repeats.ask(now)]


def test_the_first_three_leave_at_once() -> None:
    repeats = Repeats()
    assert [repeats.ask(BEGIN) for _ in range(5)] == [True, True, True, False, False]


def test_the_later_ones_leave_at_growing_intervals() -> None:
    # Three, and then 1, 2, 4, 8, 16, 30, 30 seconds after the one before.
    assert asked(Repeats(), 95) == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 62.0, 92.0]


def test_it_goes_on_for_an_hour_at_the_longest_interval() -> None:
    times = asked(Repeats(), 3_600)
    intervals = [later - earlier for earlier, later in pairwise(times)]
    assert max(intervals) == 30.0
    assert set(intervals[8:]) == {30.0}


def test_the_first_question_of_all_leaves_whatever_the_clock_says() -> None:
    """A monotonic clock may begin at 0."""
    assert Repeats().ask(0.0)
    assert Repeats().again(0.0)
    assert Repeats().ask(1e9)


def test_after_a_minute_without_a_question_all_is_forgotten() -> None:
    repeats = Repeats()
    last = BEGIN + asked(repeats, 10)[-1]
    assert not repeats.ask(last + 5)
    assert [repeats.ask(last + 60.0) for _ in range(4)] == [True, True, True, False]


def test_a_question_that_was_not_allowed_is_none() -> None:
    """It counts neither for the interval nor for the calm."""
    repeats = Repeats()
    for _ in range(3):
        repeats.ask(BEGIN)
    for tenth in range(1, 10):
        assert not repeats.ask(BEGIN + tenth / 10)
    assert repeats.ask(BEGIN + 1.0)
    assert not repeats.ask(BEGIN + 2.9)
    assert repeats.ask(BEGIN + 3.0)


def test_an_answer_that_does_not_come_is_asked_for_after_a_second() -> None:
    repeats = Repeats()
    assert repeats.ask(BEGIN)
    assert not repeats.again(BEGIN)
    assert not repeats.again(BEGIN + 0.9)
    assert repeats.again(BEGIN + 1.0)
    assert not repeats.again(BEGIN + 1.5)
    assert repeats.ask(BEGIN + 1.5)  # a new reason needs not wait


def test_asking_again_keeps_to_the_intervals() -> None:
    repeats = Repeats()
    for _ in range(4):
        repeats.ask(BEGIN)
    repeats.ask(BEGIN + 1.0)  # the fourth; the next one 2 s later
    assert not repeats.again(BEGIN + 2.5)
    assert repeats.again(BEGIN + 3.0)


@given(
    st.lists(st.tuples(st.floats(0.0, 90.0), st.booleans()), max_size=100),
)
def test_there_are_never_more_than_three_in_a_second(waits: list[tuple[float, bool]]) -> None:
    repeats, now = Repeats(), BEGIN
    times: list[float] = []
    for wait, again in waits:
        now += wait / 10 if wait < 45 else wait
        if repeats.again(now) if again else repeats.ask(now):
            times.append(now)
    for first, fourth in zip(times, times[3:], strict=False):
        assert fourth - first >= 1.0 - 1e-6


def test_it_goes_on_however_often_it_was_asked() -> None:
    repeats, now = Repeats(), 0.0
    for _ in range(2_000):
        now += 30.0
        assert repeats.ask(now)
