"""Faults on a streaming link, each with the checker: rows 13 to 18, 20 to 23 and 28 to 32.

Times are shrunk by the constructor's arguments. Rows that need no exchange are tested where the
thing they are about is: 1 to 12 in ``stream/test_connector.py``, ``stream/test_transport.py``,
``stream/test_going_through_proxies.py``, ``wire/test_handshake.py`` and ``test_faults.py``;
24 to 28 in ``wire/test_frames.py`` and ``test_memory.py``; 46 in ``test_faults.py`` and
``test_client.py``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from exchange import ignore
from watched import Watched

from bybit_copyws.sandbox import GARBAGE, FaultProxy, Sandbox

QUICK = {"ping_interval": 0.2, "pong_timeout": 0.2, "frame_timeout": 0.2, "reply_timeout": 1.0}
TOPICS = ("orderbook.50.BTCUSDT", "publicTrade.BTCUSDT")
OTHER = "liquidation.BTCUSDT"
FIND = 3.0  # seconds: far more than any time in QUICK adds up to, for a busy machine

# Kinds of garbage after which the link must be kept, and told once.
KEPT = (
    "not_json",
    "empty",
    "bom",
    "utf16",
    "list",
    "null",
    "cut_json",
    "binary",
    "deep",
    "huge_integer",
    "float_1e400",
    "nan",
    "lone_surrogate",
    "unknown_topic",
    "unknown_op",
    "no_meaning",
    "number_topic",
)
# Kinds that are no fault of the link, and nothing to tell.
HARMLESS = ("integer_2_64", "duplicate_keys", "missing_data", "ping_flood")
CODES = {"bad_utf8": 1007, "length_2_62": 1009}


@pytest.fixture
def lively() -> Iterator[Sandbox]:
    """An exchange that sends a lot."""
    with Sandbox(seed=1, activity=20.0, cadence="fast") as exchange:
        yield exchange


@pytest.fixture
def proxy(lively: Sandbox) -> Iterator[FaultProxy]:
    with FaultProxy(lively) as between:
        yield between


def cut_everywhere(watched: Watched, proxy: FaultProxy, how: str, offsets: range) -> None:
    for offset in offsets:
        watched.client.wait_until_ready()
        before = len(watched.reasons)
        proxy.down.cut_at(offset, how)
        watched.exchange.drop("public", how="rst")
        # The link that was dropped, and the one that is cut (it may have failed to open).
        watched.wait_for(lambda n=before: len(watched.reasons) >= n + 2, f"cut at {offset}")


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_rows_13_and_14_a_cut_at_every_byte(lively: Sandbox, proxy: FaultProxy, how: str) -> None:
    lively.rules.max_connections = 10_000
    with Watched(lively, proxy, TOPICS) as watched:
        watched.settle()
        cut_everywhere(watched, proxy, how, range(0, 600, 2))


def test_row_15_a_link_that_says_nothing_any_more(lively: Sandbox, proxy: FaultProxy) -> None:
    with Watched(lively, proxy, **QUICK) as watched:
        for _ in range(3):
            watched.settle()
            begun = time.monotonic()
            lost = len(watched.reasons)
            lively.silence()
            watched.wait_for(lambda n=lost: len(watched.reasons) >= n + 2, "not found")
            assert time.monotonic() - begun < FIND
            lively.resume()


def test_row_16_a_link_that_only_we_hear(lively: Sandbox, proxy: FaultProxy) -> None:
    with Watched(lively, proxy, TOPICS, **QUICK) as watched:
        watched.settle()
        proxy.up.hold()
        watched.wait_for(lambda: "pong" in " ".join(watched.reasons), "not found")
        proxy.heal()


@pytest.mark.parametrize("offset", [1, 2, 3, 4, 5, 60, -30, -1])
def test_row_17_a_stall_inside_a_frame(lively: Sandbox, offset: int) -> None:
    times = {**QUICK, "ping_interval": 20.0, "pong_timeout": 10.0}
    with Watched(lively, topics=TOPICS, **times) as watched:
        watched.settle()
        lively.fault("stall", kind="data", offset=offset, topic="orderbook.*")
        watched.wait_for(lambda: bool(watched.reasons), "not found")
        assert "had begun did not end" in watched.reasons[0]


def test_row_18_a_message_that_drips(lively: Sandbox, proxy: FaultProxy) -> None:
    times = {**QUICK, "ping_interval": 20.0, "pong_timeout": 10.0}
    with Watched(lively, proxy, TOPICS, **times) as watched:
        watched.settle()
        proxy.down.rate(50)
        watched.wait_for(lambda: bool(watched.reasons), "not found")
        proxy.heal()


def test_row_20_a_flood_of_pings(lively: Sandbox) -> None:
    with Watched(lively) as watched:
        for _ in range(5):
            lively.garbage("ping_flood")
        watched.settle(200)
        assert watched.reasons == []


@pytest.mark.parametrize("trouble", ["late", "bytes", "slow"])
def test_row_22_a_bad_network_costs_nothing(
    lively: Sandbox, proxy: FaultProxy, trouble: str
) -> None:
    with Watched(lively, proxy, TOPICS, ping_interval=0.5, pong_timeout=5.0) as watched:
        watched.settle()
        for way in (proxy.up, proxy.down):
            if trouble == "late":
                way.delay(0.3, jitter=0.2, seed=7)
            elif trouble == "bytes":
                way.chunk(1)
            else:
                way.rate(200_000)
        watched.settle(200)
        report = watched.checker.report(final=False)
        assert (watched.reasons, report.holes, report.missed) == ([], 0, 0)


def test_row_23_a_flipped_bit_never_gives_a_wrong_message() -> None:
    # In clear nobody can see a flipped digit; TLS sees every bit.
    with (
        Sandbox(seed=1, activity=20.0, cadence="fast", tls=True) as exchange,
        FaultProxy(exchange) as proxy,
        Watched(exchange, proxy, TOPICS) as watched,
    ):
        watched.settle()
        for offset in range(1, 6_000, 173):
            watched.client.wait_until_ready()
            before = len(watched.reasons)
            proxy.down.flip_at(offset, offset % 8)
            exchange.drop("public", how="rst")
            watched.wait_for(lambda n=before: len(watched.reasons) >= n + 2, f"flip at {offset}")


def test_every_kind_of_garbage_is_looked_at() -> None:
    frames = {kind for kind in GARBAGE if kind not in (*KEPT, *HARMLESS)}
    assert CODES.keys() <= frames
    assert "masked" in frames


@pytest.mark.parametrize("kind", GARBAGE)
def test_rows_24_to_31_garbage(lively: Sandbox, kind: str) -> None:
    with Watched(lively, topics=TOPICS, frame_timeout=0.3) as watched:
        # Some look like data of a topic: one that the checker does not follow.
        watched.client.subscribe(OTHER, ignore)
        watched.settle()
        lively.garbage(kind, "public", topic=OTHER)
        if kind in KEPT:
            watched.wait_for(lambda: len(watched.bad) == 1, "not told")
            assert len(watched.bad[0].excerpt) <= 200
            assert watched.reasons == []
        elif kind not in HARMLESS:
            watched.wait_for(lambda: len(watched.reasons) == 1, "not found")
            assert "1007" in watched.reasons[0] or kind != "bad_utf8"
            assert "1009" in watched.reasons[0] or kind != "length_2_62"


@pytest.mark.parametrize("profile", ["v3", "v5"])
@pytest.mark.parametrize("action", ["withhold", "duplicate", "reorder", "delay"])
def test_row_32_acks_that_do_not_come_as_they_should(
    lively: Sandbox, profile: str, action: str
) -> None:
    with Watched(lively, profile=profile, **QUICK) as watched:
        watched.settle()
        for _ in range(5):
            # A single ack has nothing to change places with but the data behind it.
            kind = None if action == "reorder" else "subscribe"
            lively.fault(action, kind=kind, seconds=0.05, times=2)
            lively.drop(how="rst")
            watched.settle()
