"""When what is kept asks for a snapshot again by itself: plain calls, the time is an argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from bybit_copyws.books import Keeper
from bybit_copyws.errors import ConfigurationError, StreamError, SubscriptionError
from bybit_copyws.events import Status
from bybit_copyws.messages import MessageCallback
from bybit_copyws.policy.channel import Handler
from bybit_copyws.policy.registry import Registry
from bybit_copyws.state.ticker import Ticker
from bybit_copyws.subscription import Subscription
from bybit_copyws.wire.operations import SUBSCRIBE
from bybit_copyws.wire.profiles import COPY_TRADING_V3

TICKER = "tickers.BTCUSDT"
BEGIN = 100.0  # monotonic seconds


class Exchange:
    """A client and its exchange, as far as a keeper sees them."""

    def __init__(self) -> None:
        self.registry = Registry(21_000)
        self.reasons: list[str] = []
        self.keeper = Keeper(Ticker("BTCUSDT"), self, counted=False)
        self.keeper.open()

    def subscribe(self, topic_or_topics: str, callback: MessageCallback) -> Subscription:
        topic = COPY_TRADING_V3.topics.parse(topic_or_topics)
        return Subscription(self.registry.add([topic], callback), self)

    def resync(self, topic: str, reason: str) -> None:
        assert topic == TICKER
        self.reasons.append(reason)

    def forget(self, topic: str, state: object) -> None:
        """Do nothing: nobody else asks for it."""

    def status_changed(self) -> None:
        """Do nothing: nobody waits."""

    def wait_for(self, predicate: Callable[[], bool], timeout: float) -> bool:
        return predicate()

    def troubles(self) -> str:
        return "; all is quiet"

    def remove(self, handlers: Sequence[Handler]) -> None:
        self.registry.remove(handlers)

    def terminal_error(self, handlers: Sequence[Handler]) -> StreamError | None:
        return None

    def confirm(self, now: float) -> None:
        self.registry.asking(SUBSCRIBE, [TICKER])
        self.registry.confirmed([TICKER])
        self.registry.channels[TICKER].confirmed_at = now

    def looks(self, *times: float) -> list[float]:
        """Have it look at some times; return at which of them it asked."""
        asked = []
        for now in times:
            before = len(self.reasons)
            self.keeper.look(BEGIN + now)
            if len(self.reasons) > before:
                asked.append(now)
        return asked


def test_it_asks_again_ten_seconds_after_the_topic_was_confirmed() -> None:
    exchange = Exchange()
    assert exchange.looks(0.0, 1e6) == []  # nobody has promised it anything
    exchange.confirm(BEGIN)
    assert exchange.looks(0.0, 9.9, 10.0, 10.1, 19.9, 20.0) == [10.0, 20.0]
    assert exchange.reasons[0] == "no snapshot has come: no snapshot has come yet"


def test_it_goes_on_asking_at_growing_intervals() -> None:
    exchange = Exchange()
    exchange.confirm(BEGIN)
    times = exchange.looks(*range(3_600))
    assert times[:9] == [10, 20, 30, 40, 50, 60, 70, 86, 116]
    assert {later - earlier for earlier, later in pairwise(times[8:])} == {30}


def test_a_new_confirmation_gives_it_new_time() -> None:
    exchange = Exchange()
    exchange.confirm(BEGIN)
    assert exchange.looks(10.0) == [10.0]
    exchange.confirm(BEGIN + 15.0)
    assert exchange.looks(24.9, 25.0) == [25.0]


def test_without_a_link_or_when_it_is_refused_it_asks_nothing() -> None:
    exchange = Exchange()
    exchange.confirm(BEGIN)
    exchange.registry.reset()
    assert exchange.looks(1e6) == []
    exchange.registry.rejected(TICKER, "no such topic")
    assert exchange.looks(2e6) == []


@pytest.mark.parametrize("ending", [Keeper.close, lambda keeper: keeper.end("it is over")])
def test_after_its_end_it_asks_nothing(ending: Any) -> None:
    exchange = Exchange()
    exchange.confirm(BEGIN)
    ending(exchange.keeper)
    assert exchange.looks(1e6) == []


def test_what_has_its_snapshot_may_be_silent_for_ever() -> None:
    exchange = Exchange()
    exchange.confirm(BEGIN)
    exchange.keeper.state.apply("snapshot", {"symbol": "BTCUSDT"}, 1, BEGIN)
    assert exchange.looks(10.0, 1e6) == []


# What it says


def test_what_the_exchange_refuses_says_so_and_is_asked_for_anew_when_wanted_again() -> None:
    exchange = Exchange()
    keeper = exchange.keeper
    exchange.registry.rejected(TICKER, "no such topic")
    keeper.look(BEGIN)
    assert keeper.state.status is Status.SYNCING
    assert "no such topic" in keeper.state.reason
    with pytest.raises(SubscriptionError, match="no such topic"):
        keeper.wait_live(1.0)
    keeper.open()
    assert exchange.registry.plan().subscribe == (TICKER,)
    assert keeper.state.reason == "no snapshot has come yet"
    exchange.confirm(BEGIN)
    keeper.open()  # once is enough
    assert len(exchange.registry.handlers) == 1


def test_to_unsubscribe_it_is_to_keep_it_no_longer() -> None:
    exchange = Exchange()
    keeper = exchange.keeper
    exchange.confirm(BEGIN)
    keeper.state.apply("snapshot", {"symbol": "BTCUSDT"}, 1, BEGIN)
    assert keeper.state.status is Status.LIVE
    assert keeper.subscription is not None
    keeper.subscription.unsubscribe()
    assert (keeper.state.status, keeper.state.reason) == (Status.STALE, "it is not kept any more")
    assert exchange.registry.handlers == []
    keeper.doubt("the link is lost", BEGIN)
    assert keeper.state.reason == "it is not kept any more"
    with pytest.raises(ConfigurationError, match="not kept any more"):
        keeper.wait_live(1.0)


def test_who_waits_for_it_is_told_how_it_is() -> None:
    exchange = Exchange()
    with pytest.raises(TimeoutError, match="syncing: no snapshot has come yet; all is quiet"):
        exchange.keeper.wait_live(1.0)
    exchange.confirm(BEGIN)
    exchange.keeper.state.apply("snapshot", {"symbol": "BTCUSDT"}, 1, BEGIN)
    exchange.keeper.wait_live(1.0)
