"""What a hostile review found, so that it stays found: threads, signals, logging, backlogs."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import queue
import re
import signal
import socket
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import websocket
from exchange import ignore, make_client
from raw_server import Peer, RawServer, frame

from bybit_copyws import (
    AuthenticationError,
    Backoff,
    ConfigurationError,
    ConnectionBudget,
    CopyTradingClient,
    Environment,
    StreamClosed,
    SubscriptionError,
)
from bybit_copyws.events import BadMessage, CallbackFailed, Event, State, StateChanged
from bybit_copyws.policy.backoff import Backoff as PolicyBackoff
from bybit_copyws.sandbox import Sandbox
from bybit_copyws.stream.heartbeat import Heartbeat
from bybit_copyws.stream.supervisor import Supervisor
from bybit_copyws.stream.transport import Transport

TRADES = "publicTrade.BTCUSDT"
PATIENCE = 5.0
MESSAGE = {"topic": TRADES, "type": "snapshot", "ts": 1, "data": []}


def states_of(client: CopyTradingClient) -> list[StateChanged]:
    seen: list[StateChanged] = []
    client.listen(seen.append, StateChanged)
    return seen


def test_closing_in_a_signal_handler_never_hangs(quiet: Sandbox) -> None:
    client = make_client(quiet)
    before = signal.signal(signal.SIGALRM, lambda *_: client.close())
    try:
        with client:
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            stop = time.monotonic() + PATIENCE
            while time.monotonic() < stop:
                try:
                    client.subscribe(TRADES, ignore).unsubscribe()
                    client.health()
                except StreamClosed:
                    break
            else:
                pytest.fail("the client was not closed")
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_filter_that_raises_costs_no_stream(quiet: Sandbox) -> None:
    def raising(_: logging.LogRecord) -> bool:
        raise ZeroDivisionError

    logger = logging.getLogger("bybit_copyws.stream.stream")
    logger.addFilter(raising)
    try:
        with make_client(quiet) as client:
            client.subscribe(TRADES, ignore)
            client.wait_until_ready()
            quiet.drop(how="rst")
            quiet.wait_for(lambda exchange: exchange.accepted == 2)
            client.wait_until_ready()
    finally:
        logger.removeFilter(raising)


@pytest.mark.parametrize("owner", [Supervisor, Heartbeat])
def test_when_no_thread_can_be_had_nothing_half_done_is_left(
    quiet: Sandbox, monkeypatch: pytest.MonkeyPatch, owner: Any
) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    client = make_client(quiet)
    client.subscribe(TRADES, ignore)
    with monkeypatch.context() as patch:
        patch.setattr(owner, "start", refuse)
        with pytest.raises(RuntimeError):
            client.start()
    client.start()
    client.wait_until_ready()
    client.close()


def test_a_backlog_that_never_ends_does_not_hide_a_missing_pong() -> None:
    """A consumer slower than the stream is never idle, but it reads on."""

    def flood(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        peer.upgrade()
        peer.read()
        peer.send('{"success":true,"ret_msg":"","req_id":"","op":"subscribe"}')
        data = frame(f'{{"topic":"{TRADES}","data":"{"x" * 8000}"}}')
        while True:
            peer.sock.sendall(data)

    with RawServer(flood) as server:
        environment = Environment("raw", server.url, server.url, "http://127.0.0.1:1")
        client = CopyTradingClient(
            environment=environment,
            ping_interval=0.2,
            pong_timeout=0.2,
            backoff=Backoff(base=30.0),
            connection_budget=ConnectionBudget(),
        )
        lost = threading.Event()
        pause = threading.Event()
        client.listen(lambda event: lost.set() if "pong" in event.reason else None, StateChanged)
        client.subscribe(TRADES, lambda _: pause.wait(0.001))
        with client:
            assert lost.wait(4 * PATIENCE)


def test_the_size_of_a_report_is_ours_to_choose(quiet: Sandbox) -> None:
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with make_client(quiet) as client:
        client.listen(told.put, BadMessage)
        client.subscribe(TRADES, ignore)
        client.wait_until_ready()
        quiet.push({"k" * 1_000_000: 1})
        event = told.get(timeout=PATIENCE)
    assert len(event.reason) < 500
    assert len(event.excerpt) <= 200


def test_a_refusal_that_quotes_key_and_signature_shows_neither(quiet: Sandbox) -> None:
    signature = "deadbeef" * 8
    quiet.refuse_auth(f"bad request api_key={quiet.api_key} sign={signature}")
    with make_client(quiet) as client:
        client.subscribe("copyTradeOrder", ignore)
        with pytest.raises(AuthenticationError) as caught:
            client.wait_until_ready(PATIENCE)
    assert "bad request" in str(caught.value)
    assert quiet.api_key not in str(caught.value)
    assert signature not in str(caught.value)


def test_an_odd_message_that_quotes_key_and_signature_shows_neither(quiet: Sandbox) -> None:
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with make_client(quiet) as client:
        client.listen(told.put, BadMessage)
        client.subscribe("copyTradeOrder", ignore)
        client.wait_until_ready()
        quiet.push({"request": {"args": [quiet.api_key, 1, "deadbeef" * 8]}})
        event = told.get(timeout=PATIENCE)
    assert b"redacted" in event.excerpt
    assert quiet.api_key.encode() not in event.excerpt
    assert b"deadbeef" not in event.excerpt


def test_the_trace_of_websocket_client_shows_no_login(
    quiet: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Its trace is process-wide: another library of the program may have turned it on."""
    logger = logging.getLogger("websocket")
    handlers, level = list(logger.handlers), logger.level
    websocket.enableTrace(True, handler=caplog.handler, level="DEBUG")
    try:
        with make_client(quiet) as client:
            client.subscribe("copyTradeOrder", ignore)
            client.wait_until_ready()
    finally:
        websocket.enableTrace(False)
        logger.handlers[:] = handlers
        logger.setLevel(level)
    assert quiet.api_key not in caplog.text


def test_events_keep_their_order_however_slow_the_log_is(quiet: Sandbox) -> None:
    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            threading.Event().wait(0.005)

    logger, handler = logging.getLogger("bybit_copyws"), Slow()
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        for _ in range(5):
            client = make_client(quiet)
            seen = states_of(client)
            client.subscribe(TRADES, ignore)
            client.start()
            client.wait_until_ready()
            quiet.drop(how="rst")
            client.close()
            moves = [event for event in seen if event.connection == "public"]
            assert all(one.new is two.old for one, two in itertools.pairwise(moves)), moves
            assert moves[-1].new is State.CLOSED
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def test_listeners_hear_of_the_end_although_a_callback_closed(
    quiet: Sandbox, eventually: Callable[..., bool]
) -> None:
    client = make_client(quiet)
    seen = states_of(client)
    client.subscribe([TRADES, "copyTradeOrder"], lambda _: client.close())
    with client:
        client.wait_until_ready()
        quiet.push(MESSAGE)
        assert eventually(lambda: sum(event.new is State.CLOSED for event in seen) == 2)


def test_after_a_ban_the_next_attempt_waits() -> None:
    def banned(peer: Peer) -> None:
        peer.read_request()
        peer.sock.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    with RawServer(banned) as server:
        environment = Environment("raw", server.url, server.url, "http://127.0.0.1:1")
        client = CopyTradingClient(
            environment=environment, connection_budget=ConnectionBudget(), backoff=PolicyBackoff()
        )
        told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        client.listen(lambda e: told.put(e) if e.new is State.BACKOFF else None, StateChanged)
        client.subscribe(TRADES, ignore)
        with client:
            event = told.get(timeout=PATIENCE)
    assert "banned" in event.reason
    assert "next attempt in 60.0 s" in event.reason


def test_websocket_client_logs_nothing_of_ours(
    quiet: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    quiet.refuse_handshakes(502)
    with caplog.at_level(logging.DEBUG), make_client(quiet) as client:
        client.subscribe(TRADES, ignore)
        client.wait_until_ready()
    assert [record for record in caplog.records if record.name == "websocket"] == []


def test_waiting_inside_a_callback_says_why_it_cannot_work(quiet: Sandbox) -> None:
    errors: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with make_client(quiet) as client:
        client.listen(lambda event: errors.put(event.error), CallbackFailed)
        client.subscribe(TRADES, lambda _: client.subscribe("tickers.BTCUSDT", ignore).wait())
        client.wait_until_ready()
        quiet.push(MESSAGE)
        error = errors.get(timeout=PATIENCE)
    assert isinstance(error, ConfigurationError)
    assert "inside a callback" in str(error)


@pytest.mark.parametrize(
    "options",
    [
        {"open_timeout": float("inf")},
        {"auth_expires": 1e9},
        {"max_message_size": 1.5},
        {"max_message_size": 2**40},
    ],
)
def test_options_beyond_reason_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        CopyTradingClient(**options)


@pytest.mark.parametrize("topics", [[["a"]], b"tickers.BTCUSDT", [b"x"], [{}]])
def test_topics_that_are_no_text_are_refused(topics: Any) -> None:
    with pytest.raises(ConfigurationError, match="string"):
        CopyTradingClient().subscribe(topics, ignore)


def test_a_cancelled_error_of_a_callback_does_not_close_the_client(quiet: Sandbox) -> None:
    errors: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def cancel(_: object) -> None:
        raise asyncio.CancelledError

    with make_client(quiet) as client:
        client.listen(lambda event: errors.put(event.error), CallbackFailed)
        client.subscribe(TRADES, cancel)
        client.wait_until_ready()
        quiet.push(MESSAGE)
        assert isinstance(errors.get(timeout=PATIENCE), asyncio.CancelledError)
        assert client.health().connections["public"].state == "active"


def test_an_interrupt_of_a_callback_ends_every_thread(
    quiet: Sandbox, eventually: Callable[..., bool]
) -> None:
    """Although nobody calls close() or run_forever()."""

    def leave(_: object) -> None:
        raise SystemExit

    client = make_client(quiet)
    client.subscribe(TRADES, leave)
    client.start()
    client.wait_until_ready()
    quiet.push(MESSAGE)
    mine = "bybit-copyws:public", "bybit-copyws:private", "bybit-copyws:events"
    assert eventually(lambda: not any(each.name.startswith(mine) for each in threading.enumerate()))


def test_subscribing_while_another_thread_closes_leaves_nothing_pending(quiet: Sandbox) -> None:
    for _ in range(20):
        client = make_client(quiet)
        client.start()
        closer = threading.Thread(target=client.close)
        closer.start()
        try:
            subscription = client.subscribe(TRADES, ignore)
        except StreamClosed:
            subscription = None
        closer.join()
        assert subscription is None or subscription.state.value == "closed"


def test_an_error_raised_again_and_again_does_not_grow(quiet: Sandbox) -> None:
    with make_client(quiet, api_secret="NotTheSecret") as client:
        subscription = client.subscribe("copyTradeOrder", ignore)
        depths = []
        for _ in range(5):
            with pytest.raises(AuthenticationError) as caught:
                subscription.wait(PATIENCE)
            depths.append(len(caught.traceback))
    assert len(set(depths)) == 1


def test_closing_is_not_blamed_on_the_exchange(quiet: Sandbox) -> None:
    client = make_client(quiet)
    seen = states_of(client)
    client.subscribe(TRADES, ignore)
    with client:
        client.wait_until_ready()
    reasons = [event.reason for event in seen if event.new is State.CLOSED]
    assert not any("exchange" in reason for reason in reasons), reasons


def test_a_link_leaves_no_cycle_for_the_collector(
    quiet: Sandbox, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., bool]
) -> None:
    made: list[weakref.ref[Transport]] = []
    run = Transport.run

    def remember(self: Transport, *args: Any) -> Any:
        made.append(weakref.ref(self))
        return run(self, *args)

    monkeypatch.setattr(Transport, "run", remember)
    gc.collect()
    gc.disable()
    try:
        with make_client(quiet) as client:
            client.subscribe(TRADES, ignore)
            for count in range(1, 6):
                quiet.wait_for(lambda exchange, n=count: exchange.accepted == n)
                client.wait_until_ready()
                quiet.drop(how="rst")
        assert eventually(lambda: sum(each() is not None for each in made) <= 1)
    finally:
        gc.enable()


def test_the_close_reason_of_a_server_is_cleaned(quiet: Sandbox) -> None:
    told: queue.SimpleQueue[Event] = queue.SimpleQueue()
    with make_client(quiet) as client:
        client.listen(lambda e: told.put(e) if e.new is State.BACKOFF else None, StateChanged)
        client.subscribe(TRADES, ignore)
        client.wait_until_ready()
        quiet.drop(how="close", reason="bye\x1b[31m\nnow")
        event = told.get(timeout=PATIENCE)
    assert isinstance(event, StateChanged)
    assert "bye" in event.reason
    assert event.reason.isprintable()


# Options and callbacks of the wrong kind


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"backoff": 5}, "backoff must be a Backoff"),
        ({"connection_budget": 100}, "connection_budget must be a ConnectionBudget"),
        ({"ssl_context": "/ca.pem"}, "ssl_context must be a SSLContext"),
        ({"ssl_context": True}, "create_default_context"),
        ({"stale_after": {"tickers": 5.0}}, "fits no topic"),
        ({"stale_after": {"ticker.*": 5.0}}, "fits no topic"),
        ({"stale_after": 5.0}, "must map patterns"),
        ({"stale_after": {"tickers.*": 0}}, "above 0"),
        ({"rotate_every": 0}, "rotate_every"),
        ({"blind_after": None}, "blind_after"),
        ({"data_timeout": -1}, "data_timeout"),
    ],
)
def test_options_of_the_wrong_kind_are_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(named)):
        CopyTradingClient(**options)


def test_an_async_callback_is_refused() -> None:
    async def callback(_: object) -> None:
        """Would never run."""

    client = CopyTradingClient()
    for refused in (client.subscribe, client.listen):
        with pytest.raises(ConfigurationError, match="async def"):
            refused("tickers.BTCUSDT", callback) if refused == client.subscribe else refused(
                callback
            )


def test_who_waits_in_vain_is_told_why(quiet: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    quiet.refuse_handshakes(502, times=None)
    with make_client(quiet) as client:
        subscription = client.subscribe("tickers.BTCUSDT", ignore)
        for wait in (client.wait_until_ready, subscription.wait):
            with pytest.raises(TimeoutError, match="502"):
                wait(0.3)
        trouble = client.health().connections["public"].trouble
        assert trouble is not None
        assert "502" in trouble
        warnings = [each for each in caplog.records if each.levelname == "WARNING"]
        assert len(warnings) == 1  # not one for each attempt
        quiet.heal()
        client.wait_until_ready()
        assert client.health().connections["public"].trouble is None


def test_a_spent_budget_is_a_reason(quiet: Sandbox) -> None:
    budget = ConnectionBudget(1, 300)
    with (
        make_client(quiet, connection_budget=budget) as first,
        make_client(quiet, connection_budget=budget) as second,
    ):
        first.subscribe("tickers.BTCUSDT", ignore)
        first.wait_until_ready()
        second.subscribe("tickers.BTCUSDT", ignore)
        with pytest.raises(TimeoutError, match=r"budget of .* is spent"):
            second.wait_until_ready(0.3)


def test_a_refused_client_of_the_environment_shows_no_secret() -> None:
    secret = "TOPSECRET0123456789"
    with pytest.raises(ConfigurationError) as caught:
        CopyTradingClient.from_env(
            api_key="key", api_secret=secret, proxy=f"http://me:{secret}@h:1", ping_interval=-1
        )
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [frame for frame in shown.stack if "bybit_copyws" in frame.filename]
    assert not any(secret in str(frame.locals) for frame in frames)


def test_a_text_is_redacted_before_it_is_cut(quiet: Sandbox) -> None:
    key = quiet.api_key
    with make_client(quiet) as client:
        refusal = {"success": False, "ret_msg": "x" * 290 + key, "op": "subscribe"}
        quiet.fault("replace", kind="subscribe", payload=refusal)
        subscription = client.subscribe("copyTradeOrder", ignore)
        with pytest.raises(SubscriptionError) as caught:
            subscription.wait(5)
        assert key[:8] not in caught.value.ret_msg


def test_reading_that_lags_behind_is_told(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    eventually: Callable[..., bool],
) -> None:
    monkeypatch.setattr("bybit_copyws.stream.stream._LAG", 0.05)
    with (
        Sandbox(seed=1, activity=20.0, cadence="fast", trading=False) as lively,
        make_client(lively, ping_interval=0.1) as client,
    ):
        client.subscribe("orderbook.50.BTCUSDT", lambda _: threading.Event().wait(0.02))
        assert eventually(lambda: "the callbacks are slower than messages come" in caplog.text, 15)
        delay = client.health().connections["public"].pong_delay
        assert delay is not None
        assert delay > 0.05
