"""One way of one connection by plain calls: which bytes leave when, with a clock of paper."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws.sandbox.proxy.faults import Cut, Faults, Flip
from bybit_copyws.sandbox.proxy.lane import Lane


def drain(lane: Lane, now: float) -> list[bytes]:
    """Take all pieces that may leave now."""
    pieces = []
    while lane.reached() is None and (piece := lane.piece(now)):
        lane.sent(len(piece), now)
        pieces.append(bytes(piece))
    return pieces


def run(lane: Lane, now: float) -> list[tuple[float, bytes]]:
    """Take all pieces that ever leave, each with its time, asking only when told to."""
    pieces = []
    while (at := lane.ready_at(now)) is not None and lane.waiting:
        now = max(now, at)
        pieces += [(now, piece) for piece in drain(lane, now)]
    return pieces


def test_bytes_leave_at_once_and_together() -> None:
    lane = Lane(Faults())
    assert lane.ready_at(1.0) is None
    lane.receive(b"abc", 1.0)
    lane.receive(b"def", 2.0)
    assert lane.waiting == 6
    assert drain(lane, 2.0) == [b"abcdef"]
    assert (lane.received, lane.forwarded, lane.waiting) == (6, 6, 0)
    assert lane.ready_at(2.0) is None


def test_the_end_leaves_behind_the_bytes_and_once() -> None:
    lane = Lane(Faults())
    assert lane.ending(1.0) is None
    lane.receive(b"abc", 1.0)
    lane.end("fin", 1.0)
    assert lane.ending(1.0) is None
    drain(lane, 1.0)
    assert lane.ending(1.0) == "fin"
    lane.over = True
    assert lane.ending(1.0) is None
    assert lane.ready_at(1.0) is None
    lane.end("rst", 2.0)  # the peer is gone after all
    assert lane.ending(2.0) == "rst"


def test_a_held_direction_keeps_bytes_and_end() -> None:
    faults = Faults()
    lane = Lane(faults)
    faults.held = True
    lane.receive(b"abc", 1.0)
    lane.end("rst", 1.0)
    assert lane.ready_at(9.0) is None
    assert not lane.piece(9.0)
    assert lane.ending(9.0) is None
    faults.held = False
    assert drain(lane, 9.0) == [b"abc"]
    assert lane.ending(9.0) == "rst"


@pytest.mark.parametrize("offset", [0, 1, 3])
def test_a_cut_comes_after_its_bytes_and_not_one_more(offset: int) -> None:
    lane = Lane(Faults(cuts=[Cut(offset, "rst", 1)]))
    lane.receive(b"abc", 1.0)
    sent = b""
    while (how := lane.reached()) is None:
        piece = lane.piece(1.0)
        lane.sent(len(piece), 1.0)
        sent += piece
    assert (how, sent) == ("rst", b"abc"[:offset])


def test_cuts_of_one_connection_come_in_order_and_a_hold_lets_go() -> None:
    lane = Lane(Faults(cuts=[Cut(4, "fin", 1), Cut(2, "hold", 1)]))
    lane.receive(b"abcdef", 1.0)
    assert drain(lane, 1.0) == [b"ab"]
    assert lane.held
    assert lane.ready_at(9.0) is None
    lane.held = False
    assert drain(lane, 1.0) == [b"cd"]
    lane = Lane(Faults(cuts=[Cut(0, "rst", 1)], held=True))
    assert lane.reached() is None  # a held direction holds its RST too


def test_armed_faults_count_the_connections() -> None:
    faults = Faults(
        cuts=[Cut(5, "rst", 1), Cut(6, "rst", None)], flips=[Flip(0, 1, 2), Flip(0, 4, 1)]
    )
    assert [cut.offset for cut in faults.draw_cuts()] == [5, 6]
    assert [cut.offset for cut in faults.draw_cuts()] == [6]
    assert faults.draw_flips() == {0: 5}
    assert faults.draw_flips() == {0: 1}
    assert faults.draw_flips() == {}
    faults.heal()
    assert faults == Faults()


def test_a_flipped_bit_is_the_one_named() -> None:
    lane = Lane(Faults(flips=[Flip(1, 128, 1), Flip(4, 1, 1), Flip(9, 1, 1)]))
    lane.receive(bytes(3), 1.0)
    assert drain(lane, 1.0) == [b"\x00\x80\x00"]
    lane.receive(bytes(3), 1.0)
    assert drain(lane, 1.0) == [b"\x00\x01\x00"]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_chunks_are_of_the_size_asked_for(size: int) -> None:
    faults = Faults(chunk=size)
    lane = Lane(faults)
    assert lane.chunked
    lane.receive(bytes(range(7)), 1.0)
    pieces = drain(lane, 1.0)
    assert b"".join(pieces) == bytes(range(7))
    assert all(len(piece) == size for piece in pieces[:-1])
    faults.chunk = None
    assert not lane.chunked


def test_a_rate_spaces_the_pieces() -> None:
    lane = Lane(Faults(rate=100.0))
    lane.receive(b"abc", 10.0)
    assert [at for at, _ in run(lane, 10.0)] == pytest.approx([10.01, 10.02, 10.03])
    lane.receive(b"d", 20.0)  # a pause earns nothing
    assert [at for at, _ in run(lane, 20.0)] == pytest.approx([20.01])


def test_a_rate_makes_up_for_a_late_caller_within_bounds() -> None:
    lane = Lane(Faults(rate=100.0, chunk=1))
    lane.receive(bytes(100), 10.0)
    # Called 0.5 s late: the piece that was next, and 0.05 s' worth of others.
    assert len(drain(lane, 10.51)) == pytest.approx(6, abs=1)


def test_a_delay_keeps_order_and_distance() -> None:
    faults = Faults(delay=2.0)
    lane = Lane(faults)
    lane.receive(b"a", 1.0)
    faults.delay = 0.5
    lane.receive(b"b", 1.1)  # would be due earlier, but TCP keeps the order
    lane.end("fin", 1.2)
    assert lane.ready_at(1.1) == 3.0
    assert drain(lane, 2.9) == []
    assert drain(lane, 3.0) == [b"ab"]
    assert lane.ending(3.0) == "fin"


def test_healing_lets_everything_leave_at_once() -> None:
    faults = Faults(delay=60.0, held=True, cuts=[Cut(1, "rst", 1)], flips=[Flip(3, 1, 1)])
    lane = Lane(faults)
    lane.receive(b"abc", 1.0)
    lane.end("fin", 2.0)
    faults.heal()
    lane.heal()
    lane.receive(b"d", 3.0)
    assert drain(lane, 3.0) == [b"abcd"]
    assert lane.ending(3.0) == "fin"
    Lane(faults).heal()  # nothing there yet


def test_the_same_seed_gives_the_same_jitter_and_each_connection_its_own() -> None:
    def dues(seed: int, number: int) -> list[float]:
        lane = Lane(Faults(delay=1.0, jitter=1.0, seed=seed), number)
        found = []
        for now in range(0, 100, 10):
            lane.receive(b"x", float(now))
            found += [at - now for at, _ in run(lane, float(now))]
        return found

    assert dues(1, 1) == dues(1, 1)
    assert dues(1, 1) != dues(1, 2)
    assert dues(1, 1) != dues(2, 1)
    assert all(1.0 <= each <= 2.0 for each in dues(1, 1))


def test_a_new_seed_counts_at_once() -> None:
    faults = Faults(jitter=1.0, seed=1)
    lanes = [Lane(faults), Lane(faults)]
    lanes[0].receive(b"x", 0.0)
    drain(lanes[0], 5.0)
    faults.seed = 2
    for lane in lanes:
        lane.receive(b"x", 10.0)
    first, second = (lane.ready_at(10.0) for lane in lanes)
    assert first == second != 10.0


def test_without_a_hearer_everything_is_lost_but_the_end() -> None:
    lane = Lane(Faults(delay=5.0))
    lane.receive(b"abc", 1.0)
    lane.discard()
    lane.receive(b"def", 1.0)
    lane.end("rst", 1.0)
    assert (lane.received, lane.waiting, lane.forwarded) == (6, 0, 0)
    assert drain(lane, 9.0) == []
    assert lane.ending(9.0) == "rst"


@given(
    pieces=st.lists(st.binary(max_size=20), max_size=20),
    chunk=st.none() | st.integers(1, 30),
    rate=st.none() | st.floats(10.0, 1e6),
    delay=st.floats(0.0, 2.0),
    jitter=st.floats(0.0, 2.0),
    cut=st.none() | st.integers(0, 400),
    gap=st.floats(0.0, 1.0),
)
def test_whatever_is_set_the_bytes_and_their_order_are_kept(
    pieces: list[bytes],
    chunk: int | None,
    rate: float | None,
    delay: float,
    jitter: float,
    cut: int | None,
    gap: float,
) -> None:
    faults = Faults(chunk=chunk, rate=rate, delay=delay, jitter=jitter)
    if cut is not None:
        faults.cuts.append(Cut(cut, "hold", 1))
    lane = Lane(faults)
    now, sent = 100.0, []
    for piece in pieces:
        lane.receive(piece, now)
        sent += drain(lane, now)
        now += gap
    sent += [piece for _, piece in run(lane, now)]
    whole = b"".join(pieces)
    assert b"".join(sent) == whole[:cut]
    assert lane.forwarded + lane.waiting == len(whole)
    assert all(len(piece) <= (chunk or 2**18) for piece in sent)
    lane.held = False
    assert b"".join(sent) + b"".join(piece for _, piece in run(lane, now + 100)) == whole
