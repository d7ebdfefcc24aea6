"""The exchange goes on whatever clients and callers do to it, and says what cannot work."""

from __future__ import annotations

import contextlib
import gc
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from exchange import ignore, make_client
from raw_client import PATHS, RawClient
from test_rest_on_the_wire import call

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.sandbox import Checker, FaultProxy, Observer, Sandbox, Scenario, Sent, Step
from bybit_copyws.sandbox.clock import VenueClock
from bybit_copyws.sandbox.faults import Fault, FaultList, Outgoing, encode_frame
from bybit_copyws.wire.frames import Close

BOOK = "orderbook.50.BTCUSDT"
MIB = "x" * 2**20


def lagging(exchange: Sandbox) -> socket.socket:
    """Connect a client that reads nothing and has little room."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, port = exchange.url.rpartition("/")[2].split(":")
    sock.connect((host, int(port)))
    if exchange.ssl_context is not None:
        sock = exchange.ssl_context.wrap_socket(sock, server_hostname="127.0.0.1")
    sock.sendall(
        f"GET {PATHS['v3', 'public']} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert sock.recv(12) == b"HTTP/1.1 101"
    return sock


@pytest.mark.parametrize("tls", [False, True])
def test_a_client_that_lags_is_dropped_alone(tls: bool, eventually: Callable[..., bool]) -> None:
    with (
        Sandbox(tls=tls, trading=False, symbols=["BTCUSDT"]) as exchange,
        make_client(exchange, ssl_context=exchange.ssl_context) as client,
    ):
        client.subscribe(BOOK, ignore)
        client.wait_until_ready()
        with lagging(exchange):
            for _ in range(12):
                exchange.push(MIB)
            assert eventually(lambda: len(exchange.connections) == 1)
            before = len(exchange.sent)
            assert eventually(lambda: len(exchange.sent) > before + 10)


def test_closing_ends_a_client_that_lags(eventually: Callable[..., bool]) -> None:
    with Sandbox(trading=False, market=False) as exchange:
        sock = lagging(exchange)
        for _ in range(7):
            exchange.push(MIB)
    sock.settimeout(5)
    with sock, contextlib.suppress(ConnectionError):
        while sock.recv(65_536):
            pass  # a TimeoutError here: it was left open
    gc.collect()


def test_what_breaks_inside_is_told_by_the_next_call() -> None:
    exchange = Sandbox(trading=False)
    exchange.start()
    exchange.call(lambda inside: setattr(inside, "_look", None))
    with pytest.raises(TypeError):
        exchange.wait_for(lambda _: not exchange.connections and False)
    with pytest.raises(TypeError):
        exchange.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"symbols": "BTCUSDT"}, "must be a list"),
        ({"symbols": []}, "names no contract"),
        ({"activity": -1}, "activity must be"),
        ({"activity": float("nan")}, "activity must be"),
        ({"port": 99_999}, "port must be"),
        ({"history": 1.5}, "history must be"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Sandbox(**arguments)


def test_a_port_that_is_taken_is_named_and_leaves_no_file() -> None:
    with Sandbox(market=False) as first:
        port = int(first.url.rpartition(":")[2])
        second = Sandbox(port=port, tls=True)
        with pytest.raises(ConfigurationError, match=f"port {port}"):
            second.start()
        assert second.ca_file is None


def test_the_authority_s_file_is_there_while_it_runs() -> None:
    exchange = Sandbox(tls=True, market=False)
    assert exchange.ca_file is None
    for _ in range(2):
        with exchange:
            file = Path(exchange.ca_file)
            ssl.create_default_context(cafile=file)
        assert not file.exists()


def test_starting_from_many_threads_starts_once() -> None:
    for _ in range(10):
        exchange = Sandbox(market=False, trading=False)
        errors: list[BaseException] = []

        def begin(exchange: Sandbox = exchange, errors: list[BaseException] = errors) -> None:
            try:
                exchange.start()
                _ = exchange.connections
            except BaseException as error:  # noqa: BLE001 (looked at below)
                errors.append(error)

        threads = [threading.Thread(target=begin) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        exchange.close()
        assert errors == []


def test_using_the_sandbox_inside_call_says_why_it_cannot_work(quiet: Sandbox) -> None:
    with pytest.raises(ConfigurationError, match="the exchange's own thread"):
        quiet.call(lambda _: quiet.connections)


def test_an_address_of_ipv6_has_brackets() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with Sandbox(host="::1", market=False) as exchange, make_client(exchange) as client:
        client.subscribe(BOOK, ignore)
        client.wait_until_ready()


# Time


def test_a_signature_by_the_real_clock_is_good_whatever_the_exchange_s_clock_says() -> None:
    path = "/contract/v3/private/copytrading/wallet/balance"
    for speed in (0, 10, 1):
        with Sandbox(speed=speed, market=False, trading=False) as exchange:
            # As any program on this machine would sign.
            real = type("", (), {})()
            real.environment = exchange.environment
            real.api_key, real.api_secret = exchange.api_key, exchange.api_secret
            real.time_ms = int(time.time() * 1000)
            assert call(real, "GET", path, {}).json()["retCode"] == 0
            assert call(exchange, "GET", path, {}).json()["retCode"] == 0


def test_a_drop_within_a_step_comes_at_its_time() -> None:
    def run(steps: list[float]) -> tuple[int, int]:
        with (
            Sandbox(speed=0, trading=False, symbols=["BTCUSDT"]) as exchange,
            RawClient(exchange) as client,
        ):
            client.ask("subscribe", BOOK, "publicTrade.BTCUSDT")
            exchange.wait_for(lambda each: any(c.topics for c in each.connections))
            exchange.play(Scenario([Step("drop", at=1.0, how="fin")]))
            begun = exchange.time_ms
            for seconds in steps:
                exchange.step(seconds)
            return len(exchange.sent), max(each.time_ms for each in exchange.sent) - begun

    assert run([3.0]) == run([0.5] * 6)
    assert run([3.0])[1] <= 1010


def test_what_a_scenario_does_at_0_s_is_done_when_play_returns() -> None:
    with Sandbox(speed=0, market=False) as exchange:
        exchange.play(Scenario([Step("refuse_handshakes", at=0, status=502, times=1)]))
        assert not exchange.playing


def test_a_list_of_steps_is_a_scenario_and_a_wrong_one_is_named() -> None:
    with Sandbox(speed=0, market=False) as exchange:
        exchange.play([Step("drop", at=0)])
        with pytest.raises(ConfigurationError, match=r"scenario, at 2 s: step 'drop'.*howw"):
            exchange.play([Step("drop", at=0), Step("drop", at=2.0, howw="x")])


def test_a_step_of_nothing_does_what_is_due() -> None:
    with Sandbox(speed=0, market=False) as exchange, RawClient(exchange):
        exchange.play(Scenario([Step("drop", at=0)]))
        exchange.step(0)
        assert not exchange.playing
        exchange.wait_for(lambda each: not each.connections)


def test_how_time_is_cut_into_steps_changes_nothing() -> None:
    def run(steps: list[float]) -> Any:
        with Sandbox(speed=0, seed=3, symbols=["BTCUSDT", "ETHUSDT"]) as exchange:
            for seconds in steps:
                exchange.step(seconds)
            return exchange.call(
                lambda server: (
                    server.market.mark_price("BTCUSDT"),
                    [order.order_id for order in server.account.orders],
                    server.account.wallet,
                )
            )

    whole = run([6.0])
    assert run([1.0] * 6) == whole
    assert run([0.015] * 400) == whole
    assert run([0.003] * 2000) == whole


def test_a_long_step_waits_for_a_client_that_is_not_instant() -> None:
    books = [f"orderbook.{depth}.{name}USDT" for depth in (50, 200) for name in ("BTC", "ETH")]
    with (
        Sandbox(speed=0, trading=False, activity=5.0) as exchange,
        make_client(exchange) as client,
    ):
        client.subscribe(books, lambda _: threading.Event().wait(0.0002))
        client.wait_until_ready()
        exchange.step(60)
        assert len(exchange.connections) == 1


def test_time_never_runs_back(monkeypatch: pytest.MonkeyPatch) -> None:
    real = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: real[0])
    clock = VenueClock()
    seen = [clock.look()]
    for pause in (0.5, 4.0, 0.1, 60.0, 0.0):
        real[0] += pause
        seen += [clock.now_ms(), clock.look(), clock.now_ms()]
    assert seen == sorted(seen)
    assert seen[-1] - seen[0] == 500 + 1000 + 100 + 1000


# Clients


@pytest.mark.parametrize(
    "text",
    [
        "[" * 20_000 + "]" * 20_000,
        '{"op":"auth","args":["SandboxKey0123456789","²","x"]}',
        '{"op":"auth","args":["SandboxKey0123456789","' + "9" * 5000 + '","x"]}',
    ],
)
def test_odd_frames_are_refused_and_the_connection_stays(quiet: Sandbox, text: str) -> None:
    with RawClient(quiet, "v3", "private") as client:
        client.send(text)
        assert client.message()["success"] is False
        client.send('{"op":"ping"}')
        assert "pong" in json.dumps(client.message())


def test_pings_can_be_left_unanswered(quiet: Sandbox) -> None:
    quiet.rules.silent_ops.add("ping")
    with make_client(quiet, ping_interval=0.1, pong_timeout=0.1) as client:
        reasons: list[str] = []
        client.listen(lambda event: reasons.append(getattr(event, "reason", "")))
        client.subscribe(BOOK, ignore)
        quiet.wait_for(lambda _: any("no pong" in each for each in reasons))


def test_a_close_code_comes_back(quiet: Sandbox) -> None:
    with RawClient(quiet) as client:
        client.sock.sendall(b"\x88\x82\0\0\0\0" + (4001).to_bytes(2, "big"))
        assert client.item() == Close(4001, "")


# Faults


def message(topic: str = "tickers.X", kind: str = "data", **data: Any) -> Outgoing:
    payload = json.dumps({"topic": topic, "data": data or 1}).encode()
    return Outgoing(payload, encode_frame(payload), topic, kind)


@pytest.mark.parametrize("payload", ["hello", b"hello", {"hello": 1}])
def test_a_replacement_may_be_text_bytes_or_a_dictionary(payload: Any) -> None:
    (planned,) = FaultList_with(Fault("replace", payload=payload)).apply("c", "public", message())
    assert planned.message.payload in (b"hello", b'{"hello":1}')


def FaultList_with(*faults: Fault) -> FaultList:  # noqa: N802 (reads like what it makes)
    made = FaultList()
    for fault in faults:
        made.add(fault)
    return made


def test_a_cross_waits_for_an_order_book_with_an_ask() -> None:
    faults = FaultList_with(Fault("garbage", topic="tickers.*"), Fault("cross"))
    book = {"b": [["99", "0"]], "a": []}
    for each in (message(), message(kind="pong", topic=""), message(BOOK, **book)):
        faults.apply("c", "public", each)
    deleted = message(BOOK, b=[], a=[["101", "0"]])
    assert faults.apply("c", "public", deleted)[0].message == deleted
    crossed = faults.apply("c", "public", message(BOOK, b=[], a=[["101", "0"], ["102", "1"]]))
    bids = json.loads(crossed[0].message.payload)["data"]["b"]
    assert float(bids[0][0]) > 102
    assert not faults


def test_control_frames_are_hit_only_if_asked_for() -> None:
    ping = Outgoing(b"", b"\x89\x00", kind="control")
    faults = FaultList_with(Fault("withhold"))
    assert len(faults.apply("c", "public", ping)) == 1
    assert faults.apply("c", "public", message()) == []
    assert FaultList_with(Fault("withhold", kind="control")).apply("c", "public", ping) == []


def test_reordering_loses_nothing_on_any_connection() -> None:
    faults = FaultList_with(Fault("reorder"))
    left: dict[str, list[str]] = {"A": [], "B": []}
    for conn, name in (("A", "a1"), ("B", "b1"), ("B", "b2"), ("A", "a2"), ("A", "a3")):
        for planned in faults.apply(conn, "public", message(name)):
            left[conn].append(planned.message.topic)
    assert left == {"A": ["a2", "a1", "a3"], "B": ["b2", "b1"]}
    assert not faults


def test_healing_lets_everything_leave_and_ends_every_refusal(quiet: Sandbox) -> None:
    with RawClient(quiet) as client:
        quiet.fault("reorder", kind="data")
        quiet.fault("delay", kind="pong", seconds=3600)
        quiet.refuse_auth("no", times=5)
        client.send('{"op":"ping"}')
        quiet.push({"topic": BOOK, "data": 1})
        quiet.wait_for(lambda each: each.connections[0].buffered > 0)
        quiet.heal()
        kinds = {"pong" in json.dumps(client.message()) for _ in range(2)}
        assert kinds == {True, False}
    with make_client(quiet) as ready:
        ready.subscribe("copyTradeOrder", ignore)
        ready.wait_until_ready()


def test_a_close_frame_does_not_break_into_a_stalled_one(quiet: Sandbox) -> None:
    with RawClient(quiet) as client:
        quiet.fault("stall", kind="pong", offset=10)
        client.send('{"op":"ping"}')
        client.sock.settimeout(5)
        begun = client.sock.recv(10)
        quiet.drop()
        assert client.sock.recv(100) == b""
        assert begun[0] == 0x81


def test_another_process_cannot_ask_for_nonsense(quiet: Sandbox) -> None:
    observer = Observer(quiet.url)
    for command, arguments in (
        ("slow_down", {"bytes_per_second": "x"}),
        ("slow_down", {"bytes_per_second": -5}),
        ("drop", {"scope": "Public"}),
        ("drop", {"how": "RST"}),
        ("drop", {"reason": 5}),
        ("silence", {"direction": "dwn"}),
        ("push", {"payload": 5}),
    ):
        with pytest.raises(ConfigurationError):
            observer.do(command, **arguments)
    observer.close()


def test_odd_calls_are_refused(quiet: Sandbox) -> None:
    for wrong in (
        lambda: quiet.push_topic({"data": 1}),
        lambda: quiet.sent_after(-1),
        lambda: quiet.refuse_handshakes(403, 0),
        lambda: quiet.refuse_auth(""),
    ):
        with pytest.raises(ConfigurationError):
            wrong()


def test_a_random_scenario_ends_when_it_says() -> None:
    for seed in range(100):
        assert max(step.at for step in Scenario.random(seed, 10.0, 1.0).timed) <= 10.0


def test_a_checker_follows_one_of_several_connections() -> None:
    checker = Checker()
    for number in range(3):
        for conn in "AB":
            sent = Sent(2 * number + 1, conn, "public", "v5", "t", b"m%d" % number, 0)
            checker.sent([sent])
        checker.got("t", b"m%d" % number)
    report = checker.report()
    assert report.ok, report.faults
    assert report.matched == 3
    assert checker.report() is not report


def test_a_client_that_leaves_in_the_handshake_leaves_no_error(
    quiet: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    with FaultProxy(quiet) as proxy:
        for offset in range(0, 40, 4):
            proxy.down.cut_at(offset, "rst")
            with pytest.raises((OSError, AssertionError)):
                requests.get(proxy.url.replace("ws", "http") + "/v5/market/time", timeout=5)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
