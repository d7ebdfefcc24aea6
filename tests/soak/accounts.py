"""An account through hundreds of losses and failing answers, and always the exchange's own.

    python tests/soak/accounts.py [--rounds 300] [--seed N] [--profile v3]

Time stands still at the exchange until it is told to go on, so that after each round of trading and
trouble the account that the client keeps must become equal to the exchange's own: positions,
orders, wallet. At the end every execution was delivered once, those of each symbol in order, and
every gap was closed.
The seed is printed, and repeats the choices. Exits with 1 if something was wrong.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from account_facts import Facts, facts_of
from exchange import PRIVATE, make_client
from growth import Growth

from bybit_copyws import Message
from bybit_copyws.events import Event, GapClosed, GapOpened
from bybit_copyws.sandbox import ForcedReply, Sandbox

Trade: TypeAlias = tuple[str, str]
"""The symbol and the id of an execution."""

PATIENCE = 60.0  # seconds for the account to become the exchange's own
FAILURES = (
    {"status": 502, "body": "<html>bad gateway</html>"},
    {"status": 200, "body": "not JSON"},
    {"ret_code": 10006, "ret_msg": "too many visits"},
    {"ret_code": 10016, "ret_msg": "service is restarting"},
)


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--profile", choices=("v3", "v5"), default="v3")
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.rounds} rounds, {options.profile}", flush=True)
    with Sandbox(seed=options.seed, speed=0, activity=3.0) as exchange:
        exchange.rest_rules.limits.update(dict.fromkeys(exchange.rest_rules.limits))
        return Run(exchange, options).go()


class Run:
    """One client that follows the account of an exchange.

    Args:
        exchange: whose account.
        options: of the command line.
    """

    def __init__(self, exchange: Sandbox, options: argparse.Namespace) -> None:
        self.exchange, self.options = exchange, options
        self.told: Counter[str] = Counter()
        self.faults: list[str] = []
        self.messages: list[Message] = []
        self.gaps: set[str] = set()
        self.client = make_client(
            exchange, profile=options.profile, reconcile=True, reply_timeout=1.0, pong_timeout=1.0
        )
        self.client.listen(self.hear)
        self.client.subscribe(PRIVATE, self.messages.append)

    def hear(self, event: Event) -> None:
        """Take an event."""
        self.told[type(event).__name__] += 1
        if isinstance(event, GapOpened):
            self.gaps.update(event.topics)
        elif isinstance(event, GapClosed):
            self.told["repaired" if event.gap.repaired else "NOT REPAIRED"] += 1
            self.gaps.difference_update(event.gap.topics)

    def is_true(self) -> bool:
        """Return whether the account is live and the exchange's own."""
        account, profile = self.client.account, self.options.profile
        return account.live and facts_of(account.view, profile) == truth(self.exchange, profile)

    def one_round(self, rng: random.Random) -> None:
        """Let time pass, and things go wrong; then all must be right again."""
        exchange = self.exchange
        for _ in range(rng.randint(1, 3)):
            exchange.step(rng.uniform(0.0, 3.0))
            self.told[trouble(exchange, rng)] += 1
        exchange.step(rng.uniform(0.0, 3.0))
        exchange.rest_rules.forced.clear()
        exchange.heal()
        if not wait_for(self.is_true):
            account = self.client.account
            self.faults.append(
                f"{account!r} {account.reason}: {facts_of(account.view, self.options.profile)} is "
                f"not {truth(exchange, self.options.profile)}"
            )

    def go(self) -> int:
        """Do it all; return the exit status."""
        rng, growth = random.Random(self.options.seed), Growth()
        with self.client:
            self.client.account.wait_for(lambda view: view.live)
            before = len(executed(self.exchange))
            for _ in range(self.options.rounds):
                self.one_round(rng)
                if self.faults:
                    break
                growth.look()
            made = executed(self.exchange)[before:]
            wait_for(lambda: len(delivered(self.messages)) >= len(made))
        self.check(made)
        # What was delivered is kept here, so memory grows; the client's own is bounded.
        self.faults += [each for each in growth.faults() if not each.startswith("memory")]
        print(growth)
        for what, count in sorted(self.told.items()):
            print(f"{count:8,}  {what}")
        for fault in self.faults:
            print(f"FAULT: {fault}")
        return 1 if self.faults else 0

    def check(self, made: list[Trade]) -> None:
        """Compare what was executed with what was delivered."""
        got = delivered(self.messages)
        for symbol in {symbol for symbol, _ in made}:
            mine = [each for each in got if each[0] == symbol]
            if mine != [each for each in made if each[0] == symbol]:
                self.faults.append(f"executions of {symbol} differ: {len(mine)} were delivered")
        if self.gaps:
            self.faults.append(f"gaps stay open: {self.gaps}")
        sources = Counter(each.source for each in self.messages)
        print(f"{len(made):,} executions, {len(got):,} delivered; messages: {dict(sources)}")


def wait_for(predicate: Callable[[], bool]) -> bool:
    """Wait until something is true; return whether it became so."""
    deadline = time.monotonic() + PATIENCE
    while not predicate():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.002)
    return True


def trouble(exchange: Sandbox, rng: random.Random) -> str:
    """Let something go wrong, or nothing; return what."""
    chance = rng.random()
    if chance < 0.4:
        how = rng.choice(("rst", "fin", "close"))
        exchange.drop("private", how=how)
        return f"drop {how}"
    if chance < 0.5:
        exchange.refuse_handshakes(status=502, times=rng.randint(1, 2))
        exchange.drop("private", how="rst")
        return "refused handshake"
    if chance < 0.65:
        exchange.rest_rules.forced.append(
            ForcedReply(None, times=rng.randint(1, 3), **rng.choice(FAILURES))
        )
        exchange.drop("private", how="fin")
        return "failing answers"
    if chance < 0.75:
        exchange.garbage("not_json", "private")
        return "unreadable message"
    if chance < 0.8:
        exchange.fault("duplicate", scope="private", kind="data", times=5)
        return "duplicates"
    return "no trouble"


def truth(exchange: Sandbox, profile: str) -> tuple[Any, ...]:
    """Return the exchange's own account."""
    return exchange.call(lambda inside: Facts(profile, inside.account).all(inside.clock.now_ms()))


def executed(exchange: Sandbox) -> list[Trade]:
    """Return what was executed, oldest first."""
    return exchange.call(
        lambda inside: [
            (each.symbol, each.exec_id)
            for each in reversed(list(inside.account.executions))
            if each.exec_type != "Funding"
        ]
    )


def delivered(messages: list[Message]) -> list[Trade]:
    """Return what of that was delivered."""
    return [
        (model.symbol, model.exec_id)
        for message in list(messages)
        if message.topic == PRIVATE[2]
        for model in message.parse()
        if model.exec_type != "Funding"
    ]


if __name__ == "__main__":
    sys.exit(main())
