"""``bybit-copyws tail``: print the messages of topics."""

from __future__ import annotations

import queue
import sys
import time
from dataclasses import dataclass

import msgspec

from bybit_copyws.client import CopyTradingClient
from bybit_copyws.errors import StreamError
from bybit_copyws.events import (
    BadMessage,
    BudgetExhausted,
    Event,
    StateChanged,
    SubscriptionConfirmed,
    SubscriptionRejected,
)
from bybit_copyws.messages import Message
from bybit_copyws.wire.profiles import Environment

_WIDTH = 120
_TOLD = (StateChanged, SubscriptionConfirmed, SubscriptionRejected, BudgetExhausted, BadMessage)


@dataclass(frozen=True)
class TailOptions:
    """What to print, from where and for how long."""

    topics: tuple[str, ...]
    environment: str
    profile: str
    url: str | None
    json: bool
    count: int | None
    seconds: float | None
    proxy: str | None


def run_tail(options: TailOptions, api_key: str | None, api_secret: str | None) -> int:
    """Print messages until the count or the time is reached; return the exit status.

    Raises:
        BybitCopyWSError: the topics or keys cannot work, or the exchange refused them.
    """
    environment: str | Environment = options.environment
    if options.url is not None:
        rest = options.url.replace("ws", "http", 1)
        environment = Environment("url", options.url, options.url, rest)
    client = CopyTradingClient(
        api_key,
        api_secret,
        environment=environment,
        profile=options.profile,
        proxy=options.proxy,
    )
    inbox: queue.SimpleQueue[Message | Event] = queue.SimpleQueue()
    client.listen(inbox.put, *_TOLD)
    subscription = client.subscribe(options.topics, inbox.put)
    end = None if options.seconds is None else time.monotonic() + options.seconds
    printed = 0
    with client:
        while (end is None or time.monotonic() < end) and printed != options.count:
            error = subscription.error
            if isinstance(error, StreamError):
                raise error
            item = _next(inbox, end)
            if isinstance(item, Message):
                print(_line(item, as_json=options.json), flush=True)
                printed += 1
            elif item is not None:
                print(_talk(item), file=sys.stderr, flush=True)
        if printed == 0:
            raise StreamError(f"nothing arrived ({client!r})")
    return 0


def _next(inbox: queue.SimpleQueue[Message | Event], end: float | None) -> Message | Event | None:
    left = 0.5 if end is None else min(0.5, max(0.0, end - time.monotonic()))
    try:
        return inbox.get(timeout=left)
    except queue.Empty:
        return None


def _line(message: Message, *, as_json: bool) -> str:
    if as_json:
        fields = {
            "topic": message.topic,
            "type": message.type,
            "ts": message.ts,
            "received_ns": message.received_ns,
            "source": message.source,
            "data": message.data,
        }
        return msgspec.json.encode(fields).decode()
    data = msgspec.json.encode(message.data).decode()
    shown = data if len(data) <= _WIDTH else f"{data[:_WIDTH]}..."
    clock = time.strftime("%H:%M:%S", time.localtime(message.received_ns / 1e9))
    source = "" if message.source == "stream" else f" ({message.source})"
    return f"{clock}  {message.topic}{source}  {shown}"


def _talk(event: Event) -> str:
    if isinstance(event, StateChanged):
        return f"{event.connection}: {event.new.value} ({event.reason})"
    if isinstance(event, SubscriptionConfirmed):
        return f"{event.connection}: confirmed {', '.join(event.topics)}"
    if isinstance(event, SubscriptionRejected):
        return f"{event.connection}: refused {', '.join(event.topics)}: {event.ret_msg}"
    if isinstance(event, BadMessage):
        return f"{event.connection}: bad message: {event.reason}"
    return f"{event.connection}: connection budget spent, waiting"
