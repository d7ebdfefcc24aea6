"""The patience of one attempt to connect: a deadline, and a sign to stop, for all of its steps."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable

from bybit_copyws.errors import ConnectFailed
from bybit_copyws.stream.poller import Poller

_GLANCE = 0.05  # seconds between two looks at `stopped`


class Attempt:
    """Knows how long the steps of an attempt may still take.

    Args:
        name: what is connected to, for errors.
        deadline: monotonic time by which all must be done.
        stopped: polled while a step waits; once set, the attempt fails at once.

    Attributes:
        deadline: may be brought forward, for one of several ways.
    """

    def __init__(self, name: str, deadline: float, stopped: threading.Event) -> None:
        self.deadline = deadline
        self._name = name
        self._stopped = stopped

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop."""
        return self._stopped.is_set()

    def wait(self, ready: Callable[[float], bool], step: str) -> None:
        """Wait until a function, given seconds to wait at most, returns ``True``.

        Raises:
            ConnectFailed: the deadline passed, or somebody asked to stop.
        """
        while not ready(min(self.check(step), _GLANCE)):
            pass

    def check(self, step: str) -> float:
        """Return how many seconds are left; to be called also where nothing has to be waited for.

        Raises:
            ConnectFailed: the deadline passed, or somebody asked to stop.
        """
        if self.stopped:
            raise self.failed("stopped by close()")
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise self.failed(f"open_timeout passed {step}")
        return left

    def failed(self, reason: str, *, lasting: bool = False) -> ConnectFailed:
        """Make the error of this attempt; ``lasting`` if another one will hardly fare better."""
        return ConnectFailed(self._name, reason, lasting=lasting)

    def os_failed(self, code: int) -> ConnectFailed:
        """Make the error for an ``errno``."""
        return self.failed(os.strerror(code).lower())


class PatientSocket:
    """A non-blocking socket with the calls of a blocking one, kept within an attempt's patience.

    Args:
        sock: the socket.
        attempt: whose patience it is.
        step: what it is used for, for errors.
    """

    def __init__(self, sock: socket.socket, attempt: Attempt, step: str) -> None:
        self._sock = sock
        self._attempt = attempt
        self._step = step
        self._poller = Poller(sock)

    def sendall(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            ConnectFailed: the patience is at its end.
            OSError: the connection broke.
        """
        left = memoryview(data)
        while left:
            self._attempt.check(self._step)
            try:
                left = left[self._sock.send(left) :]
            except BlockingIOError:
                self._attempt.wait(self._poller.writable, self._step)

    def recv(self, size: int) -> bytes:
        """Receive at least a byte; ``b""`` at the end.

        Raises:
            ConnectFailed: the patience is at its end.
            OSError: the connection broke.
        """
        while True:
            self._attempt.check(self._step)
            try:
                return self._sock.recv(size)
            except BlockingIOError:
                self._attempt.wait(self._poller.readable, self._step)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()
