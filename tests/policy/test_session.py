"""The rules of one connection, driven against a pure exchange: no thread, no socket, no sleep."""

import json
import random

import pytest
from fake_venue import API_KEY, API_SECRET, GONE, SOCKETS, TOPICS, Rig

from bybit_copyws.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectFailed,
    ConnectionLost,
    HeartbeatTimeout,
)
from bybit_copyws.events import (
    BudgetExhausted,
    State,
    StateChanged,
    SubscriptionConfirmed,
    SubscriptionRejected,
    SubscriptionState,
    UnsubscribeConfirmed,
    UnsubscribeRejected,
)
from bybit_copyws.policy.backoff import Backoff
from bybit_copyws.policy.instant import Instant
from bybit_copyws.policy.liveness import GRACE, LinkStatus
from bybit_copyws.policy.session import MAX_RETRY_AFTER, SessionSettings
from bybit_copyws.wire.replies import Ack, Pong

PENDING, CONFIRMED = SubscriptionState.PENDING, SubscriptionState.CONFIRMED
REJECTED, CLOSED = SubscriptionState.REJECTED, SubscriptionState.CLOSED

ALL = pytest.mark.parametrize("socket", SOCKETS)
PRIVATE = pytest.mark.parametrize("socket", [each for each in SOCKETS if "private" in each])
A, B, C = TOPICS["v3-public"][:3]
EXPIRED, PARAMS = "error:request expired", "Params Error"


def states(handlers):
    return [handler.state for handler in handlers]


def requests(rig, op):
    """Return the args of each request of a kind, frame by frame."""
    sent = [json.loads(text) for text in rig.venue.texts]
    return [each["args"] for each in sent if each["op"] == op]


# The life of a link


@ALL
def test_a_link_comes_up_and_every_topic_is_confirmed(socket):
    rig = Rig(socket)
    handlers = rig.start(*TOPICS[socket])
    rig.check_settled()
    assert states(handlers) == [CONFIRMED] * len(handlers)
    assert rig.registry.unsettled() == []
    told = [topic for event in rig.of(SubscriptionConfirmed) for topic in event.topics]
    assert sorted(told) == sorted(TOPICS[socket])
    assert {event.connection for event in rig.events} == {rig.scope.value}
    assert {event.time for event in rig.events} == {rig.now.wall}


@ALL
def test_states_follow_one_another(socket):
    rig = Rig(socket)
    rig.start(*TOPICS[socket])
    rig.reconnect()
    rig.session.close(rig.now)
    rig.drop()
    login = [State.AUTHENTICATING] if "private" in socket else []
    up = [State.CONNECTING, *login, State.ACTIVE]
    moves = rig.of(StateChanged)
    assert [each.new for each in moves] == [*up, State.BACKOFF, *up, State.CLOSING, State.CLOSED]
    assert [each.old for each in moves][1:] == [each.new for each in moves][:-1]
    assert rig.session.reconnects == 1


def test_a_lost_link_makes_topics_pending_until_the_next_ack():
    rig = Rig()
    (handler,) = rig.start(A)
    rig.drop()
    assert handler.state is PENDING
    rig.connect()
    assert handler.state is PENDING
    rig.settle()
    assert handler.state is CONFIRMED


@ALL
def test_a_thousand_drops_at_any_moment_leave_the_wanted_set(socket):
    rig = Rig(socket)
    rng = random.Random(7)
    rig.start(*TOPICS[socket])
    for _ in range(1_000):
        for _ in range(rng.randrange(3)):  # changes, answered or not
            if rng.random() < 0.5 and rig.registry.handlers:
                rig.remove(rng.choice(rig.registry.handlers))
            else:
                rig.add(rng.choice(TOPICS[socket]))
            if rig.venue.replies and rng.random() < 0.5:
                rig.deliver()
        rig.drop()
        while rng.random() < 0.4:  # cut during the login or the resubscription
            rig.connect()
            for _ in range(rng.randrange(3)):
                if rig.venue.replies:
                    rig.deliver()
            rig.drop()
        rig.connect()
        rig.settle()
        rig.check_settled()
        assert set(states(rig.registry.handlers)) <= {CONFIRMED}


def test_topics_given_up_leave_nothing_behind():
    rig = Rig()
    for _ in range(50):
        rig.remove(*rig.start(A, B))
        rig.settle()
        rig.drop()
    assert rig.registry.channels == {}
    assert rig.registry.handlers == []
    assert not rig.registry.wanted


# Closing


def test_close_while_the_link_is_being_opened_wins():
    rig = Rig()
    rig.add(A)
    rig.session.connecting(rig.now)
    rig.session.close(rig.now)
    rig.session.opened(rig.now)
    assert rig.session.state is State.CLOSING
    assert rig.session.take_outgoing() == []
    rig.drop()
    assert rig.session.state is State.CLOSED


@PRIVATE
@pytest.mark.parametrize("verdict", ["", EXPIRED, "API key is invalid."])
def test_a_login_answered_after_close_changes_nothing(socket, verdict):
    rig = Rig(socket)
    rig.venue.login_verdicts.append(verdict)
    handlers = rig.add(*TOPICS[socket])
    rig.connect()
    rig.session.close(rig.now)
    rig.settle()
    assert rig.session.state is State.CLOSING
    assert rig.session.error is None
    assert len(rig.venue.texts) == 1
    rig.drop()
    assert set(states(handlers)) == {CLOSED}


def test_a_refusal_after_close_is_not_followed_up():
    rig = Rig(unknown=[A])
    rig.add(A, B)
    rig.connect()
    rig.session.close(rig.now)
    rig.settle()
    assert requests(rig, "subscribe") == [[A, B]]


def test_close_takes_back_what_has_not_left():
    rig = Rig()
    rig.registry.add([rig.profile.topics.parse(A)], print)
    rig.session.connecting(rig.now)
    rig.session.opened(rig.now)
    rig.session.close(rig.now)
    assert rig.session.take_outgoing() == []


@pytest.mark.parametrize("after", ["never connected", "backoff"])
def test_close_without_a_link(after):
    rig = Rig()
    (handler,) = rig.add(A)
    if after == "backoff":
        rig.connect()
        rig.drop()
    rig.session.close(rig.now)
    rig.session.close(rig.now)
    assert rig.session.state is State.CLOSING
    rig.session.closed(rig.now)
    rig.session.closed(rig.now)
    rig.session.close(rig.now)
    assert rig.session.state is State.CLOSED
    assert handler.state is CLOSED


def test_closed_is_only_for_a_session_that_closes():
    rig = Rig()
    rig.start(A)
    rig.session.closed(rig.now)
    assert rig.session.state is State.ACTIVE


def test_rest_and_back():
    rig = Rig()
    rig.remove(*rig.start(A))
    rig.drop()
    rig.session.rest(rig.now)
    assert rig.session.state is State.IDLE
    rig.start(B)
    rig.check_settled()


# Retries


def test_the_first_retry_after_a_good_link_is_at_once():
    rig = Rig()
    rig.start(A)
    rig.wait(10.0)
    rig.drop()
    assert rig.session.retry_at == rig.now.mono


def test_no_instant_retry_when_half_the_budget_is_gone():
    rig = Rig()
    rig.start(A)
    rig.wait(10.0)
    rig.drop(headroom=0.5)
    assert rig.now.mono < rig.session.retry_at <= rig.now.mono + 1.0


def test_waits_double_up_to_the_cap_and_are_forgotten_after_a_good_link():
    rig = Rig(settings=SessionSettings(backoff=Backoff(base=1.0, cap=8.0)))
    rig.add(A)
    for bound in (1.0, 2.0, 4.0, 8.0, 8.0, 8.0):
        rig.connect()
        rig.wait(9.99)  # not good yet
        rig.drop()
        assert 0.0 < rig.session.retry_at - rig.now.mono <= bound
    rig.connect()
    rig.wait(10.0)
    rig.drop()
    assert rig.session.retry_at == rig.now.mono


def test_a_failed_attempt_counts_as_a_loss():
    rig = Rig()
    rig.add(A)
    rig.session.connecting(rig.now)
    rig.drop(ConnectFailed("host", "refused"))
    assert rig.session.state is State.BACKOFF
    assert rig.now.mono < rig.session.retry_at <= rig.now.mono + 1.0
    assert rig.session.reconnects == -1
    assert "refused" in rig.of(StateChanged)[-1].reason


@PRIVATE
def test_a_link_that_never_logged_in_was_not_good(socket):
    rig = Rig(socket)
    rig.connect()
    rig.wait(60.0)
    rig.drop()
    assert rig.session.retry_at > rig.now.mono


@pytest.mark.parametrize(
    ("asked", "kept"), [(5.0, 5.0), (1e30, MAX_RETRY_AFTER), (float("inf"), MAX_RETRY_AFTER)]
)
def test_retry_after_is_obeyed_within_reason(asked, kept):
    rig = Rig()
    rig.session.connecting(rig.now)
    rig.drop(ConnectFailed("host", "busy", status=503, retry_after=asked))
    assert rig.session.retry_at - rig.now.mono == pytest.approx(kept)


def test_a_spent_budget_is_told_once_per_attempt():
    rig = Rig()
    for _ in range(3):
        rig.session.budget_spent(rig.now, "host", 4.0)
    rig.session.connecting(rig.now)
    rig.session.budget_spent(rig.now, "host", 5.0)
    rig.send()
    told = [(event.host, event.until - rig.now.wall) for event in rig.of(BudgetExhausted)]
    assert told == [("host", 4.0), ("host", 5.0)]


# Login


@PRIVATE
def test_no_private_topic_leaves_before_the_login_is_accepted(socket):
    rig = Rig(socket)
    rig.add(*TOPICS[socket][:2])
    rig.connect()
    rig.add(*TOPICS[socket][2:])
    rig.remove(*rig.registry.handlers[:1])
    assert [json.loads(text)["op"] for text in rig.venue.texts] == ["auth"]
    rig.settle()
    rig.check_settled()


@PRIVATE
@pytest.mark.parametrize(
    "verdict",
    ["API key is invalid.", "error:USVC1111", "error:invalid op", "error sign!", "whatever"],
)
def test_a_refused_login_is_terminal(socket, verdict):
    rig = Rig(socket)
    rig.venue.login_verdicts.append(verdict)
    handlers = rig.start(*TOPICS[socket])
    assert isinstance(rig.session.error, AuthenticationError)
    assert rig.session.ending is rig.session.error
    assert rig.session.error.ret_msg == verdict
    assert rig.session.state is State.CLOSING
    rig.add(TOPICS[socket][0])
    rig.tick(100.0)
    assert len(rig.venue.texts) == 1
    assert rig.session.deadline(LinkStatus()) is None
    rig.drop()
    assert rig.session.state is State.CLOSED
    assert set(states(handlers)) == {CLOSED}


@PRIVATE
def test_nothing_that_waits_leaves_after_a_refused_login(socket):
    rig = Rig(socket)
    rig.venue.login_verdicts.append("API key is invalid.")
    rig.connect()
    rig.wait(20.0)
    rig.session.tick(rig.now, LinkStatus(idle=False))  # a ping that has not left yet
    rig.deliver()
    assert len(rig.venue.texts) == 1


@PRIVATE
@pytest.mark.parametrize("verdict", [EXPIRED, PARAMS])
def test_an_expired_login_is_tried_once_more_with_a_fresh_signature(socket, verdict):
    rig = Rig(socket)
    rig.venue.login_verdicts.append(verdict)
    rig.start(*TOPICS[socket])
    rig.check_settled()
    (first, first_signature), (second, second_signature) = rig.venue.logins
    assert first < second  # although no time has passed
    assert first_signature != second_signature
    assert rig.session.error is None


@PRIVATE
@pytest.mark.parametrize("verdict", [EXPIRED, PARAMS])
def test_the_second_expired_login_is_terminal(socket, verdict):
    rig = Rig(socket)
    rig.venue.login_verdicts.extend([verdict, verdict])
    rig.connect()
    rig.settle()
    assert rig.session.error is not None
    assert rig.session.error.ret_msg == verdict
    expiries, signatures = zip(*rig.venue.logins, strict=True)
    assert len(set(expiries)) == len(set(signatures)) == len(expiries) == 2


@PRIVATE
@pytest.mark.parametrize("verdict", [EXPIRED, PARAMS])
def test_a_link_that_is_lost_before_the_retry_is_answered_gives_it_back(socket, verdict):
    rig = Rig(socket)
    rig.venue.login_verdicts.extend([verdict, "never delivered", verdict])
    rig.add(*TOPICS[socket])
    rig.connect()
    rig.deliver()
    rig.drop()
    rig.wait(1.0)
    rig.connect()
    rig.settle()
    assert rig.session.error is None
    rig.check_settled()


@PRIVATE
def test_an_accepted_login_gives_back_the_retry(socket):
    rig = Rig(socket)
    for _ in range(3):
        rig.venue.login_verdicts.append(EXPIRED)
        rig.connect()
        rig.settle()
        rig.check_settled()
        rig.drop()


@PRIVATE
def test_every_login_is_signed_anew_for_the_wall_clock(socket):
    rig = Rig(socket, settings=SessionSettings(auth_expires=7.5))
    rig.connect()
    rig.drop()
    rig.now = Instant(rig.now.mono + 1, rig.now.wall - 3_600)  # the clock was set back
    rig.connect()
    expiries = [expires for expires, _ in rig.venue.logins]
    assert expiries == [1_700_000_007_500, 1_700_000_007_500 - 3_600_000]


@PRIVATE
def test_a_login_that_is_never_answered_ends_the_link(socket):
    rig = Rig(socket)
    rig.connect()
    rig.tick(9.9)
    assert rig.session.ending is None
    rig.tick(0.1)
    assert rig.session.ending is None
    rig.tick(GRACE)
    assert isinstance(rig.session.ending, ConnectionLost)
    assert "no reply to auth within 10 s" in str(rig.session.ending)


def test_a_login_that_the_exchange_forgot_is_cured_by_a_fresh_link():
    rig = Rig("v3-private")
    rig.start("copyTradeOrder")
    rig.venue.authenticated = False
    rig.venue.held.clear()
    rig.add("copyTradeWallet")
    rig.venue.breaches.clear()  # it could not know
    rig.settle()
    assert isinstance(rig.session.ending, ConnectionLost)
    rig.reconnect()
    rig.check_settled()
    assert rig.of(SubscriptionRejected) == []


@PRIVATE
@pytest.mark.parametrize("names_topic", [True, False])
def test_a_topic_without_permission_costs_one_link_and_harms_no_other(socket, names_topic):
    good, bad, other = TOPICS[socket][:3]
    rig = Rig(socket, names_topic=names_topic)
    rig.venue.without_permission.add(bad)
    rig.start(good)
    rig.add(bad, other)
    rig.settle()
    assert rig.session.ending is not None
    rig.reconnect()
    assert rig.session.ending is None
    rig.check_settled()
    assert [event.topics for event in rig.of(SubscriptionRejected)] == [(bad,)]
    rig.reconnect()
    rig.check_settled()


def test_needs_auth_on_a_public_socket_is_a_refused_topic():
    rig = Rig()
    rig.venue.without_permission.add(A)
    rig.start(A, B)
    rig.check_settled()
    assert rig.registry.find(rig.profile.topics.parse(A))[0].state is REJECTED


# Subscribing


def test_requests_carry_at_most_ten_topics():
    rig = Rig("v5-public")
    rig.start(*(f"tickers.S{number}USDT" for number in range(35)))
    assert [len(args) for args in requests(rig, "subscribe")] == [10, 10, 10, 5]
    rig.remove(*rig.registry.handlers)
    rig.settle()
    assert [len(args) for args in requests(rig, "unsubscribe")] == [10, 10, 10, 5]
    rig.check_settled()


@pytest.mark.parametrize("names_topic", [True, False])
@pytest.mark.parametrize("returns_req_id", [True, False])
@pytest.mark.parametrize("max_args", [None, 4, 1])
@pytest.mark.parametrize("socket", ["v3-public", "v5-public"])
def test_800_topics_of_which_3_are_unknown(socket, names_topic, returns_req_id, max_args):
    names = [f"tickers.S{number:03}USDT" for number in range(800)]
    unknown = [names[0], names[401], names[409]]
    rig = Rig(
        socket,
        unknown=unknown,
        names_topic=names_topic,
        returns_req_id=returns_req_id,
        max_args=max_args,
    )
    handlers = rig.start(*names)
    rig.check_settled()
    assert states(handlers).count(CONFIRMED) == 797
    assert [each.topic.name for each in handlers if each.state is REJECTED] == unknown
    assert (
        sorted(topic for each in rig.of(SubscriptionRejected) for topic in each.topics) == unknown
    )
    assert all("handler not found" in each.ret_msg for each in rig.of(SubscriptionRejected))
    assert all(each.explanation for each in rig.of(SubscriptionRejected))
    assert rig.registry.unsettled() == unknown


def test_the_call_that_passes_21_000_characters_raises_and_changes_nothing():
    rig = Rig("v5-public")
    name = "tickers.{:0>9}".format  # 17 characters, 20 with quotes and comma
    rig.start(*(name(number) for number in range(1_050)))
    before = rig.registry.channels
    with pytest.raises(ConfigurationError, match=r"21,020 characters .* at most 21,000"):
        rig.add(name(1_050))
    assert rig.registry.channels is before
    rig.add(name(7))  # a second callback takes no room
    rig.check_settled()
    assert rig.venue.most_chars == 21_000
    rig.remove(*rig.registry.find(rig.profile.topics.parse(name(7))))
    rig.add(name(1_050))  # now there is room
    rig.settle()
    rig.check_settled()


def test_room_is_used_again_only_when_the_exchange_has_given_it_back():
    rig = Rig("v5-public")
    old = rig.add(*(f"tickers.OLD{number:0>6}" for number in range(1_050)))
    rig.connect()
    rig.remove(*old)  # none of them is answered yet
    rig.add(*(f"tickers.NEW{number:0>6}" for number in range(1_050)))
    rig.settle()
    rig.check_settled()
    assert rig.venue.most_chars == 21_000


def test_a_rejected_topic_takes_no_room():
    full = [f"tickers.{number:0>9}" for number in range(1_050)]
    rig = Rig("v5-public", unknown=full[:1])
    rig.start(*full)
    rig.add("tickers.000009999")
    with pytest.raises(ConfigurationError):
        rig.add(full[0])
    rig.settle()
    rig.check_settled()


def test_a_topic_that_is_active_is_never_sent_again():
    rig = Rig()
    rig.start(A)
    (second,) = rig.add(A, callback=repr)
    assert second.state is CONFIRMED
    assert rig.venue.asked("subscribe") == [A]


@pytest.mark.parametrize("names_topic", [True, False])
def test_already_subscribed_is_a_success(names_topic):
    rig = Rig(names_topic=names_topic)
    rig.add(A, B, C)
    rig.venue.held.append(B)  # the exchange kept it
    rig.connect()
    rig.settle()
    rig.check_settled()
    assert rig.of(SubscriptionRejected) == []
    assert set(states(rig.registry.handlers)) == {CONFIRMED}


@ALL
@pytest.mark.parametrize("names_topic", [True, False])
def test_a_rejected_topic_comes_back_only_by_a_new_subscribe(socket, names_topic):
    good, bad = TOPICS[socket][:2]
    rig = Rig(socket, unknown=[bad], names_topic=names_topic)
    handlers = rig.start(good, bad)
    assert states(handlers) == [CONFIRMED, REJECTED]
    assert "handler not found" in handlers[1].ret_msg
    asked = rig.venue.asked("subscribe").count(bad)
    for _ in range(3):
        rig.reconnect()
    assert rig.venue.asked("subscribe").count(bad) == asked
    assert states(handlers) == [CONFIRMED, REJECTED]
    rig.venue.unknown.clear()
    (again,) = rig.add(bad, callback=repr)
    assert handlers[1].state is again.state is PENDING
    assert handlers[1].ret_msg is None
    rig.settle()
    rig.check_settled()
    assert handlers[1].state is again.state is CONFIRMED


def test_a_session_with_only_rejected_topics_needs_no_link():
    rig = Rig(unknown=[A])
    rig.start(A)
    assert not rig.registry.wanted
    assert rig.registry.unsettled() == [A]


def test_topics_listed_as_failed_are_rejected_and_the_others_confirmed():
    rig = Rig()
    handlers = rig.add(A, B, C)
    rig.connect()
    lists = {"failTopics": [B], "successTopics": [A, C]}
    rig.reply({"success": True, "conn_id": "c", "data": lists, "type": "COMMAND_RESP"})
    assert states(handlers) == [CONFIRMED, REJECTED, CONFIRMED]
    assert handlers[1].ret_msg == "listed as failed"


def test_topics_listed_as_failed_by_an_unsubscribe_are_closed():
    rig = Rig()
    handlers = rig.start(A, B)
    rig.remove(*handlers)
    rig.reply({"success": True, "op": "unsubscribe", "data": {"failTopics": [B]}})
    assert states(handlers) == [CLOSED, CLOSED]
    assert [event.topics for event in rig.of(UnsubscribeConfirmed)] == [(A,)]
    assert [event.topics for event in rig.of(UnsubscribeRejected)] == [(B,)]


def test_an_alias_keeps_its_name_for_the_user():
    rig = Rig("v5-private")
    handlers = rig.start("copyTradePosition", "position", "copyTradeOrder")
    assert sorted(rig.venue.held) == ["order", "position"]
    told = [topic for event in rig.of(SubscriptionConfirmed) for topic in event.topics]
    assert told == ["copyTradePosition", "position", "copyTradeOrder"]
    names = [route.name for route in rig.registry.channels["position"].routes]
    assert names == ["copyTradePosition", "position"]
    rig.remove(handlers[0])
    rig.settle()
    assert "position" in rig.venue.held
    rig.remove(handlers[1])
    rig.settle()
    assert rig.venue.held == ["order"]


# Unsubscribing


@ALL
def test_the_last_callback_that_leaves_unsubscribes(socket):
    one, other = TOPICS[socket][:2]
    rig = Rig(socket)
    rig.start(other)
    (first,), (second,) = rig.add(one), rig.add(one, callback=repr)
    rig.settle()
    rig.remove(first)
    assert first.state is CLOSED
    assert second.state is CONFIRMED
    assert rig.venue.asked("unsubscribe") == []
    rig.remove(second)
    assert second.state is CONFIRMED  # the exchange has not said so yet
    assert one not in rig.registry.channels
    rig.settle()
    assert second.state is CLOSED
    assert rig.venue.held == [other]
    assert [event.topics for event in rig.of(UnsubscribeConfirmed)] == [(one,)]


@ALL
def test_subscribe_again_while_unsubscribing(socket):
    topic = TOPICS[socket][0]
    rig = Rig(socket)
    (old,) = rig.start(topic)
    rig.remove(old)
    (new,) = rig.add(topic)
    assert new.state is PENDING
    assert rig.venue.asked("subscribe") == [topic]  # not before the answer
    rig.settle()
    assert (old.state, new.state) == (CLOSED, CONFIRMED)
    assert rig.venue.asked("subscribe") == [topic, topic]
    rig.check_settled()


@ALL
def test_unsubscribe_while_subscribing(socket):
    topic = TOPICS[socket][0]
    rig = Rig(socket)
    rig.start()
    (handler,) = rig.add(topic)
    rig.remove(handler)
    assert rig.venue.asked("unsubscribe") == []  # not before the answer
    assert handler.state is PENDING
    rig.settle()
    assert handler.state is CLOSED
    rig.check_settled()
    assert rig.of(SubscriptionConfirmed) == []


def test_removed_and_added_while_subscribing_needs_no_further_request():
    rig = Rig()
    rig.start()
    (old,) = rig.add(A)
    rig.remove(old)
    (new,) = rig.add(A)
    rig.settle()
    assert (old.state, new.state) == (CLOSED, CONFIRMED)
    assert len(rig.venue.texts) == 1


def test_removed_and_added_before_the_unsubscribe_leaves():
    rig = Rig()
    (old,) = rig.start(A)
    rig.registry.remove([old])
    (new,) = rig.add(A)
    assert (old.state, new.state) == (CLOSED, CONFIRMED)
    assert rig.venue.asked("unsubscribe") == []


def test_a_topic_removed_while_its_frame_is_refused_is_not_asked_again():
    rig = Rig(unknown=[B])
    (a, b, c) = rig.add(A, B, C)
    rig.connect()
    rig.remove(a, b)
    rig.settle()
    rig.check_settled()
    assert states([a, b, c]) == [CLOSED, CLOSED, CONFIRMED]
    assert requests(rig, "subscribe") == [[A, B, C], [C]]
    assert rig.of(SubscriptionRejected) == []  # nobody wants it any more


def test_an_older_leaver_waits_for_the_exchange_although_a_newer_one_does_not():
    rig = Rig()
    (old,) = rig.start(A)
    rig.remove(old)
    (stays,), (leaves,) = rig.add(A), rig.add(A)
    rig.remove(leaves)
    assert states([old, stays, leaves]) == [CONFIRMED, PENDING, CLOSED]
    rig.settle()
    assert states([old, stays, leaves]) == [CLOSED, CONFIRMED, CLOSED]
    assert [event.topics for event in rig.of(UnsubscribeConfirmed)] == [(A,)]


@ALL
@pytest.mark.parametrize("names_topic", [True, False])
def test_a_refused_unsubscribe_is_told_and_not_repeated(socket, names_topic):
    good, bad = TOPICS[socket][:2]
    rig = Rig(socket, sticky=[bad], names_topic=names_topic)
    handlers = rig.start(good, bad)
    rig.remove(*handlers)
    rig.settle()
    assert rig.venue.held == [bad]
    assert rig.registry.channels == {}
    assert states(handlers) == [CLOSED, CLOSED]
    assert "handler not found" in handlers[1].ret_msg
    assert [event.topics for event in rig.of(UnsubscribeRejected)] == [(bad,)]
    assert [event.topics for event in rig.of(UnsubscribeConfirmed)] == [(good,)]
    asked = len(rig.venue.texts)
    rig.session.replan(rig.now)
    rig.send()
    assert len(rig.venue.texts) == asked
    (again,) = rig.add(bad)
    rig.settle()
    assert again.state is CONFIRMED
    rig.check()


def test_a_link_lost_while_unsubscribing_closes_the_subscription():
    rig = Rig()
    (handler,) = rig.start(A)
    rig.remove(handler)
    rig.drop()
    assert handler.state is CLOSED
    rig.connect()
    assert rig.venue.asked("subscribe") == [A]


# Replies that come oddly


@ALL
def test_acks_in_any_order_are_tied_to_their_requests(socket):
    for seed in range(20):
        rig = Rig(socket, unknown=TOPICS[socket][1:2])
        rig.start()
        for topic in TOPICS[socket]:
            rig.add(topic)
        rng = random.Random(seed)
        while rig.venue.replies:
            rig.deliver(rng.randrange(len(rig.venue.replies)))
        rig.check_settled()
        wrong = [each.topic.wire for each in rig.registry.handlers if each.state is not CONFIRMED]
        assert wrong == [TOPICS[socket][1]]


def test_an_ack_for_another_req_id_is_not_ours():
    rig = Rig()
    (handler,) = rig.add(A)
    rig.connect()
    rig.reply({"success": True, "ret_msg": "", "req_id": "other", "op": "subscribe"})
    assert handler.state is PENDING
    rig.settle()
    assert handler.state is CONFIRMED


@ALL
@pytest.mark.parametrize("success", [True, False])
def test_a_second_ack_changes_nothing(socket, success):
    rig = Rig(socket)
    rig.add(*TOPICS[socket])
    rig.connect()
    if "private" in socket:
        rig.deliver()
    _, ack = rig.venue.replies[-1]
    rig.settle()
    events = list(rig.events)
    rig.reply(ack | {"success": success})
    assert rig.events == events
    rig.check_settled()


def test_a_reply_to_nothing_changes_nothing():
    rig = Rig()
    rig.start(A)
    sent = len(rig.venue.texts)
    rig.reply({"success": False, "ret_msg": "error:invalid op", "op": ""})
    rig.reply({"success": True, "ret_msg": "", "op": "auth"})
    assert len(rig.venue.texts) == sent
    rig.check_settled()


def test_a_reply_without_a_link_changes_nothing():
    rig = Rig()
    (handler,) = rig.start(A)
    rig.drop()
    rig.session.received(Ack("subscribe", True), rig.now)
    assert handler.state is PENDING


def test_an_ack_of_the_lost_link_does_not_count_for_the_new_one():
    rig = Rig()
    (handler,) = rig.add(A)
    rig.connect()
    late = rig.venue.take()
    rig.drop()
    rig.connect()
    rig.reply(late)
    assert handler.state is PENDING


@ALL
def test_a_request_without_a_reply_ends_the_link(socket):
    rig = Rig(socket)
    rig.start()
    rig.wait(1.0)
    rig.add(TOPICS[socket][0])
    rig.venue.replies.clear()
    rig.tick(10.0)
    rig.tick(GRACE)
    assert f"no reply to subscribe {TOPICS[socket][0]} within 10 s" in str(rig.session.ending)
    rig.reconnect()
    rig.check_settled()


@ALL
def test_the_route_is_there_before_the_request_leaves(socket):
    rig = Rig(socket)
    rig.registry.add([rig.profile.topics.parse(TOPICS[socket][0])], print)
    assert rig.session.take_outgoing() == []
    assert TOPICS[socket][0] in rig.registry.channels


# Heartbeat


@ALL
def test_a_ping_every_interval_keeps_the_link(socket):
    rig = Rig(socket)
    rig.start(TOPICS[socket][0])
    for count in range(1, 11):
        assert rig.session.deadline(LinkStatus()) == rig.now.mono + 20.0
        rig.tick(20.0)
        rig.settle()
        assert rig.venue.texts.count('{"op":"ping"}') == count
    assert rig.session.last_pong == rig.now.wall
    assert rig.session.ending is None


def test_no_pong_ends_the_link_after_the_timeout_and_a_moment_of_grace():
    rig = Rig()
    rig.start(A)
    rig.tick(20.0)
    assert rig.session.deadline(LinkStatus()) == rig.now.mono + 10.0
    rig.tick(10.0)
    assert rig.session.ending is None
    assert rig.session.deadline(LinkStatus()) == rig.now.mono + GRACE
    rig.tick(GRACE)
    assert isinstance(rig.session.ending, HeartbeatTimeout)
    assert rig.session.ending.seconds == 10.0


def test_a_pong_within_the_grace_saves_the_link():
    rig = Rig()
    rig.start(A)
    rig.tick(20.0)
    rig.tick(10.0)
    rig.session.received(Pong(), rig.now)
    rig.tick(GRACE)
    assert rig.session.ending is None


def test_data_alone_does_not_save_the_link():
    rig = Rig()
    rig.start(A)
    rig.tick(20.0)
    rig.tick(10.0)
    rig.reply({"success": True, "ret_msg": "", "req_id": "x", "op": "subscribe"})
    rig.tick(GRACE)
    assert isinstance(rig.session.ending, HeartbeatTimeout)


def test_no_verdict_while_the_reader_is_busy_but_pings_go_on():
    rig = Rig()
    rig.start(A)
    for _ in range(10):
        rig.tick(20.0, idle=False)
    assert rig.session.ending is None
    assert rig.venue.texts.count('{"op":"ping"}') == 10
    rig.tick(0.01)
    assert rig.session.ending is None  # the first look at an idle reader is a suspicion only
    rig.tick(GRACE)
    assert isinstance(rig.session.ending, HeartbeatTimeout)


def test_work_within_the_grace_begins_it_anew():
    rig = Rig()
    rig.start(A)
    rig.tick(20.0)
    rig.tick(10.0)
    rig.tick(GRACE / 2, idle=False)
    rig.tick(GRACE / 2)
    assert rig.session.ending is None
    rig.tick(GRACE)
    assert rig.session.ending is not None


@pytest.mark.parametrize("idle", [True, False])
def test_ticking_at_each_deadline_never_spins(idle):
    rig = Rig()
    rig.start(A)
    ticks = 0
    for _ in range(2_000):
        link = LinkStatus(idle=idle, frame_since=1_000.0)
        deadline = rig.session.deadline(link)
        assert deadline > rig.now.mono
        rig.wait(deadline - rig.now.mono)
        rig.session.tick(rig.now, link)
        ticks += 1
        if rig.session.ending:
            break
    elapsed = rig.now.mono - 1_000.0
    assert ticks <= elapsed / GRACE + 2
    assert (rig.session.ending is not None) is idle


def test_after_a_suspend_one_ping_is_enough():
    rig = Rig()
    rig.start(A)
    rig.leap(7_200.0)
    rig.tick(0.0)
    assert rig.venue.texts.count('{"op":"ping"}') == 1
    assert rig.session.ending is None


def test_a_new_link_owes_nothing_for_the_old_one():
    rig = Rig()
    rig.start(A)
    rig.tick(20.0)
    rig.tick(10.0)
    rig.reconnect()
    assert rig.session.ending is None
    assert rig.session.deadline(LinkStatus()) == rig.now.mono + 20.0
    rig.tick(1.0)
    assert rig.session.ending is None


def test_an_unfinished_frame_ends_the_link():
    rig = Rig()
    rig.start(A)
    since = rig.now.mono
    assert rig.session.deadline(LinkStatus(frame_since=since)) == since + 10.0
    rig.tick(9.9, frame_since=since)
    rig.tick(0.1, frame_since=since)
    assert rig.session.ending is None
    rig.tick(GRACE, frame_since=since)
    assert "did not end within 10 s" in str(rig.session.ending)


def test_a_frame_that_is_finished_in_time_is_fine():
    rig = Rig()
    rig.start(A)
    rig.tick(9.9, frame_since=rig.now.mono)
    rig.tick(10.0)
    assert rig.session.ending is None


def test_a_blocked_send_ends_the_link_even_while_the_reader_is_busy():
    rig = Rig()
    rig.start(A)
    since = rig.now.mono
    blocked = {"idle": False, "blocked_since": since}
    assert rig.session.deadline(LinkStatus(**blocked)) == since + 10.0
    rig.tick(9.9, **blocked)
    assert rig.session.ending is None
    rig.tick(0.1, **blocked)
    assert "a send hung for 10 s" in str(rig.session.ending)


@ALL
def test_without_a_link_nothing_is_due(socket):
    rig = Rig(socket)
    for move in (lambda: None, lambda: rig.session.connecting(rig.now), rig.drop):
        move()
        rig.tick(1_000.0, blocked_since=0.0, frame_since=0.0)
        assert rig.session.deadline(LinkStatus()) is None
        assert rig.session.ending is None
        assert rig.venue.texts == []


def test_the_first_reason_to_end_stays():
    rig = Rig()
    rig.start(A)
    first = ConnectionLost("first")
    rig.session.end(first)
    rig.session.end(GONE)
    assert rig.session.ending is first
    rig.drop()
    assert "first" in rig.of(StateChanged)[-1].reason
    rig.connect()
    assert rig.session.ending is None


# Secrets


@PRIVATE
@pytest.mark.parametrize("verdict", ["", EXPIRED, "error sign!"])
def test_no_secret_shows_in_what_a_session_tells(socket, verdict):
    rig = Rig(socket)
    rig.venue.login_verdicts.append(verdict)
    rig.add(*TOPICS[socket])
    rig.session.connecting(rig.now)
    rig.session.opened(rig.now)
    shown = [repr(vars(rig.session)), repr(rig.session._outgoing)]
    rig.settle()
    shown += [repr(vars(rig.session)), repr(rig.events), repr(rig.session.error)]
    secrets = [API_KEY, API_SECRET, *(signature for _, signature in rig.venue.logins)]
    assert [each for each in secrets for text in shown if each in text] == []


@PRIVATE
def test_a_login_that_the_exchange_quotes_as_undecodable_is_not_told(socket):
    rig = Rig(socket)
    rig.connect()
    quoted = rig.venue.texts[0]
    text = f"Failed to decode incoming data:op.CmdReq.Args: error found in #10 byte of ...|{quoted}"
    rig.reply({"success": False, "ret_msg": text, "conn_id": "c", "req_id": "", "op": ""})
    assert rig.session.error is not None
    assert rig.session.error.ret_msg.startswith("Failed to decode")
    assert API_KEY not in f"{rig.session.error!r} {rig.session.error} {rig.events!r}"


@pytest.mark.parametrize("status", [403, 429])
def test_after_a_ban_the_next_attempt_waits_at_least_a_minute(status):
    rig = Rig()
    rig.start(A)
    rig.drop(ConnectFailed("host", "refused", status=status))
    assert rig.session.retry_at - rig.now.mono >= 60.0


LASTING = ConnectFailed("host", "HTTP 404", status=404, lasting=True)


def fail(rig, error):
    rig.session.connecting(rig.now)
    rig.drop(error)


def test_what_never_worked_and_is_not_likely_to_is_given_up_after_five_attempts():
    rig = Rig()
    (handler,) = rig.add(A)
    for _ in range(4):
        fail(rig, LASTING)
        assert (rig.session.state, rig.session.error) == (State.BACKOFF, None)
        assert rig.session.retry_at - rig.now.mono >= 60.0
    fail(rig, LASTING)
    assert (rig.session.state, rig.session.error) == (State.CLOSED, LASTING)
    assert handler.state is CLOSED
    assert "given up after 5" in rig.of(StateChanged)[-2].reason


def test_only_refusals_in_a_row_count():
    rig = Rig()
    rig.add(A)
    for _ in range(20):
        for _ in range(4):
            fail(rig, LASTING)
        fail(rig, ConnectFailed("host", "connection refused"))
    assert rig.session.state is State.BACKOFF


def test_what_worked_once_is_never_given_up():
    rig = Rig()
    rig.start(A)
    rig.drop()
    for _ in range(50):
        fail(rig, LASTING)
    assert rig.session.state is State.BACKOFF
    rig.connect()
    rig.settle()
    rig.check_settled()


def test_giving_up_can_be_turned_off():
    rig = Rig(settings=SessionSettings(backoff=Backoff(give_up_after=0)))
    rig.add(A)
    for _ in range(50):
        fail(rig, LASTING)
    assert rig.session.state is State.BACKOFF


def test_a_reply_that_is_late_is_looked_for_in_time():
    rig = Rig()
    rig.add(A)
    rig.connect()
    sent = rig.now.mono
    assert rig.session.deadline(LinkStatus()) == sent + 10.0


def test_an_unsubscribe_of_which_every_topic_failed_is_told_as_refused():
    rig = Rig()
    handlers = rig.start(A)
    rig.remove(*handlers)
    lists = {"failTopics": [A], "successTopics": []}
    rig.reply({"success": True, "op": "unsubscribe", "conn_id": "c", "data": lists})
    assert states(handlers) == [SubscriptionState.CLOSED]
    assert handlers[0].ret_msg == "listed as failed"
