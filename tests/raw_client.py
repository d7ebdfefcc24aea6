"""A client that hides nothing: it shows the bytes that come, and sends what it is told."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import time
from typing import Any

from bybit_copyws.wire.frames import FrameReader, Item
from bybit_copyws.wire.operations import auth_request
from bybit_copyws.wire.signing import Credentials

PATHS = {
    ("v3", "public"): "/contract/usdt/public/v3",
    ("v3", "private"): "/realtime_private",
    ("v5", "public"): "/v5/public/linear",
    ("v5", "private"): "/v5/private",
}


class RawClient:
    """One TCP connection to a sandbox.

    Args:
        exchange: where to.
        profile: ``v3`` or ``v5``.
        scope: ``public`` or ``private``.
        query: what to put behind the path.
    """

    def __init__(
        self, exchange: Any, profile: str = "v3", scope: str = "public", query: str = ""
    ) -> None:
        self.exchange = exchange
        host, _, port = exchange.url.partition("://")[2].rpartition(":")
        self.sock: socket.socket = socket.create_connection((host, int(port)))
        if exchange.ssl_context is not None:
            context: ssl.SSLContext = exchange.ssl_context
            self.sock = context.wrap_socket(self.sock, server_hostname=host)
        self.head = b""
        self.raw = b""
        self._reader = FrameReader(max_message_size=2**24)
        self._items: list[Item] = []
        self._upgrade(f"{PATHS[profile, scope]}{query}")

    def _upgrade(self, path: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.sock.settimeout(5.0)
        while b"\r\n\r\n" not in self.head:
            part = self.sock.recv(4096)
            if not part:
                return
            self.head += part
        self.head, _, rest = self.head.partition(b"\r\n\r\n")
        if self.status == 101:
            self._feed(rest)

    @property
    def status(self) -> int:
        """HTTP status of the reply, or 0 if it was no HTTP."""
        words = self.head.split()
        return int(words[1]) if words and words[0].startswith(b"HTTP/") else 0

    def send(self, payload: dict[str, Any] | str, opcode: int = 1) -> None:
        """Send one masked frame."""
        text = payload if isinstance(payload, str) else json.dumps(payload)
        data, mask = text.encode(), os.urandom(4)
        size = (
            bytes((0x80 | len(data),))
            if len(data) < 126
            else b"\xfe" + len(data).to_bytes(2, "big")
        )
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
        self.sock.sendall(bytes((0x80 | opcode,)) + size + mask + masked)

    def ask(self, op: str, *args: Any, **more: Any) -> Any:
        """Send an operation and return the next message."""
        self.send({"op": op, "args": list(args), **more})
        return self.message()

    def log_in(self) -> Any:
        """Authenticate with the exchange's own key."""
        credentials = Credentials(self.exchange.api_key, self.exchange.api_secret)
        self.send(str(auth_request(credentials, int(time.time() * 1000) + 10_000)))
        return self.message()

    def item(self, timeout: float = 5.0) -> Item | None:
        """Return the next message or control frame; ``None`` at the end of the connection.

        Raises:
            TimeoutError: nothing came.
        """
        self.sock.settimeout(timeout)
        while not self._items:
            part = self.sock.recv(65_536)
            if not part:
                return None
            self._feed(part)
        return self._items.pop(0)

    def message(self, timeout: float = 5.0) -> Any:
        """Return the next message, decoded."""
        item = self.item(timeout)
        assert type(item) is bytes, item
        return json.loads(item)

    def silent(self, seconds: float = 0.1) -> bool:
        """Return whether nothing comes for a while, and the connection stays open."""
        try:
            self.item(seconds)
        except TimeoutError:
            return True
        return False

    def _feed(self, data: bytes) -> None:
        self.raw += data
        self._items += self._reader.feed(data)

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()
