"""Synchronous, callback-based client for Bybit's Copy Trading WebSocket API.

The public names, nothing else. Models are in :mod:`bybit_copyws.models`, lifecycle events in
:mod:`bybit_copyws.events`, errors in :mod:`bybit_copyws.errors`, the local exchange in
:mod:`bybit_copyws.sandbox`.
"""

import logging

from bybit_copyws.account import Account
from bybit_copyws.books import LiveOrderBook, LiveTicker
from bybit_copyws.client import CopyTradingClient
from bybit_copyws.delivery import Worker
from bybit_copyws.errors import (
    AuthenticationError,
    BybitCopyWSError,
    ConfigurationError,
    ConnectFailed,
    ConnectionLost,
    ForkedError,
    HeartbeatTimeout,
    ProtocolError,
    StreamClosed,
    StreamError,
    SubscriptionError,
)
from bybit_copyws.events import State, Status, SubscriptionState
from bybit_copyws.health import Health
from bybit_copyws.messages import Gap, Message, MessageCallback
from bybit_copyws.policy.backoff import Backoff
from bybit_copyws.policy.budget import ConnectionBudget
from bybit_copyws.state.account_view import AccountView
from bybit_copyws.state.instruments import Instrument, Instruments
from bybit_copyws.state.life_cycle import CopyTrade, TradeChange, TradeEvent
from bybit_copyws.stream.shared_budget import SharedConnectionBudget
from bybit_copyws.subscription import Subscription
from bybit_copyws.version import __version__
from bybit_copyws.wire.profiles import Environment, Profile

__all__ = [
    "Account",
    "AccountView",
    "AuthenticationError",
    "Backoff",
    "BybitCopyWSError",
    "ConfigurationError",
    "ConnectFailed",
    "ConnectionBudget",
    "ConnectionLost",
    "CopyTrade",
    "CopyTradingClient",
    "Environment",
    "ForkedError",
    "Gap",
    "Health",
    "HeartbeatTimeout",
    "Instrument",
    "Instruments",
    "LiveOrderBook",
    "LiveTicker",
    "Message",
    "MessageCallback",
    "Profile",
    "ProtocolError",
    "SharedConnectionBudget",
    "State",
    "Status",
    "StreamClosed",
    "StreamError",
    "Subscription",
    "SubscriptionError",
    "SubscriptionState",
    "TradeChange",
    "TradeEvent",
    "Worker",
    "__version__",
]

# A library must stay silent unless the program configures logging.
logging.getLogger(__name__).addHandler(logging.NullHandler())
