"""Nothing is lost without being told: gaps, stale topics and suspended processes, on the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from exchange import ignore, make_client
from watched import Watched

from bybit_copyws.events import GapClosed, GapOpened, TopicStale
from bybit_copyws.messages import Message
from bybit_copyws.sandbox import Sandbox

BOOK, TRADES, BEST = "orderbook.50.BTCUSDT", "publicTrade.BTCUSDT", "orderbook.1.BTCUSDT"
POSITION = "copyTradePosition"


@pytest.fixture
def lively() -> Iterator[Sandbox]:
    """An exchange that sends a lot."""
    with Sandbox(seed=1, activity=20.0, cadence="fast") as exchange:
        yield exchange


def test_a_drop_is_one_gap_of_all_topics_and_the_next_messages_carry_it(lively: Sandbox) -> None:
    with Watched(lively, topics=(BOOK, TRADES)) as watched:
        watched.settle()
        lively.drop("public", how="rst")
        watched.wait_for(lambda: len(watched.gaps) >= 1, "no gap closed")
        watched.settle()
        assert {name for gap in watched.gaps for name in gap.topics} == {BOOK, TRADES}
        assert len({gap.since for gap in watched.gaps}) == 1


def test_a_lost_order_book_update_is_told_with_the_next_one(lively: Sandbox) -> None:
    # Never put on the wire: only its number shows that it is missing.
    with Watched(lively, topics=(BOOK, TRADES)) as watched:
        watched.settle()
        lively.fault("withhold", topic=BOOK, times=3)
        watched.wait_for(lambda: len(watched.gaps) == 1, "not told")
        (gap,) = watched.gaps
        assert gap.topics == (BOOK,)
        assert "numbers jump" in gap.reason
        assert watched.reasons == []


@pytest.mark.parametrize("topics", [(BOOK, TRADES), (TRADES, BOOK)])
def test_an_unreadable_message_is_a_gap_of_its_topic_alone(
    lively: Sandbox, topics: tuple[str, str]
) -> None:
    hit, other = topics
    with Watched(lively, topics=topics) as watched:
        watched.settle()
        lively.fault("replace", topic=hit, payload=f'{{"topic":"{hit}","data":[')
        watched.wait_for(lambda: len(watched.gaps) == 1, "not told")
        watched.settle()
        assert [gap.topics for gap in watched.gaps] == [(hit,)]
        assert "could not be read" in watched.gaps[0].reason
        assert other not in watched.gaps[0].last_seen


def test_row_19_a_silent_topic_is_subscribed_anew_and_heals(lively: Sandbox) -> None:
    stale: list[TopicStale] = []
    with Watched(lively, topics=(BEST, TRADES), stale_after={BEST: 0.3}) as watched:
        watched.client.listen(stale.append, TopicStale)
        watched.settle()
        lively.fault("withhold", topic=BEST, times=None)
        watched.wait_for(lambda: len(stale) == 1, "not found")
        assert (stale[0].topic, stale[0].age >= 0.3) == (BEST, True)
        lively.heal()
        watched.wait_for(lambda: len(watched.gaps) == 1, "not healed")
        assert watched.gaps[0].topics == (BEST,)
        assert "silent" in watched.gaps[0].reason


def test_row_19_what_a_new_subscription_does_not_heal_gets_a_new_link(lively: Sandbox) -> None:
    with Watched(lively, topics=(BEST, TRADES), stale_after={BEST: 0.3}) as watched:
        watched.settle()
        lively.fault("withhold", topic=BEST, times=None)
        watched.wait_for(lambda: len(watched.reasons) == 1, "no new link")
        assert "silent" in watched.reasons[0]
        lively.heal()
        watched.wait_for(
            lambda: any(BEST in gap.topics for gap in watched.gaps), "the gap never closed"
        )


def test_a_private_connection_has_gaps_too(eventually: Callable[..., bool]) -> None:
    with Sandbox(seed=2) as exchange, make_client(exchange) as client:
        events: list[GapOpened | GapClosed] = []
        client.listen(events.append, GapOpened, GapClosed)
        client.subscribe(POSITION, ignore)
        client.wait_until_ready()
        exchange.drop("private", how="fin")
        assert eventually(lambda: len(events) == 2)
        opened, closed = events
        assert isinstance(opened, GapOpened)
        assert isinstance(closed, GapClosed)
        assert opened.topics == closed.gap.topics == (POSITION,)


def test_a_callback_that_comes_later_gets_the_gap_of_its_topic(lively: Sandbox) -> None:
    late: list[Message] = []
    with make_client(lively) as client:
        client.subscribe(BOOK, ignore)
        client.wait_until_ready()
        lively.fault("withhold", topic=BOOK, times=None)
        lively.drop("public", how="rst")
        client.wait_until_ready()
        client.subscribe(BOOK, late.append)
        lively.heal()
        lively.wait_for(lambda _: late != [])
        assert late[0].gap is not None
