"""What the exchange answers under ``/sandbox/``: its history and state, and commands for it.

For :class:`bybit_copyws.sandbox.observer.Observer` in another process. Runs in the event loop.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.sandbox.commands import check_step
from bybit_copyws.sandbox.scenario import step_of

if TYPE_CHECKING:
    from bybit_copyws.sandbox.exchange import Exchange


class Window:
    """The handlers.

    Args:
        exchange: what is looked at.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        """Return what to add to a router."""
        return [
            web.get("/sandbox/sent", self._sent),
            web.get("/sandbox/state", self._state),
            web.post("/sandbox/do", self._do),
        ]

    async def _sent(self, request: web.Request) -> web.Response:
        try:
            after, limit = (int(request.query[name]) for name in ("after", "limit"))
            messages = self._exchange.history.after(after, limit)
        except (KeyError, ValueError) as error:
            return web.Response(status=400, text=str(error))
        rows = [(m.number, m.conn_id, m.scope, m.topic, m.fingerprint) for m in messages]
        return web.Response(body=msgspec.json.encode(rows), content_type="application/json")

    async def _state(self, _: web.Request) -> web.Response:
        exchange = self._exchange
        state = {
            "connections": [asdict(peer.info()) for peer in exchange.peers.values()],
            "accepted": exchange.accepted,
            "sent": exchange.history.total,
            "playing": exchange.playing,
            "time_ms": exchange.clock.now_ms(),
        }
        return web.Response(body=msgspec.json.encode(state), content_type="application/json")

    async def _do(self, request: web.Request) -> web.Response:
        try:
            row = msgspec.json.decode(await request.read(), type=dict)
            step = step_of("request", {**row, "at": 0})
            check_step(step)
            result = getattr(self._exchange.commands, step.do)(**step.arguments)
            if asyncio.iscoroutine(result):
                await result
        except (ConfigurationError, ValueError, TypeError) as error:
            return web.Response(status=400, text=str(error))
        return web.Response(text="done")
