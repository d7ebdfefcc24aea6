"""How operations and their replies look on one kind of socket.

The client reads every shape on every socket (see :mod:`bybit_copyws.wire.replies`), because
Bybit has changed them before; the dialect says what to send, and what a faithful server answers.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class AckShape(enum.Enum):
    """How the outcome of auth, subscribe and unsubscribe is told."""

    OP_AND_REQ_ID = "op, req_id (maybe empty)"
    OP = "op, req_id only if one was sent"
    REQUEST = "the request quoted, no top-level op"


class PongShape(enum.Enum):
    """How an application ping is answered."""

    RET_MSG = 'ret_msg "pong", op "ping"'
    RET_MSG_REQUEST = 'ret_msg "pong", the request quoted'
    OP = 'op "pong", args [ms]'


@dataclass(frozen=True)
class Dialect:
    """One socket's way of speaking.

    Attributes:
        req_id: whether a request may carry one.
        ack: shape of acknowledgements and refusals.
        pong: shape of the answer to a ping.
    """

    req_id: bool
    ack: AckShape
    pong: PongShape


ACKS_NAME_OP = Dialect(True, AckShape.OP_AND_REQ_ID, PongShape.RET_MSG)
"""Public sockets of v3 and v5."""

ACKS_QUOTE_REQUEST = Dialect(False, AckShape.REQUEST, PongShape.RET_MSG_REQUEST)
"""Private copy-trading socket of v3: really the server of v2, which documents no ``req_id``."""

PONG_HAS_ARGS = Dialect(True, AckShape.OP, PongShape.OP)
"""Private socket of v5."""
