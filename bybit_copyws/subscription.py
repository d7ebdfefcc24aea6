"""The handle that ``CopyTradingClient.subscribe`` returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from bybit_copyws.errors import StreamError, SubscriptionError
from bybit_copyws.events import SubscriptionState
from bybit_copyws.policy.channel import Handler
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
        self._handlers = tuple(handlers)
        self._client = client
        self._unsubscribed = False

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics, as they were named."""
        return tuple(handler.topic.name for handler in self._handlers)

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
        answer: :meth:`wait` does.
        """
        self._unsubscribed = True
        self._client.remove(self._handlers)

    def _open(self) -> list[str]:
        done = SubscriptionState.CLOSED if self._unsubscribed else SubscriptionState.CONFIRMED
        return [each.topic.name for each in self._handlers if each.state is not done]

    def _settled(self) -> bool:
        return not self._open() or self.error is not None

    def __repr__(self) -> str:
        return f"Subscription({', '.join(self.topics[:5])}: {self.state.value})"
