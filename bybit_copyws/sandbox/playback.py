"""A recorded session, served again: what a server sent, with its times. Pure.

The file has one JSON object a line: ``time`` (seconds, from any origin), ``message`` (what was
sent) and maybe ``scope`` (``"public"`` if it is missing)::

    {"time": 0.0, "scope": "public", "message": {"topic": "tickers.BTCUSDT", "data": {}}}
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bybit_copyws.errors import ConfigurationError


@dataclass(frozen=True)
class Recorded:
    """One message of a recording.

    Attributes:
        time: seconds after the first one.
        scope: ``"public"`` or ``"private"``.
        message: what was sent.
    """

    time: float
    scope: str
    message: dict[str, Any]

    @property
    def topic(self) -> str:
        """The topic of the message, or an empty text."""
        return str(self.message.get("topic", ""))


class _Row(msgspec.Struct):
    time: float
    message: dict[str, Any]
    scope: str = "public"


class Playback:
    """The messages of a recording in the order of their times.

    Args:
        rows: in any order; times are counted from the earliest.

    Raises:
        ConfigurationError: there are none, or a scope is unknown.
    """

    def __init__(self, rows: Iterable[Recorded]) -> None:
        ordered = sorted(rows, key=lambda row: row.time)
        if not ordered:
            raise ConfigurationError("the recording has no messages")
        for row in ordered:
            if row.scope not in ("public", "private"):
                raise ConfigurationError(f"a recording has no scope {row.scope!r}")
        first = ordered[0].time
        self.rows = tuple(Recorded(row.time - first, row.scope, row.message) for row in ordered)
        self.topics = frozenset((row.scope, row.topic) for row in self.rows if row.topic)
        self._next = 0

    @classmethod
    def load(cls, path: str | Path) -> Playback:
        """Read a file of JSON lines.

        Raises:
            ConfigurationError: it cannot be read; the text says which line is wrong.
        """
        rows: list[Recorded] = []
        try:
            lines = Path(path).read_bytes().splitlines()
        except OSError as error:
            raise ConfigurationError(f"recording {path}: {error}") from error
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = msgspec.json.decode(line, type=_Row)
            except msgspec.DecodeError as error:
                raise ConfigurationError(f"recording {path}, line {number}: {error}") from error
            rows.append(Recorded(row.time, row.scope, row.message))
        return cls(rows)

    @property
    def over(self) -> bool:
        """Whether everything was served."""
        return self._next == len(self.rows)

    def take(self, passed: float) -> list[Recorded]:
        """Return what is due so many seconds after the beginning; each is returned once."""
        begin = self._next
        while not self.over and self.rows[self._next].time <= passed:
            self._next += 1
        return list(self.rows[begin : self._next])
