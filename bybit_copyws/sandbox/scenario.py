"""A list of steps: what goes wrong at the exchange, and when. Pure.

A step is due at a time or after a number of messages; what it does is a command of the exchange
with its arguments. Scenarios come from code, from a JSON file, or from a seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.sandbox.faults import ACTIONS

COMMANDS = (
    "drop",
    "silence",
    "resume",
    "slow_down",
    "fault",
    "heal",
    "refuse_handshakes",
    "refuse_auth",
    "restart",
    "list_symbol",
    "withdraw_symbol",
    "push",
)
"""What a step may do: methods of the sandbox."""


@dataclass(frozen=True, init=False)
class Step:
    """One thing that happens once: ``Step("drop", at=2.5, how="rst")``.

    Args:
        do: one of :data:`COMMANDS`.
        at: seconds after the scenario began, by the exchange's clock; or
        after: messages sent since the scenario began.
        arguments: of the command, by name.

    Raises:
        ConfigurationError: the command is unknown, or not exactly one of ``at`` and ``after`` is
            given.
    """

    do: str
    at: float | None
    after: int | None
    arguments: Mapping[str, Any]

    def __init__(
        self, do: str, *, at: float | None = None, after: int | None = None, **arguments: Any
    ) -> None:
        if do not in COMMANDS:
            raise ConfigurationError(f"a step cannot do {do!r}; known are {', '.join(COMMANDS)}")
        if (at is None) == (after is None):
            raise ConfigurationError(f"step {do!r} needs exactly one of `at` and `after`")
        when = at if after is None else after
        if when is None or not 0 <= when < float("inf"):
            raise ConfigurationError(f"step {do!r} cannot be due at {when!r}")
        for name, value in (("do", do), ("at", at), ("after", after)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "arguments", MappingProxyType(arguments))


class Scenario:
    """Steps in the order they are due.

    Args:
        steps: in any order; of those due together, the first given comes first.
        name: for texts.
    """

    def __init__(self, steps: Iterable[Step], name: str = "scenario") -> None:
        steps = tuple(steps)
        self.name = name
        self.timed = tuple(
            sorted((s for s in steps if s.at is not None), key=lambda step: step.at or 0.0)
        )
        self.counted = tuple(
            sorted((s for s in steps if s.after is not None), key=lambda step: step.after or 0)
        )

    def __len__(self) -> int:
        return len(self.timed) + len(self.counted)

    @classmethod
    def load(cls, path: str | Path) -> Scenario:
        """Read a JSON file: a list of objects with ``do``, ``at`` or ``after``, and arguments.

        ::

            [{"at": 2.5, "do": "drop", "scope": "public", "how": "rst"},
             {"after": 1000, "do": "fault", "action": "withhold", "topic": "orderbook.*"}]

        Raises:
            ConfigurationError: the file cannot be read or a step is wrong; the text says which.
        """
        try:
            rows = msgspec.json.decode(Path(path).read_bytes(), type=list[dict[str, Any]])
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"scenario {path}: {error}") from error
        return cls(
            (step_of(f"scenario {path}, step {number}", row) for number, row in enumerate(rows, 1)),
            str(path),
        )

    @classmethod
    def random(cls, seed: int, seconds: float, per_second: float = 0.2) -> Scenario:
        """Make a scenario of faults of every kind at random times; the seed repeats it.

        Each ends before long, and everything is healed at the end.

        Args:
            seed: of the choices.
            seconds: how long it lasts.
            per_second: how many faults there are in a second, on average.
        """
        rng = random.Random(f"scenario {seed}")  # noqa: S311 (a simulation)
        steps: list[Step] = []
        now = rng.expovariate(per_second)
        while now < seconds:
            steps += _random_fault(rng, now, seconds)
            now += rng.expovariate(per_second)
        return cls([*steps, Step("heal", at=seconds)], f"random scenario, seed {seed}")


class Playing:
    """A scenario under way.

    Args:
        scenario: what is played.
        now_ms: the exchange's time at its beginning.
        sent: messages sent until then.
    """

    def __init__(self, scenario: Scenario, now_ms: float, sent: int) -> None:
        self._timed = list(scenario.timed)
        self._counted = list(scenario.counted)
        self._began_ms = now_ms
        self._sent = sent

    @property
    def over(self) -> bool:
        """Whether every step has been taken."""
        return not (self._timed or self._counted)

    def take(self, now_ms: float, sent: int) -> list[Step]:
        """Return the steps that are due; each is returned once."""
        due: list[Step] = []
        passed = (now_ms - self._began_ms) / 1000
        while self._timed and (self._timed[0].at or 0.0) <= passed:
            due.append(self._timed.pop(0))
        while self._counted and (self._counted[0].after or 0) <= sent - self._sent:
            due.append(self._counted.pop(0))
        return due


def step_of(where: str, row: dict[str, Any]) -> Step:
    """Return the step that a JSON object describes.

    Args:
        where: what to name in an error.
        row: ``do``, ``at`` or ``after``, and the arguments.

    Raises:
        ConfigurationError: something is missing or wrong.
    """
    row = dict(row)
    do, at, after = row.pop("do", None), row.pop("at", None), row.pop("after", None)
    if not isinstance(do, str):
        raise ConfigurationError(f"{where}: `do` is missing")
    for name, value in (("at", at), ("after", after)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ConfigurationError(f"{where}: `{name}` must be a number, not {value!r}")
    try:
        return Step(do, at=at, after=after, **row)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _random_fault(rng: random.Random, at: float, end: float) -> list[Step]:
    """Return one fault, with what ends it."""
    scope = rng.choice(("public", "private"))
    kind = rng.choice(("drop", "silence", "slow_down", "handshake", "restart", "fault", "fault"))
    if kind == "drop":
        how = rng.choice(("close", "fin", "rst"))
        return [Step("drop", at=at, scope=scope, how=how)]
    if kind == "silence":
        direction = rng.choice(("down", "up", "both"))
        silence = Step("silence", at=at, scope=scope, direction=direction)
        return [silence, Step("resume", at=min(end, at + rng.uniform(0.1, 5.0)), scope=scope)]
    if kind == "slow_down":
        rate = rng.choice((200.0, 2_000.0, 20_000.0))
        slow = Step("slow_down", at=at, scope=scope, bytes_per_second=rate)
        return [slow, Step("resume", at=min(end, at + rng.uniform(0.1, 3.0)), scope=scope)]
    if kind == "handshake":
        status = rng.choice((403, 429, 502))
        return [
            Step("refuse_handshakes", at=at, status=status, times=rng.randint(1, 3)),
            Step("drop", at=at, scope=scope, how="rst"),
        ]
    if kind == "restart":
        return [Step("restart", at=at)]
    action = rng.choice([action for action in ACTIONS if action not in ("replace", "cross")])
    hit: dict[str, Any] = {
        "action": action,
        "scope": scope,
        "kind": rng.choice(("data", "subscribe", "pong", "auth")),
        "seconds": rng.uniform(0.05, 2.0),
        "offset": rng.randint(0, 40),
        "garbage": rng.choice(("not_json", "binary", "unknown_topic", "bad_utf8", "masked")),
    }
    steps = [Step("fault", at=at, **hit)]
    if action == "stall":
        steps.append(Step("resume", at=min(end, at + rng.uniform(0.1, 5.0)), scope=scope))
    return steps
