"""A pytest plugin: the fixture ``bybit_sandbox``, a fresh local exchange for each test.

Found by pytest itself once the package is installed; needs the extra ``sandbox`` when used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from bybit_copyws.sandbox import Sandbox


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--bybit-seed``."""
    parser.getgroup("bybit_copyws").addoption(
        "--bybit-seed",
        type=int,
        default=1,
        help="seed of the fixture bybit_sandbox: prices and the account's doings (default 1)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "bybit_sandbox(**options): options of the Sandbox that the fixture bybit_sandbox makes",
    )


@pytest.fixture
def bybit_sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Return a running local exchange; the marker of the same name gives it options.

    ::

        @pytest.mark.bybit_sandbox(trading=False, speed=0)
        def test_my_bot(bybit_sandbox):
            ...
    """
    from bybit_copyws.sandbox import Sandbox  # noqa: PLC0415 (needs an extra)

    options: dict[str, Any] = {}
    # From the module over the class to the test: the nearest wins, option by option.
    for marker in reversed(list(request.node.iter_markers("bybit_sandbox"))):
        if marker.args:
            raise pytest.UsageError(
                f"the marker bybit_sandbox takes options by name, such as seed=7, not {marker.args}"
            )
        options.update(marker.kwargs)
    options.setdefault("seed", request.config.getoption("--bybit-seed"))
    with Sandbox(**options) as exchange:
        yield exchange
