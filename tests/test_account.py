"""The account that a client keeps, against the exchange's own: over the wire, on both profiles."""

from __future__ import annotations

import queue
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from account_facts import Facts, facts_of
from exchange import PRIVATE, PROFILES, held, ignore, make_client

from bybit_copyws import (
    AuthenticationError,
    ConfigurationError,
    CopyTradingClient,
    Environment,
    Message,
    StreamClosed,
    SubscriptionError,
    Worker,
)
from bybit_copyws import client as client_module
from bybit_copyws.events import (
    Blind,
    CallbackFailed,
    Event,
    GapClosed,
    GapOpened,
    Sighted,
    StatusChanged,
    SubscriptionConfirmed,
    SubscriptionRejected,
    TopicStale,
    UnsubscribeConfirmed,
)
from bybit_copyws.sandbox import ForcedReply, Sandbox
from bybit_copyws.state import Status, TradeEvent

Eventually = Callable[..., bool]
POSITION, ORDER, EXECUTION, WALLET = PRIVATE
NOT_FUNDING = "Funding"


@pytest.fixture(params=PROFILES)
def profile(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stepped() -> Iterator[Sandbox]:
    """An exchange whose time goes on only when it is told to, and that trades a lot then."""
    with Sandbox(seed=3, speed=0, activity=3.0) as exchange:
        yield exchange


@pytest.fixture
def trading() -> Iterator[Sandbox]:
    """An exchange that trades."""
    with Sandbox(seed=3, activity=10.0) as exchange:
        yield exchange


class Told:
    """What callbacks of the account got, topic by topic."""

    def __init__(self, client: CopyTradingClient, *topics: str) -> None:
        self.messages: list[Message] = []
        client.subscribe(topics or PRIVATE, self.messages.append)

    def of(self, topic: str) -> list[Message]:
        return [each for each in self.messages if each.topic == topic]

    def exec_ids(self) -> list[str]:
        return [
            model.exec_id
            for message in self.of(EXECUTION)
            for model in message.parse()
            if model.exec_type != NOT_FUNDING
        ]


def truth(exchange: Sandbox, profile: str) -> tuple[Any, ...]:
    return exchange.call(lambda ex: Facts(profile, ex.account).all(ex.clock.now_ms()))


def executed(exchange: Sandbox, profile: str) -> list[str]:
    return exchange.call(
        lambda ex: [
            each.exec_id
            for each in reversed(list(ex.account.executions))
            if each.exec_type != NOT_FUNDING
        ]
    )


def equal(client: CopyTradingClient, exchange: Sandbox, profile: str) -> Callable[[], bool]:
    """Return a function that says whether the account is live and the exchange's own."""
    expected = truth(exchange, profile)
    account = client.account
    return lambda: account.live and facts_of(account.view, profile) == expected


def out_of_order(exchange: Sandbox) -> None:
    exchange.rest_rules.forced.append(
        ForcedReply(None, times=None, status=502, body="<html>bad gateway</html>")
    )


# What it is


def test_it_begins_as_the_exchange_has_it(
    stepped: Sandbox, profile: str, eventually: Eventually
) -> None:
    stepped.step(60)
    with make_client(stepped, profile=profile, reconcile=True) as client:
        told = Told(client)
        view = client.account.wait_for(lambda view: view.live)
        assert facts_of(view, profile) == truth(stepped, profile)
        assert client.health().as_dict()["kept"]["account"]["status"] == "live"
        assert view.orders
        assert {each.source for each in told.messages} == {"snapshot"}
        assert {each.topic for each in told.messages} >= {ORDER, WALLET}
        assert all(each.raw == b"" and each.gap is None for each in told.messages)
        # Those before the start are none of ours (the time stands still: one may be of just now).
        times = [model.exec_time for each in told.of(EXECUTION) for model in each.parse()]
        assert all(stepped.time_ms - 1000 < moment for moment in times)
        assert len(executed(stepped, profile)) > 10


@pytest.mark.parametrize("seed", range(3))
def test_it_equals_the_exchanges_own_through_random_losses(
    stepped: Sandbox, profile: str, seed: int, eventually: Eventually
) -> None:
    rng = random.Random(f"{profile} {seed}")
    with make_client(stepped, profile=profile, reconcile=True) as client:
        told, trades = Told(client), []
        account = client.account
        account.on_copy_trade(trades.append)
        account.wait_for(lambda view: view.live)
        before = len(executed(stepped, profile))
        for _ in range(12):
            stepped.step(rng.uniform(0.0, 5.0))
            if rng.random() < 0.6:
                stepped.drop("private", how=rng.choice(("rst", "fin", "close")))
            stepped.step(rng.uniform(0.0, 5.0))
            assert eventually(equal(client, stepped, profile)), (
                account.status,
                account.reason,
                facts_of(account.view, profile),
                truth(stepped, profile),
            )
        ids = executed(stepped, profile)[before:]
        assert ids
        assert eventually(lambda: sorted(told.exec_ids()) == sorted(ids))
        assert len(set(told.exec_ids())) == len(ids)
        assert [each.exec_id for each in account.executions if each.exec_type != NOT_FUNDING] == (
            told.exec_ids()
        )
        assert client.health().connections["private"].reconnects > 0
        assert {change.event for change in trades} >= {TradeEvent.OPENED, TradeEvent.CLOSED}
        is_open = {key: trade.open_qty for key, trade in account.copy_trades.items()}
        assert all(is_open.values())


def test_what_was_missed_comes_before_what_is_new_and_the_gap_says_repaired(
    stepped: Sandbox, profile: str, eventually: Eventually
) -> None:
    gaps: queue.SimpleQueue[Event] = queue.SimpleQueue()
    with make_client(stepped, profile=profile, reconcile=True) as client:
        client.listen(gaps.put, GapOpened, GapClosed)
        told = Told(client)
        client.account.wait_for(lambda view: view.live)
        stepped.step(20)
        assert eventually(equal(client, stepped, profile))
        seen = len(told.messages)
        stepped.refuse_handshakes(status=502, times=1)
        stepped.drop("private", how="rst")
        stepped.step(20)  # nobody hears of it
        assert eventually(equal(client, stepped, profile))
        opened, closed = gaps.get(timeout=5), gaps.get(timeout=5)
        assert isinstance(opened, GapOpened)
        assert isinstance(closed, GapClosed)
        assert set(opened.topics) == set(PRIVATE)
        assert closed.gap.repaired
        assert gaps.empty()
        assert eventually(lambda: sorted(told.exec_ids()) == sorted(executed(stepped, profile)))
        missed = told.messages[seen:]
        assert {each.source for each in missed} == {"reconcile"}
        first = {each.topic: each for each in reversed(missed)}
        assert all(each.gap is not None and each.gap.repaired for each in first.values())
        assert sum(each.gap is not None for each in missed) == len(first)
        stepped.step(20)
        assert eventually(equal(client, stepped, profile))
        assert eventually(lambda: sorted(told.exec_ids()) == sorted(executed(stepped, profile)))
        assert told.messages[-1].source == "stream"


def test_one_topic_is_enough_for_all_of_it(
    stepped: Sandbox, profile: str, eventually: Eventually
) -> None:
    """To know what was missed takes all of them; the user gets, and hears of, his own."""
    events: list[Event] = []
    with make_client(stepped, profile=profile, reconcile=True) as client:
        client.listen(events.append, SubscriptionConfirmed, UnsubscribeConfirmed)
        got: list[Message] = []
        subscription = client.subscribe(EXECUTION, got.append)
        subscription.wait()
        assert len(held(stepped)) == 4
        stepped.step(30)
        stepped.drop("private", how="rst")
        stepped.step(30)
        expected = executed(stepped, profile)
        assert eventually(lambda: sum(len(each.data) for each in got) == len(expected))
        assert {each.topic for each in got} == {EXECUTION}
        subscription.unsubscribe()
        subscription.wait()
        assert eventually(lambda: not held(stepped))
    assert {name for event in events for name in event.topics} == {EXECUTION}
    assert isinstance(events[-1], UnsubscribeConfirmed)


def test_the_account_keeps_its_topics_whatever_is_subscribed(
    stepped: Sandbox, profile: str, eventually: Eventually
) -> None:
    with make_client(stepped, profile=profile, reconcile=True) as client:
        account = client.account
        assert client.account is account
        client.wait_until_ready()
        account.wait_for(lambda view: view.live)
        subscription = client.subscribe(ORDER, ignore)
        subscription.wait()
        subscription.unsubscribe()
        subscription.wait()
        assert len(held(stepped)) == 4
        assert account.live
        stepped.step(30)
        assert eventually(equal(client, stepped, profile))


def test_a_topic_may_come_and_go_while_the_account_lives(
    trading: Sandbox, profile: str, eventually: Eventually
) -> None:
    with make_client(trading, profile=profile, reconcile=True) as client:
        account = client.account
        account.wait_for(lambda view: view.live)
        for _ in range(20):
            subscription = client.subscribe(WALLET, ignore)
            subscription.wait()
            subscription.unsubscribe()
        subscription.wait()
        again = client.subscribe([WALLET, ORDER], ignore)
        again.wait()
        assert account.live
        assert len(held(trading)) == 4


def test_all_given_up_and_wanted_again_begins_anew(
    trading: Sandbox, profile: str, eventually: Eventually
) -> None:
    with make_client(trading, profile=profile, reconcile=True) as client:
        got: list[Message] = []
        for _ in range(5):
            first = client.subscribe(ORDER, ignore)
            first.unsubscribe()
        client.subscribe(PRIVATE, got.append).wait()
        assert eventually(lambda: len(got) > 20)
        assert got[0].source == "snapshot"
        client.wait_until_ready()
    assert not any(each.gap for each in got)


# What is told of it


def test_a_loss_makes_it_stale_at_once(stepped: Sandbox, eventually: Eventually) -> None:
    with make_client(stepped, reconcile=True) as client:
        account = client.account
        account.wait_for(lambda view: view.live)
        assert account.reason == ""
        assert account.age() < 5
        stepped.refuse_handshakes(status=502, times=3)
        stepped.drop("private", how="rst")
        view = account.wait_for(lambda view: view.status is Status.STALE)
        assert "reset" in view.reason
        account.wait_for(lambda view: view.live)
    assert account.status is Status.STALE
    assert "closed" in account.reason


def test_while_rest_is_out_of_order_messages_wait_and_then_pass(
    trading: Sandbox, profile: str, eventually: Eventually
) -> None:
    events: list[Event] = []
    with make_client(
        trading, profile=profile, reconcile=True, reconcile_timeout=0.5, blind_after=0.2
    ) as client:
        client.listen(events.append, GapOpened, GapClosed, Blind, Sighted)
        told = Told(client)
        account = client.account
        account.wait_for(lambda view: view.live)
        out_of_order(trading)
        seen = len(told.messages)
        trading.drop("private", how="rst")
        assert eventually(lambda: any(isinstance(each, Blind) for each in events))
        assert eventually(lambda: len(told.messages) > seen + 5)  # they do not wait for ever
        assert account.status is Status.STALE
        assert "not reconciled" in account.reason
        blind = next(each for each in events if isinstance(each, Blind))
        assert blind.reason != "the account is not reconciled"
        assert not any(isinstance(each, (GapClosed, Sighted)) for each in events)
        assert all(each.gap is None for each in told.messages)
        assert client.health().connections["private"].topics[0].gap
        trading.rest_rules.forced.clear()
        account.wait_for(lambda view: view.live, 20)
        assert eventually(lambda: any(isinstance(each, Sighted) for each in events))
        (closed,) = (each for each in events if isinstance(each, GapClosed))
        assert closed.gap.repaired
        assert eventually(lambda: any(each.gap for each in told.messages))
    assert len(told.exec_ids()) == len(set(told.exec_ids()))


def test_who_has_only_the_account_hears_of_a_loss_at_once(
    trading: Sandbox, profile: str, eventually: Eventually
) -> None:
    told: list[StatusChanged] = []
    with make_client(trading, profile=profile, reconcile=True) as client:
        client.listen(told.append, StatusChanged)
        client.account.wait_for(lambda view: view.live)
        trading.drop("private", how="rst")
        assert eventually(lambda: len(told) == 3)
    assert [each.new for each in told[:3]] == [Status.LIVE, Status.STALE, Status.LIVE]
    assert {(each.name, each.connection) for each in told} == {("account", "private")}
    assert "reset" in told[1].reason


def test_a_topic_that_stays_silent_makes_blind_only_until_rest_was_asked(
    quiet: Sandbox, profile: str, eventually: Eventually
) -> None:
    """Nothing happens in the account: no message will ever prove that its topics live."""
    events: list[Event] = []
    with make_client(
        quiet, profile=profile, reconcile=True, blind_after=0.01, stale_after={"copyTrade*": 0.5}
    ) as client:
        client.listen(events.append, TopicStale, Blind, Sighted)
        client.subscribe(ORDER, ignore)
        client.account.wait_for(lambda view: view.live)
        assert eventually(lambda: client.health().connections["private"].reconnects == 1, 10)
        client.account.wait_for(lambda view: view.live, 10)
        assert eventually(lambda: isinstance(events[-1], Sighted))
        assert not any(each.gap for each in client.health().connections["private"].topics)
    assert any(isinstance(each, Blind) for each in events)


def test_the_rest_that_fails_is_logged_once(
    trading: Sandbox, caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    out_of_order(trading)
    with make_client(trading, reconcile=True) as client:
        client.subscribe(ORDER, ignore)
        assert eventually(lambda: "could not be reconciled" in caplog.text)
        trading.rest_rules.forced.clear()
        client.account.wait_for(lambda view: view.live, 20)
    assert caplog.text.count("could not be reconciled") == 1
    assert trading.api_secret not in caplog.text


def test_a_refused_topic_leaves_the_others_as_they_come(
    trading: Sandbox, profile: str, eventually: Eventually
) -> None:
    trading.rules.silent_ops.add("subscribe")
    events: list[Event] = []
    with make_client(
        trading, profile=profile, reconcile=True, reconcile_timeout=60.0, reply_timeout=30.0
    ) as client:
        client.listen(events.append, SubscriptionRejected, GapOpened, GapClosed)
        told = Told(client, ORDER)
        asked = r'"subscribe"'
        assert eventually(lambda: any(asked in each.text for each in trading.received))
        wallet = WALLET if profile == "v3" else "wallet"
        trading.rules.silent_ops.clear()
        text = f"error:handler not found,topic:{wallet}"
        trading.push({"op": "subscribe", "success": False, "ret_msg": text})
        assert eventually(lambda: len(told.messages) > 3)
        client.wait_until_ready()
        account = client.account
        assert account.status is Status.STALE
        assert "refused" in account.reason
        with pytest.raises(SubscriptionError, match="allet"):
            client.wait_until_ready()
        assert {each.source for each in told.messages} == {"stream"}
        trading.drop("private", how="rst")
        assert eventually(lambda: any(isinstance(each, GapClosed) for each in events))
        assert eventually(lambda: any(each.gap for each in told.messages))
    assert [each.topics for each in events if isinstance(each, SubscriptionRejected)] == [(wallet,)]


def test_without_reconciling_there_is_what_the_stream_says(
    trading: Sandbox, profile: str, eventually: Eventually
) -> None:
    out_of_order(trading)  # nobody asks it
    with make_client(trading, profile=profile, reconcile=False) as client:
        told = Told(client)
        account = client.account
        assert account.status is Status.SYNCING
        assert "reconcile=False" in account.reason
        account.wait_for(lambda view: view.positions and view.orders and view.executions)
        assert {each.source for each in told.messages} == {"stream"}
        assert all(each.raw for each in told.messages)
        with pytest.raises(TimeoutError, match="syncing: reconcile=False"):
            account.wait_for(lambda view: view.live, 0.05)


# Waiting


def test_waiting_for_what_does_not_come_says_how_it_is(stepped: Sandbox) -> None:
    with make_client(stepped, reconcile=True) as client:
        account = client.account
        account.wait_for(lambda view: view.live)
        with pytest.raises(TimeoutError, match=r"within 0\.05 s; it is live$"):
            account.wait_for(lambda view: False, 0.05)
        with pytest.raises(ConfigurationError, match="timeout"):
            account.wait_for(lambda view: True, -1)


def test_waiting_ends_with_the_client_and_with_a_refused_key(
    stepped: Sandbox, eventually: Eventually
) -> None:
    client = make_client(stepped, reconcile=True)
    client.start()
    account = client.account
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            account.wait_for(lambda view: False, 20)
        except StreamClosed as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    client.close()
    thread.join(5)
    assert raised
    with pytest.raises(StreamClosed):
        _ = client.account
    with (
        make_client(stepped, reconcile=True, api_secret="w" * 30) as wrong,
        pytest.raises(AuthenticationError),
    ):
        wrong.account.wait_for(lambda view: view.live)


def test_a_refused_key_is_named_wherever_one_looks(
    stepped: Sandbox, eventually: Eventually
) -> None:
    with make_client(stepped, reconcile=True, api_secret="w" * 30) as client:
        account = client.account
        assert eventually(lambda: client.health().connections["private"].state == "closed")
        trouble = client.health().connections["private"].trouble
        assert trouble is not None
        assert "auth" in trouble
        assert account.status is Status.SYNCING
        assert "auth" in account.reason


def test_waiting_before_the_start_says_so(stepped: Sandbox) -> None:
    client = make_client(stepped, reconcile=True)
    with pytest.raises(TimeoutError, match=r"start\(\) it first"):
        client.account.wait_for(lambda view: view.live, 0.01)
    client.close()


def test_waiting_inside_a_callback_is_refused(trading: Sandbox, eventually: Eventually) -> None:
    raised: list[Exception] = []
    with make_client(trading, reconcile=True) as client:

        def wait(_: Message) -> None:
            try:
                client.account.wait_for(lambda view: False, 10)
            except ConfigurationError as error:
                raised.append(error)

        client.subscribe(ORDER, wait)
        assert eventually(lambda: bool(raised))


def test_without_a_key_there_is_no_account(quiet: Sandbox) -> None:
    client = make_client(quiet, api_key=None, api_secret=None)
    with pytest.raises(ConfigurationError, match="api_key"):
        _ = client.account
    client.close()


# Threads, faults, endings


def test_a_rotation_ends_in_a_reconciliation(
    trading: Sandbox, profile: str, eventually: Eventually
) -> None:
    gaps: list[GapClosed] = []
    with make_client(trading, profile=profile, reconcile=True) as client:
        client.listen(gaps.append, GapClosed)
        told = Told(client)
        account = client.account
        account.wait_for(lambda view: view.live)
        for _ in range(5):
            client.rotate()
            account.wait_for(lambda view: view.live)
        assert eventually(lambda: len(gaps) == 5)
        assert all(each.gap.repaired for each in gaps)
        seen = len(told.messages)
        assert eventually(lambda: len(told.messages) > seen + 5)
        assert len(told.exec_ids()) == len(set(told.exec_ids()))


def test_callbacks_of_the_account_never_overlap_and_keep_their_order(
    trading: Sandbox, profile: str, eventually: Eventually
) -> None:
    inside, overlaps, threads = [0], [0], set()

    def slow(_: Message) -> None:
        inside[0] += 1
        overlaps[0] += inside[0] > 1
        threads.add(threading.current_thread().name)
        threading.Event().wait(0.002)
        inside[0] -= 1

    with make_client(trading, profile=profile, reconcile=True) as client:
        client.subscribe(PRIVATE, slow)
        account = client.account
        for _ in range(10):
            account.wait_for(lambda view: view.live)
            trading.drop("private", how="rst")
            account.wait_for(lambda view: not view.live)
        account.wait_for(lambda view: view.live)
    assert overlaps == [0]
    assert threads <= {"bybit-copyws:private:run", "bybit-copyws:private:account"}


def test_a_failing_listener_of_copy_trades_disturbs_nobody(
    trading: Sandbox, profile: str, eventually: Eventually
) -> None:
    failed: list[CallbackFailed] = []
    changes: list[Any] = []

    def bad(_: object) -> None:
        raise RuntimeError("mine")

    with make_client(trading, profile=profile, reconcile=True) as client:
        client.listen(failed.append, CallbackFailed)
        account = client.account
        account.on_copy_trade(bad)
        listener = account.on_copy_trade(changes.append)
        assert eventually(lambda: len(changes) > 1 and len(failed) > 1)
        listener.remove()
        listener.remove()
        count = len(changes)
        assert eventually(lambda: len(failed) > count + 1)
        assert len(changes) <= count + 1
        with pytest.raises(ConfigurationError, match="callable"):
            account.on_copy_trade("no")  # type: ignore[arg-type]


def test_closing_works_in_what_the_account_calls(
    trading: Sandbox, profile: str, eventually: Eventually
) -> None:
    client = make_client(trading, profile=profile, reconcile=True)
    client.account.on_copy_trade(lambda _: client.close())
    client.subscribe(ORDER, ignore)
    client.run_forever()
    client = make_client(trading, profile=profile, reconcile=True)

    def close(message: Message) -> None:
        if message.source == "snapshot":
            client.close()

    client.subscribe(WALLET, close)
    client.run_forever()


def test_closing_does_not_wait_for_rest(trading: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:  # it accepts, and says nothing
        rest = f"http://127.0.0.1:{mute.getsockname()[1]}"
        environment = Environment("mute", trading.url, trading.url, rest)
        client = CopyTradingClient(trading.api_key, trading.api_secret, environment=environment)
        client.subscribe(ORDER, ignore)
        client.start()
        client.wait_until_ready()
        line, _ = mute.accept()  # it is being asked
        began = time.monotonic()
        client.close(5.0)
        assert time.monotonic() - began < 2.0
        line.close()


def test_who_has_nothing_private_gets_no_threads_for_it(quiet: Sandbox) -> None:
    before = set(threading.enumerate())
    with make_client(quiet, reconcile=True) as client:
        client.subscribe("tickers.BTCUSDT", ignore)
        client.wait_until_ready()
        names = {each.name for each in set(threading.enumerate()) - before}
        assert not any("private" in name for name in names)


def test_a_worker_takes_what_rest_tells_too(
    stepped: Sandbox, profile: str, eventually: Eventually
) -> None:
    got: list[Message] = []
    stepped.step(30)
    with make_client(stepped, profile=profile, reconcile=True) as client:
        client.subscribe(PRIVATE, got.append, delivery=Worker())
        assert eventually(lambda: any(each.source == "snapshot" for each in got))
        stepped.drop("private", how="rst")
        stepped.step(30)
        assert eventually(lambda: any(each.source == "reconcile" for each in got))


@pytest.mark.parametrize("value", [0, "no", None])
def test_whether_to_reconcile_is_yes_or_no(quiet: Sandbox, value: Any) -> None:
    with pytest.raises(ConfigurationError, match="reconcile must be True or False"):
        make_client(quiet, reconcile=value)
    with pytest.raises(ConfigurationError, match="reconcile_timeout"):
        make_client(quiet, reconcile_timeout=-1)


def test_what_goes_on_happening_is_no_storm_of_calls(
    trading: Sandbox, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    begun: list[float] = []
    ask = client_module._Rest.exchange_ms

    def note(rest: client_module._Rest) -> int:
        begun.append(time.monotonic())
        return ask(rest)

    monkeypatch.setattr(client_module._Rest, "exchange_ms", note)
    with make_client(trading, profile="v5", reconcile=True) as client:
        account = client.account
        account.wait_for(lambda view: view.live)
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            trading.garbage("not_json", "private")
            threading.Event().wait(0.02)
        account.wait_for(lambda view: view.live)
        assert 2 < len(begun) < 9  # not one for each of fifty
        out_of_order(trading)
        count = len(begun)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            trading.garbage("not_json", "private")
            threading.Event().wait(0.05)
        assert len(begun) - count < 4


def test_an_unreadable_row_is_reconciled_at_once(
    stepped: Sandbox, profile: str, eventually: Eventually
) -> None:
    gaps: list[GapClosed] = []
    with make_client(stepped, profile=profile, reconcile=True, blind_after=300.0) as client:
        client.listen(gaps.append, GapClosed)
        told = Told(client)
        client.account.wait_for(lambda view: view.live)
        topic = ORDER if profile == "v3" else "order"
        stepped.push_topic({"topic": topic, "data": [{"orderId": 5, "symbol": []}]})
        assert eventually(lambda: len(gaps) == 1)
        assert gaps[0].gap.repaired
        assert client.account.live
        assert told.messages
