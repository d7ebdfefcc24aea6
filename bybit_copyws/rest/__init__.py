"""The REST side: calls, their limits and retries, over one HTTP session.

Importing it imports requests, which the streams do without.
"""

from bybit_copyws.rest.client import RestClient
from bybit_copyws.rest.records import Transfer
from bybit_copyws.state.instruments import Instrument

__all__ = ["Instrument", "RestClient", "Transfer"]
