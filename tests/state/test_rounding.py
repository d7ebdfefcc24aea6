"""Rounding to steps: exact, whatever the thread's decimal context is."""

from __future__ import annotations

import decimal
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.state.rounding import exact, round_to_step

STEPS = ("0.1", "0.10", "0.01", "0.5", "0.05", "0.000005", "0.0000001", "1", "10", "1E+2", "2.5")
WAYS = ("down", "up", "nearest")
steps = st.sampled_from(STEPS).map(Decimal)
values = st.decimals(0, 10**12, allow_nan=False, allow_infinity=False, places=12)


@given(value=values, step=steps)
def test_what_is_rounded_is_the_next_multiple_of_the_step(value: Decimal, step: Decimal) -> None:
    down, up, nearest = (round_to_step(value, step, how) for how in WAYS)
    for result in (down, up, nearest):
        assert (Fraction(result) / Fraction(step)).denominator == 1
    assert down <= value <= up
    assert Fraction(up) - Fraction(down) in (0, Fraction(step))
    assert (down == up) == ((Fraction(value) / Fraction(step)).denominator == 1)
    assert nearest in (down, up)
    off = abs(Fraction(nearest) - Fraction(value))
    assert off <= Fraction(step) / 2
    if off == Fraction(step) / 2:
        assert nearest == up


@given(value=values, step=steps, how=st.sampled_from(WAYS))
def test_rounding_again_changes_nothing(value: Decimal, step: Decimal, how: Any) -> None:
    once = round_to_step(value, step, how)
    assert str(round_to_step(once, step, how)) == str(once)


@given(value=values, step=steps, how=st.sampled_from(WAYS))
def test_a_result_is_written_with_the_decimals_of_the_step(
    value: Decimal, step: Decimal, how: Any
) -> None:
    text = f"{round_to_step(value, step, how):f}"
    assert set(text) <= set("0123456789.")
    assert len(text.partition(".")[2]) == max(0, -int(step.as_tuple().exponent))


@given(value=values, step=steps, how=st.sampled_from(WAYS), places=st.integers(1, 5))
def test_the_context_of_the_thread_has_no_say(
    value: Decimal, step: Decimal, how: Any, places: int
) -> None:
    expected = round_to_step(value, step, how)
    with decimal.localcontext() as context:
        context.prec, context.rounding = places, decimal.ROUND_CEILING
        context.traps[decimal.Inexact] = True
        assert str(round_to_step(value, step, how)) == str(expected)


@pytest.mark.parametrize(
    ("value", "step", "how", "result"),
    [
        ("100.26", "0.5", "nearest", "100.5"),
        ("100.25", "0.5", "nearest", "100.5"),
        ("100.24", "0.5", "nearest", "100.0"),
        ("0.3", "0.1", "down", "0.3"),  # in floats, 0.3 / 0.1 is below 3
        ("68000.19", "0.10", "down", "68000.10"),
        ("68000.11", "0.10", "up", "68000.20"),
        ("1234", "1E+2", "up", "1300"),
        ("0", "0.1", "up", "0.0"),
    ],
)
def test_examples(value: str, step: str, how: Any, result: str) -> None:
    assert str(round_to_step(Decimal(value), Decimal(step), how)) == result


def test_an_unknown_way_to_round_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"'down', 'up', 'nearest'.*not 'half'"):
        round_to_step(Decimal(1), Decimal(1), "half")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "digits"),
    [(Decimal("1.50"), "1.50"), (7, "7"), ("0.10", "0.10"), ("1e3", "1E+3"), ("-2", "-2")],
)
def test_numbers_are_taken_with_their_digits(value: Any, digits: str) -> None:
    assert str(exact("price", value)) == digits


@pytest.mark.parametrize(
    "value",
    [
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        "nan",
        "inf",
        "",
        " 1",
        "1_000",
        "٣",
        "1,5",
        "1e999",
        "1e-999",
        10**30,
        pytest.param(10**10_000, id="giant"),
        pytest.param(-(10**10_000), id="negative giant"),
        Decimal("1e-61"),
    ],
)
def test_what_is_no_finite_number_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="price must be a finite number"):
        exact("price", value)


@pytest.mark.parametrize("value", [True, None, b"1", [1], 1 + 0j])
def test_what_is_no_number_at_all_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="Decimal, an int or a str"):
        exact("price", value)


def test_a_float_is_refused_with_the_cure() -> None:
    with pytest.raises(ConfigurationError, match=r"not float; write Decimal\('0.1'\)"):
        exact("price", 0.1)


@pytest.mark.parametrize("value", ["0e999", Decimal("0E+999999"), Decimal("-0E-999999")])
def test_nothing_is_nothing_however_it_is_written(value: Any) -> None:
    assert str(exact("price", value)) == "0"
