"""A small bot: it mirrors a leader's copy-trading executions in an account of one's own.

Run it against the local exchange, where the leader trades by itself::

    python examples/follower.py

The same class works against Bybit: give it a client for the leader's key, and a function that
places orders with the follower's.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from queue import SimpleQueue

from bybit_copyws import CopyTradingClient, Message
from bybit_copyws.events import StateChanged
from bybit_copyws.sandbox import Sandbox

Place = Callable[[str, str, Decimal], object]


class Follower:
    """Places a part of every order that the leader gets filled.

    Args:
        client: of the leader's account.
        place: called with symbol, side and quantity; places the order.
        ratio: how much of the leader's quantity to take.
        step: quantities are rounded down to a multiple of this.
    """

    def __init__(
        self, client: CopyTradingClient, place: Place, ratio: Decimal, step: Decimal
    ) -> None:
        self._place = place
        self._ratio = ratio
        self._step = step
        self._seen: set[str] = set()
        self._rest: dict[tuple[str, str], Decimal] = {}
        self.mirrored = 0
        client.subscribe("copyTradeExecution", self.on_executions)
        client.listen(self.on_state, StateChanged)

    def on_executions(self, message: Message) -> None:
        """Mirror each execution once; what is too small is kept for the next."""
        for execution in message.parse():
            if execution.exec_id in self._seen or execution.exec_type not in (None, "Trade"):
                continue
            self._seen.add(execution.exec_id)
            key = (execution.symbol, execution.side)
            wanted = self._rest.get(key, Decimal()) + execution.exec_qty * self._ratio
            quantity = (wanted / self._step).to_integral_value(ROUND_DOWN) * self._step
            self._rest[key] = wanted - quantity
            if quantity:
                self._place(execution.symbol, execution.side, quantity)
                self.mirrored += 1

    def on_state(self, event: StateChanged) -> None:
        """Say when the leader cannot be followed, and when again."""
        if event.connection == "private":
            print(f"private connection: {event.new.value} ({event.reason})")


def main(orders: int = 5) -> None:
    """Follow the local exchange's own account for a few orders."""
    placed: SimpleQueue[tuple[str, str, Decimal]] = SimpleQueue()
    with Sandbox(seed=1) as exchange:
        client = CopyTradingClient(
            exchange.api_key, exchange.api_secret, environment=exchange.environment
        )
        Follower(client, lambda *order: placed.put(order), Decimal("0.5"), Decimal("0.001"))
        with client:
            client.wait_until_ready()
            for _ in range(orders):
                symbol, side, quantity = placed.get(timeout=30)
                print(f"mirror: {side} {quantity} {symbol}")


if __name__ == "__main__":
    main()
