"""The public topics over two connections at once, which look like one to the client.

Each connection is a whole :class:`Stream` with its own link, heartbeat and retries, whose only
callback hands its messages to the merger. What passes there is delivered by the run thread that
comes first; the other one leaves its messages to it and reads on, until too many wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

from msgspec.structs import replace

from bybit_copyws.errors import AuthenticationError, ConnectFailed
from bybit_copyws.events import Event, State, SubscriptionState
from bybit_copyws.health import ConnectionHealth
from bybit_copyws.messages import Gap, Message, MessageCallback
from bybit_copyws.policy.channel import Channel, Courier, Handler
from bybit_copyws.policy.identity import Arrival
from bybit_copyws.policy.merging import Merger, Ready
from bybit_copyws.stream.figures import running, topics_health
from bybit_copyws.stream.front import Front
from bybit_copyws.stream.reports import Reports, Running, SlowWatch
from bybit_copyws.stream.stream import Stream
from bybit_copyws.wire.envelope import Envelope
from bybit_copyws.wire.profiles import Profile
from bybit_copyws.wire.topics import Scope, Topic

LINES = 2
# By how much longer the second line waits for a silent topic than the first: they must not both be
# replaced for it at the same time, which would be a gap of all topics.
_MORE_PATIENCE = 0.6
_LOOK = 0.02  # seconds between two looks at a line that comes back
_BEST_FIRST = (
    State.ACTIVE,
    State.AUTHENTICATING,
    State.CONNECTING,
    State.BACKOFF,
    State.IDLE,
    State.CLOSING,
    State.CLOSED,
)


class MakeLine(Protocol):
    """Makes one of the connections."""

    def __call__(
        self,
        notify: Callable[[Sequence[Event]], None],
        *,
        changed: Callable[[], None],
        name: str,
        slow: SlowWatch,
        patience: float,
    ) -> Stream:
        """Return it, not started."""


class RedundantStream(Front[Ready]):
    """Two connections for the same topics; see :class:`Stream` for what is not said here.

    Args:
        profile: the API generation.
        make: makes a connection.
        reports: is told of callbacks.
        notify: takes lifecycle events, in their order; must not block.
        changed: called without locks after anything that somebody may wait for.
    """

    scope = Scope.PUBLIC

    def __init__(
        self,
        profile: Profile,
        make: MakeLine,
        *,
        reports: Reports,
        notify: Callable[[Sequence[Event]], None],
        changed: Callable[[], None],
    ) -> None:
        super().__init__(profile, reports=reports, notify=notify, changed=changed)
        self._merger = Merger(self.scope, LINES, profile.max_args_chars)
        self._inner: dict[str, list[list[Handler]]] = {}  # by wire topic and line
        # Lines that began to carry topics, and the pongs that must come on the others since.
        self._awaited: list[tuple[int, set[str], dict[int, int]]] = []
        slow = SlowWatch(self._running, reports)
        self._lines = [
            make(
                self._hears(number),
                changed=self._line_changed,
                name=f"{self.scope.value}-{number + 1}",
                slow=slow,
                patience=1.0 + number * _MORE_PATIENCE,
            )
            for number in range(LINES)
        ]

    # For the client, from any thread

    def subscribe(
        self,
        topics: Sequence[Topic],
        callback: MessageCallback,
        courier: Courier | None = None,
    ) -> list[Handler]:
        """Register a callback; both connections carry the topics.

        To be serialized with :meth:`unsubscribe` by the caller.
        """
        if self.error is not None:
            raise self.error.again()
        with self._lock:
            handlers = self._merger.add(topics, callback, courier)
        wires = list(dict.fromkeys(topic.wire for topic in topics))
        try:
            self._want(wires)
        except Exception:
            self.unsubscribe(handlers)
            raise
        self._changed()
        return handlers

    def _want(self, wires: Iterable[str]) -> None:
        """Have both connections carry topics; one that was refused is asked for anew."""
        wanted = []
        for wire in wires:
            held = self._inner.get(wire)
            if held is not None and any(each.ret_msg for one in held for each in one):
                self._unwant([wire])
                held = None
            if held is None:
                wanted.append(wire)
                self._inner[wire] = [[] for _ in self._lines]
        topics = [self._profile.topics.parse(wire) for wire in wanted]
        for number, line in enumerate(self._lines):
            for handler in line.subscribe(topics, self._takes(number)) if topics else ():
                self._inner[handler.topic.wire][number].append(handler)
                # Given up and wanted again at once, it may never have left.
                if handler.state is SubscriptionState.CONFIRMED:
                    with self._lock:
                        now = self._clock.now()
                        self._merger.confirmed(number, [handler.topic.wire], now)
                        self._notify(self._merger.take_events())

    def _unwant(self, wires: Iterable[str]) -> None:
        found = [self._inner.pop(wire) for wire in wires if wire in self._inner]
        for number, line in enumerate(self._lines):
            line.unsubscribe([handler for lines in found for handler in lines[number]])

    def unsubscribe(self, handlers: Sequence[Handler]) -> None:
        """Take handlers out; see :meth:`subscribe`."""
        with self._lock:
            unwanted = self._merger.remove(handlers)
        self._unwant(unwanted)
        self._changed()

    def refresh(self, topic: Topic) -> None:
        """Have a topic subscribed anew on both, for the snapshot with which it begins."""
        with self._lock:
            self._merger.forget(topic.wire)
        for line in self._lines:
            line.refresh(topic)

    def find(self, topic: Topic, callback: MessageCallback | None) -> list[Handler]:
        """Return the handlers of a topic, maybe of one callback only."""
        with self._lock:
            return self._merger.registry.find(topic, callback)

    def start(self) -> None:
        """Start the threads of both if a topic needs them."""
        for line in self._lines:
            line.start()

    def mute(self) -> None:
        """Let no further callback start. Takes no lock."""
        self._delivery.stopped = True
        for line in self._lines:
            line.mute()

    def begin_close(self) -> None:
        """Let no further callback start, and ask the server to close. Does not wait."""
        self.mute()
        with self._lock:
            self._merger.close()
            self._turns.wake()
        for line in self._lines:
            line.begin_close()

    def end(self) -> None:
        """End both links at once."""
        for line in self._lines:
            line.end()

    def renew(self, timeout: float) -> None:
        """Replace one link after the other, each while the other one carries all topics.

        Args:
            timeout: seconds for each.

        Raises:
            TimeoutError: the other did not carry all topics, or the new link did not come in time.
            StreamError: the connections were given up.
        """
        for number, line in enumerate(self._lines):
            if line.state is not State.ACTIVE:
                continue
            deadline = time.monotonic() + timeout
            self._await(partial(self._covers_without, number), deadline)
            links = line.links
            if line.retire(_nobody):
                self._await(partial(_has_more_links, line, links), deadline)
                self._await(self._covers_twice, deadline)

    def _await(self, predicate: Callable[[], bool], deadline: float) -> None:
        pause = threading.Event()
        while not predicate():
            if self.error is not None:
                raise self.error.again()
            if time.monotonic() > deadline or self.state in (State.CLOSING, State.CLOSED):
                lines = [f"; {line.name}: {line.trouble}" for line in self._lines if line.trouble]
                raise TimeoutError(
                    f"one connection alone does not carry all topics{''.join(lines)}"
                )
            pause.wait(_LOOK)

    def _covers_without(self, line: int) -> bool:
        with self._lock:
            return self._merger.covered_without(line)

    def _covers_twice(self) -> bool:
        return all(self._covers_without(number) for number in range(LINES))

    @property
    def threads(self) -> list[threading.Thread]:
        """The threads of both that were started."""
        return [thread for line in self._lines for thread in line.threads]

    @property
    def headroom(self) -> float:
        """The free part of the connection budget of their host, 0 to 1."""
        return self._lines[0].headroom

    @property
    def error(self) -> AuthenticationError | ConnectFailed | None:
        """The terminal error, if neither connection goes on."""
        errors = [line.error for line in self._lines]
        return errors[0] if all(errors) else None

    @property
    def state(self) -> State:
        """Where the better one is."""
        return min((line.state for line in self._lines), key=_BEST_FIRST.index)

    @property
    def trouble(self) -> str | None:
        """Why there is no link at all, in words."""
        troubles = [line.trouble for line in self._lines]
        return troubles[0] if all(troubles) else None

    def unsettled(self) -> tuple[list[str], list[Handler]]:
        """Return the wanted topics that are not confirmed, and the handlers that were refused."""
        with self._lock:
            registry = self._merger.registry
            refused = [each for each in registry.handlers if each.ret_msg is not None]
            return registry.unsettled(), refused

    def health(self) -> dict[str, ConnectionHealth]:
        """Return how both are doing together, and each."""
        lines = [figures for line in self._lines for figures in line.health().values()]
        delays = [each.pong_delay for each in lines if each.pong_delay is not None]
        pongs = [each.last_pong for each in lines if each.last_pong is not None]
        retries = [each.retry_in for each in lines if each.retry_in is not None]
        now, last = self._clock.now().mono, self._delivery.last_message
        with self._lock:
            together = ConnectionHealth(
                state=self.state.value,
                url=lines[0].url,
                reconnects=sum(each.reconnects for each in lines),
                last_pong=max(pongs, default=None),
                pong_delay=max(delays, default=None),
                last_message_age=None if last is None else now - last,
                messages=self._delivery.messages,
                bad_messages=sum(each.bad_messages for each in lines),
                gaps=self._merger.gaps.opened,
                trouble=self.trouble,
                retry_in=min(retries, default=None),
                clock_skew=None,
                covered_twice=self._merger.covered_twice,
                topics=topics_health(self._merger.registry, now),
            )
        each_one = {
            line.name: replace(figures, topics=[])
            for line, figures in zip(self._lines, lines, strict=True)
        }
        return {self.scope.value: together, **each_one}

    # From the lines, in whatever thread something happens to them

    def _hears(self, number: int) -> Callable[[Sequence[Event]], None]:
        def hear(events: Sequence[Event]) -> None:
            with self._lock:
                self._merger.heard(number, events, self._clock.now())
                self._notify(self._merger.take_events())

        return hear

    def _line_changed(self) -> None:
        """Do what could not be done while the line held its locks."""
        self._vouch()
        if self.error is not None:
            with self._lock:
                self._merger.close()
        # What a line lets go by its end is delivered by its run thread; others deliver nothing.
        if self._merger.ready and threading.current_thread() in self._run_threads():
            self._turns.drain()
        self._changed()

    def _run_threads(self) -> list[threading.Thread]:
        return [line.threads[0] for line in self._lines if line.threads]

    def _vouch(self) -> None:
        """Count silent topics as carried once all that was sent before must have come.

        An exchange answers a ping after all that it has sent before it came.
        """
        with self._lock:
            new = self._merger.take_new()
        for number, wires in new:
            pongs = {
                other: line.ask_pong()
                for other, line in enumerate(self._lines)
                if other != number and line.state is State.ACTIVE
            }
            with self._lock:
                self._awaited.append((number, wires, pongs))
        with self._lock:
            awaited, self._awaited = self._awaited, []
            for each in awaited:
                number, wires, pongs = each
                if all(map(self._has_come, pongs.items())):
                    self._merger.vouch(number, wires)
                else:
                    self._awaited.append(each)

    def _has_come(self, expected: tuple[int, int]) -> bool:
        line, pong = self._lines[expected[0]], expected[1]
        return line.has_pong(pong) or line.state is not State.ACTIVE

    # From the lines, in their run threads

    def _takes(self, number: int) -> MessageCallback:
        def take(message: Message) -> None:
            # Beside the data of a ticker stands its number, which is not worth a field of messages.
            cs = message.get("cs") if message.topic.startswith("tickers.") else None
            arrival = Arrival(
                message.type, message.ts, message.data, cs, message.received_ns, message.raw
            )
            # If something is missing before it, an event of the line has said so already.
            with self._lock:
                self._merger.arrived(number, message.topic, arrival)
            self._turns.drain()

        return take

    def _next(self) -> Ready | None:
        """Take what is to be delivered next; called with the lock held."""
        ready = self._merger.next(self._clock.now())
        self._notify(self._merger.take_events())
        return ready

    def _waiting(self) -> int:
        return len(self._merger.ready)

    def _deliver(self, ready: Ready) -> None:
        arrival = ready.arrival
        envelope = Envelope(
            topic=ready.channel.topic.wire,
            type=arrival.type,
            ts=arrival.ts,
            cs=arrival.cs,
            data=arrival.data,
        )
        self._delivery.deliver(envelope, ready.channel, arrival.received_ns, arrival.raw)

    # For the dispatcher, in the run thread that delivers

    def owed_gap(self, channel: Channel) -> Gap | None:
        """Return the gap that the next message of a topic must carry; it is carried then."""
        with self._lock:
            gap = self._merger.take_gap(channel, self._clock.now())
            self._notify(self._merger.take_events())
        return gap

    def missed(self, channel: Channel | None, reason: str) -> None:
        """Note that something of a topic was lost just now, on both lines."""
        if channel is not None:
            with self._lock:
                self._merger.missed(channel, reason, self._clock.now())
                self._notify(self._merger.take_events())

    def _running(self) -> list[Running]:
        with self._lock:
            handlers = self._merger.registry.handlers
        return running(self._delivery, handlers)


def _nobody(_: bool) -> bool:
    """Stand for a successor that there is none: the line comes back by itself."""
    return False


def _has_more_links(line: Stream, links: int) -> bool:
    return line.links > links
