"""Small proxies for tests: HTTP CONNECT, SOCKS 4, 4a and 5, with or without a password."""

from __future__ import annotations

import base64
import contextlib
import selectors
import socket
import struct
import threading
from typing import TypeAlias

_PATIENCE = 10.0
_GLANCE = 0.05

Reached: TypeAlias = tuple[socket.socket, bytes]
"""What was reached, and what to say of it."""


class RelayingProxy:
    """Takes connections of one kind and relays them.

    Args:
        kind: ``"http"`` or ``"socks"``.
        login: ``"user:password"`` that is asked for, or ``""``.
        names: where names lead to: a port on loopback for each; addresses are taken as they are.

    Attributes:
        asked: the destinations that were asked for, as ``host:port``.
    """

    def __init__(self, kind: str, login: str = "", names: dict[str, int] | None = None) -> None:
        self.asked: list[str] = []
        self._kind = kind
        self._login = login
        self._names = names or {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_GLANCE)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._accept, name="proxy")]

    @property
    def address(self) -> str:
        """Its ``host:port``."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> RelayingProxy:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(_PATIENCE)
        self._listener.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                sock, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(sock,), name="proxy")
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(_PATIENCE)
        with sock, contextlib.suppress(OSError, EOFError):
            reached = self._http(sock) if self._kind == "http" else self._socks(sock)
            if reached is not None:
                there, reply = reached
                with there:
                    sock.sendall(reply)
                    self._relay(sock, there)

    def _reach(self, host: str, port: int) -> socket.socket:
        self.asked.append(f"{host}:{port}")
        where = ("127.0.0.1", self._names[host]) if host in self._names else (host, port)
        return socket.create_connection(where, _PATIENCE)

    def _http(self, sock: socket.socket) -> Reached | None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += _some(sock)
        method, where, _ = head.split(b"\r\n")[0].decode().split()
        assert method == "CONNECT"
        token = base64.b64encode(self._login.encode())
        if self._login and b"Proxy-Authorization: Basic " + token + b"\r\n" not in head:
            sock.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return None
        host, _, port = where.rpartition(":")
        reply = b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n"
        return self._reach(host.strip("[]"), int(port)), reply

    def _socks(self, sock: socket.socket) -> Reached | None:
        version = _exactly(sock, 1)
        return self._socks4(sock) if version == b"\x04" else self._socks5(sock)

    def _socks4(self, sock: socket.socket) -> Reached:
        _, port, address = struct.unpack("!BH4s", _exactly(sock, 7))
        _until_nul(sock)  # the user id
        named = address[:3] == b"\0\0\0"
        host = _until_nul(sock).decode() if named else socket.inet_ntoa(address)
        return self._reach(host, port), b"\x00\x5a" + bytes(6)

    def _socks5(self, sock: socket.socket) -> Reached | None:
        methods = _exactly(sock, _exactly(sock, 1)[0])
        wanted = 2 if self._login else 0
        if wanted not in methods:
            sock.sendall(b"\x05\xff")
            return None
        sock.sendall(bytes((5, wanted)))
        if self._login:
            _exactly(sock, 1)
            user = _exactly(sock, _exactly(sock, 1)[0])
            password = _exactly(sock, _exactly(sock, 1)[0])
            good = f"{user.decode()}:{password.decode()}" == self._login
            sock.sendall(bytes((1, not good)))
            if not good:
                return None
        _, _, _, kind = _exactly(sock, 4)
        if kind == 3:
            host = _exactly(sock, _exactly(sock, 1)[0]).decode()
        else:
            family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
            host = socket.inet_ntop(family, _exactly(sock, size))
        (port,) = struct.unpack("!H", _exactly(sock, 2))
        try:
            there = self._reach(host, port)
        except OSError:
            sock.sendall(b"\x05\x05\x00\x01" + bytes(6))
            return None
        return there, b"\x05\x00\x00\x01" + bytes(6)

    def _relay(self, one: socket.socket, other: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(one, selectors.EVENT_READ, other)
            selector.register(other, selectors.EVENT_READ, one)
            while not self._over.is_set():
                for key, _ in selector.select(_GLANCE):
                    key.data.sendall(_some(key.fileobj))


def _some(sock: socket.socket) -> bytes:
    data = sock.recv(65_536)
    if not data:
        raise EOFError
    return data


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _until_nul(sock: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\0"):
        data += _exactly(sock, 1)
    return data[:-1]
