"""A server that does exactly what a test's script says, byte by byte."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PATIENCE = 10.0

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA


def frame(payload: bytes | str, opcode: int = TEXT) -> bytes:
    """Return an unmasked, final frame."""
    data = payload.encode() if isinstance(payload, str) else payload
    if len(data) < 126:
        return bytes((0x80 | opcode, len(data))) + data
    if len(data) < 65_536:
        return struct.pack("!BBH", 0x80 | opcode, 126, len(data)) + data
    return struct.pack("!BBQ", 0x80 | opcode, 127, len(data)) + data


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.request = b""

    def read_request(self) -> bytes:
        """Read the upgrade request."""
        while b"\r\n\r\n" not in self.request:
            part = self.sock.recv(4096)
            if not part:
                raise EOFError
            self.request += part
        return self.request

    def reply_101(self, *extra: str) -> bytes:
        """Return a correct reply to the request, with further header lines."""
        lines = self.request.split(b"\r\n")
        key = next(
            line[18:].strip() for line in lines if line.lower().startswith(b"sec-websocket-k")
        )
        accept = base64.b64encode(hashlib.sha1(key.strip(b": ") + _GUID).digest()).decode()
        head = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept}",
            *extra,
        ]
        return ("\r\n".join(head) + "\r\n\r\n").encode()

    def upgrade(self, *extra: str) -> Peer:
        """Do the WebSocket handshake."""
        self.read_request()
        self.sock.sendall(self.reply_101(*extra))
        return self

    def send(self, payload: bytes | str, opcode: int = TEXT) -> None:
        """Send one frame."""
        self.sock.sendall(frame(payload, opcode))

    def read(self) -> tuple[int, bytes]:
        """Return opcode and payload of the client's next frame; (-1, b"") at the end."""
        try:
            return self._read_frame()
        except EOFError:
            return -1, b""

    def _read_frame(self) -> tuple[int, bytes]:
        head = self._exactly(2)
        size = head[1] & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self._exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._exactly(8))
        assert head[1] & 0x80, "a client must mask its frames"
        mask, data = self._exactly(4), self._exactly(size)
        key = (mask * (size // 4 + 1))[:size]
        clear = int.from_bytes(data, "big") ^ int.from_bytes(key, "big")
        return head[0] & 0x0F, clear.to_bytes(size, "big")

    def reset(self) -> None:
        """End the connection by an RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self.sock.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return bytes(data)


class RawServer:
    """Runs a script for each connection, in a thread of its own.

    Args:
        script: what to do with a connection; when it returns, that is held open until the end.
        context: TLS settings, or ``None``.
    """

    def __init__(
        self, script: Callable[[Peer], object], context: ssl.SSLContext | None = None
    ) -> None:
        self.peers: list[Peer] = []
        self._script = script
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, name="raw-server", daemon=True)]

    @property
    def url(self) -> str:
        """Where it listens."""
        scheme = "ws" if self._context is None else "wss"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> RawServer:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(_PATIENCE)
        for peer in self.peers:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(peer.sock, socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join(_PATIENCE)
        for peer in self.peers:
            peer.sock.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(_PATIENCE)
            peer = Peer(sock)
            self.peers.append(peer)
            thread = threading.Thread(target=self._run, args=(peer,), name="raw-peer", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, peer: Peer) -> None:
        with contextlib.suppress(OSError, EOFError):  # the client, or the end of the test, cut it
            if self._context is not None:
                peer.sock = self._context.wrap_socket(peer.sock, server_side=True)
            self._script(peer)
