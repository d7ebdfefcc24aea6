"""From items to callbacks: plain calls, with an owner that only writes down."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from bybit_copyws.messages import Gap, Message
from bybit_copyws.policy.channel import Channel, Handler
from bybit_copyws.policy.instant import Instant
from bybit_copyws.policy.registry import Registry
from bybit_copyws.policy.session import Session, SessionSettings
from bybit_copyws.stream.dispatcher import MAX_UNKNOWN, Dispatcher, callback_name, excerpt
from bybit_copyws.wire.frames import Binary, Close, Item, Ping
from bybit_copyws.wire.profiles import V5
from bybit_copyws.wire.replies import Ack, Pong
from bybit_copyws.wire.topics import Scope

TRADES = {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": 5, "data": [{"p": "1"}]}


class Owner:
    """Takes everything that is not data."""

    def __init__(self) -> None:
        self.replies: list[Ack | Pong] = []
        self.controls: list[Item] = []
        self.bad: list[tuple[str, bytes, bool]] = []
        self.missing: list[tuple[str | None, str]] = []
        self.failed: list[tuple[Handler, Exception, Message]] = []
        self.interrupts: list[BaseException] = []

    def replied(self, reply: Ack | Pong) -> None:
        self.replies.append(reply)

    def controlled(self, item: Item) -> None:
        self.controls.append(item)

    def bad_message(self, reason: str, excerpt: bytes, *, counts: bool) -> None:
        self.bad.append((reason, excerpt, counts))

    def owed_gap(self, channel: Channel) -> Gap | None:
        raise AssertionError("no gap is owed")

    def missed(self, channel: Channel | None, reason: str) -> None:
        self.missing.append((channel and channel.topic.wire, reason))

    def callback_failed(self, handler: Handler, error: Exception, message: Message) -> None:
        self.failed.append((handler, error, message))

    def interrupted(self, error: BaseException) -> None:
        self.interrupts.append(error)


class Rig:
    """A dispatcher with its registry."""

    def __init__(self) -> None:
        self.owner = Owner()
        self.registry = Registry(21_000)
        self.dispatcher = Dispatcher(self.registry, V5.topics, self.owner)
        self.got: list[Message] = []

    def on(self, *topics: str, callback: Callable[[Any], object] | None = None) -> list[Handler]:
        parsed = [V5.topics.parse(topic) for topic in topics]
        return self.registry.add(parsed, callback or self.got.append)

    def take(self, *messages: Any) -> None:
        self.dispatcher.items(
            [json.dumps(each).encode() if isinstance(each, dict) else each for each in messages]
        )


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_message_reaches_its_callback_as_it_was_sent(rig: Rig) -> None:
    rig.on("publicTrade.BTCUSDT")
    raw = json.dumps(TRADES).encode()
    rig.take(raw)
    (message,) = rig.got
    assert (message.topic, message.type, message.ts) == ("publicTrade.BTCUSDT", "snapshot", 5)
    assert message.data == [{"p": "1"}]
    assert message.raw == raw
    assert rig.dispatcher.messages == 1
    assert rig.dispatcher.last_message is not None


def test_the_creation_time_stands_in_for_a_missing_ts(rig: Rig) -> None:
    rig.on("order")
    rig.take({"topic": "order", "creationTime": 7, "data": []}, {"topic": "order", "data": []})
    assert [message.ts for message in rig.got] == [7, None]


def test_an_alias_and_the_wire_name_get_the_message_under_their_own_names(rig: Rig) -> None:
    rig.on("position")
    rig.on("copyTradePosition")
    rig.take({"topic": "position", "data": []})
    assert [message.topic for message in rig.got] == ["position", "copyTradePosition"]
    assert rig.got[0].data is rig.got[1].data  # decoded once


def test_a_callback_that_raises_is_told_and_disturbs_no_other(rig: Rig) -> None:
    def bad(_: Message) -> None:
        raise ZeroDivisionError

    (handler,) = rig.on("publicTrade.BTCUSDT", callback=bad)
    rig.on("publicTrade.BTCUSDT")
    rig.take(TRADES, TRADES)
    assert len(rig.got) == 2
    assert [(failed, type(error)) for failed, error, _ in rig.owner.failed] == [
        (handler, ZeroDivisionError)
    ] * 2
    assert (handler.calls, handler.failures) == (2, 2)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_is_meant_for_the_program_is_handed_on(rig: Rig, error: type[BaseException]) -> None:
    def leave(_: Message) -> None:
        raise error

    rig.on("publicTrade.BTCUSDT", callback=leave)
    rig.take(TRADES)
    assert [type(each) for each in rig.owner.interrupts] == [error]
    assert rig.owner.failed == []


def test_once_stopped_no_callback_starts(rig: Rig) -> None:
    def stop(_: Message) -> None:
        rig.dispatcher.stopped = True

    rig.on("publicTrade.BTCUSDT", callback=stop)
    rig.on("publicTrade.BTCUSDT")
    rig.take(TRADES, TRADES)
    assert rig.got == []
    assert rig.dispatcher.running is None


def test_a_callback_taken_out_by_another_is_not_called_any_more(rig: Rig) -> None:
    def take_out(_: Message) -> None:
        rig.registry.remove(others)

    rig.on("publicTrade.BTCUSDT", callback=take_out)
    others = rig.on("publicTrade.BTCUSDT")
    rig.take(TRADES)
    assert rig.got == []


def test_what_runs_can_be_seen_while_it_runs(rig: Rig) -> None:
    seen: list[Any] = []
    (handler,) = rig.on(
        "publicTrade.BTCUSDT", callback=lambda _: seen.append(rig.dispatcher.running)
    )
    rig.take(TRADES)
    ((running, since),) = seen
    assert running is handler
    assert since == rig.dispatcher.last_message
    assert handler.seconds >= 0


def test_replies_go_to_the_owner(rig: Rig) -> None:
    rig.take(
        {"success": True, "ret_msg": "", "op": "subscribe", "req_id": "1", "conn_id": "c"},
        {"success": True, "ret_msg": "pong", "op": "ping", "conn_id": "c"},
        {"op": "pong", "args": ["1"], "conn_id": "c"},
    )
    assert [type(reply) for reply in rig.owner.replies] == [Ack, Pong, Pong]
    assert rig.owner.bad == []


def test_control_frames_go_to_the_owner(rig: Rig) -> None:
    rig.take(Ping(b"1"), Close(1001, ""))
    assert rig.owner.controls == [Ping(b"1"), Close(1001, "")]


BAD = {
    "not JSON": (b"hello", "not valid JSON"),
    "empty": (b"", "not valid JSON"),
    "byte order mark": (b"\xef\xbb\xbf{}", "not valid JSON"),
    "UTF-16": ('{"topic":"order"}'.encode("utf-16"), "not valid JSON"),
    "no object": (b"[1,2]", "a JSON list"),
    "null": (b"null", "a JSON NoneType"),
    "deep": (b'{"topic":' + b"[" * 100_000, "nested too deeply"),
    "deep data": (b'{"topic":"order","data":' + b"[" * 100_000, "nested too deeply"),
    "NaN": (b'{"topic":"order","data":NaN}', "not valid JSON"),
    "5,000 digits": (b'{"topic":"order","data":' + b"9" * 5000 + b"}", "not valid JSON"),
    "a topic that is a number": (b'{"topic":7,"data":1}', "the topic is a int"),
    "binary": (Binary(b"\0\1"), "a binary message"),
}


@pytest.mark.parametrize(("payload", "reason"), BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_reported_and_the_next_message_arrives(
    rig: Rig, payload: Any, reason: str
) -> None:
    rig.on("order")
    rig.take(payload, {"topic": "order", "data": [1]})
    ((told, shown, counts),) = rig.owner.bad
    assert reason in told
    assert len(shown) <= 800  # its owner takes secrets out, then cuts it to 200
    assert counts
    assert [message.data for message in rig.got] == [[1]]


def test_odd_fields_do_not_keep_a_message_back(rig: Rig) -> None:
    rig.on("order")
    rig.take({"topic": "order", "type": 3, "ts": "soon", "creationTime": True, "data": [1]})
    (message,) = rig.got
    assert (message.type, message.ts, message.data) == (None, None, [1])
    assert rig.owner.bad == []


def test_duplicate_keys_and_big_numbers_are_taken_as_they_are(rig: Rig) -> None:
    rig.on("order")
    rig.take(b'{"topic":"order","data":1,"data":18446744073709551616}')
    assert [message.data for message in rig.got] == [2**64]


def test_a_late_message_of_a_known_topic_passes_in_silence(rig: Rig) -> None:
    rig.take(TRADES)
    assert rig.owner.bad == []


def test_an_unknown_topic_is_reported_once(rig: Rig) -> None:
    rig.take(*[{"topic": "greeks.BTC", "data": []}] * 3)
    ((reason, _, counts),) = rig.owner.bad
    assert "greeks.BTC" in reason
    assert not counts


def test_what_is_neither_data_nor_reply_is_reported_once(rig: Rig) -> None:
    rig.take({"hello": 1}, {"hello": 2}, {"other": 1})
    assert [("hello" in reason, "other" in reason) for reason, _, _ in rig.owner.bad] == [
        (True, False),
        (False, True),
    ]


def test_the_kinds_of_unknown_messages_that_are_kept_are_bounded(rig: Rig) -> None:
    rig.take(*({"topic": f"x{number}", "data": 1} for number in range(MAX_UNKNOWN * 2)))
    assert len(rig.owner.bad) == MAX_UNKNOWN


def test_an_excerpt_shows_nothing_that_may_be_an_auth_reply() -> None:
    assert b"KEY" not in excerpt(b'{"request":{"op":"AUTH","args":["KEY"')
    assert excerpt(b"x" * 5000) == b"x" * 800


def test_a_callback_has_a_name_for_the_log() -> None:
    class Bot:
        def __call__(self, _: Message) -> None:
            """Take a message."""

    assert callback_name(print) == "print"
    assert callback_name(Bot()) == "Bot"


# What is missing


def book(kind: str, number: int) -> dict[str, Any]:
    data = {"s": "BTCUSDT", "b": [], "a": [], "u": number, "seq": 1}
    return {"topic": "orderbook.50.BTCUSDT", "type": kind, "ts": 5, "data": data}


def test_a_jump_of_an_order_books_numbers_is_told_before_the_message(rig: Rig) -> None:
    told: list[int] = []
    rig.on("orderbook.50.BTCUSDT", callback=lambda _: told.append(len(rig.owner.missing)))
    rig.take(book("snapshot", 5), book("delta", 6), book("delta", 8), book("delta", 9))
    assert told == [0, 0, 1, 1]
    assert rig.owner.missing == [
        ("orderbook.50.BTCUSDT", "the order book's numbers jump from 6 to 8")
    ]


@pytest.mark.parametrize(
    ("payload", "missing"),
    [
        (b'{"topic":"publicTrade.BTCUSDT","data":[', ["publicTrade.BTCUSDT"]),
        (b'{"type":"x", "topic" : "publicTrade.BTCUSDT" nonsense', ["publicTrade.BTCUSDT"]),
        (b'{"topic":"publicTrade.ETHUSDT","data":[', []),  # given up: it is nobody's loss
        (b"nonsense", [None]),
        (b'["topic"]', [None]),
        (b'{"type":"snapshot","data":[]}', [None]),
        (b'{"topic":5,"data":[]}', [None]),
        (b'{"type":"COMMAND_RESP"}', []),
    ],
)
def test_whose_loss_an_unreadable_message_is(
    rig: Rig, payload: bytes, missing: list[str | None]
) -> None:
    rig.on("publicTrade.BTCUSDT")
    rig.take(payload)
    assert [wire for wire, _ in rig.owner.missing] == missing
    assert len(rig.owner.bad) == 1


def test_a_binary_message_may_have_been_anybodys(rig: Rig) -> None:
    rig.dispatcher.items([Binary(b"x")])
    assert [wire for wire, _ in rig.owner.missing] == [None]


def test_each_of_two_jumps_is_told() -> None:
    # With the session's own gaps, which begin a new count.
    session = Session(Scope.PUBLIC, V5, SessionSettings(), None, random.Random(0))
    rig, told = Rig(), []
    now = Instant(1.0, 1.0)

    class Told(Owner):
        def missed(self, channel: Channel | None, reason: str) -> None:
            told.append(reason)
            session.missed(channel, reason, now)

        def owed_gap(self, channel: Channel) -> Gap | None:
            return session.gaps.take(channel, now)

    rig.dispatcher = Dispatcher(session.registry, V5.topics, Told())
    session.registry.add([V5.topics.parse("orderbook.50.BTCUSDT")], rig.got.append)
    rig.take(*(book("delta" if number else "snapshot", number) for number in (0, 2, 4, 5)))
    assert len(told) == 2
    assert [message.gap is not None for message in rig.got] == [False, True, True, False]
