"""Contracts that are listed and withdrawn while the exchange runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest
from exchange import PROFILES, ignore, make_client

from bybit_copyws.errors import ConfigurationError, SubscriptionError
from bybit_copyws.rest import RestClient
from bybit_copyws.sandbox import Sandbox, Scenario, Step

Eventually = Callable[..., bool]
NEW = "NEWUSDT"


@pytest.fixture
def exchange() -> Iterator[Sandbox]:
    with Sandbox(seed=1, symbols=["BTCUSDT", "ETHUSDT"], cadence="fast", activity=50.0) as running:
        yield running


def make_rest(exchange: Sandbox, profile: str = "v3") -> RestClient:
    return RestClient(
        exchange.api_key, exchange.api_secret, environment=exchange.environment, profile=profile
    )


def let_pass(exchange: Sandbox, milliseconds: int) -> None:
    end = exchange.time_ms + milliseconds
    exchange.wait_for(lambda e: e.time_ms > end)


def listed(exchange: Sandbox, profile: str) -> set[str | None]:
    with make_rest(exchange, profile=profile) as rest:
        return {each.symbol for each in rest.instruments()}


@pytest.mark.parametrize("profile", PROFILES)
def test_rest_lists_what_is_listed(exchange: Sandbox, profile: str) -> None:
    exchange.list_symbol(NEW)
    assert listed(exchange, profile) == {"BTCUSDT", "ETHUSDT", NEW}
    exchange.withdraw_symbol("BTCUSDT")
    assert listed(exchange, profile) == {"ETHUSDT", NEW}
    exchange.list_symbol("BTCUSDT")
    assert listed(exchange, profile) == {"BTCUSDT", "ETHUSDT", NEW}


@pytest.mark.parametrize(("flag", "on_v3"), [("none", False), ("utaOnly", False), ("both", True)])
def test_a_contract_has_the_flag_it_was_given(exchange: Sandbox, flag: str, on_v3: bool) -> None:
    exchange.list_symbol(NEW, copy_trading=flag)
    assert (NEW in listed(exchange, "v3")) is on_v3
    with make_rest(exchange, profile="v5") as rest:
        (row,) = (each for each in rest.instruments(copy_trading=False) if each.symbol == NEW)
    assert row.copy_trading == flag


@pytest.mark.parametrize("profile", PROFILES)
def test_topics_come_and_go_with_their_contract(
    exchange: Sandbox, profile: str, eventually: Eventually
) -> None:
    heard: list[str] = []
    client = make_client(exchange, profile=profile)
    with client:
        early = client.subscribe(f"orderbook.1.{NEW}", ignore)
        with pytest.raises(SubscriptionError, match="handler not found"):
            early.wait()
        exchange.list_symbol(NEW)
        client.subscribe(f"orderbook.1.{NEW}", lambda message: heard.append(message.topic)).wait()
        assert eventually(lambda: bool(heard))

        exchange.withdraw_symbol(NEW)
        let_pass(exchange, 50)  # what was on its way
        sent = exchange.sent[-1].number
        let_pass(exchange, 200)
        topics = {each.topic for each in exchange.sent_after(sent)}
        assert f"orderbook.1.{NEW}" not in topics

        heard.clear()
        exchange.list_symbol(NEW)  # who has it subscribed gets it again
        assert eventually(lambda: bool(heard))


def test_an_account_can_close_what_it_holds_in_a_withdrawn_contract(exchange: Sandbox) -> None:
    with make_rest(exchange) as rest:
        order = rest.create_order("BTCUSDT", "Buy", "Market", Decimal("0.01"))
        exchange.withdraw_symbol("BTCUSDT")
        rest.close_order("BTCUSDT", parent_order_id=order.order_id)


def test_the_account_begins_nothing_new_in_a_withdrawn_contract() -> None:
    with Sandbox(seed=1, symbols=["BTCUSDT", "ETHUSDT"], speed=0) as exchange:
        exchange.step(20)
        exchange.withdraw_symbol("BTCUSDT")
        before, other = opened(exchange, "BTCUSDT"), opened(exchange, "ETHUSDT")
        assert before > 0
        exchange.step(20)
        assert opened(exchange, "BTCUSDT") == before
        assert opened(exchange, "ETHUSDT") > other
        exchange.list_symbol("BTCUSDT")
        exchange.step(20)
        assert opened(exchange, "BTCUSDT") > before


def opened(exchange: Sandbox, symbol: str) -> int:
    """Return how many orders were made that begin something new."""
    return exchange.call(
        lambda inside: sum(
            order.symbol == symbol and not order.reduce_only for order in inside.account.orders
        )
    )


@pytest.mark.parametrize("symbol", ["BTCUSD", "btcusdt", "", "USDT", 7, None])
def test_what_is_no_contract_cannot_be_listed(exchange: Sandbox, symbol: str) -> None:
    with pytest.raises(ConfigurationError, match="not the name of a USDT perpetual"):
        exchange.list_symbol(symbol)


def test_mistakes_are_named(exchange: Sandbox) -> None:
    with pytest.raises(ConfigurationError, match="'XUSDT' is not traded here"):
        exchange.withdraw_symbol("XUSDT")
    with pytest.raises(ConfigurationError, match="copy_trading"):
        exchange.list_symbol(NEW, copy_trading="maybe")


def test_a_scenario_lists_and_withdraws(exchange: Sandbox, eventually: Eventually) -> None:
    exchange.play(
        [
            Step("list_symbol", at=0.0, symbol=NEW),
            Step("withdraw_symbol", at=0.0, symbol="BTCUSDT"),
        ]
    )
    assert eventually(lambda: listed(exchange, "v5") == {"ETHUSDT", NEW})


@pytest.mark.parametrize(
    "step",
    [
        {"do": "list_symbol", "symbol": "nothing"},
        {"do": "list_symbol", "symbol": NEW, "copy_trading": "maybe"},
        {"do": "list_symbol"},
        {"do": "withdraw_symbol", "symbol": 7},
    ],
)
def test_a_step_that_cannot_work_is_refused(exchange: Sandbox, step: dict[str, object]) -> None:
    do = str(step.pop("do"))
    with pytest.raises(ConfigurationError, match=do):
        exchange.play(Scenario([Step(do, at=0.0, **step)]))
