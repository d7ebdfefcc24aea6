"""An account that follows the sandbox's own through cuts, late answers and failures.

A few seeds of what ``tests/long_accounts.py`` does a thousand times.
"""

from __future__ import annotations

import pytest
from simulated import Run

SEEDS = 20


@pytest.mark.parametrize("profile", ["v3", "v5"])
def test_the_views_equal_the_exchanges_own(profile: str) -> None:
    sources: set[str] = set()
    compared = 0
    for seed in range(SEEDS):
        run = Run(profile, seed)
        run.go(100)
        sources |= set(run.follower.sources)
        compared += run.compared
    assert sources == {"stream", "snapshot", "reconcile"}
    assert compared > 2 * SEEDS  # not only at the end
