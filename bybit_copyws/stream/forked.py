"""Sockets in a child made by ``os.fork``: closed there at once, without a byte on the wire.

The connection belongs to the parent. A copy left open in the child would keep it alive after the
parent has closed it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import weakref

_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def parents_own(sock: socket.socket) -> socket.socket:
    """Have a socket closed in every child made by a fork; return it."""
    _sockets.add(sock)
    return sock


def _close_all() -> None:
    for sock in list(_sockets):
        with contextlib.suppress(OSError):
            sock.close()  # of a TLS link too: it encrypts in memory, the socket is a plain one


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_close_all)
