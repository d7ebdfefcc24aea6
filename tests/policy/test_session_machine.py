"""Anything in any order: a session against a strict exchange, moved by hypothesis."""

import pytest
from fake_venue import SOCKETS, TOPICS, Rig
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bybit_copyws.events import State, SubscriptionState
from bybit_copyws.policy.liveness import GRACE

PENDING, CONFIRMED = SubscriptionState.PENDING, SubscriptionState.CONFIRMED
REJECTED, CLOSED = SubscriptionState.REJECTED, SubscriptionState.CLOSED

DOWN = (State.IDLE, State.BACKOFF)
UP = (State.AUTHENTICATING, State.ACTIVE)


class Life(RuleBasedStateMachine):
    """Users subscribe and unsubscribe; the exchange accepts, refuses, delays and goes away."""

    socket = "v3-public"

    @initialize(
        names_topic=st.booleans(),
        returns_req_id=st.booleans(),
        max_args=st.sampled_from([None, 1, 2]),
        data=st.data(),
    )
    def begin(self, names_topic, returns_req_id, max_args, data):
        topics = st.sets(st.sampled_from(TOPICS[self.socket]), max_size=3)
        self.rig = Rig(
            self.socket,
            unknown=data.draw(topics, "unknown"),
            names_topic=names_topic,
            returns_req_id=returns_req_id,
            max_args=max_args,
        )
        self.rig.venue.without_permission = (
            data.draw(topics, "forbidden") if "private" in self.socket else set()
        )
        self.removed = []

    # The user

    @rule(data=st.data(), other=st.booleans())
    def add(self, data, other):
        names = data.draw(st.lists(st.sampled_from(TOPICS[self.socket]), min_size=1, max_size=4))
        self.rig.add(*names, callback=repr if other else print)

    @precondition(lambda self: self.rig.registry.handlers)
    @rule(data=st.data())
    def remove(self, data):
        chosen = st.lists(st.sampled_from(self.rig.registry.handlers), min_size=1, max_size=3)
        handlers = data.draw(chosen)
        self.rig.remove(*handlers)
        self.removed += handlers

    # The exchange

    @precondition(lambda self: self.rig.session.state in DOWN)
    @rule()
    def connect(self):
        self.rig.connect()

    @precondition(lambda self: self.rig.session.state in UP)
    @rule()
    def drop(self):
        self.rig.drop()

    @precondition(lambda self: self.rig.venue.replies and self.rig.session.state in UP)
    @rule(data=st.data())
    def deliver(self, data):
        # Replies may overtake one another only where something ties them to their requests.
        tied = self.rig.venue.returns_req_id or not self.rig.venue.dialect.req_id
        last = len(self.rig.venue.replies) - 1 if tied else 0
        self.rig.deliver(data.draw(st.integers(0, last), "reply"))

    @precondition(lambda self: self.rig.session.state in UP)
    @rule(seconds=st.sampled_from([0.0, GRACE, 1.0, 10.0, 20.0]), idle=st.booleans())
    def tick(self, seconds, idle):
        self.rig.tick(seconds, idle=idle)

    @precondition(lambda self: self.rig.session.state in UP)
    @rule()
    def lose_a_reply(self):
        if self.rig.venue.replies:
            self.rig.venue.take()

    # What holds at any time

    @invariant()
    def the_exchange_sees_no_breach(self):
        """No topic before the login, none twice in flight, none too many."""
        if hasattr(self, "rig"):
            self.rig.check()

    @invariant()
    def routes_are_the_wanted_handlers(self):
        if not hasattr(self, "rig"):
            return
        registry = self.rig.registry
        routed = [
            (wire, route.name, handler)
            for wire, channel in registry.channels.items()
            for route in channel.routes
            for handler in route.handlers
        ]
        wanted = [(each.topic.wire, each.topic.name, each) for each in registry.handlers]
        assert sorted(routed, key=str) == sorted(wanted, key=str)

    @invariant()
    def handlers_tell_the_truth(self):
        if not hasattr(self, "rig"):
            return
        venue, up = self.rig.venue, self.rig.session.state is State.ACTIVE
        for handler in self.rig.registry.handlers:
            assert handler.active
            assert handler.state is not CLOSED
            if handler.state is CONFIRMED:
                assert up
                assert handler.topic.wire in venue.held
            assert (handler.ret_msg is not None) is (handler.state is REJECTED)
            if handler.state is REJECTED:
                assert handler.topic.wire in venue.unknown | venue.without_permission
        for handler in self.removed:
            assert not handler.active
            if not up:
                assert handler.state is CLOSED

    def teardown(self):
        """Whatever happened: one quiet link is enough."""
        if not hasattr(self, "rig"):
            return
        rig = self.rig
        if rig.session.state in UP:
            rig.drop()
        for _ in range(1 + len(rig.venue.without_permission)):  # each may cost one link
            rig.connect()
            rig.settle()
            if rig.session.ending is None:
                break
            rig.drop()
        rig.check_settled()
        self.handlers_tell_the_truth()
        self.routes_are_the_wanted_handlers()
        fates = {handler.topic.wire: handler.state for handler in rig.registry.handlers}
        refused = rig.venue.unknown | rig.venue.without_permission
        assert fates == {wire: REJECTED if wire in refused else CONFIRMED for wire in fates}
        assert {handler.state for handler in self.removed} <= {CLOSED}


@pytest.mark.parametrize("socket", SOCKETS)
def test_any_life(socket):
    machine = type("Life", (Life,), {"socket": socket})
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=100, stateful_step_count=40, deadline=None),
    )
