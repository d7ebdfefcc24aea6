"""Topics: what is accepted, what is refused, and what the refusal says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.wire.profiles import COPY_TRADING_V3, V5
from bybit_copyws.wire.topics import INTERVALS, MAX_TOPIC, Scope, TopicSpec

V3_TOPICS = COPY_TRADING_V3.topics
V5_TOPICS = V5.topics


@pytest.mark.parametrize(
    "name",
    [
        *(f"orderbook.{depth}.BTCUSDT" for depth in (1, 50, 200, 500)),
        "publicTrade.1000PEPEUSDT",
        "tickers.BTCUSDT",
        "liquidation.BTCUSDT",
        *(f"kline.{interval}.ETHUSDT" for interval in INTERVALS),
        "copyTradePosition",
        "copyTradeOrder",
        "copyTradeExecution",
        "copyTradeWallet",
    ],
)
def test_v3_knows(name: str) -> None:
    topic = V3_TOPICS.parse(name)
    assert (topic.name, topic.wire) == (name, name)
    assert topic.scope is (Scope.PRIVATE if name.startswith("copy") else Scope.PUBLIC)
    assert topic.spec.parser is not None


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("copyTradePosition", "position"),
        ("copyTradeOrder", "order"),
        ("copyTradeExecution", "execution"),
        ("copyTradeWallet", "wallet"),
        ("liquidation.BTCUSDT", "allLiquidation.BTCUSDT"),
        ("position.linear", "position.linear"),
        ("order.linear", "order.linear"),
        ("execution.fast", "execution.fast"),
        ("execution.linear", "execution.linear"),
        ("execution.fast.linear", "execution.fast.linear"),
        ("orderbook.1000.BTCUSDT", "orderbook.1000.BTCUSDT"),
        ("tickers.BTC-27DEC24", "tickers.BTC-27DEC24"),
    ],
)
def test_v5_calls_it(name: str, wire: str) -> None:
    topic = V5_TOPICS.parse(name)
    assert (topic.name, topic.wire) == (name, wire)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (7, "must be a string, not int"),
        ("", "must not be empty"),
        ("x" * (MAX_TOPIC + 1), "longer than 64"),
        ("tickers.*", "wildcard"),
        ("tickers.A|B", "wildcard"),
        ("tickers.BTCUSDT\r\n", "malformed"),
        ("tickers..BTCUSDT", "malformed"),
        (".tickers", "malformed"),
        ("tickers.BTCUSDT\x00", "malformed"),
        ("tickers.ÄÖÜ", "malformed"),
        ("ticker.BTCUSDT", "did you mean 'tickers'"),
        ("copytradeposition", "did you mean 'copyTradePosition'"),
        ("zzz", "known are"),
        ("tickers", "write tickers.{symbol}"),
        ("orderbook.BTCUSDT", "write orderbook.{depth}.{symbol}"),
        ("copyTradeOrder.BTCUSDT", "write copyTradeOrder"),
        ("tickers.btcusdt", "upper case, write 'BTCUSDT'"),
        ("tickers.B", "is no symbol"),
        ("orderbook.0.BTCUSDT", "depth '0'"),
        ("orderbook.x.BTCUSDT", "depth 'x'"),
        ("kline.2.BTCUSDT", "'2' is no interval"),
        ("order", "it is called 'copyTradeOrder'"),
        ("order.linear", "it is called 'copyTradeOrder'"),
        ("allLiquidation.BTCUSDT", "it is called 'liquidation.BTCUSDT'"),
    ],
)
def test_v3_refuses(name: Any, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        V3_TOPICS.parse(name)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("position.nowhere", "'nowhere' is no category"),
        ("execution.slow", "'slow' is no part"),
        ("execution.slow.linear", "'slow' is no part"),
        ("order.linear.more", "write order or order.{category}"),
    ],
)
def test_v5_refuses(name: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        V5_TOPICS.parse(name)
    assert says in str(caught.value).replace("variant", "part")


@given(st.text(max_size=80))
def test_any_text_is_a_topic_or_a_clear_refusal(name: str) -> None:
    for table in (V3_TOPICS, V5_TOPICS):
        try:
            topic = table.parse(name)
        except ConfigurationError:
            continue
        else:
            assert topic.wire.isascii()
            assert topic.wire.isprintable()


def test_a_spec_shows_its_pattern() -> None:
    assert str(TopicSpec("kline", Scope.PUBLIC, ("interval", "symbol"))) == (
        "kline.{interval}.{symbol}"
    )
