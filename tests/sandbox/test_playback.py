"""A recorded session is served as it was, to whoever subscribes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from raw_client import RawClient

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.sandbox import Sandbox
from bybit_copyws.sandbox.playback import Playback

TICKERS, TRADES = "tickers.BTCUSDT", "publicTrade.BTCUSDT"


def row(time: float, topic: str, number: int, **more: Any) -> dict[str, Any]:
    return {"time": time, "message": {"topic": topic, "ts": number, "data": []}, **more}


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    rows = [
        row(1000.5, TRADES, 3),
        row(1000.0, TICKERS, 1),
        row(1000.2, TICKERS, 2),
        row(1000.6, "copyTradeOrder", 4, scope="private"),
    ]
    path = tmp_path / "session.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    return path


def test_messages_come_in_the_order_and_at_the_times_of_the_recording(recording: Path) -> None:
    playback = Playback.load(recording)
    assert [each.message["ts"] for each in playback.take(0.0)] == [1]
    assert [each.message["ts"] for each in playback.take(0.51)] == [2, 3]
    assert not playback.over
    assert [each.message["ts"] for each in playback.take(9)] == [4]
    assert playback.over
    assert playback.take(99) == []


def test_a_sandbox_serves_it(recording: Path) -> None:
    with (
        Sandbox(speed=0, playback=recording) as exchange,
        RawClient(exchange) as public,
        RawClient(exchange, scope="private") as private,
    ):
        exchange.step(100)  # nobody listens: nothing begins
        private.log_in()
        assert not public.ask("subscribe", "kline.1.BTCUSDT")["success"]
        assert public.ask("subscribe", TICKERS)["success"]
        assert private.ask("subscribe", "copyTradeOrder")["success"]
        exchange.step(0.3)
        assert [public.message()["ts"], public.message()["ts"]] == [1, 2]
        exchange.step(1.0)
        assert public.silent()  # the trades were not subscribed
        assert private.message()["ts"] == 4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no messages"),
        ('{"time": 1}', "line 1"),
        ('{"time": 1, "message": {}}\nnonsense', "line 2"),
        ('{"time": 1, "message": {}, "scope": "both"}', "both"),
    ],
)
def test_a_recording_that_cannot_be_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=says):
        Sandbox(playback=path)


def test_a_recording_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        Sandbox(playback=tmp_path / "nowhere")
