"""All of the local exchange but its sockets: what clients ask for, what time brings, what leaves.

Everything here runs in one thread, the one of the event loop. Rules are in ``venue``, prices in
``market``, the account in ``account``, faults in ``faults`` and ``outlet``; this brings them
together.
"""

from __future__ import annotations

import asyncio
import copy
import random
import ssl
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from bybit_copyws.sandbox.account import Account, RandomTrader, render_push
from bybit_copyws.sandbox.audience import Audience
from bybit_copyws.sandbox.clock import VenueClock
from bybit_copyws.sandbox.commands import Commands, outgoing
from bybit_copyws.sandbox.faults import FaultList, Outgoing
from bybit_copyws.sandbox.history import History, Received
from bybit_copyws.sandbox.market import Instrument, Market
from bybit_copyws.sandbox.peer import Peer
from bybit_copyws.sandbox.playback import Playback
from bybit_copyws.sandbox.rest import Reply, Request, RestApi
from bybit_copyws.sandbox.scenario import Playing, Scenario
from bybit_copyws.sandbox.venue import Rules
from bybit_copyws.wire.profiles import COPY_TRADING_V3, V5, Profile
from bybit_copyws.wire.signing import Credentials
from bybit_copyws.wire.topics import Scope

LOOK = 0.005
"""Seconds between two looks at the market."""
_STEP_MS = 10  # of a clock that is moved by hand
_TRADE_EVERY_MS = 200
_MAX_BEHIND = 2**20  # bytes that a client may lag behind before a step waits for it
_PATIENCE = 1.0  # seconds that it waits for one that takes nothing


@dataclass(frozen=True)
class ExchangeOptions:
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


class Exchange:
    """The exchange; all methods run in its event loop.

    Args:
        options: how it is built.
        changed: called after every change of connections or subscriptions.

    Attributes:
        options: how it was built.
        rules: what a test may change about its streams.
        clock: its time.
        faults: those that are active.
        history: what was put on the wire.
        peers: the open connections by id.
        accepted: how many connections were accepted so far.
        received: what clients sent.
        error: what went wrong inside, after which nothing happens any more.
        market: its market.
        account: its account.
        rest: its REST side.
        commands: what it can be told to do.
    """

    def __init__(self, options: ExchangeOptions, changed: Callable[[], None]) -> None:
        self.rules = Rules()
        self.clock = VenueClock(options.speed)
        self.faults = FaultList()
        self.history = History(options.history)
        self.peers: dict[str, Peer] = {}
        self.accepted = 0
        self.received: deque[Received] = deque(maxlen=options.history)
        self.error: BaseException | None = None
        self.options = options
        self._changed = changed
        self._rng = random.Random(f"sandbox {options.seed}")  # noqa: S311 (a simulation)
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
        # A copy: what was served is forgotten when the exchange starts again.
        self._playback = copy.copy(options.playback)
        self._playback_began: int | None = None  # when the first of its topics was subscribed
        self.commands = Commands(self)
        self._jobs: set[asyncio.Task[Any]] = set()

    def _make_trader(self) -> RandomTrader:
        rng = random.Random(f"trader {self.options.seed}")  # noqa: S311 (a simulation)
        symbols = [instrument.symbol for instrument in self.options.instruments][:5]
        return RandomTrader(self.account, self.market, symbols, rng)

    def _listen_to_market(self) -> None:
        account = self.account
        self.market.on_trade(
            lambda trade: account.on_trade(trade.symbol, trade.price, trade.time_ms)
        )
        self.market.on_mark(account.on_mark)
        self.market.on_funding(account.funding)

    # Clients

    def new_id(self) -> str:
        """Return an id for a connection: the seed decides which."""
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def join(self, peer: Peer) -> None:
        """Let a client in."""
        self.peers[peer.connection.conn_id] = peer
        self.accepted += 1
        self._changed()

    def leave(self, peer: Peer) -> None:
        """Forget a client."""
        connection = peer.connection
        self.peers.pop(connection.conn_id, None)
        self._audience.leave(connection.profile.name, connection.topics, connection.conn_id)
        self.faults.let_go(connection.conn_id)
        self._changed()

    def exists(self, profile: str, topic: str) -> bool:
        """Return whether there is such a topic."""
        if self._playback is not None:
            return ("public", topic) in self._playback.topics
        return self._audience.exists(profile, topic)

    def take(self, peer: Peer, text: str) -> None:
        """Answer a text frame of a client."""
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
        except (msgspec.DecodeError, RecursionError):
            outcome = connection.undecodable()
        else:
            outcome = connection.operate(request, int(time.time() * 1000), now)
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
                if snapshot is not None and self.options.market:
                    peer.send(outgoing(snapshot), now)
        self._changed()

    def list_symbol(self, instrument: Instrument) -> None:
        """Trade a contract from now on; who has its topics subscribed gets them again."""
        self.market.enlist(instrument)
        if self._trader is not None:
            self._trader.avoided.discard(instrument.symbol)
        for conn_id, peer in self.peers.items():
            profile = peer.connection.profile.name
            for topic in peer.connection.topics:
                if topic.endswith(f".{instrument.symbol}") and self.exists(profile, topic):
                    self._audience.join(profile, topic, conn_id)

    def withdraw_symbol(self, symbol: str) -> None:
        """Trade a contract no longer.

        Raises:
            UnknownSymbol: it is not traded here.
        """
        self.market.withdraw(symbol)
        self._audience.dismiss(symbol)
        if self._trader is not None:
            self._trader.avoided.add(symbol)

    def answer(self, request: Request) -> Reply:
        """Answer a REST request; what it changes is pushed before the reply leaves."""
        self._catch_up()
        reply = self.rest.handle(request, self.clock.now_ms(), int(time.time() * 1000))
        self._catch_up()
        return reply

    # Time goes on

    async def run(self) -> None:
        """Let time pass, until cancelled or broken."""
        try:
            while True:
                if not self.clock.stepped:
                    self._look()
                for peer in list(self.peers.values()):
                    peer.pump(self.clock.now_ms())
                await asyncio.sleep(LOOK)
        except Exception as error:  # noqa: BLE001 (raised again by Sandbox.close)
            self.error = error

    async def step(self, seconds: float) -> None:
        """Move a stepped clock, and let happen what happens meanwhile."""
        left_ms = seconds * 1000
        self._look()
        await self._turn()
        while left_ms > 0:
            # Always to the same moments, however the time is cut into steps.
            to_next = _STEP_MS - self.clock.now_ms() % _STEP_MS
            self.clock.step(min(left_ms, to_next) / 1000)
            left_ms -= to_next
            self._look()
            await self._turn()

    async def _turn(self) -> None:
        """Let connections end that were told to, and clients take what was sent."""
        if self._jobs:
            await asyncio.gather(*self._jobs, return_exceptions=True)
        if self.peers:
            await asyncio.sleep(0)
        deadline = time.monotonic() + _PATIENCE
        while any(peer.behind > _MAX_BEHIND for peer in self.peers.values()):
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(LOOK)

    def _look(self) -> None:
        """Bring market and account to the present and push what is due."""
        now = self.clock.look()
        self._catch_up()
        for feed, followers in self._audience:
            for message in feed.poll(now):
                if self.options.market:
                    self._broadcast(outgoing(message), followers, now)
        while self._trader is not None and now >= self._next_trade_ms:
            self._next_trade_ms += _TRADE_EVERY_MS
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
        job.add_done_callback(self._done)

    def _done(self, job: asyncio.Task[Any]) -> None:
        self._jobs.discard(job)
        if not job.cancelled() and job.exception() is not None and self.error is None:
            self.error = job.exception()

    async def finish(self) -> None:
        """End what runs beside the clock."""
        await asyncio.gather(*self._jobs, return_exceptions=True)

    def play(self, scenario: Scenario) -> None:
        """Let a scenario begin now: what it does at 0 s is done when this returns."""
        now = self.clock.now_ms()
        self._playing = Playing(scenario, now, self.history.total)
        self._play(now)

    @property
    def playing(self) -> bool:
        """Whether a scenario is under way."""
        return self._playing is not None
