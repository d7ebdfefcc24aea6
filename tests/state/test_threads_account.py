"""An account with the two threads that it is made for: one takes messages, one asks."""

from __future__ import annotations

import threading
from typing import Any

from account_rows import NOW_MS, execution, message, new_account, position

from bybit_copyws.state import AccountState, Kind

ROUNDS = 60


class Asker(threading.Thread):
    """Asks whenever that is wanted, and answers with what has been executed by then."""

    def __init__(self, state: AccountState, executed: list[str]) -> None:
        super().__init__(daemon=True)
        self.state = state
        self.executed = executed
        self.over = threading.Event()
        self.errors: list[Exception] = []

    def run(self) -> None:
        try:
            while not self.over.is_set():
                if self.state.wanted and self.state.begin(NOW_MS + len(self.executed)):
                    self.ask()
                self.over.wait(0.0005)
        except Exception as error:  # noqa: BLE001 (the test shows it)
            self.errors.append(error)

    def ask(self) -> None:
        while (question := self.state.question()) is not None:
            result: Any = {"list": []}
            if question.call == "executions":
                names = list(self.executed)
                rows = [execution(name, at, rest=True) for at, name in enumerate(names)]
                result = {"list": rows[::-1]}
            elif question.call == "positions":
                result = {"list": [position("1")]}
            elif question.call == "wallet":
                result = {"walletBalance": "1"}
            self.state.answer(question, result)


def test_two_threads_hand_out_every_execution_once_and_in_order() -> None:
    state, executed, heard = new_account(reconcile_timeout=1e9, lookback=60.0), [], []

    def hear(updates: list[Any]) -> None:
        for update in updates:
            if update.kind is Kind.EXECUTION:
                heard.extend(model.exec_id for model in update.models)

    asker = Asker(state, executed)
    asker.start()
    for _ in range(ROUNDS):
        executed += [f"e{len(executed) + number}" for number in range(3)]  # in the gap
        state.confirmed()
        for _ in range(5):
            executed.append(f"e{len(executed)}")
            row = execution(executed[-1], len(executed) - 1)
            hear(state.take(message(Kind.EXECUTION, row), 1.0))
        while not state.whole and not asker.errors:
            hear(state.tick(1.0))
            assert len(state.view.executions) == min(len(heard), 1_000)
        state.lost("the link is lost", 1.0)
    asker.over.set()
    asker.join(10.0)
    assert not asker.errors
    assert heard == executed
