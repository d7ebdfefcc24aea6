"""The local exchange in its event loop: sockets in, operations to the venue, pushes out.

Everything here runs in one thread; :class:`bybit_copyws.sandbox.Sandbox` is the way in from
others. Rules are in ``venue``, prices in ``market``, the account in ``account``.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from bybit_copyws.sandbox.account import Account, RandomTrader, render_push
from bybit_copyws.sandbox.market import (
    Feed,
    Instrument,
    Market,
    UnknownSymbol,
    UnknownTopic,
    server_time,
)
from bybit_copyws.sandbox.venue import Connection, Rules
from bybit_copyws.wire.profiles import COPY_TRADING_V3, V5, Profile
from bybit_copyws.wire.signing import Credentials
from bybit_copyws.wire.topics import Scope

_STEP = 0.005  # seconds between two looks at the market
_MAX_BEHIND_MS = 1_000  # after a suspend the market goes on from here instead of catching up
_TRADE_EVERY_MS = 200
_MAX_BUFFER = 8 * 2**20  # bytes that a client may lag behind before it is dropped


@dataclass(frozen=True)
class Received:
    """A text frame that a client sent."""

    conn_id: str
    scope: str
    profile: str
    text: str
    time: float


@dataclass(frozen=True)
class ConnectionInfo:
    """An open connection at one moment."""

    conn_id: str
    scope: str
    profile: str
    authenticated: bool
    topics: tuple[str, ...]


class Peer:
    """An open WebSocket with the venue's view of it."""

    def __init__(
        self, connection: Connection, ws: web.WebSocketResponse, request: web.Request
    ) -> None:
        self.connection = connection
        self.ws = ws
        self.transport = request.transport

    def send(self, frame: bytes) -> None:
        """Put a ready-made frame on the wire; a client that reads too slowly is dropped."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        transport.write(frame)
        buffered: int = transport.get_write_buffer_size()
        if buffered > _MAX_BUFFER:
            transport.abort()

    def info(self) -> ConnectionInfo:
        """Return what there is to know about it now."""
        connection = self.connection
        return ConnectionInfo(
            connection.conn_id,
            connection.scope.value,
            connection.profile.name,
            connection.authenticated,
            tuple(connection.topics),
        )

    async def end(self, how: str, code: int, reason: str) -> None:
        """End the connection by a close frame, a FIN or an RST."""
        transport = self.transport
        if how == "close":
            await self.ws.close(code=code, message=reason.encode(), drain=False)
        elif transport is not None:
            if how == "rst":
                sock = transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                transport.abort()
            else:
                transport.close()


def text_frame(payload: bytes) -> bytes:
    """Return an unmasked text frame (RFC 6455 section 5.2), the same bytes for every client."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


class Server:
    """The exchange; all methods run in its event loop.

    Args:
        instruments: the contracts that are traded.
        seed: of prices, ids and the account's doings.
        credentials: of the only account.
        trading: whether the account trades by itself.
        market: whether market data is pushed.
        activity: how lively the market is.
        history: how many received frames are kept.
        changed: called after every change of connections or subscriptions.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        *,
        seed: int,
        credentials: Credentials,
        trading: bool,
        market: bool,
        activity: float,
        history: int,
        changed: Callable[[], None],
    ) -> None:
        self.rules = Rules()
        self.peers: dict[str, Peer] = {}
        self.accepted = 0
        self.received: deque[Received] = deque(maxlen=history)
        self.error: BaseException | None = None
        self._credentials = credentials
        self._pushing = market
        self._changed = changed
        self._rng = random.Random(f"sandbox {seed}")  # noqa: S311 (a simulation)
        self._offset_ms = 0
        self.market = Market(instruments, seed=seed, start_ms=self.now_ms(), activity=activity)
        self.account = Account(self.market, seed=seed)
        self._listen_to_market()
        rng = random.Random(f"trader {seed}")  # noqa: S311 (a simulation)
        symbols = [instrument.symbol for instrument in instruments][:5]
        self._trader = RandomTrader(self.account, self.market, symbols, rng) if trading else None
        self._next_trade_ms = self.now_ms()
        self._feeds: dict[tuple[str, str], tuple[Feed, set[str]]] = {}
        self._runner: web.AppRunner | None = None
        self._task: asyncio.Task[None] | None = None

    def _listen_to_market(self) -> None:
        account = self.account
        self.market.on_trade(
            lambda trade: account.on_trade(trade.symbol, trade.price, trade.time_ms)
        )
        self.market.on_mark(account.on_mark)
        self.market.on_funding(account.funding)

    def now_ms(self) -> int:
        """Return the exchange's time."""
        return int(time.time() * 1000) - self._offset_ms

    # Life

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port."""
        app = web.Application()
        for profile in (COPY_TRADING_V3, V5):
            app.router.add_get(profile.public_path, self._handler(profile, Scope.PUBLIC))
            app.router.add_get(profile.private_path, self._handler(profile, Scope.PRIVATE))
        for path in ("/v3/public/time", "/v5/market/time"):
            app.router.add_get(path, self._time)
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self._task = asyncio.create_task(self._run())
        bound: int = self._runner.addresses[0][1]
        return bound

    async def stop(self) -> None:
        """Drop every client and stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.drop(None, "fin", 1001, "")
        if self._runner is not None:
            await self._runner.cleanup()

    async def _time(self, _: web.Request) -> web.Response:
        now = self.now_ms()
        body = {
            "retCode": 0,
            "retMsg": "OK",
            "result": server_time(now),
            "retExtInfo": {},
            "time": now,
        }
        return web.json_response(body)

    # Clients

    def _handler(
        self, profile: Profile, scope: Scope
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            if self.rules.handshake_status is not None:
                return web.Response(status=self.rules.handshake_status)
            ws = web.WebSocketResponse(compress=False, max_msg_size=2**20)
            await ws.prepare(request)
            conn_id = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
            connection = Connection(
                profile,
                scope,
                conn_id,
                self._credentials,
                self.rules,
                lambda topic: self._exists(profile, topic),
            )
            peer = Peer(connection, ws, request)
            self.peers[conn_id] = peer
            self.accepted += 1
            self._changed()
            try:
                async for message in ws:
                    if message.type is WSMsgType.TEXT:
                        self._take(peer, message.data)
            finally:
                self._leave(peer)
            return ws

        return handle

    def _leave(self, peer: Peer) -> None:
        connection = peer.connection
        self.peers.pop(connection.conn_id, None)
        self._release(connection, tuple(connection.topics))
        self._changed()

    def _take(self, peer: Peer, text: str) -> None:
        connection = peer.connection
        self.received.append(
            Received(
                connection.conn_id,
                connection.scope.value,
                connection.profile.name,
                text,
                time.time(),
            )
        )
        try:
            request = msgspec.json.decode(text)
        except msgspec.DecodeError:
            outcome = connection.undecodable()
        else:
            outcome = connection.operate(request, self.now_ms())
        if outcome.reply is not None:
            peer.send(_framed(outcome.reply))
        self._release(connection, outcome.removed)
        if connection.scope is Scope.PUBLIC:
            for topic in outcome.added:
                self._open(peer, topic)
        self._changed()

    def _exists(self, profile: Profile, topic: str) -> bool:
        try:
            feed = self.market.open_feed(profile.name, tuple(topic.split(".")))
        except (UnknownTopic, UnknownSymbol, ValueError):
            return False
        if (profile.name, topic) not in self._feeds:
            self.market.close_feed(feed)
        return True

    def _open(self, peer: Peer, topic: str) -> None:
        """Let a client follow a feed: first its snapshot, then what all others get."""
        connection = peer.connection
        key = (connection.profile.name, topic)
        if key not in self._feeds:
            self._feeds[key] = (self.market.open_feed(key[0], tuple(topic.split("."))), set())
        feed, followers = self._feeds[key]
        followers.add(connection.conn_id)
        snapshot = feed.snapshot(self.now_ms())
        if snapshot is not None and self._pushing:
            peer.send(_framed(snapshot))

    def _release(self, connection: Connection, topics: Sequence[str]) -> None:
        for topic in topics:
            key = (connection.profile.name, topic)
            if key in self._feeds:
                feed, followers = self._feeds[key]
                followers.discard(connection.conn_id)
                if not followers:
                    del self._feeds[key]
                    self.market.close_feed(feed)

    # Time goes on

    async def _run(self) -> None:
        try:
            while True:
                self.step()
                await asyncio.sleep(_STEP)
        except Exception as error:  # noqa: BLE001 (raised again by Sandbox.close)
            self.error = error

    def step(self) -> None:
        """Bring market and account to the present and push what is due."""
        now = self.now_ms()
        if now - self.market.now_ms > _MAX_BEHIND_MS:
            self._offset_ms += now - self.market.now_ms - _MAX_BEHIND_MS
            now = self.now_ms()
        self.market.advance(now)
        for feed, followers in list(self._feeds.values()):
            for message in feed.poll(now):
                if self._pushing:
                    self._broadcast(_framed(message), followers)
        if self._trader is not None and now >= self._next_trade_ms:
            self._next_trade_ms = now + _TRADE_EVERY_MS
            self._trader.step(now)
        self._push_changes(now)

    def _push_changes(self, now: int) -> None:
        for change in self.account.take_changes():
            for profile in (COPY_TRADING_V3, V5):
                for fast in (False, True) if profile is V5 else (False,):
                    message = render_push(profile.name, change, now, fast=fast)
                    if message is not None:
                        self._push_private(profile, message)

    def _push_private(self, profile: Profile, message: dict[str, Any]) -> None:
        topic = message["topic"]
        for peer in list(self.peers.values()):
            connection = peer.connection
            if connection.profile is not profile or not connection.authenticated:
                continue
            for name in (topic, f"{topic}.linear"):
                if name in connection.topics:
                    peer.send(_framed({**message, "topic": name}))

    def _broadcast(self, frame: bytes, followers: set[str]) -> None:
        for conn_id in followers:
            peer = self.peers.get(conn_id)
            if peer is not None:
                peer.send(frame)

    # What a test tells it to do

    def push(self, payload: bytes, scope: Scope | None) -> int:
        """Send a text frame to every client of a scope."""
        peers = self._of(scope)
        for peer in peers:
            peer.send(text_frame(payload))
        return len(peers)

    def push_topic(self, message: dict[str, Any]) -> int:
        """Send a message to the clients that subscribed its topic."""
        peers = [peer for peer in self._of(None) if message["topic"] in peer.connection.topics]
        for peer in peers:
            peer.send(_framed(message))
        return len(peers)

    async def drop(self, scope: Scope | None, how: str, code: int, reason: str) -> int:
        """End the connections of a scope."""
        peers = self._of(scope)
        for peer in peers:
            await peer.end(how, code, reason)
        return len(peers)

    def _of(self, scope: Scope | None) -> list[Peer]:
        return [
            peer for peer in self.peers.values() if scope is None or peer.connection.scope is scope
        ]


def _framed(message: dict[str, Any]) -> bytes:
    return text_frame(msgspec.json.encode(message))
