"""The handle that ``CopyTradingClient.subscribe`` returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from bybit_copyws.errors import StreamError, SubscriptionError
from bybit_copyws.events import SubscriptionState
from bybit_copyws.policy.channel import Handler
from bybit_copyws.policy.wildcards import Expansion
from bybit_copyws.wire.replies import explain


class Waiter(Protocol):
    """What a subscription needs of its client."""

    def wait_for(self, predicate: Callable[[], bool], timeout: float) -> bool:
        """Wait until something is true; return whether it became so in time."""

    def remove(self, handlers: Sequence[Handler]) -> None:
        """Take handlers out."""

    def troubles(self) -> str:
        """Say why there are no links, to be put behind an error."""

    def terminal_error(self, handlers: Sequence[Handler]) -> StreamError | None:
        """Return what ended the connections of some handlers for good, if anything."""


class Subscription:
    """One callback on one or more topics.

    Made by :meth:`CopyTradingClient.subscribe`. All members are safe from any thread.
    """

    def __init__(self, handlers: Sequence[Handler], client: Waiter) -> None:
        self._given = tuple(handlers)
        self._client = client
        self._unsubscribed = False
        self._end_of_owner: Callable[[], None] | None = None

    @property
    def _handlers(self) -> tuple[Handler, ...]:
        return self._given

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics, as they were named."""
        return tuple(handler.topic.name for handler in self._handlers)

    @property
    def patterns(self) -> tuple[str, ...]:
        """Those of the topics that have a wildcard, as they were named."""
        return ()

    @property
    def state(self) -> SubscriptionState:
        """What the exchange said: of several topics, the worst.

        ``REJECTED`` if any topic was refused, else ``PENDING`` if any is not acknowledged (or
        the link is down), else ``CONFIRMED``; ``CLOSED`` once all are given up.
        """
        states = {handler.state for handler in self._handlers}
        for state in (
            SubscriptionState.REJECTED,
            SubscriptionState.PENDING,
            SubscriptionState.CONFIRMED,
        ):
            if state in states:
                return state
        return SubscriptionState.CLOSED

    @property
    def error(self) -> StreamError | None:
        """Why topics were refused (or the connection ended for good), else ``None``."""
        refused = [handler for handler in self._handlers if handler.ret_msg is not None]
        if refused:
            ret_msg = refused[0].ret_msg or ""
            names = [handler.topic.name for handler in refused]
            return SubscriptionError(names, ret_msg, explain(ret_msg))
        return self._client.terminal_error(self._handlers)

    def wait(self, timeout: float = 10.0) -> None:
        """Wait until the exchange has acknowledged every topic.

        After :meth:`unsubscribe` it waits until the topics are given up.

        Args:
            timeout: seconds.

        Raises:
            SubscriptionError: the exchange refused topics; all others of the subscription live.
            AuthenticationError: the exchange refused the key.
            ConnectFailed: the connection was given up, see :class:`Backoff`.
            StreamClosed: the client was closed.
            TimeoutError: no answer in time; the subscription stays and may still succeed.
        """
        settled = self._client.wait_for(self._settled, timeout)
        error = self.error
        if error is not None and not (
            self._unsubscribed and not isinstance(error, SubscriptionError)
        ):
            raise error.again()
        if not settled:
            raise TimeoutError(
                f"{', '.join(self._open()[:5])}: no answer of the exchange within {timeout:g} s"
                f"{self._client.troubles()}"
            )

    def unsubscribe(self) -> None:
        """Take the callback from all its topics; it is not called again.

        The exchange is told about topics that no other callback wants. Does not wait for its
        answer: :meth:`wait` does. Of a book or ticker that the client keeps, it is the ``close()``.
        """
        if self._end_of_owner is None:
            self.give_up()
        else:
            self._end_of_owner()

    def belong_to(self, end: Callable[[], None]) -> None:
        """Have :meth:`unsubscribe` end something that this is a part of; for the client."""
        self._end_of_owner = end

    def give_up(self) -> None:
        """Give up the topics alone; for the client."""
        self._unsubscribed = True
        self._client.remove(self._handlers)

    def _open(self) -> list[str]:
        done = SubscriptionState.CLOSED if self._unsubscribed else SubscriptionState.CONFIRMED
        return [each.topic.name for each in self._handlers if each.state is not done]

    def _settled(self) -> bool:
        return not self._open() or self.error is not None

    def __repr__(self) -> str:
        return f"Subscription({', '.join(self.topics[:5])}: {self.state.value})"


class PatternSubscription(Subscription):
    """One callback on topics of which some have a wildcard, and so stand for others.

    Its :attr:`topics` are the present ones: they follow the exchange's list of symbols. Until that
    is there, a pattern stands for itself, and :meth:`wait` waits for what it will stand for.
    """

    def __init__(
        self,
        handlers: Sequence[Handler],
        expansions: Sequence[Expansion],
        client: Waiter,
        drop: Callable[[Sequence[Expansion]], None],
    ) -> None:
        super().__init__(handlers, client)
        self._expansions = tuple(expansions)
        self._drop = drop

    @property
    def patterns(self) -> tuple[str, ...]:
        """Those of the topics that have a wildcard, as they were named."""
        return tuple(each.pattern.name for each in self._expansions)

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics at present; a pattern that waits for the list of symbols is named itself."""
        return (*super().topics, *self._waiting())

    @property
    def state(self) -> SubscriptionState:
        """As of :class:`Subscription`; ``PENDING`` also while the list of symbols is not there."""
        state = super().state
        if any(each.error is not None for each in self._expansions if not each.ended):
            return SubscriptionState.REJECTED
        if state is not SubscriptionState.REJECTED and self._waiting():
            return SubscriptionState.PENDING
        if state is SubscriptionState.CLOSED and not self._ended():
            return SubscriptionState.CONFIRMED  # there is no such symbol at present
        return state

    @property
    def error(self) -> StreamError | None:
        """Why topics were refused, or do not fit on the connection, else as of the base class."""
        failed = [each.error for each in self._expansions if not each.ended]
        return next((error for error in failed if error is not None), None) or super().error

    def unsubscribe(self) -> None:
        """Take the callback from all its topics, present and future; it is not called again."""
        self._drop(self._expansions)
        super().unsubscribe()

    @property
    def _handlers(self) -> tuple[Handler, ...]:
        expanded = [handler for each in self._expansions for handler in each.present]
        return (*self._given, *expanded)

    def _waiting(self) -> list[str]:
        return [each.pattern.name for each in self._expansions if each.pending]

    def _ended(self) -> bool:
        return self._unsubscribed or all(each.ended for each in self._expansions)

    def _open(self) -> list[str]:
        return [*super()._open(), *self._waiting()]
