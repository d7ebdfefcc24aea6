"""A small bot: it mirrors a leader's copy-trading executions in an account of one's own.

Run it against the local exchange, where the leader trades by itself and the connection is cut time
and again::

    python examples/follower.py

The same class is made for Bybit: give it a client for the leader's key, and a function that places
orders with the follower's. That account must be in one-way mode, in which a sale closes what was
bought before, such as, with a v5 ``RestClient``::

    lambda symbol, side, qty: rest.create_order(symbol, side, "Market", qty, position_idx=0)
"""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from queue import SimpleQueue

from bybit_copyws import CopyTradingClient, Message
from bybit_copyws.events import Blind, Event, Sighted
from bybit_copyws.sandbox import Sandbox

Place = Callable[[str, str, Decimal], object]


class Follower:
    """Places a part of every order that the leader gets filled, from its start on.

    Each execution is delivered once, also those that happened while the connection was lost: they
    are fetched by REST and come first. So a bot needs no memory of its own. While the leader cannot
    be seen, nothing is placed; what has come by then is placed afterwards.

    Args:
        client: of the leader's account.
        place: called with symbol, side and quantity; places the order, or raises if it did not.
        ratio: how much of the leader's quantity to take.
    """

    def __init__(self, client: CopyTradingClient, place: Place, ratio: Decimal) -> None:
        self._client = client
        self._place = place
        self._ratio = ratio
        self._lock = threading.Lock()  # executions and events come in different threads
        self._owed: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        self.mirrored = 0
        self.sees = True
        _ = client.instruments  # asked for here: a callback should not wait for it
        client.subscribe("copyTradeExecution", self.on_executions)
        client.listen(self.on_trust, Blind, Sighted)

    def on_executions(self, message: Message) -> None:
        """Mirror executions."""
        with self._lock:
            for execution in message.parse():
                if execution.exec_type in (None, "Trade"):  # and not funding, for instance
                    self._owed[execution.symbol, execution.side] += execution.exec_qty * self._ratio
                    self.mirrored += 1
            self._place_what_is_owed()

    def on_trust(self, event: Event) -> None:
        """Pause while the leader cannot be seen."""
        with self._lock:
            self.sees = isinstance(event, Sighted)
            print("sees the leader again" if self.sees else f"cannot see the leader: {event}")
            self._place_what_is_owed()

    def _place_what_is_owed(self) -> None:
        """Place what the exchange's rules allow; what is too small waits for more."""
        for (symbol, side), owed in self._owed.items() if self.sees else ():
            rules = self._client.instruments[symbol]
            quantity = (owed / rules.qty_step).to_integral_value(ROUND_DOWN) * rules.qty_step
            if quantity >= rules.min_order_qty:
                self._place(symbol, side, quantity)
                self._owed[symbol, side] -= quantity

    def leaders_positions(self) -> dict[str, Decimal]:
        """Return what the leader holds now, by symbol; short positions are negative."""
        held: dict[str, Decimal] = defaultdict(Decimal)
        for position in self._client.account.positions.values():
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
        bot = Follower(client, lambda *order: placed.put(order), Decimal("0.5"))
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
