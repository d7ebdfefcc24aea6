"""The local exchange as a user sees it: a context manager with its own thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.sandbox.market import DEFAULT_INSTRUMENTS, instrument
from bybit_copyws.wire.profiles import Environment
from bybit_copyws.wire.signing import Credentials
from bybit_copyws.wire.topics import Scope

try:
    from bybit_copyws.sandbox.server import ConnectionInfo, Received, Server
    from bybit_copyws.sandbox.venue import Rules
except ImportError as error:
    raise ConfigurationError(
        "the sandbox needs an extra: pip install 'bybit_copyws[sandbox]'"
    ) from error

_T = TypeVar("_T")

DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT")
_KEY, _SECRET = "SandboxKey0123456789", "SandboxSecret0123456789abcdefghijkl"
_HOWS = ("close", "fin", "rst")
_START_TIMEOUT = 10.0


class Sandbox:
    """A local exchange that speaks v3 and v5, for bots and their tests.

    Use it as a context manager, or :meth:`start` and :meth:`close` it. All members are safe from
    any thread.

    Args:
        seed: of prices, ids and the account's doings: the same seed gives the same exchange.
        symbols: the contracts to trade; any name ending in ``USDT``.
        trading: whether the account trades by itself, so that private topics have something.
        market: whether market data is pushed.
        activity: how lively the market is; 1.0 is moderate.
        api_key: key of the account.
        api_secret: its secret.
        host: address to listen on.
        port: port to listen on; 0 for a free one.
        history: how many of the clients' frames are kept in :attr:`received`.

    Raises:
        ConfigurationError: a symbol is no name of a contract.
    """

    def __init__(
        self,
        seed: int = 1,
        *,
        symbols: Iterable[str] = DEFAULT_SYMBOLS,
        trading: bool = True,
        market: bool = True,
        activity: float = 1.0,
        api_key: str = _KEY,
        api_secret: str = _SECRET,
        host: str = "127.0.0.1",
        port: int = 0,
        history: int = 100_000,
    ) -> None:
        self.api_key = api_key
        self.api_secret = api_secret
        self._seed = seed
        try:
            self._instruments = [DEFAULT_INSTRUMENTS.get(s) or instrument(s) for s in symbols]
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self._options = {"trading": trading, "market": market, "activity": activity}
        self._history = history
        self._host, self._port = host, port
        # Woken after every change of connections and subscriptions.
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    # Life

    def start(self) -> None:
        """Listen, in the background. Twice does nothing."""
        if self._thread is not None:
            return
        started: threading.Event = threading.Event()
        failures: list[BaseException] = []
        self._thread = threading.Thread(
            target=self._run, args=(started, failures), name="bybit-copyws:sandbox", daemon=True
        )
        self._thread.start()
        started.wait(_START_TIMEOUT)
        if failures:
            self._thread.join()
            self._thread = None
            raise failures[0]

    def _run(self, started: threading.Event, failures: list[BaseException]) -> None:
        loop = asyncio.new_event_loop()
        self._loop = loop
        try:
            server = Server(
                self._instruments,
                seed=self._seed,
                credentials=Credentials(self.api_key, self.api_secret),
                history=self._history,
                changed=self._tell_change,
                **self._options,  # type: ignore[arg-type]
            )
            self._port = loop.run_until_complete(server.start(self._host, self._port))
            self._server = server
            started.set()
            loop.run_forever()
            loop.run_until_complete(server.stop())
            loop.run_until_complete(loop.shutdown_asyncgens())
        except BaseException as error:  # noqa: BLE001 (raised again by start)
            failures.append(error)
        finally:
            started.set()
            loop.close()

    def close(self) -> None:
        """Drop all clients and stop. Twice does nothing.

        Raises:
            Exception: whatever went wrong inside while it ran.
        """
        thread, loop, self._thread = self._thread, self._loop, None
        if thread is None or loop is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        if self._server is not None and self._server.error is not None:
            raise self._server.error

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # How to reach it

    @property
    def url(self) -> str:
        """Base URL of its streams."""
        return f"ws://{self._host}:{self._port}"

    @property
    def environment(self) -> Environment:
        """What to give to ``CopyTradingClient(environment=...)``."""
        return Environment("sandbox", self.url, self.url, f"http://{self._host}:{self._port}")

    # What it sees

    @property
    def rules(self) -> Rules:
        """What a test may change about the exchange, at any time."""
        return self._running.rules

    @property
    def connections(self) -> tuple[ConnectionInfo, ...]:
        """The open connections."""
        return self.call(lambda server: tuple(peer.info() for peer in server.peers.values()))

    @property
    def subscriptions(self) -> dict[str, frozenset[str]]:
        """The topics of each open connection, by its id."""
        return {info.conn_id: frozenset(info.topics) for info in self.connections}

    @property
    def received(self) -> list[Received]:
        """The text frames that clients sent, oldest first."""
        return self.call(lambda server: list(server.received))

    @property
    def accepted(self) -> int:
        """How many connections were accepted so far."""
        return self._running.accepted

    def wait_for(self, predicate: Callable[[Sandbox], bool], timeout: float = 5.0) -> None:
        """Wait until something about the connections is true.

        Raises:
            TimeoutError: it did not become true within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while not predicate(self):
            with self._changed:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"the sandbox did not get there within {timeout:g} s")
                # Looked at again soon in any case: the change may lie between look and wait.
                self._changed.wait(min(left, 0.02))

    # What it can be told to do

    def drop(
        self, scope: str | None = None, *, how: str = "close", code: int = 1001, reason: str = ""
    ) -> int:
        """End connections: by a close frame, a FIN without one, or an RST.

        Args:
            scope: ``"public"``, ``"private"``, or ``None`` for both.
            how: ``"close"``, ``"fin"`` or ``"rst"``.
            code: of the close frame.
            reason: of the close frame.

        Returns:
            How many were ended.
        """
        if how not in _HOWS:
            raise ConfigurationError(f"how must be one of {', '.join(_HOWS)}, not {how!r}")
        server = self._running
        return self._await(server.drop(_scope(scope), how, code, reason))

    def push(self, payload: dict[str, Any] | str | bytes, scope: str | None = None) -> int:
        """Send one text frame, exactly as given, to every open connection of a scope.

        Returns:
            To how many.
        """
        if isinstance(payload, dict):
            payload = msgspec.json.encode(payload)
        data = payload.encode() if isinstance(payload, str) else payload
        return self.call(lambda server: server.push(data, _scope(scope)))

    def push_topic(self, message: dict[str, Any]) -> int:
        """Send a message to the connections that subscribed its topic; return to how many."""
        return self.call(lambda server: server.push_topic(message))

    def refuse_auth(self, ret_msg: str, times: int = 1) -> None:
        """Refuse the next logins with a text."""
        self.call(lambda server: server.rules.refuse_auth.extend([ret_msg] * times))

    def call(self, function: Callable[[Server], _T]) -> _T:
        """Run a function in the exchange's thread (with ``server.market``, ``server.account``)."""
        server = self._running

        async def run() -> _T:
            return function(server)

        return self._await(run())

    # Inside

    @property
    def _running(self) -> Server:
        if self._server is None or self._thread is None:
            raise ConfigurationError("the sandbox is not running: start() it, or use `with`")
        return self._server

    def _await(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        if self._loop is None:
            raise ConfigurationError("the sandbox is not running: start() it, or use `with`")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_START_TIMEOUT)

    def _tell_change(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _scope(scope: str | None) -> Scope | None:
    return None if scope is None else Scope(scope)
