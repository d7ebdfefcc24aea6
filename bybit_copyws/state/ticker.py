"""The ticker of one symbol: its snapshot with every delta merged in.

It must not know who brings the messages or asks for snapshots. Rules: Bybit's pages "Tickers" of
v3 and v5: a key that a delta leaves out is unchanged, one that is empty is empty now.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.events import Status
from bybit_copyws.messages import Message
from bybit_copyws.models import FIELDS, TickerUpdate, parse_ticker
from bybit_copyws.state.status import APPLIED, MALFORMED, LiveState, Result

_NAMES = {key: field.name for field in FIELDS[TickerUpdate] for key in field.keys}
_NOTHING: MappingProxyType[str, Any] = MappingProxyType({})


class TickerSnapshot(NamedTuple):
    """A ticker at one moment.

    Attributes:
        symbol: its symbol.
        status: whether the content could be trusted.
        reason: why not, in words.
        ts: the exchange's time of the last message, in milliseconds.
        data: every value as the exchange sent it last, by its own keys; read-only.
        changed: the keys that the last message sent.
    """

    symbol: str
    status: Status
    reason: str
    ts: int | None
    data: Mapping[str, Any]
    changed: frozenset[str]

    def parse(self) -> TickerUpdate | None:
        """Return the typed view: every field there is; its ``changed`` names the last ones.

        Its ``type`` is ``"snapshot"``. ``None`` without content.

        Raises:
            ProtocolError: a value is not what the exchange documents; :attr:`data` has it.
        """
        if not self.data:
            return None
        topic = f"tickers.{self.symbol}"
        view = parse_ticker(Message(topic, "snapshot", self.ts, dict(self.data), 0, b""))
        changed = frozenset(_NAMES[key] for key in self.changed if key in _NAMES)
        return msgspec.structs.replace(view, changed=changed)


class Ticker(LiveState):
    """The ticker of the topic ``tickers.{symbol}``.

    One thread applies messages, any thread reads; no reader sees half a message. Without content
    (status ``SYNCING``) :attr:`data` is empty.

    A value in a form that is not known does not put it out of sync: a new snapshot would carry
    the same. The typed view says so when it is asked for.

    Args:
        symbol: such as ``BTCUSDT``.

    Raises:
        ConfigurationError: the symbol is not text.
    """

    __slots__ = ("_changed", "_data", "_ts", "symbol", "topic")

    def __init__(self, symbol: str) -> None:
        super().__init__()
        if not isinstance(symbol, str) or not symbol:
            raise ConfigurationError(f"symbol is {symbol!r}; write one such as 'BTCUSDT'")
        self.symbol = symbol
        self.topic = f"tickers.{symbol}"
        self._data = _NOTHING
        self._changed: frozenset[str] = frozenset()
        self._ts: int | None = None

    def apply(self, message_type: str | None, data: Any, ts: int | None, now: float) -> Result:
        """Take one message of the topic. Never raises, whatever the message holds.

        Args:
            message_type: ``"snapshot"`` or ``"delta"``.
            data: the message's ``data``, decoded and otherwise as sent; it is not kept.
            ts: the message's ``ts``, milliseconds.
            now: monotonic seconds.

        Returns:
            What happened. After ``OUT_OF_SYNC`` the ticker is empty: subscribe anew. That is said
            once; until a snapshot comes, deltas are ignored.
        """
        with self._lock:
            try:
                return self._merge(message_type, data, ts, now)
            except MALFORMED as error:
                return self._malformed(message_type, error, now)

    @property
    def data(self) -> Mapping[str, Any]:
        """Every value as the exchange sent it last, by its own keys; read-only, never changed."""
        return self._data

    @property
    def changed(self) -> frozenset[str]:
        """The keys that the last message sent."""
        return self._changed

    def snapshot(self) -> TickerSnapshot:
        """Return a copy of this moment."""
        with self._lock:
            return TickerSnapshot(
                self.symbol, self._status, self._reason, self._ts, self._data, self._changed
            )

    def parse(self) -> TickerUpdate | None:
        """Return the typed view of this moment, see :meth:`TickerSnapshot.parse`."""
        return self.snapshot().parse()

    def __repr__(self) -> str:
        return f"<Ticker {self.topic} {self._status.value}>"

    def _merge(self, message_type: str | None, data: Any, ts: int | None, now: float) -> Result:
        if message_type not in ("snapshot", "delta"):
            raise ValueError("its type is neither snapshot nor delta")
        delta = message_type == "delta"
        if delta and self._status is Status.SYNCING:
            return self._before_snapshot(now)
        if data.__class__ is not dict:
            raise TypeError(f"data is {type(data).__name__}, not an object")
        if (data.get("symbol", self.symbol) if delta else data["symbol"]) != self.symbol:
            raise ValueError("it is of another symbol")
        # A new dictionary each time: whoever holds the last one keeps that moment.
        self._data = MappingProxyType({**self._data, **data} if delta else dict(data))
        self._changed = frozenset(data)
        self._ts = ts
        self._seen = now
        if self._status is not Status.LIVE:
            self._live(now)
        return APPLIED

    def _clear(self) -> None:
        self._data = _NOTHING
        self._changed = frozenset()
        self._ts = None
