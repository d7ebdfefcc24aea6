"""What topics there are, and how a topic's name is checked.

One :class:`TopicSpec` row describes a channel; a new topic is one more row in the profile's
table. Pure data and text: no profile is named here and nothing is sent.
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.messages import Message

MAX_TOPIC = 64
INTERVALS = ("1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W", "M")

_TOPIC = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")
_SYMBOL = re.compile(r"[A-Z0-9]{2,40}(?:-[A-Z0-9]{1,20}){0,4}")
_DEPTH = re.compile(r"[1-9][0-9]{0,4}")
_CATEGORY = ("linear", "inverse", "spot", "option")


class Scope(enum.Enum):
    """Which of the two sockets carries a topic."""

    PUBLIC = "public"
    PRIVATE = "private"


@dataclass(frozen=True)
class TopicSpec:
    """One kind of topic.

    Attributes:
        channel: the first part of the name, as it stands on the wire.
        scope: the socket that carries it.
        parts: what follows, joined by dots: ``depth``, ``interval``, ``symbol``,
            ``category``, ``variant`` (a category or ``fast``), ``fast``.
        parser: makes the typed models of a message, or ``None`` if there are none.
    """

    channel: str
    scope: Scope
    parts: tuple[str, ...] = ()
    parser: Callable[[Message], Any] | None = None

    def __str__(self) -> str:
        """Return the pattern as a user would write it: ``orderbook.{depth}.{symbol}``."""
        return ".".join((self.channel, *(f"{{{part}}}" for part in self.parts)))


@dataclass(frozen=True)
class Topic:
    """A checked topic.

    Attributes:
        name: as the user wrote it (maybe an alias).
        wire: as the exchange calls it.
        spec: its row in the table.
        aliases: all that a user may write instead of ``wire``.
    """

    name: str
    wire: str
    spec: TopicSpec
    aliases: tuple[str, ...] = ()

    @property
    def scope(self) -> Scope:
        """The socket that carries it."""
        return self.spec.scope


class TopicTable:
    """The topics and aliases of one profile.

    Args:
        specs: the rows.
        aliases: other names of channels, to the channel they stand for.
        foreign: channels of other profiles, to what this profile calls them; for error texts.
    """

    def __init__(
        self,
        specs: Iterable[TopicSpec],
        aliases: Mapping[str, str] | None = None,
        foreign: Mapping[str, str] | None = None,
    ) -> None:
        self.specs = tuple(specs)
        self.aliases = dict(aliases or {})
        self.foreign = dict(foreign or {})
        self._rows = {(spec.channel, len(spec.parts)): spec for spec in self.specs}
        self._channels = {spec.channel for spec in self.specs}

    def parse(self, name: str) -> Topic:
        """Check a topic's name and find its row.

        Raises:
            ConfigurationError: the name is malformed, unknown, or of another profile; the text
                names the topic and the cure.
        """
        _check_text(name)
        channel, *rest = name.split(".")
        wire_channel = self.aliases.get(channel, channel)
        if wire_channel not in self._channels:
            raise ConfigurationError(self._unknown(name, channel))
        spec = self._rows.get((wire_channel, len(rest)))
        if spec is None:
            raise ConfigurationError(
                f"topic {name!r} has the wrong parts; write {self._patterns(wire_channel)}"
            )
        for part, value in zip(spec.parts, rest, strict=True):
            _CHECKS[part](name, value)
        aliases = (".".join((each, *rest)) for each in self._other_names(wire_channel))
        return Topic(name, ".".join((wire_channel, *rest)), spec, tuple(aliases))

    def may_fit(self, pattern: str) -> bool:
        """Return whether a pattern (with ``*`` and ``?``) may fit any topic's name."""
        first, *rest = pattern.split(".")
        return any(
            fnmatchcase(channel, first) and (len(rest) == len(spec.parts) or "*" in pattern)
            for spec in self.specs
            for channel in (spec.channel, *self._other_names(spec.channel))
        )

    def _other_names(self, channel: str) -> list[str]:
        return [alias for alias, meant in self.aliases.items() if meant == channel]

    def _patterns(self, channel: str) -> str:
        return " or ".join(str(spec) for spec in self.specs if spec.channel == channel)

    def _unknown(self, name: str, channel: str) -> str:
        if channel in self.foreign:
            here, parts = self.foreign[channel], name.split(".")[1:]
            if (here, len(parts)) not in self._rows:
                parts = []  # such as a category, which this profile does not know
            return (
                f"topic {name!r} belongs to the other API generation; in this profile it is "
                f"called {'.'.join((here, *parts))!r}"
            )
        known = sorted({*self._channels, *self.aliases})
        lower = {each.lower(): each for each in known}
        close = [
            lower[each] for each in difflib.get_close_matches(channel.lower(), list(lower), n=1)
        ]
        hint = f"did you mean {close[0]!r}?" if close else "known are " + ", ".join(known)
        return f"topic {name!r}: there is no channel {channel!r}; {hint}"


def _check_text(name: str) -> None:
    """Refuse what is no topic at all, before any of it is used."""
    if not isinstance(name, str):
        raise ConfigurationError(f"a topic must be a string, not {type(name).__name__}")
    if not name:
        raise ConfigurationError("a topic must not be empty")
    if len(name) > MAX_TOPIC:
        raise ConfigurationError(
            f"topic {name[:MAX_TOPIC]!r}... is longer than {MAX_TOPIC} characters"
        )
    if "*" in name or "|" in name:
        raise ConfigurationError(
            f"topic {name!r} has a wildcard, which the exchange does not know; name each symbol"
        )
    if not _TOPIC.fullmatch(name):
        raise ConfigurationError(
            f"topic {name!r} is malformed: letters and digits, parts joined by single dots"
        )


def _check_symbol(name: str, value: str) -> None:
    if value != value.upper() and _SYMBOL.fullmatch(value.upper()):
        raise ConfigurationError(f"topic {name!r}: symbols are upper case, write {value.upper()!r}")
    if not _SYMBOL.fullmatch(value):
        raise ConfigurationError(f"topic {name!r}: {value!r} is no symbol such as 'BTCUSDT'")


def _check_depth(name: str, value: str) -> None:
    # Any number passes: the exchange adds and withdraws depths, and says so itself.
    if not _DEPTH.fullmatch(value):
        raise ConfigurationError(f"topic {name!r}: depth {value!r} is no number such as 1 or 50")


def _check_one_of(what: str, known: tuple[str, ...]) -> Callable[[str, str], None]:
    def check(name: str, value: str) -> None:
        if value not in known:
            raise ConfigurationError(
                f"topic {name!r}: {value!r} is no {what}; known are {', '.join(known)}"
            )

    return check


_CHECKS: Mapping[str, Callable[[str, str], None]] = {
    "symbol": _check_symbol,
    "depth": _check_depth,
    "interval": _check_one_of("interval", INTERVALS),
    "category": _check_one_of("category", _CATEGORY),
    "fast": _check_one_of("part", ("fast",)),
    "variant": _check_one_of("variant", ("fast", *_CATEGORY)),
}
