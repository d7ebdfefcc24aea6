"""What an account remembers is bounded: a month of trading holds no more than a day."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from account_rows import execution, order, order5
from desk_rig import Rig, live_rig

from bybit_copyws.state import Kind

DONE = {"v3": "CloseOrderFilled", "v5": "Filled"}
MOST = 200  # of each kind, instead of tens of thousands


def trade(rig: Rig, first: int, count: int) -> None:
    """Have orders made, executed and done."""
    make = order if rig.profile == "v3" else order5
    for number in range(first, first + count):
        for status in ("New", DONE[rig.profile]):
            rig.send(Kind.ORDER, make(f"order {number}", status, number))
        rig.send(Kind.EXECUTION, execution(f"execution {number}", number))
        rig.take()
        rig.events()


@pytest.mark.parametrize("profile", ["v3", "v5"])
def test_orders_and_executions_of_long_ago_are_forgotten(
    monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    for place in ("orders._MOST_IDS", "orders._MOST_DONE", "executions._MOST_IDS"):
        monkeypatch.setattr(f"bybit_copyws.state.{place}", MOST)
    monkeypatch.setattr("bybit_copyws.state.life_cycle._MOST_IDS", MOST)
    rig = live_rig(profile)
    tracemalloc.start()
    try:
        trade(rig, 0, 1_500)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        trade(rig, 1_500, 1_500)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(rig.desk.state.view.executions) == 1_000
    assert len(rig.desk.state.view.done_orders) == MOST
    assert after - before < 50_000  # bytes; what one trade leaves behind is some 1,000
