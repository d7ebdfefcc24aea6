"""What stands before one or more connections and delivers what passes itself.

To the client it looks like one connection; in the connections it is the only callback. Must not
know what it decides to let pass, nor why.

Locks: ``_lock`` guards what waits and all that decides about it. Held for pure calls and for
queueing events; taken after the locks of a stream, never held while user code runs or a stream is
called.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from bybit_copyws.events import Event
from bybit_copyws.messages import Gap, Message
from bybit_copyws.policy.channel import Channel, Handler
from bybit_copyws.stream.clock import Clock
from bybit_copyws.stream.dispatcher import Deliverer
from bybit_copyws.stream.reports import Reports
from bybit_copyws.stream.turns import Turns
from bybit_copyws.wire.profiles import Profile

_T = TypeVar("_T")


class Front(ABC, Generic[_T]):
    """Base of what stands before connections.

    Args:
        profile: the API generation.
        reports: is told of callbacks.
        notify: takes lifecycle events, in their order; must not block.
        changed: called without locks after anything that somebody may wait for.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        reports: Reports,
        notify: Callable[[Sequence[Event]], None],
        changed: Callable[[], None],
    ) -> None:
        self._profile = profile
        self._reports = reports
        self._notify = notify
        self._changed = changed
        self._clock = Clock()
        self._delivery = Deliverer(self)
        self._lock = threading.Lock()
        self._turns: Turns[_T] = Turns(
            self._lock, self._next, self._waiting, self._deliver, lambda: self._delivery.stopped
        )

    @property
    @abstractmethod
    def threads(self) -> list[threading.Thread]:
        """The threads that were started, a run thread first."""

    @property
    def thread_ids(self) -> set[int | None]:
        """What :func:`threading.get_ident` gives in its threads."""
        return {thread.ident for thread in self.threads}

    # What is delivered

    @abstractmethod
    def _next(self) -> _T | None:
        """Take what is to be delivered next; called with the lock held."""

    @abstractmethod
    def _waiting(self) -> int:
        """Return how much is to be delivered; called with the lock held."""

    @abstractmethod
    def _deliver(self, ready: _T) -> None:
        """Call the callbacks; called without locks."""

    # For the deliverer

    @abstractmethod
    def owed_gap(self, channel: Channel) -> Gap | None:
        """Return the gap that the next message of a topic must carry; it is carried then."""

    @abstractmethod
    def missed(self, channel: Channel | None, reason: str) -> None:
        """Note that something of a topic was lost just now."""

    def callback_failed(self, handler: Handler, error: BaseException, message: Message) -> None:
        """Report what a callback raised."""
        self._reports.callback_failed(handler, error, message)

    def interrupted(self, error: BaseException) -> None:
        """Hand a ``KeyboardInterrupt`` or ``SystemExit`` of a callback on."""
        self._reports.interrupted(error)
