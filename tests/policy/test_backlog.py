"""The bounded queue: what it keeps, what it leaves out, and what it says about that."""

from __future__ import annotations

import pytest
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
from msgspec.structs import astuple

from bybit_copyws import ConfigurationError
from bybit_copyws.delivery import Worker, check_delivery, check_topic
from bybit_copyws.messages import Gap, Message, Seen
from bybit_copyws.policy.backlog import Backlog
from bybit_copyws.policy.losses import Closed, Opened
from bybit_copyws.policy.registry import Handler
from bybit_copyws.wire.profiles import COPY_TRADING_V3, V5

SECOND = 1_000_000_000
OVERFLOWS = ("block", "drop_oldest", "latest")
LIMIT = 10**6
OUTAGE = "the link was lost"


def handler(topic: str = "publicTrade.BTCUSDT") -> Handler:
    return Handler(V5.topics.parse(topic), print)


A, B, C = (handler(f"publicTrade.{symbol}USDT") for symbol in ("A1", "B1", "C1"))


def message(to: Handler, second: int, size: int = 1, gap: Gap | None = None) -> Message:
    """Return a message that arrived in the given second."""
    raw, received_ns = b"x" * size, second * SECOND
    return Message(to.topic.name, None, second, second, received_ns, raw, gap=gap)


def outage(to: Handler, since: float, until: float, seen: int | None = None) -> Gap:
    last_seen = {} if seen is None else {to.topic.name: Seen(ts=seen, received_ns=seen * SECOND)}
    topics = (to.topic.name, "another")
    return Gap(topics=topics, reason=OUTAGE, since=since, until=until, last_seen=last_seen)


class Queue:
    """A backlog and what came out of it."""

    def __init__(self, maxsize: int, overflow: str, max_bytes: int = LIMIT) -> None:
        self.backlog = Backlog(maxsize, max_bytes, overflow, "on_trade")

    def put(self, to: Handler, *seconds: int, size: int = 1) -> None:
        for second in seconds:
            assert self.backlog.put(to, message(to, second, size))

    def take(self) -> Message:
        taken = self.backlog.take()
        assert taken is not None
        return taken[1]

    def all(self) -> list[int]:
        """Take everything; return the seconds."""
        found = []
        while (taken := self.backlog.take()) is not None:
            found.append(taken[1].data)
        return found


# Bounds


@pytest.mark.parametrize("overflow", OVERFLOWS)
def test_what_fits_comes_out_in_order_and_untouched(overflow: str) -> None:
    backlog = Backlog(3, LIMIT, overflow, "on_trade")
    puts = [(each, message(each, second)) for second, each in enumerate((B, A, C))]
    assert all(backlog.put(*each) for each in puts)
    assert astuple(backlog.figures())[:2] == (3, 3)
    assert backlog.figures().oldest_ns == 0
    taken = [backlog.take() for _ in puts]
    assert [each[1] for each in taken] == [each[1] for each in puts]
    assert all(mine is its for (_, mine), (_, its) in zip(taken, puts, strict=True))
    assert backlog.take() is None
    assert astuple(backlog.figures()) == (0, 0, 0, 0, 3, 3, None, False)
    assert backlog.take_changes() == []


@pytest.mark.parametrize(("maxsize", "max_bytes"), [(2, LIMIT), (LIMIT, 2), (LIMIT, 3)])
def test_block_refuses_what_does_not_fit_and_changes_nothing(maxsize: int, max_bytes: int) -> None:
    queue = Queue(maxsize, "block", max_bytes)
    queue.put(A, 1, 2)
    assert not queue.backlog.put(A, message(A, 3, size=2))
    assert astuple(queue.backlog.figures())[:4] == (2, 2, 0, 0)
    assert queue.take().data == 1
    if maxsize == 2:
        queue.put(A, 3)
    assert queue.all() == ([2, 3] if maxsize == 2 else [2])
    assert queue.backlog.take_changes() == []


@pytest.mark.parametrize("overflow", OVERFLOWS)
def test_a_message_larger_than_the_queue_passes_alone(overflow: str) -> None:
    queue = Queue(5, overflow, max_bytes=10)
    queue.put(A, 1, size=1000)
    assert astuple(queue.backlog.figures())[:2] == (1, 1000)
    if overflow == "block":
        assert not queue.backlog.put(A, message(A, 2))
    assert queue.take().data == 1
    queue.put(A, 2, 3) if overflow != "latest" else queue.put(A, 3)
    assert queue.all()[-1] == 3


def test_a_large_message_drops_all_that_waits() -> None:
    queue = Queue(5, "drop_oldest", max_bytes=10)
    queue.put(A, 1, 2, 3)
    queue.put(A, 4, size=11)
    queue.put(A, 5)  # and then it is itself the oldest
    assert queue.all() == [5]
    assert queue.backlog.figures().dropped == 4


# Gaps


def test_the_next_message_of_a_topic_says_what_was_dropped_before_it() -> None:
    queue = Queue(2, "drop_oldest")
    queue.put(A, 10)
    assert queue.take().gap is None
    queue.put(A, 11, 12, 13, 14)
    (opened,) = queue.backlog.take_changes()
    reason = "callback on_trade is too slow: its queue of 2 messages overflowed"
    assert opened == Opened(A, 10.0, reason)
    first = queue.take()
    assert first.data == 13
    assert first.gap == Gap(
        topics=(A.topic.name,),
        reason=f"{reason} (2 left out)",
        since=10.0,
        until=13.0,
        last_seen={A.topic.name: Seen(ts=10, received_ns=10 * SECOND)},
    )
    assert queue.backlog.take_changes() == [Closed(A, first.gap)]  # half empty: it has caught up
    assert queue.take().gap is None
    assert queue.backlog.take_changes() == []


def test_without_an_earlier_message_the_gap_begins_at_the_first_that_was_dropped() -> None:
    queue = Queue(1, "drop_oldest", max_bytes=5)
    queue.put(A, 1, 2)
    gap = queue.take().gap
    assert gap is not None
    assert (gap.since, gap.until, gap.last_seen) == (1.0, 2.0, {})
    assert "1 message overflowed" in gap.reason


def test_each_topic_has_a_gap_of_its_own() -> None:
    queue = Queue(2, "drop_oldest")
    queue.put(A, 1)
    queue.put(B, 2, 3, 4)
    assert [change.handler for change in queue.backlog.take_changes()] == [A, B]
    assert queue.take().gap.since == 2.0
    assert queue.take().gap is None
    assert [change.handler for change in queue.backlog.take_changes()] == [B]
    queue.put(A, 9)
    gap = queue.take().gap
    assert (gap.topics, gap.since, gap.until) == ((A.topic.name,), 1.0, 9.0)
    assert queue.backlog.take_changes() == [Closed(A, gap)]


def test_the_reason_names_the_limit_that_was_reached() -> None:
    queue = Queue(3, "drop_oldest", max_bytes=2000)
    queue.put(A, 1, size=1500)
    queue.put(A, 2, size=501)
    queue.put(A, 3, 4, 5)
    assert queue.take().gap.reason == (
        "callback on_trade is too slow: its queue of 2,000 bytes overflowed (1 left out); "
        "callback on_trade is too slow: its queue of 3 messages overflowed (1 left out)"
    )


def test_a_dropped_message_hands_its_gap_on() -> None:
    queue = Queue(1, "drop_oldest")
    queue.put(A, 10)
    queue.take()
    queue.backlog.put(A, message(A, 20, gap=outage(A, since=8.0, until=19.0, seen=7)))
    queue.put(A, 21)
    gap = queue.take().gap
    assert (gap.topics, gap.since, gap.until) == ((A.topic.name,), 8.0, 21.0)
    assert gap.last_seen == {A.topic.name: Seen(ts=7, received_ns=7 * SECOND)}
    assert gap.reason.startswith(f"{OUTAGE}; callback on_trade is too slow")


def test_a_gap_before_an_outage_is_one_with_it() -> None:
    queue = Queue(1, "drop_oldest")
    queue.put(A, 10)
    queue.backlog.put(A, message(A, 20, gap=outage(A, since=11.0, until=19.0, seen=10)))
    gap = queue.take().gap
    assert (gap.since, gap.until, gap.repaired) == (10.0, 20.0, False)
    assert gap.reason.endswith(f"; {OUTAGE}")
    assert queue.backlog.take_changes()[-1] == Closed(A, gap)


@pytest.mark.parametrize("overflow", OVERFLOWS)
def test_a_gap_passes_as_it_is_when_nothing_was_dropped(overflow: str) -> None:
    queue = Queue(1, overflow)
    sent = message(A, 20, gap=outage(A, since=11.0, until=19.0))
    queue.backlog.put(A, sent)
    assert queue.take() is sent


def test_the_reasons_of_one_gap_are_bounded() -> None:
    queue = Queue(1, "drop_oldest")
    for second in range(1, 100):
        gap = Gap(topics=(A.topic.name,), reason=f"reason {second}", since=float(second))
        queue.backlog.put(A, message(A, second, gap=gap))
    assert len(queue.take().gap.reason) < 500


def test_a_spell_of_losses_is_told_once_however_many_gaps_it_has() -> None:
    queue = Queue(4, "drop_oldest")
    queue.put(A, 1, 2, 3, 4)
    gaps = []
    for second in range(5, 50, 2):
        queue.put(A, second, second + 1)  # one more than is taken
        gaps.append(queue.take().gap)
    assert None not in gaps
    (opened,) = queue.backlog.take_changes()
    assert opened.since == 1.0
    rest = [queue.take(), queue.take()]
    assert [each.gap for each in rest] == [None, None]
    (closed,) = queue.backlog.take_changes()
    assert (closed.gap.since, closed.gap.until) == (gaps[0].since, gaps[-1].until)
    dropped = queue.backlog.figures().dropped
    assert dropped == sum(int(gap.reason.split("(")[1].split()[0]) for gap in gaps)
    assert f"({dropped} left out)" in closed.gap.reason


# Only the latest


def test_latest_keeps_the_newest_of_each_topic_in_its_place() -> None:
    queue = Queue(10, "latest")
    queue.put(A, 1)
    queue.put(B, 2)
    queue.put(A, 3, 4)
    first, second = queue.take(), queue.take()
    assert (first.data, second.data) == (4, 2)  # in its place: nobody is starved
    assert second.gap is None
    assert (first.gap.since, first.gap.until) == (1.0, 4.0)
    assert first.gap.reason == (
        "callback on_trade takes only the latest message of a topic (2 left out)"
    )
    assert queue.backlog.take_changes() == []  # it was asked for
    assert astuple(queue.backlog.figures())[2:4] == (0, 2)


def test_latest_hands_on_the_gap_of_what_it_skips() -> None:
    queue = Queue(10, "latest")
    queue.backlog.put(A, message(A, 5, gap=outage(A, since=1.0, until=4.0, seen=1)))
    queue.put(A, 6)
    gap = queue.take().gap
    assert (gap.since, gap.until) == (1.0, 6.0)
    assert gap.reason.startswith(f"{OUTAGE}; ")


@pytest.mark.parametrize(("maxsize", "max_bytes"), [(2, LIMIT), (9, 2)])
def test_latest_is_bounded_and_tells_what_did_not_fit(maxsize: int, max_bytes: int) -> None:
    queue = Queue(maxsize, "latest", max_bytes)
    queue.put(A, 1)
    queue.put(B, 2)
    queue.put(C, 3)
    (opened,) = queue.backlog.take_changes()
    assert opened.handler is A
    assert queue.all() == [2, 3]


def test_a_latest_message_that_has_grown_pushes_others_out() -> None:
    queue = Queue(9, "latest", max_bytes=10)
    queue.put(A, 1, size=5)
    queue.put(B, 2, size=5)
    queue.put(A, 3, size=6)
    assert astuple(queue.backlog.figures())[:4] == (1, 6, 1, 1)
    assert queue.all() == [3]
    queue.put(A, 4, 5, size=20)  # alone, it passes however large it is
    assert queue.all() == [5]


# Removed handlers


@pytest.mark.parametrize("overflow", OVERFLOWS)
def test_what_waits_for_a_removed_handler_is_forgotten(overflow: str) -> None:
    gone, stays = handler("kline.1.BTCUSDT"), handler("kline.5.BTCUSDT")
    queue = Queue(2, overflow)
    queue.put(gone, 1)
    queue.put(stays, 2)
    if overflow != "block":
        queue.put(gone, 3)
        queue.put(stays, 4)
    gone.active = False
    queue.backlog.forget_removed()
    assert astuple(queue.backlog.figures())[:2] == (1, 1)
    assert queue.all() == [2 if overflow == "block" else 4]
    assert all(change.handler is stays for change in queue.backlog.take_changes())


def test_a_cleared_queue_is_empty_and_keeps_its_counts() -> None:
    queue = Queue(2, "drop_oldest")
    queue.put(A, 1, 2, 3)
    queue.backlog.clear()
    assert queue.backlog.take() is None
    assert queue.backlog.take_changes() == []
    assert astuple(queue.backlog.figures()) == (0, 0, 1, 0, 2, 2, None, False)


# What subscribe() takes


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"maxsize": 0}, "maxsize must be a whole number of messages, at least 1"),
        ({"maxsize": True}, "maxsize"),
        ({"maxsize": 1.5}, "maxsize"),
        ({"maxsize": None}, "maxsize"),
        ({"max_bytes": -1}, "max_bytes must be a whole number of bytes, at least 1"),
        ({"max_bytes": 2**50}, "max_bytes"),
        ({"overflow": "drop"}, "overflow must be one of 'block', 'drop_oldest', 'latest'"),
        ({"overflow": []}, "overflow"),
    ],
)
def test_a_worker_that_cannot_work_is_refused(options: dict[str, object], cure: str) -> None:
    with pytest.raises(ConfigurationError, match=cure):
        Worker(**options)


def test_a_worker_is_a_value() -> None:
    assert Worker() == Worker(1000, 16 * 1024 * 1024, "block")
    assert len({Worker(), Worker(), Worker(maxsize=5)}) == 2


def test_what_is_no_delivery_is_refused() -> None:
    check_delivery(None)
    check_delivery(Worker())
    with pytest.raises(ConfigurationError, match=r"write delivery=Worker\(\)"):
        check_delivery(Worker)
    with pytest.raises(ConfigurationError, match="not str"):
        check_delivery("block")


@pytest.mark.parametrize("profile", [COPY_TRADING_V3, V5])
def test_only_the_latest_of_a_book_of_changes_is_refused(profile: object) -> None:
    def check(topic: str, overflow: str) -> None:
        check_topic(topic, profile.topics.parse(topic).spec, Worker(overflow=overflow))

    with pytest.raises(ConfigurationError, match=r"orderbook\.1\.BTCUSDT"):
        check("orderbook.50.BTCUSDT", "latest")
    for topic in ("orderbook.1.BTCUSDT", "tickers.BTCUSDT", "kline.1.BTCUSDT", "copyTradePosition"):
        check(topic, "latest")
    check("orderbook.50.BTCUSDT", "block")
    check("orderbook.50.BTCUSDT", "drop_oldest")


# Anything in any order


class Life(RuleBasedStateMachine):
    """Messages come, are taken, and topics go: nothing is lost without a gap."""

    overflow = "block"

    @initialize(maxsize=st.integers(1, 5), max_bytes=st.integers(1, 12))
    def begin(self, maxsize, max_bytes):
        self.maxsize, self.max_bytes = maxsize, max_bytes
        self.backlog = Backlog(maxsize, max_bytes, self.overflow, "on_trade")
        self.handlers = [handler(f"publicTrade.{name}1USDT") for name in "ABC"]
        self.second = 0
        self.waiting = {each: [] for each in self.handlers}  # put, not taken
        self.last = {}
        self.opened = set()
        self.put_count = self.taken_count = self.lost = self.forgotten = 0

    @rule(index=st.integers(0, 2), size=st.integers(0, 14), after_outage=st.booleans())
    def put(self, index, size, after_outage):
        to = self.handlers[index]
        self.second += 1
        gap = outage(to, self.second - 0.5, self.second - 0.25) if after_outage else None
        sent = message(to, self.second, size, gap)
        before = self.backlog.figures()
        taken = self.backlog.put(to, sent)
        if taken:
            self.waiting[to].append(sent)
            self.put_count += 1
        else:
            assert self.overflow == "block"
            assert self.backlog.figures() == before
            assert before.queued == self.maxsize or before.queued_bytes + size > self.max_bytes
        self.look()

    @rule()
    def take(self):
        taken = self.backlog.take()
        self.look()
        if taken is None:
            assert self.backlog.figures().queued == 0
            return
        to, got = taken
        waiting = self.waiting[to]
        seconds = [each.data for each in waiting]
        index = seconds.index(got.data)  # once, and never out of order
        skipped, sent = waiting[:index], waiting[index]
        self.waiting[to] = waiting[index + 1 :]
        self.taken_count += 1
        self.lost += len(skipped)
        assert got == sent
        if not skipped:
            assert got.gap is sent.gap  # no gap without a loss
        else:
            self.check_gap(to, got.gap, skipped, sent)
        self.last[to] = got

    def check_gap(self, to, gap, skipped, carrier):
        assert self.overflow != "block"
        last = self.last.get(to)
        begins = [
            (skipped[0] if last is None else last).data,
            *(each.gap.since for each in skipped if each.gap),
        ]
        begins += [carrier.gap.since] if carrier.gap else []
        assert gap.since == min(begins)
        assert gap.until == carrier.data
        assert gap.topics == (to.topic.name,)
        assert (OUTAGE in gap.reason) == any(each.gap for each in (*skipped, carrier))
        assert gap.last_seen == (
            {} if last is None else {to.topic.name: Seen(ts=last.ts, received_ns=last.received_ns)}
        )
        counts = [int(part.split()[0]) for part in gap.reason.split("(")[1:]]
        assert sum(counts) == len(skipped)

    def look(self):
        """Take what is told; a spell opens once, and closes only if it was opened."""
        for change in self.backlog.take_changes():
            if isinstance(change, Opened):
                assert change.handler not in self.opened
                self.opened.add(change.handler)
                assert self.overflow != "block"
            else:
                self.opened.remove(change.handler)
                assert change.gap.since <= change.gap.until

    @precondition(lambda self: any(self.waiting.values()))
    @rule(index=st.integers(0, 2))
    def replace_handler(self, index):
        gone = self.handlers[index]
        gone.active = False
        before = self.backlog.figures()
        self.backlog.forget_removed()
        waited = before.queued - self.backlog.figures().queued
        self.forgotten += waited
        self.lost += len(self.waiting.pop(gone)) - waited
        self.opened.discard(gone)
        self.last.pop(gone, None)
        self.handlers[index] = handler(gone.topic.name)
        self.waiting[self.handlers[index]] = []

    @invariant()
    def bounds_hold(self):
        if not hasattr(self, "backlog"):
            return
        figures = self.backlog.figures()
        assert figures.queued <= self.maxsize
        assert figures.queued_bytes <= self.max_bytes or figures.queued == 1
        assert figures.most_queued >= figures.queued
        assert figures.most_bytes >= figures.queued_bytes
        left_out = figures.dropped + figures.skipped
        assert self.put_count == self.taken_count + left_out + self.forgotten + figures.queued

    def teardown(self):
        """Taken to the end, all is accounted for."""
        if not hasattr(self, "backlog"):
            return
        while self.backlog.figures().queued:
            self.take()
        for each in self.handlers:  # one more of each topic tells the rest
            self.backlog.put(each, sent := message(each, self.second + 1, 0))
            self.waiting[each].append(sent)
            self.put_count += 1
            self.look()
            self.take()
        self.bounds_hold()
        figures = self.backlog.figures()
        assert self.lost == figures.dropped + figures.skipped
        assert not any(self.waiting.values())
        assert not self.opened


@pytest.mark.parametrize("overflow", OVERFLOWS)
def test_any_life(overflow):
    run_state_machine_as_test(
        type("Life", (Life,), {"overflow": overflow}),
        settings=settings(max_examples=80, stateful_step_count=40, deadline=None),
    )
