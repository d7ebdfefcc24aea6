"""Either of two connections is killed a hundred times; nothing is lost, doubled or told as missing.

    python tests/soak/redundancy.py [--count 100] [--seed N]

The exchange runs in a process of its own. Each topic's updates are looked at for holes and doubles:
order books by ``u``, tickers by ``cs``, klines by time. Trades must be those that a second client
got, which stays on one connection. Exits with 1 if something was wrong.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from exchange import make_client
from growth import Growth
from rotations import TOPICS, compare, running_exchange
from truth import Truth

from bybit_copyws.events import GapOpened
from bybit_copyws.sandbox import Observer

PATIENCE = 30.0


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--activity", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    rng = random.Random(options.seed)
    print(f"seed {options.seed}", flush=True)
    truth, witness, growth, told = Truth(), Truth(), Growth(), []
    trades, ways = 0, Counter()
    with (
        running_exchange(options.activity) as exchange,
        make_client(exchange) as other,
        make_client(exchange, redundancy=2) as client,
    ):
        observer = Observer(exchange.environment.public)
        other.subscribe([topic for topic in TOPICS if "Trade" in topic], witness.take)
        other.wait_until_ready()
        (spared,) = connections(observer)
        client.listen(told.append, GapOpened)
        client.subscribe(TOPICS, truth.take)
        began = time.monotonic()
        for number in range(options.count + 1):
            deadline = time.monotonic() + PATIENCE
            while not all_carried_twice(client, number):
                if time.monotonic() > deadline:
                    raise SystemExit(f"not carried twice: {client.health().as_dict()}")
                threading.Event().wait(0.005)
            trades += compare(truth, witness)
            growth.look()
            if number == options.count:
                break
            threading.Event().wait(rng.uniform(0.0, 0.2))
            victim = rng.choice(sorted(connections(observer) - {spared}))
            how = rng.choice(("rst", "fin", "close"))
            ways[how] += 1
            observer.do("drop", conn_id=victim, how=how)
        seconds = time.monotonic() - began
        observer.close()
    faults = [*truth.faults, *growth.faults(), *(f"a gap: {event}" for event in told)]
    total = sum(truth.counts.values())
    print(
        f"{options.count} connections killed ({dict(ways)}), {total:,} messages with {trades:,} "
        f"trades in {seconds:.0f} s ({total / seconds:,.0f} a second)"
    )
    print(growth)
    for fault in faults[:20]:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


def connections(observer: Observer) -> set[str]:
    """Return the ids of the public connections."""
    found = observer.state()["connections"]
    return {each["conn_id"] for each in found if each["scope"] == "public"}


def all_carried_twice(client: object, kills: int) -> bool:
    """Return whether the client has got over so many kills."""
    figures = client.health().connections["public"]  # type: ignore[attr-defined]
    return figures.reconnects == kills and figures.covered_twice == len(TOPICS)


if __name__ == "__main__":
    sys.exit(main())
