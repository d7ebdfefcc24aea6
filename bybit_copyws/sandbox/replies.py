"""What the exchange answers to operations, in each dialect. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bybit_copyws.wire.dialects import AckShape, Dialect, PongShape


def ack(
    dialect: Dialect,
    op: str,
    args: Sequence[Any] | None,
    req_id: str | None,
    conn_id: str,
    ret_msg: str = "",
) -> dict[str, Any]:
    """Return the outcome of an operation; a text in ``ret_msg`` makes it a refusal."""
    success = not ret_msg
    if dialect.ack is AckShape.REQUEST:
        quoted = None if args is None else [str(arg) for arg in args]
        return {
            "success": success,
            "ret_msg": ret_msg,
            "conn_id": conn_id,
            "request": {"op": op, "args": quoted},
        }
    if dialect.ack is AckShape.OP_AND_REQ_ID:
        return {
            "success": success,
            "ret_msg": ret_msg,
            "conn_id": conn_id,
            "req_id": req_id or "",
            "op": op,
        }
    reply: dict[str, Any] = {} if req_id is None else {"req_id": req_id}
    return {**reply, "success": success, "ret_msg": ret_msg, "op": op, "conn_id": conn_id}


def pong(dialect: Dialect, req_id: str | None, conn_id: str, now_ms: int) -> dict[str, Any]:
    """Return the answer to an application ping."""
    if dialect.pong is PongShape.OP:
        reply: dict[str, Any] = {} if req_id is None else {"req_id": req_id}
        return {**reply, "op": "pong", "args": [str(now_ms)], "conn_id": conn_id}
    if dialect.pong is PongShape.RET_MSG_REQUEST:
        return {
            "success": True,
            "ret_msg": "pong",
            "conn_id": conn_id,
            "request": {"op": "ping", "args": None},
        }
    return {
        "success": True,
        "ret_msg": "pong",
        "conn_id": conn_id,
        "req_id": req_id or "",
        "op": "ping",
    }
