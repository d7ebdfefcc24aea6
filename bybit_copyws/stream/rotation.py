"""Replaces a connection by a new one, so that a planned change loses nothing.

The new connection opens and subscribes while the old one goes on; what it brings is held back. When
all is there, the old one is asked to close and read to its end. Then what it did not bring itself
is delivered from what was held, and the new one goes on. Until then the old one can stay: whatever
goes wrong, nothing has happened to it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from bybit_copyws.errors import ConnectFailed, StreamClosed, StreamError, SubscriptionError
from bybit_copyws.events import Event, State
from bybit_copyws.policy.handover import SNAPSHOT_FIRST, go_on
from bybit_copyws.stream.detour import Held, Hold, Notes
from bybit_copyws.stream.log import THREADS, GuardedLogger
from bybit_copyws.stream.private import PrivateStream
from bybit_copyws.stream.redundant import RedundantStream
from bybit_copyws.stream.stream import Stream
from bybit_copyws.wire.topics import Scope

_log = GuardedLogger(__name__)
Notify: TypeAlias = Callable[[Sequence[Event]], None]
Connection: TypeAlias = Stream | RedundantStream | PrivateStream
"""The public or the private connection of a client."""

_GOODBYE = 2.0  # seconds for the threads of a connection that did not take over
_LOOK = 0.02  # seconds between two looks whether the new connection brings data
_OWN_TIMEOUT = 30.0  # seconds for a rotation that nobody waits for
_RESERVE = 0.5  # of the connection budget: a planned change leaves it to those that are lost
_BARRIER = 2.0  # seconds for the new connection to bring what was sent before the old one's end


class Rotation:
    """One hand-over.

    Args:
        old: the connection to be replaced.
        new: made like it, and not started.
        owner: who has them.
        gate: keeps the events of the new one back until it has taken over.
    """

    def __init__(self, old: Stream, new: Stream, owner: Rotator, gate: Gate) -> None:
        self._old, self._new, self._owner, self._gate = old, new, owner, gate
        self._notes, self._hold = Notes(), Hold()
        self._over = threading.Event()
        self._error: StreamError | None = None

    def run(self, timeout: float) -> None:
        """Hand over, or leave all as it was.

        Args:
            timeout: seconds for the new connection to bring its data.

        Raises:
            TimeoutError: it did not.
            StreamError: it could not be had.
        """
        old, new = self._old, self._new
        topics = old.wanted()
        if not topics:
            return
        self._owner.add(new, self._gate)
        try:
            new.detour(self._hold)
            old.detour(self._notes)
            new.subscribe(topics, _ignore)
            snapshots = {each.wire for each in topics if each.spec.channel in SNAPSHOT_FIRST}
            new.start()
            self._wait_for_data(snapshots, time.monotonic() + timeout)
            if not old.retire(self._take_over):
                raise ConnectFailed(new.name, "the old connection was lost meanwhile")
            if not self._over.wait(timeout):
                old.end()  # it does not answer: what it may have kept back is told as a gap
                if not self._over.wait(timeout) and old.withdraw():
                    raise TimeoutError("the old connection does not end: a callback holds it up")
        except BaseException:
            self._give_up()
            raise
        if self._error is not None:
            self._give_up()
            raise self._error

    def _wait_for_data(self, snapshots: set[str], deadline: float) -> None:
        while True:
            missing, refused = self._new.unsettled()
            if self._new.error is not None:
                raise self._new.error.again()
            if self._new.state in (State.CLOSING, State.CLOSED):
                raise StreamClosed("the client was closed")
            if refused:
                names = [handler.topic.name for handler in refused]
                raise SubscriptionError(names, refused[0].ret_msg or "")
            if self._notes.overflowed or self._hold.overflowed:
                raise TimeoutError("too much came before the new connection had all topics")
            waits_for = sorted({*missing, *(snapshots - self._hold.topics)})
            if self._new.state is State.ACTIVE and not waits_for:
                return
            if time.monotonic() > deadline:
                trouble = self._new.trouble
                raise TimeoutError(
                    f"the new connection ({self._new.state.value}) did not bring: "
                    f"{', '.join(waits_for[:5]) or 'anything'}"
                    f"{f'; {trouble}' if trouble else ''}"
                )
            self._over.wait(_LOOK)

    def _give_up(self) -> None:
        """Let the old connection go on alone."""
        self._old.detour(None)
        self._owner.drop(self._new)

    # In the run thread of the old connection, after its end

    def _take_over(self, drained: bool) -> bool:
        """Let the new connection go on; return whether it does."""
        try:
            return self._hand_over(drained)
        finally:
            self._over.set()

    def _hand_over(self, drained: bool) -> bool:
        new = self._new
        if not new.hear_all(_BARRIER) or self._notes.overflowed or self._hold.overflowed:
            drained = False
        if not self._owner.replace(self._old, new):
            self._error = ConnectFailed(new.name, "the new connection was lost meanwhile")
            return False
        if not drained:
            new.missed(None, "the old connection ended before it had brought everything")
        elif new.scope is Scope.PRIVATE:
            new.missed(None, "the connection was replaced; private messages cannot be compared")
        try:
            self._deliver_what_is_new(self._hold.take(), drained)
        except Exception as bug:  # noqa: BLE001 (the old connection is gone: this one must go on)
            _log.error("! a hand-over failed in an unforeseen way: report this", exc_info=bug)
            new.missed(None, "what was held back during a hand-over could not be delivered")
        while held := self._hold.take():
            for each in held:
                new.deliver(each.envelope, each.received_ns, each.raw)
        if self._hold.overflowed and drained:
            new.missed(None, "too much came during a hand-over")
        new.detour(None)
        new.settle_in()
        return True

    def _deliver_what_is_new(self, held: list[Held], drained: bool) -> None:
        """Deliver of what was held what the old connection did not bring, in the order it came."""
        by_topic: dict[str, list[int]] = {}
        for place, each in enumerate(held):
            by_topic.setdefault(each.envelope.topic, []).append(place)
        noted = self._notes.by_topic()
        chosen: dict[int, object] = {}
        for topic, places in by_topic.items():
            last_ts = self._new.last_ts(topic)
            copies = [held[place].copy() for place in places]
            channel = topic.split(".")[0]
            continuation = go_on(
                channel, noted.get(topic, []), copies, drained=drained, last_ts=last_ts
            )
            if continuation.hole is not None:
                self._new.missed(topic, continuation.hole)
            chosen.update((places[rest.place], rest.data) for rest in continuation.rests)
        for place in sorted(chosen):
            each = held[place]
            each.envelope.data = chosen[place]
            self._new.deliver(each.envelope, each.received_ns, each.raw)


def _ignore(_: object) -> None:
    """Stand for the callbacks of a connection that does not deliver yet."""


class Gate:
    """Keeps the events of a connection to itself until it has taken over.

    Args:
        post: takes them then.
    """

    def __init__(self, post: Notify) -> None:
        self._post = post
        self.open = False

    def __call__(self, events: Sequence[Event]) -> None:
        """Hand events on, or drop them."""
        if self.open:
            self._post(events)


class Rotator:
    """Replaces the connections of a client.

    Args:
        streams: by scope; changed when a connection is replaced.
        make: makes a connection like the one of a scope.
        post: takes the events of those that have taken over.
        interval: seconds between two rotations, or ``None`` for none by itself.

    Attributes:
        switch: guards the change of one connection for another. Held for pure calls and for sends
            that never block; taken before the locks of a stream; never held while user code runs.
    """

    def __init__(
        self,
        streams: dict[Scope, Connection],
        make: Callable[[Scope, Notify], Stream],
        post: Notify,
        interval: float | None,
    ) -> None:
        # Reentrant, because a log handler may be user code.
        self.switch = threading.RLock()
        self._streams, self._make, self._post, self._interval = streams, make, post, interval
        self._turn = threading.Lock()  # held by the one who rotates, for as long as that takes
        self._coming: dict[Stream, Gate] = {}
        self._leaving: list[Stream] = []  # did not take over, and are being closed
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Rotate from time to time, if that was asked for."""
        if self._interval is not None and self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name=f"{THREADS}rotation", daemon=True
            )
            self._thread.start()

    def end(self) -> None:
        """Replace nothing any more."""
        with self.switch:
            self._ended.set()

    def streams(self) -> list[Connection]:
        """Return all connections, those that are on their way first."""
        with self.switch:
            return [*self._coming, *self._leaving, *self._streams.values()]

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            try:
                if min(each.headroom for each in self._streams.values()) < _RESERVE:
                    raise ConnectFailed(
                        "the exchange", "the connection budget is kept for what is lost"
                    )
                self.rotate(_OWN_TIMEOUT)
            except Exception as error:  # noqa: BLE001 (whatever it is, the next one may work)
                _log.warning("! a connection was not replaced: %s", error)

    def rotate(self, timeout: float) -> None:
        """Replace every open connection by a new one.

        Raises:
            TimeoutError: a new one did not bring its data in time.
            StreamError: a new one could not be had.
        """
        with self._turn:
            for scope in Scope:
                old = self._streams[scope]
                if old.state is not State.ACTIVE or self._ended.is_set():
                    continue
                if isinstance(old, RedundantStream):
                    old.renew(timeout)
                    continue
                if isinstance(old, PrivateStream):
                    gate = Gate(old.hear)
                    Rotation(old.line, old.make_line(gate), self, gate).run(timeout)
                    continue
                gate = Gate(self._post)
                Rotation(old, self._make(scope, gate), self, gate).run(timeout)

    # For a rotation

    def add(self, stream: Stream, gate: Gate) -> None:
        """Know a connection that is on its way, so that it can be closed.

        Raises:
            StreamClosed: all are being closed.
        """
        with self.switch:
            if self._ended.is_set():
                raise StreamClosed("the client was closed")
            self._coming[stream] = gate

    def replace(self, old: Stream, new: Stream) -> bool:
        """Let a connection take the place of another; return whether it could."""
        with self.switch:
            gate = self._coming.get(new)
            if gate is None or self._ended.is_set():
                return False
            gate.open = True  # what becomes of taking over is to be heard
            if not new.take_over(old):
                gate.open = False
                return False
            del self._coming[new]
            place = self._streams[old.scope]
            if isinstance(place, PrivateStream):
                place.line = new
            else:
                self._streams[old.scope] = new
            return True

    def drop(self, stream: Stream) -> None:
        """Close a connection, unless it has taken over."""
        with self.switch:
            if self._coming.pop(stream, None) is None:
                return
            self._leaving.append(stream)
        stream.begin_close()
        stream.end()
        for thread in stream.threads:
            if thread is not threading.current_thread():
                thread.join(_GOODBYE)
        with self.switch:
            self._leaving.remove(stream)
