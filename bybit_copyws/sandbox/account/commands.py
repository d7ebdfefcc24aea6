"""The commands of the account: what a leader can ask for.

Checks the input, then sets engine and closer to work. Knows no wire format.
"""

from __future__ import annotations

from dataclasses import replace

from . import checks
from .books import Books
from .checks import Number
from .closing import Closer
from .engine import Engine
from .model import ZERO, Order, Position, Refused, Transfer
from .placing import Asked, OrderRequest, amended, build_order
from .wallet import money

_NOTHING_OPEN = "current position is zero, cannot fix reduce-only order qty"


class Commands:
    """What a leader can do with the books.

    Args:
        books: The books of the account.
    """

    def __init__(self, books: Books) -> None:
        self._books = books
        self._engine = Engine(books)
        self._closer = Closer(books, self._engine)

    # Long by its words alone: it only hands them on.
    def create_order(
        self,
        symbol: str,
        side: str,
        order_type: str,
        qty: Number,
        price: Number | None = None,
        *,
        now_ms: int,
        order_link_id: str = "",
        position_idx: int | None = None,
        take_profit: Number | None = None,
        stop_loss: Number | None = None,
        tp_trigger_by: str = "",
        sl_trigger_by: str = "",
        tpsl_mode: str = "Partial",
        reduce_only: bool = False,
        time_in_force: str = "",
        trigger_price: Number | None = None,
        trigger_by: str = "",
        trigger_direction: int = 0,
    ) -> tuple[str, str]:
        """Place an order: opening (the parent of a copy trade), or closing a part of a position.

        Args:
            symbol: A USDT perpetual.
            side: ``Buy`` or ``Sell``.
            order_type: ``Market`` or ``Limit``.
            qty: Size, a multiple of the step.
            price: For a limit order.
            order_link_id: The user's own id, up to 36 characters.
            now_ms: The time.
            position_idx: 1 (Buy side) or 2 (Sell side); by default from the side.
            take_profit: Take profit price.
            stop_loss: Stop loss price.
            tp_trigger_by: ``LastPrice``, ``MarkPrice`` or ``IndexPrice``.
            sl_trigger_by: The same.
            tpsl_mode: ``Partial``: they belong to this copy trade (v3). ``Full``: to the position,
                from the first fill on (v5).
            reduce_only: Close only; without ``position_idx``, the position of the other side.
            time_in_force: ``GTC``, ``IOC``, ``FOK``, ``PostOnly``, or the long v3 words.
            trigger_price: Makes it a conditional order.
            trigger_by: The price that triggers it.
            trigger_direction: 1 if it triggers by a rise, 2 by a fall; by default from the last
                price.

        Returns:
            The order id and the link id.

        Raises:
            Refused: The input is bad or the balance too small.
        """
        request = OrderRequest(
            symbol=symbol,
            side=side,
            order_type=order_type,
            qty=qty,
            price=price,
            order_link_id=order_link_id,
            position_idx=position_idx,
            take_profit=take_profit,
            stop_loss=stop_loss,
            tp_trigger_by=tp_trigger_by,
            sl_trigger_by=sl_trigger_by,
            tpsl_mode=tpsl_mode,
            reduce_only=reduce_only,
            time_in_force=time_in_force,
            trigger_price=trigger_price,
            trigger_by=trigger_by,
            trigger_direction=trigger_direction,
        )
        order = build_order(self._books, request, now_ms)
        self._engine.place(order, now_ms)
        return order.order_id, order.order_link_id

    def cancel_order(
        self, *, now_ms: int, order_id: str = "", order_link_id: str = "", symbol: str = ""
    ) -> tuple[str, str]:
        """Cancel what is left of an order.

        Returns:
            The order id and the link id.

        Raises:
            Refused: 110001, there is no such order, or it is done.
        """
        order = checks.known(self._books, order_id, order_link_id, symbol)
        if not order.live:
            raise Refused(110001, checks.NOT_FOUND)
        self._engine.end(order, now_ms, cancel_type="CancelByUser")
        return order.order_id, order.order_link_id

    def close_order(
        self,
        *,
        now_ms: int,
        parent_order_id: str = "",
        parent_order_link_id: str = "",
        order_link_id: str = "",
        symbol: str = "",
    ) -> tuple[str, str]:
        """Close one opened copy trade by a market order of the other side (v3).

        Args:
            now_ms: The time.
            parent_order_id: The opening order, by its id...
            parent_order_link_id: ...or by its link id.
            order_link_id: The user's own id for the closing order.
            symbol: If given, the symbol the order must have.

        Returns:
            The id and link id of the closing order.

        Raises:
            Refused: 110001, no such opening order; 110017, nothing of it is open.
        """
        parent = checks.known(self._books, parent_order_id, parent_order_link_id, symbol)
        link = checks.link_id(self._books, order_link_id)
        order_id = self._closer.close_parent(parent, now_ms, order_link_id=link)
        if not order_id:
            raise Refused(110017, _NOTHING_OPEN)
        return order_id, link

    def close_position(self, symbol: str, position_idx: int, *, now_ms: int) -> str:
        """Close all of a position by one market order.

        Returns:
            The id of the closing order.

        Raises:
            Refused: 10001, unknown symbol or index; 110017, there is no position.
        """
        position = self._side_of(symbol, position_idx, now_ms)
        if not position.size:
            raise Refused(110017, _NOTHING_OPEN)
        return self._closer.close_position(position, now_ms)

    def _side_of(self, symbol: str, position_idx: int | None, now_ms: int) -> Position:
        if position_idx not in (1, 2):
            raise Refused(10001, "position idx not match position mode")
        return self._books.position(symbol, position_idx, now_ms)

    def set_trading_stop(
        self,
        symbol: str,
        *,
        now_ms: int,
        parent_order_id: str = "",
        parent_order_link_id: str = "",
        position_idx: int | None = None,
        take_profit: Number | None = None,
        stop_loss: Number | None = None,
        tp_trigger_by: str = "",
        sl_trigger_by: str = "",
    ) -> None:
        """Set take profit and stop loss.

        Of one copy trade where its order is named (v3), else of a position (v5). A price of
        ``None`` (or an empty string) stays as it was, zero takes it away.

        Raises:
            Refused: 110001, no such trade; 10001, no such position, or a price would fire at once;
                34040, nothing changes.
        """
        asked = (take_profit, stop_loss, tp_trigger_by, sl_trigger_by)
        if parent_order_id or parent_order_link_id:
            parent = checks.known(self._books, parent_order_id, parent_order_link_id, symbol)
            self._protect_trade(parent, asked, now_ms)
        else:
            self._protect_position(self._side_of(symbol, position_idx, now_ms), asked, now_ms)

    def _protect_trade(self, parent: Order, asked: Asked, now_ms: int) -> None:
        if not (parent.opens and (parent.live or parent.open_qty)):
            raise Refused(110001, checks.NOT_FOUND)
        rules = self._books.instrument(parent.symbol)
        # What is not opened yet will be opened at its own price.
        last = self._books.market.last_price(parent.symbol)
        base = last if parent.open_qty else parent.price
        wanted = amended(rules, parent.protection, asked, parent.side, base)
        self._books.put_order(replace(parent, protection=wanted, tpsl_mode="Partial"), now_ms)

    def _protect_position(self, position: Position, asked: Asked, now_ms: int) -> None:
        if not position.size:
            raise Refused(10001, "can not set tp/sl/ts for zero position")
        rules = self._books.instrument(position.symbol)
        last = self._books.market.last_price(position.symbol)
        wanted = amended(rules, position.protection, asked, position.side, last)
        self._books.put_position(replace(position, protection=wanted), now_ms)

    def set_leverage(
        self, symbol: str, buy_leverage: Number, sell_leverage: Number, *, now_ms: int
    ) -> None:
        """Set the leverage of both sides of a symbol.

        Raises:
            Refused: 10001, below 1; 110013, above the maximum; 110043, nothing changes; 110007, too
                little margin is left.
        """
        highest = self._books.instrument(symbol).max_leverage
        wanted = [
            replace(self._books.position(symbol, idx, now_ms), leverage=value)
            for idx, value in (
                (1, checks.leverage("buyLeverage", buy_leverage, highest)),
                (2, checks.leverage("sellLeverage", sell_leverage, highest)),
            )
        ]
        if all(
            self._books.position(symbol, p.position_idx, now_ms).leverage == p.leverage
            for p in wanted
        ):
            raise Refused(110043, "leverage not modified")
        if self._books.shortfall(wanted) > ZERO:
            raise Refused(110007, "ab not enough for new leverage")
        for position in wanted:
            self._books.put_position(position, now_ms)

    def transfer(
        self,
        amount: Number,
        from_account: str,
        to_account: str,
        coin: str = "USDT",
        transfer_id: str = "",
        *,
        now_ms: int,
    ) -> str:
        """Transfer USDT to or from the account.

        The account is ``COPYTRADE`` where that is named, else ``UNIFIED`` or ``CONTRACT``.

        Returns:
            The transfer id, a new one if none was given.

        Raises:
            Refused: 10001, bad input; 131212, more than is available; 131215, the id is taken.
        """
        sign = checks.transfer_sign(from_account, to_account)
        checks.one_of("coin", coin, ("USDT",))
        value = money(checks.number("amount", amount))
        if not value:
            raise Refused(10001, "params error: amount invalid")
        if transfer_id and any(t.transfer_id == transfer_id for t in self._books.transfers):
            raise Refused(131215, "transferId is duplicate")
        if sign < 0 and value > self._books.wallet().available_balance:
            raise Refused(131212, "user insufficient balance")
        transfer_id = transfer_id or self._books.new_id()
        self._books.put_transfer(
            Transfer(
                transfer_id=transfer_id,
                coin=coin,
                amount=value,
                from_account=from_account,
                to_account=to_account,
                timestamp=now_ms,
            ),
            sign * value,
        )
        return transfer_id
