"""A connection as the exchange holds it, over a transport that has been lost."""

from __future__ import annotations

import asyncio
from unittest.mock import create_autospec

from aiohttp import web

from bybit_copyws.sandbox.faults import FaultList, Outgoing, encode_frame
from bybit_copyws.sandbox.history import History
from bybit_copyws.sandbox.peer import Peer
from bybit_copyws.sandbox.venue import Connection, Rules
from bybit_copyws.wire.profiles import COPY_TRADING_V3
from bybit_copyws.wire.signing import Credentials
from bybit_copyws.wire.topics import Scope

TOPIC = "orderbook.1.BTCUSDT"


def test_a_message_into_a_lost_connection_is_lost_with_it() -> None:
    # As TLS of Python 3.10 leaves it between the loss and the news of it.
    lost = create_autospec(asyncio.Transport, instance=True)
    lost.is_closing.return_value = False
    lost.get_write_buffer_size.side_effect = AttributeError("'NoneType' object has no attribute")
    keys = Credentials("SandboxKey0123456789", "SandboxSecret")
    connection = Connection(
        COPY_TRADING_V3, Scope.PUBLIC, "conn-1", keys, Rules(), lambda topic: topic == TOPIC
    )
    history = History(10)
    ws = create_autospec(web.WebSocketResponse, instance=True)
    peer = Peer(connection, ws, lost, FaultList(), history, 0)
    payload = b'{"topic":"orderbook.1.BTCUSDT"}'
    peer.send(Outgoing(payload, encode_frame(payload), TOPIC), 1)
    assert history.total == 0
    assert peer.behind == 0
    assert peer.info().buffered == 0
