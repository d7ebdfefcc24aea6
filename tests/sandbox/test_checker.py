"""The checker finds what must not be, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from exchange import PRIVATE, PUBLIC, make_client
from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws.events import State, StateChanged
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


def watch(client: Any, checker: Checker) -> None:
    """Feed the checker from a client; the first message after a loss of the link is told."""
    lost: set[str] = set()
    lock = threading.Lock()

    def note(event: StateChanged) -> None:
        if event.new is State.BACKOFF:
            with lock:
                lost.update(PUBLIC if event.connection == "public" else PRIVATE)

    def take(message: Any) -> None:
        with lock:
            gap = message.topic in lost
            lost.discard(message.topic)
        checker.got(message.topic, message.raw, after_gap=gap)

    client.listen(note, StateChanged)
    client.subscribe([*PUBLIC, *PRIVATE], take)


@pytest.mark.parametrize("how", ["rst", "fin", "close"])
def test_a_client_loses_nothing_but_while_its_link_is_down(
    how: str, eventually: Callable[..., bool]
) -> None:
    checker = Checker()
    with Sandbox(seed=5, activity=30.0, cadence="fast") as exchange:
        client = make_client(exchange)
        watch(client, checker)
        with client:
            client.wait_until_ready()
            for _ in range(5):
                before = checker.report(final=False).matched
                assert eventually(lambda n=before: fed(checker, exchange) > n + 200)
                exchange.drop(how=how)
                client.wait_until_ready()
            assert eventually(lambda: fed(checker, exchange) > 1000)
        checker.closed()
        checker.sent(exchange.sent_after(checker.last_number))
    report = checker.report()
    assert report.ok, report.faults
    assert report.matched > 1000


def fed(checker: Checker, exchange: Sandbox) -> int:
    checker.sent(exchange.sent_after(checker.last_number))
    return checker.report(final=False).matched


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
