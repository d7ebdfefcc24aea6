"""The two threads of a connection, on a stream that only counts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import pytest

from bybit_copyws.stream import stepped
from bybit_copyws.stream.heartbeat import Heartbeat
from bybit_copyws.stream.supervisor import Supervisor

PATIENCE = 5.0
SHORT = 0.05
NEVER = 600.0


class Script:
    """A stream that gives the waits it was made with, then the end."""

    def __init__(self, *waits: float) -> None:
        self.waits = list(waits)
        self.calls: list[str] = []
        self.threads: set[str] = set()

    def _next(self, call: str) -> float | None:
        self.threads.add(threading.current_thread().name)
        self.calls.append(call)
        return self.waits.pop(0) if self.waits else None

    def beat(self) -> float | None:
        return self._next("beat")

    def next_attempt(self) -> float | None:
        return self._next("ask")

    def run_link(self) -> None:
        self.calls.append("run")


# The heartbeat


def test_the_heartbeat_ends_when_the_stream_says_so() -> None:
    stream = Script(0.0, 0.0)
    heartbeat = Heartbeat("test:heartbeat", stream)
    assert [heartbeat.step(), heartbeat.step(), heartbeat.step()] == [True, True, False]
    assert stream.calls == ["beat"] * 3


def test_the_heartbeat_waits_as_long_as_the_stream_says() -> None:
    heartbeat = Heartbeat("test:heartbeat", Script(SHORT))
    started = time.monotonic()
    assert heartbeat.step()
    assert SHORT * 0.9 < time.monotonic() - started < PATIENCE


def test_a_wake_lets_the_next_beat_come_at_once_and_only_that() -> None:
    heartbeat = Heartbeat("test:heartbeat", Script(NEVER, SHORT))
    heartbeat.wake()
    heartbeat.wake()
    assert heartbeat.step()
    started = time.monotonic()
    assert heartbeat.step()
    assert time.monotonic() - started > SHORT * 0.9


def test_the_thread_of_the_heartbeat_beats_until_the_end(eventually: Callable[..., bool]) -> None:
    stream = Script(0.0, 0.0, NEVER)
    heartbeat = Heartbeat("bybit-copyws:test:heartbeat", stream)
    heartbeat.start()
    assert eventually(lambda: len(stream.calls) == 3)
    assert heartbeat.thread.daemon
    heartbeat.wake()
    heartbeat.thread.join(PATIENCE)
    assert not heartbeat.thread.is_alive()
    assert stream.calls == ["beat"] * 4
    assert stream.threads == {"bybit-copyws:test:heartbeat"}


def test_a_heartbeat_that_fails_is_loud(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        beats, ended = 0, 0

        def beat(self) -> float | None:
            self.beats += 1
            if self.beats == 1:
                raise ZeroDivisionError
            return None

        def end(self) -> None:
            self.ended += 1

    monkeypatch.setattr(stepped, "AFTER_A_BUG", 0.01)
    broken = Broken()
    heartbeat = Heartbeat("bybit-copyws:test:heartbeat", broken)
    heartbeat.start()
    heartbeat.thread.join(PATIENCE)
    assert (broken.beats, broken.ended) == (2, 1)  # the link ends, the heartbeat goes on
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "heartbeat failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


# The supervisor


def test_the_supervisor_runs_a_link_when_its_time_has_come() -> None:
    stream = Script(0.0, 0.0)
    supervisor = Supervisor("test:run", stream)
    assert [supervisor.step(), supervisor.step(), supervisor.step()] == [True, True, False]
    assert stream.calls == ["ask", "run", "ask", "run", "ask"]


def test_the_supervisor_waits_before_an_attempt_that_is_not_due() -> None:
    stream = Script(SHORT, 0.0)
    supervisor = Supervisor("test:run", stream)
    started = time.monotonic()
    assert supervisor.step()
    assert SHORT * 0.9 < time.monotonic() - started < PATIENCE
    assert stream.calls == ["ask"]
    assert supervisor.step()
    assert stream.calls == ["ask", "ask", "run"]


def test_a_wake_ends_one_wait_of_the_supervisor() -> None:
    stream = Script(NEVER, SHORT)
    supervisor = Supervisor("test:run", stream)
    supervisor.wake()
    assert supervisor.step()
    started = time.monotonic()
    assert supervisor.step()
    assert time.monotonic() - started > SHORT * 0.9
    assert stream.calls == ["ask", "ask"]


def test_the_thread_of_the_supervisor_runs_until_the_end(eventually: Callable[..., bool]) -> None:
    stream = Script(0.0, NEVER)
    supervisor = Supervisor("bybit-copyws:test:run", stream)
    supervisor.start()
    assert eventually(lambda: len(stream.calls) == 3)
    assert supervisor.thread.daemon
    supervisor.wake()
    supervisor.thread.join(PATIENCE)
    assert not supervisor.thread.is_alive()
    assert stream.calls == ["ask", "run", "ask", "ask"]
    assert stream.threads == {"bybit-copyws:test:run"}


def test_a_supervisor_that_fails_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        asked = 0
        bugs: list[Exception]

        def next_attempt(self) -> float | None:
            self.asked += 1
            if self.asked == 1:
                raise ZeroDivisionError
            return None

        def run_link(self) -> None:
            raise AssertionError

        def recover(self, bug: Exception) -> None:
            self.bugs = [bug]

    monkeypatch.setattr(stepped, "AFTER_A_BUG", 0.01)
    broken = Broken()
    supervisor = Supervisor("bybit-copyws:test:run", broken)
    supervisor.start()
    supervisor.thread.join(PATIENCE)
    assert not supervisor.thread.is_alive()
    assert broken.asked == 2
    assert [type(bug) for bug in broken.bugs] == [ZeroDivisionError]


def test_an_abandoned_heartbeat_ends_without_a_beat() -> None:
    stream = Script(NEVER)
    heartbeat = Heartbeat("bybit-copyws:test:heartbeat", stream)
    heartbeat.start()
    heartbeat.abandon()
    heartbeat.thread.join(PATIENCE)
    assert not heartbeat.thread.is_alive()
