"""The plugin, as a user's own test suite finds it."""

from __future__ import annotations

import pytest

from bybit_copyws.sandbox import Sandbox

SUITE = """
    import pytest

    def test_seed(bybit_sandbox):
        assert bybit_sandbox._options.seed == {seed}
        assert bybit_sandbox.url.startswith("ws://127.0.0.1:")

    @pytest.mark.bybit_sandbox(speed=0, trading=False, seed=9)
    def test_options(bybit_sandbox):
        bybit_sandbox.step(1)
        assert bybit_sandbox._options.seed == 9
"""


@pytest.mark.parametrize(("arguments", "seed"), [((), 1), (("--bybit-seed", "7"), 7)])
def test_a_suite_gets_an_exchange_of_its_own(
    pytester: pytest.Pytester, arguments: tuple[str, ...], seed: int
) -> None:
    pytester.makepyfile(SUITE.format(seed=seed))
    result = pytester.runpytest(*arguments)
    result.assert_outcomes(passed=2)


def test_the_fixture_is_here_too(bybit_sandbox: Sandbox) -> None:
    assert bybit_sandbox.accepted == 0
