"""What may be missing is told: of which topic, from when to when, once. Plain calls."""

from __future__ import annotations

import pytest
from fake_venue import Rig
from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws.errors import ConnectionLost
from bybit_copyws.events import (
    GapClosed,
    GapOpened,
    SubscriptionConfirmed,
    SubscriptionState,
    TopicStale,
)
from bybit_copyws.policy.liveness import GRACE
from bybit_copyws.policy.sequence import BookSequence
from bybit_copyws.policy.session import SessionSettings
from bybit_copyws.policy.staleness import longest_silence
from bybit_copyws.wire.profiles import COPY_TRADING_V3, V5

A, B = "publicTrade.AUSDT", "publicTrade.BUSDT"
BOOK = "orderbook.50.AUSDT"
BEST = "orderbook.1.AUSDT"
CUT = ConnectionLost("cut")


class Reader(Rig):
    """A rig with a reader: messages of topics come, and carry gaps."""

    last_message = None

    def message(self, name):
        """Let a message come; return the gap that it carries."""
        channel = self.registry.channels[name]
        gap = None
        if channel.troubled:
            gap = self.session.gaps.take(channel, self.now)
        self.last_message = self.now.mono
        channel.last = (self.now.mono, 1, int(self.now.wall * 1e9))
        self.send()
        return gap

    def drop(self, error=CUT, headroom=1.0):
        """Lose the link; what the reader saw last is known."""
        self.venue.reset()
        self.session.ended(self.now, self.session.ending or error, headroom, self.last_message)
        self.send()

    def gaps(self):
        return [event.gap for event in self.of(GapClosed)]

    def opened(self):
        return [(event.topics, event.reason) for event in self.of(GapOpened)]


def test_a_lost_link_opens_one_gap_for_all_topics_since_the_last_sign_of_life():
    rig = Reader()
    rig.start(A, B)
    rig.wait(1.0)
    assert rig.message(A) is None
    heard = rig.now.wall
    rig.wait(5.0)
    rig.drop()
    (event,) = rig.of(GapOpened)
    assert event.topics == (A, B)
    assert event.reason == "cut"
    assert event.since == heard
    rig.wait(1.0)
    rig.connect()
    assert rig.gaps() == []
    rig.settle()
    (gap,) = rig.gaps()
    assert (gap.topics, gap.since, gap.until) == ((A, B), heard, rig.now.wall)
    assert gap.last_seen.keys() == {A}
    assert gap.last_seen[A].received_ns == int(heard * 1e9)
    rig.wait(3600.0)
    assert rig.message(B) is gap  # however late
    assert rig.message(A) is gap
    assert rig.message(A) is None


def test_a_pong_is_a_sign_of_life():
    rig = Reader()
    rig.start(A)
    rig.message(A)
    rig.tick(20.0)
    rig.settle()
    rig.drop()
    assert rig.of(GapOpened)[0].since == rig.now.wall


def test_a_message_before_the_acknowledgement_closes_the_gap_of_its_topic():
    rig = Reader()
    rig.start(A, B)
    rig.drop()
    rig.connect()
    gap = rig.message(A)
    assert gap.topics == (A,)
    assert [each.topics for each in rig.gaps()] == [(A,)]
    rig.settle()
    assert [each.topics for each in rig.gaps()] == [(A,), (B,)]


def test_what_was_never_promised_has_no_gap():
    rig = Reader()
    rig.add(A)
    rig.connect()
    rig.drop()  # before the acknowledgement
    rig.connect()
    rig.settle()
    rig.drop()
    assert rig.opened() == [((A,), "cut")]


def test_what_spoke_before_its_acknowledgement_was_promised():
    rig = Reader()
    rig.add(A)
    rig.connect()
    rig.wait(0.1)
    rig.message(A)
    rig.drop()
    assert rig.opened() == [((A,), "cut")]


def test_a_gap_that_lasts_over_several_links_is_one():
    rig = Reader()
    rig.start(A)
    rig.drop()
    for _ in range(5):
        rig.wait(1.0)
        rig.connect()
        rig.drop(ConnectionLost("cut again"))
    rig.connect()
    rig.settle()
    assert rig.opened() == [((A,), "cut")]
    assert len(rig.gaps()) == 1


def test_a_message_after_two_gaps_carries_one_that_covers_both():
    rig = Reader()
    rig.start(A)
    rig.message(A)
    begun = rig.now.wall
    rig.wait(1.0)
    rig.drop()
    rig.connect()
    rig.settle()
    rig.wait(1.0)
    rig.drop(ConnectionLost("cut again"))
    rig.connect()
    rig.settle()
    assert len(rig.gaps()) == 2
    gap = rig.message(A)
    assert (gap.since, gap.until) == (begun, rig.now.wall)
    assert gap.reason == "cut; cut again"
    assert gap.last_seen[A].received_ns == int(begun * 1e9)


def test_a_topic_given_up_takes_its_gap_along():
    rig = Reader()
    (handler,) = rig.start(A)
    rig.drop()
    rig.remove(handler)
    rig.add(A)
    rig.connect()
    rig.settle()
    assert rig.gaps() == []
    assert rig.message(A) is None


def test_closing_is_no_gap():
    rig = Reader()
    rig.start(A)
    rig.session.close(rig.now)
    rig.drop()
    assert rig.of(GapOpened) == []


def test_a_refused_topic_stays_in_its_gap_until_it_is_had_again():
    rig = Reader()
    rig.start(A)
    rig.drop()
    rig.venue.unknown.add(A)
    rig.connect()
    rig.settle()
    assert rig.gaps() == []
    rig.venue.unknown.clear()
    rig.add(A)
    rig.settle()
    assert rig.gaps()[0].topics == (A,)


def test_aliases_are_named_as_their_users_named_them():
    rig = Reader("v5-private")
    rig.start("copyTradePosition", "position")
    rig.drop()
    assert rig.opened()[0][0] == ("copyTradePosition", "position")


def test_something_lost_of_one_topic_or_of_any():
    rig = Reader()
    rig.start(A, B)
    rig.message(A)
    rig.session.missed(rig.registry.channels[A], "unreadable", rig.now)
    rig.session.missed(None, "garbage", rig.now)
    rig.send()
    assert rig.opened() == [((A,), "unreadable"), ((A, B), "garbage")]
    assert [gap.topics for gap in rig.gaps()] == [(A,), (A, B)]
    assert rig.message(A).reason == "unreadable; garbage"
    assert rig.message(B).reason == "garbage"


def test_something_lost_inside_a_gap_lies_in_that_one():
    rig = Reader()
    rig.start(A)
    rig.drop()
    rig.connect()
    rig.session.missed(None, "garbage", rig.now)
    rig.send()
    assert rig.opened() == [((A,), "cut")]
    assert rig.gaps() == []


# Order books


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        ("s5 d6 d7", []),
        ("s5 d7", ["5 to 7"]),
        ("s5 d7 d8", ["5 to 7"]),
        ("s5 d5 d6", []),  # repeated
        ("s5 d3", ["5 to 3"]),
        ("s5 s1 d2", []),  # the service was restarted
        ("s5 s900 d901", []),
        ("d7 d8 d10", ["8 to 10"]),
        ("s5 x d6", []),
    ],
)
def test_jumps_of_an_order_books_numbers(numbers, missing):
    sequence, found = BookSequence(), []
    for each in numbers.split():
        data = {"u": int(each[1:])} if each != "x" else [None]
        kind = {"s": "snapshot", "d": "delta", "x": "delta"}[each[0]]
        text = sequence.missing_before(kind, data)
        if text is not None:
            found.append(text.split("from ")[1])
    assert found == missing


def test_a_new_subscription_begins_a_new_count():
    sequence = BookSequence()
    sequence.missing_before("snapshot", {"u": 5})
    sequence.reset()
    assert sequence.missing_before("delta", {"u": 9}) is None


def test_only_books_deeper_than_one_level_are_counted():
    parse = COPY_TRADING_V3.topics.parse
    counted = [name for name in (BOOK, BEST, A) if BookSequence.suits(parse(name))]
    assert counted == [BOOK]


# Silence


def test_a_silent_topic_is_told_subscribed_anew_then_had_on_a_new_link_then_left_alone():
    rig = Reader()
    rig.start(BEST, A)
    rig.message(BEST)
    silent_since = rig.now.wall
    rig.tick(9.9)
    assert rig.of(TopicStale) == []
    rig.tick(0.1)
    (stale,) = rig.of(TopicStale)
    assert (stale.topic, stale.cure) == (BEST, "it is subscribed anew")
    assert stale.age == pytest.approx(10.0)
    assert [event.topics for event in rig.of(GapOpened)] == [(BEST,)]
    assert rig.of(GapOpened)[0].since == pytest.approx(silent_since)
    rig.settle()
    assert [text for text in rig.venue.texts if "unsubscribe" in text] != []
    assert rig.venue.held.count(BEST) == 1
    assert rig.gaps() == []  # an acknowledgement proves nothing of a silent topic
    rig.tick(10.0)
    assert [event.cure for event in rig.of(TopicStale)][1:] == ["a new connection is opened"]
    assert "silent" in str(rig.session.ending)
    rig.drop()
    rig.connect()
    rig.settle()
    assert [gap.topics for gap in rig.gaps()] == [(A,)]
    rig.tick(1_000.0)
    assert len(rig.of(TopicStale)) == 2
    gap = rig.message(BEST)
    assert gap.since == pytest.approx(silent_since)
    rig.tick(1.0)
    rig.tick(10.0)
    assert len(rig.of(TopicStale)) == 3  # it has spoken: all begins anew


def test_what_lies_unread_is_no_silence():
    rig = Reader()
    rig.start(BEST)
    rig.tick(100.0, idle=False)
    assert rig.of(TopicStale) == []


def test_topics_may_be_silent_unless_said_otherwise():
    rig = Reader()
    rig.start(A, BOOK)
    for _ in range(10):
        rig.tick(20.0)
        rig.settle()
    assert rig.of(TopicStale) == []
    limits = {BEST: None, "publicTrade.*": 5.0}
    rig = Reader(settings=SessionSettings(stale_after=limits))
    rig.start(A, BEST)
    rig.tick(5.0)
    assert [event.topic for event in rig.of(TopicStale)] == [A]


def test_a_limit_fits_a_topic_by_every_name_it_has():
    topic = V5.topics.parse("order")
    assert longest_silence(topic, {"copyTradeOrder": 5.0}) == 5.0
    assert longest_silence(V5.topics.parse("copyTradeOrder"), {"order": 5.0}) == 5.0
    assert longest_silence(topic, {"copyTradePosition": 5.0, "position": 6.0}) is None


def test_a_topic_subscribed_anew_stays_confirmed_to_its_users():
    rig = Reader()
    rig.start(BEST)
    rig.tick(10.0)
    rig.settle()
    assert [event.topics for event in rig.of(SubscriptionConfirmed)] == [(BEST,), (BEST,)]


def test_a_topic_that_is_subscribed_anew_is_pending_until_it_is_confirmed():
    rig = Reader()
    (handler,) = rig.start(BEST)
    rig.tick(10.0)
    assert handler.state is SubscriptionState.PENDING
    rig.settle()
    assert handler.state is SubscriptionState.CONFIRMED


def test_what_was_fetched_from_elsewhere_ends_a_gap_although_its_topic_stays_silent():
    rig = Reader()
    rig.start(BEST, A)
    rig.tick(10.0)
    rig.settle()
    assert rig.gaps() == []
    rig.session.repaired([BEST, "not.subscribed"], rig.now)
    rig.send()
    (gap,) = rig.gaps()
    assert (gap.topics, gap.repaired) == ((BEST,), True)
    assert rig.message(BEST) == gap
    rig.drop()
    assert rig.opened()[-1][0] == (BEST, A)


def test_a_silent_connection_is_ended_if_asked_for():
    rig = Reader(settings=SessionSettings(data_timeout=5.0))
    rig.start(A)
    rig.message(A)
    rig.tick(4.0, last_message=rig.last_message)
    assert rig.session.ending is None
    rig.tick(1.0, last_message=rig.last_message)
    rig.tick(GRACE, last_message=rig.last_message)
    assert "no message of any topic within 5 s" in str(rig.session.ending)


# A suspended process


@pytest.mark.parametrize(("mono", "wall"), [(60.0, 60.0), (0.5, 3600.0), (0.5, -3600.0)])
def test_after_a_leap_of_a_clock_the_link_is_looked_at_once(mono, wall):
    rig = Reader()
    rig.start(A)
    rig.tick(1.0)
    rig.now = rig.now._replace(mono=rig.now.mono + mono, wall=rig.now.wall + wall)
    before = rig.venue.texts.count('{"op":"ping"}')
    rig.leap(0.0)
    assert rig.venue.texts.count('{"op":"ping"}') == before + 1
    rig.venue.replies.clear()
    rig.tick(9.0)
    assert rig.session.ending is None
    rig.tick(1.0)
    rig.tick(GRACE)
    assert "pong" in str(rig.session.ending)


def test_a_leap_right_after_the_opening_is_seen_too():
    rig = Reader()
    rig.start(A)
    before = rig.venue.texts.count('{"op":"ping"}')
    rig.now = rig.now._replace(mono=rig.now.mono + 6.0, wall=rig.now.wall + 6.0)
    rig.leap(0.0)
    assert rig.venue.texts.count('{"op":"ping"}') == before + 1


# Any life


@given(
    st.lists(
        st.sampled_from(["message A", "message B", "cut", "connect", "settle", "lost A", "wait"]),
        max_size=60,
    )
)
def test_every_topic_is_in_at_most_one_gap_and_every_gap_closes_once(steps):
    rig = Reader()
    rig.start(A, B)
    owed = {A: 0, B: 0}
    for step in (*steps, "connect", "settle", "message A", "message B"):
        up = rig.session.reconnects >= 0 and rig.session.state.value == "active"
        if step == "wait":
            rig.wait(0.1)
        elif step == "connect" and not up:
            rig.connect()
        elif step == "settle":
            rig.settle()
        elif step == "cut" and up:
            rig.drop()
        elif step == "lost A" and up:
            rig.session.missed(rig.registry.channels[A], "unreadable", rig.now)
            rig.send()
        elif step.startswith("message") and up:
            name = {"A": A, "B": B}[step[-1]]
            total = [name in event.topics for event in rig.of(GapOpened)].count(True)
            gap = rig.message(name)
            assert (gap is not None) == (total > owed[name])
            owed[name] = total
    opened = [name for event in rig.of(GapOpened) for name in event.topics]
    closed = [name for gap in rig.gaps() for name in gap.topics]
    assert sorted(opened) == sorted(closed)
    assert all(gap.since <= gap.until for gap in rig.gaps())


def test_a_loss_of_one_topic_lies_after_its_own_last_message():
    """Others that spoke later prove nothing: the exchange may have left it out before."""
    rig = Reader()
    rig.start(A, B)
    rig.message(A)
    heard = rig.now.wall
    rig.wait(1.0)
    rig.message(B)
    rig.session.missed(rig.registry.channels[A], "its numbers jump", rig.now)
    rig.send()
    (gap,) = rig.gaps()
    assert gap.since == heard


def test_a_silent_topic_is_as_old_as_its_last_message():
    rig = Reader(settings=SessionSettings(stale_after={A: 10.0}))
    rig.start(A)
    rig.message(A)
    rig.tick(10.0)
    rig.settle()
    rig.tick(10.0)
    assert [event.age for event in rig.of(TopicStale)] == [10.0, 20.0]
