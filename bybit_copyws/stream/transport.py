"""One link, from connecting to its end: the only importer of ``websocket``.

``WebSocketApp`` does the RFC 6455 handshake, masks and sends. Its weak places are closed here: it
is given a socket of our own (:mod:`.upgrade`), and its reading is done by our frame reader, which
it runs as its ``dispatcher``. That it returned is the one truth about the end; its callbacks
differ by version and are not relied on. Must not know topics or JSON.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable

import websocket

from bybit_copyws.errors import ConnectFailed, ConnectionLost, StreamError
from bybit_copyws.policy.liveness import LinkStatus
from bybit_copyws.stream.connector import Connector
from bybit_copyws.stream.endpoint import Endpoint
from bybit_copyws.stream.link import Link
from bybit_copyws.stream.proxy import Proxy
from bybit_copyws.stream.upgrade import UpgradeSocket
from bybit_copyws.wire.frames import (
    Close,
    Failure,
    FrameReader,
    Item,
    Ping,
    close_payload,
)
from bybit_copyws.wire.handshake import explain_status, is_lasting
from bybit_copyws.wire.http_head import HandshakeRefused

_RECEIVE_SIZE = 65_536
_NORMAL = 1000

ItemsCallback = Callable[[list[Item]], None]


class _Dispatcher:
    """What websocket-client calls instead of reading by itself.

    Args:
        loop: called once, when the handshake is done; reads until the link ends.
    """

    def __init__(self, loop: Callable[[], None]) -> None:
        self.loop: Callable[[], None] | None = loop

    def read(self, *_: object) -> None:
        """Read everything."""
        if self.loop is not None:
            self.loop()

    def signal(self, *_: object) -> None:
        """Change nothing: signals are the user's."""

    def abort(self, *_: object) -> None:
        """Change nothing: it would be called on a signal."""

    def timeout(self, *_: object) -> None:
        """Change nothing: it would be called for protocol pings, which are not used."""

    def buffwrite(self, *_: object) -> None:
        """Send nothing: the transport itself does, and the end needs no second close frame."""


class Transport:
    """Carries text to and from one endpoint, once.

    Args:
        endpoint: where to.
        open_timeout: seconds for name look-up, TCP, TLS and the WebSocket handshake together.
        max_message_size: bytes; a longer message ends the link with code 1009.
        context: TLS settings, or ``None`` for Python's defaults.
        proxy: what to go through, or ``None``.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        open_timeout: float,
        max_message_size: int,
        context: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._open_timeout = open_timeout
        self._context = context
        self._proxy = proxy
        self._reader = FrameReader(max_message_size=max_message_size)
        self._stopped = threading.Event()
        self.drained = False
        self._link: Link | None = None
        self._upgrade: UpgradeSocket | None = None
        self._on_open: Callable[[], None] | None = None
        self._on_items: ItemsCallback | None = None
        self._error: StreamError | None = None
        self._crash: BaseException | None = None
        self._open = False  # the handshake is done: frames may be sent
        self._frame_since: float | None = None
        self._owed_pong: deque[bytes] = deque(maxlen=1)
        self._asked_to_close = False

    # The run thread

    def run(self, on_open: Callable[[], None], on_items: ItemsCallback) -> StreamError:
        """Connect, read until the end, and return why it ended. Blocks.

        Args:
            on_open: called once, when text may be sent.
            on_items: called with whole messages (``bytes``) and control frames, in order; the
                latter go back to :meth:`control`.
        """
        deadline = time.monotonic() + self._open_timeout
        try:
            sock, tls = Connector(
                self._endpoint, deadline, self._stopped, self._context, self._proxy
            ).open()
        except ConnectFailed as error:
            return error
        self._link = Link(sock, tls)
        self._on_open, self._on_items = on_open, on_items
        try:
            if not self._stopped.is_set():
                self._run_app(self._link, deadline)
        finally:
            self._stopped.set()
            self._link.close()
            self._upgrade = self._on_open = self._on_items = None
        if self._crash is not None:
            raise self._crash
        return self._error or ConnectionLost("ended by this client")

    def _run_app(self, link: Link, deadline: float) -> None:
        self._upgrade = UpgradeSocket(link, deadline)
        app = websocket.WebSocketApp(
            self._endpoint.url,
            socket=self._upgrade,  # type: ignore[arg-type] # only what websocket-client uses of one
            on_error=self._app_failed,
        )
        dispatcher = _Dispatcher(self.read)
        app.run_forever(dispatcher=dispatcher, skip_utf8_validation=True)
        # What websocket-client leaves behind refers to itself: it must not keep us alive with it.
        app.on_error = dispatcher.loop = None

    def _app_failed(self, _: object, error: object) -> None:
        """Take what websocket-client could not get over: only the handshake can fail in it."""
        status = retry_after = None
        if isinstance(error, HandshakeRefused):
            status, retry_after = error.status, error.retry_after
        reason = str(error) if error else type(error).__name__
        self._end_with(
            ConnectFailed(
                self._endpoint.name,
                reason,
                status=status,
                retry_after=retry_after,
                explanation=explain_status(status),
                lasting=is_lasting(status),
            )
        )

    def read(self) -> None:
        """Read until the link ends; called when the handshake is done."""
        try:
            self._read()
        except OSError as error:
            self._end_with(ConnectionLost(f"the connection broke ({error})"))
        except BaseException as error:  # noqa: BLE001 (must not reach websocket-client's handlers)
            self._crash = error

    def _read(self) -> None:
        link, upgrade, on_items = self._link, self._upgrade, self._on_items
        if link is None or upgrade is None or on_items is None or self._on_open is None:
            return
        self._open = True
        self._on_open()
        reader = self._reader
        feed, receive = reader.feed, link.receive
        view = memoryview(bytearray(_RECEIVE_SIZE))
        items = feed(upgrade.surplus)
        while True:
            if items:
                on_items(items)
            if reader.over:
                return
            if not reader.mid_frame:
                self._frame_since = None
            elif items or self._frame_since is None:
                self._frame_since = time.monotonic()
            size = receive(view)
            if not size:
                self._end_with(ConnectionLost("the connection was cut without a close frame"))
                return
            items = feed(view[:size])

    # Control frames, in the run thread

    def control(self, item: Item) -> None:
        """Answer what is not a message."""
        if isinstance(item, Ping):
            self._answer(item.payload)
        elif isinstance(item, Close) and self._asked_to_close:
            self.drained = True
            self._end_with(ConnectionLost("closed by this client", code=item.code))
        elif isinstance(item, Close):
            self._send(close_payload(item.code), websocket.ABNF.OPCODE_CLOSE)
            text = f": {item.reason}" if item.reason else ""
            self._end_with(
                ConnectionLost(f"the exchange closed the connection{text}", code=item.code)
            )
        elif isinstance(item, Failure):
            self._send(close_payload(item.code, item.reason), websocket.ABNF.OPCODE_CLOSE)
            self._end_with(ConnectionLost(f"protocol error: {item.reason}", code=item.code))

    def _answer(self, payload: bytes) -> None:
        """Send a pong, or only the last one owed if the server does not read (RFC 6455 5.5.3)."""
        if self._link is not None and self._link.blocked_since is not None:
            self._owed_pong.append(payload)
        else:
            self._send(payload, websocket.ABNF.OPCODE_PONG)

    # From any thread

    def send(self, message: str | bytes) -> None:
        """Send text, or bytes as a binary message, or keep it until the socket takes it.

        Never blocks.
        """
        text = isinstance(message, str)
        self._send(message, websocket.ABNF.OPCODE_TEXT if text else websocket.ABNF.OPCODE_BINARY)

    def flush(self) -> None:
        """Try again to send what was kept. Never blocks."""
        link = self._link
        if link is None:
            return
        link.flush()
        if link.blocked_since is None:
            with contextlib.suppress(IndexError):
                self._send(self._owed_pong.pop(), websocket.ABNF.OPCODE_PONG)

    def status(self) -> LinkStatus:
        """Return what the watchdog must know."""
        link = self._link
        if link is None:
            return LinkStatus(idle=False)
        return LinkStatus(
            link.idle, self._frame_since, link.blocked_since, link.received, link.capacity
        )

    def close(self) -> None:
        """Ask the server to close (RFC 6455 section 7.1.2); the run thread reads its answer."""
        if not self._open:
            self.end()
        else:
            self._asked_to_close = True
            self._send(close_payload(_NORMAL), websocket.ABNF.OPCODE_CLOSE)

    def end(self) -> None:
        """End the link at once, whatever it is doing."""
        self._stopped.set()
        if self._link is not None:
            self._link.shutdown()

    def _send(self, payload: str | bytes, opcode: int) -> None:
        link = self._link
        if link is None or not self._open or self._stopped.is_set():
            return
        # Framed and masked by websocket-client, but not sent through it: with its process-wide
        # trace on (somebody else may do that), it would print our login.
        frame = websocket.ABNF.create_frame(payload, opcode).format()
        # Nothing may follow a close frame (RFC 6455 section 5.5.1).
        link.send(frame, last=opcode == websocket.ABNF.OPCODE_CLOSE)

    def _end_with(self, error: StreamError) -> None:
        if self._error is None:
            self._error = error
