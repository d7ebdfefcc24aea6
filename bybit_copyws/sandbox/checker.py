"""Holds what a client's callbacks got against what the exchange sent. Pure.

Nothing may be out of order or delivered twice on a topic, every hole must be one that the client
reported, and nothing may come after ``close()`` has returned. Both sides are fed as they happen,
in any interleaving, and forgotten once they match, so millions of messages can be checked.
"""

from __future__ import annotations

import threading
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

_MOST_FAULTS = 100
_MOST_GIVEN_UP = 100
_MOST_ARRIVED = 1000


def fingerprint(payload: bytes) -> int:
    """Return what stands for a message's bytes where they are not at hand."""
    return zlib.crc32(payload)


class SentMessage(Protocol):
    """What is known of a message that was sent; ``history.Sent`` has it."""

    @property
    def number(self) -> int:
        """Counts all messages of the exchange."""

    @property
    def conn_id(self) -> str:
        """The connection it was sent on."""

    @property
    def topic(self) -> str:
        """Of a push, else empty."""

    @property
    def fingerprint(self) -> int:
        """See :func:`fingerprint`."""


@dataclass
class Report:
    """What a check has found so far.

    Attributes:
        matched: messages that arrived as they were sent.
        missed: messages that were sent but lie in a hole that the client reported.
        holes: how many such holes there are.
        unseen: messages that were sent and have not arrived (yet).
        faults: what must not be, in words; the first 100.
    """

    matched: int = 0
    missed: int = 0
    holes: int = 0
    unseen: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing was found that must not be."""
        return not self.faults


class _Expected(NamedTuple):
    number: int
    conn_id: str
    fingerprint: int


class _Got(NamedTuple):
    fingerprint: int
    after_gap: bool


class _Topic:
    def __init__(self) -> None:
        self.expected: deque[_Expected] = deque()
        self.got: deque[_Got] = deque()
        self.conn_id = ""  # of the connection that the client listens to
        # Connections that it has given up. The exchange may not know that yet (they are half-open)
        # and go on sending: all of that lies in the gap with which the client changed over.
        self.given_up: deque[str] = deque(maxlen=_MOST_GIVEN_UP)
        self.arrived: dict[int, str] = {}  # the last fingerprints, and where they were found

    def note(self, arrived: _Expected) -> None:
        self.arrived[arrived.fingerprint] = arrived.conn_id
        if len(self.arrived) > _MOST_ARRIVED:
            del self.arrived[next(iter(self.arrived))]
        self.change_over(arrived.conn_id)

    def is_twin(self, expected: _Expected) -> bool:
        """Return whether the same bytes arrived, sent at the same time on another connection.

        While a connection is half-open, the exchange sends on it and on the new one, and the bytes
        do not tell on which they came.
        """
        return self.arrived.get(expected.fingerprint, expected.conn_id) != expected.conn_id

    def change_over(self, conn_id: str) -> None:
        if conn_id != self.conn_id:
            self.given_up.append(self.conn_id)
            self.conn_id = conn_id


class Checker:
    """Checks one client against the exchange; safe from any thread.

    ::

        client.subscribe(topics, lambda message: checker.got(message.topic, message.raw))
        ...
        checker.sent(exchange.sent_after(checker.last_number))
        assert checker.report().ok, checker.report().faults
    """

    def __init__(self) -> None:
        # Guards everything below; held for the steps of one call only.
        self._lock = threading.Lock()
        self._topics: dict[str, _Topic] = {}
        self._report = Report()
        self._closed = False
        self.last_number = 0

    def sent(self, messages: Iterable[SentMessage]) -> None:
        """Take what the exchange has put on the wire, in order; replies are passed over."""
        with self._lock:
            for message in messages:
                self.last_number = message.number
                if message.topic:
                    expected = _Expected(message.number, message.conn_id, message.fingerprint)
                    self._topic(message.topic).expected.append(expected)

    def got(self, topic: str, payload: bytes, *, after_gap: bool = False) -> None:
        """Take what a callback was called with.

        Args:
            topic: as the exchange calls it.
            payload: the message's bytes (``message.raw``).
            after_gap: whether the client said that something is missing before this message.
        """
        with self._lock:
            if self._closed:
                self._fault(f"{topic}: a message came after the end")
            self._topic(topic).got.append(_Got(fingerprint(payload), after_gap))

    def closed(self) -> None:
        """Note that ``close()`` has returned: nothing may come from here on."""
        with self._lock:
            self._closed = True

    def compare(self) -> None:
        """Match what is known of both sides so far."""
        with self._lock:
            for name, topic in self._topics.items():
                while topic.got and self._match(name, topic):
                    topic.got.popleft()

    def report(self, *, final: bool = True) -> Report:
        """Compare, and return what was found.

        Args:
            final: whether all that was sent has been fed, so that what a callback got and the
                exchange did not send is a fault.
        """
        self.compare()
        with self._lock:
            self._report.unseen = sum(len(topic.expected) for topic in self._topics.values())
            if final:
                for name, topic in self._topics.items():
                    if topic.got:
                        self._fault(
                            f"{name}: {len(topic.got)} messages arrived that were not sent, were "
                            "delivered twice, or came out of order"
                        )
                        topic.got.clear()
            return replace(self._report, faults=list(self._report.faults))

    def _match(self, name: str, topic: _Topic) -> bool:
        """Look for the oldest message that arrived; return whether it was found."""
        got = topic.got[0]
        found = (
            place
            for place, expected in enumerate(topic.expected)
            if expected.fingerprint == got.fingerprint and expected.conn_id not in topic.given_up
        )
        place = next(found, None)
        if place is None:
            return False  # not fed yet
        skipped = [topic.expected.popleft() for _ in range(place)]
        arrived = topic.expected.popleft()
        # What went out on other connections meanwhile was for other clients, or for nobody.
        own = (topic.conn_id, arrived.conn_id)
        missing = [each for each in skipped if each.conn_id in own and not topic.is_twin(each)]
        if missing and not got.after_gap:
            self._fault(
                f"{name}: {len(missing)} messages are missing before no. {arrived.number} (the "
                f"first is no. {missing[0].number}), and no gap was reported"
            )
        elif missing:
            self._report.holes += 1
        self._report.missed += len(skipped) if got.after_gap or not missing else 0
        self._report.matched += 1
        topic.note(arrived)
        return True

    def _topic(self, name: str) -> _Topic:
        return self._topics.setdefault(name, _Topic())

    def _fault(self, text: str) -> None:
        if len(self._report.faults) < _MOST_FAULTS:
            self._report.faults.append(text)
