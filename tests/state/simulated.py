"""The exchange's own account with a stream and REST in process: the truth to compare with.

Its link can be cut, what is on the way can be lost, answers take their time and may fail. All
choices come from one seed.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict, deque
from decimal import Decimal
from typing import Any, NamedTuple

from account_facts import Facts, facts_of

from bybit_copyws.messages import Message
from bybit_copyws.rest.dialects import find_dialect
from bybit_copyws.rest.params import wire_params
from bybit_copyws.sandbox.account import Account, RandomTrader, Refused, render_push, render_result
from bybit_copyws.state import (
    AccountState,
    Kind,
    Question,
    Status,
    TradeChange,
    TradeEvent,
    find_account_dialect,
    trades_of,
)
from bybit_copyws.state.account_dialects import PARSERS

D = Decimal
START = 1_700_000_000_000
BTC, ETH = "BTCUSDT", "ETHUSDT"


class Rules(NamedTuple):
    tick_size: Decimal
    qty_step: Decimal
    min_qty: Decimal
    max_qty: Decimal = D(100)
    max_leverage: Decimal = D(100)
    maker_fee: Decimal = D("0.0002")
    taker_fee: Decimal = D("0.00055")


class Piece(NamedTuple):
    price: Decimal
    qty: Decimal


class Market:
    """Fills everything at the last price."""

    def __init__(self) -> None:
        self.rules = {
            BTC: Rules(D("0.10"), D("0.001"), D("0.001")),
            ETH: Rules(D("0.01"), D("0.01"), D("0.01")),
        }
        self.last = {BTC: D("20000.00"), ETH: D("2000.00")}

    def instrument(self, symbol: str) -> Rules:
        return self.rules[symbol]

    def last_price(self, symbol: str) -> Decimal:
        return self.last[symbol]

    mark_price = last_price

    def available(self, symbol: str, side: str, limit: Decimal) -> Decimal:
        last = self.last[symbol]
        return D(0) if (limit < last if side == "Buy" else limit > last) else D(10**6)

    def take(self, symbol: str, side: str, qty: Decimal, limit: Decimal | None) -> list[Piece]:
        last = self.last[symbol]
        return [Piece(last, qty)] if self.available(symbol, side, limit or last) else []


class Venue:
    """One account that trades at random, with a link to it and REST.

    Args:
        profile: ``"v3"`` or ``"v5"``.
        rng: all choices.
    """

    def __init__(self, profile: str, rng: random.Random) -> None:
        self.profile = profile
        self.rng = rng
        self.market = Market()
        self.account = Account(self.market, seed=rng.randrange(2**32))
        self.trader = RandomTrader(self.account, self.market, [BTC, ETH], rng)
        self.now_ms = START
        self.connected = False
        self.on_the_way: deque[Message] = deque()
        self.facts = Facts(profile, self.account)
        self._rest = find_dialect(profile)

    def step(self) -> None:
        """Let some time pass, and something happen."""
        rng = self.rng
        self.now_ms += rng.choice((0, 0, 1, 50, 1500))
        symbol = rng.choice((BTC, ETH))
        tick = self.market.rules[symbol].tick_size
        price = self.market.last[symbol] * (1000 + rng.randint(-5, 5)) / 1000
        self.market.last[symbol] = (price / tick).to_integral_value() * tick
        self.account.tick(symbol, self.now_ms)
        chance = rng.random()
        try:
            if chance < 0.7:
                self.trader.step(self.now_ms)
            elif chance < 0.76:
                self.account.close_position(symbol, rng.choice((1, 2)), now_ms=self.now_ms)
            elif chance < 0.80:
                self.account.set_leverage(symbol, rng.randint(2, 20), 10, now_ms=self.now_ms)
            elif chance < 0.83:
                self.account.funding(symbol, D(rng.randint(-9, 9)) / 10_000, self.now_ms)
            elif chance < 0.86:
                self.account.transfer(rng.randint(1, 50), "FUND", "COPYTRADE", now_ms=self.now_ms)
            elif chance < 0.90:
                self.account.split_fills(rng.randint(1, 3))
        except Refused:
            pass
        self._push()

    def _push(self) -> None:
        for change in self.account.take_changes():
            pushed = render_push(self.profile, change, self.now_ms)
            if pushed is not None and self.connected:
                self.on_the_way.append(received(json.dumps(pushed).encode()))

    def cut(self) -> None:
        """End the link; what is on the way is lost."""
        self.connected = False
        self.on_the_way.clear()

    def ask(self, question: Question) -> Any:
        """Answer a question, as the exchange would now."""
        endpoint = self._rest.endpoint(question.call)
        params = wire_params(self._rest, endpoint, question.params)
        params["limit"] = self.rng.choice((2, 5, 50)) if "limit" in endpoint.params else 50
        texts = {name: str(value) for name, value in params.items()}
        result = render_result(self.profile, question.call, self.account, texts, self.now_ms)
        return json.loads(json.dumps(result))


def received(raw: bytes) -> Message:
    envelope = json.loads(raw)
    topic, ts = envelope["topic"], envelope.get("creationTime")
    kind = find_account_dialect("v3").kind_of(topic)
    assert kind is not None
    return Message(topic, None, ts, envelope["data"], 0, raw, PARSERS[kind])


class Follower:
    """A user's callbacks: believes the last message of each thing."""

    def __init__(self) -> None:
        self.positions: dict[Any, Any] = {}
        self.orders: dict[Any, Any] = {}
        self.wallet: Any = None
        self.executions: list[Any] = []
        self.sources: dict[str, int] = defaultdict(int)

    def hear(self, updates: list[Any]) -> None:
        for update in updates:
            message = update.as_message(1)
            assert message.source == update.source
            self.sources[update.source] += 1
            for model in message.parse():
                if update.kind is Kind.POSITION:
                    self.positions[model.symbol, model.position_idx] = model
                elif update.kind is Kind.ORDER:
                    self.orders[model.order_id] = model
                elif update.kind is Kind.WALLET:
                    self.wallet = model
                else:
                    self.executions.append(model)


class Run:
    """One seeded run: a venue, an account that follows it, and all that can go wrong between.

    Args:
        profile: ``"v3"`` or ``"v5"``.
        seed: of everything.
    """

    def __init__(self, profile: str, seed: int) -> None:
        self.rng = rng = random.Random(f"{profile} {seed}")
        self.venue = Venue(profile, rng)
        # A short wait and little room in some runs: then messages go out before what was missed.
        self.hurried = rng.random() < 0.3
        self.state = AccountState(
            find_account_dialect(profile),
            reconcile_timeout=rng.choice((0.5, 3.0)) if self.hurried else 1e9,
            most_waiting=rng.choice((5, 40)) if self.hurried else 10_000,
            lookback=3600.0,
            most_executions=100_000,
        )
        self.follower = Follower()
        self.trades = trades_of(find_account_dialect(profile))
        self.changes: list[TradeChange] = []
        self.answer: tuple[Question, Any] | None = None
        self.compared = 0
        self.last: deque[Message] = deque(maxlen=20)

    @property
    def now(self) -> float:
        return self.venue.now_ms / 1000

    def go(self, steps: int) -> None:
        rng, venue = self.rng, self.venue
        for _ in range(steps):
            venue.step()
            if venue.connected and rng.random() < 0.03:
                self.deliver(rng.randint(0, 3))
                venue.cut()
                self.state.lost("the link is lost", self.now)
            elif not venue.connected and rng.random() < 0.3:
                self.connect()
            self.deliver(rng.choice((0, 3, 40, 40)))
            if rng.random() < 0.6:
                self.reconcile()
            if rng.random() < 0.2:
                self.hear(self.state.tick(self.now))
            if rng.random() < 0.1:
                self.compare()
        self.finish()

    def connect(self) -> None:
        self.venue.connected = True
        self.state.confirmed()

    def hear(self, updates: Any) -> None:
        self.follower.hear(updates)
        self.changes += self.trades.follow(updates)

    def deliver(self, most: int) -> None:
        way = self.venue.on_the_way
        for _ in range(min(most, len(way))):
            message = way.popleft()
            self.hear(self.state.take(message, self.now))
            self.last.append(message)
            if self.rng.random() < 0.02:
                self.repeat()

    def repeat(self) -> None:
        """Let something come a second time, and late.

        Not what nothing can tell from something new: v3's wallet and, after a reconciliation, its
        positions have neither time nor number; its orders go from closing to filled and back
        within one millisecond.
        """
        message = self.rng.choice(self.last)
        kind = find_account_dialect(self.venue.profile).kind_of(message.topic)
        known = {"v3": (Kind.EXECUTION,), "v5": (Kind.EXECUTION, Kind.ORDER, Kind.POSITION)}
        if kind in known[self.venue.profile]:
            self.hear(self.state.take(message, self.now))

    def reconcile(self) -> None:
        """Go one step on: begin, ask, or take the answer to what was asked some time ago."""
        state, rng = self.state, self.rng
        if self.answer is not None:
            question, result = self.answer
            self.answer = None
            if rng.random() < 0.03:
                state.fail("HTTP 502")
            else:
                state.answer(question, result)
        elif state.wanted or (state.question() is None and rng.random() < 0.05):
            state.begin(self.venue.now_ms)
        elif (question := state.question()) is not None:
            self.answer = question, self.venue.ask(question)

    def finish(self) -> None:
        self.connect()
        while self.state.wanted or self.state.question() or self.answer or self.venue.on_the_way:
            self.deliver(3)
            self.reconcile()
            self.hear(self.state.tick(self.now))
        self.hear(self.state.tick(self.now))
        assert self.state.status is Status.LIVE
        self.compare()
        self.check_what_was_handed_out()
        self.check_the_trades()

    def compare(self) -> None:
        """Check that the views are the truth, if nothing is on the way and the account is live."""
        venue, view = self.venue, self.state.view
        if not view.live or venue.on_the_way or not venue.connected:
            return
        self.compared += 1
        profile = venue.profile
        assert facts_of(view, profile) == venue.facts.all(venue.now_ms)
        told = [e.exec_id for e in view.executions if profile == "v5" or e.exec_type != "Funding"]
        assert sorted(map(str, told)) == sorted(venue.facts.exec_ids())

    def check_what_was_handed_out(self) -> None:
        follower, venue = self.follower, self.venue
        ids = [each.exec_id for each in follower.executions]
        assert len(ids) == len(set(ids))
        assert tuple(ids) == tuple(each.exec_id for each in self.state.view.executions)
        if not self.hurried:
            for symbol in (BTC, ETH):
                told = [
                    each.exec_id
                    for each in follower.executions
                    if each.symbol == symbol
                    and (venue.profile == "v5" or each.exec_type != "Funding")
                ]
                assert told == venue.facts.exec_ids(symbol)
        sizes = {key: each.size for key, each in follower.positions.items() if each.size}
        assert sizes == {key: each.size for key, each in self.state.view.positions.items()}
        ended = find_account_dialect(venue.profile).ended
        open_ones = {k: o.status for k, o in follower.orders.items() if o.status not in ended}
        assert open_ones == {k: o.status for k, o in self.state.view.orders.items()}
        assert follower.wallet.wallet_balance == self.state.view.wallet.wallet_balance
        assert follower.wallet.available_balance == self.state.view.wallet.available_balance

    def check_the_trades(self) -> None:
        """Check that what is open is the exchange's own, and every life begins and ends once."""
        account, view = self.venue.account, self.trades.view
        if self.venue.profile == "v3":
            # One that is closed and still being filled has not come to its end.
            parents = {
                order.order_id: (order.side, order.copy_status)
                for order in account.orders
                if order.copy_status.startswith("OpenOrder")
                and order.copy_status != "OpenOrderClosedFilled"
            }
            assert {k: (t.side, t.status) for k, t in view.items()} == parents
        else:
            held = self.state.view.positions
            assert {k: (t.open_qty, t.side) for k, t in view.items()} == {
                key: (each.size, each.side) for key, each in held.items()
            }
        lives: dict[Any, list[TradeEvent]] = defaultdict(list)
        for event, trade in self.changes:
            lives[trade.order_id or (trade.symbol, trade.position_idx)].append(event)
        for key, events in lives.items():
            open_now = False
            for event in events:
                assert (event is TradeEvent.OPENED) != open_now
                open_now = event is not TradeEvent.CLOSED
            assert open_now == (key in view)
