"""Long: an account equals the sandbox's own in 1,000 seeded runs of each API generation.

Random trading, the link cut at random points, what is on the way lost, answers late and failing:
positions, orders, wallet and executions are the exchange's own, and each execution is handed out
once. Not part of the ordinary run: ``python -m pytest tests/long_accounts.py`` (some minutes).
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "state"))

from simulated import Run

SEEDS = 1_000
STEPS = 150


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("profile", ["v3", "v5"])
@pytest.mark.parametrize("first", range(0, SEEDS, 100))
def test_the_views_equal_the_exchanges_own(profile: str, first: int) -> None:
    for seed in range(first, first + 100):
        run = Run(profile, seed)
        try:
            run.go(STEPS)
        except AssertionError as error:
            raise AssertionError(f"profile {profile}, seed {seed}") from error
        assert run.compared
