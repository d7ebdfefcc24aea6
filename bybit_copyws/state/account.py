"""An account kept up to date: the stream, with what REST tells at the start and after each loss.

One :class:`AccountState` serves both API generations. It must not know threads, sockets or clocks:
the thread that reads the stream calls what takes and hands out messages, another one asks the
questions. Sources: Bybit's pages on the private topics and on reading the account, v3 and v5.
"""

from __future__ import annotations

from typing import Any

from bybit_copyws.errors import ConfigurationError
from bybit_copyws.events import Status
from bybit_copyws.messages import Message
from bybit_copyws.models import Execution
from bybit_copyws.state.account_dialects import AccountDialect, Kind
from bybit_copyws.state.account_view import RECONCILE, SNAPSHOT, AccountView, Update
from bybit_copyws.state.content import Content
from bybit_copyws.state.reconcile import Question, Reconciliation
from bybit_copyws.state.status import Trusted
from bybit_copyws.state.waiting import Entry, Waiting

# By how much an execution may come later than a younger one, or be told later by REST.
_OVERLAP_MS = 60_000


class AccountState(Trusted):
    """Positions, orders, executions and wallet of one account.

    While the account may have missed something, messages wait for the reconciliation, so that
    what was missed goes out before them: at most ``reconcile_timeout``, and at most so many. Then
    they go out, and the account is ``STALE`` until a reconciliation succeeds.

    One thread calls :meth:`take`, :meth:`tick`, :meth:`stale`, :meth:`lost` and :meth:`confirmed`,
    one other :meth:`begin`, :meth:`answer` and :meth:`fail`; any reads. All times but those of the
    exchange are monotonic seconds of one clock.

    Args:
        dialect: the words of the API generation.
        reconcile: ``False`` leaves REST out: there is only what the stream says, no message ever
            waits, and the account is never ``LIVE``.
        reconcile_timeout: seconds that a message waits at most.
        lookback: seconds before the start, executions of which the first snapshot tells.
        most_waiting: messages that wait.
        most_waiting_bytes: bytes of these.
        most_executions: executions that stay readable.
    """

    __slots__ = (
        "_ask_since_ms",
        "_content",
        "_dialect",
        "_linked",
        "_lookback_ms",
        "_reconcile",
        "_released",
        "_run",
        "_source",
        "_timeout",
        "_view",
        "_waiting",
        "_whole",
    )

    def __init__(
        self,
        dialect: AccountDialect,
        *,
        reconcile: bool = True,
        reconcile_timeout: float = 10.0,
        lookback: float = 0.0,
        most_waiting: int = 10_000,
        most_waiting_bytes: int = 16 * 2**20,
        most_executions: int = 1_000,
    ) -> None:
        super().__init__()
        self._dialect = dialect
        self._reconcile = reconcile
        self._timeout = reconcile_timeout
        self._lookback_ms = round(lookback * 1000)
        self._content = Content(dialect, most_executions)
        self._waiting = Waiting(most_waiting, most_waiting_bytes)
        self._run: Reconciliation | None = None
        self._source = SNAPSHOT  # of what the next reconciliation tells
        self._linked = False  # whether the exchange has confirmed all four topics on this link
        self._whole = False  # whether nothing was missed, as far as is known
        self._released = False  # whether messages have waited long enough
        self._ask_since_ms: int | None = None
        if not reconcile:
            self._reason = "reconcile=False: only what the stream has said is known"
        self._show()

    # Any thread

    @property
    def view(self) -> AccountView:
        """The account as it is now; what is returned never changes."""
        return self._view

    @property
    def whole(self) -> bool:
        """Whether nothing was missed, as far as is known: a gap is open while this is false."""
        return self._whole

    @property
    def wanted(self) -> bool:
        """Whether a reconciliation should begin now."""
        with self._lock:
            return self._reconcile and self._linked and not self._whole and self._run is None

    @property
    def ready(self) -> bool:
        """Whether everything is answered, so that :meth:`tick` should be called."""
        with self._lock:
            return self._run is not None and self._run.question is None

    def __repr__(self) -> str:
        return f"<AccountState {self._status.value}>"

    # The thread that reads the stream

    @property
    def deadline(self) -> float | None:
        """When to call :meth:`tick` at the latest; ``None`` if nothing waits."""
        with self._lock:
            since = None if self._released else self._waiting.since()
            return None if since is None else since + self._timeout

    def take(self, message: Message, now: float) -> list[Update]:
        """Take one message of the account; return what is to be handed out now, in this order.

        Never raises for what the message holds.

        Args:
            message: of a topic for which the dialect's ``kind_of`` is not ``None``.
            now: monotonic seconds.

        Raises:
            ConfigurationError: it is of another topic.
        """
        kind = self._dialect.kind_of(message.topic)
        if kind is None:
            raise ConfigurationError(f"topic {message.topic!r} is none of the account's")
        with self._lock:
            updates = self._due(now)
            entry = Entry(kind, message, now)
            if self._whole or self._released or not self._reconcile:
                updates += self._pass(entry, now)
            if entry.waits or self._run is not None:
                self._waiting.add(entry)
            if self._waiting.full:
                updates += self._overflow(now)
            return updates

    def tick(self, now: float) -> list[Update]:
        """Return what is to be handed out now: what was missed, or what has waited too long."""
        with self._lock:
            return self._due(now)

    def stale(self, reason: str, now: float) -> bool:
        """Say that something may have been missed, although the link goes on.

        What is being asked no longer counts; messages from now on wait for a new reconciliation.

        Returns:
            Whether it was live until now.
        """
        with self._lock:
            self._whole = False
            self._run = None
            self._released = False
            self._waiting.drop_handed_out()
            for entry in self._waiting:
                # Older than all that will be answered from now on, so it must come before that;
                # executions wait to be put in order.
                if entry.kind is not Kind.EXECUTION and entry.updates is None:
                    entry.updates = self._content.read(entry.kind, entry.message)
                entry.current = False
            was_live = super().stale(reason, now)
            self._show()
            return was_live

    def lost(self, reason: str, now: float) -> bool:
        """Say that the link is lost; nothing is asked until it is :meth:`confirmed` again.

        Returns:
            Whether it was live until now.
        """
        with self._lock:
            self._linked = False
            return self.stale(reason, now)

    def give_up(self, reason: str, now: float) -> list[Update]:
        """Say that nothing can be reconciled on this link; return what has waited for it.

        Messages wait no longer, until the link is lost.
        """
        with self._lock:
            if self._released and self._reason == reason:
                return []
            self._run = None
            return self._release(reason, now)

    def confirmed(self) -> None:
        """Say that the exchange has confirmed all four topics: from here on nothing is missed."""
        with self._lock:
            self._linked = True

    # The thread that asks

    def begin(self, exchange_ms: int, confirmed_for: float = 0.0) -> bool:
        """Begin a reconciliation; one that is under way no longer counts.

        It may begin while the account is live, too, as a look whether REST knows of anything that
        the stream did not tell; then nothing waits for it.

        Args:
            exchange_ms: the exchange's time now.
            confirmed_for: seconds since the first confirmation of all, for the first time: what
                was executed since then and did not come is told.

        Returns:
            Whether it has begun: not without a link, for what happens after an answer and before
            the link is confirmed would be told by nobody.
        """
        with self._lock:
            if not self._linked or not self._reconcile:
                return False
            if self._ask_since_ms is None:
                self._ask_since_ms = exchange_ms - self._lookback_ms - round(confirmed_for * 1000)
            self._waiting.drop_handed_out()  # older than all answers
            self._content.unreadable = ""
            since_ms = max(min(self._ask_since_ms, exchange_ms), 0)
            self._run = Reconciliation(self._dialect, self._content.known(), since_ms, exchange_ms)
            return True

    def question(self) -> Question | None:
        """Return what to ask the exchange next; ``None`` if nothing is to be asked.

        A reconciliation that was called off has no questions: look at :attr:`wanted`.
        """
        with self._lock:
            return None if self._run is None else self._run.question

    def answer(self, question: Question, result: Any) -> None:
        """Take the ``result`` of a call, as the exchange sent it.

        An answer to a question of a reconciliation that was called off is passed over.

        Raises:
            ProtocolError: it is not what the exchange documents; call :meth:`fail`.
        """
        with self._lock:
            run = self._run
            if run is not None and run.question is question:
                run.answer(result)

    def fail(self, reason: str) -> None:
        """Say that a question could not be answered; begin again after a while.

        Args:
            reason: in words, without secrets.
        """
        with self._lock:
            self._run = None
            self._waiting.drop_handed_out()
            if not self._whole:
                self._reason = f"not reconciled: {reason}"
                self._show()

    # The lock is held

    def _show(self) -> None:
        self._view = self._content.view(self._status, self._reason)

    def _due(self, now: float) -> list[Update]:
        if self.ready:
            return self._merge(now)
        deadline = self.deadline
        if deadline is not None and now >= deadline:
            return self._release(f"not reconciled within {self._timeout:g} s", now)
        return []

    def _pass(self, entry: Entry, now: float) -> tuple[Update, ...]:
        """Let a message through."""
        updates = self._hand_out(entry)
        self._seen = now
        if self._whole and self._ask_since_ms is not None:
            for update in updates:
                self._ask_since_ms = max(self._ask_since_ms, _latest(update) - _OVERLAP_MS)
        self._show()
        self._check_readable(now)
        return updates

    def _check_readable(self, now: float) -> None:
        reason, self._content.unreadable = self._content.unreadable, ""
        if reason and self._whole:
            self.stale(f"a message could not be read: {reason}", now)

    def _hand_out(self, entry: Entry) -> tuple[Update, ...]:
        entry.waits = False
        if entry.updates is None:
            entry.updates = self._content.read(entry.kind, entry.message)
        return entry.updates

    def _release(self, reason: str, now: float) -> list[Update]:
        """Hand out what waits, although something before it may be missing."""
        self._released = True
        updates = [
            update for entry in self._waiting if entry.waits for update in self._hand_out(entry)
        ]
        if self._run is None:
            self._waiting.clear()
        self._set(Status.STALE, reason, now)
        return updates

    def _overflow(self, now: float) -> list[Update]:
        """Give up a reconciliation that takes too long for what comes meanwhile."""
        updates = []
        if not self._whole:
            updates = self._release("more came than can wait for a reconciliation", now)
        self._run = None
        self._waiting.clear()
        return updates

    def _merge(self, now: float) -> list[Update]:
        """Bring together what was answered and what came meanwhile."""
        run = self._run
        assert run is not None  # noqa: S101 (ready says so)
        content, source, entries = self._content, self._source, list(self._waiting)
        self._run, self._source = None, RECONCILE
        self._waiting.clear()
        updates: list[Update] = []
        for entry in entries:
            if entry.updates is not None and entry.waits:
                updates += entry.updates
        told: set[tuple[str, ...]] = set()
        for entry in entries:
            if entry.current and not entry.waits:
                told |= content.names(entry.kind, entry.message)
        opened, doubtful = content.merge_open(run, source, told)
        updates += opened
        executions = [entry.message for entry in entries if entry.kind is Kind.EXECUTION]
        updates += content.merge_executions(run, executions, source)
        for entry in entries:
            # What went out already has its effect again: the answers may be older.
            if entry.current and entry.kind is not Kind.EXECUTION:
                again = content.read(entry.kind, entry.message)
                updates += again if entry.waits else ()
        updates += content.still_new(doubtful, source)
        self._ask_since_ms = run.exchange_ms - _OVERLAP_MS
        self._whole, self._released = True, False
        self._seen = now
        self._set(Status.LIVE, "", now)
        self._check_readable(now)
        return updates


def _latest(update: Update) -> int:
    """Return the time of the latest execution that an update tells of; 0 if it tells of none."""
    times = [each.exec_time or 0 for each in update.models if isinstance(each, Execution)]
    return max(times, default=0)
