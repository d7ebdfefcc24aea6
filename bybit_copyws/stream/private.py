"""The private connection with the account behind it.

The connection is a whole :class:`Stream`, whose only callback for the topics of an account hands
their messages to a pure :class:`AccountDesk`. What passes there is delivered by the run thread, or
by the thread of the account if it is there first: that one brings in what REST told, and lets go
what has waited for it too long. All other private topics are the connection's own.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any, Protocol

from msgspec.structs import replace

from bybit_copyws.errors import AuthenticationError, ConnectFailed
from bybit_copyws.events import Event, State, SubscriptionState
from bybit_copyws.health import ConnectionHealth
from bybit_copyws.messages import Gap, Message, MessageCallback
from bybit_copyws.policy.channel import Channel, Courier, Handler
from bybit_copyws.policy.instant import Instant
from bybit_copyws.state.desk import AccountDesk, Handout, Ready
from bybit_copyws.stream.due import DueThread
from bybit_copyws.stream.figures import running, topics_health
from bybit_copyws.stream.front import Front
from bybit_copyws.stream.log import THREADS, GuardedLogger, log_event
from bybit_copyws.stream.reconciler import IDLE_LOOK, Asking, Reconciler
from bybit_copyws.stream.reports import Reports, Running, SlowWatch, callback_name
from bybit_copyws.stream.stream import Stream
from bybit_copyws.wire.profiles import Profile
from bybit_copyws.wire.topics import Scope, Topic

_log = GuardedLogger(__name__)


class MakeStream(Protocol):
    """Makes the connection."""

    def __call__(
        self,
        notify: Callable[[Sequence[Event]], None],
        *,
        changed: Callable[[], None],
        slow: SlowWatch,
        doubted: Callable[[], str],
        quiet: bool,
    ) -> Stream:
        """Return it, not started."""


class PrivateStream(Front[Ready]):
    """The private connection; see :class:`Stream` for what is not said here.

    Args:
        profile: the API generation.
        desk: the topics of the account.
        make: makes the connection.
        rest: how REST is asked.
        reports: is told of callbacks.
        notify: takes lifecycle events, in their order; must not block.
        changed: called without locks after anything that somebody may wait for.

    Attributes:
        desk: see above.
        line: the connection; replaced by a rotation.
    """

    scope = Scope.PRIVATE

    def __init__(
        self,
        profile: Profile,
        desk: AccountDesk,
        make: MakeStream,
        rest: Asking,
        *,
        reports: Reports,
        notify: Callable[[Sequence[Event]], None],
        changed: Callable[[], None],
    ) -> None:
        super().__init__(profile, reports=reports, notify=notify, changed=changed)
        self.desk = desk
        self._make = make
        self._inner: dict[str, Handler] = {}  # of the connection, by wire topic
        self._followers: tuple[Handler, ...] = ()  # of copy trades; replaced as a whole
        self._unlogged: deque[Event] = deque()
        self._ended = False
        name = f"{THREADS}{self.scope.value}"
        self._account_thread = DueThread(f"{name}:account", self.tick)
        self._reconciler = Reconciler(
            f"{name}:reconcile", desk, rest, self._account_thread.wake, self._tell
        )
        self._threads: tuple[DueThread, ...] = ()  # those that were started
        self._slow = SlowWatch(self._running, reports)
        self.line = self.make_line(self.hear)

    def make_line(self, notify: Callable[[Sequence[Event]], None]) -> Stream:
        """Return a connection that may take the place of the present one, not started."""
        return self._make(
            notify,
            changed=self._tell,
            slow=self._slow,
            doubted=lambda: self.desk.doubt,
            quiet=True,
        )

    # For the client, from any thread

    def subscribe(
        self,
        topics: Sequence[Topic],
        callback: MessageCallback,
        courier: Courier | None = None,
    ) -> list[Handler]:
        """Register a callback; to be serialized with :meth:`unsubscribe` by the caller."""
        mine = [topic for topic in topics if self.desk.has(topic.wire)]
        others = [topic for topic in topics if not self.desk.has(topic.wire)]
        handlers = self.line.subscribe(others, callback, courier)
        if mine:
            try:
                if self.error is not None:
                    raise self.error.again()
                with self._lock:
                    handlers += self.desk.add(mine, callback, courier)
                self._drop_refused({topic.wire for topic in mine})
                self._carry()
            except Exception:
                self.unsubscribe(handlers)
                raise
        return handlers

    def unsubscribe(self, handlers: Sequence[Handler]) -> None:
        """Take handlers out; see :meth:`subscribe`."""
        self.line.unsubscribe([each for each in handlers if not self.desk.has(each.topic.wire)])
        mine = [each for each in handlers if self.desk.has(each.topic.wire)]
        if mine:
            with self._lock:
                self.desk.remove(mine)
            self._carry()

    def keep(self) -> None:
        """Follow the account from now on, whatever is subscribed; see :meth:`subscribe`."""
        with self._lock:
            self.desk.kept = True
        self._carry()

    def follow_trades(self, callback: Callable[[Any], object]) -> Handler:
        """Call a function for every change of a copy trade, after the messages that told it."""
        handler = Handler(self._profile.topics.parse(self.desk.order_topic), _OfData(callback))
        with self._lock:
            self._followers = (*self._followers, handler)
        return handler

    def unfollow_trades(self, handler: Handler) -> None:
        """Call a function no more."""
        handler.active = False
        with self._lock:
            self._followers = tuple(each for each in self._followers if each is not handler)

    def _carry(self) -> None:
        """Have the connection carry what is needed."""
        needed = self.desk.needed
        self._give_up(self._inner.keys() - needed)
        wanted = [self._profile.topics.parse(wire) for wire in sorted(needed - self._inner.keys())]
        if wanted:
            for handler in self.line.subscribe(wanted, self._take):
                self._inner[handler.topic.wire] = handler

        def settle(now: Instant) -> Iterable[str]:
            carried = [
                wire
                for wire, each in self._inner.items()
                if each.state is SubscriptionState.CONFIRMED
            ]
            with self._lock:
                self.desk.settle(carried, now)
                self._post()
                return self.desk.known

        self.line.look(settle)
        self._wake()

    def _drop_refused(self, wires: Iterable[str]) -> None:
        """Have topics that the exchange has refused asked for anew."""
        self._give_up(
            [
                each
                for each in wires
                if each in self._inner and self._inner[each].ret_msg is not None
            ]
        )

    def _give_up(self, wires: Iterable[str]) -> None:
        self.line.unsubscribe([self._inner.pop(wire) for wire in list(wires)])

    def refresh(self, topic: Topic) -> None:
        """Have a topic given up and subscribed anew."""
        self.line.refresh(topic)

    def find(self, topic: Topic, callback: MessageCallback | None) -> list[Handler]:
        """Return the handlers of a topic, maybe of one callback only."""
        if not self.desk.has(topic.wire):
            return self.line.find(topic, callback)
        with self._lock:
            return self.desk.registry.find(topic, callback)

    def start(self) -> None:
        """Start the threads if a topic needs them; does nothing the second time."""
        self.line.start()
        with self._lock:
            if self._threads or self._ended or not self.desk.asks:
                return
            threads = (self._account_thread, self._reconciler.thread)
            for thread in threads:
                thread.start()
            self._threads = threads

    def mute(self) -> None:
        """Let no further callback start. Takes no lock."""
        self._delivery.stopped = True
        self.line.mute()

    def begin_close(self) -> None:
        """Let no further callback start, and ask the server to close. Does not wait."""
        self.mute()
        self._ended = True
        self.line.begin_close()
        self._reconciler.end()
        with self._lock:
            self.desk.close(self._clock.now())
            self._turns.wake()
        self._wake()

    def end(self) -> None:
        """End the link at once."""
        self.line.end()

    @property
    def threads(self) -> list[threading.Thread]:
        """The threads that were started, the run thread first."""
        return [*self.line.threads, *(each.thread for each in self._threads)]

    @property
    def headroom(self) -> float:
        """The free part of the connection budget of its host, 0 to 1."""
        return self.line.headroom

    @property
    def error(self) -> AuthenticationError | ConnectFailed | None:
        """The terminal error, if there is one."""
        return self.line.error

    @property
    def state(self) -> State:
        """Where the connection is."""
        return self.line.state

    @property
    def trouble(self) -> str | None:
        """Why there is no link, in words."""
        return self.line.trouble

    def unsettled(self) -> tuple[list[str], list[Handler]]:
        """Return the wanted topics that are not confirmed, and the handlers that were refused."""
        missing, refused = self.line.unsettled()
        with self._lock:
            registry = self.desk.registry
            users = registry.unsettled()
            mine = [each for each in registry.handlers if each.ret_msg is not None]
        named = {handler.topic.wire for handler in mine}
        return (
            [*users, *(each for each in missing if self._counts(each, registry.channels))],
            [*mine, *(each for each in refused if self._counts(each.topic.wire, named))],
        )

    def _counts(self, wire: str, named: Container[str]) -> bool:
        """Return whether a topic of the connection is one that its user waits for."""
        return wire not in named and (self.desk.kept or not self.desk.has(wire))

    def health(self) -> dict[str, ConnectionHealth]:
        """Return how the connection is doing, with the user's topics."""
        now = self._clock.now().mono
        with self._lock:
            mine = topics_health(self.desk.registry, now)
            gaps = self.desk.gaps.opened
        return {
            name: replace(
                figures,
                gaps=max(gaps, figures.gaps),
                topics=[
                    *mine,
                    *(each for each in figures.topics if not self.desk.has(each.topic)),
                ],
            )
            for name, figures in self.line.health().items()
        }

    # From the connection, in whatever thread something happens to it

    def hear(self, events: Sequence[Event]) -> None:
        """Take events of the connection."""
        with self._lock:
            self.desk.heard(events, self._clock.now())
            self._post()
        self._wake()

    def _post(self) -> None:
        """Queue what has happened for the listeners; called with the lock held."""
        events = self.desk.take_events()
        self._notify(events)
        self._unlogged.extend(events)

    def _tell(self) -> None:
        """Say what has changed; called without locks, as a log handler may be user code."""
        while self._unlogged:
            with contextlib.suppress(IndexError):  # another thread was first
                log_event(_log, self._unlogged.popleft())
        self._changed()

    def _wake(self) -> None:
        for thread in self._threads:
            thread.wake()

    # From the connection, in its run thread

    def _take(self, message: Message) -> None:
        with self._lock:
            self.desk.take(message.topic, message, self._clock.now())
            self._post()
            waits, wanted = self.desk.state.deadline is not None, self.desk.state.wanted
        if waits:
            self._account_thread.wake()
        if wanted:
            self._reconciler.thread.wake()
        self._turns.drain()
        self._tell()

    # For the thread of the account

    def tick(self) -> float | None:
        """Do what is due; return seconds until the next time, ``None`` for the end."""
        with self._lock:
            if self._ended:
                return None
            now = self._clock.now()
            self.desk.tick(now)
            self._post()
            deadline, wanted = self.desk.state.deadline, self.desk.state.wanted
        if wanted:
            self._reconciler.thread.wake()
        self._turns.drain()
        self.line.look(self._known)
        self._tell()
        return IDLE_LOOK if deadline is None else max(0.0, deadline - self._clock.now().mono)

    def _known(self, _: Instant) -> Iterable[str]:
        with self._lock:
            return self.desk.known

    # For the deliverer

    def _next(self) -> Ready | None:
        return self.desk.ready.popleft() if self.desk.ready else None

    def _waiting(self) -> int:
        return len(self.desk.ready)

    def _deliver(self, ready: Ready) -> None:
        if isinstance(ready, Handout):
            self._delivery.hand_out(ready.channel, ready.message, ready.gap)
        elif followers := self._followers:
            topic = followers[0].topic.name
            told = Message(topic, None, None, ready, int(self._clock.now().wall * 1e9), b"")
            self._delivery.tell(followers, told)

    def owed_gap(self, channel: Channel) -> Gap | None:
        """Return nothing: each message brings its gap along."""

    def missed(self, channel: Channel | None, reason: str) -> None:
        """Do nothing: the connection has said so already."""

    def _running(self) -> list[Running]:
        with self._lock:
            handlers = [*self.desk.registry.handlers, *self._followers]
        own = running(self._delivery, handlers)
        return [*own, *(each for each in self.line.running() if each[0].callback != self._take)]


class _OfData:
    """Calls a function with the data of a message.

    Args:
        callback: the function.
    """

    def __init__(self, callback: Callable[[Any], object]) -> None:
        self._callback = callback
        self.__qualname__ = callback_name(callback)

    def __call__(self, message: Message) -> None:
        self._callback(message.data)
