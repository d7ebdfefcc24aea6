"""What an account holds: positions, orders, executions and wallet, changed row by row.

It must not know when it is asked, nor whether its content can be trusted.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import cast

from msgspec.structs import replace

from bybit_copyws.errors import ProtocolError
from bybit_copyws.events import Status
from bybit_copyws.fields import Model, json_object
from bybit_copyws.messages import Message
from bybit_copyws.models import Execution
from bybit_copyws.state.account_dialects import AccountDialect, Kind, Row, is_foreign, name_of
from bybit_copyws.state.account_view import STREAM, AccountView, Update, has_changed
from bybit_copyws.state.executions import Executions, age_of, read_execution
from bybit_copyws.state.orders import Orders, read_order
from bybit_copyws.state.positions import Positions, read_position
from bybit_copyws.state.reconcile import Known, Reconciliation
from bybit_copyws.state.wallets import Wallets


class Content:
    """The four parts of an account.

    Args:
        dialect: the words of the API generation.
        most_executions: how many stay readable.

    Attributes:
        unreadable: what was wrong with the last message that could not be read; empty if none was.
    """

    def __init__(self, dialect: AccountDialect, most_executions: int) -> None:
        self._dialect = dialect
        self._positions = Positions(dialect)
        self._orders = Orders(dialect)
        self._executions = Executions(dialect, most_executions)
        self._wallets = Wallets(dialect)
        self.unreadable = ""

    def view(self, status: Status, reason: str) -> AccountView:
        """Return all of it as it is now."""
        return AccountView(
            status,
            reason,
            self._positions.view,
            self._orders.open,
            self._orders.done,
            self._executions.view,
            self._wallets.view,
        )

    def known(self) -> Known:
        """Return what is open."""
        orders = {order_id: order.symbol for order_id, order in self._orders.open.items()}
        return Known(frozenset(self._positions.view), orders)

    # The stream

    def read(self, kind: Kind, message: Message) -> tuple[Update, ...]:
        """Take a message; return what is to be handed out of it, at most one update.

        One that cannot be read is handed out as it is. Rows of other markets are, too.
        """
        fresh: list[Row] = []
        models: list[Model] = []
        try:
            rows = self._rows(kind, message)
            for row in rows:
                if kind is not Kind.EXECUTION and is_foreign(row):
                    fresh.append(row)
                elif (model := self._apply(kind, row, message.ts)) is not None:
                    fresh.append(row)
                    models.append(model)
        except ProtocolError as error:
            self.unreadable = str(error)
            return (self._whole(kind, message),)
        if not fresh:
            return ()
        part = message if len(fresh) == len(rows) else self._part(kind, message, fresh)
        return (self._update(kind, STREAM, fresh, models, part),)

    def _rows(self, kind: Kind, message: Message) -> list[Row]:
        rows = self._dialect.rows_of(kind, message.data)
        return [json_object(message.topic, "a row", row) for row in rows]

    def _apply(self, kind: Kind, row: Row, ts: int | None) -> Model | None:
        if kind is Kind.POSITION:
            return self._positions.apply(row)
        if kind is Kind.ORDER:
            return self._orders.apply(row)
        if kind is Kind.EXECUTION:
            return self._executions.apply(row)
        return self._wallets.apply(row, ts)

    def _whole(self, kind: Kind, message: Message) -> Update:
        return Update(kind, self._dialect.topics[kind], STREAM, message.data, (), message)

    def _part(self, kind: Kind, message: Message, rows: list[Row]) -> Message:
        return replace(message, data=self._dialect.data_of(kind, rows), raw=b"", _parsed=None)

    def _update(
        self,
        kind: Kind,
        source: str,
        rows: list[Row],
        models: list[Model],
        message: Message | None = None,
    ) -> Update:
        data = self._dialect.data_of(kind, rows)
        return Update(kind, self._dialect.topics[kind], source, data, tuple(models), message)

    # The answers of REST

    def names(self, kind: Kind, message: Message) -> set[tuple[str, ...]]:
        """Return of what a message tells; nothing if it cannot be read."""
        try:
            return {name_of(kind, row) for row in self._rows(kind, message)}
        except ProtocolError:
            return set()

    def merge_open(
        self, answers: Reconciliation, source: str, told: set[tuple[str, ...]]
    ) -> tuple[list[Update], list[tuple[Kind, Row]]]:
        """Take what is open, and what became of that which was.

        Args:
            answers: those of REST.
            source: of what is returned.
            told: of what the stream has told since the questions began, which may be newer.

        Returns:
            What is new; and what is new if it is not older than what was told.
        """
        for order_id in answers.unknown:
            self._orders.forget(order_id)
        updates: list[Update] = []
        doubtful: list[tuple[Kind, Row]] = []
        for kind, rows in (
            (Kind.ORDER, self._orders_worth_telling(answers)),
            (Kind.POSITION, list(answers.positions.values())),
            (Kind.WALLET, answers.wallets),
        ):
            news: list[Row] = []
            models: list[Model] = []
            for row in rows:
                before = self._held(kind, row)
                after = self._apply(kind, row, None)
                if after is None or not has_changed(kind, before, after):
                    continue
                if name_of(kind, row) in told:
                    doubtful.append((kind, row))
                else:
                    news.append(row)
                    models.append(after)
            if news:
                updates.append(self._update(kind, source, news, models))
        return updates, doubtful

    def still_new(self, doubtful: Iterable[tuple[Kind, Row]], source: str) -> list[Update]:
        """Return what has remained new although the stream's rows were taken again."""
        updates = []
        for kind, row in doubtful:
            held = self._held(kind, row)
            if held is not None and not has_changed(kind, held, self._dialect.parse(kind, row)):
                updates.append(self._update(kind, source, [row], [held]))
        return updates

    def _held(self, kind: Kind, row: Row) -> Model | None:
        if kind is Kind.ORDER:
            return self._orders.get(read_order(self._dialect, row)[0])
        if kind is Kind.POSITION:
            return self._positions.get(read_position(self._dialect, row)[0])
        return self._wallets.view

    def _orders_worth_telling(self, answers: Reconciliation) -> list[Row]:
        """Return the answered orders, as they changed one after the other.

        Without those of old that ended before anything can have been missed: v3 lists them, too.
        """
        rows = []
        for order_id, row in answers.orders.items():
            _, order = read_order(self._dialect, row)
            at = order.updated_time or 0
            news = at >= answers.since_ms or order.status not in self._dialect.ended
            if news or self._orders.get(order_id) is not None:
                rows.append((at, row))
        return [row for _, row in sorted(rows, key=lambda each: each[0])]

    def merge_executions(
        self, answers: Reconciliation, messages: Iterable[Message], source: str
    ) -> list[Update]:
        """Take executions of REST and of the stream; return those that are new, by their age.

        Args:
            answers: those of REST.
            messages: those of the stream, in the order of their coming.
            source: of those that REST alone has told of.
        """
        updates: list[Update] = []
        found: dict[str, tuple[Execution, Row, Message | None]] = {}
        # Newest first, as they came: within a millisecond the last of them is the oldest.
        for row in reversed(answers.executions):
            exec_id, execution = read_execution(self._dialect, row)
            found[exec_id] = execution, row, None
        found = dict(sorted(found.items(), key=lambda item: age_of(item[1][0])))
        for message in messages:
            try:
                rows = self._rows(Kind.EXECUTION, message)
                read = [(*read_execution(self._dialect, row), row) for row in rows]
            except ProtocolError:
                updates.append(self._whole(Kind.EXECUTION, message))
                continue
            for exec_id, execution, row in read:
                found[exec_id] = execution, row, message  # in its place, if it has one
        by_age = sorted(found.values(), key=lambda each: age_of(each[0]))
        for _, group in groupby(by_age, key=lambda each: id(each[2])):
            updates.extend(self._merged_executions(list(group), source))
        return updates

    def _merged_executions(
        self, group: list[tuple[Execution, Row, Message | None]], source: str
    ) -> tuple[Update, ...]:
        """Take executions that one message, or none, has brought."""
        rows = [row for _, row, _ in group]
        message = group[0][2]
        if message is not None:
            same = len(rows) == len(self._rows(Kind.EXECUTION, message))
            return self.read(
                Kind.EXECUTION, message if same else self._part(Kind.EXECUTION, message, rows)
            )
        fresh = [row for row in rows if self._executions.apply(row) is not None]
        if not fresh:
            return ()
        models = [cast(Model, read_execution(self._dialect, row)[1]) for row in fresh]
        return (self._update(Kind.EXECUTION, source, fresh, models),)
