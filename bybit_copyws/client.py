"""The client: topics to callbacks over at most two connections."""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from bybit_copyws.account import Account
from bybit_copyws.books import LiveOrderBook, LiveTicker
from bybit_copyws.delivery import Worker, backlog_for, check_delivery, check_topic
from bybit_copyws.errors import (
    BybitCopyWSError,
    ConfigurationError,
    ForkedError,
    StreamClosed,
    StreamError,
    SubscriptionError,
)
from bybit_copyws.events import (
    BookResync,
    Event,
    EventCallback,
    State,
    Status,
    StatusChanged,
    SymbolsChanged,
)
from bybit_copyws.health import ConnectionHealth, Health
from bybit_copyws.messages import MessageCallback
from bybit_copyws.options import (
    check_callback,
    check_flag,
    check_kinds,
    check_redundancy,
    check_seconds,
    check_size,
    check_timeout,
    check_times,
    credentials_or_error,
    from_environment,
    names_of,
    silence_or_error,
)
from bybit_copyws.policy.backoff import Backoff
from bybit_copyws.policy.budget import PROCESS_BUDGET, ConnectionBudget
from bybit_copyws.policy.channel import Courier, Handler
from bybit_copyws.policy.session import SessionSettings
from bybit_copyws.policy.wildcards import Expansion, Pattern, is_pattern
from bybit_copyws.state.account_dialects import ACCOUNT_DIALECTS, find_account_dialect
from bybit_copyws.state.desk import AccountDesk
from bybit_copyws.state.instruments import Instruments
from bybit_copyws.stream.figures import state_health
from bybit_copyws.stream.log import GuardedLogger
from bybit_copyws.stream.notifier import Listener, Notifier
from bybit_copyws.stream.private import PrivateStream
from bybit_copyws.stream.proxy import proxy_or_error
from bybit_copyws.stream.redundant import RedundantStream
from bybit_copyws.stream.reports import Reports, SlowWatch, callback_name
from bybit_copyws.stream.rotation import Connection, Rotator
from bybit_copyws.stream.stream import Stream, StreamSettings
from bybit_copyws.stream.symbols import SymbolList, Ways
from bybit_copyws.stream.workers import Workers
from bybit_copyws.subscription import PatternSubscription, Subscription
from bybit_copyws.wire.profiles import Environment, Profile, find_environment, find_profile
from bybit_copyws.wire.replies import explain
from bybit_copyws.wire.topics import Scope, Topic

if TYPE_CHECKING:
    from bybit_copyws.rest.client import RestClient

_log = GuardedLogger(__name__)
_Callback = TypeVar("_Callback", bound=MessageCallback)
_Live = TypeVar("_Live", LiveOrderBook, LiveTicker)

_MIB = 2**20
_CLOCK_TIMEOUT = 5.0  # seconds to ask for the exchange's clock, while a login waits
_CLOSER_GRACE = 0.1  # seconds beyond the timeout of close() for its thread to hand over
_FOREVER_LOOK = 0.5  # seconds; on Windows a wait without end cannot be interrupted by Ctrl-C


class CopyTradingClient:
    """Streams Bybit copy trading: market data and the private topics of one account.

    Nothing is opened before :meth:`start` (or :meth:`run_forever`, or ``with client:``); then the
    public and the private connection open as soon as a topic needs them, and come back by
    themselves after any trouble, with all topics.

    Callbacks run in the run thread of their connection: those of one topic one after the other
    and in order, those of the public and the private connection maybe at the same time. A callback
    that raises disturbs nothing else. All methods are safe from any thread and from callbacks.

    Args:
        api_key: API key; only for private topics.
        api_secret: its secret (or the PEM text of an RSA private key, with the ``rsa`` extra).
        environment: ``"mainnet"``, ``"testnet"``, with profile v5 also ``"demo"`` and the regions
            ``"tr"``, ``"kz"``, ``"id"``, ``"ge"``, ``"jp"``; or an :class:`Environment`.
        profile: ``"v3"``, the copy-trading API, or ``"v5"``, its successor; or a
            :class:`Profile`.
        ping_interval: seconds between two application pings (Bybit recommends 20).
        pong_timeout: seconds to wait for the answer before the link is taken for dead.
        open_timeout: seconds for name look-up, TCP, TLS and WebSocket handshake together.
        reply_timeout: seconds to wait for the reply to an operation before the link is ended.
        frame_timeout: seconds within which a message that has begun must have come as a whole.
        send_timeout: seconds that the exchange may refuse to take what we send.
        auth_expires: seconds for which the signature of a login is valid.
        blind_after: seconds for which private data cannot be trusted (no link, a gap) before a
            ``Blind`` says so.
        data_timeout: seconds without a message of any topic after which the link is taken for
            dead; ``None`` for never, because topics may have nothing to say.
        stale_after: patterns of topics, such as ``"tickers.*"``, to the longest silence in seconds
            (``None``: for ever). A confirmed topic that is silent for longer is reported as
            ``TopicStale`` and subscribed anew, then on a new connection. They come before the
            default, which is 10 s for level-1 order books: those are repeated every 3 s.
        rotate_every: seconds after which open connections are replaced, see :meth:`rotate`;
            ``None`` for never.
        redundancy: 2 for two connections that carry the same public topics: each update is passed
            on once, whichever brings it first, and the loss of one connection is no gap.
        reconcile: whether REST is asked, at the start and after each loss, for what the private
            topics of the account do not tell; see :attr:`account`. ``False`` leaves it out: there
            is only what the stream says, as it says it.
        reconcile_timeout: seconds that messages of the account wait for REST at most.
        instruments_every: seconds after which the list of contracts is asked for again, where
            something needs it: a topic with a wildcard, or :attr:`instruments`.
        max_message_size: bytes; a longer message ends the link.
        backoff: waits between attempts.
        connection_budget: how many connections may be opened; ``None`` for the one that all
            clients of the process share: 100 in 5 minutes for each host.
        proxy: ``None`` for none; ``"http://[user:password@]host:port"``; ``"socks5h://..."`` (the
            proxy looks up names), ``"socks5://..."`` (we do), ``"socks4a://..."`` or
            ``"socks4://..."``, with the extra ``proxy``; or ``"environment"`` for what
            ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` say.
        ssl_context: TLS settings; ``None`` for Python's defaults. Certificates must be checked
            if a key is given, unless the host is this machine.

    Raises:
        ConfigurationError: an argument can never work; the text names it and the cure.
    """

    def __init__(
        self,
        api_key: str | None = None,
        api_secret: str | None = None,
        *,
        environment: str | Environment = "mainnet",
        profile: str | Profile = "v3",
        ping_interval: float = 20.0,
        pong_timeout: float = 10.0,
        open_timeout: float = 10.0,
        reply_timeout: float = 10.0,
        frame_timeout: float = 10.0,
        send_timeout: float = 10.0,
        auth_expires: float = 10.0,
        blind_after: float = 10.0,
        data_timeout: float | None = None,
        stale_after: Mapping[str, float | None] | None = None,
        rotate_every: float | None = None,
        redundancy: int = 1,
        reconcile: bool = True,
        reconcile_timeout: float = 10.0,
        instruments_every: float = 600.0,
        max_message_size: int = 16 * _MIB,
        backoff: Backoff | None = None,
        connection_budget: ConnectionBudget | None = None,
        proxy: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        credentials = credentials_or_error(api_key, api_secret)
        # A traceback may be shown with the local variables of its frames.
        proxy_choice = proxy_or_error(proxy)
        del api_key, api_secret, proxy
        if isinstance(credentials, ConfigurationError):
            raise credentials
        if isinstance(proxy_choice, ConfigurationError):
            raise proxy_choice
        self._credentials = credentials
        check_kinds(backoff, connection_budget, ssl_context)
        found = find_profile(profile)
        session = SessionSettings(
            ping_interval=ping_interval,
            pong_timeout=pong_timeout,
            reply_timeout=reply_timeout,
            frame_timeout=frame_timeout,
            send_timeout=send_timeout,
            auth_expires=auth_expires,
            blind_after=blind_after,
            data_timeout=data_timeout,
            stale_after=silence_or_error(stale_after, found.topics),
            backoff=backoff or Backoff(),
        )
        check_times(session)
        check_seconds("open_timeout", open_timeout)
        if rotate_every is not None:
            check_seconds("rotate_every", rotate_every)
        check_seconds("instruments_every", instruments_every)
        check_seconds("reconcile_timeout", reconcile_timeout)
        check_flag("reconcile", reconcile)
        check_size("max_message_size", max_message_size)
        check_redundancy(redundancy)
        self._profile = found
        self._environment = find_environment(self._profile, environment)
        self._notifier = Notifier(self._interrupted)
        self._reports = Reports(self._notifier.post, self._interrupted)
        # Woken after every change of a connection; its lock is taken before any of a stream's.
        self._changed = threading.Condition()
        # Guards _started and _closed; held only to read or set them.
        self._lock = threading.Lock()
        self._started = False
        self._closed = False
        self._done = threading.Event()
        self._interrupt: BaseException | None = None
        self._closers: set[int] = set()
        self._process = os.getpid()
        self._rest: RestClient | None = None
        self._route = (proxy_choice, ssl_context)
        settings = StreamSettings(
            session=session,
            open_timeout=open_timeout,
            max_message_size=max_message_size,
            context=ssl_context,
            proxy=proxy_choice,
            budget=connection_budget or PROCESS_BUDGET,
        )
        self._settings = settings
        self._streams: dict[Scope, Connection] = {
            scope: self._make_stream(scope, self._notifier.post) for scope in Scope
        }
        if redundancy > 1:
            self._streams[Scope.PUBLIC] = RedundantStream(
                self._profile,
                partial(self._make_stream, Scope.PUBLIC),
                reports=self._reports,
                notify=self._notifier.post,
                changed=self._tell_change,
            )
        dialect = ACCOUNT_DIALECTS.get(self._profile.name)
        if dialect is not None:
            self._streams[Scope.PRIVATE] = PrivateStream(
                self._profile,
                AccountDesk(
                    dialect,
                    self._profile.max_args_chars,
                    reconcile=reconcile,
                    reconcile_timeout=reconcile_timeout,
                ),
                partial(self._make_stream, Scope.PRIVATE),
                _Rest(lambda: self.rest),
                reports=self._reports,
                notify=self._notifier.post,
                changed=self._tell_change,
            )
        self._reconcile = reconcile and dialect is not None
        self._account: Account | None = None
        self._kept: dict[str, LiveOrderBook | LiveTicker] = {}  # by topic; under rotator.switch
        self._workers = Workers(self._reports, self._tell_change)
        self._rotator = Rotator(self._streams, self._make_stream, self._notifier.post, rotate_every)
        ways = Ways(
            fetch=lambda: Instruments(self.rest.instruments(copy_trading=False)),
            subscribe=self._register,
            unsubscribe=self.remove,
            notify=self._hear_symbols,
            changed=self._tell_change,
        )
        self._symbols = SymbolList(ways, instruments_every)

    def _make_stream(
        self,
        scope: Scope,
        notify: Callable[[Sequence[Event]], None],
        changed: Callable[[], None] | None = None,
        name: str | None = None,
        slow: SlowWatch | None = None,
        doubted: Callable[[], str] = lambda: "",
        quiet: bool = False,
        patience: float = 1.0,
    ) -> Stream:
        url = self._profile.url(self._environment, scope)
        private = scope is Scope.PRIVATE
        return Stream(
            scope,
            self._profile,
            url,
            self._settings if patience == 1.0 else self._settings.with_patience(patience),
            self._credentials if private else None,
            name=name,
            notify=notify,
            changed=changed or self._tell_change,
            reports=self._reports,
            measure_clock=self._measure_clock,
            slow=slow,
            doubted=doubted,
            quiet=quiet,
            beating=_ignore if private else self._look_after,
        )

    @classmethod
    def from_env(cls, **options: Any) -> CopyTradingClient:
        """Make a client from the environment variables.

        Reads ``BYBIT_API_KEY``, ``BYBIT_API_SECRET``, ``BYBIT_ENVIRONMENT`` and
        ``BYBIT_PROFILE``; an unset or empty one counts as not given.

        Args:
            options: further arguments of the constructor; they win over the environment.

        Raises:
            ConfigurationError: as the constructor does.
        """
        merged = {**from_environment(), **options}
        options.clear()  # a traceback may be shown with the local variables of its frames
        try:
            return cls(**merged)
        except Exception as error:  # noqa: BLE001 (raised again, without the frames below)
            failure = error.with_traceback(None)
        finally:
            merged.clear()
        raise failure

    @property
    def rest(self) -> RestClient:
        """The REST calls, with the same key, environment, proxy and TLS settings.

        Made, and ``requests`` imported, when it is first asked for; closed with the client.

        Raises:
            ConfigurationError: the environment has no URL for it, or one that is not safe for keys.
            StreamClosed: the client was closed.
            ForkedError: the client belongs to the parent process.
        """
        self._check_open()
        from bybit_copyws.rest.client import RestClient  # noqa: PLC0415 (takes time)

        with self._lock:
            if self._rest is None:
                self._rest = RestClient.beside_streams(
                    self._credentials, self._profile, self._environment, *self._route
                )
            return self._rest

    @property
    def instruments(self) -> Instruments:
        """The contracts of the exchange and their rules.

        Asked for by REST at first use, which blocks for as long as that takes; cached from then on.
        While the client is started it is asked for again every ``instruments_every`` seconds, and a
        new list takes the place of the old one.

        Raises:
            RestError: the list is not there yet, and could not be had.
            ProtocolError: the list is not there yet, and the answer is not what is documented.
            ConfigurationError: the environment has no URL for REST.
            StreamClosed: the client was closed before it had the list.
            ForkedError: the client belongs to the parent process.
        """
        self._check_process()
        return self._symbols.get()

    @property
    def account(self) -> Account:
        """The account of the key: positions, orders, executions and wallet, kept up to date.

        From the first use on its topics are subscribed, whatever else is. It is brought up by REST
        as soon as there is a link, and after each loss.

        Raises:
            ConfigurationError: the client has no key.
            StreamClosed: the client was closed.
            ForkedError: the client belongs to the parent process.
        """
        self._check_open()
        find_account_dialect(self._profile.name)
        if self._reconcile:
            self._prepare_rest()
        for topic in ACCOUNT_DIALECTS[self._profile.name].topics.values():
            self._parse(topic)
        with self._rotator.switch:
            stream = self._streams[Scope.PRIVATE]
            assert isinstance(stream, PrivateStream)  # noqa: S101 (as the profile has a dialect)
            if self._account is None:
                stream.desk.state.tell_status(partial(self._post_status, Scope.PRIVATE, "account"))
                stream.keep()
                self._account = Account(stream, self)
            account = self._account
        self._start_streams()
        return account

    def order_book(self, symbol: str, depth: int = 50) -> LiveOrderBook:
        """Return an order book that is kept up to date from now on.

        The same symbol and depth give the same book; its ``close()`` ends it.

        Args:
            symbol: such as ``"BTCUSDT"``.
            depth: levels a side, as the exchange offers them.

        Raises:
            ConfigurationError: there is no such topic, or no room for it on the connection.
            StreamClosed: the client was closed.
            ConnectFailed: the connection was given up.
        """
        topic = self._parse(f"orderbook.{depth}.{symbol}")
        return self._keep(topic.wire, lambda: LiveOrderBook(symbol, depth, self))

    def ticker(self, symbol: str) -> LiveTicker:
        """Return a ticker that is kept up to date from now on; as :meth:`order_book`."""
        topic = self._parse(f"tickers.{symbol}")
        return self._keep(topic.wire, lambda: LiveTicker(symbol, self))

    def _keep(self, wire: str, make: Callable[[], _Live]) -> _Live:
        self._check_open()
        with self._rotator.switch:
            found = self._kept.get(wire)
            if found is not None:
                found.open()
            else:
                found = self._kept[wire] = make()
                found.tell_status(partial(self._post_status, Scope.PUBLIC, wire))
                try:
                    found.open()
                except Exception:
                    del self._kept[wire]
                    raise
        return cast("_Live", found)

    def _prepare_rest(self) -> None:
        """Make the REST client that the account will ask.

        Here and not in the thread that asks: a mistake in its URL shows here, and a process that is
        forked in the middle of that thread's imports could never import the same.
        """
        try:
            _ = self.rest
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{error}. It is needed to reconcile the account; reconcile=False leaves that out"
            ) from None

    def _measure_clock(self) -> int | None:
        """Ask by REST what the exchange's clock says, in ms; ``None`` if nobody can tell."""
        try:
            return self.rest.exchange_ms(_CLOCK_TIMEOUT)
        except BybitCopyWSError as error:
            _log.info("the exchange's clock could not be asked for: %s", error)
            return None

    # Topics

    def subscribe(
        self,
        topic_or_topics: str | Iterable[str],
        callback: MessageCallback,
        *,
        delivery: Worker | None = None,
    ) -> Subscription:
        """Call a function for every message of a topic, or of several.

        Works before :meth:`start`, while disconnected, and inside a callback; never blocks on the
        network. Each call is one registration: a function given twice is called twice.

        ``publicTrade.*`` and the like stand for the topics of all symbols of copy trading, also of
        those that are listed later; the handle's ``topics`` are the present ones.

        Args:
            topic_or_topics: Bybit's names, such as ``orderbook.50.BTCUSDT``; of a public topic the
                symbol may be ``*``.
            callback: called with one :class:`Message`, in the run thread of its connection.
            delivery: ``Worker(...)`` to call it in a thread of its own, behind a queue that is
                bounded; ``None`` for the run thread, which is faster.

        Returns:
            The handle, which says whether the exchange accepted the topics.

        Raises:
            ConfigurationError: a topic is malformed or unknown, needs a key, or would pass the
                exchange's limit for one connection; the callback is not callable; the delivery
                does not suit a topic. Nothing is subscribed then.
            StreamClosed: the client was closed.
            AuthenticationError: the exchange refused the key before; for private topics.
            ConnectFailed: the connection was given up, see :class:`Backoff`.
        """
        check_callback(callback, "callback", "message")
        check_delivery(delivery)
        self._check_open()
        names = list(dict.fromkeys(names_of(topic_or_topics)))
        patterns = [self._pattern(name) for name in names if is_pattern(name)]
        topics = [self._parse(name) for name in names if not is_pattern(name)]
        if self._reconcile and any(topic.scope is Scope.PRIVATE for topic in topics):
            self._prepare_rest()
        worker = None
        if delivery is not None:
            for each in topics:
                check_topic(each.name, each.spec, delivery)
            for pattern in patterns:
                check_topic(pattern.name, pattern.spec, delivery)
            worker = self._workers.make(backlog_for(delivery, callback_name(callback)))
        handlers: list[Handler] = []
        expansions: list[Expansion] = []
        try:
            handlers = self._register(topics, callback, worker)
            if patterns:
                beside = {each.wire for each in topics}
                expansions = self._symbols.follow(patterns, callback, beside, worker)
            if worker is not None:
                self._workers.serve(worker, partial(_wanted, handlers, expansions))
        except Exception:
            self.remove(handlers)
            self._symbols.drop(expansions)
            if worker is not None:
                worker.stop()
            raise
        if patterns:
            return PatternSubscription(handlers, expansions, self, self._drop)
        return Subscription(handlers, self)

    def _register(
        self, topics: Sequence[Topic], callback: MessageCallback, courier: Courier | None
    ) -> list[Handler]:
        """Register a callback for topics, all of them or none."""
        handlers: list[Handler] = []
        try:
            for scope in Scope:
                mine = [topic for topic in topics if topic.scope is scope]
                if mine:
                    with self._rotator.switch:
                        handlers += self._streams[scope].subscribe(mine, callback, courier)
        except Exception:
            self.remove(handlers)
            raise
        self._start_streams()
        return handlers

    def on(self, *topics: str, delivery: Worker | None = None) -> Callable[[_Callback], _Callback]:
        """Subscribe the decorated function, which is handed back unchanged.

        Args:
            topics: Bybit's names.
            delivery: see :meth:`subscribe`.

        Raises:
            ConfigurationError: as :meth:`subscribe` does.
        """
        names_of(topics)

        def register(callback: _Callback) -> _Callback:
            self.subscribe(topics, callback, delivery=delivery)
            return callback

        return register

    def unsubscribe(
        self, topic_or_topics: str | Iterable[str], callback: MessageCallback | None = None
    ) -> None:
        """Take one callback, or all, from a topic or several.

        When the last callback of a topic goes, the exchange is told; what it answers comes as
        ``UnsubscribeConfirmed`` or ``UnsubscribeRejected``.

        Args:
            topic_or_topics: as they were subscribed.
            callback: the function to take out; ``None`` for all of the topic.

        Raises:
            ConfigurationError: a topic is not subscribed (with that callback).
        """
        self._check_process()
        handlers: list[Handler] = []
        expansions: list[Expansion] = []
        for name in names_of(topic_or_topics):
            if is_pattern(name):
                expansions += self._find_pattern(name, callback)
                continue
            topic = self._parse(name)
            with self._rotator.switch:
                found = self._streams[topic.scope].find(topic, callback)
            if not found:
                raise ConfigurationError(_not_subscribed(name, callback))
            handlers += found
        self.remove(handlers)
        if expansions:
            self._drop(expansions)

    def _drop(self, expansions: Sequence[Expansion]) -> None:
        self._check_process()
        self._symbols.drop(expansions)
        self._workers.released(each.courier for each in expansions)

    def _find_pattern(self, name: str, callback: MessageCallback | None) -> list[Expansion]:
        found = self._symbols.find(Pattern.parse(name, self._profile.topics).name, callback)
        if not found:
            raise ConfigurationError(_not_subscribed(name, callback))
        return found

    def _pattern(self, name: str) -> Pattern:
        pattern = Pattern.parse(name, self._profile.topics)
        _ = self.rest  # what it stands for is asked there: a mistake in its URL shows here
        return pattern

    def _parse(self, name: str) -> Topic:
        topic = self._profile.topics.parse(name)
        if topic.scope is Scope.PRIVATE and self._credentials is None:
            raise ConfigurationError(
                f"topic {name!r} is private: give the client api_key and api_secret "
                "(the command line takes BYBIT_API_KEY and BYBIT_API_SECRET)"
            )
        return topic

    # Life

    def start(self) -> None:
        """Open the connections that are needed, in the background. Twice does nothing.

        Raises:
            StreamClosed: the client was closed; make a new one.
        """
        self._check_open()
        with self._lock:
            self._check_open()
            self._started = True
            self._notifier.start()
            self._rotator.start()
        self._start_streams()
        self._symbols.start()

    def _start_streams(self) -> None:
        with self._lock:
            if not self._started or self._closed:
                return
            self._workers.start()
            for stream in self._streams.values():
                stream.start()

    def close(self, timeout: float = 2.0) -> None:
        """End everything. Works from any thread, inside a callback, in every state, and twice.

        After it has returned no message callback starts; one that is running may finish (called
        from inside a callback, that one). Listeners still hear of the end. In a child of a fork
        it does nothing.

        Args:
            timeout: seconds to wait for the connections to end in good order.

        Raises:
            ConfigurationError: the timeout is below 0 or no number; nothing is closed then.
        """
        if os.getpid() != self._process:
            return  # nothing of it is here; the parent's connections are not ours to close
        check_timeout(timeout)
        deadline = time.monotonic() + timeout
        for stream in self._streams.values():
            stream.mute()
        self._workers.mute()
        if threading.current_thread() is not threading.main_thread():
            self._close(deadline, threading.get_ident())
            return
        # The main thread may be inside a signal handler, on top of a call of ours that holds a
        # lock: it must not wait for that itself.
        closer = threading.Thread(
            target=self._close,
            args=(deadline, threading.get_ident()),
            name="bybit-copyws:closer",
            daemon=True,
        )
        try:
            closer.start()
        except RuntimeError:  # no thread can be had, or the interpreter is about to end
            self._close(deadline, threading.get_ident())
        else:
            closer.join(max(0.0, deadline - time.monotonic()) + _CLOSER_GRACE)

    def _close(self, deadline: float, me: int) -> None:
        timeout = deadline - time.monotonic()
        self._begin_close()
        self._closers.add(me)
        try:
            # A little of the time is kept for ending by force what did not end in good order.
            self._join(deadline - min(0.2, timeout / 4))
            for stream in self._rotator.streams():
                stream.end()
            self._join(deadline)
            if me not in self._callback_threads():
                self._notifier.close(max(0.0, deadline - time.monotonic()))
        finally:
            self._closers.discard(me)
            self._tell_change()

    def _begin_close(self) -> None:
        with self._lock:
            first, self._closed = not self._closed, True
            rest = self._rest
        if first:
            for kept in list(self._kept.values()):
                kept.end("the client was closed")
            self._rotator.end()
            for stream in self._rotator.streams():
                stream.begin_close()
            self._workers.stop()
            if rest is not None:
                rest.close()
        self._done.set()
        self._tell_change()
        if first:
            self._symbols.end()  # last: a signal handler may be on top of what holds its lock

    def _join(self, deadline: float) -> None:
        groups = [stream.threads for stream in self._rotator.streams()]
        groups += [[thread] for thread in self._workers.threads]
        for threads in groups:
            for thread in threads:
                # What is closing from its own callback ends after that callback: neither may it
                # wait for itself, nor two callbacks that close at the same time for each other.
                while thread.is_alive() and not self._closers & {each.ident for each in threads}:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        return
                    thread.join(min(left, 0.05))
        refresher = self._symbols.thread
        if refresher is not None and refresher is not threading.current_thread():
            refresher.join(max(0.0, deadline - time.monotonic()))

    def _callback_threads(self) -> set[int | None]:
        streams = (stream.thread_ids for stream in self._streams.values())
        return {thread.ident for thread in self._workers.threads}.union(*streams)

    def rotate(self, timeout: float = 30.0) -> None:
        """Replace every open connection by a new one, so that nothing is lost.

        The new one opens, subscribes and waits for its data while the old one goes on. Then the old
        one is closed and read to its end, and the new one goes on after it: every message of a
        public topic is delivered once and in order, and no gap is told. Private messages cannot be
        compared; their gap says so. If the new connection cannot be had, the old one stays.

        Args:
            timeout: seconds for each connection.

        Raises:
            TimeoutError: the new connection did not bring its data in time.
            StreamError: the new connection could not be had.
            StreamClosed: the client was closed.
            ConfigurationError: the client was not started; or this is a callback, which would wait
                for itself.
        """
        self._check_open()
        check_seconds("timeout", timeout)
        if not self._started:
            raise ConfigurationError("start() the client before rotating its connections")
        if self._in_a_callback_of(threading.get_ident()):
            raise ConfigurationError("rotate() inside a callback would wait for that callback")
        self._rotator.rotate(timeout)

    def run_forever(self) -> None:
        """Start, and block until the client is closed. Ctrl-C closes it cleanly.

        Raises:
            AuthenticationError: the exchange refused the key; everything is closed.
            ConnectFailed: a connection was given up, see :class:`Backoff`; everything is closed.
            StreamClosed: the client was closed before.
            ConfigurationError: this is a callback, which would wait for itself.
            BaseException: a ``KeyboardInterrupt`` or ``SystemExit`` that a callback raised.
        """
        if self._in_a_callback_of(threading.get_ident()):
            raise ConfigurationError("run_forever() inside a callback would wait for that callback")
        try:
            self.start()
            while not self._done.wait(_FOREVER_LOOK) and self._error() is None:
                pass
        except KeyboardInterrupt:
            self.close()
            return
        error = self._error()
        self.close()
        if self._interrupt is not None:
            raise self._interrupt
        if error is not None:
            raise error.again()

    def __enter__(self) -> CopyTradingClient:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What is going on

    def wait_until_ready(self, timeout: float = 10.0) -> None:
        """Wait until the exchange has confirmed every topic that is subscribed.

        Args:
            timeout: seconds.

        Raises:
            AuthenticationError: the exchange refused the key.
            ConnectFailed: the connection was given up, see :class:`Backoff`.
            SubscriptionError: the exchange refused topics; all others live.
            StreamClosed: the client was closed.
            ConfigurationError: the client was not started.
            TimeoutError: not all are confirmed in time; the text names what is missing.
        """
        self._check_open()
        if not self._started:
            raise ConfigurationError("start() the client before waiting for it")
        settled = self.wait_for(self._settled, timeout)
        if self._closed:
            raise StreamClosed("the client was closed")
        error = self._error() or self._symbols.error
        if error is not None:
            raise error.again()
        missing, refused = self._unsettled()
        if refused:
            ret_msg = refused[0].ret_msg or ""
            names = [handler.topic.name for handler in refused]
            raise SubscriptionError(list(dict.fromkeys(names)), ret_msg, explain(ret_msg))
        if not settled:
            raise TimeoutError(
                f"not confirmed within {timeout:g} s: {', '.join(missing[:5])}"
                f"{f' and {len(missing) - 5} more' if len(missing) > 5 else ''} ({self._states()})"
                f"{self.troubles()}"
            )

    def listen(self, callback: EventCallback, *event_types: type[Event]) -> Listener:
        """Call a function for lifecycle events, in the event thread of the client.

        Args:
            callback: called with one event.
            event_types: classes of :mod:`bybit_copyws.events`; all events if none is given.

        Returns:
            A handle; its ``remove()`` ends the listening.

        Raises:
            ConfigurationError: the callback is not callable, or a type is no event.
        """
        check_callback(callback, "listener", "event")
        self._check_process()
        for kind in event_types:
            if not (isinstance(kind, type) and issubclass(kind, Event)):
                raise ConfigurationError(f"{kind!r} is no class of bybit_copyws.events")
        return self._notifier.listen(callback, event_types)

    def health(self) -> Health:
        """Return how connections, topics and callbacks are doing, ready for JSON."""
        self._check_process()
        connections: dict[str, ConnectionHealth] = {}
        for stream in self._streams.values():
            connections.update(stream.health())
        now = time.monotonic()
        kept = {name: state_health(each, now) for name, each in list(self._kept.items())}
        private = self._streams[Scope.PRIVATE]
        if isinstance(private, PrivateStream) and private.desk.followed:
            kept["account"] = state_health(private.desk.state, now)
        return Health(connections=connections, events_dropped=self._notifier.dropped, kept=kept)

    def __repr__(self) -> str:
        if not hasattr(self, "_streams"):  # shown in a traceback of the constructor
            return "CopyTradingClient(<refused>)"
        return (
            f"CopyTradingClient(environment={self._environment.name!r}, "
            f"profile={self._profile.name!r}: {self._states()})"
        )

    # For subscriptions

    def wait_for(self, predicate: Callable[[], bool], timeout: float) -> bool:
        """Wait until something about the connections is true; return whether it became so.

        Raises:
            ConfigurationError: it is not yet so, and this is a callback.
        """
        self._check_process()
        check_timeout(timeout)
        if not predicate() and self._in_a_callback_of(threading.get_ident()):
            raise ConfigurationError(
                "waiting inside a callback cannot work: what is waited for is read by the same "
                "thread, which the callback holds up. Listen for an event instead"
            )
        with self._changed:
            return self._changed.wait_for(predicate, timeout)

    def _in_a_callback_of(self, thread_id: int) -> bool:
        return any(thread_id in stream.thread_ids for stream in self._streams.values())

    def remove(self, handlers: Sequence[Handler]) -> None:
        """Take handlers out of their streams."""
        self._check_process()
        for scope in Scope:
            mine = [handler for handler in handlers if handler.topic.scope is scope]
            if mine:
                with self._rotator.switch:
                    self._streams[scope].unsubscribe(mine)
        self._workers.released(each.courier for each in handlers)

    def resync(self, topic: str, reason: str) -> None:
        """Subscribe a topic of the market anew, and tell why."""
        event = BookResync(
            time=time.time(), connection=Scope.PUBLIC.value, topic=topic, reason=reason
        )
        self._notifier.post([event])
        with self._rotator.switch:
            self._streams[Scope.PUBLIC].refresh(self._parse(topic))

    def status_changed(self) -> None:
        """Wake who waits for something that is kept."""
        self._tell_change()

    def _post_status(self, scope: Scope, name: str, old: Status, new: Status, reason: str) -> None:
        """Tell whether something that is kept can be trusted; called with its lock held."""
        self._notifier.post(
            [
                StatusChanged(
                    time=time.time(),
                    connection=scope.value,
                    name=name,
                    old=old,
                    new=new,
                    reason=reason,
                )
            ]
        )

    def _hear_symbols(self, events: Sequence[Event]) -> None:
        """Tell of symbols; what is kept of those that are gone will hear no more."""
        self._notifier.post(events)
        for event in events:
            if isinstance(event, SymbolsChanged):
                for kept in list(self._kept.values()):
                    if kept.symbol in event.withdrawn:
                        kept.stale("the exchange has withdrawn the symbol", time.monotonic())

    def _look_after(self, now: float) -> None:
        """Have what is kept do what is due."""
        for kept in list(self._kept.values()):
            kept.look(now)

    def forget(self, topic: str, state: object) -> None:
        """Keep a book or ticker no longer."""
        with self._rotator.switch:
            if self._kept.get(topic) is state:
                del self._kept[topic]

    def private_error(self) -> StreamError | None:
        """Return what ended the private connection for good, if anything."""
        error = self._streams[Scope.PRIVATE].error
        if error is not None:
            return error
        return StreamClosed("the client was closed") if self._closed else None

    def terminal_error(self, handlers: Sequence[Handler]) -> StreamError | None:
        """Return what ended the connections of some handlers for good, if anything."""
        for scope in {handler.topic.scope for handler in handlers}:
            error = self._streams[scope].error
            if error is not None:
                return error
        return StreamClosed("the client was closed") if self._closed else None

    def troubles(self) -> str:
        """Say why there are no links, to be put behind an error."""
        if not self._started:
            return "; the client was not started: start() it first"
        return "".join(
            f"; {who}: {trouble}"
            for who, trouble in (
                *((scope.value, each.trouble) for scope, each in self._streams.items()),
                ("symbols", self._symbols.trouble),
            )
            if trouble is not None
        )

    # Inside

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise ForkedError(
                f"this client belongs to process {self._process}, which this one was forked from: "
                "make a new client in each process"
            )

    def _check_open(self) -> None:
        self._check_process()
        if self._closed:
            raise StreamClosed("the client was closed; make a new one")

    def _tell_change(self) -> None:
        with self._changed:
            self._changed.notify_all()
        if self._error() is not None:
            self._done.set()
        ended = all(each.state is State.CLOSED for each in self._streams.values())
        if self._closed and ended and self._workers.ended:
            self._notifier.finish()  # every event is queued by now

    def _interrupted(self, error: BaseException) -> None:
        """Close for a callback that raised what is meant for the whole program."""
        if self._interrupt is None:
            self._interrupt = error
        self._begin_close()

    def _error(self) -> StreamError | None:
        return next((each.error for each in self._streams.values() if each.error is not None), None)

    def _unsettled(self) -> tuple[list[str], list[Handler]]:
        missing: list[str] = []
        refused: list[Handler] = []
        for stream in self._streams.values():
            names, handlers = stream.unsettled()
            missing += names
            refused += handlers
        return [*missing, *self._symbols.pending], refused

    def _settled(self) -> bool:
        missing, refused = self._unsettled()
        failed = self._error() is not None or self._symbols.error is not None
        return not missing or bool(refused) or self._closed or failed

    def _states(self) -> str:
        return ", ".join(
            f"{scope.value} {each.state.value}" for scope, each in self._streams.items()
        )


def _ignore(_: float) -> None:
    """Do nothing at a beat of a connection of which nothing is kept by itself."""


def _not_subscribed(name: str, callback: MessageCallback | None) -> str:
    whom = " with that callback" if callback is not None else ""
    return f"topic {name!r} is not subscribed{whom}"


def _wanted(handlers: Sequence[Handler], expansions: Sequence[Expansion]) -> bool:
    """Return whether a message may still come to one of a subscription's callbacks."""
    return any(each.active for each in handlers) or any(not each.ended for each in expansions)


class _Rest:
    """How the account asks REST: by the client's own, which is made when it is first needed.

    Args:
        get: returns it.
    """

    def __init__(self, get: Callable[[], RestClient]) -> None:
        self._get = get

    def exchange_ms(self) -> int:
        """Return the exchange's time."""
        return self._get().exchange_ms(_CLOCK_TIMEOUT)

    def call(self, name: str, **params: Any) -> Any:
        """Return the ``result`` of a call, as sent."""
        return self._get().call(name, **params)
