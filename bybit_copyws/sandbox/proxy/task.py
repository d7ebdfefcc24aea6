"""What another thread asks the proxy's thread to do."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.sandbox.proxy.engine import Engine

_T = TypeVar("_T")


class Task(Generic[_T]):
    """A function to run in the proxy's thread; its caller gets the result when that has effect."""

    def __init__(self, function: Callable[[Engine], _T]) -> None:
        self.future: concurrent.futures.Future[_T] = concurrent.futures.Future()
        self._function = function
        self._tell = partial(self.future.set_exception, not_running())

    def run(self, engine: Engine) -> None:
        """Run it, and keep the result."""
        try:
            result = self._function(engine)
        except BaseException as error:  # noqa: BLE001 (raised again in the caller)
            self._tell = partial(self.future.set_exception, error)
        else:
            self._tell = partial(self.future.set_result, result)

    def finish(self) -> None:
        """Hand over the result."""
        self._tell()


def not_running() -> ConfigurationError:
    """Say that the proxy does not run, and what to do."""
    return ConfigurationError("the proxy is not running: start() it, or use `with`")
