"""The fake market that the tests of the simulated account trade against."""

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from bybit_copyws.sandbox.account import Account, Instrument, Market

D = Decimal

NOW = 1_700_000_000_000
BTC, ETH = "BTCUSDT", "ETHUSDT"


@dataclass(frozen=True)
class FakeInstrument:
    tick_size: Decimal = Decimal("0.10")
    qty_step: Decimal = Decimal("0.001")
    min_qty: Decimal = Decimal("0.001")
    max_qty: Decimal = Decimal("100.000")
    max_leverage: Decimal = Decimal(100)
    maker_fee: Decimal = Decimal("0.0002")
    taker_fee: Decimal = Decimal("0.00055")


class FakeFill(NamedTuple):
    price: D
    qty: D


class FakeMarket:
    """Trades any size at the last price, unless ``depth`` limits it."""

    def __init__(self):
        self.rules = {
            BTC: FakeInstrument(),
            ETH: FakeInstrument(tick_size=D("0.01"), qty_step=D("0.01"), min_qty=D("0.01")),
        }
        self.last = {BTC: D("20000.00"), ETH: D("2000.00")}
        self.mark = dict(self.last)
        self.depth = None
        self.levels = 1

    def instrument(self, symbol):
        return self.rules[symbol]

    def last_price(self, symbol):
        return self.last[symbol]

    def mark_price(self, symbol):
        return self.mark[symbol]

    def available(self, symbol, side, limit):
        last = self.last[symbol]
        if limit < last if side == "Buy" else limit > last:
            return D(0)
        return D(10**6) if self.depth is None else self.depth

    def take(self, symbol, side, qty, limit):
        depth = self.available(symbol, side, self.last[symbol] if limit is None else limit)
        step = self.rules[symbol].qty_step
        given = min(qty, depth // step * step)
        if self.depth is not None:
            self.depth -= given
        if not given:
            return []
        if self.levels == 2 and given > step:
            last, tick = self.last[symbol], self.rules[symbol].tick_size
            worse = last + (tick if side == "Buy" else -tick)
            return [FakeFill(last, given - step), FakeFill(worse, step)]
        return [FakeFill(self.last[symbol], given)]


def new_account(**options):
    market = FakeMarket()
    return Account(market, seed=1, **options), market


def move(account, market, symbol, price, now_ms=NOW):
    """Let last and mark price go to ``price``."""
    market.last[symbol] = market.mark[symbol] = D(price)
    account.tick(symbol, now_ms)


def statuses(changes, order_id=None, *, copy=True):
    """Return the statuses of the order changes: v3's or v5's."""
    return [
        change.state.copy_status if copy else change.state.status.value
        for change in changes
        if change.kind == "order"
        and order_id in (None, change.state.order_id)
        and change.only in ("", "v3" if copy else "v5")
    ]


def test_the_fake_has_the_shape_that_is_asked_for():
    market: Market = FakeMarket()
    rules: Instrument = market.instrument(BTC)
    assert rules.tick_size == D("0.10")
    assert market.take(BTC, "Buy", D(1), None) == [(D("20000.00"), D(1))]
    assert market.available(BTC, "Buy", D(1)) == 0
