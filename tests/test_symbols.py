"""Wildcards and the list of contracts, from the call to the wire and back, on both profiles."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from exchange import PROFILES, held, ignore, make_client

from bybit_copyws import (
    ConfigurationError,
    CopyTradingClient,
    Environment,
    Instruments,
    Message,
    StreamClosed,
    SubscriptionError,
    SubscriptionState,
    Worker,
)
from bybit_copyws.errors import ApiError
from bybit_copyws.events import Event, SubscriptionRejected, SymbolsChanged
from bybit_copyws.sandbox import ForcedReply, Sandbox

Eventually = Callable[..., bool]
LISTS = ("/contract/v3/public/copytrading/symbol/list", "/v5/market/instruments-info")
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT")
SOON = 0.05  # seconds between two lists
TRADES = {f"publicTrade.{symbol}" for symbol in SYMBOLS}


@pytest.fixture(params=PROFILES)
def profile(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def live() -> Iterator[Sandbox]:
    """An exchange with a lively market."""
    with Sandbox(seed=1, trading=False, cadence="fast", activity=5.0) as exchange:
        yield exchange


def refuse_lists(exchange: Sandbox) -> None:
    for path in LISTS:
        exchange.rest_rules.forced.append(
            ForcedReply(path, times=None, ret_code=10001, ret_msg="out of order")
        )


# What a pattern does


def test_a_pattern_brings_the_messages_of_every_symbol(
    live: Sandbox, profile: str, eventually: Eventually
) -> None:
    topics: set[str] = set()
    client = make_client(live, profile=profile)
    subscription = client.subscribe("orderbook.1.*", lambda message: topics.add(message.topic))
    assert subscription.topics == ("orderbook.1.*",)
    assert subscription.state is SubscriptionState.PENDING
    with client:
        subscription.wait()
        client.wait_until_ready()
        expected = {f"orderbook.1.{symbol}" for symbol in SYMBOLS}
        assert set(subscription.topics) == expected
        assert subscription.state is SubscriptionState.CONFIRMED
        assert set(held(live)) == expected
        assert eventually(lambda: topics == expected)
    assert subscription.state is SubscriptionState.CLOSED


def workers() -> list[str]:
    return [each.name for each in threading.enumerate() if "bybit-copyws:worker" in each.name]


def test_a_worker_serves_what_a_pattern_stands_for(
    live: Sandbox, profile: str, eventually: Eventually
) -> None:
    heard: dict[str, str] = {}

    def note(message: Message) -> None:
        heard[message.topic] = threading.current_thread().name

    client = make_client(live, profile=profile, instruments_every=SOON)
    subscription = client.subscribe("orderbook.1.*", note, delivery=Worker(overflow="latest"))
    with client:
        subscription.wait()
        live.list_symbol("NEWUSDT")
        assert eventually(lambda: "orderbook.1.NEWUSDT" in heard and len(heard) == 6)
        assert set(heard.values()) == set(workers())
        assert len(workers()) == 1
        for symbol in SYMBOLS:
            live.withdraw_symbol(symbol)
        live.withdraw_symbol("NEWUSDT")
        live.list_symbol("LASTUSDT")
        heard.clear()
        assert eventually(lambda: "orderbook.1.LASTUSDT" in heard)  # it did not end meanwhile
        subscription.unsubscribe()
        assert eventually(lambda: not workers())


def test_a_worker_ends_with_a_pattern_that_stands_for_nothing_yet(
    quiet: Sandbox, eventually: Eventually
) -> None:
    refuse_lists(quiet)
    with make_client(quiet) as client:
        subscription = client.subscribe("publicTrade.*", ignore, delivery=Worker())
        assert eventually(lambda: len(workers()) == 1)
        subscription.unsubscribe()
        assert eventually(lambda: not workers())


def test_a_pattern_of_books_of_changes_is_not_delivered_as_the_latest(quiet: Sandbox) -> None:
    client = make_client(quiet)
    with pytest.raises(ConfigurationError, match=r"'orderbook\.50\.\*'.*'orderbook\.1\.\*'"):
        client.subscribe("orderbook.50.*", ignore, delivery=Worker(overflow="latest"))
    assert not client.health().connections["public"].topics
    client.close()


def test_topics_follow_what_is_listed_and_withdrawn(
    live: Sandbox, profile: str, eventually: Eventually
) -> None:
    heard: list[str] = []
    events: list[SymbolsChanged] = []
    client = make_client(live, profile=profile, instruments_every=SOON)
    client.listen(events.append, SymbolsChanged)
    subscription = client.subscribe("orderbook.1.*", lambda message: heard.append(message.topic))
    with client:
        subscription.wait()
        live.list_symbol("NEWUSDT")
        assert eventually(lambda: "orderbook.1.NEWUSDT" in heard)
        book = client.order_book("ETHUSDT")
        book.wait_live()
        live.withdraw_symbol("ETHUSDT")
        assert eventually(lambda: "orderbook.1.ETHUSDT" not in held(live))
        assert eventually(lambda: book.reason == "the exchange has withdrawn the symbol")
        book.close()
        assert eventually(lambda: not any("ETHUSDT" in topic for topic in held(live)))
        assert eventually(lambda: len(events) == 2)
        symbols = {*SYMBOLS, "NEWUSDT"} - {"ETHUSDT"}
        assert set(held(live)) == set(subscription.topics)
        assert set(held(live)) == {f"orderbook.1.{symbol}" for symbol in symbols}
        assert set(client.instruments.copy_trading()) == symbols
        subscription.wait()

        live.list_symbol("ETHUSDT")
        assert eventually(lambda: held(live)["orderbook.1.ETHUSDT"] == 1)
        heard.clear()
        assert eventually(lambda: "orderbook.1.ETHUSDT" in heard)
    changes = [(event.connection, event.listed, event.withdrawn) for event in events]
    assert changes == [
        ("public", ("NEWUSDT",), ()),
        ("public", (), ("ETHUSDT",)),
        ("public", ("ETHUSDT",), ()),
    ]


def test_a_contract_without_the_flag_is_listed_but_not_subscribed(
    quiet: Sandbox, eventually: Eventually
) -> None:
    client = make_client(quiet, profile="v5", instruments_every=SOON)
    subscription = client.subscribe("publicTrade.*", ignore)
    with client:
        subscription.wait()
        quiet.list_symbol("NEWUSDT", copy_trading="none")
        assert eventually(lambda: "NEWUSDT" in client.instruments)
        assert "NEWUSDT" not in client.instruments.copy_trading()
        quiet.list_symbol("NEWUSDT", copy_trading="utaOnly")
        assert eventually(lambda: "publicTrade.NEWUSDT" in subscription.topics)
        subscription.wait()
        assert set(held(quiet)) == {*TRADES, "publicTrade.NEWUSDT"}


def test_a_pattern_that_stands_for_no_topic_yet_is_confirmed(
    quiet: Sandbox, eventually: Eventually
) -> None:
    for symbol in SYMBOLS:
        quiet.list_symbol(symbol, copy_trading="none")
    client = make_client(quiet, profile="v5", instruments_every=SOON)
    subscription = client.subscribe("publicTrade.*", ignore)
    with client:
        subscription.wait()
        client.wait_until_ready()
        assert subscription.state is SubscriptionState.CONFIRMED
        assert subscription.topics == ()
        quiet.list_symbol("NEWUSDT")
        assert eventually(lambda: subscription.topics == ("publicTrade.NEWUSDT",))
    assert subscription.state is SubscriptionState.CLOSED


def test_patterns_and_topics_may_stand_in_one_call(
    quiet: Sandbox, profile: str, eventually: Eventually
) -> None:
    calls: list[str] = []
    client = make_client(quiet, profile=profile)

    @client.on("publicTrade.*", "tickers.*", "publicTrade.BTCUSDT", "copyTradeWallet")
    def note(message: Any) -> None:
        calls.append(message.topic)

    with client:
        client.wait_until_ready()
        tickers = {f"tickers.{symbol}" for symbol in SYMBOLS}
        wallet = "wallet" if profile == "v5" else "copyTradeWallet"
        assert set(held(quiet)) == {*TRADES, *tickers, wallet}
        for topic in ("publicTrade.BTCUSDT", "publicTrade.ETHUSDT", "tickers.BTCUSDT"):
            assert quiet.push_topic({"topic": topic, "data": []}) == 1
        quiet.push_topic({"topic": wallet, "data": []})
        assert eventually(lambda: len(calls) >= 4)
    assert sorted(calls[:4]) == [
        "copyTradeWallet",
        "publicTrade.BTCUSDT",
        "publicTrade.ETHUSDT",
        "tickers.BTCUSDT",
    ]
    assert len(calls) == 4  # once each: the topic named beside its pattern too


def test_every_registration_is_called(quiet: Sandbox, eventually: Eventually) -> None:
    calls: list[str] = []
    client = make_client(quiet)
    client.subscribe("publicTrade.*", lambda _: calls.append("pattern"))
    client.subscribe("publicTrade.BTCUSDT", lambda _: calls.append("topic"))
    with client:
        client.wait_until_ready()
        quiet.push_topic({"topic": "publicTrade.BTCUSDT", "data": []})
        assert eventually(lambda: sorted(calls) == ["pattern", "topic"])


def test_with_the_list_at_hand_a_pattern_is_expanded_at_once(quiet: Sandbox) -> None:
    client = make_client(quiet)
    assert len(client.instruments) == 5
    subscription = client.subscribe("publicTrade.*", ignore)
    assert set(subscription.topics) == TRADES
    with client:
        subscription.wait()
    assert subscription.patterns == ("publicTrade.*",)


def test_a_pattern_may_be_subscribed_in_a_callback(
    quiet: Sandbox, profile: str, eventually: Eventually
) -> None:
    client = make_client(quiet, profile=profile)
    client.subscribe("tickers.BTCUSDT", lambda message: client.subscribe("publicTrade.*", ignore))
    with client:
        client.wait_until_ready()
        quiet.push_topic({"topic": "tickers.BTCUSDT", "type": "snapshot", "data": {}})
        assert eventually(lambda: set(held(quiet)) == {*TRADES, "tickers.BTCUSDT"})


def test_a_hand_over_keeps_what_patterns_stand_for(quiet: Sandbox, eventually: Eventually) -> None:
    client = make_client(quiet, instruments_every=SOON)
    subscription = client.subscribe("publicTrade.*", ignore)
    with client:
        subscription.wait()
        client.rotate()
        quiet.list_symbol("NEWUSDT")
        quiet.withdraw_symbol("BTCUSDT")
        expected = {*TRADES, "publicTrade.NEWUSDT"} - {"publicTrade.BTCUSDT"}
        assert eventually(lambda: set(held(quiet)) == expected)
        assert eventually(lambda: subscription.state is SubscriptionState.CONFIRMED)


def test_topics_come_back_after_a_lost_link(quiet: Sandbox, eventually: Eventually) -> None:
    client = make_client(quiet)
    subscription = client.subscribe("publicTrade.*", ignore)
    with client:
        subscription.wait()
        quiet.drop("public", how="rst")
        assert eventually(lambda: quiet.accepted == 2 and set(held(quiet)) == TRADES)


# Giving up


def test_a_pattern_is_given_up_by_its_handle(quiet: Sandbox, profile: str) -> None:
    client = make_client(quiet, profile=profile)
    one = client.subscribe("publicTrade.*", ignore)
    other = client.subscribe("publicTrade.*", lambda _: None)
    with client:
        one.wait()
        other.wait()
        one.unsubscribe()
        one.wait()
        assert one.state is SubscriptionState.CLOSED
        assert set(held(quiet)) == TRADES  # the other one still wants them
        other.unsubscribe()
        other.wait()
        assert not held(quiet)


def test_a_pattern_is_given_up_by_its_name(quiet: Sandbox, eventually: Eventually) -> None:
    def mine(_: object) -> None: ...

    client = make_client(quiet, instruments_every=SOON)
    client.subscribe("publicTrade.*", ignore)
    client.subscribe("publicTrade.*", mine)
    client.subscribe("tickers.*", mine)
    with client:
        client.wait_until_ready()
        client.unsubscribe("publicTrade.*", mine)
        with pytest.raises(ConfigurationError, match=r"'publicTrade\.\*' is not .* that callback"):
            client.unsubscribe("publicTrade.*", mine)
        client.unsubscribe("publicTrade.*")
        with pytest.raises(ConfigurationError, match=r"'publicTrade\.\*' is not subscribed"):
            client.unsubscribe("publicTrade.*")
        quiet.list_symbol("NEWUSDT")
        assert eventually(lambda: "tickers.NEWUSDT" in held(quiet))
        tickers = {f"tickers.{symbol}" for symbol in (*SYMBOLS, "NEWUSDT")}
        assert eventually(lambda: set(held(quiet)) == tickers)


def test_a_pattern_that_waits_for_the_list_can_be_given_up(quiet: Sandbox) -> None:
    client = make_client(quiet)
    subscription = client.subscribe("publicTrade.*", ignore)
    subscription.unsubscribe()
    with client:
        subscription.wait()
        client.wait_until_ready()
        assert client.instruments
        assert not held(quiet)
    assert subscription.topics == ()


def test_one_topic_of_a_pattern_can_be_taken_out(quiet: Sandbox, eventually: Eventually) -> None:
    client = make_client(quiet, instruments_every=SOON)
    subscription = client.subscribe("publicTrade.*", ignore)
    with client:
        subscription.wait()
        client.unsubscribe("publicTrade.BTCUSDT")
        quiet.list_symbol("NEWUSDT")
        expected = {*TRADES, "publicTrade.NEWUSDT"} - {"publicTrade.BTCUSDT"}
        assert eventually(lambda: set(held(quiet)) == expected)
        assert set(subscription.topics) == expected
        subscription.wait()


# What goes wrong


@pytest.mark.parametrize("name", ["kline.*", "*", "orderbook.*.BTCUSDT", "copyTradeOrder.*"])
def test_what_is_no_pattern_is_refused_at_once(name: str, profile: str) -> None:
    client = CopyTradingClient("key", "secret", profile=profile)
    for refused in (
        lambda: client.subscribe(["tickers.BTCUSDT", name], ignore),
        lambda: client.unsubscribe(name),
    ):
        with pytest.raises(ConfigurationError, match="patterns are orderbook"):
            refused()
    assert client.health().connections["public"].topics == []


def test_a_pattern_needs_a_usable_url_for_rest() -> None:
    nowhere = Environment("own", "wss://a.example", "wss://a.example", "http://b.example")
    client = CopyTradingClient("key", "secret", environment=nowhere)
    with pytest.raises(ConfigurationError, match=r"b\.example"):
        client.subscribe(["tickers.BTCUSDT", "publicTrade.*"], ignore)
    assert client.health().connections["public"].topics == []


@pytest.mark.parametrize("seconds", [0, -1, "10", None, True])
def test_the_time_between_two_lists_is_checked(seconds: Any) -> None:
    with pytest.raises(ConfigurationError, match="instruments_every"):
        CopyTradingClient(instruments_every=seconds)


def test_a_refused_symbol_breaks_no_other_and_is_tried_again(
    quiet: Sandbox, profile: str, eventually: Eventually
) -> None:
    refused: list[SubscriptionRejected] = []
    client = make_client(quiet, profile=profile, instruments_every=SOON)
    client.listen(refused.append, SubscriptionRejected)
    assert client.instruments
    quiet.call(lambda exchange: exchange.withdraw_symbol("ETHUSDT"))
    stale = client.subscribe("publicTrade.*", ignore)  # of the list from before
    assert "publicTrade.ETHUSDT" in stale.topics
    refuse_lists(quiet)  # so that the client goes on with that list
    with client:
        with pytest.raises(SubscriptionError) as caught:
            stale.wait()
        assert caught.value.topics == ("publicTrade.ETHUSDT",)
        with pytest.raises(SubscriptionError):
            client.wait_until_ready()
        assert eventually(lambda: set(held(quiet)) == TRADES - {"publicTrade.ETHUSDT"})
        assert eventually(lambda: [event.topics for event in refused] == [("publicTrade.ETHUSDT",)])
        quiet.list_symbol("ETHUSDT")
        quiet.rest_rules.forced.clear()
        assert eventually(lambda: set(held(quiet)) == TRADES)
        stale.wait()


def test_without_the_list_a_pattern_waits_and_says_why(
    quiet: Sandbox, profile: str, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    refuse_lists(quiet)
    client = make_client(quiet, profile=profile, instruments_every=0.1)
    subscription = client.subscribe(["publicTrade.*", "tickers.BTCUSDT"], ignore)
    with client:
        with pytest.raises(TimeoutError, match=r"publicTrade\.\*.*out of order"):
            subscription.wait(0.5)
        with pytest.raises(TimeoutError, match=r"publicTrade\.\*.*out of order"):
            client.wait_until_ready(0.1)
        assert set(held(quiet)) == {"tickers.BTCUSDT"}  # what needs no list is there
        quiet.rest_rules.forced.clear()
        subscription.wait()
        assert set(held(quiet)) == {*TRADES, "tickers.BTCUSDT"}
    texts = [record.message for record in caplog.records if "list of contracts" in record.message]
    assert sum("could not be had" in text for text in texts) == 1


def test_a_list_that_fails_leaves_the_old_one_in_use(
    quiet: Sandbox, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(quiet, instruments_every=SOON)
    subscription = client.subscribe("publicTrade.*", ignore)
    with client:
        subscription.wait()
        refuse_lists(quiet)
        assert eventually(lambda: "the old one stays" in caplog.text)
        assert client.instruments["BTCUSDT"].tick_size == Decimal("0.1")
        assert set(held(quiet)) == TRADES
        quiet.rest_rules.forced.clear()
        quiet.list_symbol("NEWUSDT")
        assert eventually(lambda: "publicTrade.NEWUSDT" in held(quiet))


def test_an_empty_list_unsubscribes_nothing(
    quiet: Sandbox, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(quiet, instruments_every=SOON)
    subscription = client.subscribe("publicTrade.*", ignore)
    with client:
        subscription.wait()
        for symbol in SYMBOLS:
            quiet.withdraw_symbol(symbol)
        assert eventually(lambda: "no contract at all" in caplog.text)
        assert set(held(quiet)) == TRADES


def test_what_does_not_fit_on_the_connection_is_told(
    quiet: Sandbox, eventually: Eventually
) -> None:
    for number in range(400):
        quiet.list_symbol(f"A{'B' * 25}{number}USDT")
    events: list[Event] = []
    client = make_client(quiet)
    client.listen(events.append, SubscriptionRejected)
    first = client.subscribe("tickers.*", ignore)
    second = client.subscribe("publicTrade.*", ignore)
    with client:
        first.wait()
        with pytest.raises(SubscriptionError, match="at most 21,000") as caught:
            second.wait()
        assert caught.value.topics == ("publicTrade.*",)
        assert second.state is SubscriptionState.REJECTED
        with pytest.raises(SubscriptionError, match="at most 21,000"):
            client.wait_until_ready()
        assert len(first.topics) == len(held(quiet)) == 405
        assert eventually(lambda: len(events) == 1)
        with pytest.raises(ConfigurationError, match="at most 21,000"):
            # The list is there: a mistake of the call, of which nothing is done.
            client.subscribe(["orderbook.1.BTCUSDT", "orderbook.50.*"], ignore)
        with pytest.raises(ConfigurationError, match="not subscribed"):
            client.unsubscribe("orderbook.1.BTCUSDT")
        second.unsubscribe()
        client.wait_until_ready()


# The list itself


def test_the_contracts_are_there_at_first_use_and_then_cached(quiet: Sandbox, profile: str) -> None:
    client = make_client(quiet, profile=profile)
    first = client.instruments
    refuse_lists(quiet)
    assert client.instruments is first
    assert first.symbols == tuple(sorted(SYMBOLS))
    assert first["BTCUSDT"].round_price("68000.17", "down") == Decimal("68000.10")
    with pytest.raises(ConfigurationError, match="did you mean 'BTCUSDT'"):
        first["BTCUSD"]
    client.close()
    assert client.instruments is first


def test_contracts_that_cannot_be_had_raise(quiet: Sandbox, profile: str) -> None:
    client = make_client(quiet, profile=profile)
    refuse_lists(quiet)
    with pytest.raises(ApiError, match="out of order"):
        _ = client.instruments
    quiet.rest_rules.forced.clear()
    assert len(client.instruments) == 5
    client.close()


def test_contracts_are_not_asked_for_after_the_end(quiet: Sandbox) -> None:
    client = make_client(quiet)
    client.close()
    with pytest.raises(StreamClosed):
        _ = client.instruments


def test_many_threads_ask_for_the_contracts_once(
    quiet: Sandbox, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    client = make_client(quiet, profile=profile)
    rows = client.rest.rows

    def count(name: str, **params: Any) -> Any:
        asked.append(name)
        return rows(name, **params)

    monkeypatch.setattr(client.rest, "rows", count)
    found: list[Any] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        found.append(client.instruments)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.close()
    assert asked == ["instruments"]
    assert len(found) == 8
    assert len({id(each) for each in found}) == 1


def test_contracts_that_were_used_are_kept_fresh_while_the_client_is_started(
    quiet: Sandbox, eventually: Eventually
) -> None:
    client = make_client(quiet, instruments_every=SOON)
    old = client.instruments
    quiet.list_symbol("NEWUSDT")
    with client:
        assert eventually(lambda: "NEWUSDT" in client.instruments)
    assert "NEWUSDT" not in old


def test_who_needs_no_list_gets_no_thread_for_it(quiet: Sandbox) -> None:
    client = make_client(quiet)
    client.subscribe("publicTrade.BTCUSDT", ignore)
    with client:
        client.wait_until_ready()
        names = {thread.name for thread in threading.enumerate()}
        assert "bybit-copyws:public:run" in names
        assert "bybit-copyws:symbols" not in names


def test_closing_does_not_wait_for_an_answer(quiet: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        rest = f"http://127.0.0.1:{mute.getsockname()[1]}"
        client = CopyTradingClient(environment=Environment("mute", quiet.url, quiet.url, rest))
        subscription = client.subscribe("publicTrade.*", ignore)
        client.start()
        with mute.accept()[0] as connection:
            assert connection.recv(4) == b"GET "
            started = time.monotonic()
            client.close()
            assert time.monotonic() - started < 2.0
    assert "bybit-copyws:symbols" not in {thread.name for thread in threading.enumerate()}
    assert subscription.state is SubscriptionState.CLOSED
    with pytest.raises(StreamClosed):
        subscription.wait()


def test_closing_waits_for_the_thread(quiet: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(quiet)
    asked, answered = threading.Event(), threading.Event()

    def answer_late() -> Instruments:
        asked.set()
        answered.wait(5.0)
        raise StreamClosed("closed")

    ways = client._symbols._ways._replace(fetch=answer_late)
    monkeypatch.setattr(client._symbols, "_ways", ways)
    client.subscribe("publicTrade.*", ignore)
    client.start()
    assert asked.wait(5.0)
    timer = threading.Timer(0.3, answered.set)
    timer.start()
    client.close()
    thread = client._symbols.thread
    assert thread is not None
    assert not thread.is_alive()
    timer.join()
