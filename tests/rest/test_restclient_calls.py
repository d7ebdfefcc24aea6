"""Every call, against the local exchange, with both profiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest
from exchange import PROFILES
from rest_tools import ORDER, make_rest

from bybit_copyws import ConfigurationError, CopyTradingClient, ProtocolError
from bybit_copyws.errors import ApiError, HttpStatusError, RestError
from bybit_copyws.rest import RestClient
from bybit_copyws.sandbox import ForcedReply, Limit, Sandbox

BTC = "BTCUSDT"
EMPTY_LIST = '{"retCode":0,"retMsg":"OK","result":{"list":[]}}'


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    with Sandbox(seed=1, market=False, trading=False) as exchange:
        yield exchange


@pytest.fixture(params=PROFILES)
def rest(request: pytest.FixtureRequest, quiet: Sandbox) -> Iterator[RestClient]:
    with make_rest(quiet, profile=request.param) as client:
        yield client


def create_path(rest: RestClient) -> str:
    return rest._dialect.endpoint("create_order").path


def test_the_time(rest: RestClient, quiet: Sandbox) -> None:
    assert abs(rest.server_time() - quiet.time_ms) < 2000
    assert abs(rest.clock_offset()) < 2.0


def test_the_contracts(rest: RestClient) -> None:
    found = {each.symbol: each for each in rest.instruments()}
    assert set(found) == {"BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT"}
    bitcoin = found[BTC]
    assert (bitcoin.base_coin, bitcoin.quote_coin) == ("BTC", "USDT")
    assert bitcoin.tick_size == Decimal("0.1")
    assert bitcoin.qty_step == bitcoin.min_order_qty == Decimal("0.001")
    assert bitcoin.max_leverage == 100
    assert bitcoin.funding_interval == 480
    assert not {"priceFilter", "lotSizeFilter", "leverageFilter"} & set(bitcoin.extra)


def test_the_tickers(rest: RestClient, quiet: Sandbox) -> None:
    found = {each.symbol: each for each in rest.tickers()}
    assert set(found) == {"BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT"}
    (bitcoin,) = rest.tickers(BTC)
    assert bitcoin.symbol == BTC
    assert bitcoin.bid1_price is not None
    assert bitcoin.ask1_price is not None
    assert bitcoin.bid1_price < bitcoin.ask1_price
    quiet.withdraw_symbol("ETHUSDT")
    assert "ETHUSDT" not in {each.symbol for each in rest.tickers()}
    with pytest.raises(ApiError, match="NOPEUSDT"):
        list(rest.tickers("NOPEUSDT"))


def test_the_life_of_an_order(rest: RestClient) -> None:
    made = rest.create_order(BTC, "Buy", "Limit", Decimal("0.010"), "50000.0", order_link_id="one")
    assert made.order_link_id == "one"
    (listed,) = rest.orders(BTC, order_link_id="one")
    assert (listed.order_id, listed.status) == (made.order_id, "New")
    assert (listed.price, listed.qty) == (50_000, Decimal("0.01"))
    cancelled = rest.cancel_order(BTC, order_link_id="one")
    assert cancelled.order_id == made.order_id
    with pytest.raises(ApiError, match="done") as caught:
        rest.cancel_order(BTC, order_id=made.order_id)
    assert caught.value.ret_code == 110001


def test_a_trade_is_opened_guarded_and_closed(rest: RestClient) -> None:
    opened = rest.create_order(BTC, "Buy", "Market", "0.02")
    (position,) = rest.positions()
    assert (position.symbol, position.size, position.position_idx) == (BTC, Decimal("0.02"), 1)
    if "position_idx" in rest._dialect.endpoint("set_trading_stop").params:
        rest.set_trading_stop(BTC, position_idx=1, take_profit="90000", stop_loss=50_000)
    else:
        rest.set_trading_stop(
            BTC, parent_order_id=opened.order_id, take_profit="90000", stop_loss=50_000
        )
    closed = rest.close_order(BTC, parent_order_id=opened.order_id, order_link_id="close-1")
    assert closed.order_link_id == "close-1"
    assert list(rest.positions()) == []
    fills = list(rest.executions(BTC))
    assert [fill.side for fill in fills] == ["Sell", "Buy"]
    assert {fill.exec_qty for fill in fills} == {Decimal("0.02")}


def test_a_short_position_is_closed(rest: RestClient) -> None:
    rest.create_order(BTC, "Sell", "Market", "0.02")
    rest.create_order(BTC, "Buy", "Market", "0.01")
    assert len(list(rest.positions(BTC))) == 2
    rest.close_position(BTC, 2)
    assert [each.side for each in rest.positions()] == ["Buy"]
    rest.close_position(BTC, 1)
    assert list(rest.positions()) == []


def test_leverage(rest: RestClient) -> None:
    rest.set_leverage(BTC, "20")
    assert {each.leverage for each in rest.positions(BTC)} == {Decimal(20)}
    with pytest.raises(ApiError, match="Nothing would change") as caught:
        rest.set_leverage(BTC, 20, Decimal(20))
    assert caught.value.ret_code == 110043


def test_the_wallet(rest: RestClient) -> None:
    wallet = rest.wallet()
    assert wallet.wallet_balance == wallet.available_balance == 10_000


def test_transfers(rest: RestClient) -> None:
    ours = "UNIFIED" if "account_type" in rest._dialect.endpoint("wallet").params else "COPYTRADE"
    first = rest.transfer("10.5", ours, "FUND")
    assert rest.transfer(1, "FUND", ours, transfer_id="second") == "second"
    found = list(rest.transfers())
    assert [each.transfer_id for each in found] == ["second", first]
    assert found[1].amount == Decimal("10.5")
    (one,) = rest.transfers(transfer_id=first)
    assert (one.status, one.from_account_type) == ("SUCCESS", ours)


@pytest.mark.parametrize("profile", PROFILES)
def test_pages(quiet: Sandbox, profile: str) -> None:
    with make_rest(quiet, profile=profile) as rest:
        for number in range(7):
            rest.create_order(BTC, "Buy", "Market", "0.001", order_link_id=f"n-{number}")
        rows = list(rest.rows("executions", symbol=BTC, limit=2))
        assert [row["orderLinkId"] for row in rows] == [f"n-{n}" for n in range(6, -1, -1)]
        assert len(list(rest.executions(BTC))) == 7
        start = rest.server_time() + 10_000
        assert list(rest.executions(BTC, start_time=start)) == []


def test_orders_that_are_done(quiet: Sandbox) -> None:
    with make_rest(quiet, profile="v5") as rest:
        rest.create_order(BTC, "Buy", "Market", "0.001", order_link_id="done")
        (done,) = rest.order_history(BTC, order_link_id="done")
        assert done.status == "Filled"
        assert list(rest.orders()) == []
    with make_rest(quiet) as rest, pytest.raises(ConfigurationError, match="order_history"):
        rest.order_history()


def test_mistakes_are_told_at_once(rest: RestClient) -> None:
    for mistake in (
        lambda: rest.positions("BTC/USDT"),
        lambda: rest.executions("no symbol"),
        lambda: rest.create_order(BTC, "buy", "Market", 1),
        lambda: rest.create_order(BTC, "Buy", "Market", 0.1),  # type: ignore[arg-type]
        lambda: rest.close_order(BTC),
        lambda: rest.close_position(BTC, 3),
        lambda: rest.cancel_order(BTC),
        lambda: rest.set_trading_stop(BTC, take_profit=1),
        lambda: rest.call("nothing"),
        lambda: rest.rows("positions", colour="red"),
    ):
        with pytest.raises(ConfigurationError):
            mistake()


def test_executions_of_v3_need_a_symbol(shared: Sandbox) -> None:
    with make_rest(shared) as rest, pytest.raises(ConfigurationError, match="symbol"):
        rest.executions()
    with make_rest(shared, profile="v5") as rest:
        assert list(rest.executions()) == []


def test_a_trade_that_is_not_there(quiet: Sandbox) -> None:
    with make_rest(quiet, profile="v5") as rest, pytest.raises(ConfigurationError) as mistake:
        rest.close_order(BTC, parent_order_link_id="nothing")
    assert "no order" in str(mistake.value)
    with make_rest(quiet) as rest, pytest.raises(ApiError) as caught:
        rest.close_order(BTC, parent_order_link_id="nothing")
    assert caught.value.ret_code == 110001


def test_public_calls_need_no_key(shared: Sandbox) -> None:
    with RestClient(environment=shared.environment) as rest:
        assert rest.server_time()
        assert list(rest.instruments())
        with pytest.raises(ConfigurationError, match="api_key"):
            rest.wallet()
        with pytest.raises(ConfigurationError, match="api_key"):
            rest.positions()


def test_tls(eventually: Callable[..., bool]) -> None:
    with Sandbox(market=False, trading=False, tls=True) as exchange:
        with make_rest(exchange, profile="v5") as rest:
            assert rest.wallet().wallet_balance == 10_000
            assert len(list(rest.instruments())) == 5
        with (
            make_rest(exchange, ssl_context=None) as stranger,
            pytest.raises(RestError, match="certificate is not valid") as caught,
        ):
            stranger.server_time()
        assert not caught.value.uncertain


# Refusals, limits, bans


def test_wrong_keys(rest: RestClient, quiet: Sandbox) -> None:
    profile = rest._profile
    for key, secret, code, says in (
        ("SomeOtherKey", quiet.api_secret, 10003, "testnet"),
        (quiet.api_key, "SomeOtherSecret", 10004, "secret"),
    ):
        with RestClient(key, secret, environment=quiet.environment, profile=profile) as other:
            with pytest.raises(ApiError, match=says) as caught:
                other.wallet()
            assert caught.value.ret_code == code
            assert quiet.api_key not in str(caught.value)


def test_a_wrong_clock_is_measured_anew(rest: RestClient) -> None:
    rest.wallet()
    rest._caller._clock._offset_ms += 3_600_000.0
    assert rest.wallet().wallet_balance == 10_000
    assert abs((rest._caller.server_ms() or 0) - rest.server_time()) < 1000


def forced(rest: RestClient, **more: object) -> ForcedReply:
    return ForcedReply(create_path(rest), **more)


@pytest.mark.parametrize("status", [500, 502, 504])
def test_an_order_whose_reply_was_lost_is_found(
    rest: RestClient, quiet: Sandbox, status: int
) -> None:
    quiet.rest_rules.forced.append(forced(rest, status=status, executed=True))
    made = rest.create_order(**ORDER, order_link_id="mine")
    assert made.qty == Decimal("0.01")
    assert made.created_time is not None
    (position,) = rest.positions()
    assert position.size == Decimal("0.01")


def test_an_order_that_did_not_arrive_is_made(rest: RestClient, quiet: Sandbox) -> None:
    quiet.rest_rules.forced.append(forced(rest, status=503, times=2))
    assert rest.create_order(**ORDER, order_link_id="mine").order_link_id == "mine"
    (position,) = rest.positions()
    assert position.size == Decimal("0.01")


def test_an_order_without_an_id_is_not_sent_again(rest: RestClient, quiet: Sandbox) -> None:
    quiet.rest_rules.forced.append(forced(rest, status=502, executed=True, times=None))
    with pytest.raises(HttpStatusError, match="look at the account") as caught:
        rest.create_order(**ORDER)
    assert caught.value.uncertain
    (position,) = rest.positions()
    assert position.size == Decimal("0.01")


def test_a_link_id_that_is_taken_is_a_mistake(rest: RestClient, quiet: Sandbox) -> None:
    rest.create_order(**ORDER, order_link_id="mine")
    with pytest.raises(ApiError, match="order_link_id") as caught:
        rest.create_order(**ORDER, order_link_id="mine")
    assert (caught.value.ret_code, caught.value.uncertain) == (110072, False)


def test_another_order_with_that_id_is_not_taken_for_it(rest: RestClient, quiet: Sandbox) -> None:
    rest.create_order(**{**ORDER, "qty": "0.02"}, order_link_id="mine")
    quiet.rest_rules.forced.append(forced(rest, status=502))
    with pytest.raises(ApiError) as caught:
        rest.create_order(**ORDER, order_link_id="mine")
    assert (caught.value.ret_code, caught.value.uncertain) == (110072, True)


def test_an_older_order_with_that_id_is_not_taken_for_it() -> None:
    with (
        Sandbox(market=False, trading=False, speed=0) as exchange,
        make_rest(exchange, profile="v5") as rest,
    ):
        rest.create_order(**ORDER, order_link_id="mine")
        exchange.step(60.0)
        rest.clock_offset()
        exchange.rest_rules.forced.append(forced(rest, status=502))
        with pytest.raises(ApiError) as caught:
            rest.create_order(**ORDER, order_link_id="mine")
        assert caught.value.ret_code == 110072


def test_an_order_that_cannot_be_looked_up(rest: RestClient, quiet: Sandbox) -> None:
    listing = rest._dialect.endpoint("orders").path
    quiet.rest_rules.forced += [
        forced(rest, status=502, executed=True),
        ForcedReply(listing, ret_code=10001, ret_msg="not now", times=None),
    ]
    with pytest.raises(ApiError, match="look at the account") as caught:
        rest.create_order(**ORDER, order_link_id="mine")
    assert (caught.value.ret_code, caught.value.uncertain) == (110072, True)


def test_an_order_that_is_not_found_was_not_made(rest: RestClient, quiet: Sandbox) -> None:
    quiet.rest_rules.forced += [
        forced(rest, status=502),
        forced(rest, ret_code=110007, ret_msg="ab not enough for new order"),
    ]
    with pytest.raises(ApiError, match="balance") as caught:
        rest.create_order(**ORDER, order_link_id="mine")
    assert caught.value.ret_code == 110007
    assert list(rest.positions()) == []


def test_a_wallet_without_an_account(quiet: Sandbox) -> None:
    with make_rest(quiet, profile="v5") as rest:
        quiet.rest_rules.forced.append(ForcedReply(None, body=EMPTY_LIST, times=None))
        rest._caller._clock.measure(0.0, 0.0, 0.0)
        with pytest.raises(ProtocolError, match="no account"):
            rest.wallet()


def test_a_closing_order_whose_reply_was_lost(quiet: Sandbox) -> None:
    with make_rest(quiet) as rest:
        opened = rest.create_order(**ORDER)
        path = rest._dialect.endpoint("close_order").path
        quiet.rest_rules.forced.append(ForcedReply(path, status=502, executed=True))
        closed = rest.close_order(BTC, parent_order_id=opened.order_id, order_link_id="closing")
        assert (closed.order_link_id, closed.side) == ("closing", "Sell")
        assert list(rest.positions()) == []


def test_a_limit_is_shared_with_others(quiet: Sandbox) -> None:
    """The second client learns of the first one only by the headers, or by a refusal."""
    with make_rest(quiet, profile="v5") as one, make_rest(quiet, profile="v5") as other:
        path = one._dialect.endpoint("wallet").path
        quiet.rest_rules.limits[path] = Limit(3, 1.0)
        for _ in range(3):
            assert one.wallet().wallet_balance == other.wallet().wallet_balance == 10_000


def test_a_limit_that_lasts_too_long(rest: RestClient, quiet: Sandbox) -> None:
    quiet.rest_rules.forced.append(
        ForcedReply(
            rest._dialect.endpoint("wallet").path,
            ret_code=10006,
            ret_msg="Too many visits!",
            headers={"Retry-After": "500"},
        )
    )
    with pytest.raises(ApiError, match="Too many visits!") as caught:
        rest.wallet()
    assert caught.value.retry_after == pytest.approx(500, abs=5)
    with pytest.raises(RestError, match="not sent") as later:
        rest.wallet()
    assert later.value.retry_after == pytest.approx(500, abs=5)
    assert list(rest.positions()) == []  # on v3 and v5 another budget


def test_a_banned_address(rest: RestClient, quiet: Sandbox) -> None:
    rest.server_time()
    quiet.rest_rules.address_limit = Limit(0, 60.0)
    with pytest.raises(HttpStatusError, match="access too frequent") as caught:
        rest.wallet()
    assert caught.value.status == 403
    quiet.rest_rules.address_limit = None
    with pytest.raises(HttpStatusError, match="not sent"):
        rest.server_time()


def test_reads_survive_trouble(rest: RestClient, quiet: Sandbox) -> None:
    path = rest._dialect.endpoint("wallet").path
    quiet.rest_rules.forced += [
        ForcedReply(path, status=502, body="<html>Bad Gateway</html>"),
        ForcedReply(path, body="<html>Maintenance</html>"),
        ForcedReply(path, ret_code=10016, ret_msg="Internal error"),
    ]
    assert rest.wallet().wallet_balance == 10_000


# The client itself


def test_closing(quiet: Sandbox) -> None:
    rest = make_rest(quiet)
    walk = rest.instruments()
    rest.close()
    rest.close()
    with pytest.raises(RestError, match="closed"):
        rest.wallet()
    with pytest.raises(RestError, match="closed"):
        next(walk)


def test_what_it_is_called(rest: RestClient) -> None:
    assert repr(rest) in (
        "RestClient(environment='sandbox', profile='v3')",
        "RestClient(environment='sandbox', profile='v5')",
    )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"connect_timeout": 0}, "connect_timeout"),
        ({"read_timeout": -1}, "read_timeout"),
        ({"total_timeout": "5"}, "total_timeout"),
        ({"recv_window": None}, "recv_window"),
        ({"max_response_size": 0}, "max_response_size"),
        ({"retries": -1}, "retries"),
        ({"retries": True}, "retries"),
        ({"environment": "demo"}, "v5"),
        ({"profile": "v9"}, "v9"),
        ({"proxy": "ftp://x"}, "proxy"),
        ({"api_key": "x"}, "api_secret"),
    ],
)
def test_options_that_cannot_work(options: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        RestClient(**options)  # type: ignore[arg-type]


def test_it_takes_what_the_streams_take(shared: Sandbox) -> None:
    client = CopyTradingClient(shared.api_key, shared.api_secret, environment=shared.environment)
    with RestClient(
        shared.api_key, shared.api_secret, environment=client._environment, profile=client._profile
    ) as rest:
        assert rest.wallet().wallet_balance is not None
