"""The fault proxy as a user sees it: a context manager with its own thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.sandbox.proxy.checks import check_how, check_integer
from bybit_copyws.sandbox.proxy.direction import Direction, Way
from bybit_copyws.sandbox.proxy.engine import Engine
from bybit_copyws.sandbox.proxy.faults import Faults
from bybit_copyws.sandbox.proxy.lane import Lane
from bybit_copyws.sandbox.proxy.link import ProxiedConnection
from bybit_copyws.sandbox.proxy.target import HasUrl, parse_target, resolve
from bybit_copyws.sandbox.proxy.task import Task, not_running
from bybit_copyws.wire.profiles import Environment

_T = TypeVar("_T")

_LOOK = 0.02  # seconds; how often wait_for looks at things of which the proxy knows nothing


class FaultProxy:
    """A TCP proxy that does to a connection what a bad network does, to the byte.

    ::

        with Sandbox() as exchange, FaultProxy(exchange) as proxy:
            client = CopyTradingClient(
                exchange.api_key, exchange.api_secret, environment=proxy.environment
            )
            ...
            proxy.up.hold()    # we still hear the exchange, but it does not hear us
            ...
            proxy.heal()

    Directions are named by who hears: :attr:`up` is from the client to the target, :attr:`down`
    from the target to the client. TLS passes through as bytes like any other.

    Use it as a context manager, or :meth:`start` and :meth:`close` it. All members are safe from
    any thread, and what they tell the proxy has taken effect when they return.

    Args:
        target: where the connections go to: a running ``Sandbox``, a base URL, or a host.
        target_port: its port, if ``target`` is a host.
        host: address to listen on.
        port: port to listen on; 0 for a free one.
        buffer: bytes that may wait in the proxy in each direction of each connection; with more,
            it stops reading, so that in the end the speaker cannot send. The kernel's receive
            buffers are asked for the same size.

    Raises:
        ConfigurationError: the target is not where something could listen, or an argument is out
            of range.
    """

    def __init__(
        self,
        target: str | HasUrl,
        target_port: int | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        buffer: int = 2**20,
    ) -> None:
        self._scheme, self._target = parse_target(target, target_port)
        if not isinstance(host, str) or not host:
            raise ConfigurationError(f"host must be an address of this machine, not {host!r}")
        check_integer("port", port, 0, 65_535)
        check_integer("buffer", buffer, 1, 2**30)
        self._host, self._port, self._buffer = host, port, buffer
        #: From the client to the target.
        self.up = Direction(self._way(lambda engine: (engine.up, [k.up for k in engine.links])))
        #: From the target to the client.
        self.down = Direction(
            self._way(lambda engine: (engine.down, [k.down for k in engine.links]))
        )
        # Guards what stands below it; held only for a look or a change, or to run a function when
        # no thread does. No other lock is taken while it is held.
        self._lock = threading.Lock()
        self._tasks: list[Task[Any]] = []
        self._running = False
        self._engine: Engine | None = None
        self._thread: threading.Thread | None = None
        # Woken after every change of a connection; guards _changes. Held only for a look or a
        # change, never together with _lock.
        self._changed = threading.Condition()
        self._changes = 0
        self._stop = threading.Event()
        self._error: BaseException | None = None

    # Life

    def start(self) -> None:
        """Listen, in the background, without any fault. Twice does nothing.

        Raises:
            ConfigurationError: the target has no address, or the port cannot be had.
        """
        with self._lock:
            if self._thread is not None:
                return
            engine = Engine(resolve(*self._target), self._host, self._port, self._buffer)
            self._port = engine.port
            self._engine, self._running, self._error = engine, True, None
            self._stop.clear()
            self._thread = threading.Thread(
                target=self._run, args=(engine,), name="bybit-copyws:proxy", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """End all connections and stop. Twice does nothing.

        Raises:
            Exception: whatever went wrong inside while it ran.
        """
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is None or self._engine is None:
            return
        self._stop.set()
        self._engine.wake()
        thread.join()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> FaultProxy:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # How to reach it

    @property
    def port(self) -> int:
        """The port that it listens on."""
        if self._engine is None:
            raise not_running()
        return self._port

    @property
    def url(self) -> str:
        """Base URL, with the scheme of the target (``ws`` if it was given as a host)."""
        return self._url(self._scheme)

    @property
    def environment(self) -> Environment:
        """What to give to ``CopyTradingClient(environment=...)``, when the target is a Sandbox.

        Streams and REST all go through the proxy. To have one of them alone in trouble, make an
        ``Environment`` with the proxy's :attr:`url` there and the Sandbox's elsewhere.
        """
        secure = self._scheme in ("wss", "https")
        stream, rest = (self._url(each + "s" * secure) for each in ("ws", "http"))
        return Environment("proxy", stream, stream, rest)

    def _url(self, scheme: str) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{scheme}://{host}:{self.port}"

    # What it sees; also after close()

    @property
    def connections(self) -> tuple[ProxiedConnection, ...]:
        """The open connections, oldest first."""
        return self._call(lambda engine: tuple(link.info() for link in engine.links))

    @property
    def ended(self) -> tuple[ProxiedConnection, ...]:
        """The connections that have ended, in the order in which they did (the last 10,000)."""
        return self._call(lambda engine: tuple(engine.ended))

    @property
    def accepted(self) -> int:
        """How many connections were accepted so far."""
        return self._call(lambda engine: engine.accepted)

    def wait_for(self, predicate: Callable[[FaultProxy], bool], timeout: float = 5.0) -> None:
        """Wait until something is true; it is looked at after each change of a connection.

        Args:
            predicate: called with the proxy, in the calling thread.
            timeout: seconds.

        Raises:
            TimeoutError: it did not become true within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            with self._changed:
                seen = self._changes
            if predicate(self):
                return
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"the proxy did not get there within {timeout:g} s")
            with self._changed:
                if self._changes == seen:
                    # Not for ever: the predicate may look at other things too.
                    self._changed.wait(min(left, _LOOK))

    # What it can be told to do

    def refuse(self) -> None:
        """Refuse new connections from now on; the open ones go on.

        Raises:
            ConfigurationError: the proxy does not run.
        """
        self._command(Engine.refuse)

    def accept(self) -> None:
        """Accept and forward again, on the same port; forward the silent connections too.

        Raises:
            ConfigurationError: the proxy does not run, or another program has taken the port
                (on Linux only if it asked for this one, with ``SO_REUSEADDR``).
        """
        self._command(Engine.accept)

    def accept_silent(self) -> None:
        """Accept new connections but forward nothing: the target hears nothing of them.

        They go on once :meth:`accept` or :meth:`heal` is called, if the client is still there.

        Raises:
            ConfigurationError: as :meth:`accept` does.
        """
        self._command(lambda engine: engine.accept(silent=True))

    def cut(self, how: str = "rst") -> int:
        """Cut all open connections now; new ones are not affected.

        Args:
            how: ``"rst"`` resets both sides at once; ``"fin"`` ends both with a FIN, and throws
                away what they still send; ``"hold"`` lets nothing pass any more, both ways, until
                :meth:`Direction.release`. What waits in the proxy is lost, unless held.

        Returns:
            How many there were.

        Raises:
            ConfigurationError: ``how`` is none of these, or the proxy does not run.
        """
        check_how(how)
        return self._command(lambda engine: engine.cut(how))

    def heal(self) -> None:
        """Put an end to all faults, armed ones too: accept, forward, and let flow what waited.

        Raises:
            ConfigurationError: as :meth:`accept` does.
        """
        self._command(Engine.heal)

    # Inside

    def _run(self, engine: Engine) -> None:
        try:
            while not self._stop.is_set():
                self._turn(engine)
        except BaseException as error:  # noqa: BLE001 (raised again by close)
            self._error = error
        finally:
            engine.close()
            with self._lock:
                self._running = False
                tasks, self._tasks = self._tasks, []
            for task in tasks:
                task.finish()
            self._tell_change()

    def _turn(self, engine: Engine) -> None:
        """Wait until there is something to do, and do it."""
        # The look below may have taken the wake-up of a task that came during it.
        if not self._tasks:
            engine.wait()
        with self._lock:
            tasks, self._tasks = self._tasks, []
        try:
            # All that had happened when a task was given comes before it.
            engine.look()
            engine.accept_pending()
            changed = engine.advance()
            for task in tasks:
                task.run(engine)
            if tasks:
                changed |= engine.advance()
            if changed:
                self._tell_change()
        finally:
            for task in tasks:
                task.finish()

    def _tell_change(self) -> None:
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    def _command(self, function: Callable[[Engine], _T]) -> _T:
        """Run a function in the proxy's thread."""
        if not self._running:
            raise not_running()
        return self._call(function)

    def _call(self, function: Callable[[Engine], _T]) -> _T:
        """Run a function in the proxy's thread, or here when that has ended."""
        with self._lock:
            engine = self._engine
            if engine is None:
                raise not_running()
            if not self._running:
                return function(engine)
            task = Task(function)
            self._tasks.append(task)
        engine.wake()
        return task.future.result()

    def _way(self, pick: Callable[[Engine], tuple[Faults, Sequence[Lane]]]) -> Way:
        def way(function: Callable[[Faults, Sequence[Lane]], None], /) -> None:
            self._command(lambda engine: function(*pick(engine)))

        return way
