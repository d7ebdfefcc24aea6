"""``bybit-copyws demo``: the main job against the local exchange, with a forced disconnect."""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass, field

from bybit_copyws.account import Account
from bybit_copyws.books import LiveOrderBook
from bybit_copyws.client import CopyTradingClient
from bybit_copyws.events import Event, State, StateChanged
from bybit_copyws.messages import Message
from bybit_copyws.policy.backoff import Backoff
from bybit_copyws.policy.budget import ConnectionBudget

TOPICS = (
    "orderbook.50.BTCUSDT",
    "publicTrade.BTCUSDT",
    "tickers.BTCUSDT",
    "copyTradePosition",
    "copyTradeExecution",
)


@dataclass
class _Tally:
    """What one topic has brought."""

    before: int = 0
    after: int = 0
    latest: str = ""
    back_after: float | None = None


@dataclass
class _Demo:
    account: Account
    book: LiveOrderBook
    tallies: dict[str, _Tally] = field(default_factory=lambda: {t: _Tally() for t in TOPICS})
    dropped_at: float | None = None

    def take(self, message: Message, now: float) -> None:
        tally = self.tallies[message.topic]
        tally.latest = _summary(message) or tally.latest
        if self.dropped_at is None:
            tally.before += 1
            return
        tally.after += 1
        if tally.back_after is None:
            tally.back_after = now - self.dropped_at


def run_demo(seconds: float, seed: int, profile: str) -> int:
    """Run the demonstration; return the exit status."""
    from bybit_copyws.sandbox import Sandbox  # noqa: PLC0415 (needs an extra; tail does not)

    inbox: queue.SimpleQueue[tuple[Message | Event, float]] = queue.SimpleQueue()
    with Sandbox(seed=seed) as exchange:
        print(f"local exchange at {exchange.url}, seed {seed}, profile {profile}")
        client = CopyTradingClient(
            exchange.api_key,
            exchange.api_secret,
            environment=exchange.environment,
            profile=profile,
            # Ten seconds are too short for a link to count as good by the defaults.
            backoff=Backoff(good_after=0.0),
            connection_budget=ConnectionBudget(),
        )
        demo = _Demo(client.account, client.order_book("BTCUSDT", 50))
        client.subscribe(TOPICS, lambda message: inbox.put((message, time.monotonic())))
        client.listen(lambda event: inbox.put((event, time.monotonic())), StateChanged)
        with client:
            client.wait_until_ready()
            client.account.wait_for(lambda view: view.live)
            print(f"{len(TOPICS)} topics confirmed on two connections")
            started = time.monotonic()
            _watch(demo, inbox, started, started + seconds / 2)
            demo.dropped_at = time.monotonic()
            print(f"{_clock(started)}  -- cutting both connections by force (RST) --")
            exchange.drop(how="rst")
            _watch(demo, inbox, started, started + seconds)
            return _conclude(demo)


def _watch(
    demo: _Demo, inbox: queue.SimpleQueue[tuple[Message | Event, float]], started: float, end: float
) -> None:
    """Take messages until ``end``, and print a line about them every second."""
    next_line = time.monotonic() + 1.0
    while (left := min(next_line, end) - time.monotonic()) > 0 or time.monotonic() < end:
        try:
            item, now = inbox.get(timeout=max(left, 0.0))
        except queue.Empty:
            print(f"{_clock(started)}  {_line(demo)}", flush=True)
            next_line += 1.0
            continue
        if isinstance(item, Message):
            demo.take(item, now)
        elif isinstance(item, StateChanged) and item.new in (State.BACKOFF, State.ACTIVE):
            print(f"{_clock(started)}  {item.connection}: {item.new.value} ({item.reason})")
        if time.monotonic() >= next_line:
            print(f"{_clock(started)}  {_line(demo)}", flush=True)
            next_line += 1.0


def _clock(started: float) -> str:
    return f"{time.monotonic() - started:5.1f} s"


def _line(demo: _Demo) -> str:
    total = sum(tally.before + tally.after for tally in demo.tallies.values())
    account, (bid, ask) = demo.account.view, demo.book.top()
    return (
        f"{total} messages; book {demo.book.status.value}, {bid.price if bid else '-'} / "
        f"{ask.price if ask else '-'}; account {account.status.value}, "
        f"{len(account.positions)} positions, {len(account.orders)} orders"
    )


def _summary(message: Message) -> str:
    """Return the gist of a message in a few words; nothing if it changes none of them."""
    data = message.data
    if message.topic.startswith("tickers."):
        return f"BTCUSDT last {data['lastPrice']}" if data.get("lastPrice") else ""
    if message.topic.startswith("publicTrade."):
        trade = message.parse()[-1]
        return f"{trade.side} {trade.size} at {trade.price}"
    if message.topic == "copyTradeExecution":
        execution = message.parse()[0]
        return f"{execution.side} {execution.exec_qty} {execution.symbol} at {execution.exec_price}"
    if message.topic == "copyTradePosition":
        position = message.parse()[0]
        return f"{position.symbol} {position.side or 'flat'} {position.size}"
    return f"{message.type}, update {data['u']}"


def _conclude(demo: _Demo) -> int:
    print()
    print(f"{'topic':<24}{'before':>8}{'after':>8}{'back after':>12}  latest")
    for topic, tally in demo.tallies.items():
        back = "-" if tally.back_after is None else f"{tally.back_after * 1000:.0f} ms"
        print(f"{topic:<24}{tally.before:>8}{tally.after:>8}{back:>12}  {tally.latest}")
    silent = [topic for topic, tally in demo.tallies.items() if not (tally.before and tally.after)]
    if silent:
        print(f"\nNot every topic delivered before and after the cut: {', '.join(silent)}")
        return 1
    print(
        "\nBoth connections were cut, came back by themselves and every topic delivers again "
        "(private topics speak only when the account changes).\n"
        f"The account was brought up by REST and is {demo.account.status.value}; the book is "
        f"{demo.book.status.value}.\n"
        "Next: bybit-copyws sandbox, or bybit-copyws tail --help"
    )
    return 0
