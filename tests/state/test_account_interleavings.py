"""The account against a naive exchange, under any interleaving of rows, cuts and answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from account_rows import NOW_MS, execution, message, order, order5, position
from hypothesis import given, settings
from hypothesis import strategies as st

from bybit_copyws.state import AccountState, Kind, Status, find_account_dialect


class World:
    """An exchange that keeps sizes, orders and executions, and a link that loses what it likes.

    Args:
        profile: ``"v3"`` or ``"v5"``.
    """

    def __init__(self, profile: str) -> None:
        self.profile = profile
        self.state = AccountState(
            find_account_dialect(self.profile),
            reconcile_timeout=5.0,
            most_waiting=8,
            lookback=60.0,
        )
        self.now = 0
        self.number = 0
        self.sizes = {1: 0, 2: 0}
        self.position_rows: dict[int, dict[str, Any]] = {}
        self.orders: dict[str, dict[str, Any]] = {}
        self.executions: list[dict[str, Any]] = []  # rows of the stream, oldest first
        self.balance = 0
        self.connected = False
        self.on_the_way: deque[Any] = deque()
        self.answer: Any = None
        self.heard: list[str] = []
        self.heard_sizes: dict[int, Any] = {}
        self.hurried = False
        # An execution belongs to an order: without one v3 would not be asked for its symbol.
        self.orders["o9"] = self.known_order()

    def ended(self, row: dict[str, Any]) -> bool:
        status = row.get("copyTradeOrderStatus") or row.get("orderStatus")
        return status in find_account_dialect(self.profile).ended

    def push(self, kind: Kind, row: dict[str, Any]) -> None:
        if self.connected:
            self.on_the_way.append(message(kind, row, profile=self.profile, ts=self.number))

    def hear(self, updates: list[Any]) -> None:
        for update in updates:
            self.hurried |= "not reconciled within" in self.state.reason
            self.hurried |= "more came" in self.state.reason
            for model in update.as_message(1).parse():
                if update.kind is Kind.EXECUTION:
                    self.heard.append(model.exec_id)
                elif update.kind is Kind.POSITION:
                    self.heard_sizes[model.position_idx] = model.size

    # What happens at the exchange

    def a_moment_passes(self, number: int) -> None:
        self.now += number % 4

    def a_position_changes(self, number: int) -> None:
        idx, size = number % 2 + 1, number // 2 % 4
        self.number += 1
        numbers = {"seq": self.number, "updatedTime": str(NOW_MS + self.now)}
        if self.profile == "v3":
            numbers = {"positionSeq": 0}
        row = position(str(size), idx, profile=self.profile, **numbers)
        self.sizes[idx] = size
        self.position_rows[idx] = row
        self.push(Kind.POSITION, row)

    def an_order_moves_on(self, number: int) -> None:
        order_id, step = f"o{number % 2}", number // 2 % 3
        before = self.orders.get(order_id)
        if before is not None and self.ended(before):
            return
        filled = int(before["cumExecValue"]) if before is not None else 0
        if self.profile == "v3":
            status = ("OpenOrderPartiallyFilled", "OpenOrderClosing", "OpenOrderClosedFilled")[step]
            row = order(order_id, status, self.now, str(filled + (step == 0)))
        else:
            status = ("PartiallyFilled", "PartiallyFilled", "Cancelled")[step]
            row = order5(order_id, status, self.now, str(filled + (step != 2)))
        self.orders[order_id] = row
        self.push(Kind.ORDER, row)

    def something_is_executed(self, _: int) -> None:
        self.number += 1
        more = {"seq": self.number} if self.profile == "v5" else {}
        row = execution(f"e{len(self.executions)}", self.now, **more)
        self.executions.append(row)
        self.push(Kind.EXECUTION, row)
        self.balance += 1
        self.push(Kind.WALLET, self.wallet())

    def wallet(self) -> dict[str, Any]:
        if self.profile == "v3":
            return {"walletBalance": str(self.balance), "availableBalance": "1"}
        return {"accountType": "UNIFIED", "totalWalletBalance": str(self.balance), "coin": []}

    # What happens to the link

    def the_link_is_made(self, _: int) -> None:
        self.connected = True
        self.state.confirmed()

    def the_link_breaks(self, _: int) -> None:
        if self.connected:
            self.connected = False
            self.on_the_way.clear()
            self.state.lost("the link is lost", self.now / 10)

    def messages_come(self, most: int) -> None:
        for _ in range(min(most, len(self.on_the_way))):
            self.hear(self.state.take(self.on_the_way.popleft(), self.now / 10))

    def time_passes(self, number: int) -> None:
        self.now += number * 4
        self.hear(self.state.tick(self.now / 10))

    # What is asked

    def a_look_begins(self, _: int) -> None:
        if self.state.question() is None:
            assert self.state.begin(NOW_MS + self.now) == self.connected

    def something_is_asked(self, most: int) -> None:
        """Take some answers at once, and leave one on its way."""
        if self.state.wanted:
            assert self.state.begin(NOW_MS + self.now)
        for _ in range(most):
            if (question := self.state.question()) is not None:
                self.state.answer(question, self.result(*question))
        if (question := self.state.question()) is not None:
            self.answer = question, self.result(*question)

    def an_answer_comes(self, _: int) -> None:
        if self.answer is not None:
            self.state.answer(*self.answer)
            self.answer = None

    def a_question_fails(self, _: int) -> None:
        if self.answer is not None:
            self.answer = None
            self.state.fail("HTTP 502")

    def result(self, call: str, params: Any) -> Any:
        if call == "positions":
            named = params.get("symbol") is not None
            rows = [
                {k: v for k, v in row.items() if k != "positionSeq"}
                for row in self.position_rows.values()
                if named or float(row["size"])
            ]
        elif call in ("orders", "order_history"):
            wanted = params.get("order_id")
            rows = [
                row
                for order_id, row in self.orders.items()
                if order_id == wanted or (wanted is None and not self.ended(row))
            ]
        elif call == "wallet":
            return self.wallet() if self.profile == "v3" else {"list": [self.wallet()]}
        else:
            rows = []
            for row in reversed(self.executions):
                if params["start_time"] <= row["tradeTime"]:
                    rest = {**row, "execTime": str(row["tradeTime"]), "execPrice": row["price"]}
                    names = ("tradeTime", "price")
                    rows.append({k: v for k, v in rest.items() if k not in names})
        return {"list": rows}

    def some_questions_are_answered(self, most: int) -> None:
        for _ in range(most):
            if (question := self.state.question()) is not None:
                self.state.answer(question, self.result(question.call, question.params))

    def come_to_rest(self) -> None:
        """Let everything that is on its way come: then the account must be live."""
        self.the_link_is_made(0)
        while self.state.wanted or self.state.question() or self.on_the_way:
            self.something_is_asked(2)
            self.messages_come(3)
        self.time_passes(0)
        assert self.state.status is Status.LIVE

    def known_order(self) -> dict[str, Any]:
        if self.profile == "v3":
            return order("o9", "OpenOrderFilled", 0, "1")
        return order5("o9", "New", 0)

    # What is true

    def each_execution_is_handed_out_once_and_in_order(self) -> None:
        assert len(self.heard) == len(set(self.heard))
        if not self.hurried:
            told = [row["execId"] for row in self.executions][: len(self.heard)]
            assert self.heard == told

    def live_is_true(self) -> None:
        view = self.state.view
        if view.status is not Status.LIVE or self.on_the_way or not self.connected:
            return
        assert {k[1]: v.size for k, v in view.positions.items()} == {
            idx: size for idx, size in self.sizes.items() if size
        }
        for idx, size in self.sizes.items():
            assert self.heard_sizes.get(idx, 0) == size
        open_ones = {k: self.value(row) for k, row in self.orders.items() if not self.ended(row)}
        held = {k: (v.status, str(v.cum_exec_value)) for k, v in view.orders.items()}
        assert held == open_ones
        assert view.wallet is not None
        assert view.wallet.wallet_balance == self.balance
        assert [each.exec_id for each in view.executions] == self.heard
        assert sorted(self.heard) == sorted(row["execId"] for row in self.executions)

    @staticmethod
    def value(row: dict[str, Any]) -> tuple[str, str]:
        return row.get("copyTradeOrderStatus") or row["orderStatus"], row["cumExecValue"]


STEPS = [
    *[World.a_moment_passes, World.time_passes, World.the_link_breaks, World.the_link_is_made] * 2,
    *[World.a_position_changes, World.an_order_moves_on, World.something_is_executed] * 3,
    *[World.messages_come, World.something_is_asked] * 4,
    *[World.an_answer_comes, World.a_question_fails, World.a_look_begins],
]


@settings(max_examples=500)
@given(
    profile=st.sampled_from(["v3", "v5"]),
    script=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 9)), min_size=30, max_size=90),
)
def test_the_account_is_true_or_not_live(
    profile: str, script: list[tuple[Callable[[World, int], None], int]]
) -> None:
    world = World(profile)
    for step, number in [(World.the_link_is_made, 0), (World.something_is_asked, 9), *script]:
        step(world, number)
        world.each_execution_is_handed_out_once_and_in_order()
        world.live_is_true()
    world.come_to_rest()
    world.each_execution_is_handed_out_once_and_in_order()
    world.live_is_true()
