"""A client under the eyes of the checker: what the exchange sent against what callbacks got.

``with Watched(exchange) as watched`` checks at its end what must hold after every fault (the
invariants of the fault matrix): connected again, every wanted topic held once, everything that was
sent delivered once and in order or lost in a gap that the client reported, and nothing delivered
after ``close()``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from exchange import PRIVATE, PUBLIC, held, make_client

from bybit_copyws import Worker
from bybit_copyws.events import BadMessage, GapClosed, GapOpened, State, StateChanged
from bybit_copyws.messages import Gap, Message
from bybit_copyws.sandbox import Checker, FaultProxy, Sandbox

_PATIENCE = 10.0


class Watched:
    """A client of an exchange, with a checker between the two.

    Args:
        exchange: what it is a client of.
        through: a proxy on the way to it, or ``None``.
        topics: what to subscribe.
        delivery: how the messages reach the callback.
        options: of the client.

    Attributes:
        client: the client.
        hold: while it is cleared, the callback does not return.
        reasons: why links were lost, in order.
        gaps: what was said to be missing, in order.
        wrong: what is wrong with that.
        bad: what was said of bad messages, in order.
    """

    def __init__(
        self,
        exchange: Sandbox,
        through: FaultProxy | None = None,
        topics: tuple[str, ...] = (*PUBLIC, *PRIVATE),
        delivery: Worker | None = None,
        **options: Any,
    ) -> None:
        self.exchange = exchange
        self.reasons: list[str] = []
        self.bad: list[BadMessage] = []
        self.checker = Checker()
        self._topics = topics
        self._aliases = options.get("profile") == "v5"
        self.gaps: list[Gap] = []
        self.wrong: list[str] = []
        self.hold = threading.Event()
        self.hold.set()
        self._open: dict[tuple[str, object], float] = {}
        self._last: dict[str, Message] = {}
        self._lock = threading.Lock()
        options.setdefault("ssl_context", exchange.ssl_context)
        keys = (exchange.api_key, exchange.api_secret)
        where = exchange if through is None else through
        self.client = make_client(where, api_key=keys[0], api_secret=keys[1], **options)
        self.client.listen(self._note_loss, StateChanged)
        self.client.listen(self._note_opening, GapOpened)
        self.client.listen(self._note_closing, GapClosed)
        self.client.listen(self.bad.append, BadMessage)
        self.client.subscribe(topics, self._take, delivery=delivery)

    def _note_loss(self, event: StateChanged) -> None:
        if event.new is State.BACKOFF:
            self.reasons.append(event.reason)

    def _note_opening(self, event: GapOpened) -> None:
        for name in event.topics:
            key = (name, event.callback)
            if key in self._open:
                self.wrong.append(f"{name}: a second gap opened inside the first: {event.reason}")
            self._open[key] = event.since

    def _note_closing(self, event: GapClosed) -> None:
        gap = event.gap
        self.gaps.append(gap)
        for name in gap.topics:
            if self._open.pop((name, event.callback), None) != gap.since:
                self.wrong.append(f"{name}: a gap closed that was not open: {gap.reason}")

    def _take(self, message: Message) -> None:
        name, gap = message.topic, message.gap
        with self._lock:
            before, self._last[name] = self._last.get(name), message
        if gap is not None:
            seen = gap.last_seen.get(name)
            if name not in gap.topics or gap.until is None or gap.since > gap.until:
                self.wrong.append(f"{name}: a message came with {gap}")
            if (seen and seen.received_ns) != (before and before.received_ns):
                self.wrong.append(f"{name}: the gap names another message as the last one: {gap}")
        assert self.hold.wait(_PATIENCE)
        self.checker.got(self._wire(name), message.raw, after_gap=gap is not None)

    @property
    def reconnects(self) -> int:
        """How often a link was opened again."""
        return sum(each.reconnects for each in self.client.health().connections.values())

    def matched(self) -> int:
        """Feed the checker; return how many messages arrived as they were sent."""
        self.checker.sent(self.exchange.sent_after(self.checker.last_number))
        report = self.checker.report(final=False)
        assert report.ok, report.faults
        return report.matched

    def wait_for(self, predicate: Callable[[], bool], what: str) -> None:
        """Wait until something is true.

        Raises:
            AssertionError: it did not become true.
        """
        deadline = time.monotonic() + _PATIENCE
        while not predicate():
            assert time.monotonic() < deadline, f"{what}; lost links: {self.reasons[-3:]}"
            threading.Event().wait(0.005)

    def settle(self, messages: int = 20) -> None:
        """Wait until all topics are confirmed, held once, and deliver."""
        self.client.wait_until_ready()
        wanted = dict.fromkeys(map(self._wire, self._topics), 1)

        def holds() -> bool:
            holding = held(self.exchange)
            return wanted == {name: holding[name] for name in holding if name in wanted}

        self.wait_for(holds, "the exchange holds other topics")
        before = self.matched()
        self.wait_for(lambda: self.matched() >= before + messages, "nothing is delivered")

    def _wire(self, name: str) -> str:
        """Return what the exchange calls a topic."""
        return name.removeprefix("copyTrade").lower() if self._aliases and name in PRIVATE else name

    def __enter__(self) -> Watched:
        self.client.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.settle()
                self.wait_for(lambda: not self._open, "a gap stays open")
        finally:
            self.client.close()
        if kind is None:
            self.checker.closed()
            self.checker.sent(self.exchange.sent_after(self.checker.last_number))
            report = self.checker.report()
            assert report.ok, report.faults
            assert not self.wrong, self.wrong
            assert not self._open, f"gaps that never closed: {self._open}"
