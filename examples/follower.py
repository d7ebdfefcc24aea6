"""A small bot: it mirrors a leader's copy-trading executions in an account of one's own.

Run it against the local exchange, where the leader trades by itself and the connection is cut time
and again::

    python examples/follower.py

The same class works against Bybit: give it a client for the leader's key, and a function that
places orders with the follower's.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from queue import SimpleQueue

from bybit_copyws import CopyTradingClient, Message
from bybit_copyws.events import Blind, Event
from bybit_copyws.sandbox import Sandbox

Place = Callable[[str, str, Decimal], object]


class Follower:
    """Places a part of every order that the leader gets filled, from its start on.

    Each execution is delivered once, also those that happened while the connection was lost: they
    are fetched by REST and come first. So a bot needs no memory of its own.

    Args:
        client: of the leader's account.
        place: called with symbol, side and quantity; places the order.
        ratio: how much of the leader's quantity to take.
        step: quantities are rounded down to a multiple of this.
    """

    def __init__(
        self, client: CopyTradingClient, place: Place, ratio: Decimal, step: Decimal
    ) -> None:
        self._account = client.account
        self._place = place
        self._ratio = ratio
        self._step = step
        self._rest: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        self.mirrored = 0
        self.sees = True
        client.subscribe("copyTradeExecution", self.on_executions)
        client.listen(self.on_trust)

    def on_executions(self, message: Message) -> None:
        """Mirror executions; what is too small is kept for the next."""
        for execution in message.parse():
            if execution.exec_type not in (None, "Trade"):
                continue  # funding, for instance
            key = (execution.symbol, execution.side)
            wanted = self._rest[key] + execution.exec_qty * self._ratio
            quantity = (wanted / self._step).to_integral_value(ROUND_DOWN) * self._step
            self._rest[key] = wanted - quantity
            self.mirrored += 1
            if quantity:
                self._place(execution.symbol, execution.side, quantity)

    def on_trust(self, event: Event) -> None:
        """Say when the leader cannot be followed, and when again: a bot should pause meanwhile."""
        if isinstance(event, Blind):
            self.sees = False
            print(f"cannot see the leader: {event.reason}")
        elif not self.sees and self._account.live:
            self.sees = True
            print("sees the leader again")

    def leaders_positions(self) -> dict[str, Decimal]:
        """Return what the leader holds now, by symbol; short positions are negative."""
        held: dict[str, Decimal] = defaultdict(Decimal)
        for position in self._account.positions.values():
            held[position.symbol] += position.size if position.side == "Buy" else -position.size
        return dict(held)


def main(orders: int = 10, seed: int = 1) -> None:
    """Follow the local exchange's own account for a few orders, through cut connections."""
    rng = random.Random(seed)
    placed: SimpleQueue[tuple[str, str, Decimal]] = SimpleQueue()
    with Sandbox(seed=seed, activity=5.0) as exchange:
        client = CopyTradingClient(
            exchange.api_key, exchange.api_secret, environment=exchange.environment
        )
        bot = Follower(client, lambda *order: placed.put(order), Decimal("0.5"), Decimal("0.001"))
        with client:
            client.account.wait_for(lambda view: view.live)
            for _ in range(orders):
                symbol, side, quantity = placed.get(timeout=30)
                print(f"mirror: {side} {quantity} {symbol}")
                if rng.random() < 0.3:
                    exchange.drop("private", how="rst")
                    print("(the connection is cut)")
            client.account.wait_for(lambda view: view.live)
            print(f"the leader holds {bot.leaders_positions()}")


if __name__ == "__main__":
    main()
