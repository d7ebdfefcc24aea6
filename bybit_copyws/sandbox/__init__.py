"""A local exchange: both API generations on loopback, with a simulated market and account.

For bots and their tests. Nothing here talks to the network; the keys are throw-away values.
"""

from bybit_copyws.sandbox.checker import Checker, Report
from bybit_copyws.sandbox.faults import KINDS, ActiveFault, Fault
from bybit_copyws.sandbox.garbage import GARBAGE
from bybit_copyws.sandbox.history import Sent
from bybit_copyws.sandbox.observer import Observer
from bybit_copyws.sandbox.proxy import Direction, FaultProxy, ProxiedConnection
from bybit_copyws.sandbox.rest import ForcedReply, Limit, RestRules
from bybit_copyws.sandbox.sandbox import DEFAULT_SYMBOLS, Sandbox
from bybit_copyws.sandbox.scenario import COMMANDS, Scenario, Step
from bybit_copyws.sandbox.venue import HandshakeRefusal, Rules

__all__ = [
    "COMMANDS",
    "DEFAULT_SYMBOLS",
    "GARBAGE",
    "KINDS",
    "ActiveFault",
    "Checker",
    "Direction",
    "Fault",
    "FaultProxy",
    "ForcedReply",
    "HandshakeRefusal",
    "Limit",
    "Observer",
    "ProxiedConnection",
    "Report",
    "RestRules",
    "Rules",
    "Sandbox",
    "Scenario",
    "Sent",
    "Step",
]
