"""The calls that make and end orders, and what recognises an order that was made already."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from bybit_copyws.errors import ApiError, BybitCopyWSError, ConfigurationError
from bybit_copyws.models import Order, parse_orders
from bybit_copyws.rest.account import AccountCalls
from bybit_copyws.rest.calls import as_message
from bybit_copyws.rest.params import Number, number

_BUY, _SELL = "Buy", "Sell"
_LONG, _SHORT = 1, 2
_TOLERANCE_MS = 1000  # by which the exchange's clock may be known wrongly


class OrderCalls(AccountCalls):
    """Orders. None is sent twice, except with an ``order_link_id`` that makes it recognisable."""

    def create_order(
        self,
        symbol: str,
        side: str,
        order_type: str,
        qty: Number,
        price: Number | None = None,
        *,
        order_link_id: str | None = None,
        take_profit: Number | None = None,
        stop_loss: Number | None = None,
        tp_trigger_by: str | None = None,
        sl_trigger_by: str | None = None,
        **more: Any,
    ) -> Order:
        """Place an order ("Create Copy Trade Order", v5: "Place Order").

        With an ``order_link_id`` it is sent again after trouble. If the exchange then says that it
        has that order, or refuses for what the first one has changed, the order is looked up and
        returned.

        Args:
            symbol: such as ``"BTCUSDT"``.
            side: ``"Buy"`` or ``"Sell"``.
            order_type: ``"Market"`` or ``"Limit"``.
            qty: size.
            price: of a limit order.
            order_link_id: an own id, up to 36 letters, digits, dashes and underscores; a new one
                for each order.
            take_profit: price.
            stop_loss: price.
            tp_trigger_by: ``"LastPrice"``, ``"MarkPrice"`` or ``"IndexPrice"``.
            sl_trigger_by: the same.
            more: v5 only: ``position_idx`` (by default that of hedge mode, in which leaders trade:
                1 for long, 2 for short; 0 in one-way mode), ``time_in_force``, ``reduce_only``,
                ``close_on_trigger``, ``trigger_price``, ``trigger_by``, ``trigger_direction``,
                ``tpsl_mode``.

        Returns:
            The order with its ids; the whole of it if it was looked up.

        Raises:
            ConfigurationError: an argument is malformed or unknown to the profile; nothing is sent.
            RestError: the call failed; ``uncertain`` tells whether there may be an order.
        """
        params = {
            "symbol": symbol,
            "side": side,
            "order_type": order_type,
            "qty": qty,
            "price": price,
            "order_link_id": order_link_id,
            "take_profit": take_profit,
            "stop_loss": stop_loss,
            "tp_trigger_by": tp_trigger_by,
            "sl_trigger_by": sl_trigger_by,
            **more,
        }
        if side not in (_BUY, _SELL):
            raise ConfigurationError(f"side must be 'Buy' or 'Sell', not {side!r}")
        if "position_idx" in self._dialect.endpoint("create_order").needs:
            opens_long = (side == _BUY) != bool(more.get("reduce_only"))
            params.setdefault("position_idx", _LONG if opens_long else _SHORT)
        like = {"symbol": symbol, "side": side, "qty": Decimal(number("qty", qty))}
        return self._make_order("create_order", params, like)

    def cancel_order(
        self, symbol: str, *, order_id: str | None = None, order_link_id: str | None = None
    ) -> Order:
        """Cancel what is left of an order ("Cancel Order").

        Args:
            symbol: of the order.
            order_id: which one, by the exchange's id...
            order_link_id: ...or by the user's own.

        Returns:
            The order with its ids.

        Raises:
            ConfigurationError: an argument is malformed or missing; nothing is sent.
            RestError: the call failed.
        """
        ids = {"order_id": order_id, "order_link_id": order_link_id}
        return _order(self.call("cancel_order", symbol=symbol, **ids))

    def close_order(
        self,
        symbol: str,
        *,
        parent_order_id: str | None = None,
        parent_order_link_id: str | None = None,
        order_link_id: str | None = None,
    ) -> Order:
        """Close one copy trade by a market order (v3: "Close Order").

        v5 knows no copy trades, only positions: there the opening order is looked up, and what it
        has filled is taken off the position. What was closed of it before is not known, so give
        it once.

        Args:
            symbol: of the order.
            parent_order_id: the opening order, by the exchange's id...
            parent_order_link_id: ...or by the user's own.
            order_link_id: an own id for the closing order; see :meth:`create_order`.

        Returns:
            The closing order with its ids.

        Raises:
            ConfigurationError: an argument is malformed or missing, or there is no such opening
                order (v5); nothing is sent.
            RestError: the call failed; ``uncertain`` tells whether there may be an order.
        """
        if "close_order" in self._dialect.endpoints:
            params = {
                "symbol": symbol,
                "parent_order_id": parent_order_id,
                "parent_order_link_id": parent_order_link_id,
                "order_link_id": order_link_id,
            }
            return self._make_order("close_order", params, {"symbol": symbol})
        if parent_order_id is None and parent_order_link_id is None:
            raise ConfigurationError("close_order needs parent_order_id or parent_order_link_id")
        parent = self._find(symbol, parent_order_id, parent_order_link_id)
        if parent is None or not parent.cum_exec_qty:
            raise ConfigurationError(
                f"there is no order of {symbol} with that id that has filled anything"
            )
        return self.create_order(
            symbol,
            _SELL if parent.side == _BUY else _BUY,
            "Market",
            parent.cum_exec_qty,
            order_link_id=order_link_id,
            position_idx=parent.position_idx,
            reduce_only=True,
        )

    # Orders that may be there already

    def _make_order(self, name: str, params: dict[str, Any], like: dict[str, Any]) -> Order:
        """Make an order, or find the one that an attempt without a reply has made."""
        if params["order_link_id"] is not None and self._caller.server_ms() is None:
            self._caller.measure_clock()
        began_ms = self._caller.server_ms() or 0
        try:
            return _order(self.call(name, **params))
        except ApiError as error:
            if not (error.uncertain and params["order_link_id"]):
                raise
            made = self._find_made(params["order_link_id"], like, began_ms)
            if made is None:
                raise
            return made

    def _find_made(self, order_link_id: str, like: dict[str, Any], began_ms: int) -> Order | None:
        """Return the order that was just made: not an older one with the same id."""
        try:
            found = self._find(like["symbol"], None, order_link_id)
        except BybitCopyWSError:
            return None  # the refusal says more
        if found is None or found.order_link_id != order_link_id:
            return None
        if any(getattr(found, name) != value for name, value in like.items()):
            return None
        return found if (found.created_time or 0) >= began_ms - _TOLERANCE_MS else None

    def _find(self, symbol: str, order_id: str | None, order_link_id: str | None) -> Order | None:
        found = next(self.orders(symbol, order_id=order_id, order_link_id=order_link_id), None)
        if found is None and "order_history" in self._dialect.endpoints:
            history = self.order_history(symbol, order_id=order_id, order_link_id=order_link_id)
            found = next(history, None)
        return found


def _order(result: Any) -> Order:
    return parse_orders(as_message("order", result))[0]
