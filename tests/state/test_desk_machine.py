"""Anything in any order: the desk of an account, moved by hypothesis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from desk_rig import Rig
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

from bybit_copyws.events import GapClosed, GapOpened, SubscriptionState
from bybit_copyws.policy.channel import Channel, Handler
from bybit_copyws.state import Kind
from bybit_copyws.state.desk import Handout

CONFIRMED, CLOSED = SubscriptionState.CONFIRMED, SubscriptionState.CLOSED
EXECUTION = "copyTradeExecution"
NAMES = {
    "v3": ["copyTradePosition", "copyTradeOrder", EXECUTION, "copyTradeWallet"],
    "v5": ["position", "copyTradePosition", "order", "copyTradeOrder", "execution", "wallet"],
}


class Life(RuleBasedStateMachine):
    """Users come and go, the link does, messages are lost, REST answers or does not."""

    profile = "v3"

    @initialize(
        reconcile=st.sampled_from([True, True, False]),
        kept=st.booleans(),
        listens=st.booleans(),
        live=st.booleans(),
    )
    def begin(self, reconcile: bool, kept: bool, listens: bool, live: bool) -> None:
        # Messages never wait too long here: what was missed must come before what is new.
        self.rig = Rig(self.profile, reconcile=reconcile, reconcile_timeout=1e9)
        self.reconcile = reconcile
        self.users: list[Handler] = []
        self.gone: list[Handler] = []
        self.in_gap: set[str] = set()  # topics on the wire, as the events say
        self.owed: set[str] = set()  # those whose next message must carry a gap
        self.promised: list[str] = []  # executions of which the user must hear
        self.handed: list[str] = []
        self.told = 0
        self.answers = False  # whether a reconciliation is under way
        self.listens = listens
        if listens:
            self.rig.subscribe(EXECUTION)
        if kept:
            self.rig.keep()
        if live and self.rig.desk.needed:
            self.rig.connect()
            if reconcile:
                self.rig.reconcile()

    # The user

    @rule(data=st.data())
    def subscribe(self, data: st.DataObject) -> None:
        names = data.draw(st.lists(st.sampled_from(NAMES[self.profile]), min_size=1, max_size=3))
        before = set(self.channels)
        self.users += self.rig.subscribe(*names)
        fresh = self.rig.carried & (self.channels.keys() - before)
        if self.in_gap and self.reconcile and not self.rig.refused:
            assert all(self.channels[wire].open_gap is not None for wire in fresh)

    @precondition(lambda self: self.users)
    @rule(data=st.data())
    def unsubscribe(self, data: st.DataObject) -> None:
        leave = data.draw(st.lists(st.sampled_from(self.users), min_size=1, max_size=3))
        self.rig.unsubscribe(*leave)
        self.gone += leave
        self.users = [each for each in self.users if each not in leave]

    @rule()
    def keep(self) -> None:
        self.rig.keep()

    # The connection

    @precondition(lambda self: not self.rig.linked and self.rig.desk.needed)
    @rule()
    def connect(self) -> None:
        self.rig.connect(acknowledged=False)

    @precondition(lambda self: self.rig.linked)
    @rule()
    def cut(self) -> None:
        carried = set(self.rig.carried)
        self.rig.cut()
        self.answers = False
        self.check_a_gap_of(carried)

    @precondition(lambda self: self.rig.asked or self.rig.leaving)
    @rule()
    def acknowledge(self) -> None:
        self.rig.acknowledge()

    @precondition(lambda self: self.rig.asked - self.rig.leaving)
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        wires = sorted(self.rig.asked - self.rig.leaving - {self.rig.wires[Kind.EXECUTION]})
        if wires and (self.reconcile or not self.in_gap):
            self.rig.refuse(data.draw(st.sampled_from(wires)))

    @precondition(lambda self: self.rig.carried)
    @rule(data=st.data())
    def miss(self, data: st.DataObject) -> None:
        wires = st.sampled_from(sorted(self.rig.carried))
        missed = data.draw(st.lists(wires, min_size=1, max_size=2))
        self.rig.miss(*missed)
        if self.reconcile and not self.rig.refused:
            self.check_a_gap_of(missed)

    def check_a_gap_of(self, wires: Iterable[str]) -> None:
        channels = [self.channels[wire] for wire in wires if wire in self.channels]
        assert all(each.open_gap is not None for each in channels)

    # What happens

    @rule(comes=st.booleans())
    def execute(self, comes: bool) -> None:
        rig = self.rig
        rig.seconds += 1
        exec_id = f"e{len(rig.executions)}"
        told_of = rig.wires[Kind.EXECUTION] in rig.carried
        if told_of and not comes:
            rig.miss(rig.wires[Kind.EXECUTION])
        if self.reconcile and rig.desk._linked_at is not None:
            self.promised.append(exec_id)
        rig.execute(exec_id, comes=comes)

    @precondition(lambda self: self.rig.executions and self.reconcile)
    @rule(data=st.data())
    def repeat_an_execution(self, data: st.DataObject) -> None:
        if self.rig.wires[Kind.EXECUTION] in self.rig.carried:
            self.rig.send(Kind.EXECUTION, data.draw(st.sampled_from(self.rig.executions)))

    @precondition(lambda self: self.rig.wires[Kind.ORDER] in self.rig.carried)
    @rule(readable=st.booleans())
    def order(self, readable: bool) -> None:
        was_whole = self.rig.desk.state.whole
        self.rig.send_order("o1", **({} if readable else {"qty": "abc"}))
        if was_whole and not readable:
            self.check_a_gap_of(self.channels)

    @rule()
    def a_moment_passes(self) -> None:
        self.rig.wait(1)

    # REST

    @precondition(lambda self: self.rig.desk.state.wanted)
    @rule()
    def ask(self) -> None:
        assert self.rig.desk.begin(self.rig.exchange_ms, self.rig.now)
        self.answers = True

    @precondition(lambda self: self.answers)
    @rule(brought_in=st.booleans())
    def answer(self, brought_in: bool) -> None:
        self.rig.answer()
        self.answers = False
        if brought_in:
            self.rig.wait(0)

    @precondition(lambda self: self.answers)
    @rule()
    def fail(self) -> None:
        self.rig.desk.state.fail("HTTP 502")
        self.answers = False

    # What is true

    @invariant()
    def every_gap_is_opened_and_closed_in_turn(self) -> None:
        self.in_gap &= self.channels.keys()  # a topic given up takes its gap along
        self.owed &= self.channels.keys()
        for event in self.rig.events(GapOpened, GapClosed):
            if isinstance(event, GapOpened):
                opened = self.rig.wires_of(event.topics)
                assert opened.isdisjoint(self.in_gap)
                self.in_gap |= opened
            else:
                closed = self.rig.wires_of(event.gap.topics)
                assert closed <= self.in_gap
                assert event.gap.repaired == (self.reconcile and self.rig.desk.state.whole)
                self.in_gap -= closed
                self.owed |= closed
        assert self.in_gap == {
            wire for wire, each in self.channels.items() if each.open_gap is not None
        }

    @invariant()
    def no_gap_lasts_while_all_is_known(self) -> None:
        desk = self.rig.desk
        if self.reconcile and desk.state.whole:
            assert not self.in_gap
        assert bool(desk.doubt) == (desk.asks and not desk.state.whole)
        if desk.state.whole:
            assert self.rig.carried == set(self.rig.wires.values())
        if self.rig.refused and self.reconcile and not self.rig.asked and self.rig.carried:
            assert not self.in_gap  # nothing will be reconciled: the others go on as they come

    @invariant()
    def what_is_handed_out_is_handed_out_once(self) -> None:
        told, self.told = self.rig.told[self.told :], len(self.rig.told)
        for each in told:
            if isinstance(each, Handout):
                self.check_handout(each)
        if self.reconcile:
            assert len(self.handed) == len(set(self.handed))

    def check_handout(self, handout: Handout) -> None:
        wire = handout.channel.topic.wire
        if wire == self.execution:
            self.handed += [row["execId"] for row in handout.message.data]
        if self.channels.get(wire) is handout.channel:
            # None while a gap lasts; the first one after it has it.
            assert (handout.gap is not None) == (wire in self.owed - self.in_gap)
            self.owed -= {wire} - self.in_gap

    @invariant()
    def subscriptions_are_what_the_link_carries(self) -> None:
        for handler in self.rig.desk.registry.handlers:
            wire = handler.topic.wire
            assert (handler.state is CONFIRMED) == (wire in self.rig.carried)
            assert (handler.ret_msg is not None) == (wire in self.rig.refused)
        for handler in self.gone:
            assert handler.state is CLOSED or handler.topic.wire in self.rig.leaving

    def teardown(self) -> None:
        """Let all come right: then nothing is missing."""
        if not hasattr(self, "rig"):
            return
        rig = self.rig
        self.users += rig.subscribe(*NAMES[self.profile])  # what was refused is tried again
        if not rig.linked:
            rig.connect(acknowledged=False)
        self.check()
        while rig.asked or rig.leaving:
            rig.acknowledge()
            self.check()
        while self.reconcile and not rig.desk.state.whole:
            if rig.desk.state.wanted:
                assert rig.desk.begin(rig.exchange_ms, rig.now)
            rig.answer()
            rig.wait(0)
            self.check()
        assert not self.in_gap
        assert {handler.state for handler in self.gone} <= {CLOSED}
        if self.listens:
            assert set(self.promised) <= set(self.handed)

    def check(self) -> None:
        self.every_gap_is_opened_and_closed_in_turn()
        self.no_gap_lasts_while_all_is_known()
        self.what_is_handed_out_is_handed_out_once()
        self.subscriptions_are_what_the_link_carries()

    @property
    def channels(self) -> Mapping[str, Channel]:
        return self.rig.desk.registry.channels

    @property
    def execution(self) -> str:
        return self.rig.wires[Kind.EXECUTION]


@pytest.mark.parametrize("generation", ["v3", "v5"])
def test_anything_in_any_order(generation: str) -> None:
    class Case(Life):
        profile = generation

    run_state_machine_as_test(
        Case, settings=settings(max_examples=100, stateful_step_count=40, deadline=None)
    )
