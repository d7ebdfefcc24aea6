"""The login, the exchange's clock, and when private data cannot be trusted. Plain calls."""

from __future__ import annotations

import json

import pytest
from fake_venue import API_KEY, API_SECRET, Rig
from test_gaps import Reader

from bybit_copyws.events import (
    Blind,
    ClockSkew,
    Sighted,
    SubscriptionState,
    UnsubscribeConfirmed,
)
from bybit_copyws.policy.instant import Instant
from bybit_copyws.policy.login import Login
from bybit_copyws.policy.session import SessionSettings
from bybit_copyws.policy.trust import Trust
from bybit_copyws.wire.replies import Pong
from bybit_copyws.wire.signing import Credentials

EXPIRED = "error:request expired"
ORDERS = "copyTradeOrder"
START = Instant(1_000.0, 1_700_000_000.0)


def login():
    return Login(Credentials(API_KEY, API_SECRET), 10.0)


def expires(text):
    return json.loads(text)["args"][1]


def later(seconds):
    return Instant(START.mono + seconds, START.wall + seconds)


# The signature


def test_it_expires_by_this_machines_clock_until_the_exchanges_is_known():
    one = login()
    assert expires(one.request(START)) == 1_700_000_010_000
    one.measured(1_700_003_600_000, START)
    assert expires(one.request(START)) == 1_700_003_610_000
    # The exchange's clock goes on with the monotonic one, whatever happens to the wall clock.
    assert expires(one.request(Instant(START.mono + 5.0, 0.0))) == 1_700_003_615_000


def test_no_signature_is_used_twice():
    one = login()
    assert expires(one.request(START)) != expires(one.request(START))


def test_one_more_try_after_an_expiry_and_none_after_another_refusal():
    one = login()
    assert not one.refused("API key is invalid.")
    assert one.refused(EXPIRED)
    assert one.wants_clock
    one.measured(None, START)
    assert not one.wants_clock
    assert not one.refused(EXPIRED)
    one.accepted()
    assert one.refused(EXPIRED)
    one.interrupted()
    assert one.refused(EXPIRED)


def test_what_was_known_of_the_clock_is_forgotten_with_a_refusal():
    one = login()
    one.measured(5, START)
    one.refused(EXPIRED)
    assert expires(one.request(START)) == 1_700_000_010_000


# The skew


def test_a_skew_is_told_when_it_is_a_second_or_has_changed_by_one():
    one, told = login(), []
    for ahead in (0.2, 0.9, 1.5, 1.6, 2.4, 2.6, 0.5, 1.2, -4.0):
        one.measured(int((START.wall + ahead) * 1000), START)
        told.append(one.untold_skew(START))
    assert [None if each is None else round(each, 3) for each in told] == [
        None,
        None,
        1.5,
        None,
        None,
        2.6,
        None,
        1.2,
        -4.0,
    ]


def test_a_measurement_that_took_longer_than_the_skew_proves_nothing():
    one = login()
    one.clock.measure(START.mono - 6.0, START.mono, (START.wall - 1.0) * 1000)
    assert one.skew(START) == 0.0
    assert one.explain_skew(START) == ""


@pytest.mark.parametrize(("ahead", "side"), [(4.2, "behind"), (-4.2, "ahead of")])
def test_a_refusal_names_the_clock(ahead, side):
    rig = Rig("v3-private")
    rig.clock_ahead = ahead
    rig.venue.login_verdicts += [EXPIRED, EXPIRED]
    rig.start(ORDERS)
    assert f"This machine's clock is 4.2 s {side} the exchange's" in str(rig.session.error)
    assert [round(each.seconds, 1) for each in rig.of(ClockSkew)] == [ahead]


def test_a_wrong_clock_is_cured_by_asking_the_exchange_for_the_time():
    rig = Rig("v3-private")
    rig.clock_ahead = 3600.0
    rig.venue.login_verdicts += [EXPIRED]
    rig.start(ORDERS)
    rig.check_settled()
    first, second = (int(expires_ms) for expires_ms, _ in rig.venue.logins)
    assert second - first == 3_600_000
    rig.reconnect()
    assert len(rig.venue.logins) == 3  # right at the first try


def test_a_clock_nobody_can_tell_changes_nothing():
    rig = Rig("v3-private")
    rig.venue.login_verdicts += [EXPIRED]
    rig.start(ORDERS)
    rig.check_settled()
    assert rig.of(ClockSkew) == []


def test_a_pong_that_tells_the_time_is_a_measurement():
    rig = Rig("v5-private")
    rig.start("order")
    rig.tick(20.0)
    rig.venue.replies.clear()
    rig.wait(0.2)
    rig.session.received(Pong(int((rig.now.wall + 30.0) * 1000)), rig.now)
    rig.send()
    (skew,) = rig.of(ClockSkew)
    assert skew.seconds == pytest.approx(30.1, abs=0.01)


def test_a_link_lost_while_the_clock_is_asked_for_is_logged_in_anew():
    rig = Rig("v3-private")
    rig.venue.login_verdicts += [EXPIRED]
    rig.add(ORDERS)
    rig.connect()
    rig.session.login.refused(EXPIRED)
    rig.drop()
    rig.session.clock_measured(5, rig.now)
    rig.send()
    assert not rig.session.login.wants_clock
    rig.venue.login_verdicts.clear()
    rig.connect()
    rig.settle()
    rig.check_settled()


# Trust


def test_doubt_is_told_once_after_its_time_and_its_end_once():
    trust = Trust(10.0)
    told = [
        trust.look(doubt, later(seconds))
        for doubt, seconds in (
            (None, 0.0),
            (START.mono + 1.0, 2.0),
            (START.mono + 1.0, 10.9),
            (START.mono + 5.0, 11.0),  # a younger reason does not begin it anew
            (START.mono + 5.0, 60.0),
            (None, 61.0),
            (None, 62.0),
            (START.mono + 62.0, 63.0),
            (None, 71.0),
        )
    ]
    assert told == [None, None, None, 10.0, None, -1.0, None, None, None]


def test_there_is_nothing_to_wait_for_when_it_never_ends():
    trust = Trust(10.0)
    assert trust.look(START.mono, later(1.0), for_ever=True) == 1.0


def test_when_to_look_next():
    trust = Trust(10.0)
    assert trust.deadline() is None
    trust.look(START.mono, later(1.0))
    assert trust.deadline() == START.mono + 10.0
    trust.look(START.mono, later(10.0))
    assert trust.deadline() is None


def watch(rig, seconds=0.0):
    """Let time pass, and the heartbeat look."""
    rig.wait(seconds)
    rig.session.watch(rig.now)
    rig.send()


def test_a_bot_is_told_when_private_data_cannot_be_trusted():
    rig = Reader("v3-private")
    rig.add(ORDERS)
    watch(rig, 3600.0)  # not started: nobody expects data
    rig.connect()
    watch(rig)
    rig.settle()
    watch(rig, 100.0)
    assert rig.of(Blind) == []
    rig.message(ORDERS)
    rig.wait(4.0)
    rig.drop()
    watch(rig)
    assert rig.session.blind_deadline() == rig.now.mono + 6.0  # it heard nothing for 4 s
    watch(rig, 6.0)
    assert [(each.seconds, "cut" in each.reason) for each in rig.of(Blind)] == [(10.0, True)]
    watch(rig, 60.0)
    rig.connect()
    watch(rig)
    assert rig.of(Sighted) == []
    rig.settle()
    watch(rig)
    assert len(rig.of(Sighted)) == len(rig.of(Blind)) == 1


def test_a_short_outage_makes_nobody_blind():
    rig = Reader("v3-private")
    rig.start(ORDERS)
    watch(rig)
    rig.drop()
    watch(rig)
    watch(rig, 5.0)
    rig.connect()
    rig.settle()
    watch(rig)
    watch(rig, 60.0)
    assert rig.of(Blind) == rig.of(Sighted) == []


def test_a_refused_key_is_blindness_at_once_and_for_ever():
    rig = Reader("v3-private")
    rig.venue.login_verdicts += ["error:USVC1111"]
    rig.start(ORDERS)
    watch(rig)
    rig.drop()
    watch(rig, 60.0)
    assert len(rig.of(Blind)) == 1


def test_a_refused_topic_is_known_and_makes_nobody_blind():
    rig = Reader("v3-private", unknown=["copyTradeWallet"])
    rig.start(ORDERS, "copyTradeWallet")
    watch(rig)
    watch(rig, 60.0)
    assert rig.of(Blind) == []


def test_a_public_connection_knows_no_blindness():
    rig = Reader(settings=SessionSettings(blind_after=1.0))
    rig.start("publicTrade.AUSDT")
    rig.drop()
    watch(rig, 60.0)
    assert rig.session.blind_deadline() is None
    assert rig.of(Blind) == []


def test_closing_makes_nobody_blind():
    rig = Reader("v3-private")
    rig.start(ORDERS)
    rig.drop()
    rig.session.close(rig.now)
    watch(rig, 60.0)
    rig.session.closed(rig.now)
    watch(rig, 60.0)
    assert rig.of(Blind) == []


def test_a_link_lost_while_the_clock_is_asked_for_leaves_the_next_try_its_retry():
    one = login()
    one.refused(EXPIRED)
    rig = Rig("v3-private")
    rig.add(ORDERS)
    rig.connect()
    rig.session.login.refused(EXPIRED)  # the clock is being asked for
    rig.venue.replies.clear()
    rig.session._pending.clear()
    rig.drop()
    rig.venue.login_verdicts += [EXPIRED]
    rig.connect()
    rig.settle()
    rig.check_settled()


def test_a_pong_of_a_ping_before_another_tells_no_time():
    rig = Rig("v5-private")
    rig.start("order")
    rig.tick(20.0)
    rig.now = rig.now._replace(mono=rig.now.mono + 60.0, wall=rig.now.wall + 60.0)
    rig.leap(0.0)  # a suspend: another ping goes out
    server_ms = int((rig.now.wall - 60.0) * 1000)
    rig.session.received(Pong(server_ms), rig.now)  # the first one's answer lay unread
    rig.session.received(Pong(int(rig.now.wall * 1000)), rig.now)
    rig.send()
    assert rig.of(ClockSkew) == []


def test_a_pong_that_took_long_tells_no_time():
    rig = Rig("v5-private")
    rig.start("order")
    rig.tick(20.0)
    sent_ms = int(rig.now.wall * 1000)
    rig.wait(3.0)
    rig.session.received(Pong(sent_ms - 60_000), rig.now)
    rig.send()
    assert rig.of(ClockSkew) == []


def test_a_bot_is_told_although_the_first_connection_is_never_tried():
    rig = Reader("v3-private")
    rig.session.started = True  # and the budget lets it wait
    rig.add(ORDERS)
    watch(rig)
    watch(rig, 10.0)
    assert [each.seconds for each in rig.of(Blind)] == [10.0]


# A connection that takes over


def test_what_was_told_of_blindness_goes_on_with_the_next_connection():
    old, new = Reader("v3-private"), Reader("v3-private")
    old.start(ORDERS)
    watch(old)
    old.drop()
    watch(old, 20.0)
    assert len(old.of(Blind)) == 1
    new.now = old.now
    new.start(ORDERS)
    new.session.take_over(old.session, new.now)
    watch(new)
    assert len(new.of(Sighted)) == 1


def test_an_unsubscription_under_way_ends_with_the_old_connection():
    old, new = Reader(), Reader()
    (handler,) = old.start("publicTrade.AUSDT")
    old.remove(handler)  # asked for, and not yet answered
    new.start("publicTrade.BUSDT")
    new.session.take_over(old.session, new.now)
    new.send()
    assert handler.state is SubscriptionState.CLOSED
    assert [event.topics for event in new.of(UnsubscribeConfirmed)] == [("publicTrade.AUSDT",)]
    new.settle()
    assert new.venue.held == []  # and what only the new one had is given up
