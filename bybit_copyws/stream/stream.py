"""One connection as the client sees it: the pure session, a transport, and two threads.

Locks, always taken in this order:

* ``_send_lock`` keeps the order of what is sent: from the session's outbox to the transport.
* ``_lock`` guards the session and its registry; held for pure calls only.

Neither is held while user code runs or a socket is read; events are queued under the first.
"""

from __future__ import annotations

import itertools
import random
import ssl
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from bybit_copyws.errors import (
    AuthenticationError,
    ConnectFailed,
    ConnectionLost,
    StreamClosed,
    StreamError,
)
from bybit_copyws.events import (
    BadMessage,
    Event,
    State,
)
from bybit_copyws.health import ConnectionHealth
from bybit_copyws.messages import Gap, Message, MessageCallback
from bybit_copyws.policy.budget import ConnectionBudget
from bybit_copyws.policy.channel import Channel, Courier, Handler
from bybit_copyws.policy.instant import Instant
from bybit_copyws.policy.liveness import LinkStatus
from bybit_copyws.policy.session import Session, SessionSettings
from bybit_copyws.stream.clock import Clock
from bybit_copyws.stream.dispatcher import Dispatcher
from bybit_copyws.stream.endpoint import Endpoint
from bybit_copyws.stream.figures import running, topics_health
from bybit_copyws.stream.heartbeat import Heartbeat
from bybit_copyws.stream.log import THREADS, GuardedLogger, log_event
from bybit_copyws.stream.proxy import ProxyChoice, find_proxy
from bybit_copyws.stream.reports import Reports, Running, SlowWatch
from bybit_copyws.stream.safety import check_safe_for_secrets
from bybit_copyws.stream.supervisor import Supervisor
from bybit_copyws.stream.transport import Transport
from bybit_copyws.wire.envelope import MAX_EXCERPT, Envelope
from bybit_copyws.wire.frames import Close, Item
from bybit_copyws.wire.http_head import printable
from bybit_copyws.wire.profiles import Profile
from bybit_copyws.wire.replies import Ack, Pong
from bybit_copyws.wire.signing import Credentials
from bybit_copyws.wire.topics import Scope, Topic

_log = GuardedLogger(__name__)
_T = TypeVar("_T")

MAX_BAD_MESSAGES = 100
"""A link that brought so many messages nobody can read is given up."""
MAX_RET_MSG = 300
"""Characters of the exchange's text that are kept."""
_CLOSE_WAIT = 0.5  # seconds for the server to answer our close frame
_LOOK = 0.5  # seconds between two looks of the heartbeat while a link is open
_BLOCKED_LOOK = 0.02  # the same while something cannot be sent
_IDLE_LOOK = 60.0
_LAG = 2.0  # seconds that a pong may take before a warning says so
_HEARING = 0.005  # seconds between two looks for a pong
_numbers = itertools.count(1)


@dataclass(frozen=True)
class StreamSettings:
    """How to reach the exchange and how long to wait for it."""

    session: SessionSettings
    open_timeout: float
    max_message_size: int
    context: ssl.SSLContext | None
    proxy: ProxyChoice
    budget: ConnectionBudget

    def with_patience(self, factor: float) -> StreamSettings:
        """Return the same with so many times the patience for silent topics."""
        limits = self.session.stale_after
        longer = {name: limit and limit * factor for name, limit in limits.items()}
        return replace(self, session=replace(self.session, stale_after=longer))


class Stream:
    """The public or the private connection of a client.

    Args:
        scope: which of the two.
        profile: the API generation.
        url: where to.
        settings: times and limits.
        credentials: the key pair, for the private one.
        name: what events, logs and threads call it, if not after its scope.
        notify: takes lifecycle events, in their order; must not block.
        changed: called without locks after anything that somebody may wait for.
        reports: is told of callbacks.
        measure_clock: returns what the exchange's clock says, in milliseconds since 1970, or
            ``None``; it may block, and is called in the run thread before a login is tried again.
        slow: what its heartbeat looks at, if not at its own callbacks.
        doubted: returns why private data cannot be trusted although this connection misses
            nothing, empty if it can; called with its locks held.
        quiet: whether somebody else logs what its events mean.
        beating: called without locks at each beat of a link, with the monotonic time.
    """

    def __init__(
        self,
        scope: Scope,
        profile: Profile,
        url: str,
        settings: StreamSettings,
        credentials: Credentials | None,
        *,
        name: str | None = None,
        notify: Callable[[Sequence[Event]], None],
        changed: Callable[[], None],
        reports: Reports,
        measure_clock: Callable[[], int | None],
        slow: SlowWatch | None = None,
        doubted: Callable[[], str] = lambda: "",
        quiet: bool = False,
        beating: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.scope = scope
        self.name = name or scope.value
        self._place = f"{scope.value}-{next(_numbers)}"  # in the budget's queue
        self._endpoint = Endpoint.parse(url)
        self._proxy = find_proxy(settings.proxy, self._endpoint)
        if credentials is not None:
            check_safe_for_secrets(self._endpoint, settings.context, self._proxy)
        self._settings = settings
        self._notify = notify
        self._quiet = quiet
        self._beating = beating
        self._changed = changed
        self._reports = reports
        self._measure_clock = measure_clock
        self._redact = credentials.redact if credentials is not None else str
        self._clock = Clock()
        self._session = Session(
            scope,
            profile,
            settings.session,
            credentials,
            random.Random(),  # noqa: S311 (jitter)
            self.name,
            doubted,
        )
        self._dispatcher = Dispatcher(self._session.registry, profile.topics, self)
        self._lock = threading.Lock()
        self._send_lock = threading.Lock()
        self._transport: Transport | None = None
        self._supervisor: Supervisor | None = None
        self._heartbeat: Heartbeat | None = None
        self._closing_since: float | None = None
        self._successor: Callable[[bool], bool] | None = None
        self._retired = False
        self._predecessor: Stream | None = None  # whose thread still delivers for this one
        self._slow = slow or SlowWatch(self.running, reports)
        self._bad_messages = 0
        self._warned = False
        self._lags = False

    # For the client, from any thread

    def subscribe(
        self,
        topics: Sequence[Topic],
        callback: MessageCallback,
        courier: Courier | None = None,
    ) -> list[Handler]:
        """Register a callback for topics; the request leaves as soon as the link allows."""

        def change(now: Instant) -> list[Handler]:
            if self._session.error is not None:
                raise self._session.error.again()
            if self._session.state in (State.CLOSING, State.CLOSED):
                raise StreamClosed("the client was closed; make a new one")
            handlers = self._session.registry.add(topics, callback, courier)
            self._session.replan(now)
            return handlers

        handlers = self._apply(change)
        self._wake()
        return handlers

    def unsubscribe(self, handlers: Sequence[Handler]) -> None:
        """Take handlers out; the wire unsubscribe leaves if they were the last of a topic."""

        def change(now: Instant) -> None:
            self._session.registry.remove(handlers)
            self._session.replan(now)

        self._apply(change)

    def refresh(self, topic: Topic) -> None:
        """Have a topic given up and subscribed anew, for the snapshot with which it begins."""

        def change(now: Instant) -> None:
            self._session.registry.refresh(topic.wire)
            self._session.replan(now)

        self._apply(change)

    def look(self, report: Callable[[Instant], Iterable[str]]) -> None:
        """Look whether private data can be trusted, after something outside has changed.

        Args:
            report: called first, with the locks held: all events so far have been handed on.
                Returns topics as on the wire of which nothing is missing any more.
        """

        def change(now: Instant) -> None:
            self._session.repaired(report(now), now)

        self._apply(change)

    def running(self) -> list[Running]:
        """Return which callbacks run now."""
        with self._lock:
            handlers = self._session.registry.handlers
        return running(self._dispatcher, handlers)

    def find(self, topic: Topic, callback: MessageCallback | None) -> list[Handler]:
        """Return the handlers of a topic, maybe of one callback only."""
        with self._lock:
            return self._session.registry.find(topic, callback)

    def start(self) -> None:
        """Start the threads if a topic needs the connection; does nothing the second time."""
        with self._lock:
            session = self._session
            if self._supervisor or session.state is not State.IDLE or not session.registry.wanted:
                return
            name = f"{THREADS}{self.name}"
            heartbeat = Heartbeat(f"{name}:heartbeat", self)
            supervisor = Supervisor(f"{name}:run", self)
            heartbeat.start()
            try:
                supervisor.start()
            except RuntimeError:  # the system gives no more threads
                heartbeat.abandon()
                raise
            self._heartbeat, self._supervisor = heartbeat, supervisor
            session.started = True

    def mute(self) -> None:
        """Let no further callback start. Takes no lock."""
        self._dispatcher.stopped = True

    def begin_close(self) -> None:
        """Let no further callback start, and ask the server to close. Does not wait."""
        self.mute()
        self._closing_since = self._clock.now().mono
        self._apply(self._session.close)
        transport = self._transport
        if transport is not None:
            transport.close()
        if self._supervisor is None:
            self._apply(self._session.closed)
        self._wake()

    def end(self) -> None:
        """End the link at once."""
        if self._transport is not None:
            self._transport.end()

    @property
    def threads(self) -> list[threading.Thread]:
        """The threads that were started, the run thread first."""
        owners = (self._supervisor, self._heartbeat)
        own = [owner.thread for owner in owners if owner is not None]
        return own if self._predecessor is None else [*own, *self._predecessor.threads]

    @property
    def thread_ids(self) -> set[int | None]:
        """What :func:`threading.get_ident` gives in its threads."""
        return {thread.ident for thread in self.threads}

    @property
    def headroom(self) -> float:
        """The free part of the connection budget of its host, 0 to 1."""
        return self._settings.budget.headroom(self._endpoint.name, self._clock.now().mono)

    @property
    def error(self) -> AuthenticationError | ConnectFailed | None:
        """The terminal error, if there is one."""
        return self._session.error

    @property
    def state(self) -> State:
        """Where the connection is."""
        return self._session.state

    @property
    def links(self) -> int:
        """How many links were opened so far."""
        return self._session.reconnects + 1

    @property
    def trouble(self) -> str | None:
        """Why there is no link, in words."""
        if self._session.trouble is None and self._session.error is not None:
            return str(self._session.error)
        return self._session.trouble

    def unsettled(self) -> tuple[list[str], list[Handler]]:
        """Return the wanted topics that are not confirmed, and the handlers that were refused."""
        with self._lock:
            registry = self._session.registry
            refused = [each for each in registry.handlers if each.ret_msg is not None]
            return registry.unsettled(), refused

    def health(self) -> dict[str, ConnectionHealth]:
        """Return how the connection is doing, by its name."""
        now = self._clock.now()
        with self._lock:
            session, last = self._session, self._dispatcher.last_message
            waits = session.state is State.BACKOFF
            figures = ConnectionHealth(
                state=session.state.value,
                url=self._endpoint.url,
                reconnects=max(session.reconnects, 0),
                last_pong=session.last_pong,
                pong_delay=session.pong_delay,
                last_message_age=None if last is None else now.mono - last,
                messages=self._dispatcher.messages,
                bad_messages=self._bad_messages,
                gaps=session.gaps.opened,
                trouble=self.trouble,
                retry_in=max(0.0, session.retry_at - now.mono) if waits else None,
                clock_skew=session.login.known_skew(now) if session.login else None,
                covered_twice=None,
                topics=topics_health(session.registry, now.mono),
            )
        return {self.name: figures}

    # For the supervisor, in the run thread

    def next_attempt(self) -> float | None:
        """Return seconds until the next attempt (0: now), or ``None`` if there is none."""
        if self._retired:
            return None
        due = self._apply(self._due)
        if due is None or due > 0:
            return due
        # Without a lock: a budget that several processes share may have to wait for its file.
        wait = self._settings.budget.take(self._endpoint.name, self._clock.now().mono, self._place)
        due = self._apply(lambda now: self._begin(now, wait))
        self._wake_heartbeat()  # it counts for how long private data cannot be trusted
        return due

    def _due(self, now: Instant) -> float | None:
        """Return seconds until the connection wants to be opened, or ``None`` for the end."""
        session = self._session
        session.closed(now)
        if session.state is State.CLOSED:
            return None
        if not session.registry.wanted:
            if session.state is State.BACKOFF:
                session.rest(now)
            return _IDLE_LOOK
        if session.state is State.BACKOFF and now.mono < session.retry_at:
            return session.retry_at - now.mono
        return 0.0

    def _begin(self, now: Instant, wait: float) -> float | None:
        """Begin an attempt if the budget allows it, and nobody has changed the plan meanwhile."""
        due = self._due(now)
        if due is None or due > 0:
            return due
        if wait > 0:
            self._session.budget_spent(now, self._endpoint.name, wait)
            return wait
        self._session.connecting(now)
        return 0.0

    def run_link(self) -> None:
        """Connect and read until the link has ended."""
        settings = self._settings
        self._bad_messages = 0
        transport = Transport(
            self._endpoint,
            open_timeout=settings.open_timeout,
            max_message_size=settings.max_message_size,
            context=settings.context,
            proxy=self._proxy,
        )
        self._transport = transport
        if self._session.state is not State.CONNECTING:
            transport.end()  # close() came between; it could not know this transport
        self._wake_heartbeat()
        successor = None
        try:
            error = transport.run(self._opened, self._dispatcher.items)
        finally:
            with self._lock:
                self._transport = None
                successor, self._successor = self._successor, None
        if successor is not None and successor(transport.drained):
            self._retired = True
        else:
            self._ended(error)
        self._wake_heartbeat()

    def recover(self, bug: Exception) -> None:
        """Note that something failed in an unforeseen way: the link counts as lost."""
        _log.error("! a connection failed in an unforeseen way: report this", exc_info=bug)
        if self._session.state in (State.CONNECTING, State.AUTHENTICATING, State.ACTIVE):
            self._ended(ConnectionLost("an error in this client: see the log"))

    def _opened(self) -> None:
        self._apply(self._session.opened)
        self._wake_heartbeat()

    def _ended(self, error: StreamError) -> None:
        headroom = self.headroom  # asked without a lock, see next_attempt()

        def change(now: Instant) -> None:
            ending = self._session.ending or error
            self._session.ended(now, ending, headroom, self._dispatcher.last_message)

        self._apply(change)

    # For a hand-over, see stream.rotation

    def wanted(self) -> list[Topic]:
        """Return the topics that are wanted and not refused, each once."""
        with self._lock:
            return self._session.registry.topics()

    def detour(self, detour: Callable[[list[Item]], list[Item]] | None) -> None:
        """Let what comes go through something else first, or not any more."""
        self._dispatcher.detour = detour

    def retire(self, successor: Callable[[bool], bool]) -> bool:
        """Close the link in good order, for another connection to take over.

        Args:
            successor: called in the run thread when the link has ended, with whether it brought
                all that was sent; returns whether it took over. If not, this one goes on.

        Returns:
            Whether there was a link.
        """
        with self._lock:
            transport = self._transport
            if self._session.state is not State.ACTIVE or transport is None:
                return False
            self._successor = successor
        transport.close()
        return True

    def withdraw(self) -> bool:
        """Take :meth:`retire` back; return whether that was in time."""
        with self._lock:
            successor, self._successor = self._successor, None
        return successor is not None

    def ask_pong(self) -> int:
        """Have a ping sent at once; return which pong of this link will be the answer."""
        expected = self._apply(self._session.check)
        self._wake_heartbeat()
        return expected

    def has_pong(self, expected: int) -> bool:
        """Return whether so many pongs have come on this link."""
        return self._session.pongs >= expected

    def hear_all(self, timeout: float) -> bool:
        """Wait until all that the exchange has sent so far is here; return whether it is.

        A pong comes after everything that was sent before the ping arrived.
        """
        expected = self.ask_pong()
        deadline = self._clock.now().mono + timeout
        pause = threading.Event()
        while not self.has_pong(expected):
            if self._clock.now().mono > deadline or self._session.state is not State.ACTIVE:
                return False
            pause.wait(_HEARING)
        return True

    def take_over(self, old: Stream) -> bool:
        """Go on for a connection whose link has ended; return whether this one is able to."""

        def change(now: Instant) -> bool:
            session = self._session
            if session.state is not State.ACTIVE or session.ending is not None:
                return False
            with old._lock:
                session.take_over(old._session, now)
            self._dispatcher.registry = session.registry
            self._dispatcher.messages += old._dispatcher.messages
            self._predecessor = old
            return True

        return self._apply(change)

    def last_ts(self, wire: str) -> int | None:
        """Return the exchange's time of the last message of a topic that was delivered."""
        channel = self._session.registry.channels.get(wire)
        return None if channel is None or channel.last is None else channel.last[1]

    def settle_in(self) -> None:
        """Note that all of the old connection's messages are delivered."""
        self._predecessor = None

    def deliver(self, envelope: Envelope, received_ns: int, raw: bytes) -> None:
        """Deliver a message that was held back, if its topic is still wanted."""
        channel = self._session.registry.channels.get(envelope.topic)
        if channel is not None:
            self._dispatcher.deliver(envelope, channel, received_ns, raw)

    # For the dispatcher, in the run thread

    def replied(self, reply: Ack | Pong) -> None:
        """Take a reply to an operation."""
        if isinstance(reply, Ack) and reply.ret_msg:
            reply = replace(reply, ret_msg=self._redact(reply.ret_msg)[:MAX_RET_MSG])
        self._apply(lambda now: self._session.received(reply, now))
        if isinstance(reply, Pong):
            self._tell_lag(self._session.pong_delay or 0.0)
        login = self._session.login
        if login is not None and login.wants_clock:
            server_ms = self._measure_clock()
            self._apply(lambda now: self._session.clock_measured(server_ms, now))

    def _tell_lag(self, seconds: float) -> None:
        """Say that reading lags behind: once, until it does not any more."""
        lags = seconds > _LAG
        if lags and not self._lags:
            _log.warning(
                "! %s: a pong took %.1f s, with all that lay unread before it: the callbacks are "
                "slower than messages come (see health()), or the network is",
                self.name,
                seconds,
            )
        self._lags = lags

    def controlled(self, item: Item) -> None:
        """Take a control frame."""
        if isinstance(item, Close):
            item = replace(item, reason=printable(self._redact(item.reason)))
        if self._transport is not None:
            self._transport.control(item)

    def bad_message(self, reason: str, excerpt: bytes, *, counts: bool) -> None:
        """Report a message that cannot be used; too many of them end the link."""
        reason = self._redact(reason)
        excerpt = self._redact(excerpt.decode(errors="backslashreplace")).encode()[:MAX_EXCERPT]
        _log.warning("! %s: bad message left out: %s", self.name, reason)
        now = self._clock.now()
        self._notify(
            [BadMessage(time=now.wall, connection=self.name, reason=reason, excerpt=excerpt)]
        )
        self._bad_messages += counts
        if self._bad_messages >= MAX_BAD_MESSAGES:
            error = ConnectionLost(f"{MAX_BAD_MESSAGES} unreadable messages on one link")
            self._apply(lambda _: self._session.end(error))

    def owed_gap(self, channel: Channel) -> Gap | None:
        """Return the gap that the next message of a topic must carry; it is carried then."""
        return self._apply(lambda now: self._session.gaps.take(channel, now))

    def missed(self, channel: Channel | str | None, reason: str) -> None:
        """Open and close a gap for one topic, or for all that the exchange sends."""

        def change(now: Instant) -> None:
            found = channel
            if isinstance(found, str):
                found = self._session.registry.channels.get(found)
                if found is None:  # not wanted any more
                    return
            self._session.missed(found, reason, now)

        self._apply(change)

    def callback_failed(self, handler: Handler, error: BaseException, message: Message) -> None:
        """Report what a callback raised."""
        self._reports.callback_failed(handler, error, message)

    def interrupted(self, error: BaseException) -> None:
        """Hand a ``KeyboardInterrupt`` or ``SystemExit`` of a callback on."""
        self._reports.interrupted(error)

    # For the heartbeat, in its thread

    def beat(self) -> float | None:
        """Do what is due; return seconds until the next beat, or ``None`` for the end."""
        state = self._session.state
        if state is State.CLOSED or self._retired:
            return None
        transport = self._transport
        if transport is None:
            return _BLOCKED_LOOK if state is State.CLOSING else self._until_blind(_IDLE_LOOK)
        transport.flush()
        if state is State.CLOSING and self._close_overdue():
            transport.end()
            return _LOOK
        now = self._clock.now()
        self._slow.look(now)
        self._beating(now.mono)
        status = transport.status()._replace(last_message=self._dispatcher.last_message)
        deadline = self._apply(lambda now: self._tick(now, status))
        look = _BLOCKED_LOOK if status.blocked_since or state is State.CLOSING else _LOOK
        if deadline is None:
            return look
        return max(0.0, min(look, deadline - self._clock.now().mono))

    def _until_blind(self, look: float) -> float:
        """Return seconds until it is time to say that private data cannot be trusted."""
        deadline = self._apply(lambda _: self._session.blind_deadline())
        if deadline is None:
            return look
        return max(0.0, min(look, deadline - self._clock.now().mono))

    def _tick(self, now: Instant, status: LinkStatus) -> float | None:
        self._session.tick(now, status)
        return self._session.deadline(status)

    def _close_overdue(self) -> bool:
        since = self._closing_since
        return since is None or self._clock.now().mono - since >= _CLOSE_WAIT

    # Inside

    def _apply(self, change: Callable[[Instant], _T]) -> _T:
        """Change the session under its lock, then send and report what came of it."""
        session = self._session
        with self._send_lock:
            with self._lock:
                now = self._clock.now()
                result = change(now)
                session.watch(now)
                texts, events = session.take_outgoing(), session.take_events()
                ending = session.ending
            transport = self._transport
            if transport is not None:
                for text in texts:
                    transport.send(text)
            if events:
                self._notify(events)  # never blocks; here, so that events keep their order
        if ending is not None and transport is not None:
            transport.end()
        for event in () if self._quiet else events:
            log_event(_log, event)
        self._warn_once()
        self._changed()
        return result

    def _warn_once(self) -> None:
        """Say why there is no link: once, until there was one again."""
        trouble = self._session.trouble
        if trouble is None:
            self._warned = False
        elif not self._warned:
            self._warned = True
            _log.warning("! %s: %s", self.name, trouble)

    def _wake(self) -> None:
        if self._supervisor is not None:
            self._supervisor.wake()
        self._wake_heartbeat()

    def _wake_heartbeat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.wake()
