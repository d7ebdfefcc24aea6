"""A hundred hand-overs in a row under 2,000 messages a second, and nothing lost.

    python tests/soak/rotations.py [--count 100]

The exchange runs in a process of its own. Each topic's updates are looked at for holes and doubles:
order books by ``u``, tickers by ``cs``, klines by time. Trades must be those that a second client
got, which stays on one connection. Exits with 1 if something was wrong.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from exchange import make_client
from growth import Growth
from test_rotation import Truth

from bybit_copyws import Environment
from bybit_copyws.events import GapOpened

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT")
CHANNELS = ("orderbook.50", "orderbook.200", "publicTrade", "tickers", "kline.1", "kline.5")
TOPICS = [f"{channel}.{symbol}" for channel in CHANNELS for symbol in SYMBOLS]


def compare(truth: Truth, witness: Truth) -> int:
    """Take off the trades that both got, in order; return how many. Others must follow soon."""
    common = 0
    for topic, ids in truth.trades.items():
        seen = witness.trades[topic]
        if ids and ids[0] in seen and not truth.counts.get(f"begun {topic}"):
            del seen[: seen.index(ids[0])]  # what came before the client was there
            truth.counts[f"begun {topic}"] = 1
        size = min(len(ids), len(seen))
        if ids[:size] != seen[:size]:
            truth.faults.append(f"{topic}: trades are missing, doubled or out of order")
        del ids[:size], seen[:size]
        common += size
    return common


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--activity", type=float, default=60.0)
    options = parser.parse_args()
    command = [sys.executable, "-m", "bybit_copyws", "sandbox", "--symbols", ",".join(SYMBOLS)]
    command += ["--activity", str(options.activity)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    text = ""
    while "Ctrl-C" not in text:
        text += process.stdout.readline()
    found = re.search(r"local exchange at (\S+)", text)
    assert found is not None
    url = found[1]

    class Exchange:
        environment = Environment("rotations", url, url, url.replace("ws", "http", 1))
        api_key = api_secret = None

    truth, witness, growth, told = Truth(), Truth(), Growth(), []
    took, trades = [], 0
    with make_client(Exchange) as other, make_client(Exchange) as client:
        other.subscribe([topic for topic in TOPICS if "Trade" in topic], witness.take)
        other.wait_until_ready()
        client.listen(told.append, GapOpened)
        client.subscribe(TOPICS, truth.take)
        client.wait_until_ready()
        began = time.monotonic()
        for _ in range(options.count):
            threading.Event().wait(0.1)
            start = time.monotonic()
            client.rotate()
            took.append(time.monotonic() - start)
            trades += compare(truth, witness)
            growth.look()
        threading.Event().wait(0.5)
        trades += compare(truth, witness)
        seconds = time.monotonic() - began
        reconnects = client.health().connections["public"].reconnects
    process.terminate()
    process.wait(20)
    faults = [*truth.faults, *growth.faults()]
    faults += [f"a gap: {event}" for event in told]
    total = sum(truth.counts.values())
    took.sort()
    print(
        f"{reconnects} hand-overs, {total:,} messages with {trades:,} trades in {seconds:.0f} s "
        f"({total / seconds:,.0f} a second); one takes {1000 * took[len(took) // 2]:.0f} ms at the "
        f"median, {1000 * took[-1]:.0f} ms at most"
    )
    print(growth)
    for fault in faults[:20]:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
