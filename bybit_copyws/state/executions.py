"""The executions of an account, each once.

It must not know where a row comes from. Rules: Bybit's pages "Execution" of v3 copy trading and of
v5.
"""

from __future__ import annotations

from collections import deque
from typing import cast

from bybit_copyws.errors import ProtocolError
from bybit_copyws.models import Execution
from bybit_copyws.state.account_dialects import AccountDialect, Kind, Row
from bybit_copyws.state.remembered import Remembered

_MOST_IDS = 20_000  # REST is asked for those of a gap and of a minute before it


class Executions:
    """Executions by their ``exec_id``.

    Args:
        dialect: the words of the API generation.
        most: how many stay readable.

    Attributes:
        view: the latest ones, in the order in which they were handed out; replaced as a whole at
            each change, never changed.
    """

    def __init__(self, dialect: AccountDialect, most: int) -> None:
        self._dialect = dialect
        self._kept: deque[Execution] = deque(maxlen=most)
        self._seen = Remembered(_MOST_IDS)
        self.view: tuple[Execution, ...] = ()

    def apply(self, row: Row) -> Execution | None:
        """Take one row.

        Returns:
            The execution; ``None`` if it was taken before.

        Raises:
            ProtocolError: it is not what the exchange documents.
        """
        exec_id, model = read_execution(self._dialect, row)
        if not self._seen.add(exec_id):
            return None
        self._kept.append(model)
        self.view = tuple(self._kept)
        return model


def read_execution(dialect: AccountDialect, row: Row) -> tuple[str, Execution]:
    """Return the id and the model of one row.

    Raises:
        ProtocolError: it is not what the exchange documents.
    """
    model = cast(Execution, dialect.parse(Kind.EXECUTION, row))
    if model.exec_id is None:
        raise ProtocolError("execution: a row has no execId")
    return model.exec_id, model


def age_of(execution: Execution) -> tuple[int, int]:
    """Return what puts executions in order: the time, within a millisecond v5's ``seq``."""
    return execution.exec_time or 0, execution.sequence or 0
