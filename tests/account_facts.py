"""What is true of the exchange's own account, to compare with what a client made of it."""

from __future__ import annotations

from typing import Any

from bybit_copyws.messages import Message
from bybit_copyws.sandbox.account import render_result
from bybit_copyws.state import AccountView, Kind, find_account_dialect
from bybit_copyws.state.account_dialects import PARSERS


class Facts:
    """The account of the exchange, by the models of a profile.

    Args:
        profile: ``"v3"`` or ``"v5"``.
        account: the exchange's own.
    """

    def __init__(self, profile: str, account: Any) -> None:
        self._profile = profile
        self._account = account

    def positions(self, now_ms: int) -> dict[Any, Any]:
        models = (_model(Kind.POSITION, row) for row in self._all("positions", now_ms))
        return {(m.symbol, m.position_idx): position_facts(m, self._profile) for m in models}

    def orders(self, now_ms: int) -> dict[Any, Any]:
        ended = find_account_dialect(self._profile).ended
        models = [_model(Kind.ORDER, row) for row in self._all("orders", now_ms)]
        return {m.order_id: order_facts(m, self._profile) for m in models if m.status not in ended}

    def wallet(self) -> tuple[Any, ...]:
        wallet = self._account.wallet
        return wallet.wallet_balance, wallet.available_balance

    def exec_ids(self, symbol: str | None = None) -> list[str]:
        """Return the ids of what the stream tells (v3: no funding), oldest first."""
        return [
            each.exec_id
            for each in reversed(list(self._account.executions))
            if symbol in (None, each.symbol)
            and (self._profile == "v5" or each.exec_type != "Funding")
        ]

    def all(self, now_ms: int) -> tuple[Any, ...]:
        """Return all of it but the executions, in the form of :func:`facts_of`."""
        return self.positions(now_ms), self.orders(now_ms), self.wallet()

    def _all(self, name: str, now_ms: int) -> list[Any]:
        params = {"category": "linear", "settleCoin": "USDT", "limit": "100"}
        result = render_result(self._profile, name, self._account, params, now_ms)
        assert not result.get("nextPageCursor")
        return result["list"]  # type: ignore[no-any-return]


def facts_of(view: AccountView, profile: str) -> tuple[Any, ...]:
    """Return the same of what a client knows."""
    wallet = view.wallet
    return (
        {key: position_facts(each, profile) for key, each in view.positions.items()},
        {key: order_facts(each, profile) for key, each in view.orders.items()},
        wallet and (wallet.wallet_balance, wallet.available_balance),
    )


def position_facts(model: Any, profile: str) -> tuple[Any, ...]:
    facts = (model.side, model.size, model.entry_price, model.leverage, model.position_margin)
    facts += (model.cum_realised_pnl, model.liq_price)
    return (*facts, model.take_profit or 0, model.stop_loss or 0) if profile == "v5" else facts


def order_facts(model: Any, profile: str) -> tuple[Any, ...]:
    facts = (model.status, model.symbol, model.side, model.price, model.qty)
    facts += (model.cum_exec_value, model.cum_exec_fee)
    if profile == "v5":
        facts += (model.cum_exec_qty,)
    return facts


def _model(kind: Kind, row: Any) -> Any:
    return PARSERS[kind](Message("truth", None, None, [row], 0, b""))[0]
