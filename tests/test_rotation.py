"""A connection is replaced and nothing is lost, doubled or reported as missing."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest
from exchange import ignore, make_client
from truth import Truth

from bybit_copyws import ConfigurationError, ConnectionBudget, CopyTradingClient, StreamClosed
from bybit_copyws.errors import ConnectFailed, SubscriptionError
from bybit_copyws.events import GapClosed, GapOpened
from bybit_copyws.messages import Message
from bybit_copyws.sandbox import Sandbox
from bybit_copyws.stream import detour, rotation

SYMBOLS = ("BTCUSDT", "ETHUSDT")
TOPICS = tuple(
    f"{channel}.{symbol}"
    for channel in ("orderbook.50", "orderbook.200", "publicTrade", "tickers", "kline.1")
    for symbol in SYMBOLS
)
BOOK, TRADES, ORDERS = "orderbook.50.BTCUSDT", "publicTrade.BTCUSDT", "copyTradeOrder"


@pytest.fixture
def lively() -> Iterator[Sandbox]:
    """An exchange that sends a lot."""
    with Sandbox(seed=1, activity=20.0, cadence="fast", symbols=SYMBOLS) as exchange:
        yield exchange


def gaps(client: CopyTradingClient) -> list[GapOpened | GapClosed]:
    found: list[GapOpened | GapClosed] = []
    client.listen(found.append, GapOpened, GapClosed)
    return found


@pytest.mark.parametrize("profile", ["v3", "v5"])
def test_a_rotation_loses_doubles_and_reports_nothing(lively: Sandbox, profile: str) -> None:
    truth = Truth()
    with make_client(lively, profile=profile) as client:
        told = gaps(client)
        subscription = client.subscribe(TOPICS, truth.take)
        client.wait_until_ready()
        for number in range(1, 11):
            before = truth.counts[BOOK]
            client.rotate()
            lively.wait_for(lambda _, n=before: truth.counts[BOOK] > n + 5)
            health = client.health().connections["public"]
            assert (health.state, health.reconnects) == ("active", number)
            assert len([each for each in lively.connections if each.scope == "public"]) == 1
        assert {handler.state for handler in subscription._handlers} == {subscription.state}
    truth.check(lively)
    assert truth.faults == []
    assert told == []


def test_a_quiet_topic_gets_no_second_snapshot() -> None:
    got: list[Message] = []
    with Sandbox(seed=1, activity=0.0) as exchange, make_client(exchange) as client:
        client.subscribe(["orderbook.50.BTCUSDT", "tickers.BTCUSDT"], got.append)
        client.wait_until_ready()
        exchange.wait_for(lambda _: len({message.topic for message in got}) == 2)
        client.rotate()
        client.rotate()
        assert [message.type for message in got].count("snapshot") == 2
        assert all(message.gap is None for message in got)


def test_what_is_changed_meanwhile_holds_afterwards(lively: Sandbox) -> None:
    late: list[Message] = []
    with make_client(lively) as client:
        client.subscribe([BOOK, TRADES], ignore)
        client.wait_until_ready()
        lively.fault("delay", kind="subscribe", seconds=0.3)
        rotation = threading.Thread(target=client.rotate)
        rotation.start()
        lively.wait_for(lambda each: len([c for c in each.connections if c.scope == "public"]) == 2)
        client.unsubscribe(TRADES)
        client.subscribe("tickers.ETHUSDT", late.append)
        rotation.join(10)
        client.wait_until_ready()
        lively.wait_for(lambda _: late != [])
        lively.wait_for(
            lambda each: [set(c.topics) for c in each.connections] == [{BOOK, "tickers.ETHUSDT"}]
        )


def test_a_private_rotation_logs_in_anew_and_tells_its_gap(
    lively: Sandbox, eventually: Callable[..., bool]
) -> None:
    with make_client(lively) as client:
        told = gaps(client)
        client.subscribe(ORDERS, ignore)
        client.wait_until_ready()
        client.rotate()
        assert eventually(lambda: len(told) == 2)
        assert "replaced" in told[0].reason  # type: ignore[union-attr]
        private = [each for each in lively.connections if each.scope == "private"]
        assert [(each.authenticated, each.topics) for each in private] == [(True, (ORDERS,))]


def test_a_new_connection_that_cannot_be_had_leaves_the_old_one(lively: Sandbox) -> None:
    truth = Truth()
    with make_client(lively) as client:
        told = gaps(client)
        client.subscribe(TOPICS, truth.take)
        client.wait_until_ready()
        lively.refuse_handshakes(502, times=None)
        with pytest.raises(TimeoutError, match="did not bring"):
            client.rotate(0.3)
        lively.heal()
        before = truth.counts[BOOK]
        lively.wait_for(lambda _: truth.counts[BOOK] > before + 5)
        client.rotate()
    truth.check(lively)
    assert truth.faults == []
    assert told == []


def test_a_topic_that_is_refused_now_leaves_the_old_connection(lively: Sandbox) -> None:
    with make_client(lively) as client:
        told = gaps(client)
        client.subscribe([BOOK, TRADES], ignore)
        client.wait_until_ready()
        lively.fault(
            "replace",
            kind="subscribe",
            payload={
                "success": False,
                "ret_msg": f"error:handler not found,topic:{TRADES}",
                "conn_id": "x",
                "req_id": "1",
                "op": "subscribe",
            },
        )
        with pytest.raises(SubscriptionError, match="publicTrade"):
            client.rotate(5.0)
        assert client.health().connections["public"].reconnects == 0
        assert told == []


def test_an_old_connection_that_does_not_answer_is_left_with_a_gap(
    lively: Sandbox, eventually: Callable[..., bool]
) -> None:
    with make_client(lively) as client:
        told = gaps(client)
        client.subscribe([BOOK, TRADES], ignore)
        client.wait_until_ready()
        lively.silence("public")
        client.rotate(1.0)
        assert eventually(lambda: len(told) >= 2)
        assert client.health().connections["public"].reconnects == 1
        client.wait_until_ready()


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.02, 0.05, 0.1])
def test_closing_in_the_middle_of_a_rotation_ends_all(lively: Sandbox, delay: float) -> None:
    # Threads and sockets that are left fail the test.
    client = make_client(lively)
    raised: list[BaseException] = []

    def rotate() -> None:
        try:
            for _ in range(20):
                client.rotate()
        except (StreamClosed, ConnectFailed, TimeoutError) as error:
            raised.append(error)

    with client:
        client.subscribe(TOPICS, ignore)
        client.wait_until_ready()
        rotation = threading.Thread(target=rotate)
        rotation.start()
        threading.Event().wait(delay)
    rotation.join(10)
    assert not rotation.is_alive()
    assert len(raised) == 1


def test_it_rotates_by_itself(lively: Sandbox, eventually: Callable[..., bool]) -> None:
    truth = Truth()
    with make_client(lively, rotate_every=0.1) as client:
        client.subscribe(TOPICS, truth.take)
        assert eventually(lambda: client.health().connections["public"].reconnects >= 3)
    truth.check(lively)
    assert truth.faults == []


def test_by_itself_it_leaves_connections_for_what_is_lost(
    lively: Sandbox, caplog: pytest.LogCaptureFixture, eventually: Callable[..., bool]
) -> None:
    budget = ConnectionBudget(10)
    with make_client(lively, rotate_every=0.05, connection_budget=budget) as client:
        client.subscribe(TOPICS, ignore)
        assert eventually(lambda: "kept for what is lost" in caplog.text)
        rotated = client.health().connections["public"].reconnects
        assert 2 <= rotated <= 5
        lively.drop("public", how="rst")
        assert eventually(lambda: client.health().connections["public"].reconnects > rotated)


def test_why_a_connection_was_not_replaced_is_said(lively: Sandbox) -> None:
    with make_client(lively) as client:
        client.subscribe(TOPICS, ignore)
        client.wait_until_ready()
        lively.refuse_handshakes(status=403, times=50)
        with pytest.raises(TimeoutError, match="403"):
            client.rotate(0.5)
        assert client.health().connections["public"].state == "active"


def test_a_callback_may_not_wait_for_itself(lively: Sandbox) -> None:
    refused: list[BaseException] = []

    with make_client(lively) as client:

        def rotate(_: Message) -> None:
            try:
                client.rotate()
            except ConfigurationError as error:
                refused.append(error)

        client.subscribe(TRADES, rotate)
        lively.wait_for(lambda _: refused != [])


@pytest.mark.parametrize("count", [50, 200, 400])
def test_a_callback_that_closes_while_it_is_handed_over(lively: Sandbox, count: int) -> None:
    client, calls = make_client(lively), [0]

    def close(_: Message) -> None:
        calls[0] += 1
        if calls[0] == count:
            client.close()

    def rotate() -> None:
        for _ in range(1000):
            client.rotate()

    client.subscribe(TOPICS, close)
    client.start()
    client.wait_until_ready()
    with pytest.raises((StreamClosed, ConnectFailed, TimeoutError)):
        rotate()
    client.close()
    assert calls[0] == count


def test_a_callback_that_never_returns_leaves_the_old_connection(
    lively: Sandbox, eventually: Callable[..., bool]
) -> None:
    going_on = threading.Event()
    with make_client(lively) as client:
        client.subscribe([BOOK, TRADES], lambda _: going_on.wait(20))
        lively.wait_for(lambda each: any(c.topics for c in each.connections))
        with pytest.raises(TimeoutError):
            client.rotate(0.3)
        with pytest.raises((TimeoutError, ConnectFailed)):
            client.rotate(0.3)
        going_on.set()
        assert eventually(lambda: len(lively.connections) == 1)
        client.wait_until_ready()
        client.rotate()


def test_without_topics_there_is_nothing_to_replace(lively: Sandbox) -> None:
    with make_client(lively) as client:
        subscription = client.subscribe(TRADES, ignore)
        client.wait_until_ready()
        subscription.unsubscribe()
        subscription.wait()
        client.rotate(1.0)


def test_the_snapshot_comes_if_the_old_connection_did_not_bring_all(lively: Sandbox) -> None:
    got: list[Message] = []
    with make_client(lively) as client:
        client.subscribe(BOOK, got.append)
        client.wait_until_ready()
        lively.wait_for(lambda _: len(got) > 5)
        lively.silence("public")
        client.rotate(0.5)
        lively.wait_for(lambda _: any(message.gap for message in got))
        after = next(message for message in got if message.gap is not None)
        assert after.type == "snapshot"


def test_a_hand_over_that_fails_inside_goes_on_with_the_new_connection(
    lively: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(rotation, "go_on", broken)
    got: list[Message] = []
    with make_client(lively) as client:
        told = gaps(client)
        client.subscribe([BOOK, TRADES], got.append)
        client.wait_until_ready()
        client.rotate()
        before = len(got)
        lively.wait_for(lambda _: len(got) > before + 10)
        assert len(lively.connections) == 1
        assert told != []


def test_what_was_too_much_to_hold_is_told(
    lively: Sandbox, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., bool]
) -> None:
    monkeypatch.setattr(detour, "MAX_BYTES", 20_000)
    lively.fault("delay", kind="pong", seconds=0.5, times=None)
    with make_client(lively) as client:
        told = gaps(client)
        client.subscribe(TOPICS, ignore)
        client.wait_until_ready()
        with contextlib.suppress(TimeoutError):
            client.rotate()
            assert eventually(lambda: told != [])
        client.wait_until_ready()


def test_a_rotation_that_fails_oddly_is_tried_again(
    lively: Sandbox, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., bool]
) -> None:
    monkeypatch.setattr(rotation.Rotation, "run", lambda *_: 1 / 0)
    with make_client(lively, rotate_every=0.05) as client:
        client.subscribe(TRADES, ignore)
        client.wait_until_ready()
        threading.Event().wait(0.2)
        monkeypatch.undo()
        assert eventually(lambda: client.health().connections["public"].reconnects >= 1)
