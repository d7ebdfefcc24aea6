"""One topic of one connection as the reader meets it, and the callbacks behind it.

The reader notes each message here and reads the rest; everything else is written under the
connection's lock. Must not know what is asked of the exchange, nor why something is missing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Protocol

from bybit_copyws.events import SubscriptionState
from bybit_copyws.health import QueueHealth
from bybit_copyws.messages import Gap, Message, MessageCallback, Seen
from bybit_copyws.policy.sequence import BookSequence
from bybit_copyws.wire.topics import Topic


class Courier(Protocol):
    """Takes messages to a callback in another thread."""

    @property
    def running(self) -> tuple[Handler, float] | None:
        """The handler that is running there and since when (monotonic), or ``None``."""

    def put(self, handler: Handler, message: Message) -> None:
        """Take a message; may wait until there is room."""

    def figures(self) -> QueueHealth:
        """Return how the queue is doing."""


class Follower(ABC):
    """A callback that keeps something up to date, and must know when that may be wrong.

    Attributes:
        channel: its topic; set by the registry.
    """

    channel: Channel | None = None

    @abstractmethod
    def __call__(self, message: Message) -> None:
        """Take a message."""

    @abstractmethod
    def doubt(self, reason: str, now: float) -> None:
        """Note, at monotonic ``now``, that something may be missing; with the locks held."""


class Handler:
    """One callback registered for one topic, with its fate and its figures.

    Written by the registry (``state``, ``ret_msg``) and by the thread that runs the callback
    (the counters); others only read. With a ``courier`` that is another thread than the reader's.
    """

    __slots__ = (
        "active",
        "callback",
        "calls",
        "courier",
        "failures",
        "ret_msg",
        "seconds",
        "state",
        "topic",
    )

    def __init__(
        self, topic: Topic, callback: MessageCallback, courier: Courier | None = None
    ) -> None:
        self.topic = topic
        self.callback = callback
        self.courier = courier
        self.state = SubscriptionState.PENDING
        self.active = True  # cleared when it is taken out: the reader may still hold its route
        self.ret_msg: str | None = None
        self.calls = 0
        self.failures = 0
        self.seconds = 0.0


class Route(NamedTuple):
    """The handlers that know a topic by one name."""

    name: str
    parser: Any
    handlers: tuple[Handler, ...]


class Channel:
    """A topic on the wire.

    Args:
        topic: what it is.
        longest_silence: seconds after which its silence is a fault; ``None`` for never.

    Attributes:
        topic: what it is.
        longest_silence: see above.
        routes: who gets its messages; replaced as a whole at each change.
        followers: those of them that keep something up to date.
        sequence: finds messages that are missing by their numbers, or ``None``.
        last: of the last message: monotonic time, the exchange's time, wall clock at arrival in
            nanoseconds; ``None`` before the first.
        confirmed_at: monotonic time of the last confirmation, or ``None``.
        cures_tried: what was done about its silence so far.
        open_gap: the gap that lasts, or ``None``.
        proof_needed: only a message ends the open gap: an acknowledgement proves nothing any more.
        owed_gap: the gap that the next message must carry, or ``None``; not set while one lasts.
        troubled: whether the next message has to do with a gap: one look for the reader.
    """

    __slots__ = (
        "confirmed_at",
        "cures_tried",
        "followers",
        "last",
        "longest_silence",
        "open_gap",
        "owed_gap",
        "proof_needed",
        "routes",
        "sequence",
        "topic",
        "troubled",
    )

    def __init__(self, topic: Topic, longest_silence: float | None = None) -> None:
        self.topic = topic
        self.longest_silence = longest_silence
        self.routes: tuple[Route, ...] = ()
        self.followers: tuple[Follower, ...] = ()
        self.sequence = BookSequence() if BookSequence.suits(topic) else None
        self.last: tuple[float, int | None, int] | None = None
        self.confirmed_at: float | None = None
        self.cures_tried = 0
        self.open_gap: Gap | None = None
        self.proof_needed = False
        self.owed_gap: Gap | None = None
        self.troubled = False

    @property
    def names(self) -> tuple[str, ...]:
        """What its users call it."""
        return tuple(route.name for route in self.routes)

    @property
    def seen(self) -> Seen | None:
        """The last message."""
        last = self.last
        return None if last is None else Seen(ts=last[1], received_ns=last[2])

    @property
    def alive_at(self) -> float | None:
        """Monotonic time of the last sign of life: a message, or the confirmation."""
        signs = [self.confirmed_at, self.last[0] if self.last else None]
        return max((sign for sign in signs if sign is not None), default=None)
