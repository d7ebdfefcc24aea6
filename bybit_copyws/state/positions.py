"""The positions of an account, kept by rows of the stream and of REST.

It must not know where a row comes from: late ones are told by what they say. Rules: Bybit's pages
"Position" of v3 copy trading and of v5.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, cast

from bybit_copyws.errors import ProtocolError
from bybit_copyws.models import Position
from bybit_copyws.state.account_dialects import AccountDialect, Kind, Row

PositionKey: TypeAlias = tuple[str, int]
"""Symbol and ``position_idx``: 0 one-way, 1 long and 2 short in hedge mode."""

# What never changes while a position exists. v3's stream and REST each leave out what the other
# sends; anything else would be a figure of another moment beside those of the row.
_KEPT = ("createdTime", "riskId", "isIsolated", "category")


class _Held(NamedTuple):
    row: Row
    model: Position


class Positions:
    """Positions by symbol and index.

    Args:
        dialect: the words of the API generation.

    Attributes:
        view: those that are open; replaced as a whole at each change, never changed.
    """

    def __init__(self, dialect: AccountDialect) -> None:
        self._dialect = dialect
        # Flat ones too, so that a late row opens none of them again.
        self._held: dict[PositionKey, _Held] = {}
        self.view: Mapping[PositionKey, Position] = MappingProxyType({})

    def get(self, key: PositionKey) -> Position | None:
        """Return what is known of a position, which may be flat."""
        held = self._held.get(key)
        return None if held is None else held.model

    def apply(self, row: Row) -> Position | None:
        """Take one row.

        Returns:
            The position as it is now; ``None`` if the row is older than what is known.

        Raises:
            ProtocolError: it is not what the exchange documents.
        """
        key, model = read_position(self._dialect, row)
        held = self._held.get(key)
        if held is not None:
            if _is_late(model, held.model):
                return None
            kept = {name: held.row[name] for name in _KEPT if name in held.row}
            row = {**kept, **row}
            _, model = read_position(self._dialect, row)
        self._held[key] = _Held(row, model)
        open_ones = {k: each.model for k, each in self._held.items() if each.model.size}
        self.view = MappingProxyType(open_ones)
        return model


def read_position(dialect: AccountDialect, row: Row) -> tuple[PositionKey, Position]:
    """Return the key and the model of one row by itself.

    Raises:
        ProtocolError: it is not what the exchange documents.
    """
    model = cast(Position, dialect.parse(Kind.POSITION, row))
    if model.symbol is None or model.position_idx is None or model.size is None:
        raise ProtocolError("position: a row has no symbol, positionIdx or size")
    return (model.symbol, model.position_idx), model


def flat_row(key: PositionKey) -> Row:
    """Return the row of a position of which the exchange knows nothing any more."""
    return {"symbol": key[0], "positionIdx": key[1], "side": "", "size": "0"}


def _is_late(new: Position, held: Position) -> bool:
    """Return whether a row is older than what is held, as far as the two can be compared.

    ``seq`` counts fills, and stays the same when settings change: then the time decides. v3's is
    0 where there is none, and neither is on its REST, where the stream's rows are the later ones.
    """
    if (new.sequence or 0) > 0 and (held.sequence or 0) > 0 and new.sequence != held.sequence:
        return new.sequence < held.sequence  # type: ignore[operator]
    if new.updated_time is None or held.updated_time is None:
        return False
    return new.updated_time < held.updated_time
