"""Rows 39 to 42 and 47 of the fault matrix: clocks, suspends, forks, limits and the end.

What concerns a whole process happens in one of its own: it runs the program given here against an
exchange of this one, and its exit status and output are looked at.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from exchange import ignore, make_client
from watched import Watched

from bybit_copyws.events import Blind, ClockSkew, Sighted
from bybit_copyws.policy.instant import Instant
from bybit_copyws.sandbox import Sandbox
from bybit_copyws.stream import stream as stream_module
from bybit_copyws.stream.clock import Clock

TICKERS, ORDERS = "tickers.BTCUSDT", "copyTradeOrder"
ROOT = Path(__file__).resolve().parents[1]
PROLOGUE = """
import os, signal, sys, threading
from bybit_copyws import (
    Backoff, ConnectionBudget, CopyTradingClient, Environment, ForkedError
)
base = sys.argv[1]
environment = Environment("local", "ws" + base, "ws" + base, "http" + base)
def make(**options):
    options.setdefault("backoff", Backoff(base=0.05, cap=0.1, good_after=0.0))
    options.setdefault("connection_budget", ConnectionBudget(100_000))
    return CopyTradingClient(
        "SandboxKey0123456789", sys.argv[2], environment=environment, **options
    )
"""


def program(text: str) -> str:
    return PROLOGUE + textwrap.dedent(text)


def start(exchange: Sandbox, text: str, *options: str) -> subprocess.Popen[str]:
    """Start a program against an exchange; warnings are errors."""
    return subprocess.Popen(
        [
            sys.executable,
            "-X",
            "dev",
            "-W",
            "error",
            *options,
            "-c",
            program(text),
            exchange.url.removeprefix("ws"),
            exchange.api_secret,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def end(child: subprocess.Popen[str], text: str = "") -> tuple[str, str]:
    """Let a program end; return what it wrote.

    Raises:
        AssertionError: it does not end.
    """
    try:
        return child.communicate(text, timeout=20)
    except subprocess.TimeoutExpired:
        child.kill()
        raise AssertionError(f"it does not end: {child.communicate()}") from None


def run(exchange: Sandbox, text: str, *options: str) -> str:
    """Run a program to its end; return what it wrote.

    Raises:
        AssertionError: it failed, took long, or complained.
    """
    child = start(exchange, text, *options)
    out, err = end(child)
    assert (child.returncode, err) == (0, ""), (out, err)
    return out


@pytest.fixture
def quiet() -> Iterator[Sandbox]:
    """An exchange."""
    with Sandbox(seed=1) as exchange:
        yield exchange


# 39: the wall clock


class WrongClock(Clock):
    """The wall clock is wrong, and may be set while it runs."""

    wrong = 0.0

    def now(self) -> Instant:
        now = super().now()
        return Instant(now.mono, now.wall + self.wrong)


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0, -262.0])
def test_row_39_a_wrong_clock_costs_no_login_and_is_told(
    quiet: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., bool],
    seconds: float,
) -> None:
    monkeypatch.setattr(stream_module, "Clock", WrongClock)
    monkeypatch.setattr(WrongClock, "wrong", seconds)
    skews: list[ClockSkew] = []
    with make_client(quiet) as client:
        client.listen(skews.append, ClockSkew)
        client.subscribe(ORDERS, ignore)
        client.wait_until_ready()
        if seconds < 0:  # one that is ahead signs for longer, which nobody refuses
            assert eventually(lambda: len(skews) == 1)
            assert abs(skews[0].seconds + seconds) < 2.0


def test_row_39_a_clock_that_is_set_disturbs_nothing(
    quiet: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "Clock", WrongClock)
    with Watched(quiet, ping_interval=0.2, pong_timeout=5.0) as watched:
        watched.settle()
        for wrong in (3600.0, -3600.0, 262.0, -262.0, 0.0):
            monkeypatch.setattr(WrongClock, "wrong", wrong)
            watched.settle(5)
        assert watched.reasons == []


# 40: a suspend


def test_row_40_a_stopped_process_looks_at_its_link_when_it_goes_on(quiet: Sandbox) -> None:
    child = start(
        quiet,
        """
        from bybit_copyws.events import GapClosed, State
        closed = threading.Event()
        client = make(ping_interval=60.0, pong_timeout=1.0)
        client.listen(lambda event: closed.set(), GapClosed)
        with client:
            client.subscribe("tickers.BTCUSDT", lambda _: None)
            client.wait_until_ready()
            print("ready", flush=True)
            sys.stdin.readline()
            assert closed.wait(15), client.health()
            client.wait_until_ready()
        print("gap")
        """,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGSTOP)
    try:
        quiet.silence("public")  # the link dies meanwhile, and nobody says so
        threading.Event().wait(6.0)
    finally:
        child.send_signal(signal.SIGCONT)
    out, err = end(child, "go\n")
    assert (out, err, child.returncode) == ("gap\n", "", 0)


# 41: a fork


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_row_41_a_child_gets_a_clear_error_and_the_parent_goes_on(quiet: Sandbox) -> None:
    out = run(
        quiet,
        """
        import warnings
        warnings.filterwarnings("ignore", "This process.*is multi-threaded", DeprecationWarning)
        got = threading.Semaphore(0)
        client = make()
        with client:
            subscription = client.subscribe(
                ["tickers.BTCUSDT", "copyTradeOrder"], lambda _: got.release()
            )
            client.wait_until_ready()
            child = os.fork()
            if not child:
                calls = (
                    client.start, client.run_forever, client.health, client.wait_until_ready,
                    subscription.unsubscribe, subscription.wait, lambda: client.rest,
                    lambda: client.subscribe("tickers.ETHUSDT", print),
                    lambda: client.unsubscribe("tickers.BTCUSDT"),
                    lambda: client.listen(print),
                )
                refused = 0
                for call in calls:
                    try:
                        call()
                    except ForkedError as error:
                        refused += str(os.getppid()) in str(error)
                client.close()
                with make() as own:  # one of its own works
                    own.subscribe("tickers.BTCUSDT", lambda _: None)
                    own.wait_until_ready()
                os._exit(0 if refused == len(calls) else 1)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            while got.acquire(blocking=False):
                pass
            assert got.acquire(timeout=5), "the parent's stream has stopped"
            print(client.health().connections["public"].reconnects)
        """,
    )
    assert out == "0\n0\n"
    assert not any("ETHUSDT" in frame.text for frame in quiet.received)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_row_41_a_child_does_not_keep_the_parents_connection(
    quiet: Sandbox, eventually: Callable[..., bool]
) -> None:
    child = start(
        quiet,
        """
        import warnings
        warnings.filterwarnings("ignore", "This process.*is multi-threaded", DeprecationWarning)
        client = make()
        with client:
            client.subscribe("tickers.BTCUSDT", lambda _: None)
            client.wait_until_ready()
            pid = os.fork()
            if not pid:
                sys.stdin.readline()
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)  # so that nothing is said at the end
        """,
    )
    quiet.wait_for(lambda each: len(each.received) > 0)
    assert child.wait(10) == -signal.SIGKILL
    assert eventually(lambda: not quiet.connections)
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.communicate()


# 42: limits


def test_row_42_without_descriptors_it_says_so_and_recovers(quiet: Sandbox) -> None:
    child = start(
        quiet,
        """
        import resource
        reasons = []
        client = make()
        client.listen(lambda event: reasons.append(getattr(event, "reason", "")))
        with client:
            client.subscribe("tickers.BTCUSDT", lambda _: None)
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            client.wait_until_ready()
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            print("ready", flush=True)
            done = threading.Event()
            while not any("Too many open files" in reason for reason in reasons):
                done.wait(0.01)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            client.wait_until_ready()
        print("recovered")
        """,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    quiet.drop("public", how="rst")
    out, err = end(child)
    assert (out, err, child.returncode) == ("recovered\n", "", 0)


# 47: the end


@pytest.mark.parametrize(
    "ending",
    [
        "",  # the program ends without close()
        "del client; import gc; gc.collect()",
        "sys.exit(0)",
    ],
)
def test_row_47_a_program_ends_at_once_without_close(quiet: Sandbox, ending: str) -> None:
    out = run(
        quiet,
        f"""
        client = make()
        client.subscribe(["tickers.BTCUSDT", "copyTradeOrder"], lambda _: None)
        client.start()
        client.wait_until_ready()
        print("ready", flush=True)
        {ending}
        """,
    )
    assert out == "ready\n"


def test_row_47_ctrl_c_closes_cleanly(quiet: Sandbox) -> None:
    child = start(
        quiet,
        """
        # A program that was started in the background may have inherited that it is ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        client, first = make(), []
        def say(message):
            if not first:
                first.append(message)
                print("ready", flush=True)
        client.subscribe(["tickers.BTCUSDT", "copyTradeOrder"], say)
        client.run_forever()
        print("closed")
        """,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    out, err = end(child)
    assert (out, err, child.returncode) == ("closed\n", "", 0)


# The dead man's switch, on the wire


def test_a_bot_is_told_that_it_is_blind_and_that_it_sees_again(
    quiet: Sandbox, eventually: Callable[..., bool]
) -> None:
    told: list[object] = []
    with make_client(quiet, blind_after=0.3) as client:
        client.listen(told.append, Blind, Sighted)
        client.subscribe([TICKERS, ORDERS], ignore)
        client.wait_until_ready()
        quiet.refuse_handshakes(502, times=None)
        quiet.drop("private", how="rst")
        assert eventually(lambda: len(told) == 1)
        assert isinstance(told[0], Blind)
        assert told[0].seconds >= 0.3
        quiet.heal()
        assert eventually(lambda: len(told) == 2)
        assert isinstance(told[1], Sighted)
