"""The list of contracts of a client, kept fresh, and the topics that follow it.

The rules are pure and elsewhere: :mod:`bybit_copyws.policy.refresh` says when to ask for the list,
:mod:`bybit_copyws.policy.wildcards` what a new one leads to. This does both in turn, in a thread of
its own or in that of whoever needs the list first. Must not know how the list is had, nor what a
connection is.

Locks, always taken in this order:

* ``_turn`` is held by the one who asks for the list, for as long as that takes.
* ``_lock`` guards the timing, the expansions and the list. It is held for pure calls and for
  changes of topics, which never block on the network.

Both are taken before the locks of the streams, and never while one of these or the client's
condition is held: what others read without them is replaced as a whole. Both are reentrant, because
a log handler may be user code.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from bybit_copyws.errors import (
    BybitCopyWSError,
    ConfigurationError,
    ProtocolError,
    StreamError,
    SubscriptionError,
)
from bybit_copyws.events import Event, SubscriptionRejected, SymbolsChanged
from bybit_copyws.messages import MessageCallback
from bybit_copyws.policy.channel import Courier, Handler
from bybit_copyws.policy.refresh import Phase, Refresh
from bybit_copyws.policy.wildcards import Change, Expansion, Pattern
from bybit_copyws.state.instruments import Instruments
from bybit_copyws.stream.clock import Clock
from bybit_copyws.stream.due import DueThread
from bybit_copyws.stream.log import THREADS, GuardedLogger
from bybit_copyws.wire.topics import Scope, Topic

_log = GuardedLogger(__name__)

_PUBLIC = Scope.PUBLIC.value  # all that has a symbol in its name is public
_IDLE_LOOK = 60.0  # seconds between two looks while nothing is planned
_DOES_NOT_FIT = "not sent: too many topics for one connection"
_NAMED = 10  # symbols that a log line names

_Reason: TypeAlias = ConfigurationError | StreamError


class Ways(NamedTuple):
    """How a :class:`SymbolList` acts on the rest of its client.

    Attributes:
        fetch: asks for the list; blocks, and raises a :class:`BybitCopyWSError` if it fails.
        subscribe: registers a callback for topics; raises the same, and then registers none.
        unsubscribe: takes registrations out.
        notify: takes lifecycle events; called without locks.
        changed: called without locks after anything that somebody may wait for.
    """

    fetch: Callable[[], Instruments]
    subscribe: Callable[[Sequence[Topic], MessageCallback, Courier | None], Sequence[Handler]]
    unsubscribe: Callable[[Sequence[Handler]], None]
    notify: Callable[[Sequence[Event]], None]
    changed: Callable[[], None]


class SymbolList:
    """The contracts, and the expansions of patterns that follow them. Safe from any thread.

    Args:
        ways: how it acts on the rest of its client.
        every: seconds between two times that the list is asked for.
        refresh: says when to ask for it; ``None`` for the usual.
        clock: the clocks of the machine.
    """

    def __init__(
        self, ways: Ways, every: float, refresh: Refresh | None = None, clock: Clock | None = None
    ) -> None:
        self._ways = ways
        self._refresh = refresh or Refresh(every, random.Random())  # noqa: S311 (jitter)
        self._clock = clock or Clock()
        self._turn = threading.RLock()  # see the head of this module, for both
        self._lock = threading.RLock()
        self._instruments: Instruments | None = None
        self._expansions: tuple[Expansion, ...] = ()
        self._started = False
        self._refresher: DueThread | None = None

    # The list

    def get(self) -> Instruments:
        """Return the list; the first time it is asked for, in this thread, which may take long.

        Raises:
            BybitCopyWSError: it could not be had.
        """
        found = self._instruments
        if found is not None:
            return found
        with self._turn:
            if self._instruments is not None:  # another thread was first
                return self._instruments
            self._want()
            return self._load()

    def beat(self) -> float | None:
        """Ask for the list if it is time; return seconds until the next look, ``None`` for the end.

        Called by the thread of the list.
        """
        with self._turn:
            if self._wait() == 0.0:
                with contextlib.suppress(BybitCopyWSError):  # is logged, and tried again
                    self._load()
        if self._refresh.phase is Phase.ENDED:
            return None
        wait = self._wait()
        return _IDLE_LOOK if wait is None else wait

    def _wait(self) -> float | None:
        with self._lock:
            return self._refresh.wait(self._clock.now().mono)

    def _load(self) -> Instruments:
        """Ask for the list and bring all up to it; whoever calls has ``_turn``."""
        with self._lock:
            self._refresh.ask()
        try:
            new = self._ways.fetch()
            self._check(new)
        except BaseException as error:
            self._failed(error)
            raise
        self._take(new)
        return new

    def _check(self, new: Instruments) -> None:
        """Refuse a list that would make everything be unsubscribed: it is more likely wrong."""
        old = self._instruments
        if not new:
            raise ProtocolError("instruments: the exchange lists no contract at all")
        if old is not None and old.copy_trading() and not new.copy_trading():
            raise ProtocolError("instruments: no contract is listed for copy trading any more")

    def _failed(self, error: BaseException) -> None:
        with self._lock:
            first = self._refresh.failed(str(error), self._clock.now().mono)
        if first:
            kept = "there is none yet" if self._instruments is None else "the old one stays"
            _log.warning("! the list of contracts could not be had (%s): %s", kept, error)

    def _take(self, new: Instruments) -> None:
        now = self._clock.now()
        events: list[Event] = []
        with self._lock:
            old, self._instruments = self._instruments, new
            symbols = new.copy_trading()
            again = self._refresh.trouble is not None
            self._refresh.got(now.mono)
            change = Change.between(symbols if old is None else old.copy_trading(), symbols)
            if change.listed or change.withdrawn:
                events.append(SymbolsChanged(time=now.wall, connection=_PUBLIC, **change._asdict()))
            for expansion in self._expansions:
                reason = self._bring(expansion, symbols)
                if isinstance(reason, ConfigurationError):
                    events.append(_refused(expansion, reason, now.wall))
        if again:
            _log.info("the list of contracts is had again")
        if change.listed or change.withdrawn:
            _log.info("listed: %s; withdrawn: %s", _some(change.listed), _some(change.withdrawn))
        self._ways.notify(events)
        self._ways.changed()

    # Patterns

    def follow(
        self,
        patterns: Iterable[Pattern],
        callback: MessageCallback,
        beside: Collection[str],
        courier: Courier | None = None,
    ) -> list[Expansion]:
        """Subscribe what patterns stand for, now or as soon as the list is there, and keep it so.

        Args:
            patterns: what the user wrote.
            callback: who gets the messages.
            beside: topics on the wire that the same subscription names itself.
            courier: takes messages to the callback, or ``None``.

        Raises:
            BybitCopyWSError: the list is there, and not all can be subscribed; none is then.
        """
        made = [Expansion(pattern, callback, beside, courier) for pattern in patterns]
        with self._lock:
            if self._instruments is not None:
                for expansion in made:
                    reason = self._bring(expansion, self._instruments.copy_trading())
                    if reason is not None:
                        self._end(made)
                        raise reason
            self._expansions = (*self._expansions, *made)
        self._want()
        return made

    def drop(self, expansions: Iterable[Expansion]) -> None:
        """Unsubscribe all that expansions stand for; they follow the list no longer."""
        with self._lock:
            self._end([each for each in expansions if not each.ended])
        self._ways.changed()

    def find(self, name: str, callback: MessageCallback | None = None) -> list[Expansion]:
        """Return the expansions of a pattern, maybe of one callback only."""
        return [
            each
            for each in self._expansions
            if each.pattern.name == name and callback in (None, each.callback)
        ]

    def _end(self, expansions: Sequence[Expansion]) -> None:
        self._expansions = tuple(each for each in self._expansions if each not in expansions)
        for expansion in expansions:
            self._ways.unsubscribe(expansion.end())

    def _bring(self, expansion: Expansion, symbols: Sequence[str]) -> _Reason | None:
        """Bring one expansion up to a list of symbols; return what went wrong, if anything."""
        step = expansion.step(symbols)
        if step.unsubscribe:
            self._ways.unsubscribe(step.unsubscribe)
        added: Sequence[Handler] = ()
        reason: _Reason | None = None
        error: StreamError | None = None
        try:
            if step.subscribe:
                added = self._ways.subscribe(step.subscribe, expansion.callback, expansion.courier)
        except ConfigurationError as wrong:
            reason = wrong
            error = SubscriptionError([expansion.pattern.name], _DOES_NOT_FIT, str(wrong))
        except StreamError as wrong:
            reason = error = wrong
        expansion.brought(symbols, step, added, error)
        return reason

    # What others wait for; without a lock

    @property
    def pending(self) -> list[str]:
        """The patterns that wait for the first list."""
        return [each.pattern.name for each in self._expansions if each.pending]

    @property
    def error(self) -> StreamError | None:
        """Why something that a pattern stands for could not be subscribed, if so."""
        return next((each.error for each in self._expansions if each.error is not None), None)

    @property
    def trouble(self) -> str | None:
        """Why there is no list although patterns wait for it, in words."""
        return self._refresh.trouble if self.pending else None

    # Life

    def start(self) -> None:
        """Let the thread start as soon as the list is needed."""
        with self._lock:
            self._started = True
        self._hurry()

    def end(self) -> None:
        """Ask for nothing any more, and let the thread end. Does not wait."""
        with self._lock:
            self._refresh.end()
            for expansion in self._expansions:
                expansion.end()  # its topics end with their connection
            self._expansions = ()
        self._hurry()

    @property
    def thread(self) -> threading.Thread | None:
        """The thread, if it was started."""
        return None if self._refresher is None else self._refresher.thread

    def _want(self) -> None:
        with self._lock:
            self._refresh.want()
        self._hurry()

    def _hurry(self) -> None:
        """Start the thread if it is needed, or have it look again."""
        with self._lock:
            if self._refresher is not None:
                self._refresher.wake()
            elif self._started and self._refresh.phase not in (Phase.IDLE, Phase.ENDED):
                refresher = DueThread(f"{THREADS}symbols", self.beat)
                refresher.start()
                self._refresher = refresher


def _refused(expansion: Expansion, reason: ConfigurationError, now: float) -> Event:
    return SubscriptionRejected(
        time=now,
        connection=_PUBLIC,
        topics=(expansion.pattern.name,),
        ret_msg=_DOES_NOT_FIT,
        explanation=str(reason),
    )


def _some(symbols: Sequence[str]) -> str:
    more = f" and {len(symbols) - _NAMED} more" if len(symbols) > _NAMED else ""
    return f"{', '.join(symbols[:_NAMED]) or 'none'}{more}"
