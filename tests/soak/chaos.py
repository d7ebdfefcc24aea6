"""Random faults of every kind at random times, and nothing lost without being told.

    python tests/soak/chaos.py [--minutes 30] [--seed N] [--per-second 0.5] [--profile v3]
                               [--reconcile]

The exchange runs in a process of its own: 50 public topics and all private ones, about 2,000
messages a second. A checker compares what it put on the wire with what the callbacks got, while
both go on. At the end every message was delivered once and in order or lies in a gap, every topic
is alive, every gap is closed, and memory, threads and descriptors are as they were. The seed is
printed, and repeats the choice of faults. Exits with 1 if something was wrong.

With ``--reconcile`` the account is brought up by REST after each loss, so that private messages are
not those on the wire: only public ones are compared then, and the account must be live at the end.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from exchange import PRIVATE, make_client
from growth import Growth

from bybit_copyws import Backoff, Environment, Message
from bybit_copyws.events import Event, GapClosed, GapOpened, StateChanged
from bybit_copyws.sandbox import Checker, Observer, Scenario

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT")
CHANNELS = (
    "orderbook.1",
    "orderbook.50",
    "orderbook.200",
    "publicTrade",
    "tickers",
    "kline.1",
    "kline.5",
    "kline.15",
    "kline.60",
    "kline.D",
)
QUICK = {"ping_interval": 1.0, "pong_timeout": 1.0, "reply_timeout": 2.0, "frame_timeout": 1.0}
LOOK = 0.05  # seconds between two comparisons
MIB = 2.0  # by which memory may grow after the first fifth
# What an account remembers of orders and executions, once it has had so many; see the account page.
ACCOUNT_MIB = 16.0
HEAL = 60.0  # seconds within which all must be well again at the end


class Run:
    """One run: a client, a checker, and what was told."""

    def __init__(self, url: str, options: argparse.Namespace) -> None:
        self.checker = Checker()
        self.told: Counter[str] = Counter()
        self.open: dict[str, int] = {}
        self.last: dict[str, float] = {}
        self.faults: list[str] = []
        self.lately: deque[str] = deque(maxlen=12)  # to find out what led to a fault
        self._shown = 0
        self.number = 0
        self.observer = Observer(url)
        self._aliases = options.profile == "v5"
        self._reconciles = options.reconcile
        self.topics = [*(f"{each}.{symbol}" for each in CHANNELS for symbol in SYMBOLS), *PRIVATE]

    def take(self, message: Message) -> None:
        """Take a message."""
        self.last[message.topic] = time.monotonic()
        if self._reconciles and message.topic in PRIVATE:
            return
        self.checker.got(self.wire(message.topic), message.raw, after_gap=message.gap is not None)

    def wire(self, name: str) -> str:
        """Return what the exchange calls a topic."""
        private = name in PRIVATE
        return name.removeprefix("copyTrade").lower() if self._aliases and private else name

    def hear(self, event: Event) -> None:
        """Take an event."""
        self.told[type(event).__name__] += 1
        self.lately.append(f"{time.time():.3f} {str(event)[:160]}")
        if isinstance(event, StateChanged) and event.new.value == "backoff":
            reason = re.sub(r"[\d.]+", "N", event.reason.split("; next")[0])
            self.told[f"lost: {reason[:70]}"] += 1
        elif isinstance(event, GapOpened):
            self.open.update(dict.fromkeys(event.topics, 1))
        elif isinstance(event, GapClosed):
            for name in event.gap.topics:
                self.open.pop(name, None)

    def compare(self) -> None:
        """Bring the checker to the present."""
        while True:
            sent = self.observer.sent_after(self.number, 20_000)
            passed = [each for each in sent if not (self._reconciles and each.scope == "private")]
            self.checker.sent(passed)
            self.number = sent[-1].number if sent else self.number
            if len(sent) < 20_000:
                break
        for fault in self.checker.report(final=False).faults[self._shown :]:
            self._shown += 1
            print(f"FAULT: {fault}; lately: {list(self.lately)}", flush=True)


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--per-second", type=float, default=0.5, help="faults")
    parser.add_argument("--activity", type=float, default=24.0)
    parser.add_argument("--profile", choices=("v3", "v5"), default="v3")
    parser.add_argument("--reconcile", action="store_true")
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.minutes:g} minutes, {options.profile}", flush=True)
    command = [sys.executable, "-m", "bybit_copyws", "sandbox", "--symbols", ",".join(SYMBOLS)]
    command += ["--activity", str(options.activity), "--seed", str(options.seed)]
    command += ["--cadence", "fast"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    text = ""
    while "Ctrl-C" not in text:
        text += process.stdout.readline()
    try:
        return watch(text, options)
    finally:
        process.terminate()
        process.wait(20)


def watch(text: str, options: argparse.Namespace) -> int:
    """Let a client live through it."""
    found = re.search(r"local exchange at (\S+)", text)
    key, secret = (re.search(rf"throw-away {word}: +(\S+)", text) for word in ("key", "secret"))
    assert found
    assert key
    assert secret
    url = found[1]

    class Exchange:
        environment = Environment("chaos", url, url, url.replace("ws", "http", 1))
        api_key, api_secret = key[1], secret[1]

    run = Run(url, options)
    growth = Growth(MIB + (ACCOUNT_MIB if options.reconcile else 0.0))
    seconds = options.minutes * 60
    scenario = Scenario.random(options.seed, seconds, options.per_second)
    steps = sorted(scenario.timed, key=lambda step: step.at or 0.0)
    backoff = Backoff(base=0.05, cap=1.0, good_after=1.0, refused=1.0)
    client = make_client(
        Exchange, profile=options.profile, backoff=backoff, reconcile=options.reconcile, **QUICK
    )
    client.listen(run.hear)
    client.subscribe(run.topics, run.take)
    client.start()
    began = last_look = last_said = time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        while steps and (steps[0].at or 0.0) <= now - began:
            step = steps.pop(0)
            run.observer.do(step.do, **step.arguments)
            run.lately.append(f"{time.time():.3f} {step}")
            run.told[f"fault: {step.do} {step.arguments.get('action', '')}"] += 1
        run.compare()
        if now - last_look > 5.0:
            last_look = now
            growth.look()
        if now - last_said > 60.0:
            last_said = now
            report = run.checker.report(final=False)
            print(
                f"{now - began:6.0f} s: {report.matched:,} arrived, {report.missed:,} missed in "
                f"{report.holes:,} holes, {len(report.faults)} faults; {growth}",
                flush=True,
            )
        threading.Event().wait(LOOK)
    run.observer.do("heal")
    healed = time.monotonic()
    while time.monotonic() < healed + HEAL:
        run.compare()
        lively = {name for name in run.topics if "orderbook" in name or "Trade." in name}
        alive = all(run.last.get(name, 0.0) > healed for name in lively)
        sound = not options.reconcile or client.account.live
        if alive and sound and not run.open and not _unsettled(client):
            break
        threading.Event().wait(LOOK)
    else:
        run.faults.append(
            f"not well after {HEAL:.0f} s: open {run.open}, {_unsettled(client)}, "
            f"{client.health().as_dict()['kept']}; lately: {list(run.lately)}"
        )
    client.close()
    run.checker.closed()
    run.compare()
    report = run.checker.report()
    run.faults += report.faults + growth.faults()
    rate = report.matched / (time.monotonic() - began)
    print(
        f"{report.matched:,} messages arrived as sent ({rate:,.0f} a second), {report.missed:,} "
        f"missed in {report.holes:,} holes, each in a gap; {report.unseen:,} on their way at the "
        f"end; well again {time.monotonic() - healed:.1f} s after the last fault"
    )
    print(growth)
    for what, count in sorted(run.told.items()):
        print(f"{count:8,}  {what}")
    for fault in run.faults:
        print(f"FAULT: {fault}")
    return 1 if run.faults else 0


def _unsettled(client: object) -> list[str]:
    health = client.health()  # type: ignore[attr-defined]
    return [
        topic.topic
        for connection in health.connections.values()
        for topic in connection.topics
        if topic.state != "confirmed"
    ]


if __name__ == "__main__":
    sys.exit(main())
