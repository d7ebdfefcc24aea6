"""Faults, the line to a client, history, scenarios, the clock: plain calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.sandbox.clock import MAX_BEHIND_MS, STEPPED_START_MS, VenueClock
from bybit_copyws.sandbox.commands import check_step
from bybit_copyws.sandbox.faults import ACTIONS, Fault, FaultList, Outgoing, Planned
from bybit_copyws.sandbox.garbage import GARBAGE, encode_frame, make_garbage
from bybit_copyws.sandbox.history import History
from bybit_copyws.sandbox.outlet import Outlet
from bybit_copyws.sandbox.scenario import Playing, Scenario, Step
from bybit_copyws.wire.frames import Binary, Close, Failure, FrameReader, Ping


def message(number: int = 1, topic: str = "tickers.BTCUSDT", kind: str = "data") -> Outgoing:
    payload = json.dumps({"topic": topic, "data": number}).encode()
    return Outgoing(payload, encode_frame(payload), topic, kind)


def run(faults: FaultList, *messages: Outgoing, scope: str = "public") -> list[Planned]:
    return [after for each in messages for after in faults.apply("c-1", scope, each)]


ONE, TWO, THREE = message(1), message(2), message(3)


# Faults of messages


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        (Fault("withhold"), [TWO, THREE]),
        (Fault("withhold", times=2), [THREE]),
        (Fault("withhold", times=None), []),
        (Fault("withhold", skip=1), [ONE, THREE]),
        (Fault("duplicate"), [ONE, ONE, TWO, THREE]),
        (Fault("reorder"), [TWO, ONE, THREE]),
        (Fault("reorder", count=3), [THREE, TWO, ONE]),
        (Fault("withhold", scope="private"), [ONE, TWO, THREE]),
        (Fault("withhold", kind="pong"), [ONE, TWO, THREE]),
        (Fault("withhold", topic="orderbook.*"), [ONE, TWO, THREE]),
        (Fault("withhold", topic="tick*", times=None), []),
    ],
)
def test_what_leaves(fault: Fault, left: list[Outgoing]) -> None:
    faults = FaultList()
    faults.add(fault)
    assert [each.message for each in run(faults, ONE, TWO, THREE)] == left


def test_a_fault_that_is_spent_is_forgotten() -> None:
    faults = FaultList()
    active = faults.add(Fault("withhold"))
    run(faults, ONE)
    assert active.hit == 1
    assert not faults
    faults.add(Fault("withhold", times=None))
    faults.clear()
    assert run(faults, ONE) == [Planned(ONE)]


def test_faults_work_one_after_the_other() -> None:
    faults = FaultList()
    faults.add(Fault("duplicate"))
    faults.add(Fault("delay", seconds=2.0))
    assert run(faults, ONE) == [Planned(ONE, 2000.0), Planned(ONE)]


def test_reordering_is_kept_apart_by_connection() -> None:
    faults = FaultList()
    faults.add(Fault("reorder", times=None))
    assert faults.apply("c-1", "public", ONE) == []
    assert faults.apply("c-2", "public", TWO) == []
    assert [each.message for each in faults.apply("c-1", "public", THREE)] == [THREE, ONE]


@pytest.mark.parametrize(("offset", "cut_at"), [(5, 5), (-1, len(ONE.frame) - 1), (0, 0)])
def test_a_stall_is_inside_the_frame(offset: int, cut_at: int) -> None:
    faults = FaultList()
    faults.add(Fault("stall", offset=offset))
    assert run(faults, ONE) == [Planned(ONE, cut_at=cut_at)]


def test_a_stall_never_lets_the_whole_frame_out() -> None:
    faults = FaultList()
    faults.add(Fault("stall", offset=10_000))
    assert run(faults, ONE)[0].cut_at == len(ONE.frame) - 1


def test_a_message_can_be_replaced() -> None:
    faults = FaultList()
    faults.add(Fault("replace", payload=b"other"))
    (planned,) = run(faults, ONE)
    assert planned.message == ONE._replace(payload=b"other", frame=encode_frame(b"other"))


def test_garbage_has_the_topic_of_the_message_it_stands_for() -> None:
    faults = FaultList()
    faults.add(Fault("garbage", garbage="nan"))
    assert b'{"topic":"tickers.BTCUSDT","data":NaN}' in run(faults, ONE)[0].message.frame


def test_a_book_can_be_crossed() -> None:
    book = {"topic": "orderbook.1.X", "data": {"b": [["9", "1"]], "a": [["10", "1"]], "u": 7}}
    payload = json.dumps(book).encode()
    faults = FaultList()
    faults.add(Fault("cross", times=None))
    (planned,) = run(faults, Outgoing(payload, b"", "orderbook.1.X"))
    data = json.loads(planned.message.payload)["data"]
    assert float(data["b"][0][0]) > float(data["a"][0][0])
    assert data["u"] == 7
    assert encode_frame(planned.message.payload) == planned.message.frame
    assert run(faults, ONE) == [Planned(ONE)]  # no book: nothing to cross


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Step("drop", at=0, hwo="rst"), "step 'drop': .*'hwo'"),
        (Step("drop", at=0, how="gently"), "step 'drop': how must be one of 'close', 'fin', 'rst'"),
        (Step("silence", at=0, scope="privat"), "step 'silence': scope must be one of"),
        (Step("restart", after=1, how="later"), "step 'restart': how must be"),
        (Step("fault", at=0, action="explode"), "step 'fault': .*explode"),
        (Step("fault", at=0), "step 'fault': .*action"),
        (Step("refuse_handshakes", at=0, status=99), "step 'refuse_handshakes': status must be"),
        (Step("slow_down", at=0), "step 'slow_down': .*bytes_per_second"),
    ],
)
def test_a_step_that_cannot_work_is_refused_before_its_time(step: Step, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        check_step(step)


def test_steps_that_work_pass() -> None:
    for step in (
        Step("restart", at=0, how=None),
        Step("heal", at=0),
        Step("push", at=0, payload={"topic": "x"}),
        Step("refuse_auth", at=0, ret_msg="no", times=2),
        *Scenario.random(3, 600.0).timed,
    ):
        check_step(step)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"action": "explode"}, "action"),
        ({"action": "delay", "scope": "both"}, "scope"),
        ({"action": "delay", "kind": "tick"}, "kind"),
        ({"action": "garbage", "garbage": "bad"}, "garbage"),
        ({"action": "delay", "times": 0}, "times"),
        ({"action": "delay", "seconds": -1}, "seconds"),
        ({"action": "reorder", "count": 1}, "count"),
        ({"action": "withhold", "skip": -1}, "skip"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        Fault(**arguments)


# Garbage


BREACHES = {
    "bad_utf8": 1007,
    "reserved_bit": 1002,
    "reserved_opcode": 1002,
    "masked": 1002,
    "long_length": 1002,
    "length_top_bit": 1002,
    "length_2_62": 1009,
    "lone_continuation": 1002,
    "interleaved": 1002,
    "cut_control": 1002,
    "long_control": 1002,
    "close_of_one_byte": 1002,
    "close_1005": 1002,
}
SOUND = {
    "binary": [Binary(b"\x00\x01\x02")],
    "data_after_close": [Close(1000, "")],
    "ping_flood": [Ping(b"flood")] * 10_000,
    "empty_fragments": [],
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_what_its_name_says(kind: str) -> None:
    """Judged by the client's own reader: a breach by its close code, the rest by its items."""
    items = FrameReader(max_message_size=2**20).feed(make_garbage(kind))
    if kind in BREACHES:
        assert [item.code for item in items if isinstance(item, Failure)] == [BREACHES[kind]]
    elif kind in SOUND:
        assert items == SOUND[kind]
    else:
        assert [type(item) for item in items] == [bytes]


def test_unknown_garbage_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not_json"):
        make_garbage("nonsense")


# The line


def data(outlet: Outlet, now_ms: float = 0.0) -> bytes:
    return b"".join(piece.data for piece in outlet.take(now_ms))


def test_a_plain_line_lets_everything_out_in_order() -> None:
    outlet = Outlet()
    assert outlet.plain
    outlet.put(Planned(ONE), 0)
    outlet.put(Planned(TWO), 0)
    assert not outlet.plain
    assert outlet.size == len(ONE.frame) + len(TWO.frame)
    assert [piece.done for piece in outlet.take(0)] == [ONE, TWO]
    assert outlet.plain


def test_what_is_held_comes_after_the_release() -> None:
    outlet = Outlet()
    outlet.hold()
    outlet.put(Planned(ONE), 0)
    assert outlet.take(1e9) == []
    outlet.release()
    assert data(outlet) == ONE.frame


def test_a_stall_lets_out_exactly_the_bytes_before_it() -> None:
    outlet = Outlet()
    outlet.put(Planned(ONE, cut_at=5), 0)
    outlet.put(Planned(TWO), 0)
    (piece,) = outlet.take(0)
    assert piece == (ONE.frame[:5], None)
    assert outlet.take(1e9) == []
    outlet.release()
    assert data(outlet) == ONE.frame[5:] + TWO.frame


def test_a_stall_at_the_first_byte_lets_nothing_out() -> None:
    outlet = Outlet()
    outlet.put(Planned(ONE, cut_at=0), 0)
    assert outlet.take(0) == []
    outlet.release()
    assert data(outlet) == ONE.frame


def test_a_release_before_the_stall_is_reached_takes_it_away() -> None:
    outlet = Outlet()
    outlet.put(Planned(ONE, cut_at=5), 0)
    outlet.release()
    assert data(outlet) == ONE.frame


def test_a_delayed_message_lets_others_pass() -> None:
    outlet = Outlet()
    outlet.put(Planned(ONE, delay_ms=100), 0)
    outlet.put(Planned(TWO), 0)
    assert data(outlet, 0) == TWO.frame
    assert data(outlet, 99) == b""
    assert data(outlet, 100) == ONE.frame


@given(
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=8),
    steps=st.lists(st.integers(0, 400), min_size=1, max_size=60),
    rate=st.integers(1, 3000),
)
def test_a_slow_line_never_lets_out_more_than_its_rate(
    sizes: list[int], steps: list[int], rate: int
) -> None:
    outlet = Outlet()
    frames = [encode_frame(b"x" * size) for size in sizes]
    outlet.slow_down(rate, 0)
    for frame in frames:
        outlet.put(Planned(Outgoing(b"", frame)), 0)
    now, out = 0, b""
    for step in steps:
        now += step
        out += data(outlet, now)
        assert len(out) <= now / 1000 * rate + 1e-6
    assert b"".join(frames).startswith(out)
    outlet.slow_down(None, now)
    assert out + data(outlet, now) == b"".join(frames)


# History


def filled(count: int, limit: int) -> History:
    history = History(limit)
    for number in range(count):
        history.add("c", "public", "v3", "t", str(number).encode(), number)
    return history


@given(
    count=st.integers(0, 40),
    limit=st.integers(1, 40),
    number=st.integers(0, 45),
    most=st.none() | st.integers(1, 10),
)
def test_history_gives_what_came_after_or_says_what_is_gone(
    count: int, limit: int, number: int, most: int | None
) -> None:
    history = filled(count, limit)
    assert len(history) == min(count, limit)
    wanted = [each for each in range(1, count + 1) if each > number][:most]
    if number < count - limit:
        with pytest.raises(ConfigurationError, match=f"messages {number + 1} to {count - limit} "):
            history.after(number, most)
    else:
        assert [sent.number for sent in history.after(number, most)] == wanted
    assert [sent.number for sent in history] == list(range(1, count + 1))[-limit:]


# Scenarios


def test_steps_come_when_they_are_due_and_once() -> None:
    steps = [
        Step("heal", at=2.0),
        Step("drop", at=1.0, how="rst"),
        Step("restart", after=5),
    ]
    playing = Playing(Scenario(steps), now_ms=1000, sent=10)
    assert playing.take(1999, 14) == []
    assert playing.take(2000, 14) == [steps[1]]
    assert playing.take(2000, 15) == [steps[2]]
    assert not playing.over
    assert playing.take(9000, 15) == [steps[0]]
    assert playing.over


def test_a_scenario_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "bad-day.json"
    path.write_text(
        '[{"at": 2.5, "do": "drop", "scope": "public"},'
        '{"after": 7, "do": "fault", "action": "withhold"}]'
    )
    scenario = Scenario.load(path)
    assert scenario.timed == (Step("drop", at=2.5, scope="public"),)
    assert scenario.counted == (Step("fault", after=7, action="withhold"),)
    assert len(scenario) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "Expected"),
        ("[{]", "malformed"),
        ('[{"at": 1}]', "step 1: `do`"),
        ('[{"do": "drop", "at": 1}, {"do": "explode", "at": 1}]', "step 2.*explode"),
        ('[{"do": "drop"}]', "exactly one"),
        ('[{"do": "drop", "at": 1, "after": 1}]', "exactly one"),
        ('[{"do": "drop", "at": "soon"}]', "must be a number"),
        ('[{"do": "drop", "at": -1}]', "cannot be due"),
    ],
)
def test_a_scenario_that_cannot_be_read_says_where(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        Scenario.load(path)


def test_a_scenario_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.json"):
        Scenario.load(tmp_path / "nowhere.json")


def test_a_random_scenario_repeats_by_its_seed_and_has_every_kind() -> None:
    one, again, other = (Scenario.random(seed, 3600, 1.0) for seed in (1, 1, 2))
    assert one.timed == again.timed
    assert one.timed != other.timed
    assert one.timed[-1].do == "heal" or one.timed[-2].do == "heal"
    done = {step.do for step in one.timed}
    assert done >= {"drop", "silence", "resume", "slow_down", "refuse_handshakes", "restart"}
    actions = {step.arguments["action"] for step in one.timed if step.do == "fault"}
    assert actions == set(ACTIONS) - {"replace", "cross"}
    for step in one.timed:
        if step.do == "fault":
            Fault(**step.arguments)


# The clock


def test_a_stepped_clock_moves_only_by_hand_and_starts_where_it_always_does() -> None:
    clock = VenueClock(0)
    assert clock.stepped
    assert clock.now_ms() == STEPPED_START_MS
    clock.step(1.5)
    assert clock.now_ms() == STEPPED_START_MS + 1500
    assert clock.look() == STEPPED_START_MS + 1500


def test_a_clock_that_nobody_looked_at_for_long_does_not_leap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("bybit_copyws.sandbox.clock.time.monotonic", lambda: now[0])
    clock = VenueClock()
    start = clock.look()
    now[0] += 3600
    assert clock.now_ms() == start + MAX_BEHIND_MS
    assert clock.look() == start + MAX_BEHIND_MS
    now[0] += 0.5
    assert clock.look() == start + MAX_BEHIND_MS + 500


def test_a_fast_clock_is_ahead_of_a_real_one() -> None:
    fast, real = VenueClock(1e6), VenueClock()
    start = real.now_ms()
    assert not real.stepped
    while real.now_ms() < start + 5:
        pass
    assert fast.now_ms() - start > 1_000_000


@pytest.mark.parametrize("speed", [-1, float("inf"), float("nan")])
def test_a_speed_that_cannot_be_is_refused(speed: float) -> None:
    with pytest.raises(ConfigurationError, match="speed"):
        VenueClock(speed)


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(ConfigurationError, match="only go on"):
        VenueClock(0).step(-1)


def test_garbage_is_no_message_of_its_topic():
    # A checker must not wait for it.
    faults = FaultList()
    faults.add(Fault("garbage", garbage="unknown_topic"))
    payload = b'{"topic":"tickers.X","data":1}'
    (planned,) = faults.apply("c", "public", Outgoing(payload, b"", "tickers.X"))
    assert (planned.message.topic, planned.message.payload) == ("", b"")
