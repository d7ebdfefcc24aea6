"""The books of the account: orders, positions, executions, money, and the changes to be pushed.

Decides nothing: engine and commands do. Whatever is kept here is pushed if the client could see a
difference.
"""

from __future__ import annotations

import random
import uuid
from collections import deque
from dataclasses import replace
from decimal import Decimal

from .market import Instrument, Market
from .model import WORKING, ZERO, Change, Execution, Order, Position, Refused, Transfer, Wallet
from .orders import OrderStore
from .positions import flat
from .wallet import Ledger, order_cost

PositionKey = tuple[str, int]


class Books:
    """Everything the account remembers.

    Args:
        market: The market the account trades in.
        seed: Where all ids come from.
        balance: USDT at the start.
        leverage: Leverage of every position until it is set.
        history: How many finished orders, executions and transfers are kept.
    """

    def __init__(
        self, market: Market, *, seed: int, balance: Decimal, leverage: Decimal, history: int
    ) -> None:
        self.market = market
        self.orders = OrderStore(history)
        self.positions: dict[PositionKey, Position] = {}
        self.executions: deque[Execution] = deque(maxlen=history)
        self.transfers: deque[Transfer] = deque(maxlen=history)
        self.ledger = Ledger(balance)
        #: In how many pieces the fills of an order come.
        self.pieces = 1
        self._leverage = leverage
        self._ids = random.Random(seed)  # noqa: S311 - ids of a simulation must repeat
        self._sequence = 0
        self._changes: list[Change] = []
        self._pushes = 0
        self._pushed_positions: dict[PositionKey, Position] = {}
        self._pushed_wallet = self.wallet()

    def new_id(self) -> str:
        """Return the next id."""
        return str(uuid.UUID(int=self._ids.getrandbits(128), version=4))

    def next_sequence(self) -> int:
        """Return the next number of the cross sequence."""
        self._sequence += 1
        return self._sequence

    def instrument(self, symbol: str) -> Instrument:
        """Return the rules of a symbol.

        Raises:
            Refused: The market does not know it.
        """
        try:
            return self.market.instrument(symbol)
        except KeyError:
            raise Refused(10001, f"params error: symbol invalid {symbol}") from None

    def position(self, symbol: str, position_idx: int, now_ms: int) -> Position:
        """Return a position, an empty one if it was never used. Changes nothing."""
        kept = self.positions.get((symbol, position_idx))
        if kept is not None:
            return kept
        rules = self.instrument(symbol)
        return flat(
            symbol,
            position_idx,
            rules,
            leverage=min(self._leverage, rules.max_leverage),
            mark_price=self.market.mark_price(symbol),
            now_ms=now_ms,
        )

    def wallet(self) -> Wallet:
        """Return the wallet as it stands."""
        return self.ledger.wallet(self.positions.values())

    def take_changes(self) -> list[Change]:
        """Return what is to be pushed since the last call, in order."""
        taken, self._changes = self._changes, []
        return taken

    def _push(
        self, kind: str, state: Order | Execution | Position | Wallet, only: str = ""
    ) -> None:
        self._pushes += 1
        self._changes.append(Change(self._pushes, kind, state, only))

    def put_order(self, order: Order, now_ms: int, *, only: str = "") -> Order:
        """Keep and push a new state of an order."""
        order = replace(order, updated_time=now_ms)
        self.orders.put(order)
        self._push("order", order, only)
        return order

    def put_parent(self, parent: Order, now_ms: int) -> None:
        """Keep what closing did to an opening order; push it, on v3 only, if its status moved."""
        before = self.orders.get(parent.order_id)
        if parent.copy_status != before.copy_status:
            self.put_order(parent, now_ms, only="v3")
        else:
            self.orders.put(parent)

    def put_execution(self, execution: Execution) -> None:
        """Keep and push an execution; the v3 stream never carries funding."""
        self.executions.append(execution)
        only = "v5" if execution.exec_type == "Funding" else ""
        self._push("execution", execution, only)

    def put_position(self, position: Position, now_ms: int) -> None:
        """Keep a new state of a position; push it and the wallet where they changed."""
        key = position.symbol, position.position_idx
        # A position that was never used is known to the client as empty.
        known = self._pushed_positions.get(key) or self.position(*key, now_ms)
        position = self._with_orders(position)
        if _visible(position) != _visible(known):
            position = replace(position, sequence=self.next_sequence(), updated_time=now_ms)
            self._push("position", position)
            known = position
        self._pushed_positions[key] = known
        self.positions[key] = position
        self.push_wallet()

    def settle(self, symbol: str, position_idx: int, now_ms: int) -> None:
        """Bring margin and free size of a position up to date after its orders changed."""
        self.put_position(self.position(symbol, position_idx, now_ms), now_ms)

    def set_status(self, symbol: str, position_idx: int, status: str, now_ms: int) -> None:
        """Set the ``positionStatus``."""
        position = self.position(symbol, position_idx, now_ms)
        self.put_position(replace(position, status=status), now_ms)

    def mark(self, position: Position, mark: Decimal) -> None:
        """Note a new mark price, which is no push by itself."""
        key = position.symbol, position.position_idx
        self.positions[key] = replace(position, mark_price=mark)

    def shortfall(self, changed: list[Position]) -> Decimal:
        """Return what the balance would lack for the margins if these positions were kept."""
        kept = dict(self.positions)
        kept.update(((p.symbol, p.position_idx), self._with_orders(p)) for p in changed)
        wallet = self.ledger.wallet(kept.values())
        return wallet.used_margin - wallet.wallet_balance

    def put_transfer(self, transfer: Transfer, amount: Decimal) -> None:
        """Keep a transfer and book its signed amount."""
        self.transfers.append(transfer)
        self.ledger.transfer(amount)
        self.push_wallet()

    def _with_orders(self, position: Position) -> Position:
        margin, closing = ZERO, ZERO
        for order in self.orders.live(position.symbol, position.position_idx):
            if order.status in WORKING and order.opens:
                margin += order_cost(position, order.leaves_qty, order.price)
            elif order.status in WORKING:
                closing += order.leaves_qty
        return replace(position, order_margin=margin, free_qty=position.size - closing)

    def push_wallet(self) -> None:
        """Push the wallet if its balance or what is available changed."""
        wallet, known = self.wallet(), self._pushed_wallet
        if _funds(wallet) != _funds(known):
            self._pushed_wallet = wallet
            self._push("wallet", wallet)


def _visible(position: Position) -> Position:
    # A new mark alone is no push, on Bybit neither: it would be one per tick.
    return replace(position, mark_price=ZERO, updated_time=0, created_time=0, sequence=0)


def _funds(wallet: Wallet) -> tuple[Decimal, Decimal, Decimal]:
    return wallet.wallet_balance, wallet.available_balance, wallet.used_margin
