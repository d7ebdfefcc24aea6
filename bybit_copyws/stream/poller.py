"""Waits until one socket can be read or written, whatever its descriptor's number.

``select.poll`` itself, not :mod:`selectors`: the wait is on the way of every message of a quiet
stream. Where the system has no ``poll`` (Windows), ``select`` does it.
"""

from __future__ import annotations

import select
import socket

_POLL = getattr(select, "poll", None)


class Poller:
    """Waits for one socket; used by one thread at a time, while the socket is open.

    Args:
        sock: the socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._readable = self._registered("POLLIN")
        self._writable = self._registered("POLLOUT")

    def readable(self, timeout: float | None) -> bool:
        """Return whether there is something to read (or the end) within ``timeout`` seconds."""
        if self._readable is None:
            return bool(select.select([self._sock], [], [], timeout)[0])
        return bool(self._readable.poll(_milliseconds(timeout)))

    def writable(self, timeout: float | None) -> bool:
        """Return whether something can be written (or never again) within ``timeout`` seconds."""
        if self._writable is None:
            # On Windows a refused connect shows among the exceptional ones only.
            _, ready, broken = select.select([], [self._sock], [self._sock], timeout)
            return bool(ready or broken)
        return bool(self._writable.poll(_milliseconds(timeout)))

    def _registered(self, event: str) -> select.poll | None:
        if _POLL is None:
            return None
        poll: select.poll = _POLL()
        poll.register(self._sock, getattr(select, event))
        return poll


def _milliseconds(timeout: float | None) -> float | None:
    return None if timeout is None else timeout * 1000
