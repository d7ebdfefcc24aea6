"""The checker finds what must not be, and nothing else."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from exchange import make_client
from hypothesis import given
from hypothesis import strategies as st
from watched import Watched

from bybit_copyws.sandbox import Checker, Sandbox, Sent


def sent(*numbers: int, topic: str = "t") -> list[Sent]:
    return [Sent(n, "c", "public", "v3", topic, str(n).encode(), 0) for n in numbers]


def check(put: list[int], got: list[int], gaps: tuple[int, ...] = (), *, final: bool = True) -> Any:
    checker = Checker()
    checker.sent(sent(*put))
    for number in got:
        checker.got("t", str(number).encode(), after_gap=number in gaps)
    return checker.report(final=final)


def test_all_in_order_is_fine() -> None:
    report = check([1, 2, 3], [1, 2, 3])
    assert report.ok
    assert (report.matched, report.missed, report.holes, report.unseen) == (3, 0, 0, 0)


def test_what_has_not_arrived_is_counted() -> None:
    report = check([1, 2, 3], [1])
    assert report.ok
    assert report.unseen == 2


def test_a_hole_without_a_gap_is_a_fault() -> None:
    report = check([1, 2, 3, 4], [1, 4])
    assert "2 messages are missing before no. 4 (the first is no. 2)" in report.faults[0]


def test_a_hole_inside_a_gap_is_counted() -> None:
    report = check([1, 2, 3, 4], [1, 4], gaps=(4,))
    assert report.ok
    assert (report.matched, report.missed, report.holes) == (2, 2, 1)


@pytest.mark.parametrize("got", [[1, 1], [2, 1], [1, 2, 3, 9]])
def test_what_is_doubled_reordered_or_invented_is_a_fault(got: list[int]) -> None:
    assert not check([1, 2, 3], got).ok


def test_before_the_end_an_unknown_message_may_still_be_explained() -> None:
    checker = Checker()
    checker.got("t", b"1")
    assert checker.report(final=False).ok
    checker.sent(sent(1))
    report = checker.report()
    assert report.ok
    assert report.matched == 1
    assert checker.last_number == 1


def test_nothing_may_come_after_the_end() -> None:
    checker = Checker()
    checker.sent(sent(1))
    checker.closed()
    checker.got("t", b"1")
    assert "after the end" in checker.report().faults[0]


def test_replies_are_passed_over() -> None:
    checker = Checker()
    checker.sent(sent(1, topic=""))
    assert checker.report().unseen == 0


def test_the_list_of_faults_is_bounded() -> None:
    assert len(check(list(range(1, 1000)), list(range(1, 1000, 2))).faults) == 100


@given(
    st.lists(st.booleans(), min_size=1, max_size=60),
    st.data(),
)
def test_any_loss_is_found_unless_it_was_reported(arrives: list[bool], data: Any) -> None:
    numbers = list(range(1, len(arrives) + 1))
    got = [number for number, here in zip(numbers, arrives, strict=True) if here]
    before = dict(zip(got, [0, *got], strict=False))
    holes = [number for number in got if number - before[number] > 1]
    told = data.draw(st.sets(st.sampled_from(holes))) if holes else set()
    report = check(numbers, got, tuple(told))
    assert report.ok == (told == set(holes))
    assert report.holes == len(told)
    assert report.matched == len(got)


def test_what_a_connection_sends_that_was_given_up_lies_in_the_gap() -> None:
    """The exchange may not know yet that a half-open link is dead, and go on sending on it."""
    checker = Checker()
    for number, conn_id in ((1, "a"), (2, "a"), (3, "b"), (4, "a"), (5, "b")):
        checker.sent([Sent(number, conn_id, "public", "v3", "t", str(number).encode(), 0)])
    checker.got("t", b"1")
    checker.got("t", b"3", after_gap=True)
    checker.got("t", b"5")
    report = checker.report()
    assert report.ok
    assert (report.matched, report.missed, report.holes, report.unseen) == (3, 2, 1, 0)


@pytest.mark.parametrize("how", ["rst", "fin", "close"])
def test_a_client_loses_nothing_but_while_its_link_is_down(how: str) -> None:
    with Sandbox(seed=5, activity=30.0, cadence="fast") as exchange:
        with Watched(exchange) as watched:
            for _ in range(5):
                watched.settle(200)
                exchange.drop(how=how)
        assert watched.checker.report().matched > 1000


def test_a_message_that_the_exchange_loses_is_found() -> None:
    """The history holds what was put on the wire, so the loss is simulated behind it."""
    checker = Checker()
    with Sandbox(seed=5) as exchange, make_client(exchange) as client:
        seen = threading.Event()
        count = 0

        def take(message: Any) -> None:
            nonlocal count
            count += 1
            if count == 3:
                return  # lost between the wire and the checker
            checker.got(message.topic, message.raw)
            if count > 6:
                seen.set()

        client.subscribe("orderbook.50.BTCUSDT", take)
        assert seen.wait(10)
        checker.sent(exchange.sent)
        assert "1 messages are missing" in checker.report(final=False).faults[0]


def test_bytes_sent_on_a_half_open_connection_and_on_its_successor_are_one_message() -> None:
    # Both get them; only the successor's arrive, and nothing tells them apart.
    checker, numbers = Checker(), iter(range(1, 100))

    def send(text: bytes, *connections: str) -> None:
        checker.sent(Sent(next(numbers), c, "public", "v3", "t", text, 0) for c in connections)

    send(b"1", "old")
    send(b"2", "old", "new")
    send(b"3", "old", "new")
    send(b"4", "new")
    for text in (b"1", b"2", b"3", b"4"):
        checker.got("t", text, after_gap=text == b"2")
    assert checker.report().faults == []
    send(b"5", "new")
    send(b"6", "new")
    checker.got("t", b"6")
    assert "1 messages are missing" in checker.report().faults[0]
