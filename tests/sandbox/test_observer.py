"""A sandbox in a process of its own: watched, commanded and checked from here."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from exchange import PRIVATE, PUBLIC, make_client

from bybit_copyws import ConfigurationError, Environment
from bybit_copyws.sandbox import Checker, Observer, Sandbox


class Elsewhere:
    """What is known of an exchange in another process: what it printed."""

    def __init__(self, text: str) -> None:
        self.url = _found(r"local exchange at (\S+)", text)
        self.api_key = _found(r"throw-away key: +(\S+)", text)
        self.api_secret = _found(r"throw-away secret: +(\S+)", text)
        self.environment = Environment(
            "elsewhere", self.url, self.url, self.url.replace("ws", "http", 1)
        )
        file = re.search(r"SSL_CERT_FILE=(\S+)", text)
        self.ssl_context = ssl.create_default_context(cafile=file[1]) if file else None


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found, text
    return found[1]


@contextmanager
def elsewhere(*arguments: str) -> Iterator[Elsewhere]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bybit_copyws", "sandbox", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        text = ""
        while "Ctrl-C" not in text:
            line = process.stdout.readline()
            assert line, text
            text += line
        yield Elsewhere(text)
    finally:
        process.terminate()
        assert process.wait(10) == 0
        process.stdout.close()


def test_a_client_is_checked_against_an_exchange_elsewhere(
    eventually: Callable[..., bool],
) -> None:
    checker = Checker()
    with elsewhere("--activity", "20") as exchange:
        observer = Observer(exchange.url)
        with make_client(exchange) as client:
            client.subscribe(
                [*PUBLIC, *PRIVATE], lambda message: checker.got(message.topic, message.raw)
            )
            client.wait_until_ready()

            def matched() -> int:
                checker.sent(observer.sent_after(checker.last_number))
                return checker.report(final=False).matched

            assert eventually(lambda: matched() > 200, 20.0)
            state = observer.state()
            assert {each["scope"] for each in state["connections"]} == {"public", "private"}
            assert state["sent"] >= checker.last_number
            observer.do("drop", scope="public", how="rst")
            assert eventually(lambda: observer.state()["accepted"] == 3)
        observer.close()
    report = checker.report(final=False)
    assert [fault for fault in report.faults if "twice" in fault] == []


def test_tls_and_a_scenario_from_the_command_line(
    tmp_path: Path, eventually: Callable[..., bool]
) -> None:
    scenario = tmp_path / "bad-day.json"
    scenario.write_text(
        json.dumps([{"at": 0, "do": "refuse_handshakes", "status": 502, "times": 2}])
    )
    lost: list[str] = []
    with (
        elsewhere("--tls", "--scenario", str(scenario)) as exchange,
        make_client(exchange, ssl_context=exchange.ssl_context) as client,
    ):
        client.listen(lambda event: lost.append(getattr(event, "reason", "")))
        assert exchange.url.startswith("wss://")
        client.subscribe("tickers.BTCUSDT", lambda _: None)
        client.wait_until_ready()
        assert sum("502" in reason for reason in lost) == 2
        observer = Observer(exchange.url, exchange.ssl_context)
        assert len(observer.state()["connections"]) == 1
        observer.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1", "nonsense", "ws://"])
def test_a_url_of_no_sandbox_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="must look like"):
        Observer(url)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ({"command": "explode"}, "cannot do"),
        ({"command": "drop", "wrong": 1}, "wrong"),
        ({"command": "fault", "action": "explode"}, "action"),
    ],
)
def test_a_command_that_cannot_be_is_named(
    quiet: Sandbox, command: dict[str, Any], says: str
) -> None:
    observer = Observer(quiet.url)
    with pytest.raises(ConfigurationError, match=says):
        observer.do(**command)
    observer.close()


def test_what_is_not_kept_any_more_is_told() -> None:
    with Sandbox(market=False, trading=False, history=5) as exchange:
        with make_client(exchange) as client:
            client.subscribe("tickers.BTCUSDT", lambda _: None)
            client.wait_until_ready()
            for number in range(10):
                exchange.push({"topic": "tickers.BTCUSDT", "ts": number, "data": {}})
        observer = Observer(exchange.url)
        with pytest.raises(ConfigurationError, match="not kept any more"):
            observer.sent_after(0)
        assert len(observer.sent_after(9)) == 2
        observer.close()


def test_an_exchange_that_has_gone_is_an_error_of_the_system(quiet: Sandbox) -> None:
    observer = Observer(quiet.url)
    observer.state()
    quiet.close()
    with pytest.raises(OSError):  # noqa: PT011 (which one depends on the moment)
        observer.state()
    observer.close()


def test_tls_of_a_sandbox_is_checked(quiet: Sandbox) -> None:
    with Sandbox(tls=True, market=False, trading=False) as exchange:
        assert exchange.ca_file is not None
        written = Path(exchange.ca_file)
        assert written.exists()
        with make_client(exchange, ssl_context=exchange.ssl_context) as client:
            client.subscribe("copyTradeOrder", lambda _: None)
            client.wait_until_ready()
        with make_client(exchange) as stranger:
            stranger.subscribe("tickers.BTCUSDT", lambda _: None)
            with pytest.raises(TimeoutError):
                stranger.wait_until_ready(0.3)
    assert not written.exists()
    assert exchange.ca_file is None
