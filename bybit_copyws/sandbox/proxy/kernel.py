"""The two things that every system does in its own way."""

from __future__ import annotations

import socket
import struct
import sys

_BACKLOG = 1024
_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)

if sys.platform == "linux":
    import fcntl

    _SIOCOUTQNSD = 0x894B  # bytes that were written and not yet sent for the first time

    def unsent(sock: socket.socket) -> int:
        """Count the bytes that the kernel took but has not put on the wire yet."""
        answer = fcntl.ioctl(sock, _SIOCOUTQNSD, bytes(4))
        return int.from_bytes(answer, sys.byteorder)

    def reserve(family: int, host: str, port: int) -> socket.socket | None:
        """Bind a port without listening, so that it stays ours while connections are refused.

        The system gives it to nobody then: neither to another server that takes any port, nor to
        a client as its own end, which would so connect to itself.
        """
        return bind(family, host, port)

else:  # pragma: no cover (another system)

    def unsent(sock: socket.socket) -> int:  # noqa: ARG001
        """Count nothing: this system does not tell."""
        return 0

    def reserve(family: int, host: str, port: int) -> socket.socket | None:  # noqa: ARG001
        """Reserve nothing: here a port cannot be bound twice."""
        return None


def bind(family: int, host: str, port: int) -> socket.socket:
    """Bind a TCP socket; on POSIX also when old connections still name the port."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # pragma: no branch
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def listen(family: int, host: str, port: int, *, buffer: int) -> socket.socket:
    """Listen without blocking; what is accepted has a receive buffer of about that size."""
    sock = bind(family, host, port)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.setblocking(False)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def reset(sock: socket.socket) -> None:
    """Close a socket with an RST instead of a FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    sock.close()
