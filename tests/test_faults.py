"""What the client does when the link, the exchange or a callback misbehaves."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from exchange import held, ignore, make_client
from raw_server import Peer, RawServer, frame

from bybit_copyws import Backoff, ConnectionBudget, CopyTradingClient, Environment
from bybit_copyws.errors import ConnectFailed
from bybit_copyws.events import (
    BadMessage,
    BudgetExhausted,
    CallbackSlow,
    State,
    StateChanged,
)
from bybit_copyws.sandbox import Sandbox
from bybit_copyws.stream.stream import MAX_BAD_MESSAGES
from bybit_copyws.stream.transport import Transport

TRADES = "publicTrade.BTCUSDT"
PATIENCE = 5.0
MESSAGE = {"topic": TRADES, "type": "snapshot", "ts": 1, "data": []}
ACK = '{"success":true,"ret_msg":"","conn_id":"c","req_id":"","op":"subscribe"}'


def losses(client: CopyTradingClient) -> queue.SimpleQueue[str]:
    """Collect why links were lost."""
    reasons: queue.SimpleQueue[str] = queue.SimpleQueue()

    def note(event: StateChanged) -> None:
        if event.new is State.BACKOFF:
            reasons.put(event.reason)

    client.listen(note, StateChanged)
    return reasons


def raw_client(server: RawServer, **options: Any) -> CopyTradingClient:
    """Return a client without keys for a raw server."""
    environment = Environment("raw", server.url, server.url, "http://127.0.0.1:1")
    options.setdefault("backoff", Backoff(base=0.05, cap=0.1, good_after=0.0))
    options.setdefault("connection_budget", ConnectionBudget(100_000))
    return CopyTradingClient(environment=environment, **options)


def test_a_pong_that_does_not_come_ends_the_link_although_data_flows(
    quiet: Sandbox, eventually: Callable[..., bool]
) -> None:
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()
    quiet.fault("withhold", kind="pong", times=None)
    with make_client(quiet, ping_interval=0.1, pong_timeout=0.2) as client:
        reasons = losses(client)
        client.subscribe(TRADES, got.put)
        client.wait_until_ready()

        def lost_while_data_flows() -> bool:
            quiet.push(MESSAGE)
            return not reasons.empty()

        assert eventually(lost_while_data_flows)
        assert "pong" in reasons.get().lower()
        assert got.qsize() > 10
        quiet.heal()
        client.wait_until_ready()


def test_pings_keep_a_quiet_link(quiet: Sandbox) -> None:
    with make_client(quiet, ping_interval=0.05, pong_timeout=0.5) as client:
        client.subscribe(TRADES, ignore)
        client.wait_until_ready()
        quiet.wait_for(
            lambda exchange: sum('"ping"' in each.text for each in exchange.received) >= 10
        )
        assert client.health().connections["public"].last_pong is not None
    assert quiet.accepted == 1


def test_a_slow_callback_is_reported_and_costs_no_link(quiet: Sandbox) -> None:
    slow: queue.SimpleQueue[Any] = queue.SimpleQueue()
    done = threading.Event()
    with make_client(quiet, ping_interval=0.1, pong_timeout=0.2) as client:
        client.listen(slow.put, CallbackSlow)
        client.subscribe(TRADES, lambda _: done.wait(PATIENCE))
        client.wait_until_ready()
        quiet.push(MESSAGE)
        event = slow.get(timeout=PATIENCE)
        pings = sum('"ping"' in each.text for each in quiet.received)
        done.set()
        assert event.seconds >= 1.0
        assert pings >= 5  # the heartbeat goes on while the callback blocks
        quiet.wait_for(
            lambda exchange: sum('"ping"' in each.text for each in exchange.received) > pings + 2
        )
    assert quiet.accepted == 1
    assert slow.empty()  # told once


def test_an_operation_without_a_reply_ends_the_link_and_is_repeated(quiet: Sandbox) -> None:
    quiet.rules.silent_ops.add("subscribe")
    with make_client(quiet, reply_timeout=0.2) as client:
        reasons = losses(client)
        client.subscribe(TRADES, ignore)
        assert "no reply to subscribe publicTrade.BTCUSDT" in reasons.get(timeout=PATIENCE)
        quiet.rules.silent_ops.clear()
        client.wait_until_ready()
        assert held(quiet) == {TRADES: 1}


def test_unreadable_messages_are_reported_and_too_many_end_the_link(quiet: Sandbox) -> None:
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with make_client(quiet) as client:
        reasons = losses(client)
        client.listen(told.put, BadMessage)
        client.subscribe(TRADES, ignore)
        client.wait_until_ready()
        for _ in range(MAX_BAD_MESSAGES):
            quiet.push(b"hello")
        assert "unreadable" in reasons.get(timeout=PATIENCE)
        client.wait_until_ready()
        assert [told.get(timeout=PATIENCE).excerpt for _ in range(MAX_BAD_MESSAGES)] == [
            b"hello"
        ] * MAX_BAD_MESSAGES
    assert quiet.accepted == 2


def test_a_spent_budget_is_told_and_kept(quiet: Sandbox) -> None:
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with make_client(quiet, connection_budget=ConnectionBudget(2, 60)) as client:
        client.listen(told.put, BudgetExhausted)
        client.subscribe(TRADES, ignore)
        for attempt in (1, 2):
            quiet.wait_for(lambda exchange, n=attempt: exchange.accepted == n)
            assert quiet.drop(how="rst") == 1
        event = told.get(timeout=PATIENCE)
        assert 50 < event.until - event.time <= 60
        assert event.host in quiet.url
        assert client.health().connections["public"].state == "backoff"
    assert quiet.accepted == 2


def test_a_budget_is_asked_without_a_lock_and_by_a_name(quiet: Sandbox) -> None:
    # One that several processes share may have to wait for its file.
    asked: list[str] = []
    clients: list[CopyTradingClient] = []

    class Curious(ConnectionBudget):
        def take(self, host: str, now: float, who: str = "") -> float:
            asked.append(who)
            clients[0].health()
            clients[0].subscribe("tickers.ETHUSDT", ignore)
            return super().take(host, now, who)

        def headroom(self, host: str, now: float) -> float:
            clients[0].health()
            return super().headroom(host, now)

    with make_client(quiet, connection_budget=Curious(100)) as client:
        clients.append(client)
        client.subscribe(["tickers.BTCUSDT", "copyTradeOrder"], ignore)
        client.wait_until_ready()
        quiet.drop(how="rst")
        quiet.wait_for(lambda _: len(asked) >= 4)
        client.wait_until_ready()
    assert len(set(asked)) == 2


def test_a_message_that_stops_in_its_middle_ends_the_link() -> None:
    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.read()
        peer.sock.sendall(frame(ACK) + frame("x" * 300)[:100])

    with RawServer(script) as server, raw_client(server, frame_timeout=0.2) as client:
        reasons = losses(client)
        client.subscribe(TRADES, ignore)
        assert "did not end within 0.2 s" in reasons.get(timeout=PATIENCE)


def test_a_server_that_takes_nothing_ends_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's buffers are bigger than all a client ever sends, so they are filled here."""
    opened = Transport._read

    def fill_first(self: Transport) -> None:
        link = self._link
        assert link is not None
        link.send(frame("x" * 2**26))
        opened(self)

    monkeypatch.setattr(Transport, "_read", fill_first)
    with RawServer(Peer.upgrade) as server, raw_client(server, send_timeout=0.2) as client:
        reasons = losses(client)
        subscription = client.subscribe(TRADES, ignore)
        assert "takes nothing" in reasons.get(timeout=PATIENCE)
        assert subscription.state.value == "pending"


@pytest.mark.parametrize("status", [403, 429, 502])
def test_a_refused_handshake_is_named_and_tried_again(quiet: Sandbox, status: int) -> None:
    quiet.refuse_handshakes(status, times=None)
    backoff = Backoff(base=0.05, cap=0.1, refused=0.0)
    with make_client(quiet, backoff=backoff) as client:
        reasons = losses(client)
        client.subscribe(TRADES, ignore)
        assert str(status) in reasons.get(timeout=PATIENCE)
        quiet.heal()
        client.wait_until_ready()


QUICK = Backoff(base=0.01, cap=0.01, refused=0.0)


@pytest.mark.parametrize("status", [401, 404])
def test_a_refusal_that_never_passes_ends_in_its_error(quiet: Sandbox, status: int) -> None:
    quiet.refuse_handshakes(status, times=None)
    client = make_client(quiet, backoff=QUICK)
    subscription = client.subscribe(TRADES, ignore)
    with pytest.raises(ConnectFailed, match=f"HTTP {status}") as caught:
        client.run_forever()
    assert caught.value.status == status
    with pytest.raises(ConnectFailed):
        subscription.wait()
    assert quiet.accepted == 0


@pytest.mark.parametrize(("status", "retry_after"), [(403, None), (404, 0)])
def test_what_may_pass_is_waited_out_from_the_beginning(
    quiet: Sandbox, status: int, retry_after: int | None
) -> None:
    quiet.refuse_handshakes(status, times=QUICK.give_up_after + 3, retry_after=retry_after)
    with make_client(quiet, backoff=QUICK) as client:
        client.subscribe(TRADES, ignore)
        client.wait_until_ready()


def test_a_refusal_after_good_times_is_waited_out(quiet: Sandbox) -> None:
    with make_client(quiet, backoff=QUICK) as client:
        reasons = losses(client)
        client.subscribe(TRADES, ignore)
        client.wait_until_ready()
        quiet.refuse_handshakes(404, times=20)
        quiet.drop()
        for _ in range(21):
            reasons.get(timeout=PATIENCE)
        client.wait_until_ready()


def test_a_certificate_that_is_not_valid_ends_in_its_error() -> None:
    with Sandbox(seed=1, tls=True, market=False) as exchange:
        client = make_client(exchange, backoff=QUICK)  # it does not trust the exchange's authority
        client.subscribe(TRADES, ignore)
        with client, pytest.raises(ConnectFailed, match="certificate is not valid"):
            client.wait_until_ready()


def test_a_tls_handshake_that_is_cut_is_tried_again() -> None:
    cuts: list[int] = []

    def cut(peer: Peer) -> None:
        cuts.append(len(peer.sock.recv(4096)))
        peer.sock.close()

    with RawServer(cut) as server:
        environment = Environment(
            "raw", server.url.replace("ws", "wss"), "wss://x.test", "https://x"
        )
        client = CopyTradingClient(
            environment=environment, backoff=QUICK, connection_budget=ConnectionBudget(100_000)
        )
        reasons = losses(client)
        client.subscribe(TRADES, ignore)
        with client:
            for _ in range(10):
                assert "TLS handshake failed" in reasons.get(timeout=PATIENCE)
    assert len(cuts) >= 10


def test_retry_after_is_obeyed() -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.sock.sendall(b"HTTP/1.1 503 Busy\r\nRetry-After: 3600\r\n\r\n")

    with RawServer(script) as server, raw_client(server) as client:
        reasons = losses(client)
        client.subscribe(TRADES, ignore)
        assert "3600.0 s" in reasons.get(timeout=PATIENCE)


def test_a_bug_in_the_transport_is_logged_and_the_stream_comes_back(
    quiet: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = Transport.run

    def boom(self: Transport, *args: Any) -> Any:
        monkeypatch.setattr(Transport, "run", run)
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Transport, "run", boom)
    with make_client(quiet) as client:
        client.subscribe(TRADES, ignore)
        client.wait_until_ready()
    assert any(record.exc_info for record in caplog.records)


def test_a_connection_opens_only_when_a_topic_needs_it(quiet: Sandbox) -> None:
    with make_client(quiet) as client:
        client.subscribe(TRADES, ignore)
        client.wait_until_ready()
        assert [each.scope for each in quiet.connections] == ["public"]
        client.subscribe("copyTradeOrder", ignore)
        client.wait_until_ready()
        assert sorted(each.scope for each in quiet.connections) == ["private", "public"]


def test_a_link_without_topics_is_not_opened_again_until_one_comes(
    quiet: Sandbox, eventually: Callable[..., bool]
) -> None:
    with make_client(quiet) as client:
        subscription = client.subscribe(TRADES, ignore)
        client.wait_until_ready()
        subscription.unsubscribe()
        subscription.wait(PATIENCE)
        quiet.drop()
        assert eventually(lambda: client.health().connections["public"].state == "idle")
        client.subscribe(TRADES, ignore)
        client.wait_until_ready()
    assert quiet.accepted == 2


# close() returns within its two seconds wherever the connection stands


def _silence(peer: Peer) -> None:
    del peer


def _unanswered_upgrade(peer: Peer) -> None:
    peer.read_request()


def _never_reads(peer: Peer) -> None:
    peer.upgrade()


def _middle_of_a_message(peer: Peer) -> None:
    peer.upgrade()
    peer.sock.sendall(frame("x" * 300)[:100])


def _refuses(peer: Peer) -> None:
    peer.read_request()
    peer.sock.sendall(b"HTTP/1.1 503 Busy\r\nRetry-After: 60\r\n\r\n")


def close_in_time(client: CopyTradingClient) -> None:
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < 2.2
    states = {each.state for each in client.health().connections.values()}
    assert states == {"closed"}


@pytest.mark.parametrize(
    ("script", "state"),
    [
        (_silence, "connecting"),
        (_unanswered_upgrade, "connecting"),
        (_never_reads, "active"),
        (_middle_of_a_message, "active"),
        (_refuses, "backoff"),
    ],
)
def test_close_against_a_server_that_does_not_help(
    script: Callable[[Peer], None], state: str, eventually: Callable[..., bool]
) -> None:
    with RawServer(script) as server:
        client = raw_client(server)
        client.subscribe(TRADES, ignore)
        client.start()
        assert eventually(lambda: client.health().connections["public"].state == state)
        close_in_time(client)


def test_close_while_the_name_is_being_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = threading.Event(), threading.Event()

    def hang(*_: object) -> list[Any]:
        asked.set()
        answer.wait(PATIENCE)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    far = Environment("far", "wss://far.example", "wss://far.example", "https://far.example")
    client = CopyTradingClient(environment=far, connection_budget=ConnectionBudget())
    client.subscribe(TRADES, ignore)
    client.start()
    assert asked.wait(PATIENCE)
    close_in_time(client)
    answer.set()


def test_close_while_logging_in(quiet: Sandbox, eventually: Callable[..., bool]) -> None:
    quiet.rules.silent_ops.add("auth")
    client = make_client(quiet)
    client.subscribe("copyTradeOrder", ignore)
    client.start()
    state = client.health().connections
    assert eventually(lambda: client.health().connections["private"].state == "authenticating"), (
        state
    )
    close_in_time(client)


def test_close_while_the_budget_is_spent(quiet: Sandbox) -> None:
    told = threading.Event()
    budget = ConnectionBudget(1, 60)
    client = make_client(quiet, connection_budget=budget)
    client.listen(lambda _: told.set(), BudgetExhausted)
    client.subscribe([TRADES, "copyTradeOrder"], ignore)
    client.start()
    assert told.wait(PATIENCE)
    close_in_time(client)


def test_close_while_a_callback_never_returns(quiet: Sandbox) -> None:
    inside, leave = threading.Event(), threading.Event()
    calls: list[object] = []

    def block(message: object) -> None:
        calls.append(message)
        inside.set()
        leave.wait(PATIENCE)

    client = make_client(quiet)
    client.subscribe(TRADES, block)
    client.start()
    client.wait_until_ready()
    quiet.push(MESSAGE)
    quiet.push(MESSAGE)
    assert inside.wait(PATIENCE)
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < 2.2
    leave.set()
    assert len(calls) == 1  # none starts after close() has returned


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_a_callback_raises_for_the_program_comes_out_of_run_forever(
    quiet: Sandbox, error: type[BaseException]
) -> None:
    def leave(_: object) -> None:
        raise error

    client = make_client(quiet)
    subscription = client.subscribe(TRADES, leave)
    pusher = threading.Thread(target=lambda: subscription.wait(5) or quiet.push(MESSAGE))
    pusher.start()
    with pytest.raises(error):
        client.run_forever()
    pusher.join()
    assert {each.state for each in client.health().connections.values()} == {"closed"}
