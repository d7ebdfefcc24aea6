"""The order book of one topic, kept by its snapshots and deltas.

It must not know who brings the messages or asks for snapshots: :meth:`OrderBook.apply` says what
happened, and the owner acts. Rules: Bybit's pages "Orderbook" of v3 and v5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.events import Status
from bybit_copyws.state.levels import Row, Side
from bybit_copyws.state.reading import Reading, checked_count
from bybit_copyws.state.status import (
    APPLIED,
    MALFORMED,
    REPEATED,
    Cause,
    LiveState,
    Outcome,
    Result,
)

RESYNC, WARN = "resync", "warn"

# Looked up once: an attribute of an Enum costs as much as a small method call.
_LIVE, _SYNCING = Status.LIVE, Status.SYNCING


@dataclass(frozen=True, slots=True)
class BookSnapshot(Reading):
    """An order book at one moment; it never changes, and answers all the book does.

    Attributes:
        symbol: its symbol.
        depth: how many levels a side the topic shows.
        status: whether the content could be trusted.
        reason: why not, in words.
        update_id: the exchange's ``u`` of the last message, or ``None`` without content.
        sequence: the exchange's ``seq`` of it.
        ts: the exchange's time of it, in milliseconds.
        bid_rows: the bids as the exchange wrote them, best first.
        ask_rows: the asks, likewise.
    """

    symbol: str
    depth: int
    status: Status
    reason: str
    update_id: int | None
    sequence: int | None
    ts: int | None
    bid_rows: tuple[Row, ...]
    ask_rows: tuple[Row, ...]

    def rows(self, n: int | None = None) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
        """Return bids and asks as the exchange wrote them, best first; at most ``n`` each."""
        checked_count(n)
        return self.bid_rows[:n], self.ask_rows[:n]

    def best_rows(self) -> tuple[Row | None, Row | None]:
        """Return best bid and best ask as the exchange wrote them."""
        return next(iter(self.bid_rows), None), next(iter(self.ask_rows), None)


class OrderBook(LiveState, Reading):
    """The order book of the topic ``orderbook.{depth}.{symbol}``.

    One thread applies messages, any thread reads; no reader sees half a message. Without content
    (status ``SYNCING``) both sides are empty. While ``LIVE`` the book is never crossed.

    Args:
        symbol: such as ``BTCUSDT``.
        depth: levels a side, as in the topic.
        on_jump: what an update id calls for that is not the next one: ``"resync"``, or ``"warn"``,
            for v5 no longer promises that they follow each other. One that goes back calls for a
            resync in any case.

    Raises:
        ConfigurationError: an argument is not one of these.
    """

    __slots__ = (
        "_asks",
        "_bids",
        "_sequence",
        "_ts",
        "_update_id",
        "_warn",
        "depth",
        "symbol",
        "topic",
    )

    def __init__(self, symbol: str, depth: int = 50, *, on_jump: str = RESYNC) -> None:
        super().__init__()
        if not isinstance(symbol, str) or not symbol:
            raise ConfigurationError(f"symbol is {symbol!r}; write one such as 'BTCUSDT'")
        if type(depth) is not int or depth < 1:
            raise ConfigurationError(f"depth is {depth!r}; write the topic's, such as 1 or 50")
        if on_jump not in (RESYNC, WARN):
            raise ConfigurationError(f"on_jump is {on_jump!r}; write {RESYNC!r} or {WARN!r}")
        self.symbol = symbol
        self.depth = depth
        self.topic = f"orderbook.{depth}.{symbol}"
        self._warn = on_jump == WARN
        self._bids = Side(1, depth)
        self._asks = Side(-1, depth)
        self._update_id = 0
        self._sequence: int | None = None
        self._ts: int | None = None

    # What the owner calls

    def apply(self, message_type: str | None, data: Any, ts: int | None, now: float) -> Result:
        """Take one message of the topic. Never raises, whatever the message holds.

        Args:
            message_type: ``"snapshot"`` or ``"delta"``.
            data: the message's ``data``, decoded and otherwise as sent; it is not kept.
            ts: the message's ``ts``, milliseconds.
            now: monotonic seconds.

        Returns:
            What happened. After ``OUT_OF_SYNC`` the book is empty: subscribe anew. That is said
            once; until a snapshot comes, deltas are ignored.
        """
        # acquire() and release() take half the time of a with statement, and this is the hot path.
        lock = self._lock
        lock.acquire()
        try:
            update_id, bids, asks = data["u"], data["b"], data["a"]
            if (
                update_id.__class__ is not int  # a bool is one to isinstance()
                or bids.__class__ is not list
                or asks.__class__ is not list
                or data["s"] != self.symbol
            ):
                raise TypeError("u, b, a and s are not a number, two arrays and the symbol")
            if message_type == "delta":
                return self._delta(update_id, bids, asks, data.get("seq"), ts, now)
            if message_type == "snapshot":
                return self._snapshot(update_id, bids, asks, data.get("seq"), ts, now)
            raise ValueError("its type is neither snapshot nor delta")
        except MALFORMED as error:
            return self._malformed(message_type, error, now)
        except BaseException:  # such as Ctrl-C: half a message may be in the book
            self.resync("applying a message was interrupted", now)
            self._asked = False
            raise
        finally:
            lock.release()

    # What anyone calls

    def rows(self, n: int | None = None) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
        """Return bids and asks of one moment as the exchange wrote them, best first.

        Args:
            n: how many levels a side; all of them without it.

        Raises:
            ConfigurationError: ``n`` is not a whole number above zero.
        """
        checked_count(n)
        with self._lock:
            return tuple(self._bids.rows(n)), tuple(self._asks.rows(n))

    def best_rows(self) -> tuple[Row | None, Row | None]:
        """Return best bid and best ask of one moment as the exchange wrote them."""
        with self._lock:
            return self._bids.top(), self._asks.top()

    def snapshot(self, n: int | None = None) -> BookSnapshot:
        """Return a copy of this moment; with ``n``, of the best levels only."""
        with self._lock:
            known = self._status is not _SYNCING
            return BookSnapshot(
                self.symbol,
                self.depth,
                self._status,
                self._reason,
                self._update_id if known else None,
                self._sequence if known else None,
                self._ts if known else None,
                *self.rows(n),
            )

    @property
    def update_id(self) -> int | None:
        """The exchange's ``u`` of the last message, or ``None`` without content."""
        return None if self._status is _SYNCING else self._update_id

    @property
    def sequence(self) -> int | None:
        """The exchange's ``seq`` of the last message; smaller is earlier, across depths."""
        return None if self._status is _SYNCING else self._sequence

    @property
    def ts(self) -> int | None:
        """The exchange's time of the last message, in milliseconds."""
        return None if self._status is _SYNCING else self._ts

    def __repr__(self) -> str:
        return f"<OrderBook {self.topic} {self._status.value}>"

    # How a message is applied; the lock is held

    def _delta(
        self,
        update_id: int,
        bids: list[Any],
        asks: list[Any],
        sequence: Any,
        ts: int | None,
        now: float,
    ) -> Result:
        if self._status is _SYNCING:
            return self._before_snapshot(now)
        last, result = self._update_id, APPLIED
        if update_id != last + 1:
            if update_id == last:
                return self._settled(update_id, sequence, ts, now, REPEATED)
            reason = f"u went from {last} to {update_id}"
            if update_id < last or not self._warn:
                return self._lost(Cause.JUMP, reason, now)
            result = Result(Outcome.APPLIED, Cause.JUMP, reason)
        # Both sides before the check: a price may leave one side and enter the other.
        if bids:
            self._bids.update(bids)
        if asks:
            self._asks.update(asks)
        return self._settled(update_id, sequence, ts, now, result)

    def _snapshot(
        self,
        update_id: int,
        bids: list[Any],
        asks: list[Any],
        sequence: Any,
        ts: int | None,
        now: float,
    ) -> Result:
        before = None
        if self._status is not _SYNCING and update_id == self._update_id:
            # A repetition, as level 1 sends after 3 s without change; unless the content differs,
            # as after a second restart of the service, which counts from 1 again.
            before = self._bids.rows(), self._asks.rows()
        self._bids.replace(bids)
        self._asks.replace(asks)
        same = before is not None and before == (self._bids.rows(), self._asks.rows())
        return self._settled(update_id, sequence, ts, now, REPEATED if same else APPLIED)

    def _settled(
        self, update_id: int, sequence: Any, ts: int | None, now: float, result: Result
    ) -> Result:
        """Check what a message has made of the book, and note what it said about itself."""
        bid, ask = self._bids.best, self._asks.best
        if bid and ask and bid + ask >= 0:  # the keys of asks are negative
            ((bid_price, _),), ((ask_price, _),) = self.rows(1)
            reason = f"bid {bid_price} is not below ask {ask_price}"
            return self._lost(Cause.CROSSED, reason, now)
        self._update_id = update_id
        self._sequence = sequence if sequence.__class__ is int else None
        self._ts = ts
        self._seen = now
        if self._status is not _LIVE:
            self._live(now)
        return result

    def _clear(self) -> None:
        self._bids.clear()
        self._asks.clear()
