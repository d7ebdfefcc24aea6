"""Any lag, any cut, any loss: a user gets the truth, or is told where something is missing."""

import random

import pytest
from fake_lines import KINDS, Rig
from hypothesis import given, settings
from hypothesis import strategies as st

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["publish", "publish", "deliver", "deliver", "deliver", "join", "cut", "lose", "settle"]
        ),
        st.integers(0, 3),
        st.integers(1, 4),
    ),
    max_size=60,
)


def play(rig, steps, lines=3, keep=False):
    """Let a script happen; ``keep`` leaves out what would end or harm the last covered line."""
    rig.truth.publish()
    rig.join()
    for op, which, amount in steps:
        numbers = list(rig.lines)
        if op == "publish":
            for _ in range(amount):
                rig.truth.publish()
        elif op == "join":
            if len(numbers) < lines:
                rig.join()
        elif op == "settle":
            rig.settle()
        elif numbers:
            number = numbers[which % len(numbers)]
            if op == "deliver":
                rig.deliver(number, amount)
            elif not keep or set(rig.covered()) - {number}:
                getattr(rig, op)(number)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), steps=STEPS)
def test_nothing_is_missing_while_a_line_carries_the_topic(kind, seed, steps):
    rig = Rig(kind, random.Random(seed))
    play(rig, steps, keep=True)
    rig.settle()
    assert rig.holes == 0


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), steps=STEPS)
def test_what_is_missing_lies_before_a_hole(kind, seed, steps):
    rig = Rig(kind, random.Random(seed))
    play(rig, steps)
    rig.settle()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), steps=STEPS, held=st.integers(0, 6), more=st.integers(0, 6))
def test_with_little_memory_nothing_is_missing_or_repeated_in_silence(
    kind, seed, steps, held, more
):
    rig = Rig(kind, random.Random(seed), exact=False, max_held=held, remembered=1 + held + more)
    play(rig, steps)
    rig.settle()
