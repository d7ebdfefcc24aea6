"""One connection's rules over all its links: login, subscriptions, heartbeat, retries.

Pure: replies and :class:`Instant` go in; text to send, events and deadlines come out. No thread,
socket, clock or random source of its own, so a thousand reconnects are a loop in a test. The
caller (``stream.Stream``) holds a lock around each call, sends what :meth:`Session.take_outgoing`
gives, and ends the link when :attr:`Session.ending` is set.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bybit_copyws.errors import (
    AuthenticationError,
    ConnectFailed,
    ConnectionLost,
    HeartbeatTimeout,
    StreamError,
)
from bybit_copyws.events import (
    Blind,
    BudgetExhausted,
    ClockSkew,
    Event,
    Sighted,
    State,
    StateChanged,
    SubscriptionConfirmed,
    SubscriptionRejected,
    TopicStale,
    UnsubscribeConfirmed,
    UnsubscribeRejected,
)
from bybit_copyws.policy.backoff import Backoff
from bybit_copyws.policy.channel import Channel
from bybit_copyws.policy.gaps import Gaps
from bybit_copyws.policy.instant import Instant
from bybit_copyws.policy.liveness import GRACE, LinkStatus, Pings, Suspicion
from bybit_copyws.policy.login import Login
from bybit_copyws.policy.machine import Signal, next_state
from bybit_copyws.policy.registry import Plan, Registry
from bybit_copyws.policy.requests import PendingRequests, Request
from bybit_copyws.policy.staleness import DEFAULT_LIMITS, Cure, Stale, find_stale
from bybit_copyws.policy.trust import Trust
from bybit_copyws.wire.operations import (
    AUTH,
    PING_TEXT,
    SUBSCRIBE,
    UNSUBSCRIBE,
    topic_request,
)
from bybit_copyws.wire.profiles import Profile
from bybit_copyws.wire.replies import (
    Ack,
    Pong,
    explain,
    is_already_subscribed,
    lacks_login,
    named_topic,
)
from bybit_copyws.wire.signing import Credentials
from bybit_copyws.wire.topics import Scope

MAX_RETRY_AFTER = 3600.0
"""Seconds for which a server's ``Retry-After`` is obeyed at most; a ban lasts half an hour."""

LONGEST_MEASUREMENT = 2.0
"""Seconds that a pong may take to tell the exchange's clock."""
LEAP = 5.0
"""Seconds between two looks, or by which the clocks part, that tell of a suspended process."""

_LIVE = (State.AUTHENTICATING, State.ACTIVE)
_SLOW_DOWN = (403, 429)  # banned or too fast: to try again soon makes it worse


@dataclass(frozen=True)
class SessionSettings:
    """The times of a connection, in seconds; see ``CopyTradingClient`` for their meaning."""

    ping_interval: float = 20.0
    pong_timeout: float = 10.0
    reply_timeout: float = 10.0
    frame_timeout: float = 10.0
    send_timeout: float = 10.0
    auth_expires: float = 10.0
    blind_after: float = 10.0
    data_timeout: float | None = None
    stale_after: Mapping[str, float | None] = field(default_factory=lambda: DEFAULT_LIMITS)
    backoff: Backoff = field(default_factory=Backoff)


class Session:
    """What one connection has to do next.

    Args:
        scope: public or private; a private one logs in before it subscribes.
        profile: the API generation.
        settings: its times.
        credentials: the key pair; needed for a private one.
        rng: source of the jitter.
        name: what events call the connection, if not after its scope.
        doubted: returns why private data cannot be trusted although nothing is missing here;
            empty if it can.

    Attributes:
        state: where the connection is.
        registry: its topics.
        gaps: what they may have missed.
        ending: why the link must be ended now, or ``None``.
        error: the terminal error, or ``None``.
        retry_at: monotonic time of the next attempt, in ``BACKOFF``.
        reconnects: how often a link was opened after the first.
        last_pong: wall-clock time of the last pong, or ``None``.
        pong_delay: seconds that it took, or ``None``.
        pongs: how many came on the present link.
        trouble: why there is no link, in words, or ``None``.
        started: whether anybody works for the connection.
    """

    def __init__(
        self,
        scope: Scope,
        profile: Profile,
        settings: SessionSettings,
        credentials: Credentials | None,
        rng: random.Random,
        name: str | None = None,
        doubted: Callable[[], str] = lambda: "",
    ) -> None:
        self.state = State.IDLE
        self.registry = Registry(profile.max_args_chars, settings.stale_after)
        self.gaps = Gaps(self._emit)
        self.ending: StreamError | None = None
        self.error: AuthenticationError | ConnectFailed | None = None
        self.retry_at = 0.0
        self.reconnects = -1
        self.last_pong: float | None = None
        self.pong_delay: float | None = None
        self.pongs = 0
        self.started = False
        self.trouble: str | None = None
        self._scope = scope
        self._name = name or scope.value
        self._profile = profile
        self._dialect = profile.dialect(scope)
        self._settings = settings
        private = scope is Scope.PRIVATE
        self.login = Login(credentials, settings.auth_expires) if private and credentials else None
        self._doubted = doubted
        self._trust = Trust(settings.blind_after) if private else None
        self._rng = rng
        self._pings = Pings(settings.ping_interval, settings.pong_timeout)
        self._suspicion = Suspicion()
        self._pending = PendingRequests()
        self._suspects: deque[tuple[str, tuple[str, ...]]] = deque()  # of refused frames
        self._replies_are_tied = False
        self._outgoing: list[str] = []
        self._events: list[Event] = []
        self._requests_sent = 0
        self._failures = 0  # links lost in a row without one that was good
        self._refusals = 0  # attempts in a row after which another would hardly fare better
        self._opened_at = 0.0
        self._heard_at = 0.0  # the last reply, or the opening
        self._active_since: float | None = None
        self._login_missed: set[str] = set()  # topics refused for want of a login, not yet accepted
        self._looked: Instant | None = None
        self._budget_told = False

    # The life of a link

    def connecting(self, now: Instant) -> None:
        """Note that an attempt to open a link begins."""
        self.ending = None
        self._budget_told = False
        self._move(Signal.CONNECT, now, "a topic needs it" if self.reconnects < 0 else "retry")

    def opened(self, now: Instant) -> None:
        """Note that the WebSocket handshake is done: log in, or subscribe at once.

        Does nothing if :meth:`close` came while the link was being opened.
        """
        if self.state is State.CLOSING:
            return
        self.reconnects += 1
        self._opened_at = self._heard_at = now.mono
        self._looked = now
        self.pongs = 0
        self._pings.start(now.mono)
        if self.login is None:
            self._ready(now, "link open")
        else:
            self._move(Signal.LOGIN, now, "link open")
            self._log_in(self.login, now)

    def ended(
        self, now: Instant, error: StreamError, headroom: float, last_message: float | None
    ) -> None:
        """Note that the link is gone (or could not be opened).

        Args:
            now: the time.
            error: why.
            headroom: the free part of the host's connection budget, 0 to 1.
            last_message: monotonic time of the last message of a topic on any link, or ``None``.
        """
        backoff = self._settings.backoff
        since = self._active_since
        good = since is not None and now.mono - since >= backoff.good_after
        self._failures = 0 if good else self._failures + 1
        self._active_since = None
        self._forget_link()
        if self.state is State.CLOSING:
            self.registry.close()
            self._move(Signal.END, now, str(error))
            return
        heard_at = max(self._heard_at, last_message or 0.0)
        self.gaps.open(self.registry.promised(self._opened_at), str(error), heard_at, now)
        # Who says when to come back does not refuse for ever.
        lasting = isinstance(error, ConnectFailed) and error.lasting and error.retry_after is None
        self._refusals = self._refusals + 1 if lasting else 0
        if isinstance(error, ConnectFailed) and self._is_hopeless():
            self.error = error
            self.registry.close()
            self._move(Signal.CLOSE, now, f"{error}; given up after {self._refusals} attempts")
            self._move(Signal.END, now, "given up")
            return
        delay = backoff.delay(self._failures, headroom, self._rng)
        if isinstance(error, ConnectFailed):
            if lasting or error.status in _SLOW_DOWN:
                delay = max(delay, backoff.refused)
            delay = max(delay, min(error.retry_after or 0.0, MAX_RETRY_AFTER))
        self.retry_at = now.mono + delay
        self.trouble = f"{error}; next attempt in {delay:.1f} s"
        self.registry.reset()
        self._move(Signal.LOST, now, self.trouble)

    def _is_hopeless(self) -> bool:
        """Return whether this is a wrong address or setting: it never worked, and never will.

        A connection that was open once is not given up: what it met now may pass.
        """
        give_up_after = self._settings.backoff.give_up_after
        return self.reconnects < 0 and 0 < give_up_after <= self._refusals

    def budget_spent(self, now: Instant, host: str, wait: float) -> None:
        """Note that the next attempt has to wait for the host's budget; told once."""
        if not self._budget_told:
            self._budget_told = True
            self.retry_at = now.mono + wait
            self.trouble = (
                f"the connection budget of {host} is spent; next attempt in {wait:.0f} s. Close "
                "connections that are not needed, or wait"
            )
            self._emit(BudgetExhausted, now, host=host, until=now.wall + wait)

    def rest(self, now: Instant) -> None:
        """Stay without a link for as long as no topic needs one."""
        self._budget_told = False
        self._move(Signal.REST, now, "no topic needs it")

    def close(self, now: Instant) -> None:
        """Begin to close for good."""
        if self.state not in (State.CLOSING, State.CLOSED):
            self._outgoing.clear()
            self._move(Signal.CLOSE, now, "closed by the user")

    def closed(self, now: Instant) -> None:
        """Note that there is no link and will be none."""
        if self.state is State.CLOSING:
            self._forget_link()
            self.registry.close()
            self._move(Signal.END, now, str(self.error or "closed by the user"))

    def end(self, error: StreamError) -> None:
        """Demand the end of the link; the first reason stays."""
        if self.ending is None:
            self.ending = error

    def check(self, now: Instant) -> int:
        """Have a ping sent at once; return which pong will be its answer."""
        self._pings.check(now.mono)
        return self._pings.sent + 1

    def take_over(self, old: Session, now: Instant) -> None:
        """Go on for a connection that has ended, with its topics, callbacks and counts.

        What this one has subscribed stays; what was changed meanwhile is asked for.
        """
        mine, self.registry = self.registry, old.registry
        given_up = self.registry.hold_as(mine)
        if given_up:
            self._emit(UnsubscribeConfirmed, now, topics=tuple(given_up))
        self._trust = old._trust
        self.gaps.opened += old.gaps.opened
        self.reconnects = old.reconnects + 1
        self.gaps.promise(self.registry.active(), now)
        self.replan(now)

    # What comes in

    def received(self, reply: Ack | Pong, now: Instant) -> None:
        """Take a reply of the exchange; one that comes after the end began changes nothing."""
        self._heard_at = now.mono
        if isinstance(reply, Pong):
            self.pongs += 1
            self._take_time(reply, now)
            if self._pings.unanswered_since is not None:
                self.pong_delay = now.mono - self._pings.unanswered_since
            self._pings.answered()
            self.last_pong = now.wall
            return
        if self.state not in _LIVE:
            return
        request = self._pending.match(reply)
        if request is None:
            return  # a second answer, or one to nothing of ours
        self._replies_are_tied = bool(reply.req_id) or reply.args is not None
        if request.op == AUTH:
            self._login_answered(reply, now)
        elif reply.success:
            self._accepted(request, reply, now)
        else:
            self._refused(request, reply.ret_msg, now)
        self.replan(now)

    def _take_time(self, pong: Pong, now: Instant) -> None:
        """Learn the exchange's clock from a pong that tells it."""
        asked = self._pings.last_sent
        # Only the answer to the last ping, else it is not known when that was asked; and not one
        # that took long, such as over a suspend: it would tell nothing.
        its_own = self.pongs == self._pings.sent and now.mono - asked <= LONGEST_MEASUREMENT
        if self.login is not None and pong.time_ms is not None and its_own:
            self.login.clock.measure(asked, now.mono, pong.time_ms)
            self._tell_skew(self.login, now)

    def missed(self, channel: Channel | None, reason: str, now: Instant) -> None:
        """Note that something was lost just now: of one topic, or (``None``) of any."""
        if channel is not None:
            # Others may have been heard since the last message of this one, and prove nothing.
            self.gaps.passing([channel], reason, channel.alive_at or self._heard_at, now)
            return
        promised = self.registry.promised(self._opened_at)
        heard_at = max((each.alive_at or 0.0 for each in promised), default=0.0)
        self.gaps.passing(promised, reason, max(self._heard_at, heard_at), now)

    def repaired(self, topics: Iterable[str], now: Instant) -> None:
        """Note that all that was lost of topics has been fetched from elsewhere."""
        channels = self.registry.channels
        found = [channels[topic] for topic in topics if topic in channels]
        for channel in found:
            channel.proof_needed = False
        self.gaps.end(found, now, repaired=True)

    def replan(self, now: Instant) -> None:
        """Ask for what is wanted and not yet asked for; to be called after each change."""
        if self.state is not State.ACTIVE:
            return
        while self._suspects and self._may_ask():
            op, topics = self._suspects.popleft()
            if op == SUBSCRIBE:
                topics = self.registry.postponed(topics)
            if topics:
                self._ask(op, topics, now)
        for op, topics in self._frames(self.registry.plan()):
            if not self._may_ask():
                return
            self.registry.asking(op, topics)
            self._ask(op, topics, now)

    def _frames(self, plan: Plan) -> Iterator[tuple[str, tuple[str, ...]]]:
        size = self._profile.max_args
        for op, topics in ((UNSUBSCRIBE, plan.unsubscribe), (SUBSCRIBE, plan.subscribe)):
            for start in range(0, len(topics), size):
                yield op, topics[start : start + size]

    def _may_ask(self) -> bool:
        """Return whether another operation may leave before the last is answered.

        Not before this link has shown that something in its replies (an id, the topics) ties them
        to requests. Else a reply that the exchange leaves out would make all later ones be taken
        for those of other requests, and topics be reported as active that are not.
        """
        return self._replies_are_tied or self._pending.oldest() is None

    def tick(self, now: Instant, link: LinkStatus) -> None:
        """Ping if it is time, and judge whether the link still lives."""
        if self.state not in _LIVE:
            return
        if self._looked is not None and _leapt(self._looked, now):
            self._pings.check(now.mono)  # a suspend: what was overdue before it says nothing
        self._looked = now
        self._cure(now, link)
        timeout = self._settings.send_timeout
        if link.blocked_since is not None and now.mono >= link.blocked_since + timeout:
            self.end(ConnectionLost(f"the exchange takes nothing: a send hung for {timeout:g} s"))
            return
        overdue = self._overdue(now.mono, link)
        confirmed = self._suspicion.confirmed(overdue is not None, link, now.mono)
        if confirmed and overdue is not None:
            self.end(overdue)
        elif self._pings.take_due(now.mono):
            self._outgoing.append(PING_TEXT)

    def watch(self, now: Instant) -> None:
        """Tell when private data cannot be trusted any more, and when it can again.

        To be called after each change, and at :meth:`blind_deadline`.
        """
        closed = self.state in (State.CLOSING, State.CLOSED)
        if self._trust is None or (closed and self.error is None):
            return
        told = self._trust.look(self._doubt(now), now, for_ever=self.error is not None)
        if told is not None and told >= 0:
            self._emit(Blind, now, seconds=told, reason=self._why_doubt())
        elif told is not None:
            self._emit(Sighted, now)

    def blind_deadline(self) -> float | None:
        """Return when to :meth:`watch` next, in monotonic seconds; ``None`` if nothing is due."""
        return None if self._trust is None else self._trust.deadline()

    def _doubt(self, now: Instant) -> float | None:
        """Return since when private data cannot be trusted, or ``None``."""
        if self.error is not None:
            return now.mono
        if self.state is State.IDLE and not (self.started and self.registry.wanted):
            return None
        gaps = [each.open_gap for each in self.registry.doubtful()]
        if not (gaps or self._doubted()):
            return None
        since = [now.mono - (now.wall - gap.since) for gap in gaps if gap is not None]
        return min((now.mono, *since))

    def _why_doubt(self) -> str:
        """Say why private data cannot be trusted."""
        gaps = [each.open_gap for each in self.registry.doubtful() if each.open_gap is not None]
        if self.error is not None or self.trouble is not None:
            return str(self.error or self.trouble)
        if gaps:
            return gaps[0].reason
        doubt = self._doubted()
        if doubt:
            return doubt
        return f"the exchange has not confirmed the topics; the connection is {self.state.value}"

    def deadline(self, link: LinkStatus) -> float | None:
        """Return when to tick next, in monotonic seconds; ``None`` if nothing is due.

        Never sooner than :data:`GRACE` after the last tick: what is overdue while the reader is
        busy stays overdue, and must not make the caller spin.
        """
        if self.state not in _LIVE:
            return None
        waits = [self._suspicion.deadline(), self._pings.deadline()]
        oldest = self._pending.oldest()
        if oldest is not None:
            waits.append(oldest.sent + self._settings.reply_timeout)
        if link.frame_since is not None:
            waits.append(link.frame_since + self._settings.frame_timeout)
        if link.blocked_since is not None:
            waits.append(link.blocked_since + self._settings.send_timeout)
        soonest = min(wait for wait in waits if wait is not None)  # a live link has a next ping
        looked = -math.inf if self._looked is None else self._looked.mono
        return max(soonest, looked + GRACE)

    def _cure(self, now: Instant, link: LinkStatus) -> None:
        """Do something about topics that have become stale."""
        if not link.idle or self.state is not State.ACTIVE:
            return
        for stale in find_stale(self.registry.active(), now.mono):
            self._report_stale(stale, now)
            if stale.cure is Cure.RESUBSCRIBE:
                self.registry.refresh(stale.channel.topic.wire)
            else:
                self.end(ConnectionLost(_stale_text(stale)))
        self.replan(now)

    def _report_stale(self, stale: Stale, now: Instant) -> None:
        for name in stale.channel.names:
            self._emit(TopicStale, now, topic=name, age=stale.age, cure=stale.cure.value)
        stale.channel.proof_needed = True
        self.gaps.open([stale.channel], _stale_text(stale), now.mono - stale.age, now)

    # What goes out

    def take_outgoing(self) -> list[str]:
        """Hand over what must be sent now, in order."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def take_events(self) -> list[Event]:
        """Hand over what has happened since the last call."""
        events, self._events = self._events, []
        return events

    # Login

    def clock_measured(self, server_ms: int | None, now: Instant) -> None:
        """Take what the exchange's clock says now (``None``: nobody can tell), and log in again.

        To be called soon after :attr:`Login.wants_clock` was set.
        """
        if self.login is None:
            return
        waited = self.login.wants_clock
        self.login.measured(server_ms, now)
        self._tell_skew(self.login, now)
        if waited and self.state is State.AUTHENTICATING:
            self._log_in(self.login, now)

    def _log_in(self, login: Login, now: Instant) -> None:
        self._pending.add(Request(AUTH, (), None, now.mono))
        self._outgoing.append(login.request(now))

    def _login_answered(self, ack: Ack, now: Instant) -> None:
        login = self.login
        if ack.success:
            if login is not None:
                login.accepted()
            self._ready(now, "authenticated")
        elif login is None or not login.refused(ack.ret_msg):
            why = explain(ack.ret_msg)
            skew = login.explain_skew(now) if login is not None else ""
            self.error = AuthenticationError(ack.ret_msg, f"{why}. {skew}".strip(" ."))
            self._outgoing.clear()
            self.end(self.error)
            self._move(Signal.CLOSE, now, str(self.error))

    def _tell_skew(self, login: Login, now: Instant) -> None:
        skew = login.untold_skew(now)
        if skew is not None:
            self._emit(ClockSkew, now, seconds=skew)

    def _ready(self, now: Instant, reason: str) -> None:
        self._active_since = now.mono
        self.trouble = None
        self._move(Signal.READY, now, reason)
        self.replan(now)

    # Topics

    def _ask(self, op: str, topics: Sequence[str], now: Instant) -> None:
        """Send one operation; remembered first, for the reply may be faster than we are."""
        req_id = None
        if self._dialect.req_id:
            self._requests_sent += 1
            req_id = str(self._requests_sent)
        self._pending.add(Request(op, tuple(topics), req_id, now.mono))
        self._outgoing.append(topic_request(op, topics, req_id))

    def _accepted(self, request: Request, ack: Ack, now: Instant) -> None:
        failed = [topic for topic in request.topics if topic in ack.failed]
        passed = [topic for topic in request.topics if topic not in ack.failed]
        if request.op == SUBSCRIBE:
            self._login_missed.difference_update(passed)
            self._confirm(passed, now)
        else:
            self._give_up(passed, None, now)
        for topic in failed:
            self._fail(request.op, topic, ack.ret_msg or "listed as failed", now)

    def _refused(self, request: Request, ret_msg: str, now: Instant) -> None:
        """Find out which topic of a refused frame is at fault; the others are asked again."""
        named = named_topic(ret_msg)
        if named not in request.topics:
            named = request.topics[0] if len(request.topics) == 1 else None
        if lacks_login(ret_msg) and self._scope is Scope.PRIVATE:
            # After a login this means that the server forgot it: a fresh link cures that. If it
            # says so again of the same topics, the key lacks the permission: they are at fault.
            suspects = set(request.topics) if named is None else {named}
            if suspects.isdisjoint(self._login_missed):
                self._login_missed |= suspects
                self.end(ConnectionLost(f"the exchange says {ret_msg!r} after a successful login"))
                return
        if named is None:
            middle = len(request.topics) // 2
            self._suspects.append((request.op, request.topics[:middle]))
            self._suspects.append((request.op, request.topics[middle:]))
            return
        if request.op == SUBSCRIBE and is_already_subscribed(ret_msg):
            self._confirm([named], now)
        else:
            self._fail(request.op, named, ret_msg, now)
        rest = tuple(topic for topic in request.topics if topic != named)
        self._suspects.append((request.op, rest))

    def _confirm(self, topics: Sequence[str], now: Instant) -> None:
        names = self.registry.confirmed(topics)
        channels = self.registry.channels
        self.gaps.promise([channels[topic] for topic in topics if topic in channels], now)
        if names:
            self._emit(SubscriptionConfirmed, now, topics=tuple(names))

    def _give_up(self, topics: Sequence[str], ret_msg: str | None, now: Instant) -> None:
        names = tuple(name for topic in topics for name in self.registry.left(topic, ret_msg))
        if not names:
            return
        if ret_msg is None:
            self._emit(UnsubscribeConfirmed, now, topics=names)
        else:
            self._emit(UnsubscribeRejected, now, topics=names, ret_msg=ret_msg)

    def _fail(self, op: str, topic: str, ret_msg: str, now: Instant) -> None:
        if op == UNSUBSCRIBE:
            self._give_up([topic], ret_msg, now)
            return
        names = self.registry.rejected(topic, ret_msg)
        if names:
            facts = {"topics": tuple(names), "ret_msg": ret_msg, "explanation": explain(ret_msg)}
            self._emit(SubscriptionRejected, now, **facts)

    # Inside

    def _overdue(self, now: float, link: LinkStatus) -> StreamError | None:
        """Return what has been waited for too long, if anything."""
        settings = self._settings
        if self._pings.overdue(now):
            return HeartbeatTimeout(settings.pong_timeout)
        oldest = self._pending.oldest()
        if oldest is not None and now >= oldest.sent + settings.reply_timeout:
            return ConnectionLost(
                f"no reply to {' '.join((oldest.op, *oldest.topics[:3]))} within "
                f"{settings.reply_timeout:g} s"
            )
        if link.frame_since is not None and now >= link.frame_since + settings.frame_timeout:
            return ConnectionLost(
                f"a message that had begun did not end within {settings.frame_timeout:g} s"
            )
        return self._silent(now, link)

    def _silent(self, now: float, link: LinkStatus) -> StreamError | None:
        timeout = self._settings.data_timeout
        if timeout is None or self._active_since is None or not self.registry.active():
            return None
        if now < max(self._active_since, link.last_message or 0.0) + timeout:
            return None
        return ConnectionLost(f"no message of any topic within {timeout:g} s")

    def _forget_link(self) -> None:
        oldest = self._pending.oldest()
        if self.login is not None:
            if self.login.wants_clock or (oldest is not None and oldest.op == AUTH):
                self.login.interrupted()
            self.login.wants_clock = False
        self._pings.stop()
        self._pending.clear()
        self._suspects.clear()
        self._replies_are_tied = False
        self._suspicion = Suspicion()
        self._outgoing.clear()

    def _move(self, signal: Signal, now: Instant, reason: str) -> None:
        old, self.state = self.state, next_state(self.state, signal)
        self._emit(StateChanged, now, old=old, new=self.state, reason=reason)

    def _emit(self, kind: type[Event], now: Instant, **facts: Any) -> None:
        self._events.append(kind(time=now.wall, connection=self._name, **facts))


def _leapt(before: Instant, now: Instant) -> bool:
    """Return whether the process was suspended between two looks, as far as the clocks tell.

    A stopped process sees the monotonic clock leap, a suspended machine (on Linux) the wall clock
    alone. A wall clock that was set looks the same, and costs one ping.
    """
    mono, wall = now.mono - before.mono, now.wall - before.wall
    return mono > LEAP or abs(wall - mono) > LEAP


def _stale_text(stale: Stale) -> str:
    name = stale.channel.topic.name
    return f"{name} was silent for {stale.age:.1f} s; {stale.cure.value}"
