"""The balance of an account, merged from what each row tells of it.

It must not know where a row comes from. Rules: Bybit's pages "Wallet" of v3 copy trading and of v5.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from bybit_copyws.models import Wallet
from bybit_copyws.state.account_dialects import AccountDialect, Kind, Row

_COINS = "coin"


class _Held(NamedTuple):
    row: Row
    model: Wallet
    ts: int | None


class Wallets:
    """The wallet of each account type; v3 has one without a name.

    A key that a row leaves out stays as it was: v3's stream sends two figures of ten, v5's the
    coins that changed.

    Args:
        dialect: the words of the API generation.

    Attributes:
        view: the wallet that was known first; replaced at each change, never changed.
    """

    def __init__(self, dialect: AccountDialect) -> None:
        self._dialect = dialect
        self._held: dict[str, _Held] = {}
        self.view: Wallet | None = None

    def apply(self, row: Row, ts: int | None = None) -> Wallet | None:
        """Take one row.

        Args:
            row: as sent.
            ts: the exchange's time of it in milliseconds, if it told one.

        Returns:
            The wallet as it is now; ``None`` if the row is older than what is known.

        Raises:
            ProtocolError: it is not what the exchange documents.
        """
        name = cast(Wallet, self._dialect.parse(Kind.WALLET, row)).account_type or ""
        held = self._held.get(name)
        if held is not None:
            if ts is not None and held.ts is not None and ts < held.ts:
                return None
            row = _merged(held.row, row)
        model = cast(Wallet, self._dialect.parse(Kind.WALLET, row))
        self._held[name] = _Held(row, model, ts)
        self.view = next(iter(self._held.values())).model
        return model


def _merged(held: Row, row: Row) -> Row:
    merged = {**held, **row}
    coins = [each.get(_COINS) for each in (held, row)]
    if all(isinstance(each, list) for each in coins):  # v3's REST has the coin's name there
        by_name: dict[Any, Any] = {coin.get(_COINS): coin for each in coins for coin in each or ()}
        merged[_COINS] = list(by_name.values())
    return merged
