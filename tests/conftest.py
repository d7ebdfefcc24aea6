"""Fixtures of all tests: nothing may be left behind."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from bybit_copyws.sandbox import Sandbox

# The plugin is turned off in setup.cfg and loaded from here: found by pytest itself, it would be
# imported before coverage begins to measure.
pytest_plugins = ["bybit_copyws.pytest_plugin", "pytester"]

# How long a machine takes to draw an example says nothing about what is tested.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

_DESCRIPTORS = Path("/proc/self/fd")


def eventually(predicate: Callable[[], bool], deadline: float = 5.0) -> bool:
    """Wait until something is true; return whether it became so within ``deadline`` seconds."""
    end = time.monotonic() + deadline
    while not predicate():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def _threads() -> set[threading.Thread]:
    ours = "bybit-copyws"
    return {thread for thread in threading.enumerate() if thread.name.startswith(ours)}


def _sockets() -> int:
    """Count the open sockets of the process, where the system shows them."""
    if not _DESCRIPTORS.exists():
        return 0
    count = 0
    for link in _DESCRIPTORS.iterdir():
        try:
            count += str(link.readlink()).startswith("socket:")
        except OSError:
            continue
    return count


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Fail a test that leaves a thread or a socket of ours behind."""
    threads, sockets = _threads(), _sockets()
    yield
    assert eventually(lambda: _threads() <= threads), f"left running: {_threads() - threads}"
    if _sockets() > sockets:
        gc.collect()
        assert eventually(lambda: _sockets() <= sockets), "a socket was left open"


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., bool]:
    return eventually


@pytest.fixture
def quiet() -> Iterator[Sandbox]:
    """An exchange that sends only what it is told to."""
    with Sandbox(seed=1, market=False, trading=False) as exchange:
        yield exchange
