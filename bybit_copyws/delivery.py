"""How messages reach a callback: what ``subscribe(..., delivery=...)`` takes, and its checks.

Values only. Must not know queues, threads or connections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.policy.backlog import Backlog, Overflow
from bybit_copyws.wire.topics import TopicSpec

_MIB = 1024 * 1024
_OVERFLOWS: tuple[str, ...] = get_args(Overflow)
# What their messages tell is not told again.
_HAPPENINGS = frozenset(
    {"publicTrade", "liquidation", "allLiquidation", "copyTradeExecution", "execution"}
)
_MOST_MESSAGES = 10_000_000
_MOST_BYTES = 2**40


@dataclass(frozen=True)
class Worker:
    """Run a callback in a thread of its own, behind a queue that is bounded.

    It is only a setting: each ``subscribe`` call that is given it makes a thread of its own.

    Without it, a callback runs in the run thread of its connection, and a slow one holds up all
    that is read there. One ``subscribe`` call has one thread and one queue for all its topics.

    Args:
        maxsize: how many messages may wait.
        max_bytes: how many bytes of messages, as received, may wait. A single message that is
            larger still passes, alone. Decoded, a message takes several times as much.
        overflow: what happens when the queue is full. ``"block"``: reading waits, and nothing is
            lost but time. ``"drop_oldest"``: what has waited longest is dropped, whichever topic
            it belongs to. ``"latest"``: at any time only the newest message of each topic waits.
            The next message of a topic that lost any says so in :attr:`Message.gap`.

    Raises:
        ConfigurationError: an argument can never work; the text names it and the cure.
    """

    maxsize: int = 1000
    max_bytes: int = 16 * _MIB
    overflow: Overflow = "block"

    def __post_init__(self) -> None:
        _check_count("maxsize", "messages", self.maxsize, _MOST_MESSAGES)
        _check_count("max_bytes", "bytes", self.max_bytes, _MOST_BYTES)
        if self.overflow not in _OVERFLOWS:
            known = ", ".join(map(repr, _OVERFLOWS))
            raise ConfigurationError(f"overflow must be one of {known}, not {self.overflow!r}")


def check_delivery(delivery: object) -> None:
    """Refuse what is no delivery.

    Raises:
        ConfigurationError: it is neither a :class:`Worker` nor ``None``.
    """
    if delivery is Worker:
        raise ConfigurationError("delivery is the class Worker: write delivery=Worker()")
    if delivery is not None and not isinstance(delivery, Worker):
        raise ConfigurationError(
            "delivery must be Worker(...), or None to run the callback in the run thread of its "
            f"connection, not {type(delivery).__name__}"
        )


def backlog_for(worker: Worker, callback: str) -> Backlog:
    """Return the queue of a worker.

    Args:
        worker: what was asked for.
        callback: name of the callback, for the reasons of gaps.
    """
    return Backlog(worker.maxsize, worker.max_bytes, worker.overflow, callback)


def check_topic(name: str, spec: TopicSpec, worker: Worker) -> None:
    """Refuse a topic whose messages make no sense once any of them is left out on purpose.

    Args:
        name: the topic, or a pattern for several.
        spec: what kind of topic it is.
        worker: what was asked for.

    Raises:
        ConfigurationError: trades, or a book that is sent as changes, of which only the latest were
            kept.
    """
    parts = spec.parts
    if worker.overflow != "latest":
        return
    if spec.channel in _HAPPENINGS:
        raise ConfigurationError(
            f"topic {name!r} cannot be delivered with overflow='latest': each message tells of "
            "something else, and what is left out is lost. Use 'block' or 'drop_oldest'"
        )
    if "depth" not in parts:
        return
    values = name.split(".")
    place = 1 + parts.index("depth")
    if values[place] != "1":
        values[place] = "1"
        raise ConfigurationError(
            f"topic {name!r} cannot be delivered with overflow='latest': it is sent as "
            "changes, and a book without some of them is wrong. Use 'block', or 'drop_oldest' and "
            f"start over at a gap, or subscribe {'.'.join(values)!r}, which is sent whole"
        )


def _check_count(name: str, unit: str, value: object, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ConfigurationError(
            f"{name} must be a whole number of {unit}, at least 1 and at most {most:,}, not "
            f"{value!r}"
        )
