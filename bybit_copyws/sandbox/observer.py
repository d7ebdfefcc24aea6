"""Looks at a local exchange that runs in another process, and tells it what to do.

The exchange answers under ``/sandbox/`` on its own port. Needs no extra.
"""

from __future__ import annotations

import http.client
import ssl
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import msgspec

from bybit_copyws.errors import ConfigurationError

_TIMEOUT = 30.0


class ObservedMessage(NamedTuple):
    """A message that was put on the wire, without its bytes.

    Attributes:
        number: counts all of them, from 1.
        conn_id: the connection.
        scope: ``"public"`` or ``"private"``.
        topic: empty for a reply.
        fingerprint: of its bytes, see :func:`bybit_copyws.sandbox.checker.fingerprint`.
    """

    number: int
    conn_id: str
    scope: str
    topic: str
    fingerprint: int


_decode_rows = msgspec.json.Decoder(list[ObservedMessage]).decode


class Observer:
    """A view of a sandbox in another process. For one thread.

    Args:
        url: base URL of its streams, as the command ``bybit-copyws sandbox`` prints it.
        context: TLS settings, for ``wss://``.

    Raises:
        ConfigurationError: the URL is none of a sandbox.
    """

    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ConfigurationError(f"{url!r} must look like ws://127.0.0.1:8700")
        self._connection: http.client.HTTPConnection
        if parts.scheme == "wss":
            self._connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=_TIMEOUT, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(
                parts.hostname, parts.port, timeout=_TIMEOUT
            )

    def sent_after(self, number: int, limit: int = 100_000) -> list[ObservedMessage]:
        """Return what was put on the wire after a message, oldest first.

        Raises:
            ConfigurationError: some of it is not kept any more.
            OSError: the exchange cannot be reached.
        """
        query = urlencode({"after": number, "limit": limit})
        return _decode_rows(self._ask("GET", f"/sandbox/sent?{query}"))

    def state(self) -> dict[str, Any]:
        """Return how the exchange is doing: connections, counts, its time.

        Raises:
            OSError: the exchange cannot be reached.
        """
        state: dict[str, Any] = msgspec.json.decode(self._ask("GET", "/sandbox/state"))
        return state

    def do(self, command: str, **arguments: Any) -> None:
        """Tell the exchange to do something, as a step of a scenario does.

        Args:
            command: one of :data:`bybit_copyws.sandbox.scenario.COMMANDS`.
            arguments: of the command.

        Raises:
            ConfigurationError: the exchange does not know the command, or its arguments.
            OSError: the exchange cannot be reached.
        """
        self._ask("POST", "/sandbox/do", msgspec.json.encode({"do": command, **arguments}))

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        try:
            self._connection.request(method, path, body)
            reply = self._connection.getresponse()
            data = reply.read()
        except BaseException:
            self._connection.close()  # the next request begins anew
            raise
        if reply.status != http.client.OK:
            raise ConfigurationError(data.decode(errors="replace")[:500])
        return data
