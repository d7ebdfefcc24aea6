"""Any text of a server: delivered, a reply, or one report; parsed, or a ProtocolError.

The JSON decoder is compiled, so coverage cannot guide what it is fed: whole messages are spoilt
at random places instead.
"""

from __future__ import annotations

import json
import random
import sys

import atheris

with atheris.instrument_imports():
    from bybit_copyws.errors import ProtocolError
    from bybit_copyws.messages import Gap, Message
    from bybit_copyws.policy.channel import Channel
    from bybit_copyws.policy.instant import Instant
    from bybit_copyws.policy.session import Session, SessionSettings
    from bybit_copyws.stream.dispatcher import Dispatcher
    from bybit_copyws.wire.envelope import MAX_EXCERPT
    from bybit_copyws.wire.profiles import COPY_TRADING_V3, V5
    from bybit_copyws.wire.replies import Ack, Pong
    from bybit_copyws.wire.signing import Credentials
    from bybit_copyws.wire.topics import Scope

TOPICS = {
    Scope.PUBLIC: (
        "orderbook.1.BTCUSDT",
        "orderbook.50.BTCUSDT",
        "publicTrade.BTCUSDT",
        "tickers.BTCUSDT",
        "kline.1.BTCUSDT",
        "liquidation.BTCUSDT",
    ),
    Scope.PRIVATE: (
        "copyTradePosition",
        "copyTradeOrder",
        "copyTradeExecution",
        "copyTradeWallet",
    ),
}


class Rig:
    """A session with all its topics, in the middle of its life, and its dispatcher."""

    def __init__(self, profile, scope) -> None:
        self.now = Instant(mono=100.0, wall=1_700_000_000.0)
        credentials = Credentials("key", "secret") if scope is Scope.PRIVATE else None
        self.session = Session(scope, profile, SessionSettings(), credentials, random.Random(0))
        names = []
        for name in TOPICS[scope]:
            try:
                names.append(profile.topics.parse(name))
            except ValueError:
                continue  # this generation has no such topic
        self.session.registry.add(names, self.take)
        self.session.replan(self.now)
        self.session.connecting(self.now)
        self.session.opened(self.now)
        self.session.take_outgoing()
        self.dispatcher = Dispatcher(self.session.registry, profile.topics, self)

    def take(self, message: Message) -> None:
        list(message.items())
        try:
            message.parse()
        except ProtocolError as error:
            assert len(str(error)) < 2_000

    def replied(self, reply: Ack | Pong) -> None:
        self.session.received(reply, self.now)

    def controlled(self, item: object) -> None:
        raise AssertionError(f"no control frame was sent: {item!r}")

    def bad_message(self, reason: str, excerpt: bytes, *, counts: bool) -> None:
        assert len(reason) <= 1_000
        assert len(excerpt) <= 4 * MAX_EXCERPT

    def owed_gap(self, channel: Channel) -> Gap | None:
        return self.session.gaps.take(channel, self.now)

    def missed(self, channel: Channel | None, reason: str) -> None:
        self.session.missed(channel, reason, self.now)

    def callback_failed(self, handler: object, error: BaseException, message: Message) -> None:
        raise error

    def interrupted(self, error: BaseException) -> None:
        raise error


LEVELS = [["58.10", "4"], ["58.0", "0.000"]]
TEMPLATES = (
    {"topic": "", "type": "delta", "ts": 5, "data": [{"T": 1, "s": "BTCUSDT", "S": "Buy"}]},
    {
        "topic": "",
        "type": "snapshot",
        "ts": 5,
        "cts": 4,
        "data": {"s": "BTCUSDT", "b": LEVELS, "a": LEVELS, "u": 1, "seq": 2},
    },
    {
        "topic": "",
        "type": "snapshot",
        "cs": 3,
        "ts": 5,
        "data": {"symbol": "BTCUSDT", "lastPrice": "1", "bid1Price": "", "fundingRate": "0.1"},
    },
    {
        "topic": "",
        "type": "snapshot",
        "ts": 5,
        "data": [{"start": 1, "end": 2, "interval": "1", "open": "1", "confirm": False}],
    },
    {
        "topic": "",
        "id": "x",
        "creationTime": 5,
        "data": [
            {
                "symbol": "BTCUSDT",
                "orderId": "o",
                "execId": "e",
                "side": "Buy",
                "positionIdx": 1,
                "execPrice": "1.5",
                "qty": "",
                "createdTime": "1700000000000",
            }
        ],
    },
    {"success": True, "ret_msg": "subscribe", "conn_id": "c", "req_id": "1", "op": "subscribe"},
    {"success": False, "ret_msg": "error:handler not found,topic:publicTrade.BTCUSDT"},
    {
        "success": True,
        "ret_msg": "",
        "conn_id": "c",
        "request": {"op": "auth", "args": ["k", "1", "s"]},
    },
    {"success": True, "ret_msg": "pong", "conn_id": "c", "req_id": "", "op": "ping"},
    {"op": "pong", "args": ["1675418560633"], "req_id": "1", "conn_id": "c"},
    {"success": True, "conn_id": "c", "data": {"successTopics": ["a"], "failTopics": ["b"]}},
)
ODD = (
    None,
    True,
    0,
    -1,
    2**64,
    10**400,
    1.5,
    "",
    "x" * 300,
    "1e400",
    "NaN",
    "-0",
    "\x00\u2028",
    [],
    {},
    [[]],
    [None],
    {"": {}},
)


def spoil(value, provider, depth=0):
    """Return a value of which some parts are missing, odd, doubled or of another type."""
    choice = provider.ConsumeIntInRange(0, 31)
    if choice < len(ODD):
        return ODD[choice] if provider.ConsumeIntInRange(0, 3) == 0 else value
    if choice == 31:
        return provider.ConsumeUnicodeNoSurrogates(20)
    if isinstance(value, dict):
        keep = {}
        for key, inner in value.items():
            if provider.ConsumeIntInRange(0, 15):
                keep[key] = spoil(inner, provider, depth + 1)
        return keep
    if isinstance(value, list):
        return [spoil(inner, provider, depth + 1) for inner in value * (1 + choice % 2)]
    return value


def look(data: bytes) -> None:
    provider = atheris.FuzzedDataProvider(data)
    profile = V5 if provider.ConsumeBool() else COPY_TRADING_V3
    scope = Scope.PRIVATE if provider.ConsumeBool() else Scope.PUBLIC
    rig = Rig(profile, scope)
    for _ in range(provider.ConsumeIntInRange(1, 4)):
        if provider.ConsumeIntInRange(0, 7) == 0:
            rig.dispatcher.items([provider.ConsumeUnicodeNoSurrogates(200).encode()])
            continue
        message = {**TEMPLATES[provider.ConsumeIntInRange(0, len(TEMPLATES) - 1)]}
        if "topic" in message:
            message["topic"] = provider.PickValueInList(list(TOPICS[scope]))
        elif scope is Scope.PUBLIC and provider.ConsumeBool():
            message["req_id"] = str(provider.ConsumeIntInRange(0, 3))
        rig.dispatcher.items([json.dumps(spoil(message, provider)).encode()])
        rig.session.take_outgoing()
        rig.session.take_events()


if __name__ == "__main__":
    atheris.Setup(sys.argv, look)
    atheris.Fuzz()
