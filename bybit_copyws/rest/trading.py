"""The calls that change something about positions and balances.

None of them is sent twice; an error's ``uncertain`` says whether the exchange may have carried one
out all the same.
"""

from __future__ import annotations

import uuid

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.rest.orders import OrderCalls
from bybit_copyws.rest.params import Number

_CLOSING_SIDES = {1: "Sell", 2: "Buy"}
"""By the index of the position."""


class TradingCalls(OrderCalls):
    """Positions, leverage, transfers."""

    def close_position(self, symbol: str, position_idx: int) -> None:
        """Close all of a position by a market order (v3: "Close Position").

        Args:
            symbol: of the position.
            position_idx: 1 for the long one, 2 for the short one.

        Raises:
            ConfigurationError: an argument is malformed; nothing is sent.
            RestError: the call failed.
        """
        if position_idx not in _CLOSING_SIDES:
            raise ConfigurationError(f"position_idx must be 1 or 2, not {position_idx!r}")
        if "close_position" in self._dialect.endpoints:
            self.call("close_position", symbol=symbol, position_idx=position_idx)
            return
        # v5, "Place Order": size 0 with both flags closes all of a position.
        self.call(
            "create_order",
            symbol=symbol,
            side=_CLOSING_SIDES[position_idx],
            order_type="Market",
            qty=0,
            position_idx=position_idx,
            reduce_only=True,
            close_on_trigger=True,
        )

    def set_trading_stop(
        self,
        symbol: str,
        *,
        parent_order_id: str | None = None,
        parent_order_link_id: str | None = None,
        position_idx: int | None = None,
        take_profit: Number | None = None,
        stop_loss: Number | None = None,
        tp_trigger_by: str | None = None,
        sl_trigger_by: str | None = None,
    ) -> None:
        """Set take profit and stop loss: of a copy trade on v3, of a position on v5.

        Pages "Set Trading Stop".

        Args:
            symbol: of the trade or position.
            parent_order_id: v3: the opening order, by the exchange's id...
            parent_order_link_id: ...or by the user's own.
            position_idx: v5: 1 for the long position, 2 for the short one, 0 in one-way mode.
            take_profit: price; 0 takes it away, ``None`` leaves it.
            stop_loss: the same.
            tp_trigger_by: ``"LastPrice"``, ``"MarkPrice"`` or ``"IndexPrice"``.
            sl_trigger_by: the same.

        Raises:
            ConfigurationError: an argument is malformed, missing or unknown to the profile; nothing
                is sent.
            RestError: the call failed.
        """
        self.call(
            "set_trading_stop",
            symbol=symbol,
            parent_order_id=parent_order_id,
            parent_order_link_id=parent_order_link_id,
            position_idx=position_idx,
            take_profit=take_profit,
            stop_loss=stop_loss,
            tp_trigger_by=tp_trigger_by,
            sl_trigger_by=sl_trigger_by,
        )

    def set_leverage(
        self, symbol: str, buy_leverage: Number, sell_leverage: Number | None = None
    ) -> None:
        """Set the leverage of a symbol ("Set Leverage").

        Args:
            symbol: which.
            buy_leverage: of the long side.
            sell_leverage: of the short side; the same if not given.

        Raises:
            ConfigurationError: an argument is malformed; nothing is sent.
            ApiError: among others with 110043: it is that already.
            RestError: the call failed otherwise.
        """
        sell = buy_leverage if sell_leverage is None else sell_leverage
        self.call("set_leverage", symbol=symbol, buy_leverage=buy_leverage, sell_leverage=sell)

    def transfer(
        self,
        amount: Number,
        from_account_type: str,
        to_account_type: str,
        *,
        coin: str = "USDT",
        transfer_id: str | None = None,
    ) -> str:
        """Transfer between two accounts of the user ("Create Internal Transfer").

        Args:
            amount: how much.
            from_account_type: such as ``"COPYTRADE"`` (v3), ``"UNIFIED"`` or ``"FUND"``.
            to_account_type: the same.
            coin: of what.
            transfer_id: a UUID, by which :meth:`transfers` finds it; made if not given.

        Returns:
            The id.

        Raises:
            ConfigurationError: an argument is malformed; nothing is sent.
            RestError: the call failed; ``uncertain`` tells whether there may be a transfer.
        """
        chosen = transfer_id or str(uuid.uuid4())
        self.call(
            "transfer",
            transfer_id=chosen,
            coin=coin,
            amount=amount,
            from_account_type=from_account_type,
            to_account_type=to_account_type,
        )
        return chosen
