"""The private connection with the account behind it.

The connection is a whole :class:`Stream`, whose only callback for the topics of an account hands
their messages to a pure :class:`AccountDesk`. What passes there is delivered by the run thread, or
by the thread of the account if it is there first: that one brings in what REST told, and lets go
what has waited for it too long. All other private topics are the connection's own.

Locks: ``_lock`` guards the desk; held for pure calls and for queueing events, taken after those of
a stream, never held while user code runs, REST is asked or a stream is called.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any, Protocol

from msgspec.structs import replace

from bybit_copyws.errors import AuthenticationError, BybitCopyWSError, ConnectFailed
from bybit_copyws.events import Event, State, SubscriptionState
from bybit_copyws.health import ConnectionHealth
from bybit_copyws.messages import Gap, Message, MessageCallback
from bybit_copyws.policy.channel import Channel, Courier, Handler
from bybit_copyws.policy.instant import Instant
from bybit_copyws.state.desk import AccountDesk, Handout, Ready
from bybit_copyws.stream.clock import Clock
from bybit_copyws.stream.dispatcher import Deliverer
from bybit_copyws.stream.due import DueThread
from bybit_copyws.stream.figures import running, topics_health
from bybit_copyws.stream.log import THREADS, GuardedLogger, log_event
from bybit_copyws.stream.reports import Reports, Running, SlowWatch, callback_name
from bybit_copyws.stream.stream import Stream
from bybit_copyws.stream.turns import Turns
from bybit_copyws.wire.profiles import Profile
from bybit_copyws.wire.topics import Scope, Topic

_log = GuardedLogger(__name__)
_IDLE_LOOK = 60.0  # seconds between two looks while nothing is planned
_PAUSE = 0.25  # seconds between the beginnings of two reconciliations, at least
_AGAIN = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds after a reconciliation that failed


class MakeStream(Protocol):
    """Makes the connection."""

    def __call__(
        self,
        notify: Callable[[Sequence[Event]], None],
        *,
        changed: Callable[[], None],
        slow: SlowWatch,
        doubted: Callable[[], bool],
        quiet: bool,
    ) -> Stream:
        """Return it, not started."""


class Asking(Protocol):
    """How REST is asked; blocks, and raises a :class:`BybitCopyWSError` if that fails."""

    def exchange_ms(self) -> int:
        """Return the exchange's time."""

    def call(self, name: str, **params: Any) -> Any:
        """Return the ``result`` of a call, as sent."""


class PrivateStream:
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
        self._profile = profile
        self.desk = desk
        self._make = make
        self._rest = rest
        self._reports = reports
        self._notify = notify
        self._changed = changed
        self._clock = Clock()
        self._delivery = Deliverer(self)
        self._lock = threading.Lock()
        self._turns: Turns[Ready] = Turns(
            self._lock,
            self._next,
            lambda: len(desk.ready),
            self._deliver,
            lambda: self._delivery.stopped,
        )
        self._inner: dict[str, Handler] = {}  # of the connection, by wire topic
        self._followers: tuple[Handler, ...] = ()  # of copy trades; replaced as a whole
        self._unlogged: deque[Event] = deque()
        self._ended = False
        self._failures = 0  # reconciliations in a row
        self._not_before = 0.0  # monotonic time of the next one
        name = f"{THREADS}{self.scope.value}"
        self._account_thread = DueThread(f"{name}:account", self.tick)
        self._reconciler = DueThread(f"{name}:reconcile", self.reconcile)
        self._threads: tuple[DueThread, ...] = ()  # those that were started
        self._slow = SlowWatch(self._running, reports)
        self.line = self.make_line(self.hear)

    def make_line(self, notify: Callable[[Sequence[Event]], None]) -> Stream:
        """Return a connection that may take the place of the present one, not started."""
        return self._make(
            notify,
            changed=self._tell,
            slow=self._slow,
            doubted=lambda: self.desk.doubted,
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

        def settle(now: Instant) -> None:
            carried = [
                wire
                for wire, each in self._inner.items()
                if each.state is SubscriptionState.CONFIRMED
            ]
            with self._lock:
                self.desk.settle(carried, now)
                self._post()

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
            threads = (self._account_thread, self._reconciler)
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
        with self._lock:
            self._ended = True
            self.desk.close(self._clock.now())
            self._turns.wake()
        self.line.begin_close()
        self._wake()

    def end(self) -> None:
        """End the link at once."""
        self.line.end()

    @property
    def threads(self) -> list[threading.Thread]:
        """The threads that were started, the run thread first."""
        return [*self.line.threads, *(each.thread for each in self._threads)]

    @property
    def thread_ids(self) -> set[int | None]:
        """What :func:`threading.get_ident` gives in its threads."""
        return {thread.ident for thread in self.threads}

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
            waits = self.desk.state.deadline is not None
        if waits:
            self._account_thread.wake()
        self._turns.drain()
        self._tell()

    # For the threads of the account

    def tick(self) -> float | None:
        """Do what is due for the account; return seconds until the next time, ``None`` for the end.

        Called in the thread of the account.
        """
        with self._lock:
            if self._ended:
                return None
            now = self._clock.now()
            self.desk.tick(now)
            self._post()
            deadline = self.desk.state.deadline
        self._turns.drain()
        self.line.look()
        self._tell()
        return _IDLE_LOOK if deadline is None else max(0.0, deadline - self._clock.now().mono)

    def reconcile(self) -> float | None:
        """Ask REST if that is wanted; return seconds until the next time, ``None`` for the end.

        Called in the thread that asks.
        """
        if self._ended:
            return None
        state, now = self.desk.state, self._clock.now().mono
        if not state.wanted:
            return _IDLE_LOOK
        if now < self._not_before:  # woken by what changes nothing about that
            return self._not_before - now
        self._not_before = now + _PAUSE
        try:
            exchange_ms = self._rest.exchange_ms()
            if not self.desk.begin(exchange_ms, self._clock.now()):
                return _IDLE_LOOK
            while (question := state.question()) is not None:
                state.answer(question, self._rest.call(question.call, **question.params))
        except BybitCopyWSError as error:
            return self._failed(error)
        if self._failures:
            _log.info("%s: the account is reconciled again", self.scope.value)
        self._failures = 0
        self._account_thread.wake()
        return _IDLE_LOOK

    def _failed(self, error: BybitCopyWSError) -> float | None:
        if self._ended:
            return None
        self.desk.state.fail(str(error))
        wait = _AGAIN[min(self._failures, len(_AGAIN) - 1)]
        self._failures += 1
        self._not_before = self._clock.now().mono + wait
        if self._failures == 1:
            _log.warning(
                "! %s: the account could not be reconciled, next attempt in %.0f s: %s",
                self.scope.value,
                wait,
                error,
            )
        self._tell()
        return wait

    # For the deliverer

    def _next(self) -> Ready | None:
        return self.desk.ready.popleft() if self.desk.ready else None

    def _deliver(self, ready: Ready) -> None:
        if isinstance(ready, Handout):
            self._delivery.hand_out(ready.channel, ready.message, ready.gap)
        elif self._followers:
            topic = self._followers[0].topic.name
            told = Message(topic, None, None, ready, int(self._clock.now().wall * 1e9), b"")
            self._delivery.tell(self._followers, told)

    def owed_gap(self, channel: Channel) -> Gap | None:
        """Return nothing: each message brings its gap along."""

    def missed(self, channel: Channel | None, reason: str) -> None:
        """Do nothing: the connection has said so already."""

    def callback_failed(self, handler: Handler, error: BaseException, message: Message) -> None:
        """Report what a callback raised."""
        self._reports.callback_failed(handler, error, message)

    def interrupted(self, error: BaseException) -> None:
        """Hand a ``KeyboardInterrupt`` or ``SystemExit`` of a callback on."""
        self._reports.interrupted(error)

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
