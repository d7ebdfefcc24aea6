"""The states of a connection and the moves between them: one table, one method.

::

    IDLE ──connect──> CONNECTING ──login──> AUTHENTICATING ──ready──> ACTIVE
      ^                   │  └──────────────ready───────────────────────^│
      │                  lost                   lost                     lost
      └──rest── BACKOFF <─┴──────────────────────┴───────────────────────┘
                  └──connect──> CONNECTING
    any of them ──close──> CLOSING ──end──> CLOSED
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from bybit_copyws.events import State


class Signal(enum.Enum):
    """What can move a connection from state to state."""

    CONNECT = "connect"
    LOGIN = "login"  # the link is open and needs authentication
    READY = "ready"  # topics may be subscribed
    LOST = "lost"
    REST = "rest"  # no topic needs the connection any more
    CLOSE = "close"
    END = "end"


TRANSITIONS: Mapping[State, Mapping[Signal, State]] = {
    State.IDLE: {Signal.CONNECT: State.CONNECTING, Signal.CLOSE: State.CLOSING},
    State.CONNECTING: {
        Signal.LOGIN: State.AUTHENTICATING,
        Signal.READY: State.ACTIVE,
        Signal.LOST: State.BACKOFF,
        Signal.CLOSE: State.CLOSING,
    },
    State.AUTHENTICATING: {
        Signal.READY: State.ACTIVE,
        Signal.LOST: State.BACKOFF,
        Signal.CLOSE: State.CLOSING,
    },
    State.ACTIVE: {Signal.LOST: State.BACKOFF, Signal.CLOSE: State.CLOSING},
    State.BACKOFF: {
        Signal.CONNECT: State.CONNECTING,
        Signal.REST: State.IDLE,
        Signal.CLOSE: State.CLOSING,
    },
    State.CLOSING: {Signal.CLOSE: State.CLOSING, Signal.END: State.CLOSED},
    State.CLOSED: {Signal.CLOSE: State.CLOSED, Signal.END: State.CLOSED},
}


def next_state(state: State, signal: Signal) -> State:
    """Return the state that a signal leads to.

    Raises:
        ValueError: the table has no such move; that is a bug in the caller.
    """
    try:
        return TRANSITIONS[state][signal]
    except KeyError:
        raise ValueError(f"{signal.value} cannot happen in state {state.value}") from None
