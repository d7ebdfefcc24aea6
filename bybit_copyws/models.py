"""The typed models of everything the exchange pushes, and the parsers that make them.

One class serves both profiles (v3 copy trading and v5), and REST answers where they have the
stream's shape. This module must not know topics, profiles or the wire: the topic table names one
of the parsers below for each topic, and a parser sees a :class:`~bybit_copyws.messages.Message`.

Each model has a field table (:data:`FIELDS`) that says which keys a field is read from. The same
table per profile is in the documentation (``docs/models.rst``); a test keeps the two in step.
"""

# This file is longer than others because a field is a line. It does without "from __future__
# import annotations": the field tables are built from the evaluated annotations.

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from bybit_copyws.fields import (
    FieldTable,
    Level,
    Model,
    ModelT,
    field_table,
    json_array,
    json_object,
    parse_record,
)
from bybit_copyws.messages import Message


class Trade(Model, frozen=True):
    """A public trade (topic ``publicTrade``). Times are in milliseconds, here and below."""

    time: int | None = None
    symbol: str | None = None
    side: str | None = None
    size: Decimal | None = None
    price: Decimal | None = None
    tick_direction: str | None = None
    trade_id: str | None = None
    block_trade: bool | None = None
    sequence: int | None = None
    rpi: bool | None = None


class BookUpdate(Model, frozen=True):
    """One order book message: levels to set, or to remove if their size is zero.

    A side that was not sent is empty. ``type`` is ``"snapshot"`` or ``"delta"``.
    """

    symbol: str | None = None
    type: str | None = None
    bids: tuple[Level, ...] = ()
    asks: tuple[Level, ...] = ()
    update_id: int | None = None
    sequence: int | None = None


class TickerUpdate(Model, frozen=True):
    """One ticker message; a delta carries the changed fields only.

    ``changed`` names the fields that were sent. One that was sent empty is named there and is
    ``None`` here; one that is not named is unchanged.
    """

    symbol: str | None = None
    type: str | None = None
    tick_direction: str | None = None
    last_price: Decimal | None = None
    mark_price: Decimal | None = None
    index_price: Decimal | None = None
    prev_price_24h: Decimal | None = None
    price_24h_pcnt: Decimal | None = None
    high_price_24h: Decimal | None = None
    low_price_24h: Decimal | None = None
    prev_price_1h: Decimal | None = None
    open_interest: Decimal | None = None
    open_interest_value: Decimal | None = None
    turnover_24h: Decimal | None = None
    volume_24h: Decimal | None = None
    funding_rate: Decimal | None = None
    next_funding_time: int | None = None
    funding_interval_hour: Decimal | None = None
    funding_cap: Decimal | None = None
    bid1_price: Decimal | None = None
    bid1_size: Decimal | None = None
    ask1_price: Decimal | None = None
    ask1_size: Decimal | None = None
    pre_open_price: Decimal | None = None
    pre_qty: Decimal | None = None
    cur_pre_listing_phase: str | None = None
    delivery_time: str | None = None  # a date on the stream, milliseconds on REST
    delivery_fee_rate: Decimal | None = None
    predicted_delivery_price: Decimal | None = None
    basis: Decimal | None = None
    basis_rate: Decimal | None = None
    basis_rate_year: Decimal | None = None
    changed: frozenset[str] = frozenset()


class Kline(Model, frozen=True):
    """One candle; ``confirm`` is true once it is final. The same ``start`` comes many times."""

    start: int | None = None
    end: int | None = None
    interval: str | None = None
    open: Decimal | None = None
    high: Decimal | None = None
    low: Decimal | None = None
    close: Decimal | None = None
    volume: Decimal | None = None
    turnover: Decimal | None = None
    confirm: bool | None = None
    timestamp: int | None = None


class Liquidation(Model, frozen=True):
    """A liquidated position (topics ``liquidation`` and ``allLiquidation``)."""

    time: int | None = None
    symbol: str | None = None
    side: str | None = None
    size: Decimal | None = None
    price: Decimal | None = None


class Position(Model, frozen=True):
    """A position of the account; flat is size 0, usually with side ``None``."""

    symbol: str | None = None
    side: str | None = None
    size: Decimal | None = None
    position_idx: int | None = None
    entry_price: Decimal | None = None
    position_value: Decimal | None = None
    leverage: Decimal | None = None
    liq_price: Decimal | None = None
    bust_price: Decimal | None = None
    unrealised_pnl: Decimal | None = None
    cum_realised_pnl: Decimal | None = None
    position_margin: Decimal | None = None
    is_isolated: bool | None = None
    position_status: str | None = None
    sequence: int | None = None
    category: str | None = None
    mark_price: Decimal | None = None
    break_even_price: Decimal | None = None
    session_avg_price: Decimal | None = None
    cur_realised_pnl: Decimal | None = None
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    trailing_stop: Decimal | None = None
    tpsl_mode: str | None = None
    trade_mode: int | None = None
    position_im: Decimal | None = None
    position_mm: Decimal | None = None
    order_margin: Decimal | None = None
    occ_closing_fee: Decimal | None = None
    occ_funding_fee: Decimal | None = None
    free_qty: Decimal | None = None
    risk_id: int | None = None
    risk_limit_value: Decimal | None = None
    adl_rank_indicator: int | None = None
    auto_add_margin: int | None = None
    is_reduce_only: bool | None = None
    created_time: int | None = None
    updated_time: int | None = None


class Order(Model, frozen=True):
    """An order of the account; ``status`` is an open set of words."""

    order_id: str | None = None
    order_link_id: str | None = None
    symbol: str | None = None
    side: str | None = None
    order_type: str | None = None
    price: Decimal | None = None
    qty: Decimal | None = None
    position_idx: int | None = None
    status: str | None = None
    cum_exec_qty: Decimal | None = None
    cum_exec_value: Decimal | None = None
    cum_exec_fee: Decimal | None = None
    last_exec_price: Decimal | None = None
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    tp_trigger_by: str | None = None
    sl_trigger_by: str | None = None
    created_time: int | None = None
    updated_time: int | None = None
    category: str | None = None
    time_in_force: str | None = None
    avg_price: Decimal | None = None
    leaves_qty: Decimal | None = None
    leaves_value: Decimal | None = None
    reduce_only: bool | None = None
    close_on_trigger: bool | None = None
    stop_order_type: str | None = None
    trigger_price: Decimal | None = None
    trigger_direction: int | None = None
    trigger_by: str | None = None
    tpsl_mode: str | None = None
    tp_limit_price: Decimal | None = None
    sl_limit_price: Decimal | None = None
    cancel_type: str | None = None
    reject_reason: str | None = None
    closed_pnl: Decimal | None = None
    fee_currency: str | None = None
    last_price_on_created: Decimal | None = None
    create_type: str | None = None
    place_type: str | None = None
    order_iv: Decimal | None = None
    block_trade_id: str | None = None
    smp_type: str | None = None
    smp_group: int | None = None
    smp_order_id: str | None = None
    leverage: Decimal | None = None
    is_isolated: bool | None = None


class Execution(Model, frozen=True):
    """A fill of one of the account's orders, or (v5) a funding payment."""

    exec_id: str | None = None
    order_id: str | None = None
    order_link_id: str | None = None
    symbol: str | None = None
    side: str | None = None
    exec_price: Decimal | None = None
    exec_qty: Decimal | None = None
    exec_fee: Decimal | None = None
    exec_type: str | None = None
    order_qty: Decimal | None = None
    exec_time: int | None = None
    category: str | None = None
    exec_value: Decimal | None = None
    exec_pnl: Decimal | None = None
    fee_rate: Decimal | None = None
    fee_currency: str | None = None
    is_maker: bool | None = None
    last_liquidity_ind: str | None = None
    order_price: Decimal | None = None
    order_type: str | None = None
    stop_order_type: str | None = None
    create_type: str | None = None
    leaves_qty: Decimal | None = None
    closed_size: Decimal | None = None
    mark_price: Decimal | None = None
    index_price: Decimal | None = None
    underlying_price: Decimal | None = None
    trade_iv: Decimal | None = None
    mark_iv: Decimal | None = None
    block_trade_id: str | None = None
    sequence: int | None = None


class CoinBalance(Model, frozen=True):
    """One coin of a v5 account, in units of the coin."""

    coin: str | None = None
    wallet_balance: Decimal | None = None
    equity: Decimal | None = None
    usd_value: Decimal | None = None
    unrealised_pnl: Decimal | None = None
    cum_realised_pnl: Decimal | None = None
    available_to_withdraw: Decimal | None = None
    available_to_borrow: Decimal | None = None
    borrow_amount: Decimal | None = None
    accrued_interest: Decimal | None = None
    total_order_im: Decimal | None = None
    total_position_im: Decimal | None = None
    total_position_mm: Decimal | None = None
    bonus: Decimal | None = None
    locked: Decimal | None = None
    free: Decimal | None = None
    collateral_switch: bool | None = None
    margin_collateral: bool | None = None
    spot_hedging_qty: Decimal | None = None
    spot_borrow: Decimal | None = None


class Wallet(Model, frozen=True):
    """The balance of one account: v3 in USDT, v5 in US dollars with its ``coins``."""

    wallet_balance: Decimal | None = None
    available_balance: Decimal | None = None
    equity: Decimal | None = None
    unrealised_pnl: Decimal | None = None
    realised_pnl: Decimal | None = None
    cum_realised_pnl: Decimal | None = None
    used_margin: Decimal | None = None
    order_margin: Decimal | None = None
    position_margin: Decimal | None = None
    coin: str | None = None
    account_type: str | None = None
    total_margin_balance: Decimal | None = None
    total_initial_margin: Decimal | None = None
    total_maintenance_margin: Decimal | None = None
    account_im_rate: Decimal | None = None
    account_mm_rate: Decimal | None = None
    account_ltv: Decimal | None = None
    coins: tuple[CoinBalance, ...] = ()


FIELDS: Mapping[type[Model], FieldTable] = {
    Trade: field_table(
        Trade,
        time=("T", "time"),
        symbol=("s", "symbol"),
        side=("S", "side"),
        size=("v", "size"),
        price=("p", "price"),
        tick_direction=("L",),
        trade_id=("i", "execId"),
        block_trade=("BT", "isBlockTrade"),
        sequence=("seq",),
        rpi=("RPI", "isRPITrade"),
    ),
    BookUpdate: field_table(
        BookUpdate,
        symbol=("s",),
        type=(),
        bids=("b",),
        asks=("a",),
        update_id=("u",),
        sequence=("seq",),
    ),
    TickerUpdate: field_table(TickerUpdate, type=(), changed=()),
    Kline: field_table(Kline),
    Liquidation: field_table(
        Liquidation,
        time=("updatedTime", "T"),
        symbol=("symbol", "s"),
        side=("side", "S"),
        size=("size", "v"),
        price=("price", "p"),
    ),
    Position: field_table(
        Position,
        entry_price=("entryPrice", "avgPrice"),
        # v5 has no positionMargin. Of its two candidates the exchange describes positionBalance
        # in the words that v3 used for positionMargin ("position margin": with what was added to
        # an isolated position); positionIM is the initial margin and has a field of its own.
        position_margin=("positionMargin", "positionBalance"),
        position_im=("positionIM",),
        position_mm=("positionMM",),
        is_isolated=("isIsolated", "isolated"),  # v3's table names one, its sample the other
        sequence=("seq", "positionSeq"),
    ),
    Order: field_table(
        Order,
        status=("orderStatus", "copyTradeOrderStatus"),
        created_time=("createdTime", "createTime"),
        updated_time=("updatedTime", "updateTime"),
    ),
    Execution: field_table(
        Execution,
        exec_price=("execPrice", "price"),
        exec_time=("execTime", "tradeTime"),
        sequence=("seq",),
    ),
    CoinBalance: field_table(
        CoinBalance,
        total_order_im=("totalOrderIM",),
        total_position_im=("totalPositionIM",),
        total_position_mm=("totalPositionMM",),
    ),
    Wallet: field_table(
        Wallet,
        wallet_balance=("walletBalance", "totalWalletBalance"),
        available_balance=("availableBalance", "totalAvailableBalance"),
        equity=("equity", "totalEquity"),
        unrealised_pnl=("unrealisedPnl", "totalPerpUPL"),
        account_im_rate=("accountIMRate",),
        account_mm_rate=("accountMMRate",),
        account_ltv=("accountLTV",),
        coins=(),
    ),
}
"""The field table of every model: which keys each field is read from, and how."""


def parse_trades(message: Message) -> tuple[Trade, ...]:
    """Parse a ``publicTrade`` message."""
    return _records(message, Trade)


def parse_book(message: Message) -> BookUpdate:
    """Parse an ``orderbook`` message."""
    return parse_record(
        message.topic, BookUpdate, FIELDS[BookUpdate], message.data, type=message.type
    )


def parse_ticker(message: Message) -> TickerUpdate:
    """Parse a ``tickers`` message."""
    table = FIELDS[TickerUpdate]
    sent = json_object(message.topic, "TickerUpdate", message.data)
    changed = frozenset(field.name for field in table if any(key in sent for key in field.keys))
    return parse_record(
        message.topic, TickerUpdate, table, sent, type=message.type, changed=changed
    )


def parse_klines(message: Message) -> tuple[Kline, ...]:
    """Parse a ``kline`` message."""
    return _records(message, Kline)


def parse_liquidations(message: Message) -> tuple[Liquidation, ...]:
    """Parse a ``liquidation`` (v3) or ``allLiquidation`` (v5) message."""
    return _records(message, Liquidation)


def parse_positions(message: Message) -> tuple[Position, ...]:
    """Parse a ``copyTradePosition`` (v3) or ``position`` (v5) message."""
    return _records(message, Position)


def parse_orders(message: Message) -> tuple[Order, ...]:
    """Parse a ``copyTradeOrder`` (v3) or ``order`` (v5) message."""
    return _records(message, Order)


def parse_executions(message: Message) -> tuple[Execution, ...]:
    """Parse a ``copyTradeExecution`` (v3), ``execution`` or ``execution.fast`` (v5) message."""
    return _records(message, Execution)


def parse_wallet(message: Message) -> tuple[Wallet, ...]:
    """Parse a ``copyTradeWallet`` (v3: one object) or ``wallet`` (v5: an array) message."""
    if isinstance(message.data, dict):
        return _records(message, Wallet)
    accounts = json_array(message.topic, "data", message.data)
    return tuple([_account(message.topic, account) for account in accounts])


def _account(topic: str, record: Any) -> Wallet:
    """Make a v5 wallet: its key ``coin`` holds the coins, where v3's REST has a coin's name."""
    rest = dict(json_object(topic, "Wallet", record))
    sent = rest.pop("coin", ())
    sent = () if sent is None or sent == "" else json_array(topic, "Wallet.coins", sent)
    coins = tuple([parse_record(topic, CoinBalance, FIELDS[CoinBalance], coin) for coin in sent])
    return parse_record(topic, Wallet, FIELDS[Wallet], rest, coins=coins)


def _records(message: Message, model: type[ModelT]) -> tuple[ModelT, ...]:
    """Make one model per record; an object counts as an array of one, as v3 liquidations do."""
    data = message.data
    records = [data] if isinstance(data, dict) else json_array(message.topic, "data", data)
    table = FIELDS[model]
    return tuple([parse_record(message.topic, model, table, record) for record in records])
