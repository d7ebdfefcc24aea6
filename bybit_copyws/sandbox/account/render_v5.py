"""Envelopes, positions and money in the words of v5 (linear): stream messages and REST lists.

Only names and number formats. What an isolated USDT account cannot have (options, borrowing, other
coins) is empty.
"""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

from .model import ZERO, Change, Execution, Order, Position, Transfer, Wallet
from .numbers import as_is, optional, plain
from .render_v5_orders import pushed_execution, pushed_fast, pushed_order
from .wallet import (
    bust_price,
    liq_price,
    maintenance_margin,
    occ_closing_fee,
    position_margin,
    position_value,
    unrealised_pnl,
)


def render_push(change: Change, now_ms: int) -> dict[str, Any] | None:
    """Return the message of the private stream, or ``None`` if v5 does not push this."""
    if change.only not in ("", "v5"):
        return None
    state = change.state
    if isinstance(state, Execution):
        return {
            "topic": "execution",
            "id": f"{change.sequence}_{state.symbol}_{state.sequence}",
            "creationTime": now_ms,
            "data": [pushed_execution(state)],
        }
    message: dict[str, Any] = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{change.sequence} {now_ms}")),
        "topic": change.kind,
        "creationTime": now_ms,
    }
    if isinstance(state, Order):
        message["data"] = [pushed_order(state)]
    elif isinstance(state, Position):
        message["data"] = [_pushed_position(state)]
    else:
        message["data"] = [render_wallet(state)]
    return message


def render_fast_push(change: Change, now_ms: int) -> dict[str, Any] | None:
    """Return the ``execution.fast`` message, or ``None`` if the change is no trade."""
    state = change.state
    if not isinstance(state, Execution) or state.exec_type == "Funding":
        return None
    # This envelope has no id.
    return {"topic": "execution.fast", "creationTime": now_ms, "data": [pushed_fast(state)]}


def _position(position: Position) -> dict[str, Any]:
    """Return what stream and REST have in common."""
    fee = occ_closing_fee(position)
    margin = plain(position_margin(position) + fee)
    minimum = plain(maintenance_margin(position) + fee)
    guard = position.protection
    return {
        "positionIdx": position.position_idx,
        # Always 0 on a unified account, isolated or not.
        "tradeMode": 0,
        "riskId": 1,
        "riskLimitValue": "2000000",
        "symbol": position.symbol,
        "side": position.side if position.size else "",
        "size": plain(position.size),
        "leverage": plain(position.leverage),
        "breakEvenPrice": plain(_break_even(position)),
        "positionValue": plain(position_value(position)),
        "positionBalance": margin,
        "markPrice": as_is(position.mark_price),
        "positionIM": margin,
        "positionIMByMp": margin,
        "positionMM": minimum,
        "positionMMByMp": minimum,
        "takeProfit": plain(guard.take_profit),
        "stopLoss": plain(guard.stop_loss),
        "trailingStop": "0",
        "unrealisedPnl": plain(unrealised_pnl(position)),
        "curRealisedPnl": plain(position.cur_realised_pnl),
        "cumRealisedPnl": plain(position.cum_realised_pnl),
        "createdTime": str(position.created_time),
        "updatedTime": str(position.updated_time),
        "tpslMode": "Full",
        "liqPrice": optional(liq_price(position)),
        "bustPrice": optional(bust_price(position)),
        "positionStatus": position.status,
        "adlRankIndicator": 2 if position.size else 0,
        "autoAddMargin": 0,
        "leverageSysUpdatedTime": "",
        "seq": position.sequence,
        "isReduceOnly": False,
    }


def _break_even(position: Position) -> Decimal:
    """Return the price at which a gain pays for opening and closing as a taker."""
    paid = position.taker_fee * position.direction
    price = position.entry_price * (1 + paid) / (1 - paid)
    return price.quantize(Decimal("0.00000001"))


def _pushed_position(position: Position) -> dict[str, Any]:
    return {
        **_position(position),
        "category": "linear",
        "entryPrice": plain(position.entry_price),
        "sessionAvgPrice": "0",
        "mmrSysUpdatedTime": "",
    }


def render_position(position: Position) -> dict[str, Any]:
    """Return one entry of the position list, which has other names for entry price and mmr time."""
    return {
        **_position(position),
        "avgPrice": plain(position.entry_price),
        "sessionAvgPrice": "",
        "mmrSysUpdateTime": "",
    }


def render_wallet(wallet: Wallet) -> dict[str, Any]:
    """Return the account of the wallet balance, on the stream and over REST alike."""
    initial, maintenance = wallet.used_margin, wallet.maintenance_margin
    initial_rate, maintenance_rate = _rate(initial, wallet), _rate(maintenance, wallet)
    return {
        "accountType": "UNIFIED",
        "accountLTV": "0",
        "accountIMRate": initial_rate,
        "accountIMRateByMp": initial_rate,
        "accountMMRate": maintenance_rate,
        "accountMMRateByMp": maintenance_rate,
        "totalEquity": plain(wallet.equity),
        "totalWalletBalance": plain(wallet.wallet_balance),
        "totalMarginBalance": plain(wallet.equity),
        "totalAvailableBalance": plain(wallet.available_balance),
        "totalPerpUPL": plain(wallet.unrealised_pnl),
        "totalInitialMargin": plain(initial),
        "totalInitialMarginByMp": plain(initial),
        "totalMaintenanceMargin": plain(maintenance),
        "totalMaintenanceMarginByMp": plain(maintenance),
        "coin": [_coin(wallet)],
    }


def _rate(margin: Decimal, wallet: Wallet) -> str:
    if wallet.equity <= ZERO:
        return "0"
    return plain((margin / wallet.equity).quantize(Decimal("0.0001")))


def _coin(wallet: Wallet) -> dict[str, Any]:
    return {
        "coin": "USDT",
        "equity": plain(wallet.equity),
        "usdValue": plain(wallet.equity),
        "walletBalance": plain(wallet.wallet_balance),
        "availableToWithdraw": plain(wallet.available_balance),
        "availableToBorrow": "",
        "borrowAmount": "0",
        "accruedInterest": "0",
        "totalOrderIM": plain(wallet.order_margin),
        "totalPositionIM": plain(wallet.position_margin),
        "totalPositionMM": plain(wallet.maintenance_margin),
        "unrealisedPnl": plain(wallet.unrealised_pnl),
        "cumRealisedPnl": plain(wallet.cum_realised_pnl),
        "bonus": "0",
        "collateralSwitch": True,
        "marginCollateral": True,
        "locked": "0",
        "spotHedgingQty": "0",
        "spotBorrow": "0",
    }


def render_transfer(transfer: Transfer) -> dict[str, Any]:
    """Return one entry of the transfer list."""
    return {
        "transferId": transfer.transfer_id,
        "coin": transfer.coin,
        "amount": plain(transfer.amount),
        "fromAccountType": transfer.from_account,
        "toAccountType": transfer.to_account,
        "timestamp": str(transfer.timestamp),
        "status": "SUCCESS",
    }
