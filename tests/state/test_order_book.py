"""The order book, rule by rule: plain calls."""

from __future__ import annotations

import decimal
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.sandbox.market import DEFAULT_INSTRUMENTS, Market
from bybit_copyws.state import Cause, Level, OrderBook, Outcome, Status

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples"

BIDS = [["99.5", "2"], ["99.0", "1.50"], ["98", "4"]]
ASKS = [["100.5", "1"], ["101.00", "3"], ["102", "0.25"]]


def data(u: Any, bids: Any = (), asks: Any = (), **other: Any) -> dict[str, Any]:
    """The data of a message, as it is decoded."""
    bids, asks = (list(side) if isinstance(side, tuple) else side for side in (bids, asks))
    return {"s": "SOLUSDT", "b": bids, "a": asks, "u": u, "seq": 70 + other.pop("seq", 0), **other}


def live(depth: int = 50, u: int = 10, **options: Any) -> OrderBook:
    book = OrderBook("SOLUSDT", depth, **options)
    assert book.apply("snapshot", data(u, BIDS, ASKS), 1000, 1.0).outcome is Outcome.APPLIED
    return book


def prices(book: OrderBook) -> tuple[list[str], list[str]]:
    bids, asks = book.rows()
    return [price for price, _ in bids], [price for price, _ in asks]


def level(price: str, size: str) -> Level:
    return Level(Decimal(price), Decimal(size))


def test_a_new_book_is_syncing_and_empty() -> None:
    book = OrderBook("SOLUSDT")
    assert book.topic == "orderbook.50.SOLUSDT"
    assert book.status is Status.SYNCING
    assert "no snapshot" in book.reason
    assert book.since is None
    assert book.age(5.0) == math.inf
    assert (book.best_bid, book.best_ask, book.spread, book.mid) == (None,) * 4
    assert (book.update_id, book.sequence, book.ts) == (None,) * 3
    assert book.bids() == book.asks() == ()


def test_a_snapshot_makes_it_live() -> None:
    book = live()
    assert book.status is Status.LIVE
    assert book.reason == ""
    assert book.since == 1.0
    assert book.age(3.5) == 2.5
    assert book.age(0.5) == 0.0  # of another thread's clock reading
    assert (book.update_id, book.sequence, book.ts) == (10, 70, 1000)
    assert book.bids() == (level("99.5", "2"), level("99.0", "1.50"), level("98", "4"))
    assert book.rows() == (tuple(map(tuple, BIDS)), tuple(map(tuple, ASKS)))
    assert str(book.bids()[1].size) == "1.50"
    assert repr(book) == "<OrderBook orderbook.50.SOLUSDT live>"


def test_a_delta_sets_inserts_and_deletes() -> None:
    book = live()
    change = data(11, [["99.5", "7"], ["99.2", "1"], ["98", "0"]], [["100.9", "5"]], seq=9)
    assert book.apply("delta", change, 1002, 2.0) == (Outcome.APPLIED, None, "")
    assert book.rows() == (
        (("99.5", "7"), ("99.2", "1"), ("99.0", "1.50")),
        (("100.5", "1"), ("100.9", "5"), ("101.00", "3"), ("102", "0.25")),
    )
    assert (book.update_id, book.sequence, book.ts, book.age(2.5)) == (11, 79, 1002, 0.5)


@pytest.mark.parametrize("zero", ["0", "0.0", "0.000", "0.00000000000", "-0", "0E-5", "00"])
def test_a_size_of_zero_deletes_however_it_is_written(zero: str) -> None:
    book = live()
    assert book.apply("delta", data(11, [["99.5", zero]]), 1, 2.0).outcome is Outcome.APPLIED
    assert prices(book)[0] == ["99.0", "98"]


def test_a_level_is_its_number_not_its_text() -> None:
    book = live()
    book.apply("delta", data(11, [["99", "3"], ["98.000", "0"]], [["1.005E+2", "8"]]), 1, 2.0)
    assert book.rows()[0] == (("99.5", "2"), ("99", "3"))
    assert book.asks(1) == (level("100.5", "8"),)
    book.apply("delta", data(12, [["99.00", "0"]]), 1, 3.0)
    assert prices(book)[0] == ["99.5"]


def test_prices_that_one_float_stands_for_are_two_levels() -> None:
    near = [["99.5", "1"], ["99.500000000000000001", "2"]]
    assert float(near[0][0]) == float(near[1][0])
    book = OrderBook("SOLUSDT")
    book.apply("snapshot", data(5, near), 1, 1.0)
    assert prices(book)[0] == ["99.500000000000000001", "99.5"]


def test_the_last_word_on_a_price_within_a_message_counts() -> None:
    book = live()
    book.apply("delta", data(11, [["99.5", "0"], ["99.50", "6"], ["98", "1"], ["98", "0"]]), 1, 2.0)
    assert book.rows()[0] == (("99.50", "6"), ("99.0", "1.50"))


def test_deleting_what_is_not_there_is_no_matter() -> None:
    book = live()
    assert book.apply("delta", data(11, [["55", "0"]], [["200", "0"]]), 1, 2.0)[1] is None
    assert book.rows() == live().rows()


def test_a_price_may_change_sides_within_a_delta() -> None:
    book = live()
    change = data(11, [["100.5", "9"]], [["100.5", "0"]])  # the bid comes before the ask has gone
    assert book.apply("delta", change, 1, 2.0).outcome is Outcome.APPLIED
    assert (book.best_bid, book.best_ask) == (level("100.5", "9"), level("101.00", "3"))


@pytest.mark.parametrize("price", ["100.5", "100.50", "100.6", "1e3"])
def test_a_crossed_book_is_dropped(price: str) -> None:
    book = live()
    result = book.apply("delta", data(11, [[price, "1"]]), 1, 2.0)
    assert result[:2] == (Outcome.OUT_OF_SYNC, Cause.CROSSED)
    assert price in result.reason
    assert "100.5" in result.reason
    assert book.status is Status.SYNCING
    assert book.reason == result.reason
    assert book.rows() == ((), ())


def test_a_crossed_snapshot_is_dropped_and_said_so_each_time() -> None:
    book = live()
    for u in (20, 21):
        result = book.apply("snapshot", data(u, ASKS, BIDS), 1, 2.0)
        assert result[:2] == (Outcome.OUT_OF_SYNC, Cause.CROSSED)
        assert book.status is Status.SYNCING
    assert book.apply("snapshot", data(3, BIDS, ASKS), 1, 3.0).outcome is Outcome.APPLIED
    assert book.status is Status.LIVE


def test_a_repeated_update_id_only_refreshes_the_clock() -> None:
    book = live(depth=1)
    repeat = data(10, BIDS, ASKS)
    assert book.apply("snapshot", repeat, 4000, 4.0).outcome is Outcome.REPEATED
    assert book.apply("delta", data(10, [["99.5", "123"]]), 4001, 4.5).outcome is Outcome.REPEATED
    assert book.rows() == live(depth=1).rows()
    assert (book.age(5.0), book.ts, book.update_id) == (0.5, 4001, 10)


def test_a_snapshot_of_the_same_update_id_and_another_content_is_taken() -> None:
    book = live(u=1)  # the service restarted, and again
    other = data(1, [["50", "1"]], [["51", "1"]])
    assert book.apply("snapshot", other, 1, 2.0).outcome is Outcome.APPLIED
    assert prices(book) == (["50"], ["51"])


@pytest.mark.parametrize("u", [1, 2, 9, 11, 500])
def test_a_snapshot_replaces_everything_at_any_time(u: int) -> None:
    book = live()
    assert book.apply("snapshot", data(u, [["50", "1"]], []), 1, 2.0).outcome is Outcome.APPLIED
    assert prices(book) == (["50"], [])
    assert book.apply("delta", data(u + 1, [["49", "1"]]), 1, 3.0).outcome is Outcome.APPLIED
    assert prices(book) == (["50", "49"], [])


@pytest.mark.parametrize("u", [12, 4000, 9, 1, 0, -1])
def test_a_jump_of_the_update_id_is_out_of_sync_once(u: int) -> None:
    book = live()
    result = book.apply("delta", data(u, [["99.5", "1"]]), 1, 2.0)
    assert result == (Outcome.OUT_OF_SYNC, Cause.JUMP, f"u went from 10 to {u}")
    assert book.status is Status.SYNCING
    assert book.since == 2.0
    assert book.rows() == ((), ())
    for late in (u + 1, 11):
        assert book.apply("delta", data(late), 1, 2.5).outcome is Outcome.IGNORED
    assert book.reason == result.reason
    assert book.apply("snapshot", data(7, BIDS, ASKS), 1, 3.0).outcome is Outcome.APPLIED
    assert book.apply("delta", data(9), 1, 4.0).cause is Cause.JUMP  # said anew


def test_a_jump_can_be_warned_about_only_but_never_backwards() -> None:
    book = live(on_jump="warn")
    result = book.apply("delta", data(15, [["99.5", "1"]]), 1, 2.0)
    assert result == (Outcome.APPLIED, Cause.JUMP, "u went from 10 to 15")
    assert book.best_bid == level("99.5", "1")
    assert book.update_id == 15
    assert book.apply("delta", data(14), 1, 3.0)[:2] == (Outcome.OUT_OF_SYNC, Cause.JUMP)


def test_a_delta_before_any_snapshot_asks_for_one_once() -> None:
    book = OrderBook("SOLUSDT")
    result = book.apply("delta", data(11, BIDS), 1, 2.0)
    assert result[:2] == (Outcome.OUT_OF_SYNC, Cause.NO_SNAPSHOT)
    assert book.apply("delta", data(12, BIDS), 1, 2.1).outcome is Outcome.IGNORED
    assert book.rows() == ((), ())
    assert book.age(3.0) == math.inf


def test_what_is_beyond_the_depth_is_dropped() -> None:
    book = live(depth=3)
    book.apply("delta", data(11, [["99.2", "1"]], [["90", "0"], ["103", "1"]]), 1, 2.0)
    assert prices(book) == (["99.5", "99.2", "99.0"], ["100.5", "101.00", "102"])
    book.apply("delta", data(12, [["99.5", "0"]]), 1, 3.0)
    assert prices(book)[0] == ["99.2", "99.0"]  # the exchange sends 98 again if it shows it
    book.apply("delta", data(13, [["98", "4"], ["98", "5"]]), 1, 4.0)
    assert book.bids()[-1] == level("98", "5")


def test_level_1_lived_by_deltas_once() -> None:
    book = OrderBook("SOLUSDT", 1)
    book.apply("snapshot", data(5, [["99.5", "2"]], [["100.5", "1"]]), 1, 1.0)
    book.apply("delta", data(6, [["99.6", "1"], ["99.5", "0"]]), 1, 2.0)
    book.apply("delta", data(7, [], [["100.4", "1"]]), 1, 3.0)  # with no word on the old one
    assert prices(book) == (["99.6"], ["100.4"])


def test_stale_keeps_the_levels_until_the_stream_goes_on() -> None:
    book = live()
    assert book.stale("silent for 10 s", 12.0)
    assert not book.stale("the link is lost too", 13.0)
    assert (book.status, book.reason, book.since) == (Status.STALE, "the link is lost too", 12.0)
    assert book.rows() == live().rows()
    assert book.age(13.0) == 12.0
    assert book.apply("delta", data(11, [["99.5", "7"]]), 1, 14.0).outcome is Outcome.APPLIED
    assert (book.status, book.reason, book.since) == (Status.LIVE, "", 14.0)
    book.stale("silent", 30.0)
    book.resync("connected anew", 31.0)
    assert not book.stale("nothing is there", 32.0)
    assert book.status is Status.SYNCING


def test_a_repetition_ends_staleness() -> None:
    book = live(depth=1)
    book.stale("silent", 5.0)
    assert book.apply("snapshot", data(10, BIDS, ASKS), 1, 6.0).outcome is Outcome.REPEATED
    assert book.status is Status.LIVE


def test_resync_drops_the_levels_and_ignores_deltas() -> None:
    book = live()
    book.resync("connected anew", 5.0)
    assert (book.status, book.reason, book.since) == (Status.SYNCING, "connected anew", 5.0)
    assert book.rows() == ((), ())
    assert book.snapshot().update_id is None
    for u in (10, 11, 12):
        assert book.apply("delta", data(u, [["99.5", "1"]]), 1, 5.1).outcome is Outcome.IGNORED
    assert book.apply("delta", "no object", 1, 5.2).outcome is Outcome.IGNORED
    assert book.apply("snapshot", data(10, BIDS, ASKS), 1, 6.0).outcome is Outcome.APPLIED
    assert book.status is Status.LIVE


BAD_NUMBERS = ["", ".", "-", "NaN", "sNaN", "Infinity", "-inf", "-1", "1e999999", "1e-999999"]
BAD_NUMBERS += ["1e40", "1.2.3", "0..1", "..", "one", "1,5", "0x10", "5 5", "9" * 5000 + "e1"]
BAD_VALUES: list[Any] = [None, 1, 1.5, True, [], {}, ["1"]]


def _without(key: str) -> dict[str, Any]:
    return {name: value for name, value in data(11).items() if name != key}


GOOD = ["99.4", "5"]
BAD_LEVELS: list[Any] = [
    *(["99.3", bad] for bad in [*BAD_NUMBERS, *BAD_VALUES]),
    *([bad, "1"] for bad in [*BAD_NUMBERS, *BAD_VALUES, "0", "0.00", "1." + "0" * 50, "1.1e-18"]),
    *([bad, "0"] for bad in [*BAD_NUMBERS, "0"]),
    *("12", {"1": 0, "2": 0}, ["99.3"], ["99.3", "1", "1"], [], None, 7),
]
BAD_SIDES: list[Any] = [
    *([GOOD, bad] for bad in BAD_LEVELS),
    *("", "12", 12, None, False, {}, {"99.3": "1"}),
]


@pytest.mark.parametrize("rows", BAD_SIDES, ids=lambda rows: repr(rows)[:60])
@pytest.mark.parametrize("side", ["b", "a"])
@pytest.mark.parametrize("kind", ["snapshot", "delta"])
def test_malformed_levels_never_raise_and_never_stay(kind: str, side: str, rows: Any) -> None:
    book = live()
    message = data(11, [GOOD], [["100.6", "1"]]) | {side: rows}
    result = book.apply(kind, message, 1, 2.0)
    assert result[:2] == (Outcome.OUT_OF_SYNC, Cause.MALFORMED)
    assert result.reason.startswith(f"malformed {kind}: ")
    assert len(result.reason) < 120
    assert book.status is Status.SYNCING
    assert book.rows() == ((), ())


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        "text",
        5,
        {},
        *map(_without, "suba"),
        data("11"),
        data(11.0),
        data(True),
        data(None),
        data(11) | {"s": "BTCUSDT"},
        data(11) | {"s": [[]]},
    ],
    ids=lambda message: repr(message)[:40],
)
@pytest.mark.parametrize("kind", ["snapshot", "delta", None, "partial", 7, []])
def test_malformed_messages_never_raise(kind: Any, message: Any) -> None:
    if kind == "partial":
        message = data(11)
    book = live()
    result = book.apply(kind, message, 1, 2.0)
    assert result[:2] == (Outcome.OUT_OF_SYNC, Cause.MALFORMED)
    assert book.status is Status.SYNCING


def test_a_missing_sequence_is_no_matter() -> None:
    book = OrderBook("SOLUSDT")
    message = data(5, BIDS, ASKS)
    del message["seq"]
    assert book.apply("snapshot", message, None, 1.0).outcome is Outcome.APPLIED
    assert (book.sequence, book.ts) == (None, None)


def test_an_interrupted_apply_leaves_nothing_half_done(monkeypatch: pytest.MonkeyPatch) -> None:
    book = live()

    def interrupted(rows: list[Any]) -> None:
        raise KeyboardInterrupt

    class Asks:
        update = staticmethod(interrupted)
        clear = book._asks.clear
        rows = book._asks.rows

    monkeypatch.setattr(book, "_asks", Asks())
    with pytest.raises(KeyboardInterrupt):
        book.apply("delta", data(11, [["99.5", "9"]], [["100.5", "0"]]), 1, 2.0)
    assert book.status is Status.SYNCING
    assert book.bids() == ()
    assert book.apply("delta", data(12), 1, 2.0).cause is Cause.NO_SNAPSHOT


def test_the_message_is_not_kept_and_not_changed() -> None:
    message = data(11, [["99.5", "7"]], [["100.5", "3"]])
    before = json.dumps(message)
    book = live()
    book.apply("delta", message, 1, 2.0)
    assert json.dumps(message) == before
    message["b"][0][1] = "tampered"
    assert book.best_bid == level("99.5", "7")


def test_levels_that_come_and_go_leave_nothing_behind() -> None:
    book = live(depth=2)
    for step in range(500):
        low, high = f"{99 - step / 1000:.3f}", f"{100.5 + step / 500:.3f}"
        rows = data(11 + 2 * step, [[low, "1"]], [[high, "1"]])
        assert book.apply("delta", rows, 1, 2.0).outcome is Outcome.APPLIED
        gone = data(12 + 2 * step, [[low, "0"]], [[high, "0.0"]])
        assert book.apply("delta", gone, 1, 2.0).outcome is Outcome.APPLIED
    for side in (book._bids, book._asks):
        assert len(side._keys) == len(side._prices) == len(side._sizes) <= 20
    assert prices(book)[0] == ["99.5"]


def test_a_message_of_many_levels_is_cut_to_the_depth() -> None:
    book = OrderBook("SOLUSDT", 5)
    many = [[str(100_000 - i), "1"] for i in range(20_000)]
    assert book.apply("snapshot", data(5, many), 1, 1.0).outcome is Outcome.APPLIED
    assert prices(book)[0] == ["100000", "99999", "99998", "99997", "99996"]
    for u in range(6, 60):
        book.apply("delta", data(u, [[str(100_000 + u), "1"]]), 1, 1.0)
    assert len(book._bids._prices) < 40


def test_the_users_decimal_context_changes_nothing() -> None:
    with decimal.localcontext() as context:
        context.prec = 2
        context.traps[decimal.Inexact] = True
        book = live()
        book.apply("delta", data(11, [["9.912345E+1", "1.23456"]]), 1, 2.0)
        assert book.bids(2)[1] == level("99.12345", "1.23456")
        assert book.mid == Decimal("100.00")
        assert book.volume_to("Sell", "90") == Decimal("8.73456")


@pytest.mark.parametrize(
    ("arguments", "options", "cure"),
    [
        (("", 50), {}, "BTCUSDT"),
        ((None, 50), {}, "BTCUSDT"),
        (("SOLUSDT", 0), {}, "1 or 50"),
        (("SOLUSDT", "50"), {}, "1 or 50"),
        (("SOLUSDT", True), {}, "1 or 50"),
        (("SOLUSDT", 50), {"on_jump": "ignore"}, "'resync' or 'warn'"),
    ],
)
def test_wrong_arguments_name_the_cure(arguments: Any, options: Any, cure: str) -> None:
    with pytest.raises(ConfigurationError, match=cure):
        OrderBook(*arguments, **options)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the documents' samples are not here")
@pytest.mark.parametrize("profile", ["v3-copy-trade/wss-public", "v5/websocket/public"])
def test_the_documents_samples_apply(profile: str) -> None:
    for line in (SAMPLES / profile / "orderbook.stream.jsonl").read_text().splitlines():
        message = json.loads(line)
        if message["type"] == "snapshot":
            book = OrderBook("BTCUSDT", 50)
        elif profile.startswith("v5"):  # the samples are of two days
            book = OrderBook("BTCUSDT", 50)
            start = message["data"] | {"u": message["data"]["u"] - 1}
            assert book.apply("snapshot", start, 1, 0.0).outcome is Outcome.APPLIED
        result = book.apply(message["type"], message["data"], message["ts"], 1.0)
        assert result.outcome is Outcome.APPLIED
        assert book.status is Status.LIVE
        assert book.update_id == message["data"]["u"]
        for side, rows in zip("ba", book.rows(), strict=True):
            for price, size in message["data"][side]:
                assert ((price, size) in rows) == (size != "0")


@pytest.mark.parametrize(("profile", "depth"), [("v3", 1), ("v3", 200), ("v5", 50)])
def test_the_local_exchanges_book_is_followed(profile: str, depth: int) -> None:
    start = 1_700_000_000_000
    market = Market([DEFAULT_INSTRUMENTS["BTCUSDT"]], seed=5, start_ms=start, cadence="fast")
    feed = market.open_feed(profile, ("orderbook", str(depth), "BTCUSDT"))
    book = OrderBook("BTCUSDT", depth)
    first = feed.snapshot(start)
    assert first is not None
    messages, now = [first], start
    for _ in range(400):
        for message in messages:
            decoded = json.loads(json.dumps(message))
            result = book.apply(decoded["type"], decoded["data"], decoded["ts"], now / 1000)
            assert result.outcome in (Outcome.APPLIED, Outcome.REPEATED), result
        bids, asks = feed.book()
        assert book.rows() == (tuple(map(tuple, bids)), tuple(map(tuple, asks)))
        now = max(now + 1, market.engine("BTCUSDT").next_change_ms)
        messages = feed.poll(now)
