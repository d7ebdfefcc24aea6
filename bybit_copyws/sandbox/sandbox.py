"""The local exchange as a user sees it: a context manager with its own thread."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.sandbox.market import DEFAULT_INSTRUMENTS, Instrument, instrument
from bybit_copyws.sandbox.playback import Playback
from bybit_copyws.wire.profiles import Environment
from bybit_copyws.wire.signing import Credentials

try:
    from bybit_copyws.sandbox.background import Background
    from bybit_copyws.sandbox.controls import Controls
    from bybit_copyws.sandbox.exchange import Exchange, ExchangeOptions
    from bybit_copyws.sandbox.history import Received, Sent
    from bybit_copyws.sandbox.peer import ConnectionInfo
    from bybit_copyws.sandbox.rest import RestRules
    from bybit_copyws.sandbox.venue import Rules
except ImportError as error:
    raise ConfigurationError(
        "the sandbox needs an extra: pip install 'bybit_copyws[sandbox]'"
    ) from error

if TYPE_CHECKING:
    from bybit_copyws.sandbox.tls import ThrowawayAuthority

_T = TypeVar("_T")

DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT")
_KEY, _SECRET = "SandboxKey0123456789", "SandboxSecret0123456789abcdefghijkl"
_CALL_TIMEOUT = 60.0  # all but a step is done at once


class Sandbox(Controls):
    """A local exchange that speaks v3 and v5, for bots and their tests.

    Use it as a context manager, or :meth:`start` and :meth:`close` it. All members are safe from
    any thread.

    Args:
        seed: of prices, ids and the account's doings: the same seed gives the same exchange.
        symbols: the contracts to trade; any name ending in ``USDT``.
        trading: whether the account trades by itself, so that private topics have something.
        market: whether market data is pushed.
        activity: how lively the market is; 1.0 is moderate.
        cadence: ``"documented"`` pushes books every 10 to 200 ms as Bybit does, ``"fast"`` every
            change at once.
        speed: how fast time passes: 1.0 is real time, 10.0 ten times as fast, 0 not at all
            except by :meth:`step`, so that a test decides what happens when.
        tls: whether to speak TLS, with a throw-away authority; then give
            ``ssl_context=exchange.ssl_context`` to the client.
        api_key: key of the account.
        api_secret: its secret.
        host: address to listen on.
        port: port to listen on; 0 for a free one.
        playback: a recorded session that is served instead of the simulated market, beginning with
            the first subscription; see :mod:`bybit_copyws.sandbox.playback` for the file.
        history: how many messages are kept in :attr:`sent` and in :attr:`received`.

    Raises:
        ConfigurationError: a symbol is no name of a contract, or another argument is out of
            range.
    """

    def __init__(
        self,
        seed: int = 1,
        *,
        symbols: Iterable[str] = DEFAULT_SYMBOLS,
        trading: bool = True,
        market: bool = True,
        activity: float = 1.0,
        cadence: str = "documented",
        speed: float = 1.0,
        tls: bool = False,
        api_key: str = _KEY,
        api_secret: str = _SECRET,
        host: str = "127.0.0.1",
        port: int = 0,
        playback: str | Path | None = None,
        history: int = 100_000,
    ) -> None:
        self.api_key = api_key
        self.api_secret = api_secret
        if cadence not in ("documented", "fast"):
            raise ConfigurationError(f"cadence must be 'documented' or 'fast', not {cadence!r}")
        if not 0 <= speed < float("inf"):
            raise ConfigurationError(f"speed must be 0 (stepped) or above, not {speed!r}")
        if not isinstance(history, int) or history < 1:
            raise ConfigurationError(f"history must be 1 or more, not {history!r}")
        if not 0 <= activity < float("inf"):
            raise ConfigurationError(f"activity must be 0 or above, not {activity!r}")
        if isinstance(symbols, str):
            raise ConfigurationError(f"symbols must be a list, such as [{symbols!r}]")
        symbols = tuple(symbols)
        if not symbols:
            raise ConfigurationError("symbols names no contract: leave it out for the usual five")
        if not isinstance(port, int) or not 0 <= port <= 65_535:
            raise ConfigurationError(f"port must be 0 to 65535, not {port!r}")
        self._authority = _make_authority(host) if tls else None
        self._options = ExchangeOptions(
            seed=seed,
            instruments=[_instrument(symbol) for symbol in symbols],
            credentials=Credentials(api_key, api_secret),
            trading=trading and playback is None,
            market=market and playback is None,
            activity=activity,
            cadence=cadence,
            speed=speed,
            history=history,
            context=self._authority.server if self._authority else None,
            playback=None if playback is None else Playback.load(playback),
        )
        self._host, self._port = host, port
        # Woken after every change of connections and subscriptions.
        self._changed = threading.Condition()
        # Guards starting and closing against each other; held until either is done.
        self._life = threading.Lock()
        self._background: Background | None = None

    # Life

    def start(self) -> None:
        """Listen, in the background. Twice does nothing.

        Raises:
            ConfigurationError: the address or port cannot be listened on.
        """
        with self._life:
            if self._background is not None:
                return
            if self._authority is not None:
                self._authority.write()
            background = Background(
                lambda: Exchange(self._options, self._tell_change), self._host, self._port
            )
            try:
                background.start()
            except BaseException:
                self._forget_authority()
                raise
            self._background, self._port = background, background.port

    def close(self) -> None:
        """Drop all clients and stop. Twice does nothing.

        Raises:
            Exception: whatever went wrong inside while it ran.
        """
        with self._life:
            background, self._background = self._background, None
            if background is None:
                return
            try:
                background.stop()
            finally:
                self._forget_authority()

    def _forget_authority(self) -> None:
        if self._authority is not None:
            self._authority.remove()

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # How to reach it

    @property
    def url(self) -> str:
        """Base URL of its streams."""
        return f"{'ws' if self._authority is None else 'wss'}://{self._address}"

    @property
    def _address(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}"

    @property
    def environment(self) -> Environment:
        """What to give to ``CopyTradingClient(environment=...)``."""
        rest = f"{'http' if self._authority is None else 'https'}://{self._address}"
        return Environment("sandbox", self.url, self.url, rest)

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """What to give to ``CopyTradingClient(ssl_context=...)``; ``None`` without TLS."""
        return None if self._authority is None else self._authority.client

    @property
    def ca_file(self) -> str | None:
        """The throw-away authority's certificate, in a file that :meth:`close` deletes."""
        return None if self._authority is None else self._authority.ca_file

    # What it sees

    @property
    def rules(self) -> Rules:
        """What a test may change about the exchange, at any time."""
        return self._running.rules

    @property
    def rest_rules(self) -> RestRules:
        """What a test may change about its REST side, at any time: limits, bans, forced replies."""
        return self._running.rest.rules

    @property
    def connections(self) -> tuple[ConnectionInfo, ...]:
        """The open connections."""
        return self.call(lambda exchange: tuple(peer.info() for peer in exchange.peers.values()))

    @property
    def subscriptions(self) -> dict[str, frozenset[str]]:
        """The topics of each open connection, by its id."""
        return {info.conn_id: frozenset(info.topics) for info in self.connections}

    @property
    def received(self) -> list[Received]:
        """The text frames that clients sent, oldest first."""
        return self.call(lambda exchange: list(exchange.received))

    @property
    def sent(self) -> list[Sent]:
        """What was put on the wire as a whole, oldest first; as many as ``history`` keeps."""
        return self.call(lambda exchange: list(exchange.history))

    def sent_after(self, number: int, limit: int | None = None) -> list[Sent]:
        """Return what was put on the wire after a message: the history as a stream.

        Args:
            number: of the last message that is known; 0 for none.
            limit: at most so many.

        Raises:
            ConfigurationError: some of them are not kept any more.
        """
        return self.call(lambda exchange: exchange.history.after(number, limit))

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

    # Time

    def step(self, seconds: float) -> None:
        """Let time pass at an exchange with ``speed=0``; returns when all of it has happened there.

        What it sent reaches a client's callbacks a moment later: wait for what they do.

        Raises:
            ConfigurationError: the exchange's time passes by itself.
        """
        if self._options.speed != 0:
            raise ConfigurationError("only a sandbox made with speed=0 can be stepped")
        if not isinstance(seconds, (int, float)) or not 0 <= seconds < float("inf"):
            raise ConfigurationError(f"time can only go on: {seconds!r} s")
        self._await(lambda exchange: exchange.step(seconds), None)

    @property
    def time_ms(self) -> int:
        """The exchange's time, in milliseconds since the epoch."""
        return self._running.clock.now_ms()

    def call(self, function: Callable[[Exchange], _T]) -> _T:
        """Run a function in the exchange's thread (it has ``market``, ``account`` and more)."""

        async def run(exchange: Exchange) -> _T:
            return function(exchange)

        return self._await(run)

    # Inside

    @property
    def _running(self) -> Exchange:
        return self._there.exchange

    @property
    def _there(self) -> Background:
        background = self._background
        if background is None:
            raise ConfigurationError("the sandbox is not running: start() it, or use `with`")
        return background

    def _await(
        self,
        start: Callable[[Exchange], Coroutine[Any, Any, _T]],
        timeout: float | None = _CALL_TIMEOUT,
    ) -> _T:
        return self._there.wait_for(start, timeout)

    def _tell_change(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _make_authority(host: str) -> ThrowawayAuthority:
    # Imported only now: the library behind it takes longer to load than all the rest.
    from bybit_copyws.sandbox.tls import ThrowawayAuthority  # noqa: PLC0415

    return ThrowawayAuthority(host)


def _instrument(symbol: str) -> Instrument:
    try:
        return DEFAULT_INSTRUMENTS.get(symbol) or instrument(symbol)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
