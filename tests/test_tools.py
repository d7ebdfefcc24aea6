"""The command line, as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest
from proxies import RelayingProxy

from bybit_copyws.sandbox import Sandbox


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-m", "bybit_copyws", *arguments],
        capture_output=True,
        text=True,
        timeout=45,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("profile", ["v3", "v5"])
def test_the_demo_shows_a_cut_and_the_recovery(profile: str) -> None:
    done = run("demo", "--seconds", "6", "--profile", profile)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    assert "cutting both connections" in done.stdout
    assert "every topic delivers again" in done.stdout


def test_tail_prints_json_lines_up_to_a_count() -> None:
    with Sandbox() as exchange:
        done = run("tail", "tickers.BTCUSDT", "--url", exchange.url, "--json", "--count", "3")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["topic"] for line in lines] == ["tickers.BTCUSDT"] * 3
    assert "confirmed tickers.BTCUSDT" in done.stderr


def test_tail_goes_through_a_proxy() -> None:
    with Sandbox(seed=1) as exchange, RelayingProxy("http") as proxy:
        through = ("--url", exchange.url, "--proxy", f"http://{proxy.address}")
        done = run("tail", "tickers.BTCUSDT", *through, "--count", "1")
        assert done.returncode == 0, done.stderr
        assert len(proxy.asked) == 1


def test_tail_names_a_refused_topic() -> None:
    with Sandbox() as exchange:
        done = run("tail", "tickers.NONEUSDT", "--url", exchange.url, "--seconds", "10")
    assert done.returncode == 1
    assert "handler not found" in done.stderr


def test_tail_names_a_refused_key_and_shows_no_secret() -> None:
    with Sandbox() as exchange:
        keys = {"BYBIT_API_KEY": "CanaryKey", "BYBIT_API_SECRET": "CanarySecret"}
        done = run("tail", "copyTradeOrder", "--url", exchange.url, "--seconds", "10", **keys)
    assert done.returncode == 1
    assert "refused the authentication" in done.stderr
    assert "Canary" not in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [("tail", "nonsense"), ("tail",), (), ("tail", "order")])
def test_a_call_that_cannot_work_has_status_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).returncode == 2


def test_a_closed_pipe_is_no_traceback() -> None:
    with Sandbox() as exchange:
        command = f"{sys.executable} -m bybit_copyws tail tickers.BTCUSDT --url {exchange.url}"
        done = subprocess.run(
            f"{command} | head -n 1",
            shell=True,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert "Traceback" not in done.stderr
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("tls", [[], ["--tls"]])
def test_what_the_sandbox_says_works_literally_and_ctrl_c_ends_it(tls: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bybit_copyws", "sandbox", "--symbols", "BTCUSDT", *tls],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    text = ""
    while "Ctrl-C" not in text:
        line = process.stdout.readline()
        assert line
        text += line
    (command,) = (line for line in text.splitlines() if "bybit-copyws tail" in line)
    command = command.replace("bybit-copyws tail", f"{sys.executable} -m bybit_copyws tail")
    tail = subprocess.run(
        f"{command} --count 1", shell=True, capture_output=True, text=True, timeout=30, check=False
    )
    assert tail.returncode == 0, tail.stderr
    program = textwrap.dedent(text.partition("or from Python:\n")[2].partition("\n\n")[0])
    program = program.replace(
        "client.run_forever()", "client.start(); client.wait_until_ready(); client.close()"
    )
    subprocess.run([sys.executable, "-c", program], timeout=30, check=True)
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 0
    process.stdout.close()
