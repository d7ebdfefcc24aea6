"""The list of contracts and its thread, without a client: what it acts on only takes notes."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from exchange import ignore

from bybit_copyws.errors import ConfigurationError, ProtocolError, RestError, StreamClosed
from bybit_copyws.events import Event, SubscriptionRejected, SymbolsChanged
from bybit_copyws.messages import MessageCallback
from bybit_copyws.policy.channel import Courier, Handler
from bybit_copyws.policy.instant import Instant
from bybit_copyws.policy.refresh import Refresh
from bybit_copyws.policy.registry import Registry
from bybit_copyws.policy.wildcards import Pattern
from bybit_copyws.state.instruments import Instruments, parse_instrument
from bybit_copyws.stream.due import DueThread
from bybit_copyws.stream.symbols import SymbolList, Ways
from bybit_copyws.wire.profiles import COPY_TRADING_V3
from bybit_copyws.wire.topics import Topic

TABLE = COPY_TRADING_V3.topics
TRADES, TICKERS = (Pattern.parse(name, TABLE) for name in ("publicTrade.*", "tickers.*"))
EVERY = 600.0
NO_ANSWER = RestError("GET /list", "no answer")
Eventually = Callable[..., bool]


def contracts(*symbols: str, **facts: str) -> Instruments:
    return Instruments(parse_instrument({"symbol": symbol, **facts}) for symbol in symbols)


class FakeClock:
    def __init__(self) -> None:
        self.mono = 0.0

    def now(self) -> Instant:
        return Instant(self.mono, 1_000.0 + self.mono)


class Client:
    """What the list acts on: a registry, and notes of the rest."""

    def __init__(self, *answers: Instruments | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.registry = Registry(21_000)
        self.refusal: Exception | None = None
        self.events: list[Event] = []
        self.changes = 0
        self.clock = FakeClock()
        ways = Ways(self.fetch, self.subscribe, self.registry.remove, self.notify, self.changed)
        refresh = Refresh(EVERY, random.Random(1))
        self.symbols = SymbolList(ways, EVERY, refresh, self.clock)  # type: ignore[arg-type]

    def fetch(self) -> Instruments:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def subscribe(
        self, topics: Sequence[Topic], callback: MessageCallback, courier: Courier | None
    ) -> list[Handler]:
        if self.refusal is not None:
            raise self.refusal
        return self.registry.add(topics, callback, courier)

    def notify(self, events: Sequence[Event]) -> None:
        self.events += events

    def changed(self) -> None:
        self.changes += 1

    def held(self) -> set[str]:
        return {handler.topic.wire for handler in self.registry.handlers}


def test_nobody_asks_for_a_list_that_nobody_needs() -> None:
    client = Client(contracts("AUSDT"))
    assert client.symbols.beat() == 60.0
    assert client.asked == 0


def test_the_list_is_asked_for_when_a_pattern_needs_it_and_then_from_time_to_time() -> None:
    client = Client(contracts("AUSDT"), contracts("AUSDT", "BUSDT"))
    (expansion,) = client.symbols.follow([TRADES], ignore, ())
    assert client.asked == 0  # the call does not wait for it
    assert client.symbols.pending == ["publicTrade.*"]
    assert client.symbols.beat() == EVERY
    assert client.symbols.pending == []
    assert client.held() == {"publicTrade.AUSDT"}
    assert client.changes == 1
    client.clock.mono = EVERY - 1.0
    assert client.symbols.beat() == 1.0
    assert client.asked == 1
    client.clock.mono = EVERY
    assert client.symbols.beat() == EVERY
    assert client.held() == {"publicTrade.AUSDT", "publicTrade.BUSDT"}
    assert len(expansion.present) == 2


def test_a_change_is_told_and_the_first_list_is_none() -> None:
    client = Client(
        contracts("AUSDT", "BUSDT"), contracts("BUSDT", "CUSDT"), contracts("BUSDT", "CUSDT")
    )
    client.symbols.get()
    for _ in range(2):
        client.clock.mono += EVERY
        client.symbols.beat()
    assert client.asked == 3
    assert client.events == [
        SymbolsChanged(
            time=1_000.0 + EVERY, connection="public", listed=("CUSDT",), withdrawn=("AUSDT",)
        )
    ]


def test_after_a_failure_it_is_asked_for_soon_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = Client(NO_ANSWER, NO_ANSWER, contracts("AUSDT"), NO_ANSWER)
    client.symbols.follow([TRADES], ignore, ())
    for _ in range(3):
        wait = client.symbols.beat()
        assert wait is not None
        assert client.symbols.trouble == ("GET /list: no answer" if client.asked < 3 else None)
        client.clock.mono += wait
    assert client.clock.mono < EVERY + 3.0
    assert client.held() == {"publicTrade.AUSDT"}
    assert client.symbols.beat() is not None
    assert client.held() == {"publicTrade.AUSDT"}
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert ["there is none yet" in text for text in warnings] == [True, False]
    assert ["the old one stays" in text for text in warnings] == [False, True]
    assert client.symbols.trouble is None  # nobody waits for it


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (contracts(), "no contract at all"),
        (contracts("AUSDT", copyTrading="none"), "for copy trading any more"),
    ],
    ids=["empty", "without the flag"],
)
def test_a_list_without_copy_trading_is_not_believed(
    answer: Instruments, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(contracts("AUSDT"), answer)
    client.symbols.follow([TRADES], ignore, ())
    client.symbols.beat()
    client.clock.mono += EVERY
    client.symbols.beat()
    assert client.asked == 2
    assert client.held() == {"publicTrade.AUSDT"}
    assert client.symbols.get().symbols == ("AUSDT",)
    assert text in caplog.text


def test_a_first_list_without_copy_trading_is_taken() -> None:
    client = Client(contracts("AUSDT", copyTrading="none"))
    client.symbols.follow([TRADES], ignore, ())
    client.symbols.beat()
    assert client.symbols.pending == []
    assert client.held() == set()


def test_who_is_first_asks_and_hears_what_went_wrong() -> None:
    client = Client(NO_ANSWER, contracts(), contracts("AUSDT"))
    with pytest.raises(RestError, match="no answer"):
        client.symbols.get()
    with pytest.raises(ProtocolError, match="no contract at all"):
        client.symbols.get()
    assert client.symbols.get() is client.symbols.get()
    assert client.asked == 3


def test_a_bug_in_asking_does_not_stop_the_asking() -> None:
    client = Client(ZeroDivisionError(), contracts("AUSDT"))
    client.symbols.follow([TRADES], ignore, ())
    with pytest.raises(ZeroDivisionError):
        client.symbols.beat()
    client.clock.mono += 60.0
    client.symbols.beat()
    assert client.held() == {"publicTrade.AUSDT"}


def test_what_does_not_fit_is_told_and_leaves_all_else() -> None:
    client = Client(contracts("AUSDT"), contracts("AUSDT", "BUSDT"), contracts("AUSDT", "BUSDT"))
    (trades,) = client.symbols.follow([TRADES], ignore, ())
    client.symbols.beat()
    client.refusal = ConfigurationError("too much")
    client.clock.mono += EVERY
    client.symbols.beat()
    assert client.held() == {"publicTrade.AUSDT"}
    assert client.symbols.error is trades.error
    assert "too much" in str(trades.error)
    (_, refused) = client.events
    assert isinstance(refused, SubscriptionRejected)
    assert refused.topics == ("publicTrade.*",)
    assert refused.explanation == "too much"
    client.refusal = None
    client.clock.mono += EVERY
    client.symbols.beat()
    assert client.held() == {"publicTrade.AUSDT", "publicTrade.BUSDT"}
    assert client.symbols.error is None


def test_a_call_that_does_not_fit_subscribes_nothing() -> None:
    client = Client(contracts("AUSDT"))
    client.symbols.get()
    subscribe = client.subscribe

    def only_trades(
        topics: Sequence[Topic], callback: MessageCallback, courier: Courier | None
    ) -> list[Handler]:
        if topics[0].spec.channel == "tickers":
            raise ConfigurationError("too much")
        return subscribe(topics, callback, courier)

    client.symbols._ways = client.symbols._ways._replace(subscribe=only_trades)
    with pytest.raises(ConfigurationError, match="too much"):
        client.symbols.follow([TRADES, TICKERS], ignore, ())
    assert client.held() == set()
    assert client.symbols.error is None
    assert client.symbols.find("publicTrade.*") == []


def test_a_connection_that_has_ended_is_no_mistake_of_the_list() -> None:
    client = Client(contracts("AUSDT"))
    (expansion,) = client.symbols.follow([TRADES], ignore, ())
    client.refusal = StreamClosed("closed")
    client.symbols.beat()
    assert expansion.error is client.refusal
    assert client.events == []


def test_what_was_dropped_follows_no_longer() -> None:
    client = Client(contracts("AUSDT"), contracts("AUSDT", "BUSDT"))
    dropped = client.symbols.follow([TRADES], ignore, ())
    client.symbols.follow([TICKERS], ignore, ())
    client.symbols.beat()
    before = client.changes
    client.symbols.drop(dropped)
    client.symbols.drop(dropped)
    assert client.changes > before
    client.clock.mono += EVERY
    client.symbols.beat()
    assert client.held() == {"tickers.AUSDT", "tickers.BUSDT"}


def test_expansions_are_found_by_name_and_callback() -> None:
    client = Client()
    (one,) = client.symbols.follow([TRADES], ignore, ())
    (two,) = client.symbols.follow([TRADES], print, ())
    assert client.symbols.find("publicTrade.*") == [one, two]
    assert client.symbols.find("publicTrade.*", print) == [two]
    assert client.symbols.find("tickers.*") == []


def test_after_the_end_nothing_is_asked_for() -> None:
    client = Client()
    (expansion,) = client.symbols.follow([TRADES], ignore, ())
    client.symbols.end()
    assert client.symbols.beat() is None
    assert expansion.ended
    assert client.symbols.pending == []


def test_an_answer_after_the_end_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    """The REST client is closed with the list: what is under way fails."""
    client = Client()

    def fetch() -> Instruments:
        client.symbols.end()
        raise StreamClosed("closed")

    client.symbols._ways = client.symbols._ways._replace(fetch=fetch)
    client.symbols.follow([TRADES], ignore, ())
    assert client.symbols.beat() is None
    assert caplog.records == []


# The thread


class Beats:
    """A list that gives the waits it was made with, then the end."""

    def __init__(self, *waits: float | Exception | None) -> None:
        self.waits = list(waits)
        self.threads: list[str] = []

    def beat(self) -> float | None:
        self.threads.append(threading.current_thread().name)
        wait: Any = self.waits.pop(0)
        if isinstance(wait, Exception):
            raise wait
        return wait  # type: ignore[no-any-return]


def test_the_thread_looks_when_it_is_time_and_ends_at_the_end() -> None:
    beats = Beats(0.0, 0.0, None)
    refresher = DueThread("beats", beats.beat)
    refresher.start()
    refresher.thread.join(5.0)
    assert beats.threads == ["beats"] * 3
    assert not refresher.thread.is_alive()
    assert refresher.thread.daemon


def test_the_thread_can_be_woken(eventually: Eventually) -> None:
    beats = Beats(600.0, None)
    refresher = DueThread("beats", beats.beat)
    refresher.start()
    assert eventually(lambda: len(beats.threads) == 1)
    refresher.wake()
    refresher.thread.join(5.0)
    assert not refresher.thread.is_alive()


def test_the_thread_outlives_a_bug(caplog: pytest.LogCaptureFixture) -> None:
    beats = Beats(ZeroDivisionError(), None)
    refresher = DueThread("beats", beats.beat)
    refresher.start()
    refresher.wake()  # do not wait as long as after a bug
    refresher.thread.join(5.0)
    assert len(beats.threads) == 2
    assert "please report it" in caplog.text


def test_the_thread_starts_when_the_list_is_needed_and_the_client_started(
    eventually: Eventually,
) -> None:
    client = Client(contracts("AUSDT"))
    client.symbols.start()
    assert client.symbols.thread is None
    client.symbols.follow([TRADES], ignore, ())
    assert eventually(lambda: client.held() == {"publicTrade.AUSDT"})
    thread = client.symbols.thread
    assert thread is not None
    client.symbols.follow([TICKERS], ignore, ())
    assert client.symbols.thread is thread
    client.symbols.end()
    thread.join(5.0)
    assert not thread.is_alive()


def test_the_thread_starts_with_the_client_if_the_list_is_needed_before(
    eventually: Eventually,
) -> None:
    client = Client(contracts("AUSDT"))
    client.symbols.follow([TRADES], ignore, ())
    assert client.symbols.thread is None
    client.symbols.start()
    assert eventually(lambda: client.held() == {"publicTrade.AUSDT"})
    client.symbols.end()
    thread = client.symbols.thread
    assert thread is not None
    thread.join(5.0)


def test_no_thread_starts_after_the_end() -> None:
    client = Client()
    client.symbols.end()
    client.symbols.follow([TRADES], ignore, ())
    client.symbols.start()
    assert client.symbols.thread is None
