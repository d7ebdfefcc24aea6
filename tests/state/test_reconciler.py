"""Asking REST for an account, in the thread of a test: plain calls."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from desk_rig import Rig, live_rig

from bybit_copyws.errors import RestError
from bybit_copyws.policy.instant import Instant
from bybit_copyws.stream.reconciler import Reconciler


class Rest:
    """REST that answers what a rig knows, after something has happened meanwhile."""

    def __init__(self, rig: Rig) -> None:
        self.meanwhile: list[Callable[[], object]] = []
        self._rig = rig

    def exchange_ms(self) -> int:
        return self._rig.exchange_ms

    def call(self, name: str, **params: Any) -> Any:
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return self._rig._result(name, params)


class RigClock:
    """The time of a rig."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    def now(self) -> Instant:
        return self._rig.now


def fail() -> None:
    raise RestError("GET positions", "no answer")


@pytest.fixture
def rig() -> Rig:
    rig = live_rig("v3")
    rig.cut()
    rig.connect()
    return rig


def reconciler(rig: Rig, rest: Rest) -> Reconciler:
    made = Reconciler("test", rig.desk, rest, lambda: rig.wait(0), lambda: None)
    made._clock = RigClock(rig)  # type: ignore[assignment]
    return made


def test_a_success_after_failures_is_logged_once(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rest = Rest(rig)
    rest.meanwhile = [fail]
    looks = reconciler(rig, rest)
    assert looks.look() == 1.0
    assert not rig.desk.state.whole
    rig.wait(1)
    looks.look()
    assert rig.desk.state.whole
    assert [record.message[:2] for record in caplog.records] == ["! ", "= "]


def test_what_was_called_off_is_no_success(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rest = Rest(rig)
    rest.meanwhile = [fail, rig.cut]
    looks = reconciler(rig, rest)
    looks.look()
    rig.wait(1)
    looks.look()
    assert not rig.desk.state.whole
    assert "again" not in caplog.text
    rig.connect()
    rig.wait(1)
    looks.look()
    assert rig.desk.state.whole
    assert "reconciled again" in caplog.text
