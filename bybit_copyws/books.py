"""Order books and tickers that a client keeps up to date by itself.

What a message does to one is pure and elsewhere (:mod:`bybit_copyws.state`); here are the topic
behind it, the new snapshot when one is needed, and the user's callbacks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.events import Status, SubscriptionState
from bybit_copyws.messages import Message, MessageCallback
from bybit_copyws.options import check_callback
from bybit_copyws.policy.channel import Follower
from bybit_copyws.policy.repeats import Repeats
from bybit_copyws.state.order_book import OrderBook
from bybit_copyws.state.status import LiveState, Outcome
from bybit_copyws.state.ticker import Ticker
from bybit_copyws.stream.reports import callback_name
from bybit_copyws.subscription import Subscription

_GIVEN_UP = "it is not kept any more"
_SNAPSHOT_WITHIN = 10.0  # seconds after which a snapshot that does not come is asked for again


class Keeping(Protocol):
    """What a keeper needs of its client."""

    def subscribe(self, topic_or_topics: str, callback: MessageCallback) -> Subscription:
        """Call a function for every message of a topic."""

    def resync(self, topic: str, reason: str) -> None:
        """Subscribe a topic anew, and tell why."""

    def forget(self, topic: str, state: object) -> None:
        """Keep no longer what is kept of a topic, if that is it."""

    def status_changed(self) -> None:
        """Wake who waits; called without locks."""

    def wait_for(self, predicate: Callable[[], bool], timeout: float) -> bool:
        """Wait until something is true; return whether it became so in time."""

    def troubles(self) -> str:
        """Say why there are no links, to be put behind an error."""


class Keeper(Follower):
    """Feeds one book or ticker; runs in whatever thread delivers its topic.

    Args:
        state: what is kept.
        client: who keeps it.
        counted: whether the messages are numbered, so that a hole shows by itself.
    """

    def __init__(self, state: OrderBook | Ticker, client: Keeping, *, counted: bool) -> None:
        self.state = state
        self.subscription: Subscription | None = None
        self._client = client
        self._counted = counted
        self._repeats = Repeats()
        self._listening: list[Subscription] = []
        # Guards the three above: messages, the heartbeat and users come in threads of their own.
        # Held for pure calls; no other lock is taken under it but that of the state.
        self._lock = threading.RLock()
        self._ended: str | None = None  # why it is kept no longer
        self.__qualname__ = f"{type(state).__name__}({state.topic})"

    def __call__(self, message: Message) -> None:
        """Apply a message."""
        state, now = self.state, time.monotonic()
        before = state.status
        if message.gap is not None and not self._counted and message.type != "snapshot":
            state.resync(message.gap.reason, now)
            self._ask(message.gap.reason, now)
        result = state.apply(message.type, message.data, message.ts, now)
        if result.outcome is Outcome.OUT_OF_SYNC:
            self._ask(result.reason, now)
        elif result.outcome is Outcome.IGNORED:
            self._ask_again(now)
        channel = self.channel
        if channel is not None and channel.open_gap is not None:  # it came before what is missing
            state.stale(channel.open_gap.reason, now)
        if self._ended is not None:  # while this was applied
            state.stale(self._ended, now)
        if state.status is not before:
            self._client.status_changed()

    def doubt(self, reason: str, now: float) -> None:
        """Say that the content may be old."""
        if self._ended is None:
            self.state.stale(reason, now)

    def look(self, now: float) -> None:
        """Ask again for a snapshot that has not come, nor anything else; say what was refused.

        Called by the heartbeat of a link, so never while there is none.
        """
        state, channel, subscription = self.state, self.channel, self.subscription
        if self._ended is not None or channel is None or subscription is None:
            return
        if subscription.state is SubscriptionState.REJECTED:
            self._say(f"{subscription.error}", now)
        if state.status is not Status.SYNCING:
            return
        if subscription.state is not SubscriptionState.CONFIRMED:
            return
        waits_since = max(state.since or 0.0, channel.confirmed_at or 0.0)
        if now >= waits_since + _SNAPSHOT_WITHIN:
            self._ask_again(now, _SNAPSHOT_WITHIN)

    def on_update(self, callback: Callable[[Any], object]) -> Subscription:
        """Call a function after each message.

        Raises:
            ConfigurationError: it is not kept any more.
        """
        self._check_kept()
        listening = self._client.subscribe(self.state.topic, _With(callback, self.state))
        with self._lock:
            self._listening = [
                each for each in self._listening if each.state is not SubscriptionState.CLOSED
            ]
            self._listening.append(listening)
        if self._ended is not None:  # meanwhile
            listening.unsubscribe()
            self._check_kept()
        return listening

    def open(self) -> None:
        """Begin to keep it; what was refused is asked for anew."""
        old = self.subscription
        if old is not None:
            if old.state is not SubscriptionState.REJECTED:
                return
            old.give_up()
            self._say("no snapshot has come yet", time.monotonic())
        self.subscription = self._client.subscribe(self.state.topic, self)
        self.subscription.belong_to(self.close)

    def wait_live(self, timeout: float) -> None:
        """Wait until it is live."""
        settled = self._client.wait_for(self._is_settled, timeout)
        error = None if self.subscription is None else self.subscription.error
        if error is not None:
            raise error.again()
        self._check_kept()
        if not settled:
            raise TimeoutError(
                f"{self.state.topic} is not live within {timeout:g} s; it is "
                f"{self.state.status.value}: {self.state.reason}{self._client.troubles()}"
            )

    def _is_settled(self) -> bool:
        failed = self.subscription is not None and self.subscription.error is not None
        return self.state.status is Status.LIVE or failed or self._ended is not None

    def close(self) -> None:
        """Keep it no longer, and call nobody any more."""
        self._client.forget(self.state.topic, self.state)
        self.end(_GIVEN_UP)
        with self._lock:
            listening, self._listening = self._listening, []
        for each in listening:
            each.unsubscribe()
        if self.subscription is not None:
            self.subscription.give_up()
        self._client.status_changed()

    def end(self, reason: str) -> None:
        """Say that it is not kept up to date from now on."""
        if self._ended is None:
            self._ended = reason
            self._say(reason, time.monotonic())

    def _say(self, reason: str, now: float) -> None:
        """Say why it is not live, also if it never was."""
        if self.state.reason != reason:
            self.state.stale(reason, now)
            if self.state.status is Status.SYNCING:
                self.state.resync(reason, now)

    def _check_kept(self) -> None:
        if self._ended == _GIVEN_UP:
            raise ConfigurationError(
                f"{self.state.topic}: {_GIVEN_UP}. Ask the client for a new one"
            )

    def _ask(self, reason: str, now: float) -> None:
        with self._lock:
            may = self._repeats.ask(now)
        if may:
            self._client.resync(self.state.topic, reason)

    def _ask_again(self, now: float, *after: float) -> None:
        with self._lock:
            may = self._repeats.again(now, *after)
        if may:
            self._client.resync(self.state.topic, f"no snapshot has come: {self.state.reason}")


class _With:
    """Calls a function with what is kept instead of the message.

    Args:
        callback: the function.
        state: its argument.
    """

    def __init__(self, callback: Callable[[Any], object], state: object) -> None:
        self._callback, self._state = callback, state
        self.__qualname__ = callback_name(callback)

    def __call__(self, _: Message) -> None:
        self._callback(self._state)


class _Live(LiveState):
    """What books and tickers have that a client keeps."""

    __slots__ = ()

    _keeper: Keeper

    @property
    def subscription(self) -> Subscription | None:
        """The handle of its topic, which says whether the exchange accepted that.

        Its ``unsubscribe()`` is :meth:`close`.
        """
        return self._keeper.subscription

    def age(self, now: float | None = None) -> float:
        """Return the seconds since the exchange last confirmed the content.

        Args:
            now: monotonic seconds; ``None`` for now.

        Returns:
            Infinity if nothing was ever confirmed.
        """
        return super().age(time.monotonic() if now is None else now)

    def on_update(self, callback: Callable[[Any], object]) -> Subscription:
        """Call a function with this after each message of its topic, in the same thread.

        Returns:
            Its handle; ``unsubscribe()`` ends it.

        Raises:
            ConfigurationError: the callback is not callable, or this is not kept any more.
            StreamClosed: the client was closed.
        """
        check_callback(callback, "callback", "what is kept")
        return self._keeper.on_update(callback)

    def wait_live(self, timeout: float = 10.0) -> None:
        """Wait until it is ``LIVE``: a topic may be confirmed before its snapshot has come.

        Args:
            timeout: seconds.

        Raises:
            SubscriptionError: the exchange refused the topic.
            ConnectFailed: the connection was given up, see :class:`Backoff`.
            StreamClosed: the client was closed.
            ConfigurationError: it is not kept any more; or this is a callback, which would wait for
                itself.
            TimeoutError: it did not become live in time; the text says how it is.
        """
        self._keeper.wait_live(timeout)

    def open(self) -> None:
        """Begin to keep it; for the client."""
        self._keeper.open()

    def look(self, now: float) -> None:
        """Ask again for a snapshot that does not come; for the client."""
        self._keeper.look(now)

    def end(self, reason: str) -> None:
        """Say that it is not kept any more; for the client."""
        self._keeper.end(reason)

    def close(self) -> None:
        """Keep it no longer, and call none of its callbacks any more.

        Its topic is given up if nobody else wants it.
        """
        self._keeper.close()


class LiveOrderBook(_Live, OrderBook):
    """An order book that its client keeps; made by :meth:`CopyTradingClient.order_book`.

    It asks for a new snapshot whenever it finds itself wrong, and says so as ``BookResync``. It is
    ``STALE`` at the very moment its link is lost, or its topic may have missed something.
    """

    __slots__ = ("_keeper",)

    def __init__(self, symbol: str, depth: int, client: Keeping) -> None:
        super().__init__(symbol, depth)
        self._keeper = Keeper(self, client, counted=True)


class LiveTicker(_Live, Ticker):
    """A ticker that its client keeps; made by :meth:`CopyTradingClient.ticker`.

    As :class:`LiveOrderBook`; but its messages have no numbers, so after any doubt it asks for a
    new snapshot.
    """

    __slots__ = ("_keeper",)

    def __init__(self, symbol: str, client: Keeping) -> None:
        super().__init__(symbol)
        self._keeper = Keeper(self, client, counted=False)
