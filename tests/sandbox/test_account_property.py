"""What is true of the simulated account at all times, whatever happens."""

import random
from collections import defaultdict
from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule
from test_account_market import BTC, ETH, NOW, FakeMarket, move, new_account

from bybit_copyws.sandbox.account import Account, RandomTrader, Refused, render_push

D = Decimal

SIDES = st.sampled_from(["Buy", "Sell"])
SYMBOLS = st.sampled_from([BTC, ETH])


class Follower:
    """Adds up the pushes as a client would."""

    def __init__(self):
        self.sizes = defaultdict(D)
        self.filled = defaultdict(D)
        self.gains = D(0)
        self.exec_ids = set()
        self.orders = {}
        self.positions = {}
        self.wallet = None

    def follow(self, changes):
        for change in changes:
            state = change.state
            if change.kind == "order":
                self.orders[state.order_id] = state
            elif change.kind == "position":
                self.positions[state.symbol, state.position_idx] = state
            elif change.kind == "wallet":
                self.wallet = state
            else:
                self._execution(state)

    def _execution(self, execution):
        assert execution.exec_id not in self.exec_ids
        self.exec_ids.add(execution.exec_id)
        self.gains += execution.exec_pnl - execution.exec_fee
        if execution.exec_type != "Funding":
            self.filled[execution.order_id] += execution.exec_qty
            sign = -1 if execution.closed_size else 1
            self.sizes[execution.symbol, execution.position_idx] += sign * execution.exec_qty


def check(account, follower, deposits):
    wallet = account.wallet
    assert wallet.wallet_balance == 10000 + deposits + follower.gains
    margins = wallet.position_margin + wallet.order_margin
    assert wallet.available_balance == max(0, wallet.wallet_balance - margins)
    for position in account.positions:
        key = position.symbol, position.position_idx
        assert position.size == follower.sizes[key] >= 0
        assert 0 <= position.free_qty <= position.size
        trades = [t for t in account.open_trades(key[0]) if t.position_idx == key[1]]
        assert sum(trade.open_qty for trade in trades) == position.size
        assert position.size == 0 or position.entry_price > 0
        pushed = follower.positions.get(key)
        if pushed is not None:
            assert (pushed.size, pushed.entry_price, pushed.order_margin, pushed.free_qty) == (
                *(position.size, position.entry_price, position.order_margin, position.free_qty),
            )
    for order in account.orders:
        assert order.cum_exec_qty == follower.filled[order.order_id] <= order.qty
        assert 0 <= order.closed_qty <= order.cum_exec_qty
        assert follower.orders[order.order_id].copy_status == order.copy_status
        assert follower.orders[order.order_id].status is order.status
    if follower.wallet is not None:
        assert follower.wallet.wallet_balance == wallet.wallet_balance
        assert follower.wallet.available_balance == wallet.available_balance


class AccountMachine(RuleBasedStateMachine):
    orders = Bundle("orders")

    def __init__(self):
        super().__init__()
        self.account, self.market = new_account()
        self.follower = Follower()
        self.deposits = D(0)
        self.now = NOW

    def attempt(self, command, *args, **kwargs):
        self.now += 1
        try:
            return command(*args, now_ms=self.now, **kwargs)
        except Refused:
            return None

    @rule(
        target=orders,
        symbol=SYMBOLS,
        side=SIDES,
        order_type=st.sampled_from(["Market", "Limit"]),
        qty=st.integers(1, 300),
        away=st.integers(-200, 200),
        idx=st.sampled_from([None, None, 1, 2]),
        time_in_force=st.sampled_from(["GTC", "IOC", "FOK", "PostOnly"]),
        mode=st.sampled_from(["Full", "Partial"]),
        guard=st.integers(0, 300),
        trigger=st.sampled_from([0, 0, 0, -50, 50]),
    )
    def create(self, symbol, side, order_type, qty, away, idx, time_in_force, mode, guard, trigger):
        rules, last = self.market.rules[symbol], self.market.last[symbol]
        price = last + away * 10 * rules.tick_size
        direction = 1 if side == "Buy" else -1
        result = self.attempt(
            self.account.create_order,
            *(symbol, side, order_type, qty * rules.qty_step, price),
            position_idx=idx,
            time_in_force=time_in_force,
            tpsl_mode=mode,
            take_profit=price + direction * guard * 10 * rules.tick_size if guard else None,
            stop_loss=price - direction * guard * 10 * rules.tick_size if guard else None,
            trigger_price=last + trigger * rules.tick_size if trigger else None,
        )
        return result[0] if result else multiple()

    @rule(order_id=orders)
    def cancel(self, order_id):
        self.attempt(self.account.cancel_order, order_id=order_id)

    @rule(target=orders, order_id=orders)
    def close(self, order_id):
        result = self.attempt(self.account.close_order, parent_order_id=order_id)
        return result[0] if result else multiple()

    @rule(symbol=SYMBOLS, idx=st.sampled_from([1, 2]))
    def close_position(self, symbol, idx):
        self.attempt(self.account.close_position, symbol, idx)

    @rule(order_id=orders, away=st.integers(-300, 300))
    def protect_trade(self, order_id, away):
        symbol = self.account.find_order(order_id).symbol
        price = self.market.last[symbol] + away * 10 * self.market.rules[symbol].tick_size
        self.attempt(
            self.account.set_trading_stop, symbol, parent_order_id=order_id, stop_loss=price
        )

    @rule(symbol=SYMBOLS, idx=st.sampled_from([1, 2]), away=st.integers(-300, 300))
    def protect_position(self, symbol, idx, away):
        price = self.market.last[symbol] + away * 10 * self.market.rules[symbol].tick_size
        self.attempt(
            self.account.set_trading_stop,
            symbol,
            position_idx=idx,
            take_profit=price,
            tp_trigger_by="MarkPrice",
        )

    @rule(symbol=SYMBOLS, buy=st.integers(1, 100), sell=st.integers(1, 100))
    def leverage(self, symbol, buy, sell):
        self.attempt(self.account.set_leverage, symbol, buy, sell)

    @rule(amount=st.integers(-9000, 9000))
    def transfer(self, amount):
        ways = ("FUND", "COPYTRADE") if amount > 0 else ("COPYTRADE", "FUND")
        if self.attempt(self.account.transfer, abs(amount), *ways):
            self.deposits += amount

    @rule(symbol=SYMBOLS, percent=st.integers(-8, 8))
    def price(self, symbol, percent):
        tick = self.market.rules[symbol].tick_size
        price = self.market.last[symbol] * (100 + percent) / 100
        price = max((price / tick).to_integral_value(), 2000) * tick
        move(self.account, self.market, symbol, price, self.now)

    @rule(symbol=SYMBOLS, rate=st.integers(-30, 30))
    def funding(self, symbol, rate):
        self.account.funding(symbol, D(rate) / 10000, self.now)

    @rule(pieces=st.integers(1, 3))
    def split(self, pieces):
        self.account.split_fills(pieces)

    @rule(depth=st.sampled_from([None, None, D("0.05"), D("0.5"), D(0)]), levels=st.integers(1, 2))
    def thin(self, depth, levels):
        self.market.depth, self.market.levels = depth, levels

    @invariant()
    def holds(self):
        changes = self.account.take_changes()
        self.follower.follow(changes)
        for change in changes:
            for profile in ("v3", "v5"):
                render_push(profile, change, self.now)
        check(self.account, self.follower, self.deposits)


AccountMachine.TestCase.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None, derandomize=True
)
test_account_machine = AccountMachine.TestCase


def run(seed, steps, pieces=1):
    """Let a random leader trade; return all that was done and pushed."""
    market = FakeMarket()
    account = Account(market, seed=seed)
    account.split_fills(pieces)
    rng = random.Random(seed)
    trader = RandomTrader(account, market, [BTC, ETH], rng)
    follower, done, pushed = Follower(), [], []
    for number in range(steps):
        now = NOW + number * 1000
        for symbol in (BTC, ETH):
            tick = market.rules[symbol].tick_size
            price = market.last[symbol] * (1000 + rng.randint(-4, 4)) / 1000
            move(account, market, symbol, (price / tick).to_integral_value() * tick, now)
        done.append(trader.step(now))
        changes = account.take_changes()
        follower.follow(changes)
        pushed += [render_push(p, change, now) for change in changes for p in ("v3", "v5")]
    check(account, follower, 0)
    return done, pushed


def test_a_random_leader_does_everything_and_is_never_refused():
    done, pushed = run(7, 1500)
    assert set(done) == {"open", "rest", "close", "cancel", "protect", "wait"}
    topics = {message["topic"] for message in pushed if message}
    assert len(topics) == 8


def test_a_random_leader_copes_with_pieces():
    run(3, 600, pieces=3)


def test_equal_runs_give_equal_outputs():
    assert run(11, 300) == run(11, 300)
    assert run(11, 300) != run(12, 300)


def test_a_leader_without_money_waits():
    market = FakeMarket()
    account = Account(market, seed=1, balance=D(0))
    trader = RandomTrader(account, market, [BTC], random.Random(1))
    assert {trader.step(NOW) for _ in range(100)} == {"wait"}


def test_a_leader_stops_opening_when_it_has_enough():
    market = FakeMarket()
    account = Account(market, seed=1)
    trader = RandomTrader(account, market, [BTC], random.Random(1))
    for number in range(300):
        trader.step(NOW + number)
        assert len(account.open_trades(BTC)) <= 4
        assert len(account.live_orders(BTC)) <= 4
