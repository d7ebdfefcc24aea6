"""The client against the local exchange: topics to callbacks, end to end."""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from exchange import PRIVATE, PROFILES, PUBLIC, held, ignore, make_client

from bybit_copyws import (
    AuthenticationError,
    ConfigurationError,
    CopyTradingClient,
    Environment,
    StreamClosed,
    SubscriptionError,
    SubscriptionState,
)
from bybit_copyws.events import (
    CallbackFailed,
    State,
    StateChanged,
    SubscriptionRejected,
    UnsubscribeConfirmed,
)
from bybit_copyws.sandbox import Sandbox

SAMPLES = Path(__file__).resolve().parents[1].parent / "shared" / "samples"


@pytest.mark.parametrize("profile", PROFILES)
def test_messages_of_both_sockets_reach_the_callbacks(profile: str) -> None:
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with Sandbox(seed=3) as exchange, make_client(exchange, profile=profile) as client:
        client.subscribe([*PUBLIC, *PRIVATE], got.put)
        client.wait_until_ready()
        seen: set[str] = set()
        while seen != {*PUBLIC, *PRIVATE}:
            message = got.get(timeout=10)
            assert message.parse()
            assert message["data"] == msgspec.json.decode(message.raw)["data"]
            seen.add(message.topic)


def _streams() -> list[tuple[str, bytes]]:
    return [
        (path.parts[-3] if path.parts[-3].startswith("v3") else "v5", line)
        for path in sorted(SAMPLES.glob("**/*.stream.jsonl"))
        for line in path.read_bytes().splitlines()
        if line.strip()
    ]


@pytest.mark.skipif(not SAMPLES.exists(), reason="the sample payloads are not beside the checkout")
@pytest.mark.parametrize(("folder", "line"), _streams())
def test_every_sample_payload_arrives_as_it_was_sent(
    quiet: Sandbox, folder: str, line: bytes
) -> None:
    sent = msgspec.json.decode(line)
    profile = "v3" if folder.startswith("v3") else "v5"
    symbol = sent["topic"].rpartition(".")[2]
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()
    symbols = [symbol] if symbol.endswith("USDT") else ["BTCUSDT"]
    with (
        Sandbox(seed=1, market=False, trading=False, symbols=symbols) as exchange,
        make_client(exchange, profile=profile) as client,
    ):
        client.subscribe(sent["topic"], got.put)
        client.wait_until_ready()
        exchange.push(line)
        message = got.get(timeout=5)
    assert message.data == sent["data"]
    assert message.raw == line
    assert message.ts == sent.get("ts", sent.get("creationTime"))
    assert message.parse()


@pytest.mark.skipif(not SAMPLES.exists(), reason="the sample payloads are not beside the checkout")
@pytest.mark.parametrize("name", ["*ack.jsonl", "errors.jsonl"])
def test_replies_of_all_kinds_reach_no_callback(quiet: Sandbox, name: str) -> None:
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with make_client(quiet) as client:
        client.subscribe("publicTrade.BTCUSDT", got.put)
        client.wait_until_ready()
        for path in SAMPLES.glob(f"**/{name}"):
            for line in path.read_bytes().splitlines():
                quiet.push(line)
        last = {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": 1, "data": []}
        quiet.push(last)
        assert got.get(timeout=5).ts == 1
        assert got.empty()


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("wait", ["wait_until_ready", "run_forever"])
def test_a_wrong_secret_is_an_error_within_two_seconds_and_no_storm(
    quiet: Sandbox, profile: str, wait: str
) -> None:
    client = make_client(quiet, profile=profile, api_secret="NotTheSecret")
    client.subscribe(["copyTradeOrder", "publicTrade.BTCUSDT"], ignore)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            client.run_forever()
        except AuthenticationError as error:
            errors.append(error)

    if wait == "run_forever":
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(2.0)
        assert not thread.is_alive()
        assert len(errors) == 1
    else:
        with client, pytest.raises(AuthenticationError) as caught:
            client.wait_until_ready(2.0)
        errors.append(caught.value)
    assert "NotTheSecret" not in str(errors[0])
    private = [frame for frame in quiet.received if frame.scope == "private"]
    # "Params Error" of v5 may also mean an expired signature, so that is tried once more.
    assert len(private) == (1 if profile == "v3" else 2)


@pytest.mark.parametrize(
    ("profile", "text"), [("v3", "error:request expired"), ("v5", "Params Error")]
)
def test_an_expired_signature_is_retried_once_with_a_fresh_one(
    quiet: Sandbox, profile: str, text: str
) -> None:
    quiet.refuse_auth(text)
    with make_client(quiet, profile=profile) as client:
        client.subscribe("copyTradeOrder", ignore)
        client.wait_until_ready()
    logins = [frame.text for frame in quiet.received if '"auth"' in frame.text]
    assert len(logins) == 2


def test_private_topics_never_leave_before_the_login_is_accepted(quiet: Sandbox) -> None:
    with make_client(quiet) as client:
        client.subscribe(PRIVATE, ignore)
        client.wait_until_ready()
        for _ in range(20):
            quiet.drop(how="rst")
            client.wait_until_ready()
    first: dict[str, str] = {}
    for frame in quiet.received:
        first.setdefault(frame.conn_id, frame.text)
    assert all('"auth"' in text for text in first.values())


def test_two_hundred_drops_lose_no_topic_and_leak_nothing(
    quiet: Sandbox, eventually: Callable[..., bool]
) -> None:
    topics = {f"orderbook.{d}.{s}" for d in (1, 50) for s in ("BTCUSDT", "ETHUSDT", "SOLUSDT")}
    topics |= {f"{c}.{s}" for c in ("publicTrade", "tickers") for s in ("BTCUSDT", "ETHUSDT")}
    topics |= {f"kline.{i}.BTCUSDT" for i in ("1", "3", "5", "15", "30", "60")} | set(PRIVATE)
    assert len(topics) == 20
    wanted = Counter(topics)
    with make_client(quiet) as client:
        client.subscribe(sorted(topics), ignore)
        client.wait_until_ready()
        threads = threading.active_count()
        for cycle in range(200):
            accepted = quiet.accepted
            assert quiet.drop(how=("rst", "fin", "close")[cycle % 3]) == 2
            quiet.wait_for(lambda exchange, n=accepted: exchange.accepted == n + 2)
            assert eventually(lambda: held(quiet) == wanted), held(quiet)
        assert threading.active_count() == threads


def test_three_of_eight_hundred_topics_are_refused_by_name() -> None:
    symbols = [f"S{number:03d}USDT" for number in range(797)]
    unknown = [f"NONE{number}USDT" for number in range(3)]
    topics = [f"tickers.{symbol}" for symbol in symbols]
    for place, symbol in zip((5, 400, 799), unknown, strict=True):
        topics.insert(place, f"tickers.{symbol}")
    refused: list[str] = []
    with Sandbox(market=False, trading=False, symbols=symbols) as exchange:
        client = make_client(exchange)
        client.listen(lambda event: refused.extend(event.topics), SubscriptionRejected)
        subscription = client.subscribe(topics, ignore)
        with client:
            with pytest.raises(SubscriptionError) as caught:
                subscription.wait(30)
            exchange.wait_for(lambda ex: sum(held(ex).values()) == 797, 30)
            with pytest.raises(ConfigurationError, match="21,000"):
                client.subscribe([f"kline.1.{symbol}" for symbol in symbols], ignore)
    assert "handler not found" in caught.value.ret_msg
    assert set(refused) == {f"tickers.{symbol}" for symbol in unknown}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("topic", ["tickers.BTCUSDT", "copyTradeOrder"])
def test_unsubscribe_says_that_it_succeeded(quiet: Sandbox, profile: str, topic: str) -> None:
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with make_client(quiet, profile=profile) as client:
        client.listen(told.put, UnsubscribeConfirmed)
        first = client.subscribe(topic, ignore)
        second = client.subscribe(topic, lambda message: None)
        second.wait()
        first.unsubscribe()
        first.wait(1)
        assert sum(held(quiet).values()) == 1
        second.unsubscribe()
        second.wait(5)
        assert second.state is SubscriptionState.CLOSED
        assert told.get(timeout=5).topics == (topic,)
        assert not held(quiet)


def test_a_callback_that_raises_disturbs_nobody(
    quiet: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def bad(_: object) -> None:
        raise RuntimeError("mine")

    with caplog.at_level(logging.ERROR), make_client(quiet) as client:
        client.listen(told.put, CallbackFailed)
        client.subscribe("tickers.BTCUSDT", bad)
        client.subscribe("tickers.BTCUSDT", got.put)
        client.wait_until_ready()
        quiet.push({"topic": "tickers.BTCUSDT", "type": "delta", "ts": 1, "data": {}})
        assert got.get(timeout=5).ts == 1
        assert str(told.get(timeout=5).error) == "mine"
        assert quiet.accepted == 1
    records = [record for record in caplog.records if record.exc_info]
    assert len(records) == 1


def test_subscribing_unsubscribing_and_closing_inside_callbacks(quiet: Sandbox) -> None:
    done = threading.Event()
    client = make_client(quiet)

    def inside(message: Any) -> None:
        if message.ts == 1:
            client.subscribe("tickers.ETHUSDT", ignore)
            client.unsubscribe("tickers.BTCUSDT")
        client.close()
        done.set()

    client.subscribe("tickers.BTCUSDT", inside)
    with client:
        client.wait_until_ready()
        quiet.push({"topic": "tickers.BTCUSDT", "type": "delta", "ts": 1, "data": {}})
        assert done.wait(2)
    with pytest.raises(StreamClosed):
        client.start()


def test_eight_threads_during_reconnects_end_with_the_wanted_topics(
    quiet: Sandbox, eventually: Callable[..., bool]
) -> None:
    symbols = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT")
    with make_client(quiet) as client:
        client.subscribe("copyTradeOrder", ignore)

        def work(number: int) -> None:
            topics = [f"kline.{i}.{symbols[number % 5]}" for i in ("1", "5", "60")]
            for _ in range(25):
                for topic in topics:
                    subscription = client.subscribe(topic, ignore)
                    if topic != topics[0]:
                        subscription.unsubscribe()
                client.subscribe("copyTradeExecution", ignore).unsubscribe()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            quiet.drop(how="rst")
            threads[0].join(0.02)
        wanted = Counter({f"kline.1.{symbol}": 1 for symbol in symbols} | {"copyTradeOrder": 1})
        assert eventually(lambda: held(quiet) == wanted, 15), held(quiet)


@pytest.mark.parametrize(
    "topic", ["", "a b", "tickers.BTCUSDT\r\n", "x" * 65, "tickers.btcusdt", 7]
)
def test_a_malformed_topic_is_refused_in_the_caller(topic: Any) -> None:
    client = CopyTradingClient("key", "secret")
    with pytest.raises(ConfigurationError):
        client.subscribe(topic, ignore)


def test_other_mistakes_are_refused_in_the_caller() -> None:
    client = CopyTradingClient()
    with pytest.raises(ConfigurationError, match="api_key and"):
        client.subscribe("copyTradeOrder", ignore)
    with pytest.raises(ConfigurationError, match="callable"):
        client.subscribe("tickers.BTCUSDT", None)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="'copyTradeOrder'"):
        client.subscribe("order", ignore)
    with pytest.raises(ConfigurationError, match="api_secret"):
        CopyTradingClient("key")
    with pytest.raises(ConfigurationError, match="profile"):
        CopyTradingClient(profile="v4")
    with pytest.raises(ConfigurationError, match="v5"):
        CopyTradingClient(environment="demo")
    clear = Environment("far", "ws://example.com", "ws://example.com", "http://example.com")
    with pytest.raises(ConfigurationError, match="in clear"):
        CopyTradingClient("key", "secret", environment=clear)


def test_the_environment_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"KEY": "k", "SECRET": "s"}.items():
        monkeypatch.setenv(f"BYBIT_API_{name}", value)
    monkeypatch.setenv("BYBIT_ENVIRONMENT", "demo")
    monkeypatch.setenv("BYBIT_PROFILE", "v5")
    client = CopyTradingClient.from_env()
    assert "demo" in repr(client)
    assert "v5" in repr(client)


def test_close_works_in_every_state(quiet: Sandbox) -> None:
    states: list[State] = []
    client = make_client(quiet)
    client.close()
    client.close()
    client = make_client(quiet)
    client.listen(lambda event: states.append(event.new), StateChanged)
    client.subscribe("tickers.BTCUSDT", ignore)
    client.start()
    client.wait_until_ready()
    closers = [threading.Thread(target=client.close) for _ in range(8)]
    for closer in closers:
        closer.start()
    for closer in closers:
        closer.join(2.0)
        assert not closer.is_alive()
    assert states[-1] is State.CLOSED
