"""Each fault of the local exchange does what it says: seen with a raw socket."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from raw_client import RawClient

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.sandbox import GARBAGE, Sandbox, Scenario, Step
from bybit_copyws.sandbox.garbage import encode_frame, make_garbage
from bybit_copyws.wire.frames import Close

TRADES = "publicTrade.BTCUSDT"
SYMBOL_TOPICS = ("publicTrade.BTCUSDT", "tickers.BTCUSDT")


def push(number: int, topic: str = TRADES) -> dict[str, Any]:
    return {"topic": topic, "type": "snapshot", "ts": number, "data": []}


def framed(number: int) -> bytes:
    return encode_frame(json.dumps(push(number), separators=(",", ":")).encode())


@pytest.fixture
def listener(quiet: Sandbox) -> Iterator[RawClient]:
    """A client that is subscribed, with nothing unread."""
    with RawClient(quiet) as client:
        assert client.ask("subscribe", TRADES)["success"]
        client.raw = b""
        yield client


def numbers(client: RawClient, count: int) -> list[int]:
    return [client.message()["ts"] for _ in range(count)]


# The end of a connection


@pytest.mark.parametrize("code", [1000, 1001, 1012, 4000])
def test_a_close_frame_has_the_code_and_the_reason(
    quiet: Sandbox, listener: RawClient, code: int
) -> None:
    assert quiet.drop(how="close", code=code, reason="bye") == 1
    assert listener.item() == Close(code, "bye")


def test_a_fin_is_the_end_without_a_close_frame(quiet: Sandbox, listener: RawClient) -> None:
    quiet.drop(how="fin")
    assert listener.item() is None
    assert listener.raw == b""


def test_an_rst_is_a_reset(quiet: Sandbox, listener: RawClient) -> None:
    quiet.drop("public", how="rst")
    with pytest.raises(ConnectionResetError):
        listener.item()


def test_a_scope_spares_the_other(quiet: Sandbox, listener: RawClient) -> None:
    assert quiet.drop("private", how="rst") == 0
    assert listener.silent()


# Silence and slowness


@pytest.mark.parametrize("direction", ["down", "both"])
def test_a_silent_exchange_sends_nothing_until_it_resumes(
    quiet: Sandbox, listener: RawClient, direction: str
) -> None:
    assert quiet.silence(direction=direction) == 1
    quiet.push(push(1))
    listener.send({"op": "ping"})
    assert listener.silent()
    assert quiet.connections[0].buffered > 0
    assert quiet.resume() == 1
    assert numbers(listener, 1) == [1]
    assert listener.message()["ret_msg"] == "pong"


def test_a_deaf_exchange_reads_nothing_but_data_flows(quiet: Sandbox, listener: RawClient) -> None:
    quiet.silence(direction="up")
    heard = len(quiet.received)
    listener.send({"op": "ping"})
    quiet.push(push(1))
    assert numbers(listener, 1) == [1]
    assert listener.silent()
    assert len(quiet.received) == heard
    quiet.resume()
    assert listener.message()["ret_msg"] == "pong"


def test_a_silent_exchange_does_not_answer_a_close_frame(
    quiet: Sandbox, listener: RawClient
) -> None:
    quiet.silence()
    listener.send("\x03\xe8", opcode=8)
    assert listener.silent()
    quiet.resume()
    assert isinstance(listener.item(), Close)


def test_silence_ends_with_the_connection(
    quiet: Sandbox, listener: RawClient, eventually: Callable[..., bool]
) -> None:
    quiet.silence(direction="down")
    listener.sock.close()
    assert eventually(lambda: not quiet.connections)


def test_a_new_connection_is_not_silent(quiet: Sandbox, listener: RawClient) -> None:
    quiet.silence()
    with RawClient(quiet) as other:
        assert other.ask("ping")["ret_msg"] == "pong"
    assert listener.silent()


def test_a_slow_line_dribbles(quiet: Sandbox, listener: RawClient) -> None:
    size = len(framed(1))
    quiet.slow_down(size * 5)
    started = time.monotonic()
    quiet.push(push(1))
    quiet.push(push(2))
    assert numbers(listener, 2) == [1, 2]
    assert time.monotonic() - started > 0.3  # two frames at five in a second
    quiet.resume()


# Faults of messages


def test_a_stall_cuts_exactly_there(
    quiet: Sandbox, listener: RawClient, eventually: Callable[..., bool]
) -> None:
    quiet.fault("stall", offset=10)
    quiet.push(push(1))
    quiet.push(push(2))
    assert listener.silent()
    assert listener.raw == framed(1)[:10]
    assert [sent.payload for sent in quiet.sent if sent.topic == TRADES] == []
    quiet.resume()
    assert numbers(listener, 2) == [1, 2]
    assert eventually(lambda: len([s for s in quiet.sent if s.topic == TRADES]) == 2)


def test_a_message_is_withheld(quiet: Sandbox, listener: RawClient) -> None:
    active = quiet.fault("withhold", topic="publicTrade.*")
    for number in (1, 2):
        quiet.push(push(number))
    assert numbers(listener, 1) == [2]
    assert active.hit == 1
    assert len([sent for sent in quiet.sent if sent.topic == TRADES]) == 1


def test_a_message_is_duplicated(quiet: Sandbox, listener: RawClient) -> None:
    quiet.fault("duplicate")
    for number in (1, 2):
        quiet.push(push(number))
    assert numbers(listener, 3) == [1, 1, 2]


def test_messages_are_reordered(quiet: Sandbox, listener: RawClient) -> None:
    quiet.fault("reorder", count=3)
    for number in (1, 2, 3, 4):
        quiet.push(push(number))
    assert numbers(listener, 4) == [3, 2, 1, 4]


def test_a_message_is_delayed_and_others_pass(quiet: Sandbox, listener: RawClient) -> None:
    quiet.fault("delay", seconds=0.2)
    started = time.monotonic()
    for number in (1, 2):
        quiet.push(push(number))
    assert numbers(listener, 2) == [2, 1]
    assert time.monotonic() - started >= 0.19


def test_data_may_come_before_the_ack(quiet: Sandbox) -> None:
    quiet.fault("delay", kind="subscribe", seconds=0.1)
    with RawClient(quiet) as client:
        client.send({"op": "subscribe", "args": [TRADES]})
        quiet.wait_for(lambda exchange: bool(exchange.connections[0].topics))
        quiet.push_topic(push(1))
        assert client.message()["ts"] == 1
        assert client.message()["op"] == "subscribe"


@pytest.mark.parametrize("kind", ["auth", "subscribe", "pong"])
@pytest.mark.parametrize("profile", ["v3", "v5"])
def test_an_answer_is_withheld_once(quiet: Sandbox, profile: str, kind: str) -> None:
    quiet.fault("withhold", kind=kind)
    with RawClient(quiet, profile, "private") as client:
        if kind == "auth":
            _ask_in_vain(client, "auth")
        elif kind == "pong":
            _ask_in_vain(client, "ping")
        else:
            client.log_in()
            _ask_in_vain(client, "subscribe", "copyTradeOrder" if profile == "v3" else "order")
        assert client.ask("ping")


def _ask_in_vain(client: RawClient, op: str, *args: str) -> None:
    client.send({"op": op, "args": list(args)})
    assert client.silent()


def test_an_answer_is_wrong(quiet: Sandbox) -> None:
    wrong = {"success": True, "ret_msg": "", "req_id": "not yours", "op": "subscribe"}
    quiet.fault("replace", kind="subscribe", payload=json.dumps(wrong).encode())
    with RawClient(quiet) as client:
        assert client.ask("subscribe", TRADES) == wrong


def test_a_book_skips_an_update_and_is_crossed() -> None:
    topic = "orderbook.50.BTCUSDT"
    with Sandbox(trading=False, speed=0) as exchange, RawClient(exchange) as client:
        client.ask("subscribe", topic)
        first = client.message()["data"]["u"]
        exchange.fault("withhold", topic=topic)
        exchange.step(1)
        assert client.message()["data"]["u"] == first + 2
        exchange.fault("cross", topic=topic, times=None)
        exchange.step(1)
        assert any(_is_crossed(client.message()["data"]) for _ in range(80))


def _is_crossed(data: dict[str, Any]) -> bool:
    bids = [float(price) for price, size in data["b"] if float(size)]
    asks = [float(price) for price, size in data["a"] if float(size)]
    return bool(bids and asks) and max(bids) > min(asks)


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_arrives_as_it_is(quiet: Sandbox, listener: RawClient, kind: str) -> None:
    assert quiet.garbage(kind, topic=TRADES) == 1
    wanted = make_garbage(kind, TRADES)
    while len(listener.raw) < len(wanted):
        part = listener.sock.recv(65_536)
        assert part
        listener.raw += part
    assert listener.raw == wanted


def test_healing_ends_everything(quiet: Sandbox, listener: RawClient) -> None:
    quiet.fault("withhold", times=None)
    quiet.silence()
    quiet.refuse_handshakes(503, times=None)
    quiet.heal()
    quiet.push(push(1))
    assert numbers(listener, 1) == [1]
    with RawClient(quiet) as other:
        assert other.status == 101


# Handshakes


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"status": 403}, b""),
        ({"status": 429, "retry_after": 7}, b"Retry-After: 7"),
        ({"status": 502, "body": "bad gateway"}, b""),
        ({"status": 302, "location": "http://127.0.0.1:1/"}, b"Location: http://127.0.0.1:1/"),
    ],
)
def test_a_handshake_is_refused_once(
    quiet: Sandbox, arguments: dict[str, Any], line: bytes
) -> None:
    quiet.refuse_handshakes(**arguments)
    with RawClient(quiet) as refused, RawClient(quiet) as accepted:
        assert refused.status == arguments["status"]
        assert line in refused.head
        assert accepted.status == 101


def test_a_handshake_is_answered_by_plain_text(quiet: Sandbox) -> None:
    quiet.refuse_handshakes(0, body="SSH-2.0-OpenSSH\r\n", scope="private")
    with RawClient(quiet) as public, RawClient(quiet, "v5", "private") as private:
        assert public.status == 101
        assert private.head == b"SSH-2.0-OpenSSH\r\n"


def test_five_hundred_connections_in_five_minutes_and_no_more(quiet: Sandbox) -> None:
    quiet.rules.max_connections = 3
    for _ in range(3):
        with RawClient(quiet) as client:
            assert client.status == 101
    with RawClient(quiet) as client:
        assert client.status == 403
    with RawClient(quiet, scope="private") as client:  # counted for each path
        assert client.status == 101
    quiet.rules.connection_window = 0.0
    with RawClient(quiet) as client:
        assert client.status == 101


# Idleness and restart


@pytest.mark.parametrize(
    ("profile", "query", "limit"),
    [
        ("v5", "", 600),
        ("v5", "?max_active_time=30s", 30),
        ("v5", "?max_active_time=1m", 60),
        ("v5", "?max_active_time=5s", 600),
        ("v5", "?max_active_time=soon", 600),
        ("v3", "?max_active_time=30s", 600),
    ],
)
def test_an_idle_connection_is_cut(profile: str, query: str, limit: int) -> None:
    with (
        Sandbox(speed=0, trading=False) as exchange,
        RawClient(exchange, profile, "private", query) as client,
    ):
        exchange.step(limit - 10)
        assert client.ask("ping")
        exchange.step(limit)
        assert client.silent()
        exchange.step(1)
        assert client.item() is None


def test_a_restart_begins_the_books_anew(quiet: Sandbox) -> None:
    topic = "orderbook.50.BTCUSDT"
    with Sandbox(speed=0, trading=False) as exchange:
        with RawClient(exchange) as client:
            client.ask("subscribe", topic)
            client.message()
            exchange.step(1)
            exchange.restart(how=None)
            exchange.step(1)
            updates = []
            while not updates or updates[-1][1] != 1:
                message = client.message()
                updates.append((message["type"], message["data"]["u"]))
            assert updates[-1] == ("snapshot", 1)
            exchange.restart()
            while not isinstance(item := client.item(), Close):
                pass
            assert item.code == 1012
        with RawClient(exchange) as client:
            client.ask("subscribe", topic)
            assert client.message()["data"]["u"] == 1


# Scenarios


def test_a_scenario_plays_its_steps(
    quiet: Sandbox, listener: RawClient, eventually: Callable[..., bool]
) -> None:
    steps = [
        Step("push", at=0.0, payload=push(1)),
        Step("fault", after=1, action="withhold", topic=TRADES),
        Step("push", at=0.05, payload=push(2)),
        Step("push", at=0.06, payload=push(3)),
        Step("drop", at=0.1, how="fin"),
    ]
    quiet.play(Scenario(steps))
    assert quiet.playing
    assert numbers(listener, 2) == [1, 3]
    assert listener.item() is None
    assert eventually(lambda: not quiet.playing)


def test_every_step_of_a_random_scenario_can_be_done(quiet: Sandbox) -> None:
    scenario = Scenario.random(3, seconds=200.0, per_second=1.0)
    with Sandbox(speed=0, market=False, trading=False) as exchange:
        exchange.play(scenario)
        exchange.step(201.0)
        assert not exchange.playing


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda ex: ex.drop("both"), "scope"),
        (lambda ex: ex.drop(how="gently"), "how"),
        (lambda ex: ex.silence(direction="left"), "direction"),
        (lambda ex: ex.slow_down(0), "bytes_per_second"),
        (lambda ex: ex.fault("explode"), "action"),
        (lambda ex: ex.garbage("nice"), "known are"),
        (lambda ex: ex.refuse_handshakes(99), "status"),
        (lambda ex: ex.restart("softly"), "how"),
        (lambda ex: ex.step(1), "speed=0"),
        (lambda ex: ex.play("nowhere.json"), "nowhere"),
    ],
)
def test_what_cannot_be_done_is_named(
    quiet: Sandbox, call: Callable[[Sandbox], object], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        call(quiet)


@pytest.mark.parametrize(
    "options", [{"speed": -1}, {"cadence": "slow"}, {"history": 0}, {"symbols": ["nonsense"]}]
)
def test_a_sandbox_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Sandbox(**options)
