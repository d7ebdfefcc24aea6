"""A pure exchange that sends one topic over several lines, and a judge of what a user got.

The truth is one sequence of updates. Each line delivers a suffix of it, from where it joined, as
late as the test likes and cut into messages in its own way.
"""

from bybit_copyws.policy.arbiter import TopicArbiter
from bybit_copyws.policy.identity import Arrival, rule_of

KINDS = ("orderbook.50", "orderbook.1", "tickers", "publicTrade", "kline", "liquidation", "other")
STATEFUL = KINDS[:3]  # a line begins with a snapshot of the state
BATCHED = KINDS[3:6]


class Truth:
    """The sequence of updates of one topic, made as it goes.

    Args:
        kind: one of :data:`KINDS`.
        rng: makes the updates.
    """

    def __init__(self, kind, rng):
        self.kind = kind
        self.rng = rng
        self.updates = []  # of (type, ts, data, cs)
        self.ts = 1_000
        self.number = 1_000
        self.restarted = False

    def publish(self, change=False):
        """Add an update; one that surely differs from the last if ``change``."""
        step = 1 if change else self.rng.choice((0, 0, 1, 1, 2))
        self.ts += step
        make = getattr(self, "_" + self.kind.replace(".", "_"))
        self.updates.append(make(step))

    def state(self, index):
        """Return the snapshot with which a line begins whose first update is ``index``."""
        _, ts, data, cs = self.updates[index - 1]
        return "snapshot", ts, data, cs

    def same(self, one, other):
        """Return whether nobody can tell two updates apart."""
        return self.kind != "tickers" and self.updates[one][2] == self.updates[other][2]

    def _orderbook_50(self, step):
        if not self.updates:
            return "snapshot", self.ts, {"u": self.number}, None
        if not self.restarted and self.rng.random() < 0.1:
            self.restarted = True
            self.ts += 1
            self.number = 1
            return "snapshot", self.ts, {"u": 1}, None
        self.number += 1
        kind = "snapshot" if self.rng.random() < 0.1 else "delta"
        return kind, self.ts, {"u": self.number}, None

    def _orderbook_1(self, step):
        self.number += step
        return "snapshot", self.ts, {"u": self.number}, None

    def _tickers(self, step):
        self.number += step
        kind = "delta" if self.updates else "snapshot"
        return kind, self.ts, {"lastPrice": str(len(self.updates))}, self.number

    def _publicTrade(self, step):  # noqa: N802
        return "snapshot", self.ts, {"i": f"{self.rng.getrandbits(64):x}"}, None

    def _kline(self, step):
        self.number += step
        return "snapshot", self.ts, {"start": self.number // 5, "timestamp": self.number}, None

    def _liquidation(self, step):
        self.number += step  # two that follow each other may be equal
        return "snapshot", self.ts, {"T": self.number, "v": "0.1"}, None

    def _other(self, step):
        self.number += step
        return None, self.ts, {"value": self.number}, None


class Line:
    """What is on its way to the user over one connection."""

    def __init__(self, truth, sources):
        self.truth = truth
        self.sources = sources
        self.at = len(truth.updates)
        self.greets = truth.kind in STATEFUL and self.at > 0

    @property
    def on_its_way(self):
        return len(self.truth.updates) - self.at + self.greets

    def message(self, most):
        """Take the next message, of at most so many updates."""
        truth = self.truth
        if self.greets:
            self.greets = False
            kind, ts, data, cs = truth.state(self.at)
            return self._arrival(kind, ts, [dict(data)], cs, [self.at - 1])
        count = min(most, self.on_its_way) if truth.kind in BATCHED else 1
        indices = range(self.at, self.at + count)
        self.at += count
        kind, ts, _, cs = truth.updates[indices[-1]]
        parts = [dict(truth.updates[index][2]) for index in indices]
        return self._arrival(kind, ts, parts, cs, list(indices))

    def _arrival(self, kind, ts, parts, cs, sources):
        for part, source in zip(parts, sources, strict=True):
            self.sources[id(part)] = (source, part)  # the part is kept, so its id stays its own
        data = parts if self.truth.kind in BATCHED else parts[0]
        return Arrival(kind, ts, data, cs, 0, b"raw")


class Rig:
    """An exchange, its lines, an arbiter, and the checks.

    Args:
        kind: one of :data:`KINDS`.
        rng: makes the updates.
        exact: whether a hole is wrong while a line is covered; not so with a short memory.
        limits: of the arbiter.
    """

    def __init__(self, kind, rng, *, exact=True, **limits):
        self.truth = Truth(kind, rng)
        self.arbiter = TopicArbiter(rule_of(kind.split(".")[0]), **limits)
        self.sources = {}
        self.lines = {}
        self.exact = exact
        self.expected = None  # index of the update that must be passed next
        self.furthest = 0  # the highest value it had: after a repetition it may go on there
        self.may_break = False  # no line was covered at some time since the last one
        self.holes = 0
        self.trades = set()
        self.ts = None
        self.joined = 0

    def covered(self):
        return [number for number in self.lines if self.arbiter.covered(number)]

    def look(self):
        # What was announced for the next update is not said yet.
        self.may_break = self.may_break or not self.covered() or self.arbiter._hole is not None

    def join(self):
        self.joined += 1
        self.lines[self.joined] = Line(self.truth, self.sources)
        self.arbiter.join(self.joined)
        self.look()
        return self.joined

    def deliver(self, number, most=1):
        line = self.lines[number]
        if line.on_its_way:
            self.check(self.arbiter.take(number, line.message(most)))

    def cut(self, number):
        del self.lines[number]
        gone = self.may_break or not self.covered()
        self.may_break = gone
        self.check(self.arbiter.leave(number))

    def lose(self, number, most=1):
        if self.lines[number].on_its_way:
            self.lines[number].message(most)
        self.arbiter.lost(number)
        self.look()

    def catch_up(self):
        for number, line in self.lines.items():
            while line.on_its_way:
                self.deliver(number, 3)

    def settle(self):
        """Deliver all there is and a bit more; then nothing may be held or in doubt."""
        self.catch_up()
        for _ in range(4):
            self.truth.publish(change=True)
            self.catch_up()
        if self.lines and self.exact:
            assert self.covered() == list(self.lines)
            assert self.arbiter.held == 0
            assert self.expected == len(self.truth.updates)

    def check(self, passed):
        for arrival, hole in passed:
            assert arrival.raw == b"raw"
            parts = arrival.data if self.truth.kind in BATCHED else [arrival.data]
            for position, part in enumerate(parts):
                index, _ = self.sources[id(part)]
                if hole and position == 0:
                    self._check_hole(index, arrival)
                elif self.expected is not None:
                    index = self._check_follows(arrival.type, index)
                self.expected = index + 1
                self.furthest = max(self.furthest, self.expected)
                if self.truth.kind == "publicTrade" and self.exact:
                    assert index not in self.trades
                    self.trades.add(index)
            self.ts = arrival.ts
        if passed:
            self.may_break = False
        self.look()

    def _check_hole(self, index, arrival):
        assert self.expected is not None
        self.holes += 1
        if self.exact:
            assert self.may_break
            # What begins anew with a state may go back, and nobody can order equal times.
            # Anything else goes on later in the sequence.
            assert (
                index >= self.expected
                or (arrival.type == "snapshot" and self.truth.kind in STATEFUL)
                or arrival.ts >= self.ts
            )

    def _check_follows(self, type_, index):
        """Check that an update is the next one; return the index that it counts for."""
        truth, expected = self.truth, self.expected
        if index in (expected, self.furthest):  # the latter if others were repeated after a hole
            return index
        if truth.kind == "orderbook.1":  # repetitions are no updates
            if truth.same(index, expected - 1):
                return expected - 1
            while truth.same(expected, expected - 1):
                expected += 1
        elif type_ == "snapshot" and truth.kind in STATEFUL and truth.same(index, expected - 1):
            return expected - 1
        assert truth.same(index, expected)
        return expected
