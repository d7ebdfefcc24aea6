"""The local exchange in its event loop: sockets in, operations to the venue, pushes out.

Everything here runs in one thread; :class:`bybit_copyws.sandbox.Sandbox` is the way in from
others. Rules are in ``venue``, prices in ``market``, the account in ``account``, faults in
``faults`` and ``outlet``.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from bybit_copyws.sandbox.account import Account, RandomTrader, render_push
from bybit_copyws.sandbox.audience import Audience
from bybit_copyws.sandbox.clock import VenueClock
from bybit_copyws.sandbox.commands import Commands, outgoing
from bybit_copyws.sandbox.faults import FaultList, Outgoing
from bybit_copyws.sandbox.garbage import encode_frame
from bybit_copyws.sandbox.history import History
from bybit_copyws.sandbox.market import Instrument, Market
from bybit_copyws.sandbox.peer import Peer
from bybit_copyws.sandbox.playback import Playback
from bybit_copyws.sandbox.rest import Request, RestApi
from bybit_copyws.sandbox.scenario import Playing, Scenario
from bybit_copyws.sandbox.venue import Connection, HandshakeRefusal, Rules, Turnstile
from bybit_copyws.sandbox.window import Window
from bybit_copyws.wire.profiles import COPY_TRADING_V3, V5, Profile
from bybit_copyws.wire.signing import Credentials
from bybit_copyws.wire.topics import Scope

_LOOK = 0.005  # seconds between two looks at the market
_STEP_MS = 10  # of a clock that is moved by hand
_MAX_BEHIND_MS = 1_000  # after a suspend the market goes on from here instead of catching up
_TRADE_EVERY_MS = 200
_PING_OPCODE, _PONG_OPCODE = 0x9, 0xA


@dataclass(frozen=True)
class Received:
    """A text frame that a client sent.

    Attributes:
        conn_id: the connection.
        scope: ``"public"`` or ``"private"``.
        profile: ``"v3"`` or ``"v5"``.
        text: what was sent.
        time: wall clock, seconds since the epoch.
    """

    conn_id: str
    scope: str
    profile: str
    text: str
    time: float


@dataclass(frozen=True)
class ServerOptions:
    """How an exchange is built; see :class:`bybit_copyws.sandbox.Sandbox`."""

    seed: int
    instruments: Sequence[Instrument]
    credentials: Credentials
    trading: bool
    market: bool
    activity: float
    cadence: str
    speed: float
    history: int
    context: ssl.SSLContext | None
    playback: Playback | None


class Server:
    """The exchange; all methods run in its event loop.

    Args:
        options: how it is built.
        changed: called after every change of connections or subscriptions.
    """

    def __init__(self, options: ServerOptions, changed: Callable[[], None]) -> None:
        self.rules = Rules()
        self.clock = VenueClock(options.speed)
        self.faults = FaultList()
        self.history = History(options.history)
        self.peers: dict[str, Peer] = {}
        self.accepted = 0
        self.received: deque[Received] = deque(maxlen=options.history)
        self.error: BaseException | None = None
        self._options = options
        self._changed = changed
        self._rng = random.Random(f"sandbox {options.seed}")  # noqa: S311 (a simulation)
        self._turnstile = Turnstile(self.rules)
        self.market = Market(
            options.instruments,
            seed=options.seed,
            start_ms=self.clock.now_ms(),
            activity=options.activity,
            cadence="fast" if options.cadence == "fast" else "documented",
        )
        self.account = Account(self.market, seed=options.seed)
        self._listen_to_market()
        self.rest = RestApi(self.market, self.account, options.credentials)
        self._audience = Audience(self.market)
        self._trader = self._make_trader() if options.trading else None
        self._next_trade_ms = self.clock.now_ms()
        self._playing: Playing | None = None
        self._playback = options.playback
        self._playback_began: int | None = None  # when the first of its topics was subscribed
        self.commands = Commands(self)
        self._jobs: set[asyncio.Task[Any]] = set()
        self._runner: web.AppRunner | None = None
        self._task: asyncio.Task[None] | None = None

    def _make_trader(self) -> RandomTrader:
        rng = random.Random(f"trader {self._options.seed}")  # noqa: S311 (a simulation)
        symbols = [instrument.symbol for instrument in self._options.instruments][:5]
        return RandomTrader(self.account, self.market, symbols, rng)

    def _listen_to_market(self) -> None:
        account = self.account
        self.market.on_trade(
            lambda trade: account.on_trade(trade.symbol, trade.price, trade.time_ms)
        )
        self.market.on_mark(account.on_mark)
        self.market.on_funding(account.funding)

    # Life

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port."""
        app = web.Application()
        for profile in (COPY_TRADING_V3, V5):
            app.router.add_get(profile.public_path, self._handler(profile, Scope.PUBLIC))
            app.router.add_get(profile.private_path, self._handler(profile, Scope.PRIVATE))
        app.router.add_routes(Window(self).routes())
        app.router.add_route("*", "/{path:.*}", self._rest)
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=self._options.context)
        await site.start()
        self._task = asyncio.create_task(self._run())
        bound: int = self._runner.addresses[0][1]
        return bound

    async def stop(self) -> None:
        """Drop every client and stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, *self._jobs, return_exceptions=True)
        await self.commands.drop(None, "fin", 1001, "")
        if self._runner is not None:
            await self._runner.cleanup()

    async def _rest(self, request: web.Request) -> web.Response:
        """Answer a REST request; what it changes is pushed before the reply leaves."""
        asked = Request(
            method=request.method,
            path=request.path,
            query=request.raw_path.partition("?")[2],
            body=await request.read(),
            headers=request.headers,
            address=str(request.remote),
        )
        self._catch_up()
        reply = self.rest.handle(asked, self.clock.now_ms())
        self._catch_up()
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
            peer = self._join(profile, scope, ws, transport, request)
            try:
                await self._listen(peer)
            finally:
                self._leave(peer)
            return ws

        return handle

    def _join(
        self,
        profile: Profile,
        scope: Scope,
        ws: web.WebSocketResponse,
        transport: asyncio.Transport,
        request: web.Request,
    ) -> Peer:
        conn_id = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        connection = Connection(
            profile,
            scope,
            conn_id,
            self._options.credentials,
            self.rules,
            lambda topic: self._exists(profile.name, topic),
            max_active_time=request.query.get("max_active_time"),
        )
        now = self.clock.now_ms()
        peer = Peer(connection, ws, transport, self.faults, self.history, now)
        self.peers[conn_id] = peer
        self.accepted += 1
        self._changed()
        return peer

    def _exists(self, profile: str, topic: str) -> bool:
        if self._playback is not None:
            return ("public", topic) in self._playback.topics
        return self._audience.exists(profile, topic)

    async def _listen(self, peer: Peer) -> None:
        async for message in peer.ws:
            if message.type is WSMsgType.TEXT:
                self._take(peer, message.data)
            elif message.type is WSMsgType.PING:
                pong = encode_frame(message.data, _PONG_OPCODE)
                peer.send(Outgoing(b"", pong, kind="control"), self.clock.now_ms())
        # A client that closes while the exchange is silent gets no answer until that ends.
        await peer.until_it_goes_on()

    def _leave(self, peer: Peer) -> None:
        connection = peer.connection
        self.peers.pop(connection.conn_id, None)
        self._audience.leave(connection.profile.name, connection.topics, connection.conn_id)
        self._changed()

    def _take(self, peer: Peer, text: str) -> None:
        connection, now = peer.connection, self.clock.now_ms()
        peer.last_heard_ms = now
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
            # Signatures are made by the real clock, whatever the exchange's own does.
            outcome = connection.operate(request, int(time.time() * 1000))
        if outcome.reply is not None:
            peer.send(outgoing(outcome.reply, kind=outcome.kind), now)
        profile, conn_id = connection.profile.name, connection.conn_id
        self._audience.leave(profile, outcome.removed, conn_id)
        if self._playback is not None:
            if outcome.added and self._playback_began is None:
                self._playback_began = now
        elif connection.scope is Scope.PUBLIC:
            for topic in outcome.added:
                # First its snapshot, then what all others get.
                snapshot = self._audience.join(profile, topic, conn_id).snapshot(now)
                if snapshot is not None and self._options.market:
                    peer.send(outgoing(snapshot), now)
        self._changed()

    # Time goes on

    async def _run(self) -> None:
        try:
            while True:
                if not self.clock.stepped:
                    self._look()
                for peer in list(self.peers.values()):
                    peer.pump(self.clock.now_ms())
                await asyncio.sleep(_LOOK)
        except Exception as error:  # noqa: BLE001 (raised again by Sandbox.close)
            self.error = error

    def step(self, seconds: float) -> None:
        """Move a stepped clock, and let happen what happens meanwhile."""
        left_ms = seconds * 1000
        while left_ms > 0:
            self.clock.step(min(left_ms, _STEP_MS) / 1000)
            left_ms -= _STEP_MS
            self._look()

    def _look(self) -> None:
        """Bring market and account to the present and push what is due."""
        now = self.clock.now_ms()
        behind = now - self.market.now_ms
        if behind > _MAX_BEHIND_MS * max(1.0, self.clock.speed):
            self.clock.hold_back(behind - _MAX_BEHIND_MS)
            now = self.clock.now_ms()
        self._catch_up()
        for feed, followers in self._audience:
            for message in feed.poll(now):
                if self._options.market:
                    self._broadcast(outgoing(message), followers, now)
        if self._trader is not None and now >= self._next_trade_ms:
            self._next_trade_ms = now + _TRADE_EVERY_MS
            self._trader.step(now)
        self._push_changes(now)
        self._cut_idle(now)
        self._play(now)
        self._play_back(now)

    def _catch_up(self) -> None:
        """Bring the market to the present, and push what that did to the account."""
        now = self.clock.now_ms()
        self.market.advance(now)
        self._push_changes(now)

    def _push_changes(self, now: int) -> None:
        for change in self.account.take_changes():
            for profile in (COPY_TRADING_V3, V5):
                for fast in (False, True) if profile is V5 else (False,):
                    message = render_push(profile.name, change, now, fast=fast)
                    if message is not None:
                        self._push_private(profile, message, now)

    def _push_private(self, profile: Profile, message: dict[str, Any], now: int) -> None:
        topic = message["topic"]
        for peer in list(self.peers.values()):
            connection = peer.connection
            if connection.profile is not profile or not connection.authenticated:
                continue
            for name in (topic, f"{topic}.linear"):
                if name in connection.topics:
                    peer.send(outgoing({**message, "topic": name}), now)

    def _broadcast(self, message: Outgoing, followers: Sequence[str], now: int) -> None:
        for conn_id in followers:
            peer = self.peers.get(conn_id)
            if peer is not None:
                peer.send(message, now)

    def _cut_idle(self, now: int) -> None:
        for peer in list(self.peers.values()):
            limit = peer.connection.idle_limit
            if now - max(peer.last_heard_ms, peer.last_data_ms) > limit * 1000:
                self._do(peer.end("fin", 1000, ""))

    def _play(self, now: int) -> None:
        if self._playing is None:
            return
        for step in self._playing.take(now, self.history.total):
            command = getattr(self.commands, step.do)
            result = command(**step.arguments)
            if asyncio.iscoroutine(result):
                self._do(result)
        if self._playing.over:
            self._playing = None

    def _play_back(self, now: int) -> None:
        """Serve what is due of a recording, to those who subscribed it."""
        if self._playback is None or self._playback_began is None:
            return
        for row in self._playback.take((now - self._playback_began) / 1000):
            message = outgoing(row.message)
            for peer in self.commands.of(row.scope):
                if not row.topic or row.topic in peer.connection.topics:
                    peer.send(message, now)

    def _do(self, coroutine: Any) -> None:
        """Let a coroutine run on beside the clock."""
        job = asyncio.ensure_future(coroutine)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    def play(self, scenario: Scenario) -> None:
        """Let a scenario begin now."""
        self._playing = Playing(scenario, self.clock.now_ms(), self.history.total)

    @property
    def playing(self) -> bool:
        """Whether a scenario is under way."""
        return self._playing is not None


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
