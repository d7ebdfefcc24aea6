"""The sockets of the local exchange: handshakes, streams and REST, on one port.

Everything here runs in one thread; :class:`bybit_copyws.sandbox.Sandbox` is the way in from others.
What is said on the sockets is the matter of ``exchange``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from aiohttp import WSMsgType, web

from bybit_copyws.sandbox.exchange import Exchange
from bybit_copyws.sandbox.faults import Outgoing
from bybit_copyws.sandbox.garbage import encode_frame
from bybit_copyws.sandbox.peer import Peer
from bybit_copyws.sandbox.rest import Request
from bybit_copyws.sandbox.venue import Connection, HandshakeRefusal, Turnstile
from bybit_copyws.sandbox.window import Window
from bybit_copyws.wire.profiles import COPY_TRADING_V3, V5, Profile
from bybit_copyws.wire.topics import Scope

_LEAVE_TIME = 0.1  # seconds for clients to take what is still to be sent at the end
_LAST_TURNS = 3  # of the loop, until who was accepted is known
_PONG_OPCODE = 0xA


class Server:
    """Listens for an exchange; all methods run in its event loop.

    Args:
        exchange: whose clients are served.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._turnstile = Turnstile(exchange.rules)
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._task: asyncio.Task[None] | None = None

    # Life

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port."""
        app = web.Application()
        for profile in (COPY_TRADING_V3, V5):
            app.router.add_get(profile.public_path, self._handler(profile, Scope.PUBLIC))
            app.router.add_get(profile.private_path, self._handler(profile, Scope.PRIVATE))
        app.router.add_routes(Window(self._exchange).routes())
        app.router.add_route("*", "/{path:.*}", self._rest)
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=0.1
        )
        await self._runner.setup()
        assert self._runner.server is not None  # noqa: S101 (made by setup())
        self._listener = await asyncio.get_running_loop().create_server(
            self._runner.server, host, port, ssl=self._exchange.options.context
        )
        self._task = asyncio.create_task(self._exchange.run())
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Drop every client and stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, self._exchange.finish(), return_exceptions=True)
        peers = list(self._exchange.peers.values())
        try:
            await self._exchange.commands.drop(None, "fin", 1001, "")
            if self._exchange.peers:
                await asyncio.sleep(_LEAVE_TIME)
        finally:
            for peer in peers:
                peer.abort()
            if self._listener is not None:
                await _close(self._listener)
            if self._runner is not None:
                await self._runner.cleanup()

    async def _rest(self, request: web.Request) -> web.Response:
        asked = Request(
            method=request.method,
            path=request.path,
            query=request.raw_path.partition("?")[2],
            body=await request.read(),
            headers=request.headers,
            address=str(request.remote),
        )
        reply = self._exchange.answer(asked)
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)

    # Clients

    def _handler(
        self, profile: Profile, scope: Scope
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            transport = request.transport
            refusal = self._turnstile.refusal(
                scope, str(request.remote), request.path, time.monotonic()
            )
            if refusal is not None:
                return _refused(request, refusal)
            ws = web.WebSocketResponse(
                compress=False, max_msg_size=2**20, autoping=False, autoclose=False
            )
            try:
                await ws.prepare(request)
            except ConnectionError:
                return web.Response()  # it has gone already
            if not isinstance(transport, asyncio.Transport):
                return ws
            max_active_time = request.query.get("max_active_time")
            peer = self._peer(profile, scope, ws, transport, max_active_time)
            self._exchange.join(peer)
            try:
                await self._listen(peer)
            finally:
                self._exchange.leave(peer)
            return ws

        return handle

    def _peer(
        self,
        profile: Profile,
        scope: Scope,
        ws: web.WebSocketResponse,
        transport: asyncio.Transport,
        max_active_time: str | None,
    ) -> Peer:
        exchange = self._exchange
        connection = Connection(
            profile,
            scope,
            exchange.new_id(),
            exchange.options.credentials,
            exchange.rules,
            lambda topic: exchange.exists(profile.name, topic),
            max_active_time=max_active_time,
        )
        now = exchange.clock.now_ms()
        return Peer(connection, ws, transport, exchange.faults, exchange.history, now)

    async def _listen(self, peer: Peer) -> None:
        async for message in peer.ws:
            if message.type is WSMsgType.TEXT:
                self._exchange.take(peer, message.data)
            elif message.type is WSMsgType.PING:
                pong = encode_frame(message.data, _PONG_OPCODE)
                peer.send(Outgoing(b"", pong, kind="control"), self._exchange.clock.now_ms())
        if peer.ws.close_code is not None:  # RFC 6455 section 5.5.1: the code comes back
            await peer.end("close", _echo(peer.ws.close_code), "")
        # A client that closes while the exchange is silent gets no answer until that ends.
        await peer.until_it_goes_on()


def _echo(code: int) -> int:
    """Return the code with which a close frame is answered."""
    return code if 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999 else 1000


def _refused(request: web.Request, refusal: HandshakeRefusal) -> web.StreamResponse:
    """Answer a handshake with what the refusal says."""
    transport = request.transport
    if refusal.status == 0 and transport is not None:
        if isinstance(transport, asyncio.Transport):
            transport.write(refusal.body.encode())
        transport.close()
        return web.Response()
    headers = {}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    if refusal.location is not None:
        headers["Location"] = refusal.location
    return web.Response(status=refusal.status, text=refusal.body, headers=headers)


async def _close(listener: asyncio.Server) -> None:
    """Listen no more; first let in who is accepted, whom a closed server would leave open."""
    loop = asyncio.get_running_loop()
    for sock in listener.sockets:
        loop.remove_reader(sock.fileno())
    for _ in range(_LAST_TURNS):
        await asyncio.sleep(0)
    listener.close()
