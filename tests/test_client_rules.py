"""The client's own rules that no other test meets on its way: mistakes, waiting, listening."""

from __future__ import annotations

import json
import queue
import ssl
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from exchange import ignore, make_client

import bybit_copyws
from bybit_copyws import (
    ConfigurationError,
    CopyTradingClient,
    Environment,
    StreamClosed,
    SubscriptionError,
    SubscriptionState,
)
from bybit_copyws.events import Event, StateChanged, SubscriptionConfirmed
from bybit_copyws.sandbox import Sandbox

TRADES = "publicTrade.BTCUSDT"
FAR = Environment("far", "wss://a.example", "wss://a.example", "https://a.example")


def test_every_public_name_is_there() -> None:
    assert sorted(bybit_copyws.__all__) == list(bybit_copyws.__all__)
    for name in bybit_copyws.__all__:
        assert hasattr(bybit_copyws, name)
    assert bybit_copyws.__version__


@pytest.mark.parametrize("option", ["ping_interval", "open_timeout", "max_message_size"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), "10", True, None])
def test_an_option_that_cannot_work_is_named(option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=option):
        CopyTradingClient(**{option: value})


@pytest.mark.parametrize("value", [-1, float("nan"), "10", True, None])
def test_a_timeout_that_can_be_none_is_named_and_closes_nothing(quiet: Sandbox, value: Any) -> None:
    with make_client(quiet) as client:
        subscription = client.subscribe(TRADES, ignore)
        for wait in (client.wait_until_ready, subscription.wait, client.rotate, client.close):
            with pytest.raises(ConfigurationError, match="timeout"):
                wait(value)
        client.wait_until_ready()


@pytest.mark.parametrize("environment", ["nowhere", 7, None])
def test_an_unknown_environment_is_named(environment: Any) -> None:
    with pytest.raises(ConfigurationError, match="environment"):
        CopyTradingClient(environment=environment)


@pytest.mark.parametrize("topics", [[], 7, None])
def test_topics_must_be_given(topics: Any) -> None:
    with pytest.raises(ConfigurationError, match="topic"):
        CopyTradingClient().subscribe(topics, ignore)


def test_a_key_is_not_sent_where_certificates_are_not_checked() -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    with pytest.raises(ConfigurationError, match="ssl_context"):
        CopyTradingClient("key", "secret", environment=FAR, ssl_context=context)
    CopyTradingClient(environment=FAR, ssl_context=context)  # without a key nothing can leak
    CopyTradingClient("key", "secret", environment=FAR, ssl_context=ssl.create_default_context())


def test_what_is_not_subscribed_cannot_be_given_up() -> None:
    client = CopyTradingClient()
    client.subscribe(TRADES, ignore)
    with pytest.raises(ConfigurationError, match=r"'tickers\.BTCUSDT' is not subscribed"):
        client.unsubscribe("tickers.BTCUSDT")
    with pytest.raises(ConfigurationError, match="with that callback"):
        client.unsubscribe(TRADES, print)
    client.unsubscribe(TRADES, ignore)
    with pytest.raises(ConfigurationError):
        client.unsubscribe(TRADES)


def test_a_call_that_is_refused_subscribes_nothing() -> None:
    client = CopyTradingClient("key", "secret")
    first = [f"tickers.A{number:035d}USDT" for number in range(400)]
    client.subscribe(first, ignore)
    with pytest.raises(ConfigurationError, match="21,000"):
        client.subscribe(
            [*(f"kline.1.B{n:035d}USDT" for n in range(100)), "copyTradeOrder"], ignore
        )
    topics = [each.topic for each in client.health().connections["public"].topics]
    assert topics == first
    assert not client.health().connections["private"].topics


def test_waiting_needs_a_start() -> None:
    with pytest.raises(ConfigurationError, match="start"):
        CopyTradingClient().wait_until_ready()


def test_what_is_missing_is_named_when_the_time_is_over(quiet: Sandbox) -> None:
    quiet.rules.silent_ops.add("subscribe")
    topics = [f"kline.{interval}.BTCUSDT" for interval in ("1", "3", "5", "15", "30", "60", "D")]
    with make_client(quiet) as client:
        subscription = client.subscribe(topics, ignore)
        with pytest.raises(TimeoutError, match=r"kline.1.BTCUSDT.*and 2 more.*public active"):
            client.wait_until_ready(0.05)
        with pytest.raises(TimeoutError, match=r"no answer of the exchange within 0\.05 s"):
            subscription.wait(0.05)
        assert subscription.state is SubscriptionState.PENDING
        assert subscription.error is None
        assert "pending" in repr(subscription)


def test_a_refused_topic_is_raised_by_wait_until_ready_and_the_others_live(quiet: Sandbox) -> None:
    with make_client(quiet) as client:
        client.subscribe(["tickers.NONEUSDT", TRADES], ignore)
        with pytest.raises(SubscriptionError) as caught:
            client.wait_until_ready()
        assert caught.value.topics == ("tickers.NONEUSDT",)
        quiet.wait_for(lambda exchange: any(TRADES in c.topics for c in exchange.connections))


def test_whoever_waits_is_woken_by_close(quiet: Sandbox) -> None:
    quiet.rules.silent_ops.add("subscribe")
    errors: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
    client = make_client(quiet)
    subscription = client.subscribe(TRADES, ignore)
    client.start()

    def wait(function: Callable[[float], None]) -> None:
        try:
            function(30)
        except StreamClosed as error:
            errors.put(error)

    waiters = [
        threading.Thread(target=wait, args=(function,))
        for function in (client.wait_until_ready, subscription.wait)
    ]
    for waiter in waiters:
        waiter.start()
    quiet.wait_for(lambda exchange: bool(exchange.received))
    client.close()
    for waiter in waiters:
        waiter.join(5)
        assert not waiter.is_alive()
    assert errors.qsize() == 2
    with pytest.raises(StreamClosed):
        client.wait_until_ready()
    with pytest.raises(StreamClosed):
        client.subscribe(TRADES, ignore)
    with pytest.raises(StreamClosed):
        client.run_forever()


def test_run_forever_returns_when_another_thread_closes(quiet: Sandbox) -> None:
    client = make_client(quiet)
    client.subscribe(TRADES, ignore)
    ready = threading.Event()
    client.listen(lambda _: ready.set(), SubscriptionConfirmed)

    def close() -> None:
        assert ready.wait(5)
        client.close()

    closer = threading.Thread(target=close)
    closer.start()
    client.run_forever()
    closer.join()


def test_ctrl_c_closes_and_returns(quiet: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(quiet)
    client.subscribe(TRADES, ignore)

    class Interrupted:
        """An event whose wait Ctrl-C ends."""

        def wait(self, timeout: float) -> bool:
            raise KeyboardInterrupt

        def set(self) -> None:
            """Be set by close."""

    monkeypatch.setattr(client, "_done", Interrupted())
    client.run_forever()
    assert {each.state for each in client.health().connections.values()} == {"closed"}


def test_start_twice_does_nothing(quiet: Sandbox) -> None:
    client = make_client(quiet)
    client.subscribe(TRADES, ignore)
    client.start()
    client.start()
    client.wait_until_ready()
    client.close()
    assert quiet.accepted == 1


def test_the_decorator_hands_the_function_back() -> None:
    client = CopyTradingClient()
    assert client.on(TRADES, "tickers.BTCUSDT")(ignore) is ignore
    assert len(client.health().connections["public"].topics) == 2


def test_listeners_get_the_kinds_they_asked_for(quiet: Sandbox) -> None:
    states: queue.SimpleQueue[Any] = queue.SimpleQueue()
    everything: list[Event] = []
    client = make_client(quiet)
    client.listen(states.put, StateChanged)
    all_of_them = client.listen(everything.append)
    gone = client.listen(lambda _: everything.append(None), SubscriptionConfirmed)  # type: ignore[arg-type]
    gone.remove()
    client.subscribe(TRADES, ignore)
    with client:
        client.wait_until_ready()
    all_of_them.remove()
    assert isinstance(states.get(timeout=5), StateChanged)
    assert {type(event) for event in everything} >= {StateChanged, SubscriptionConfirmed}
    assert None not in everything


@pytest.mark.parametrize("kind", [int, "StateChanged", SubscriptionError])
def test_only_events_can_be_listened_to(kind: Any) -> None:
    client = CopyTradingClient()
    with pytest.raises(ConfigurationError, match=r"no class of bybit_copyws\.events"):
        client.listen(ignore, kind)
    with pytest.raises(ConfigurationError, match="callable"):
        client.listen(None)  # type: ignore[arg-type]


def test_health_is_json(quiet: Sandbox) -> None:
    with make_client(quiet) as client:
        client.subscribe([TRADES, "copyTradeOrder"], ignore)
        client.wait_until_ready()
        quiet.push({"topic": TRADES, "type": "snapshot", "ts": 1, "data": []})
        client.wait_for(lambda: client.health().connections["public"].messages == 1, 0.2)
        health = client.health()
        shown = json.loads(json.dumps(health.as_dict()))
    assert shown == msgspec.to_builtins(health)
    assert shown["connections"]["public"]["state"] == "active"
    assert shown["connections"]["public"]["topics"][0]["topic"] == TRADES


# Mistakes that a newcomer made


@pytest.mark.parametrize(
    ("mistake", "cure"),
    [
        (lambda client: client.on(ignore), r'write @client\.on\("tickers\.BTCUSDT"\)'),
        (lambda client: client.on(), "no topic was given"),
        (lambda client: client.on(["tickers.BTCUSDT"]), r"on\(\*topics\)"),
        (lambda client: client.rotate(), "start"),
        (lambda client: client.rotate(0), "timeout"),
        (lambda client: client.close(-1), "0 or more"),
        (lambda client: client.subscribe("tickers.BTCUSDT", lambda: None), "with one message"),
    ],
)
def test_a_mistake_shows_at_once_with_its_cure(
    quiet: Sandbox, mistake: Callable[[CopyTradingClient], object], cure: str
) -> None:
    client = make_client(quiet)
    with pytest.raises(ConfigurationError, match=cure):
        mistake(client)
    client.close()


def test_running_for_ever_inside_a_callback_is_refused(
    quiet: Sandbox, eventually: Callable[..., bool]
) -> None:
    raised: list[Exception] = []
    with make_client(quiet) as client:

        def run(_: object) -> None:
            try:
                client.run_forever()
            except ConfigurationError as error:
                raised.append(error)

        client.subscribe("tickers.BTCUSDT", run)
        client.wait_until_ready()
        quiet.push_topic({"topic": "tickers.BTCUSDT", "type": "snapshot", "data": {}})
        assert eventually(lambda: bool(raised))


def test_waiting_for_a_client_that_was_not_started_says_so(quiet: Sandbox) -> None:
    client = make_client(quiet)
    with pytest.raises(TimeoutError, match="was not started"):
        client.subscribe("tickers.BTCUSDT", ignore).wait(0.01)
    client.close()
