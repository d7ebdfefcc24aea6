"""Key, secret and signatures reach no log, repr, exception, traceback, event or file."""

from __future__ import annotations

import json
import logging
import pickle
import queue
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from exchange import PROFILES, ignore, make_client

from bybit_copyws import AuthenticationError, ConfigurationError, CopyTradingClient, Environment
from bybit_copyws.sandbox import Sandbox
from bybit_copyws.wire.signing import Credentials

KEY, SECRET = "CanaryKey0123456789", "CanarySecret0123456789abcdefghijklm"


class Ears:
    """Hears everything that a user, a log file or an error reporter could."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self._heard: list[str] = []
        self.events: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def hear(self, *things: object) -> None:
        for thing in things:
            self._heard += [repr(thing), str(thing)]
            if isinstance(thing, BaseException):
                self._heard += traceback.TracebackException.from_exception(
                    thing, capture_locals=True
                ).format()

    def text(self) -> str:
        while not self.events.empty():
            self.hear(self.events.get())
        records = [repr(vars(record)) for record in self._caplog.records]
        return "\n".join([*self._heard, self._caplog.text, *records])


@pytest.fixture
def ears(caplog: pytest.LogCaptureFixture) -> Ears:
    caplog.set_level(logging.DEBUG)
    return Ears(caplog)


@pytest.fixture
def canary() -> Any:
    with Sandbox(market=False, trading=False, api_key=KEY, api_secret=SECRET) as exchange:
        yield exchange


def assert_silent(ears: Ears, exchange: Sandbox) -> None:
    """Compare what was heard with what was really sent."""
    logins = [json.loads(each.text) for each in exchange.received if '"auth"' in each.text]
    assert logins
    text = ears.text()
    assert text
    for login in logins:
        key, _, signature = login["args"]
        assert signature not in text
        assert key not in text
    assert SECRET not in text


@pytest.mark.parametrize("profile", PROFILES)
def test_a_whole_life_with_faults(
    canary: Sandbox, ears: Ears, profile: str, eventually: Callable[..., bool], tmp_path: Path
) -> None:
    def bad(_: object) -> None:
        raise RuntimeError("mine")

    with make_client(canary, profile=profile) as client:
        client.listen(ears.events.put)
        subscription = client.subscribe(["copyTradeOrder", "tickers.BTCUSDT"], bad)
        client.wait_until_ready()
        for how in ("rst", "fin", "close"):
            canary.drop(how=how)
            assert eventually(lambda: len(canary.connections) == 2)
            client.wait_until_ready()
        login = json.loads(next(each.text for each in canary.received if '"auth"' in each.text))
        quoted = {"success": True, "ret_msg": "", "conn_id": "c", "request": login}
        canary.push(quoted)  # an auth reply that nobody waits for
        canary.push(json.dumps({"hello": login}))
        canary.push(json.dumps(login)[:-1])
        canary.push({"topic": "copyTradeOrder", "data": []})
        canary.push({"topic": "order", "data": []})
        canary.push({"success": False, "ret_msg": json.dumps(login), "op": "subscribe"})
        assert eventually(lambda: client.health().connections["private"].messages > 0)
        health = client.health()
        ears.hear(client, subscription, health, vars(client), client._streams)
        ears.hear([vars(stream) for stream in client._streams.values()])
        lines = [getattr(stream, "line", stream) for stream in client._streams.values()]
        ears.hear([vars(line) for line in lines], [vars(line._session) for line in lines])
    ears.hear(client)
    assert_silent(ears, canary)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("text", ["error:USVC1111", "Params Error", "API key is invalid."])
def test_a_refused_login(canary: Sandbox, ears: Ears, profile: str, text: str) -> None:
    canary.refuse_auth(text, times=2)
    with make_client(canary, profile=profile) as client:
        client.listen(ears.events.put)
        client.subscribe("copyTradeOrder", ignore)
        with pytest.raises(AuthenticationError) as caught:
            client.wait_until_ready(5)
        ears.hear(caught.value)
    assert_silent(ears, canary)


def _undecodable(request: str) -> dict[str, Any]:
    text = f"Failed to decode incoming data: bigger context ...|{request}|"
    return {"success": False, "ret_msg": text, "op": "auth", "conn_id": "c"}


def test_a_refusal_that_quotes_the_login(canary: Sandbox, ears: Ears) -> None:
    """A text that shows the request it could not decode would show the signature."""
    canary.rules.silent_ops.add("auth")
    with make_client(canary, profile="v5") as client:
        client.listen(ears.events.put)
        client.subscribe("copyTradeOrder", ignore)
        canary.wait_for(lambda exchange: bool(exchange.received))
        canary.push(_undecodable(canary.received[0].text))
        with pytest.raises(AuthenticationError) as caught:
            client.wait_until_ready(5)
        ears.hear(caught.value)
    assert_silent(ears, canary)


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": KEY, "api_secret": SECRET + "\n"},
        {"api_key": KEY + " ", "api_secret": SECRET},
        {"api_key": KEY, "api_secret": "-----BEGIN RSA PRIVATE KEY-----" + SECRET},
        {"api_secret": SECRET},
        {"api_key": KEY, "api_secret": SECRET, "environment": "nowhere"},
        {"api_key": KEY, "api_secret": SECRET, "profile": "v9"},
        {"api_key": KEY, "api_secret": SECRET, "ping_interval": 0},
        {
            "api_key": KEY,
            "api_secret": SECRET,
            "environment": Environment(
                "far", "ws://a.example", "ws://a.example", "http://a.example"
            ),
        },
    ],
)
def test_a_mistake_in_the_constructor(ears: Ears, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        CopyTradingClient(**options)
    # The test's own frame holds the secret in `options`, so only the library's are looked at.
    trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [frame for frame in trace.stack if "bybit_copyws" in frame.filename]
    assert frames
    shown = "".join(str(frame.locals) for frame in frames) + str(caught.value)
    assert SECRET not in shown
    assert KEY not in shown


@pytest.mark.parametrize("secret", [SECRET + " ", SECRET])
def test_a_mistake_in_the_environment(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setenv("BYBIT_API_KEY", KEY)
    monkeypatch.setenv("BYBIT_API_SECRET", secret)
    monkeypatch.setenv("BYBIT_ENVIRONMENT", "testnet" if secret != SECRET else "nowhere")
    with pytest.raises(ConfigurationError) as caught:
        CopyTradingClient.from_env()
    trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown = "".join(str(frame.locals) for frame in trace.stack if "client.py" in frame.filename)
    assert SECRET not in shown + str(caught.value)


def test_credentials_show_and_give_away_nothing() -> None:
    credentials = Credentials(KEY, SECRET)
    assert SECRET not in repr(credentials) + str(credentials) + f"{credentials}"
    assert KEY not in repr(credentials)
    with pytest.raises(TypeError):
        pickle.dumps(credentials)
