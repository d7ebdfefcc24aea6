"""The ticker, rule by rule: plain calls."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bybit_copyws.errors import ConfigurationError, ProtocolError
from bybit_copyws.state import Cause, Outcome, Status, Ticker

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples"

FIRST = {
    "symbol": "SOLUSDT",
    "lastPrice": "58.10",
    "markPrice": "58.11",
    "bid1Price": "58.0",
    "preOpenPrice": "1",
    "hue": "red",
}


def live() -> Ticker:
    ticker = Ticker("SOLUSDT")
    assert ticker.apply("snapshot", dict(FIRST), 1000, 1.0).outcome is Outcome.APPLIED
    return ticker


def test_a_new_ticker_is_syncing_and_empty() -> None:
    ticker = Ticker("SOLUSDT")
    assert ticker.topic == "tickers.SOLUSDT"
    assert (ticker.status, ticker.data, ticker.changed) == (Status.SYNCING, {}, frozenset())
    assert ticker.parse() is None
    assert ticker.age(1.0) == math.inf
    assert repr(ticker) == "<Ticker tickers.SOLUSDT syncing>"


def test_a_delta_changes_only_what_it_names() -> None:
    ticker = live()
    before = ticker.snapshot()
    delta = {"symbol": "SOLUSDT", "lastPrice": "58.20", "preOpenPrice": "", "hue": "blue"}
    assert ticker.apply("delta", delta, 1001, 2.0).outcome is Outcome.APPLIED
    assert ticker.data == FIRST | delta
    assert ticker.changed == {"symbol", "lastPrice", "preOpenPrice", "hue"}
    view = ticker.parse()
    assert view is not None
    assert (view.type, view.last_price, view.mark_price) == (
        "snapshot",
        Decimal("58.20"),
        Decimal("58.11"),
    )
    assert view.pre_open_price is None  # an empty text is a value
    assert view.extra == {"hue": "blue"}
    assert view.changed == {"symbol", "last_price", "pre_open_price"}
    assert (before.data, before.ts, before.status) == (FIRST, 1000, Status.LIVE)
    assert before.changed == set(FIRST)


def test_a_snapshot_replaces_everything() -> None:
    ticker = live()
    ticker.apply("snapshot", {"symbol": "SOLUSDT", "lastPrice": "1"}, 1, 2.0)
    assert ticker.data == {"symbol": "SOLUSDT", "lastPrice": "1"}


def test_a_delta_need_not_name_the_symbol_nor_anything() -> None:
    ticker = live()
    assert ticker.apply("delta", {}, 1, 5.0).outcome is Outcome.APPLIED
    assert (ticker.data, ticker.changed, ticker.age(6.0)) == (FIRST, frozenset(), 1.0)


def test_a_delta_before_any_snapshot_asks_for_one_once() -> None:
    ticker = Ticker("SOLUSDT")
    first = ticker.apply("delta", {"lastPrice": "1"}, 1, 1.0)
    assert first[:2] == (Outcome.OUT_OF_SYNC, Cause.NO_SNAPSHOT)
    assert ticker.apply("delta", {"lastPrice": "1"}, 1, 1.0).outcome is Outcome.IGNORED
    assert ticker.data == {}


def test_stale_and_resync() -> None:
    ticker = live()
    assert ticker.stale("silent", 9.0)
    assert (ticker.status, ticker.reason, ticker.data) == (Status.STALE, "silent", FIRST)
    ticker.apply("delta", {"lastPrice": "2"}, 1, 10.0)
    assert ticker.status is Status.LIVE
    ticker.resync("connected anew", 11.0)
    assert (ticker.status, ticker.data, ticker.changed) == (Status.SYNCING, {}, frozenset())
    assert ticker.snapshot().ts is None
    assert ticker.apply("delta", {"lastPrice": "2"}, 1, 12.0).outcome is Outcome.IGNORED
    assert ticker.apply("snapshot", FIRST, 1, 13.0).outcome is Outcome.APPLIED


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        *((kind, bad) for kind in ("snapshot", "delta") for bad in (None, [], "x", 5)),
        *((kind, {"symbol": bad}) for kind in ("snapshot", "delta") for bad in ("X", None, [[]])),
        ("snapshot", {}),
        (None, FIRST),
        ("partial", FIRST),
        ([], FIRST),
    ],
)
def test_malformed_messages_never_raise(kind: Any, message: Any) -> None:
    ticker = live()
    result = ticker.apply(kind, message, 1, 2.0)
    assert result[:2] == (Outcome.OUT_OF_SYNC, Cause.MALFORMED)
    assert (ticker.status, ticker.data) == (Status.SYNCING, {})


def test_a_value_in_an_unknown_form_is_kept_as_sent() -> None:
    ticker = live()
    assert ticker.apply("delta", {"lastPrice": "about 58"}, 1, 2.0).outcome is Outcome.APPLIED
    assert ticker.data["lastPrice"] == "about 58"
    with pytest.raises(ProtocolError, match="last_price"):
        ticker.parse()


def test_the_data_is_read_only_and_its_own() -> None:
    ticker = Ticker("SOLUSDT")
    message = dict(FIRST)
    ticker.apply("snapshot", message, 1, 1.0)
    message["lastPrice"] = "tampered"
    assert ticker.data == FIRST
    with pytest.raises(TypeError):
        ticker.data["lastPrice"] = "1"  # type: ignore[index]


@pytest.mark.parametrize("symbol", ["", None, 5])
def test_a_wrong_symbol_names_the_cure(symbol: Any) -> None:
    with pytest.raises(ConfigurationError, match="BTCUSDT"):
        Ticker(symbol)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the documents' samples are not here")
@pytest.mark.parametrize(
    "name", ["v3-copy-trade/wss-public/tickers.stream", "v5/websocket/public/ticker.stream"]
)
def test_the_documents_samples_apply(name: str) -> None:
    for line in (SAMPLES / f"{name}.jsonl").read_text().splitlines():
        message = json.loads(line)
        ticker = Ticker("BTCUSDT")
        ticker.apply("snapshot", message["data"], message["ts"], 1.0)
        view = ticker.parse()
        assert view is not None
        assert view.last_price == Decimal(message["data"]["lastPrice"])
        assert ticker.data == message["data"]
