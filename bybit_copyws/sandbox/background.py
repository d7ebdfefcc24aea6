"""The thread that a local exchange runs in, and the way into it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.sandbox.exchange import Exchange
from bybit_copyws.sandbox.server import Server

_T = TypeVar("_T")

_START_TIMEOUT = 10.0


class Background:
    """Runs an exchange and its server in an event loop in a thread of its own.

    Args:
        make: makes the exchange, in that thread.
        host: address to listen on.
        port: port to listen on; 0 for a free one.

    Attributes:
        port: the one that is listened on, once started.
    """

    def __init__(self, make: Callable[[], Exchange], host: str, port: int) -> None:
        self.port = port
        self._make = make
        self._host = host
        self._loop = asyncio.new_event_loop()
        self._exchange: Exchange | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="bybit-copyws:sandbox", daemon=True)
        self._started = threading.Event()

    def start(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: the address or port cannot be listened on.
        """
        self._thread.start()
        self._started.wait(_START_TIMEOUT)
        if self._failure is None:
            return
        self._thread.join()
        if isinstance(self._failure, OSError):
            raise ConfigurationError(
                f"cannot listen on {self._host}, port {self.port}: {self._failure}"
            ) from self._failure
        raise self._failure

    def _run(self) -> None:
        loop = self._loop
        try:
            exchange = self._make()
            server = Server(exchange)
            self.port = loop.run_until_complete(server.start(self._host, self.port))
            self._exchange = exchange
            self._started.set()
            loop.run_forever()
            loop.run_until_complete(server.stop())
            self._end_calls()
            loop.run_until_complete(loop.shutdown_asyncgens())
        except BaseException as error:  # noqa: BLE001 (raised again by start or stop)
            self._failure = error
        finally:
            self._started.set()
            loop.close()

    def _end_calls(self) -> None:
        """Let those who wait in :meth:`wait_for` go: they get ``CancelledError``."""
        waiting = asyncio.all_tasks(self._loop)
        for task in waiting:
            task.cancel()
        if waiting:
            self._loop.run_until_complete(asyncio.gather(*waiting, return_exceptions=True))

    def stop(self) -> None:
        """Drop all clients and end.

        Raises:
            Exception: whatever went wrong inside while it ran.
        """
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        error = self._failure or (self._exchange.error if self._exchange is not None else None)
        if error is not None:
            raise error

    @property
    def exchange(self) -> Exchange:
        """What runs there.

        Raises:
            ConfigurationError: nothing does.
            Exception: it broke, with this.
        """
        if self._exchange is None:
            raise ConfigurationError("the sandbox is not running: start() it, or use `with`")
        if self._exchange.error is not None:
            raise self._exchange.error  # nothing happens there any more
        return self._exchange

    def wait_for(
        self, start: Callable[[Exchange], Coroutine[Any, Any, _T]], timeout: float | None
    ) -> _T:
        """Run a coroutine there, and wait for it.

        Raises:
            ConfigurationError: this is the exchange's own thread, or it has been closed.
            TimeoutError: it took longer than ``timeout`` seconds.
        """
        if self._thread is threading.current_thread():
            raise ConfigurationError(
                "this is the exchange's own thread (a function given to call()): use what the "
                "function is given, not the sandbox"
            )
        coroutine = start(self.exchange)
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:
            coroutine.close()
            raise ConfigurationError("the sandbox has been closed meanwhile") from None
        try:
            return future.result(timeout)
        except concurrent.futures.CancelledError:
            raise ConfigurationError("the sandbox has been closed meanwhile") from None
