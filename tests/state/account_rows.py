"""Rows and messages for the tests of the account: the samples' shapes, few values."""

from __future__ import annotations

from typing import Any

from bybit_copyws.messages import Message
from bybit_copyws.state import AccountState, Kind, find_account_dialect
from bybit_copyws.state.account_dialects import PARSERS

TOPICS = {
    "v3": {
        Kind.POSITION: "copyTradePosition",
        Kind.ORDER: "copyTradeOrder",
        Kind.EXECUTION: "copyTradeExecution",
        Kind.WALLET: "copyTradeWallet",
    },
    "v5": {kind: kind.value for kind in Kind},
}
NOW_MS = 1_700_000_000_000


def position(size: str, idx: int = 1, *, profile: str = "v3", **more: Any) -> dict[str, Any]:
    side = ("Buy" if idx == 1 else "Sell") if float(size) else ""
    index: Any = str(idx) if profile == "v3" else idx
    return {"symbol": "BTCUSDT", "positionIdx": index, "side": side, "size": size, **more}


def order(order_id: str, status: str, at: int = 0, value: str = "0", **more: Any) -> dict[str, Any]:
    """A row of v3's stream."""
    return {
        "orderId": order_id,
        "orderLinkId": "",
        "symbol": "BTCUSDT",
        "side": "Buy",
        "qty": "1.000000",
        "cumExecValue": value,
        "createTime": NOW_MS,
        "updateTime": NOW_MS + at,
        "copyTradeOrderStatus": status,
        **more,
    }


def order5(order_id: str, status: str, at: int = 0, value: str = "0", **more: Any) -> Any:
    """A row of v5."""
    return {
        "orderId": order_id,
        "symbol": "BTCUSDT",
        "side": "Buy",
        "qty": "1",
        "cumExecValue": value,
        "updatedTime": str(NOW_MS + at),
        "orderStatus": status,
        "category": "linear",
        **more,
    }


def execution(exec_id: str, at: int = 0, *, rest: bool = False, **more: Any) -> dict[str, Any]:
    """A row of v3: of the stream, or of REST."""
    price, time = ("execPrice", "execTime") if rest else ("price", "tradeTime")
    when: Any = str(NOW_MS + at) if rest else NOW_MS + at
    row = {"execId": exec_id, "orderId": "o", "symbol": "BTCUSDT", "side": "Buy"}
    return {**row, price: "100", "execQty": "1", time: when, **more}


def message(kind: Kind, *rows: Any, profile: str = "v3", ts: int | None = None) -> Message:
    bare = kind is Kind.WALLET and profile == "v3"
    data = rows[0] if bare else list(rows)
    return Message(TOPICS[profile][kind], None, ts, data, 7, b"{}", PARSERS[kind])


def new_account(profile: str = "v3", **options: Any) -> AccountState:
    return AccountState(find_account_dialect(profile), **options)


WALLETS: dict[str, Any] = {
    "v3": {"walletBalance": "10", "availableBalance": "9", "equity": "11", "coin": "USDT"},
    "v5": {"list": [{"accountType": "UNIFIED", "totalWalletBalance": "10", "coin": []}]},
}


def ask_all(
    state: AccountState, answers: dict[str, Any], profile: str = "v3"
) -> list[tuple[str, dict[str, Any]]]:
    """Answer all questions; return them.

    Args:
        state: the account.
        answers: rows by call, with the order or (positions) the symbol that is asked for:
            ``"orders"``, ``"orders o1"``, ``"positions BTCUSDT"``.
        profile: ``"v3"`` or ``"v5"``.
    """
    asked = []
    while (question := state.question()) is not None:
        params = {name: value for name, value in question.params.items() if value is not None}
        asked.append((question.call, params))
        one = params.get("order_id") or (question.call == "positions" and params.get("symbol"))
        rows = answers.get(f"{question.call} {one}" if one else question.call, [])
        wallet = answers.get("wallet", WALLETS[profile])
        state.answer(question, wallet if question.call == "wallet" else {"list": rows})
    return asked


def reconcile(
    state: AccountState,
    answers: dict[str, Any] | None = None,
    profile: str = "v3",
    *,
    at: int = 0,
    now: float = 0.0,
) -> list[Any]:
    """Begin, answer everything, and return what is to be handed out."""
    state.confirmed()
    assert state.begin(NOW_MS + at)
    ask_all(state, answers or {}, profile)
    return state.tick(now)


def live_account(
    profile: str = "v3", answers: dict[str, Any] | None = None, **options: Any
) -> AccountState:
    state = new_account(profile, **options)
    assert reconcile(state, answers, profile)
    assert state.view.live
    return state
