"""Copy trades from opened to closed: plain calls."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from account_rows import NOW_MS, execution, live_account, message, order, position, reconcile

from bybit_copyws.state import (
    Kind,
    OrderTrades,
    PositionTrades,
    TradeChange,
    TradeEvent,
    find_account_dialect,
    trades_of,
)

D = Decimal
OPENED, INCREASED = TradeEvent.OPENED, TradeEvent.INCREASED
PARTLY_CLOSED, CLOSED = TradeEvent.PARTLY_CLOSED, TradeEvent.CLOSED


class Account:
    """A live account with the trades that follow it."""

    def __init__(self, profile: str) -> None:
        self.profile = profile
        self.state = live_account(profile)
        self.trades: Any = trades_of(find_account_dialect(profile))

    def hear(self, kind: Kind, *rows: Any) -> list[TradeChange]:
        return self.trades.follow(self.state.take(message(kind, *rows, profile=self.profile), 1.0))

    def order(self, name: str, status: str, at: int, qty: str, side: str = "Buy") -> list[Any]:
        value = str(D(qty) * 100)
        row = order(name, status, at, value, side=side, cumExecQty=qty, positionIdx="1")
        return self.hear(Kind.ORDER, row)

    def position(self, size: str, seq: int, idx: int = 1, **more: Any) -> list[Any]:
        times = {"seq": seq, "updatedTime": str(NOW_MS + seq)}
        row = position(size, idx, profile="v5", entryPrice="100", **times, **more)
        return self.hear(Kind.POSITION, row)

    def execution(self, name: str, side: str, fee: str, closed: str = "0", **more: Any) -> None:
        fill = {"side": side, "execFee": fee, "closedSize": closed, **more}
        assert self.hear(Kind.EXECUTION, execution(name, **fill)) == []


def events(changes: list[TradeChange]) -> list[tuple[TradeEvent, Any, Any]]:
    return [(event, trade.opened_qty, trade.closed_qty) for event, trade in changes]


def test_each_generation_has_its_own() -> None:
    assert isinstance(trades_of(find_account_dialect("v3")), OrderTrades)
    assert isinstance(trades_of(find_account_dialect("v5")), PositionTrades)


# v3


def test_a_v3_trade_lives_from_its_first_fill_to_its_last_close() -> None:
    account = Account("v3")
    assert account.order("o1", "New", 1, "0") == []
    assert not account.trades.view
    changes = account.order("o1", "OpenOrderPartiallyFilled", 2, "0.4")
    assert events(changes) == [(OPENED, D("0.4"), 0)]
    changes = account.order("o1", "OpenOrderFilled", 3, "1")
    assert events(changes) == [(INCREASED, 1, 0)]
    trade = account.trades.view["o1"]
    assert (trade.symbol, trade.side, trade.position_idx, trade.status, trade.entry_price) == (
        *("BTCUSDT", "Buy", 1, "OpenOrderFilled", 100),
    )
    assert (trade.opened_time, trade.closed_time, trade.open_qty) == (NOW_MS + 2, None, 1)
    assert account.order("o1", "OpenOrderClosing", 4, "1") == []
    assert account.trades.view["o1"].status == "OpenOrderClosing"
    assert account.order("c1", "New", 4, "0", "Sell") == []
    changes = account.order("c1", "CloseOrderPartiallyFilled", 5, "0.3", "Sell")
    assert events(changes) == [(PARTLY_CLOSED, 1, D("0.3"))]
    assert account.order("c1", "CloseOrderPartiallyFilled", 6, "0.3", "Sell") == []
    assert account.order("c1", "CloseOrderFilled", 7, "1", "Sell") == []  # its own order will tell
    changes = account.order("o1", "OpenOrderClosedFilled", 7, "1")
    assert events(changes) == [(CLOSED, 1, 1)]
    assert changes[0].trade.closed_time == NOW_MS + 7
    assert not account.trades.view
    assert trade.open_qty == 1  # one that was handed out never changes


def test_a_v3_trade_that_came_and_went_in_a_gap_is_told_whole() -> None:
    account = Account("v3")
    account.order("other", "OpenOrderFilled", 1, "1")
    account.state.lost("the link is lost", 2.0)
    rows = [
        order("o1", "OpenOrderClosedFilled", 50, "100", leavesQty="0"),
        order("c1", "CloseOrderFilled", 50, "100", leavesQty="0", side="Sell"),
        order("other", "OpenOrderFilled", 1, "100"),
    ]
    changes = account.trades.follow(reconcile(account.state, {"orders": rows}, at=60))
    assert events(changes) == [(OPENED, 1, 0), (CLOSED, 1, 1)]
    assert account.trades.view["other"].closed_qty == 0


def test_what_is_closed_of_two_v3_trades_is_right_again_when_one_is_over() -> None:
    account = Account("v3")
    account.order("o1", "OpenOrderFilled", 1, "1")
    account.order("o2", "OpenOrderFilled", 2, "1")
    account.order("s1", "OpenOrderFilled", 2, "5", "Sell")
    for name in ("o1", "o2"):
        account.order(name, "OpenOrderClosing", 3, "1")
    changes = account.order("c2", "CloseOrderPartiallyFilled", 4, "0.4", "Sell")
    assert [(each.event, each.trade.order_id) for each in changes] == [(PARTLY_CLOSED, "o1")]
    account.order("c2", "CloseOrderFilled", 5, "1", "Sell")
    changes = account.order("o2", "OpenOrderClosedFilled", 5, "1")
    assert [(each.event, each.trade.order_id) for each in changes] == [(CLOSED, "o2")]
    assert account.trades.view["o1"].closed_qty == 0
    assert account.trades.view["s1"].closed_qty == 0


def test_what_was_closed_before_the_start_takes_nothing_from_others() -> None:
    account = Account("v3")
    account.order("o1", "OpenOrderFilled", 1, "1")  # a half of it was closed before
    account.order("o2", "OpenOrderFilled", 1, "1")
    account.order("o1", "OpenOrderClosing", 2, "1")
    account.order("c1", "CloseOrderFilled", 3, "0.5", "Sell")
    assert events(account.order("o1", "OpenOrderClosedFilled", 3, "1")) == [(CLOSED, 1, 1)]
    changes = account.order("c2", "CloseOrderPartiallyFilled", 4, "0.2", "Sell")
    assert [(each.event, each.trade.closed_qty) for each in changes] == [(PARTLY_CLOSED, D("0.2"))]


# v5


def test_a_v5_trade_lives_as_long_as_its_position() -> None:
    account = Account("v5")
    account.execution("e1", "Buy", "0.1")
    changes = account.position("1", 1, curRealisedPnl="-0.1")
    assert events(changes) == [(OPENED, 1, 0)]
    trade = account.trades.view["BTCUSDT", 1]
    assert (trade.side, trade.position_idx, trade.entry_price, trade.fees, trade.realised_pnl) == (
        *("Buy", 1, 100, D("0.1"), D("-0.1")),
    )
    assert (trade.order_id, trade.status, trade.opened_time) == ("", "", NOW_MS + 1)
    assert account.position("1", 2, leverage="5", curRealisedPnl="-0.2") == []
    assert account.trades.view["BTCUSDT", 1].realised_pnl == D("-0.2")
    changes = account.position("3", 3)
    account.execution("e2", "Buy", "0.2")  # may come after its position
    assert events(changes) == [(INCREASED, 3, 0)]
    account.execution("e3", "Sell", "0.3", closed="2")
    account.execution("f1", "Buy", "0.05", execType="Funding")
    assert events(account.position("1", 4)) == [(PARTLY_CLOSED, 3, 2)]
    account.execution("e4", "Sell", "0.4", closed="1")
    changes = account.position("0", 5, curRealisedPnl="7")
    assert events(changes) == [(CLOSED, 3, 3)]
    over = changes[0].trade
    assert (over.fees, over.realised_pnl, over.closed_time) == (D("1.05"), 7, NOW_MS + 5)
    assert not account.trades.view
    assert account.position("0", 6) == []


def test_both_sides_of_a_symbol_are_trades_of_their_own() -> None:
    account = Account("v5")
    account.execution("e1", "Sell", "0.5")
    account.position("1", 1, idx=1)
    account.position("2", 2, idx=2)
    fees = {key: trade.fees for key, trade in account.trades.view.items()}
    assert fees == {("BTCUSDT", 1): 0, ("BTCUSDT", 2): D("0.5")}


def test_a_position_that_turns_over_is_two_trades() -> None:
    account = Account("v5")
    times = {"seq": 1, "updatedTime": str(NOW_MS)}
    row = position("2", profile="v5", **times) | {"positionIdx": 0}
    account.hear(Kind.POSITION, row)
    row = row | {"side": "Sell", "size": "1", "seq": 2}
    assert events(account.hear(Kind.POSITION, row)) == [(CLOSED, 2, 2), (OPENED, 1, 0)]
    assert account.trades.view["BTCUSDT", 0].side == "Sell"


def test_fees_of_what_came_and_went_in_a_gap_are_not_the_next_trades() -> None:
    account = Account("v5")
    account.execution("e1", "Buy", "0.1")
    account.execution("e2", "Sell", "0.2", closed="1")
    account.execution("f1", "Buy", "0.3", execType="Funding")
    account.execution("e3", "Buy", "0.4")
    account.position("1", 1)
    assert account.trades.view["BTCUSDT", 1].fees == D("0.4")
