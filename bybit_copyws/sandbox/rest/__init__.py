"""The REST side of the sandbox's exchange: requests and the time go in, replies come out. Pure.

Knows neither sockets nor the clock; a server brings market and account to the present, hands a
request to :class:`RestApi` and pushes what the account has changed.
"""

from .api import RestApi
from .endpoints import ENDPOINTS, Endpoint
from .messages import Reply, Request
from .rules import ForcedReply, Limit, RestRules

__all__ = [
    "ENDPOINTS",
    "Endpoint",
    "ForcedReply",
    "Limit",
    "Reply",
    "Request",
    "RestApi",
    "RestRules",
]
