"""A client under the eyes of the checker: what the exchange sent against what callbacks got.

``with Watched(exchange) as watched`` checks at its end what must hold after every fault (the
invariants of the fault matrix): connected again, every wanted topic held once, everything that was
sent delivered once and in order or lost while the client said that its link was down, and nothing
delivered after ``close()``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from exchange import PRIVATE, PUBLIC, held, make_client

from bybit_copyws.events import BadMessage, State, StateChanged
from bybit_copyws.sandbox import Checker, FaultProxy, Sandbox

_PATIENCE = 10.0


class Watched:
    """A client of an exchange, with a checker between the two.

    Args:
        exchange: what it is a client of.
        through: a proxy on the way to it, or ``None``.
        topics: what to subscribe.
        options: of the client.

    Attributes:
        client: the client.
        reasons: why links were lost, in order.
        bad: what was said of bad messages, in order.
    """

    def __init__(
        self,
        exchange: Sandbox,
        through: FaultProxy | None = None,
        topics: tuple[str, ...] = (*PUBLIC, *PRIVATE),
        **options: Any,
    ) -> None:
        self.exchange = exchange
        self.reasons: list[str] = []
        self.bad: list[BadMessage] = []
        self.checker = Checker()
        self._topics = topics
        self._aliases = options.get("profile") == "v5"
        self._lost: set[str] = set()
        self._lock = threading.Lock()
        options.setdefault("ssl_context", exchange.ssl_context)
        keys = (exchange.api_key, exchange.api_secret)
        where = exchange if through is None else through
        self.client = make_client(where, api_key=keys[0], api_secret=keys[1], **options)
        self.client.listen(self._note_loss, StateChanged)
        self.client.listen(self.bad.append, BadMessage)
        self.client.subscribe(topics, self._take)

    def _note_loss(self, event: StateChanged) -> None:
        if event.new is State.BACKOFF:
            private = event.connection == "private"
            with self._lock:
                self.reasons.append(event.reason)
                self._lost |= {name for name in self._topics if (name in PRIVATE) is private}

    def _take(self, message: Any) -> None:
        with self._lock:
            after_gap = message.topic in self._lost
            self._lost.discard(message.topic)
        self.checker.got(self._wire(message.topic), message.raw, after_gap=after_gap)

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
        finally:
            self.client.close()
        if kind is None:
            self.checker.closed()
            self.checker.sent(self.exchange.sent_after(self.checker.last_number))
            report = self.checker.report()
            assert report.ok, report.faults
